//! Answers the pages of agents (`admin::Explain`): what `why` says, under the settings in force.
//!
//! Memory is bounded: for what the server sends (`session::BRIEF`), for what is kept of it
//! ([`Reach::PAGE`]), and for the page as a whole ([`LONGEST`]).

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::explained::{Told, Wanted, find_out, looked_in, not_found};
use super::output;
use super::story::object;
use super::tenant::Search;
use crate::admin::{Explain, Explaining, LONGEST, Unexplained, Which};
use crate::mapping::Rules;
use crate::report::{Look, Reach, conclude};
use crate::session::{self, Limits, Session, SessionError};
use crate::settings::{Database, Settings};
use crate::show::{TEXT, bounded, quoted};

/// The most notes on the database.
const NOTES: usize = 30;

/// The room for the text around the agents of a page, in bytes.
const FRAME: usize = 32;

/// The settings and the rules in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) settings: Settings,
    pub(super) databases: Vec<Database>,
    pub(super) rules: Arc<Rules>,
}

/// Explains agents under the settings in force.
#[derive(Debug)]
pub(super) struct AgentPages(pub(super) watch::Receiver<Arc<InForce>>);

impl Explain for AgentPages {
    fn explain(&self, which: Which) -> Explaining<'_> {
        let in_force = Arc::clone(&self.0.borrow());
        Box::pin(async move { explained(&in_force, &which).await })
    }

    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(session::all_ended())
    }
}

async fn explained(in_force: &InForce, which: &Which) -> Result<String, Unexplained> {
    let InForce {
        settings,
        databases,
        rules,
    } = in_force;
    let known = databases.iter().find(|one| one.name == which.database);
    let Some(database) = known else {
        let names: Vec<_> = databases.iter().map(|one| one.name.as_str()).collect();
        return Err(Unexplained::NotFound(format!(
            "this daemon serves no database {}\nIt serves: {}",
            quoted(&which.database),
            names.join(", ")
        )));
    };
    let wanted = Wanted {
        slug: &which.slug,
        tenant: which.tenant.as_deref(),
    };
    let mut sought = Search::of(wanted.tenant);
    let told = async {
        let session = open(database, settings).await;
        let session = session.map_err(|error| super::unreachable(database, error))?;
        let asked = (wanted, &Reach::PAGE);
        find_out((&session, database), settings, rules, asked, &mut sought).await
    };
    let told = Box::pin(told).await;
    let (mut look, told) = told.map_err(|error| Unexplained::Failed(output::told(&error)))?;
    if told.stories.is_empty() {
        // Others are not read for a hint: a page is asked for as often as clients wish.
        let looked = [looked_in(database, &look)];
        let error = not_found(&looked, wanted, look.hidden.0, &mut sought, &[]);
        return Err(Unexplained::NotFound(output::told(&error)));
    }
    look.notes.truncate(NOTES);
    page((database, settings.history.enabled), &look, &told).ok_or_else(|| {
        let slug = quoted(&which.slug);
        Unexplained::Failed(format!(
            "the page would have more than {LONGEST} bytes\nagent-sync why {slug} shows the same"
        ))
    })
}

/// A session that a server can make no burden of, whatever it answers (G12).
async fn open(database: &Database, settings: &Settings) -> Result<Session, SessionError> {
    let limits = Limits::of(&settings.sync).within(Reach::PAGE.time);
    let program = "agent-sync why";
    let session = Session::connect_bounded(program, database, limits, session::BRIEF).await?;
    session.trusted(database).await
}

/// The stories as JSON, as many as have room; `None` if not even the first one has.
fn page(of: (&Database, bool), look: &Look, told: &Told) -> Option<String> {
    let (database, _) = of;
    let keys = database.agents.columns.keys();
    let mut body = Body::default();
    let mut more = told.more;
    for (key, story) in &told.stories {
        let key = keys.parts(key);
        let mut conclusion = conclude(database, look, story, &key);
        conclusion.conclusion = bounded(&conclusion.conclusion, TEXT).into_owned();
        if !body.add(&object(of, look, story, &conclusion, &key)) {
            more = true;
            break;
        }
    }
    body.end(more)
}

/// The text of a page, of a bounded size: it never grows beyond [`LONGEST`].
#[derive(Default)]
struct Body {
    /// The objects with commas between them.
    agents: Vec<u8>,
}

impl Body {
    /// Adds an object, if there is room for it.
    fn add(&mut self, object: &impl serde::Serialize) -> bool {
        let before = self.agents.len();
        let comma: &[u8] = if before > 0 { b"," } else { b"" };
        let added =
            self.write_all(comma).is_ok() && serde_json::to_writer(&mut *self, object).is_ok();
        if !added {
            self.agents.truncate(before);
        }
        added
    }

    /// The page; `None` without objects.
    fn end(self, more: bool) -> Option<String> {
        let agents = String::from_utf8(self.agents).ok()?;
        let page = format!(r#"{{"agents":[{agents}],"more":{more}}}"#);
        (!agents.is_empty()).then_some(page)
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.agents.len() + bytes.len() > LONGEST - FRAME {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.agents.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn g12_a_page_has_the_stories_that_have_room() {
        for (lengths, shown) in [
            (vec![1, 1], 2),
            (vec![LONGEST / 2, LONGEST / 4, LONGEST / 2], 2),
            (vec![LONGEST - 40], 1),
            (vec![LONGEST], 0),
            (vec![10 * LONGEST], 0),
        ] {
            let mut body = Body::default();
            let added = lengths
                .iter()
                .filter(|length| body.add(&"x".repeat(**length)))
                .count();
            assert_eq!(added, shown, "{lengths:?}");
            assert!(body.agents.capacity() < 3 * LONGEST);
            let page = body.end(true);
            assert_eq!(page.is_some(), shown > 0);
            let Some(page) = page else { continue };
            assert!(page.len() <= LONGEST);
            let page: serde_json::Value = serde_json::from_str(&page).unwrap();
            assert_eq!(page["agents"].as_array().unwrap().len(), shown);
        }
    }
}

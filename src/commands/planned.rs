//! `check --rules FILE`: the effect of other rules, compared with the rules in force, in groups. It
//! only reads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use super::hidden;
use super::named::named;
use super::outcome::Row;
use super::page::Page;
use super::tenant::Search;
use crate::cli::Check;
use crate::exit::Exit;
use crate::mapping::{Difference, Rules};
use crate::pg::Db;
use crate::settings::{Database, Settings};
use crate::show::{BOLD, WIDTH, count, indented, plural, quoted, shorten};
use crate::store::Layout;
use crate::survey::{Planned, Scope, survey};

/// The most groups that are counted.
const COUNTED: usize = 1000;

/// The most groups that are printed as text.
const PRINTED: usize = 50;

/// The agents of a group that are named, and the largest width of a slug, in columns.
const NAMED: (usize, usize) = (3, 40);

/// Plans the rules of a file in every database.
pub(super) fn plan(settings: &Settings, file: &Path, args: &Check) -> anyhow::Result<Exit> {
    let rules = super::rules(settings)?;
    let (_, other) = super::read_rules(file, "--rules")?;
    let databases = super::select(settings, &args.reporting.databases.names)?;
    let slugs: Vec<_> = args.slugs.iter().map(String::as_str).collect();
    super::block_on(async {
        let (mut page, mut exits) = (Page::new(), Vec::new());
        let tenant = args.tenant.tenant.as_deref();
        let mut sought = Search::of(tenant);
        for database in databases {
            let named = (&*slugs, tenant, &mut sought);
            let planned = of_database(&mut page, settings, database, (&rules, &other), named);
            match Box::pin(planned).await {
                Ok(groups) => {
                    if args.reporting.json {
                        page.json(&groups.json(&database.name));
                    } else {
                        groups.print(&mut page, database);
                    }
                    exits.push(if groups.hidden {
                        Exit::Found
                    } else {
                        Exit::Done
                    });
                }
                Err(error) => {
                    page.clear();
                    page.flush();
                    exits.push(super::output::report(&error));
                }
            }
        }
        exits.push(sought.print(&mut page, "", args.reporting.json));
        page.end(super::worst(exits))
    })
}

async fn of_database(
    page: &mut Page,
    settings: &Settings,
    database: &Database,
    rules: (&Rules, &Rules),
    (slugs, tenant, sought): (&[&str], Option<&str>, &mut Search),
) -> anyhow::Result<Groups> {
    let session = super::open_or_fault("check", database, settings).await?;
    let db: &Db = session.db();
    let layout = Layout::read(db, database).await;
    let layout = layout.map_err(|error| super::no_layout(database, error))?;
    let (way, given) = named(database, &layout, slugs, tenant)?;
    let looked = sought.seek(db, &layout).await;
    looked.map_err(|error| super::unanswered(database, error))?;
    let hidden = hidden::caution(page, database, db, &layout, false).await;
    let hidden = hidden.map_err(|error| super::unanswered(database, error))?;
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let scope = Scope {
        named: way.map(|way| (way, &*given)),
        can_read_notes: false,
        planned: Some(rules.1),
        ..Scope::default()
    };
    let mut groups = Groups {
        hidden,
        ..Groups::default()
    };
    page.hold();
    let outcome = survey(db, &layout, rules.0, scope, |comparison| {
        groups.add(&comparison.parts().plain(), &comparison.planned);
        page.progress(&database.name, groups.agents, 0);
        ControlFlow::Continue(())
    })
    .await;
    page.release();
    page.clear();
    outcome.map_err(|error| super::unanswered(database, error))?;
    Ok(groups)
}

/// A kind of effect on an agent. The order is that of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    Rejected,
    Accepted,
    Added,
    Changed,
    Removed,
}

impl Effect {
    fn of(difference: &Difference) -> Self {
        match (&difference.current, &difference.expected) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Changed,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Changed => "~",
            Self::Removed => "-",
            Self::Rejected => "rejected:",
            Self::Accepted => "no longer rejected",
        }
    }
}

/// The agents with one effect.
#[derive(Debug, Default)]
struct Group {
    agents: i64,
    /// The first of them.
    slugs: Vec<String>,
}

/// The effects on the agents of one database.
#[derive(Debug, Default)]
struct Groups {
    by_effect: BTreeMap<(Effect, String), Group>,
    agents: i64,
    /// The agents with any effect.
    affected: i64,
    /// Whether there are groups that are not counted.
    others: bool,
    /// Whether row-level security may hide agents.
    hidden: bool,
}

impl Groups {
    fn add(&mut self, slug: &str, planned: &Planned) {
        self.agents += 1;
        if !planned.is_change() {
            return;
        }
        self.affected += 1;
        let mut effects: Vec<_> = planned
            .differences
            .iter()
            .map(|difference| (Effect::of(difference), place(difference)))
            .collect();
        // The found value is one of the agent, so it makes no group.
        effects.extend(planned.mistakes.iter().map(|mistake| {
            let text = format!("{}: expected {}", mistake.path, mistake.expected);
            (Effect::Rejected, text)
        }));
        if planned.accepted {
            effects.push((Effect::Accepted, String::new()));
        }
        effects.sort();
        effects.dedup();
        for effect in effects {
            if self.by_effect.len() == COUNTED && !self.by_effect.contains_key(&effect) {
                self.others = true;
                continue;
            }
            let group = self.by_effect.entry(effect).or_default();
            group.agents += 1;
            if group.slugs.len() < NAMED.0 {
                group.slugs.push(slug.to_owned());
            }
        }
    }

    /// The groups, the largest first.
    fn sorted(&self) -> Vec<(&(Effect, String), &Group)> {
        let mut groups: Vec<_> = self.by_effect.iter().collect();
        groups.sort_by_key(|(_, group)| -group.agents);
        groups
    }

    fn print(&self, page: &mut Page, database: &Database) {
        let text = if self.affected == 0 {
            "the rules would change none".to_owned()
        } else {
            format!("the rules would change {}", count(self.affected))
        };
        page.line(format_args!(
            "{BOLD}{}{BOLD:#}: {}, {text}",
            database.name,
            plural(self.agents, "agent")
        ));
        let groups = self.sorted();
        for ((effect, place), group) in groups.iter().take(PRINTED) {
            let named = group.slugs.iter();
            let named: Vec<_> = named.map(|slug| shorten(&quoted(slug), NAMED.1)).collect();
            let more = if group.agents > i64::try_from(named.len()).unwrap_or(0) {
                ", …"
            } else {
                ""
            };
            let what = format!(
                "{}: {} {}",
                plural(group.agents, "agent"),
                effect.sign(),
                place
            );
            let line = format!("{} ({}{more})", what.trim_end(), named.join(", "));
            page.line(indented("  ", &line, WIDTH));
        }
        let left = groups.len().saturating_sub(PRINTED);
        if left > 0 || self.others {
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            page.line(format_args!(
                "  and {} more groups; --json lists them",
                count(left)
            ));
        }
    }

    fn json<'a>(&self, database: &'a str) -> impl Serialize + use<'a> {
        let groups = self.sorted();
        let groups = groups.iter().map(|((effect, place), group)| {
            serde_json::json!({
                "effect": effect, "place": place, "agents": group.agents, "slugs": group.slugs,
            })
        });
        Row {
            database,
            kind: "plan",
            rest: serde_json::json!({
                "agents": self.agents, "affected": self.affected,
                "groups": groups.collect::<Vec<_>>(), "others": self.others,
                "rows_may_be_hidden": self.hidden,
            }),
        }
    }
}

/// The place of a field: that in `provider_config`, or else with its column.
fn place(difference: &Difference) -> String {
    let path = difference.path();
    match path.strip_prefix("provider_config.") {
        Some(inside) => inside.to_owned(),
        None => path,
    }
}

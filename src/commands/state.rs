//! The state of every database, for `status` and `databases`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Opened;
use crate::mapping::Rules;
use crate::observe::Condition;
use crate::report::{Look, Note, look};
use crate::session::SessionError;
use crate::settings::{Database, Settings};
use crate::store::MayRead;

/// The longest time for one database, so that a server that answers slowly does not keep the lines
/// of the others back.
const LONGEST: Duration = Duration::from_secs(60);

/// The command that asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    /// It shows the numbers of the rows.
    Status,
    /// It shows no row.
    Databases,
}

impl Asker {
    /// A session, and the permission to read the two tables in it.
    async fn open(self, database: &Database, settings: &Settings) -> Result<Opened, SessionError> {
        match self {
            Self::Status => super::open("status", database, settings)
                .await
                .map(|session| (session, Some(MayRead::asked_for()))),
            Self::Databases => super::open_with_care("databases", database, settings).await,
        }
    }
}

/// A database and its session, which is reused with `--watch`.
pub(super) struct Watched {
    pub(super) database: Database,
    session: Option<Opened>,
}

impl Watched {
    /// These databases, not asked yet.
    pub(super) fn all(databases: Vec<&Database>) -> Vec<Self> {
        let all = databases.into_iter().map(|database| Self {
            database: database.clone(),
            session: None,
        });
        all.collect()
    }
}

/// The state of a database.
pub(super) struct State {
    pub(super) name: String,
    pub(super) condition: Condition,
    /// `None` if the database could not be queried.
    pub(super) look: Option<Look>,
    pub(super) trouble: Vec<Note>,
}

/// Asks the databases, all at once, as this command.
pub(super) async fn ask(
    watched: &mut Vec<Watched>,
    asker: Asker,
    settings: &Arc<Settings>,
    rules: &Arc<Option<Rules>>,
) -> Vec<State> {
    let mut asking = JoinSet::new();
    for (index, one) in watched.drain(..).enumerate() {
        let (settings, rules) = (Arc::clone(settings), Arc::clone(rules));
        asking.spawn(async move {
            let database = one.database.clone();
            let answer = Box::pin(ask_one(one, asker, &settings, rules.as_ref().as_ref()));
            let answer = tokio::time::timeout(LONGEST, answer).await;
            let (one, state) = answer.unwrap_or_else(|_| unanswered(database));
            (index, one, state)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, ..)| *index);
    answers
        .into_iter()
        .map(|(_, one, state)| {
            watched.push(one);
            state
        })
        .collect()
}

/// The state of a database that has not answered in time.
fn unanswered(database: Database) -> (Watched, State) {
    let state = unreachable(&database, &SessionError::Silent(LONGEST));
    let one = Watched {
        database,
        session: None,
    };
    (one, state)
}

fn unreachable(database: &Database, error: &SessionError) -> State {
    State {
        name: database.name.clone(),
        condition: Condition::Unreachable,
        look: None,
        trouble: vec![Note::unreachable(database, error)],
    }
}

async fn ask_one(
    mut one: Watched,
    asker: Asker,
    settings: &Settings,
    rules: Option<&Rules>,
) -> (Watched, State) {
    let name = one.database.name.clone();
    let (session, may_read) = match one
        .session
        .take()
        .filter(|(session, _)| !session.inbox().is_closed())
    {
        Some(opened) => opened,
        None => match asker.open(&one.database, settings).await {
            Ok(opened) => opened,
            Err(error) => {
                let state = unreachable(&one.database, &error);
                return (one, state);
            }
        },
    };
    let look = look(session.db(), &one.database, settings, rules, may_read).await;
    let trouble: Vec<_> = look.trouble().into_iter().cloned().collect();
    let lost = session.inbox().is_closed();
    let condition = if lost {
        Condition::Unreachable
    } else {
        look.condition()
    };
    one.session = Some((session, may_read));
    (
        one,
        State {
            name,
            condition,
            look: (!lost).then_some(look),
            trouble,
        },
    )
}

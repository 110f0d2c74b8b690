//! Answers the pages of agents (`admin::Explain`): what `why` says, under the settings in force.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::explained::{Wanted, find_out, not_found};
use super::output;
use super::story::object;
use super::tenant::Search;
use crate::admin::{Explain, Explaining, Unexplained, Which};
use crate::mapping::Rules;
use crate::report::conclude;
use crate::settings::{Database, Settings};
use crate::show::quoted;

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
}

async fn explained(in_force: &InForce, which: &Which) -> Result<String, Unexplained> {
    #[derive(Serialize)]
    struct Answer<A> {
        agents: Vec<A>,
        /// Whether more tenants have an agent with this slug.
        more: bool,
    }
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
    let told = find_out(database, settings, rules, wanted, &mut sought).await;
    let (look, told) = told.map_err(|error| Unexplained::Failed(output::told(&error)))?;
    if told.stories.is_empty() {
        let names = [database.name.as_str()];
        let error = not_found(&names, wanted, look.hidden.0, &mut sought);
        return Err(Unexplained::NotFound(output::told(&error)));
    }
    let keys = database.agents.columns.keys();
    let agents = told.stories.iter().map(|(key, story)| {
        let key = keys.parts(key);
        let conclusion = conclude(database, &look, story, &key);
        object(database, &look, story, &conclusion, &key)
    });
    let answer = Answer {
        agents: agents.collect(),
        more: told.more,
    };
    serde_json::to_string(&answer).map_err(|error| Unexplained::Failed(error.to_string()))
}

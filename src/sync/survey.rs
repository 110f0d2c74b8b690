//! How many configurations differ, read-only, over a connection of its own: asked when the rules have changed.

use std::ops::ControlFlow;

use super::attempt::AttemptError;
use super::database::Context;
use crate::mapping::Rules;
use crate::observe::{Event, Totals};
use crate::session::{Limits, Session};
use crate::store::{Layout, Store};
use crate::survey::{Scope, Tally, survey};

/// Tells how many configurations differ from what the rules make of their agents: after the rules have changed.
pub(super) async fn report_drift(context: Context) {
    let rules = std::sync::Arc::clone(&context.rules.borrow());
    match count(&context, &rules).await {
        Ok(totals) => context.observer.tell(&Event::RulesChanged { totals }),
        Err(error) => context.observer.tell(&Event::DriftUnknown { cause: &error.to_string() }),
    }
}

async fn count(context: &Context, rules: &Rules) -> Result<Totals, AttemptError> {
    let limits = Limits::of(&context.options.sync);
    let mut session = Session::connect(&context.database, limits).await?;
    let (database, patience) = (&context.database, Store::patience(&context.options.sync));
    let layout = Layout::read(session.client(), patience, &database.agents, &database.configurations).await?;
    let mut tally = Tally::default();
    let everything = Scope { slugs: None, noted: false };
    survey(session.client_mut(), &layout, rules, everything, |findings| {
        tally.add(findings);
        ControlFlow::Continue(())
    })
    .await?;
    let total = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Totals {
        written: total(tally.differing),
        unchanged: total(tally.equal),
        missing: total(tally.missing),
        rejected: total(tally.rejected),
        ..Totals::default()
    })
}

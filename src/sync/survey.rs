//! Looking at every agent without touching anything: what would be written, by the same mapping and decisions as the
//! daemon's, over a connection of its own, in constant memory.

use std::time::Duration;

use tokio_postgres::{Client, IsolationLevel};

use super::attempt::AttemptError;
use super::database::Context;
use super::decide::decide;
use crate::mapping::Rules;
use crate::observe::{Event, Totals};
use crate::session::{Limits, Session};
use crate::store::{Claimed, Layout, Store, StoreError, queries, within};

/// How many rows are in memory at a time.
const CHUNK: i32 = 500;

/// Tells how many configurations differ from what the rules make of their agents: after the rules have changed.
pub(super) async fn report_drift(context: Context) {
    let rules = std::sync::Arc::clone(&context.rules.borrow());
    match survey(&context, &rules).await {
        Ok(totals) => context.observer.tell(&Event::RulesChanged { totals }),
        Err(error) => context.observer.tell(&Event::DriftUnknown { cause: &error.to_string() }),
    }
}

async fn survey(context: &Context, rules: &Rules) -> Result<Totals, AttemptError> {
    let sync = &context.options.sync;
    let limits = Limits::of(sync);
    let mut session = Session::connect(&context.database, limits).await?;
    let database = &context.database;
    let layout = Layout::read(session.client(), &database.agents, &database.configurations).await?;
    let patience = Store::patience(sync);
    Ok(count(session.client_mut(), patience, &layout, rules).await?)
}

async fn count(
    client: &mut Client,
    patience: Duration,
    layout: &Layout,
    rules: &Rules,
) -> Result<Totals, StoreError> {
    let snapshot = client.build_transaction().read_only(true).isolation_level(IsolationLevel::RepeatableRead);
    let transaction = within(patience, snapshot.start()).await?;
    // Here the whole of both tables is wanted.
    within(patience, transaction.batch_execute("SET LOCAL enable_seqscan = on")).await?;
    let statement = within(patience, transaction.prepare(&queries::survey(layout))).await?;
    let portal = within(patience, transaction.bind(&statement, &[])).await?;
    let mut totals = Totals::default();
    loop {
        let rows = within(patience, transaction.query_portal(&portal, CHUNK)).await?;
        if rows.is_empty() {
            return Ok(totals);
        }
        totals.add(decide(rules, &layout.targets, &Claimed::new(rows)?)?.totals);
    }
}

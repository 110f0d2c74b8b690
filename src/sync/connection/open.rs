//! Opens a connection: session, checks, layout and prepared statements.

use std::time::Duration;

use crate::install;
use crate::session::{Limits, Session};
use crate::store::{self, Layout, Owners, Store, checks};
use crate::sync::context::Context;
use crate::sync::error::{AttemptError, refuse};

/// The shortest interval for the end of a silent session: the server ends it after three of them.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// The most rows of a batch if a save of an agent can wait for it.
const SMALL_BATCH: u32 = 50;

/// The most rows of a batch. A foreign key of the configurations that cascades lets a save of an
/// agent wait for a batch (G3).
pub(in crate::sync) async fn batch_size(
    context: &Context,
    store: &mut Store,
) -> Result<u32, AttemptError> {
    let usual = context.options.sync.batch_size;
    Ok(if store.holds_up_cascades().await? {
        usual.min(SMALL_BATCH)
    } else {
        usual
    })
}

/// Opens a connection once its server takes one more, or refuses a database that does not fit
/// (G10).
pub(in crate::sync) async fn connect(context: &Context) -> Result<(Session, Store), AttemptError> {
    let servers = context.database.servers();
    let connects = &context.turns.connects;
    connects.run(&servers, Box::pin(set_up(context))).await
}

async fn set_up(context: &Context) -> Result<(Session, Store), AttemptError> {
    let sync = &context.options.sync;
    let limits = Limits::of(sync);
    let database = &context.database;
    let session = Session::connect(database, limits).await?;
    let db = session.db();
    refuse(checks::server(db).await?)?;
    // The session of a daemon that is gone must not keep the leader lock, even if a proxy keeps the
    // connection open (G9). A daemon sends a query at every probe interval. So the server ends a
    // session without a query for several intervals.
    let silence = 3 * (sync.probe_interval + sync.probe_timeout).max(SHORTEST_INTERVAL);
    session.end_after(silence).await?;
    let layout = Layout::read(db, database).await?;
    refuse(checks::install(db, database, &layout, install::VERSION, false).await?)?;
    let Owners { parts, untrusted } = store::owners(db, database).await?;
    refuse(untrusted.into_iter().collect())?;
    let (captured, history) = (
        context.options.capture.configurations,
        context.options.history.enabled,
    );
    let usual = session.settings_for_batches();
    let store = Store::prepare(db.clone(), layout, captured, history, usual, &parts).await?;
    Ok((session, store))
}

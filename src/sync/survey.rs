//! How many configurations differ, counted read-only over a connection of its own when the rules
//! have changed.
//!
//! Where none differs, the session that leads notes the mapping in `agent_sync.install`. No other
//! session may: another daemon may lead, and write under other rules meanwhile (G14).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::context::{Context, InSync};
use super::error::AttemptError;
use crate::mapping::Rules;
use crate::observe::{Totals, event};
use crate::session::{Limits, Session};
use crate::store::{Layout, noted_mapping};
use crate::survey::{Scope, Tally, survey};

/// The first and the longest pause between two comparisons; of a large database, they take a
/// hundredth of the time at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The reported drift under the rules in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: the rules have just changed.
    Nothing,
    /// That some configurations differ.
    Drift,
}

/// Reports how many configurations differ from the mapping of their agents, after the rules
/// have changed; and looks again until none does, so that what is told of drift over HTTP is not
/// what was the case long ago. Ends when the rules change once more, or when the database's task is
/// told to stop.
pub(super) async fn report_drift(context: Context, mut stop: watch::Receiver<bool>, told: Told) {
    let mut others = context.rules.clone();
    let rules = Arc::clone(&others.borrow_and_update());
    let (mut is_told, mut pause) = (told == Told::Drift, PAUSE.0);
    loop {
        let began = Instant::now();
        let counted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = others.changed() => return,
            counted = count_in_turn(&context, &rules) => counted,
        };
        match counted {
            Ok(totals) if is_told => context.observer.tell(event::Mapping::Compared(totals)),
            Ok(totals) => {
                is_told = true;
                context.observer.tell(event::Mapping::Changed(totals));
            }
            // A later failure leaves the earlier report, with its time.
            Err(_) if is_told => {}
            Err(error) => {
                return context
                    .observer
                    .tell(event::Mapping::DriftUnknown(&error.to_string()));
            }
        }
        if counted.is_ok_and(|totals| totals.written == 0) {
            return;
        }
        let longer = pause.max(began.elapsed() * 100);
        pause = (pause * 2).min(PAUSE.1);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            _ = others.changed() => return,
            () = tokio::time::sleep(longer) => {}
        }
    }
}

/// The same when the daemon finds, as it begins to lead, that the mapping has changed since the
/// configurations were last in sync: a daemon before it had other rules, or other columns. What is
/// `told` holds for the first time.
pub(super) async fn report_change(
    context: Context,
    mut stop: watch::Receiver<bool>,
    mut told: Told,
) {
    let mut stopped = stop.clone();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = context.mapping_changed.notified() => {}
        }
        let reporting = report_drift(
            context.clone(),
            stop.clone(),
            std::mem::replace(&mut told, Told::Nothing),
        );
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = reporting => {}
        }
    }
}

async fn count_in_turn(context: &Context, rules: &Rules) -> Result<Totals, AttemptError> {
    let _turn = context.turns.checks.wait().await;
    count(context, rules).await
}

async fn count(context: &Context, rules: &Rules) -> Result<Totals, AttemptError> {
    let limits = Limits::of(&context.options.sync);
    let session = Session::connect_further("agent-sync comparison", &context.database, limits)
        .await?
        .trusted(&context.database)
        .await?;
    let (database, db) = (&context.database, session.db());
    let layout = Layout::read(db, database).await?;
    let noted = noted_mapping(db).await?;
    let mut tally = Tally::default();
    let everything = Scope {
        named: None,
        noted: true,
        planned: None,
    };
    survey(db, &layout, rules, everything, |findings| {
        tally.add(findings);
        ControlFlow::Continue(())
    })
    .await?;
    // An agent that the rules now reject, and that is not noted as a problem, is as little in sync
    // as one whose configuration differs.
    let differing = tally.differing + tally.misnoted;
    if differing == 0
        && let Some(noted) = noted
    {
        let key = layout.mapping_key(rules);
        context.in_sync.send_replace(Some(InSync { key, noted }));
    }
    let total = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Totals {
        written: total(differing),
        unchanged: total(tally.equal),
        missing: total(tally.missing),
        rejected: total(tally.rejected),
        ..Totals::default()
    })
}

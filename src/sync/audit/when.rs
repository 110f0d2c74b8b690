//! When a pass of the audit begins, how long it rests, and how long it waits for a full check.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::second_look::Standing;
use crate::mapping::Rules;
use crate::sync::context::Lead;

/// The first and the longest pause between two passes while a configuration differs. Of a large
/// database, such passes take a hundredth of the time at most.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pauses for each portion, as multiples of its duration: while changes are pending, and
/// otherwise. So an audit takes a tenth or a quarter of the time.
const RESTS: (u32, u32) = (9, 3);

/// The time for which a difference is left to a full check that is due. A check that has not come
/// by then may never come, and the audit says what differs.
const AWAITED: Duration = Duration::from_secs(60);

/// Why a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The rules or the columns have changed.
    Mapping,
    /// It is time.
    Due,
}

/// The next pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) at: Instant,
    /// Whether it needs the lead. After a change of the mapping every daemon counts what differs
    /// under its own.
    pub(super) needs_lead: bool,
}

impl Next {
    /// The repetition of a pass that has read for this long, after a pause that grows.
    pub(super) fn repeated(pause: &mut Duration, worked: Duration, needs_lead: bool) -> Self {
        let longer = (*pause).max(worked * 100);
        *pause = (*pause * 2).min(PAUSE.1);
        Self {
            at: Instant::now() + longer,
            needs_lead,
        }
    }

    /// The pass that tells whether the full check has come that a difference was left to.
    pub(super) fn awaited() -> Self {
        Self {
            at: Instant::now() + AWAITED,
            needs_lead: true,
        }
    }
}

/// Returns when the rules have changed.
pub(super) async fn changed(rules: &mut watch::Receiver<Arc<Rules>>) {
    if rules.changed().await.is_err() {
        // Nobody can change them any more.
        std::future::pending::<()>().await;
    }
}

/// Returns when it is time for a pass, and this process leads where that is needed.
pub(super) async fn due(next: Option<Next>, lead: &mut watch::Receiver<Lead>) {
    let Some(next) = next else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(next.at.into()).await;
    if next.needs_lead && lead.wait_for(|lead| *lead != Lead::None).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Rests after a portion that has read for this long. Returns whether the process still leads.
pub(super) async fn rest(lead: &mut watch::Receiver<Lead>, worked: Duration) -> bool {
    let is_working = *lead.borrow() == Lead::Working;
    let rest = worked * if is_working { RESTS.0 } else { RESTS.1 };
    tokio::select! {
        biased;
        _ = lead.wait_for(|lead| *lead == Lead::None) => false,
        () = tokio::time::sleep(rest) => true,
    }
}

/// The wait for a full check that is due.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when every pass has ended with a check due.
    since: Option<Instant>,
}

impl Patience {
    /// Whether a pass that begins now leaves a difference to the check.
    pub(super) fn is_left(&self, now: Instant) -> bool {
        self.since
            .is_none_or(|since| now.duration_since(since) < AWAITED)
    }

    /// Notes how the install stood at the end of a pass.
    pub(super) fn note(&mut self, standing: Standing, now: Instant) {
        self.since = (standing == Standing::Unsure).then(|| self.since.unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full check that never comes is awaited for a minute, whatever the interval of the audits,
    /// and each check anew.
    #[test]
    fn g17_a_check_that_never_comes_is_awaited_for_a_minute() {
        let (start, mut patience) = (Instant::now(), Patience::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(patience.is_left(at(1000)));
        for seconds in [0, 30, 59] {
            patience.note(Standing::Unsure, at(seconds));
        }
        assert!(patience.is_left(at(59)));
        assert!(!patience.is_left(at(60)));
        patience.note(Standing::Unsure, at(61));
        assert!(!patience.is_left(at(62)));
        // The check has come, and another is due later.
        patience.note(Standing::Settled, at(63));
        patience.note(Standing::Unsure, at(64));
        assert!(patience.is_left(at(100)));
        assert!(!patience.is_left(at(124)));
    }
}

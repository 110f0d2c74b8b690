//! `/livez` and `/readyz`: one line a database, for whoever looks at a failing probe. The rules are `observe::verdict`'s.

use std::fmt::Write as _;

use hyper::StatusCode;

use super::answer::Answer;
use crate::observe::Snapshot;
use crate::observe::verdict::{stuck, unready};

/// Whether every loop makes progress.
pub(super) fn live(snapshot: &Snapshot) -> Answer {
    let mut lines = String::new();
    for (name, state) in &snapshot.databases {
        if let Some(silence) = stuck(state, snapshot.taken.1) {
            let (seconds, phase) = (silence.as_secs(), state.phase.name());
            let _ = writeln!(
                lines,
                "{name}: no progress for {seconds} s (phase {phase}); try: restart agent-sync"
            );
        }
    }
    if lines.is_empty() {
        Answer::text(StatusCode::OK, "ok\n")
    } else {
        Answer::text(StatusCode::SERVICE_UNAVAILABLE, lines)
    }
}

/// Whether every database is served.
pub(super) fn ready(snapshot: &Snapshot) -> Answer {
    let mut lines = String::new();
    let mut status = StatusCode::OK;
    for (name, state) in &snapshot.databases {
        let reasons = unready(state);
        if reasons.is_empty() {
            let _ = writeln!(lines, "{name}: ready ({})", state.phase.name());
        }
        for reason in reasons {
            status = StatusCode::SERVICE_UNAVAILABLE;
            let _ = write!(lines, "{name}: not ready: {}", reason.why);
            let _ = match reason.remedy {
                Some(remedy) => writeln!(lines, "; try: {remedy}"),
                None => writeln!(lines),
            };
        }
    }
    Answer::text(status, lines)
}

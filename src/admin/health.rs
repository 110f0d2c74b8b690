//! `/livez` and `/readyz`: the state of each database, with reasons and remedies as text.
//! `observe::verdict` has the rules.

use std::fmt::Write as _;

use hyper::StatusCode;

use super::answer::Answer;
use crate::observe::verdict::{stuck, unready};
use crate::observe::{Condition, Snapshot};
use crate::show::Clean;

/// Answers 200 while the loop of every database makes progress.
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

/// Answers 200 while every database is served.
pub(super) fn ready(snapshot: &Snapshot) -> Answer {
    let mut lines = String::new();
    let mut status = StatusCode::OK;
    for (name, state) in &snapshot.databases {
        let (reasons, word) = (unready(state), Condition::of(state).name());
        if reasons.is_empty() {
            let _ = writeln!(lines, "{name}: ready ({word})");
        }
        for reason in reasons {
            status = StatusCode::SERVICE_UNAVAILABLE;
            let why = one_line(&reason.why);
            let _ = write!(lines, "{name}: not ready ({word}): {why}");
            let _ = match reason.remedy {
                Some(remedy) => writeln!(lines, "; try: {}", one_line(&remedy)),
                None => writeln!(lines),
            };
        }
    }
    Answer::text(status, lines)
}

/// Escapes line feeds, because a reason contains names of the catalog and each reason has one line.
fn one_line(text: &str) -> String {
    Clean::line(&text.replace('\n', "; ")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::observe::verdict::SLACK;
    use crate::observe::{Board, Finding, event};

    #[test]
    fn a_loop_that_hangs_is_told_from_one_that_waits_within_the_bound_of_a_single_wait() {
        let board = Board::default();
        let promise = Duration::from_secs(40);
        board.observer("eu", "localhost").alive(promise);
        let mut snapshot = board.snapshot();
        let (last, _) = snapshot.databases[0].1.alive;
        snapshot.taken.1 = last + promise + SLACK;
        assert_eq!(live(&snapshot).status, 200);
        snapshot.taken.1 += Duration::from_millis(1);
        let answer = live(&snapshot);
        assert_eq!(answer.status, 503);
        assert!(
            answer.body.as_str().starts_with("eu: no progress for 55 s"),
            "{}",
            answer.body
        );
    }

    #[test]
    fn s10_a_name_of_the_catalog_forges_no_line_and_no_escape_of_readyz() {
        let board = Board::default();
        let observer = board.observer("eu", "localhost");
        observer.tell(event::Leader::Leading("x"));
        let what = "the trigger t\u{1b}[2J\u{9b}\u{202e}\nus: ready (busy) is gone".to_owned();
        let finding = Finding {
            what,
            remedy: "a\u{1b}b".into(),
            misses_changes: true,
        };
        observer.tell(event::Connection::Lost {
            cause: &finding.what,
            remedy: &finding.remedy,
            is_answered: false,
        });
        let answer = ready(&board.snapshot());
        assert_eq!(
            answer.body.as_str(),
            "eu: not ready (unreachable): database unavailable: the trigger \
            t\\u001b[2J\\u009b\\u202e; us: ready (busy) is gone; try: a\\u001bb\n"
        );
    }
}

//! The query of a look about the audits, and the texts of its checks.

use std::time::Duration;

use super::Audit;
use super::asking::{Asking, Over};
use crate::observe::compared::{Compared, Counts, TOLD_FOR, UNNOTICED_REMEDY};
use crate::report::note::Note;
use crate::show::{age, plural};
use crate::store::Audited;
use crate::time;

/// The topic of the checks.
const TOPIC: &str = "audit";

/// The time beyond two intervals after which an audit is overdue: a large database takes its time.
const LATE: Duration = Duration::from_secs(3600);

impl Asking<'_> {
    pub(super) async fn audit(&mut self) -> Result<(), Over> {
        let audited = match Audited::read(self.db).await {
            Ok(audited) => audited,
            Err(error) => return self.failed(TOPIC, &error),
        };
        if let Some((found, seconds)) = &audited.unnoticed
            && *seconds < TOLD_FOR.as_secs_f64()
        {
            let text = format!("{}; {} ago", found.sentence(), age(*seconds));
            self.note(Note::warn(TOPIC, text, UNNOTICED_REMEDY));
        }
        let interval = self.settings.audit.interval;
        let note = match &audited.last {
            None if audited.is_superseded => Note::pass(
                TOPIC,
                "the last audit compared under other rules or columns; the next is to come",
            ),
            None => Note::pass(TOPIC, "no audit is complete yet"),
            Some((last, seconds)) => judged(last, *seconds, interval, self.look.leader().is_some()),
        };
        self.note(note);
        self.look.audit = audited.last.map(|(last, seconds)| Audit {
            at: time::rfc3339(last.at),
            seconds,
            counts: last.counts,
        });
        Ok(())
    }
}

fn judged(last: &Compared, seconds: f64, interval: Option<Duration>, is_led: bool) -> Note {
    let Counts { differing, .. } = last.counts;
    let text = format!("{} ago: {}", age(seconds), parts(&last.counts).join(", "));
    let longest = interval.map(|interval| (2 * interval + LATE).as_secs_f64());
    match longest {
        Some(longest) if is_led && seconds > longest => Note::warn(
            TOPIC,
            format!("the last audit is overdue; it was {text}"),
            "See the log of the daemon for `the audit is interrupted`.",
        ),
        _ if differing > 0 => Note::warn(
            TOPIC,
            format!(
                "{} differed from the mapping of their agents, as of the audit {} ago{}",
                plural(
                    i64::try_from(differing).unwrap_or(i64::MAX),
                    "configuration"
                ),
                age(seconds),
                last.counts.cause_of_drift()
            ),
            last.counts.remedy_of_drift(),
        ),
        _ => Note::pass(TOPIC, text),
    }
}

impl Audit {
    /// The result in words.
    pub fn sentence(&self) -> String {
        format!(
            "{} ago ({})",
            age(self.seconds),
            parts(&self.counts).join(", ")
        )
    }
}

/// The numbers in words.
fn parts(counts: &Counts) -> Vec<String> {
    let number = |number: u64| crate::show::compact(i64::try_from(number).unwrap_or(i64::MAX));
    let mut parts = vec![
        format!("{} in sync", number(counts.in_sync)),
        format!("{} drifted", number(counts.drifted)),
    ];
    for (count, what) in [
        (counts.unnoticed, "never noticed"),
        (counts.pending, "pending"),
        (counts.problems, "with a problem"),
        (counts.unmapped, "with a setting that no rule reads"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", number(count)));
        }
    }
    parts
}

//! The conclusion about one agent in one database, and its remedy. Pure.

use serde::Serialize;

use super::look::{Look, OVERDUE};
use super::note::{Level, Note};
use super::problem;
use super::story::Story;
use crate::key::Key;
use crate::settings::Database;
use crate::show::{age, plural};
use crate::survey::Verdict;

/// The conclusion about one agent and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// The conclusion, in a sentence.
    pub conclusion: String,
    /// The remedy; `None` if no action is needed.
    pub remedy: Option<String>,
}

/// The most important conclusion about the agent, with a remedy.
pub fn conclude(database: &Database, look: &Look, story: &Story, key: &Key<'_>) -> Conclusion {
    let unseen = unseen(look, story).map(|(what, hidden)| Conclusion {
        conclusion: format!(
            "This role sees no {what}, and there may be one: {}.",
            hidden.text
        ),
        remedy: hidden.remedy.clone(),
    });
    let mut conclusion = unseen.unwrap_or_else(|| weigh(database, look, story, key));
    if let Some(remedy) = conclusion
        .remedy
        .as_mut()
        .filter(|_| look.installed && look.leader().is_none())
        && !remedy.contains("agent-sync r")
    {
        *remedy = format!(
            "{remedy} No daemon leads here, so this has no effect before one does: {}",
            look.remedy_without_leader()
        );
    }
    conclusion
}

fn weigh(database: &Database, look: &Look, story: &Story, key: &Key<'_>) -> Conclusion {
    let say = |conclusion: String, remedy: Option<String>| Conclusion { conclusion, remedy };
    let led = look.leader().is_some();
    let (Some(findings), Some(verdict)) = (&story.findings, story.verdict()) else {
        return without_verdict(database, story, key);
    };
    let noted = story.noted();
    let remedy = |verdict| problem::remedy_of(database, (verdict, noted), led, key);
    // A fault of the database explains why its agents are out of sync, and is repaired first.
    let broken = look.notes.iter().find(|note| note.level == Level::Fail);
    match (verdict, broken) {
        (Verdict::Rejected, _) => say(
            format!(
                "The agent is saved and rejected, and nothing of its configuration is written: {}.",
                findings.mistakes.join("; ")
            ),
            remedy(verdict),
        ),
        (Verdict::Ambiguous, _) => say(
            format!(
                "{} agents have this slug, so the agent of a configuration is unknown, and nothing \
                is written.",
                findings.agents
            ),
            remedy(verdict),
        ),
        (Verdict::Missing, _) => say(
            "The agent is saved, and no configuration has its slug, so there is nothing to keep in \
            sync.".to_owned(),
            remedy(verdict),
        ),
        (Verdict::InSync, _) => say(
            match &story.problem {
                Some(_) => "The agent and its configuration are in sync, and the problem that is \
                    noted is out of date.",
                None => "The agent and its configuration are in sync.",
            }
            .to_owned(),
            story
                .problem
                .as_ref()
                .map(|_| format!("Run {}.", problem::reconcile(&database.name, key))),
        ),
        (_, Some(broken)) => say(
            format!("The configuration differs, and agent-sync is not able to work here: \
                {}.", broken.text),
            broken.remedy.clone(),
        ),
        (Verdict::Pending, None) if look.pause.is_some() => during_pause(look),
        (Verdict::Drifted | Verdict::Pending, None) => {
            differing(database, look, story, key, verdict)
        }
    }
}

/// The conclusion where there is no agent, or it was not compared.
fn without_verdict(database: &Database, story: &Story, key: &Key<'_>) -> Conclusion {
    let (conclusion, remedy) = match (&story.findings, story.rows) {
        (Some(_), _) => (
            "The agent and its configuration are too large to be compared here.".to_owned(),
            Some(format!(
                "Run {}, which reads more.",
                problem::why(&database.name, key)
            )),
        ),
        (None, 1..) => (
            format!(
                "No agent has this slug, so agent-sync does not keep its {} in sync.",
                plural(story.rows, "configuration")
            ),
            None,
        ),
        (None, _) => ("No agent has this slug.".to_owned(), None),
    };
    Conclusion { conclusion, remedy }
}

/// The part of the agent that a policy may hide from this role, with the finding.
fn unseen<'a>(look: &'a Look, story: &Story) -> Option<(&'static str, &'a Note)> {
    let (agents, configurations) = &look.hidden;
    match &story.findings {
        None => Some(("agent with this slug", agents.as_ref()?)),
        Some(found) if found.verdict() == Verdict::Missing => {
            Some(("configuration with its slug", configurations.as_ref()?))
        }
        Some(_) => None,
    }
}

fn during_pause(look: &Look) -> Conclusion {
    Conclusion {
        conclusion: "The change waits for the end of the pause of the database.".to_owned(),
        remedy: Some(look.remedy_without_leader()),
    }
}

/// The conclusion for a configuration that differs, in a database without faults.
fn differing(
    database: &Database,
    look: &Look,
    story: &Story,
    key: &Key<'_>,
    verdict: Verdict,
) -> Conclusion {
    let led = look.leader().is_some();
    let remedy = problem::remedy_of(database, (verdict, story.noted()), led, key);
    if let Some(failed) = story
        .problem
        .as_ref()
        .filter(|problem| problem.kind == "failed")
    {
        let again = match failed.next_attempt_seconds {
            _ if !led => "; no daemon leads that would try again".to_owned(),
            Some(seconds) if seconds > 0.0 => format!("; it is tried again in {}", age(seconds)),
            _ => "; it is about to be tried again".to_owned(),
        };
        let (failure, sqlstate) = (("failed", &*failed.detail), failed.sqlstate.as_deref());
        let remedy = problem::remedy(database, failure, sqlstate, key);
        return Conclusion {
            conclusion: format!(
                "The configuration differs, and {}{again}.",
                on_one_line(&failed.detail)
            ),
            remedy: Some(remedy),
        };
    }
    let conclusion = match (&story.pending, led) {
        (Some(pending), true) if pending.seconds > OVERDUE => {
            return Conclusion {
                conclusion: format!(
                    "The change has been waiting for {}, though a daemon leads: it is busy, it \
                    hangs, or another session has locked the configuration.",
                    age(pending.seconds)
                ),
                remedy: Some("Run `agent-sync doctor`, and see the log of the daemon.".to_owned()),
            };
        }
        (Some(pending), true) => format!(
            "The change was noted {} ago, and the daemon is about to bring it in sync: there is \
            nothing to do.",
            age(pending.seconds)
        ),
        (Some(pending), false) => format!(
            "The change was noted {} ago, and no daemon leads that would bring it in sync.",
            age(pending.seconds)
        ),
        (None, _) if look.unsure => {
            "The configuration differs, and the change may have been missed; every agent is still \
            to be checked."
                .to_owned()
        }
        (None, _) => "The configuration differs, and nothing is pending: it was changed after it \
            was brought in sync, or the rules were."
            .to_owned(),
    };
    Conclusion { conclusion, remedy }
}

/// The text on one line.
fn on_one_line(sentence: &str) -> String {
    sentence.replace('\n', "; ")
}

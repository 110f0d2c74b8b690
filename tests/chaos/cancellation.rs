//! Drops the daemon's work after *i* polls, for every *i*, against a real server: during connect,
//! lead and listen, in every batch and every rollback of one. Statements sent before the drop may
//! or may not be executed.
//!
//! Promises: in one snapshot, every configuration has its former or its new value, and its slug is
//! in the outbox if it has the former one (G1); no older value returns (G2); and the locks of the
//! dropped daemon are released, so the next one continues.

use std::ffi::OsString;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll};
use std::time::Duration;

use agent_sync::mapping::Rules;
use agent_sync::observe::{Board, Phase};
use agent_sync::settings::{Settings, Sources};
use agent_sync::sync::{Context, OneShotDrain, Options, keep_in_sync};
use tokio::sync::watch;

use crate::support::Platform;

/// A future that is dropped after a number of polls, or when it rests. Statements that it has sent
/// may still be executed.
struct Cut<F, R> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
    rests: R,
}

impl<F: Future, R: Fn() -> bool + Unpin> Future for Cut<F, R> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, waking: &mut Waking<'_>) -> Poll<Self::Output> {
        if let Some(inner) = &mut self.future
            && let Poll::Ready(output) = inner.as_mut().poll(waking)
        {
            return Poll::Ready(Some(output));
        }
        self.polls -= 1;
        if self.polls == 0 || (self.rests)() {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// The output of the future, or `None` if it was dropped after this number of polls.
async fn cut<F: Future>(
    future: F,
    polls: usize,
    rests: impl Fn() -> bool + Unpin,
) -> Option<F::Output> {
    Cut {
        future: Some(Box::pin(future)),
        polls,
        rests,
    }
    .await
}

/// The settings of one database, as the daemon has them.
fn settings(platform: &Platform) -> Settings {
    let environment = [
        ("DATABASE_URL", platform.url.as_str()),
        // A short sweep interval would hide a lost change.
        ("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h"),
        ("AGENT_SYNC__SYNC__BATCH_SIZE", "2"),
    ];
    let environment =
        environment.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load_from(&Sources::new(None, None, environment))
        .unwrap()
        .settings
}

/// Agents for every case of a batch: some are written, one has no configuration, one is rejected,
/// and the server refuses one, so batches fail and are repeated.
async fn platform() -> Platform {
    let platform = Platform::installed().await;
    for slug in ["a", "b", "c", "refused", "rejected"] {
        platform.configure(slug).await;
    }
    platform
        .run(
            "ALTER TABLE agent_configurations ADD CONSTRAINT refused CHECK (agent_slug <> \
            'refused' OR voice_id IS NULL)",
        )
        .await;
    platform
}

/// Saves every agent with this number. Also clears the record of crashes, because an agent that two
/// dropped daemons have begun with would be set aside (`narrowing`).
async fn save(platform: &Platform, round: usize) {
    platform
        .run("UPDATE agent_sync.install SET last_tried = NULL, tries = 0")
        .await;
    for slug in ["a", "refused", "b", "missing", "c"] {
        platform
            .save(
                slug,
                &format!(r#"{{"provider":"openai","voice_id":"voice-{round}"}}"#),
            )
            .await;
    }
    platform
        .save(
            "rejected",
            &format!(r#"{{"provider":"openai","voice_id":["{round}"]}}"#),
        )
        .await;
}

/// Asserts the promises in one snapshot, while `round` is the last save: a configuration has the
/// value of this round, or its value before the round with its slug in the outbox; a problem is
/// noted, or its slug is in the outbox.
async fn holds(platform: &Platform, round: usize, before: &[(String, Option<String>)]) {
    let now = platform
        .client
        .query(
            "SELECT a.slug, c.voice_id, EXISTS (SELECT FROM agent_sync.outbox o
                  WHERE o.slug = a.slug),
                    (SELECT p.kind FROM agent_sync.problem p WHERE p.slug = a.slug)
             FROM agents a LEFT JOIN agent_configurations c ON c.agent_slug = a.slug ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(now.len(), 6);
    for row in now {
        let (slug, voice): (String, Option<String>) = (row.get(0), row.get(1));
        let (pending, problem): (bool, Option<String>) = (row.get(2), row.get(3));
        let expected = match &*slug {
            "missing" => Some("missing_configuration"),
            "refused" => Some("failed"),
            "rejected" => Some("rejected"),
            _ => None,
        };
        if expected.is_some() {
            assert_eq!(voice, None, "{slug}");
            assert!(
                pending || problem.as_deref() == expected,
                "{slug} is lost in round {round}"
            );
        } else if voice.as_deref() != Some(&*format!("voice-{round}")) {
            assert!(pending, "{slug} is lost in round {round}: it has {voice:?}");
            let then = before
                .iter()
                .find(|(name, _)| *name == slug)
                .and_then(|(_, voice)| voice.clone());
            assert_eq!(voice, then, "{slug} went back in round {round}");
        }
    }
}

async fn voices(platform: &Platform) -> Vec<(String, Option<String>)> {
    let sql = "SELECT agent_slug, voice_id FROM agent_configurations";
    platform
        .client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

/// Whether the daemon has no session left, and so no lock.
const GONE: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'agent-sync/%')
    AND NOT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE d.datname = current_database() AND l.locktype = 'advisory')";

#[tokio::test]
async fn g1_g2_the_daemon_can_be_dropped_at_every_point_of_its_life() {
    let platform = platform().await;
    let settings = settings(&platform);
    let (_rules, rules) = watch::channel(Arc::new(Rules::embedded().clone()));
    let (_stop, stop) = watch::channel(false);
    let mut polls = 0;
    loop {
        polls += 1;
        let before = voices(&platform).await;
        save(&platform, polls).await;
        // GIVEN a daemon that connects, leads, catches up and goes to sleep
        let board = Board::default();
        let observer = board.observer("default", "");
        let database = settings.databases["default"].clone();
        let context = Context::new(database, Options::of(&settings), rules.clone(), observer);
        // WHEN it is dropped after this number of polls
        let rests = || board.snapshot().databases[0].1.phase == Phase::Waiting;
        let ended = cut(keep_in_sync(context, stop.clone()), polls, rests).await;
        assert!(ended.is_none(), "it never ends by itself");
        // THEN nothing is lost and no older value returns, immediately and after all sent
        // statements
        holds(&platform, polls, &before).await;
        platform.holds(GONE).await;
        holds(&platform, polls, &before).await;
        // The search ends when the daemon sleeps before the drop.
        if rests() {
            assert!(
                platform.outbox().await.is_empty(),
                "it rests with work to do"
            );
            assert_eq!(platform.problems().await, 3);
            break;
        }
        assert!(polls < 2000, "it never comes to rest");
    }
    eprintln!("{polls} drop points in the life of a daemon");
    assert!(polls > 40, "{polls} points are not all of them");
}

/// A drain can be dropped at every point; its session continues or reports that it cannot.
#[tokio::test]
async fn g1_g2_a_drain_can_be_dropped_at_every_point() {
    let platform = platform().await;
    let settings = settings(&platform);
    let database = settings.databases["default"].clone();
    let acquire = async || {
        let rules = Arc::new(Rules::embedded().clone());
        let oneshot = OneShotDrain::acquire(&database, Options::of(&settings), rules)
            .await
            .unwrap();
        oneshot.expect("nobody else leads")
    };
    let (mut polls, mut went_on, mut said_no) = (0, 0, 0);
    loop {
        polls += 1;
        let before = voices(&platform).await;
        save(&platform, polls).await;
        // GIVEN a session with the leader lock
        let mut oneshot = acquire().await;
        // WHEN its drain is dropped after this number of polls
        let drained = async { while oneshot.drain_batch().await.unwrap() {} };
        let ended = cut(drained, polls, || false).await.is_some();
        holds(&platform, polls, &before).await;
        // THEN the same session completes the drain in its own transactions, or reports that it
        // cannot
        let rest = async {
            while oneshot.drain_batch().await? {}
            Ok::<(), agent_sync::sync::AttemptError>(())
        };
        match tokio::time::timeout(Duration::from_secs(60), rest)
            .await
            .unwrap()
        {
            Ok(()) => {
                let busy =
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name LIKE 'agent-sync/%' AND state LIKE 'idle in transaction%'";
                assert_eq!(
                    platform.value::<i64>(busy).await,
                    0,
                    "a transaction is left open after {polls} polls"
                );
                went_on += 1;
                drop(oneshot);
            }
            Err(error) => {
                eprintln!("after {polls} polls: {error}");
                said_no += 1;
                drop(oneshot);
                platform.holds(GONE).await;
                let mut next = acquire().await;
                while next.drain_batch().await.unwrap() {}
            }
        }
        holds(&platform, polls, &before).await;
        assert!(
            platform.outbox().await.is_empty(),
            "something is left after {polls} polls"
        );
        platform.holds(GONE).await;
        if ended {
            break;
        }
        assert!(polls < 2000, "it never ends");
    }
    eprintln!(
        "{polls} drop points in a drain: the session went on {went_on} times, and said no \
        {said_no} times"
    );
    assert!(polls > 10, "{polls} points are not all of them");
}

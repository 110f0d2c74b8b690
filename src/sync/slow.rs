//! Slow writes (G5). Usually a trigger makes them slow.
//!
//! There is one session, so all other writes wait for a running one. All writes of a batch may take
//! [`BESIDE_OTHERS`] together. A slower write is left in the outbox and tried alone. Its time limit
//! doubles from try to try up to `sync.statement_timeout`, and it gets at most a fifth of the time
//! of the session. A write that exceeds the full limit becomes a problem.
//!
//! A slug that is read and written page by page (`sync::large`) has one limit for all pages. Where
//! large agents of other databases wait for the turn that it has, that is [`LONGEST_TURN`] at the
//! first try. One that has met a lock is tried again after a pause. What is known outlives the
//! connection, which ends with the turn: otherwise the next one would begin with the same slug.

use std::time::{Duration, Instant};

use super::busy::PAUSES;
use super::heavy::{LONGEST as LONGEST_TURN, Wanted};
use super::remembered::{Remembered, TRIED_ALONE};
use crate::store::ForeignCode;

/// The time for all writes of a batch, and for the first try of a write alone.
const BESIDE_OTHERS: Duration = Duration::from_millis(500);

/// The pause after a try in the turn of heavy work that has met a lock: the first one, and the
/// longest.
const LOCKED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The known slow writes.
#[derive(Debug)]
pub(super) struct Slow {
    most: Duration,
    slugs: Remembered<Trial>,
    alone: Option<String>,
    has_met_any: bool,
}

/// The time limit of a write that has begun.
#[derive(Debug, Clone)]
pub(super) struct Allowed {
    since: Instant,
    time: Duration,
    /// The time while the turn is not wanted, for a slug in pages.
    unless: Option<(Wanted, Duration)>,
}

impl Allowed {
    pub(super) fn from_now(time: Duration) -> Self {
        Self {
            since: Instant::now(),
            time,
            unless: None,
        }
    }

    /// The rest of it.
    pub(super) fn left(&self) -> Duration {
        let time = match &self.unless {
            Some((wanted, longer)) if !wanted.is_set() => *longer,
            _ => self.time,
        };
        time.saturating_sub(self.since.elapsed())
    }

    /// Whether it is used up. A write has taken less than its limit if a trigger has raised 57014
    /// itself, or another session has cancelled it.
    fn is_used_up(&self) -> bool {
        self.since.elapsed() >= self.time.mul_f64(0.9)
    }
}

/// The next try of a slow write: its earliest time, and its time limit.
#[derive(Debug, Clone, Copy)]
struct Trial {
    not_before: Instant,
    time: Duration,
    /// Whether it could not be tried without the turn of heavy work.
    needs_turn: bool,
    /// The pause before it, where the last one has met a lock in the turn.
    pause: Duration,
}

impl Slow {
    /// With the most time that there is.
    pub(super) fn new(most: Duration) -> Self {
        Self {
            most,
            slugs: Remembered::new(TRIED_ALONE),
            alone: None,
            has_met_any: false,
        }
    }

    /// The slug that is being tried alone.
    pub(super) fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// Whether this slug is left out of a batch.
    pub(super) fn must_wait(&self, key: &str) -> bool {
        self.alone() != Some(key) && self.slugs.get(key).is_some()
    }

    /// How long the writes of a batch may take.
    pub(super) fn time(&self) -> Duration {
        let trial = self.alone().and_then(|key| self.slugs.get(key));
        trial
            .map_or(BESIDE_OTHERS, |trial| trial.time)
            .min(self.most)
    }

    /// How long the reads and writes of a slug in pages may take where the turn is wanted.
    fn time_of_pages(&self) -> Duration {
        self.time().max(LONGEST_TURN).min(self.most)
    }

    /// The limit of the reads and writes of a slug in pages, from now on.
    pub(super) fn allowed_for_pages(&self, wanted: Wanted) -> Allowed {
        Allowed {
            unless: Some((wanted, self.most)),
            ..Allowed::from_now(self.time_of_pages())
        }
    }

    /// The time of [`Self::time`], or none where no limit is needed. Setting a limit takes a
    /// noticeable share of a small batch, so it is set only where code of others runs with the
    /// writes, or after a slow write.
    pub(super) fn limit(&self, foreign_code: ForeignCode) -> Option<Duration> {
        (self.has_met_any || foreign_code != ForeignCode::None).then(|| self.time())
    }

    /// Begins the trial of the slug that is due first. Returns false if none is due.
    pub(super) fn begin_one(&mut self, now: Instant) -> bool {
        let due = self
            .slugs
            .iter()
            .filter(|(_, trial)| trial.not_before <= now);
        self.alone = due
            .min_by_key(|(_, trial)| trial.not_before)
            .map(|(key, _)| key.to_owned());
        self.alone.is_some()
    }

    /// The write of this slug did not fit in the time of a batch. False if it cannot be remembered.
    pub(super) fn add(&mut self, key: &str, now: Instant) -> bool {
        self.has_met_any = true;
        let trial = Trial {
            not_before: now,
            time: BESIDE_OTHERS,
            needs_turn: false,
            pause: Duration::ZERO,
        };
        self.slugs.get(key).is_some() || self.slugs.insert(key, trial)
    }

    /// The try alone is over: the slug is like others again.
    pub(super) fn end_one(&mut self) {
        if let Some(key) = self.alone.take() {
            self.slugs.remove(&key);
        }
    }

    /// The slug could not be tried alone now, without the turn of heavy work. It keeps the limit
    /// that it would have had.
    pub(super) fn put_off(&mut self, waited: Duration, now: Instant) {
        let key = self.alone.take();
        if let Some(trial) = key.and_then(|key| self.slugs.get_mut(&key)) {
            trial.not_before = now + waited * PAUSES;
            trial.needs_turn = true;
        }
    }

    /// The slug could not be written for a lock, in the turn of heavy work. It is tried alone after
    /// a pause that doubles.
    pub(super) fn met_lock_in_turn(&mut self, key: &str, now: Instant) {
        self.alone = None;
        let (time, last) = self
            .slugs
            .get(key)
            .map_or((BESIDE_OTHERS, Duration::ZERO), |trial| {
                (trial.time, trial.pause)
            });
        let pause = (last * 2).clamp(LOCKED.0, LOCKED.1);
        let trial = Trial {
            not_before: now + pause,
            time,
            needs_turn: false,
            pause,
        };
        self.slugs.insert(key, trial);
    }

    /// The turn of heavy work has come: what has waited for it is due.
    pub(super) fn turn_came(&mut self, now: Instant) {
        self.slugs.retain(|trial| {
            if std::mem::take(&mut trial.needs_turn) {
                trial.not_before = now;
            }
            true
        });
    }

    /// The write of this slug, the only one of its batch, was cancelled. True if it took too long
    /// and is tried again with more time; false if it was cancelled for another reason, or has had
    /// all the time there is, and so has failed.
    pub(super) fn is_to_be_tried_again(&mut self, key: &str, allowed: &Allowed) -> bool {
        let had_all = allowed.since.elapsed() >= self.most;
        let tried = if had_all { self.most } else { allowed.time };
        allowed.is_used_up() && self.took_too_long(key, tried, Instant::now())
    }

    fn took_too_long(&mut self, key: &str, tried: Duration, now: Instant) -> bool {
        self.alone = None;
        if !self.add(key, now) {
            return false;
        }
        let trial = Trial {
            not_before: now + tried * PAUSES,
            time: (tried * 2).min(self.most),
            needs_turn: false,
            pause: Duration::ZERO,
        };
        self.slugs.insert(key, trial);
        tried < self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    #[test]
    fn a_slow_write_waits_for_its_turn_which_comes_with_more_time_after_longer_pauses() {
        let (mut slow, mut now) = (Slow::new(MOST), Instant::now());
        assert!(!slow.must_wait("a") && !slow.begin_one(now));
        assert_eq!(slow.limit(ForeignCode::None), None);
        assert_eq!(slow.limit(ForeignCode::WithTheWrite), Some(BESIDE_OTHERS));
        assert!(slow.add("a", now));
        assert_eq!(slow.limit(ForeignCode::None), Some(BESIDE_OTHERS));
        let mut times = Vec::new();
        loop {
            assert!(slow.must_wait("a"));
            assert!(slow.begin_one(now) && slow.alone() == Some("a") && !slow.must_wait("a"));
            let time = slow.time();
            times.push(time.as_millis());
            now += time;
            let goes_on = slow.took_too_long("a", time, now);
            assert!(
                !slow.begin_one(now + time * (PAUSES - 1)),
                "others are next"
            );
            now += time * PAUSES;
            if !goes_on {
                break;
            }
        }
        assert_eq!(times, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
        assert!(slow.begin_one(now), "a failed write is retried alone");
        slow.end_one();
        assert!(!slow.must_wait("a"));
    }

    /// G5: the pages of a slug have one limit together, and no try but the last has the turn for
    /// longer than that.
    #[test]
    fn g5_a_slug_in_pages_is_tried_with_more_time_from_try_to_try() {
        let (mut slow, mut now) = (Slow::new(MOST), Instant::now());
        let mut times = Vec::new();
        loop {
            let time = slow.time_of_pages();
            times.push(time.as_secs());
            if !slow.took_too_long("a", time, now) {
                break;
            }
            assert!(slow.must_wait("a") && !slow.begin_one(now + time));
            now += time * PAUSES;
            assert!(slow.begin_one(now));
            // It does not get the turn, and is tried later with the same limit.
            slow.put_off(BESIDE_OTHERS, now);
            assert!(slow.must_wait("a") && !slow.begin_one(now));
            slow.turn_came(now);
            assert!(slow.begin_one(now));
        }
        assert_eq!(times, [5, 10, 20, 30]);
        let short = Duration::from_secs(1);
        assert_eq!(Slow::new(short).time_of_pages(), short);
        let allowed = Allowed::from_now(Duration::ZERO);
        assert!(allowed.is_used_up() && allowed.left().is_zero());
        assert!(!Allowed::from_now(MOST).is_used_up());
    }

    #[test]
    fn a_slug_that_met_a_lock_in_the_turn_is_tried_after_longer_pauses() {
        let (mut slow, mut now) = (Slow::new(MOST), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            slow.met_lock_in_turn("a", now);
            assert!(slow.must_wait("a"));
            let begun = now;
            while !slow.begin_one(now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - begun).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        slow.end_one();
        assert!(!slow.must_wait("a"));
    }

    #[test]
    fn a_batch_never_has_more_time_than_is_set() {
        assert_eq!(Slow::new(MOST).time(), BESIDE_OTHERS);
        assert_eq!(
            Slow::new(Duration::from_millis(100)).time(),
            Duration::from_millis(100)
        );
        let mut slow = Slow::new(Duration::from_millis(100));
        assert!(
            !slow.took_too_long("a", slow.time(), Instant::now()),
            "that was all the time there is"
        );
    }

    #[test]
    fn no_more_slugs_are_remembered_than_there_is_room_for() {
        let (mut slow, now) = (Slow::new(MOST), Instant::now());
        for number in 0..TRIED_ALONE.keys {
            assert!(slow.add(&number.to_string(), now));
        }
        assert!(!slow.add("one more", now) && slow.add("7", now));
        assert!(!slow.took_too_long("one more", BESIDE_OTHERS, now));
        let mut slow = Slow::new(MOST);
        let long = (0..TRIED_ALONE.keys).filter(|number| {
            let key = format!("{number}{}", "x".repeat(8000));
            slow.add(&key, now)
        });
        assert!((60..=65).contains(&long.count()));
    }
}

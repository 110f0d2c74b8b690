//! Locked configurations (G16).
//!
//! A batch skips a configuration that another session has locked, and the daemon looks at it again
//! after a pause. Where short locks follow each other closely, every look may find one. So the slug
//! is sometimes tried alone, and its configurations are waited for in the queue of the server, for
//! a limited time, in which no other slug is written:
//!
//! - when a configuration has another version than at the last look, because its lock has changed
//!   hands;
//! - otherwise after 2 s, and then after ever longer times: one session may hold the lock for
//!   hours.

use std::mem;
use std::time::{Duration, Instant};

use super::remembered::{Remembered, TRIED_ALONE};

/// The time between two looks at the versions of the configurations of a slug.
const BETWEEN: Duration = Duration::from_millis(250);

/// The pause after one slug was tried alone, as a multiple of the time of the try: so it takes at
/// most a fifth of the time of the session. It is the same after a slow write.
pub(super) const PAUSES: u32 = 4;

/// How long a lock is held before it is waited for although no version has changed: the first time,
/// and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The slugs with locked configurations.
#[derive(Debug)]
pub(super) struct Busy {
    slugs: Remembered<Locked>,
    alone: Option<String>,
}

/// A slug with a locked configuration.
#[derive(Debug)]
struct Locked {
    /// The versions of its configurations at the last look, as one number
    /// (`Store::versions_of_configurations`).
    versions: Option<i64>,
    next_look: Instant,
    patience: Duration,
    /// When it is waited for in any case.
    wait_at: Instant,
    /// Whether it was locked in this scan.
    in_scan: bool,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            slugs: Remembered::new(TRIED_ALONE),
            alone: None,
        }
    }
}

impl Busy {
    /// The slug that is being tried alone.
    pub(super) fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// A batch has skipped this slug.
    pub(super) fn add(&mut self, key: &str, now: Instant) {
        if let Some(locked) = self.slugs.get_mut(key) {
            locked.in_scan = true;
        } else {
            let locked = Locked {
                versions: None,
                next_look: now + BETWEEN,
                patience: PATIENCE.0,
                wait_at: now + PATIENCE.0,
                in_scan: true,
            };
            self.slugs.insert(key, locked);
        }
    }

    /// A scan is over: the slugs that it has not skipped are like others again.
    pub(super) fn end_scan(&mut self) {
        self.slugs.retain(|locked| mem::take(&mut locked.in_scan));
    }

    /// The slug to be looked at, if one is due.
    pub(super) fn due(&self, now: Instant) -> Option<&str> {
        let due = self.slugs.iter().filter(|(_, one)| one.next_look <= now);
        due.min_by_key(|(_, one)| one.next_look).map(|(key, _)| key)
    }

    /// Notes the versions of the configurations of this slug. Returns whether it is tried alone.
    pub(super) fn note_versions(&mut self, key: &str, versions: i64, now: Instant) -> bool {
        let Some(locked) = self.slugs.get_mut(key) else {
            return false;
        };
        locked.next_look = now + BETWEEN;
        let before = locked.versions.replace(versions);
        let has_changed = before.is_some() && before != locked.versions;
        let waits = has_changed || now >= locked.wait_at;
        if waits {
            self.alone = Some(key.to_owned());
        }
        waits
    }

    /// The try alone is over.
    pub(super) fn end_one(&mut self) {
        if let Some(key) = self.alone.take() {
            self.slugs.remove(&key);
        }
    }

    /// The wait of this time was in vain.
    pub(super) fn waited(&mut self, time: Duration, now: Instant) {
        let key = self.alone.take();
        if let Some(locked) = key.and_then(|key| self.slugs.get_mut(&key)) {
            locked.next_look = now + time * PAUSES;
            locked.versions = None;
            locked.patience = (locked.patience * 2).min(PATIENCE.1);
            locked.wait_at = now + locked.patience;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(500);

    #[test]
    fn a_lock_that_changes_hands_is_waited_for() {
        let (mut busy, mut now) = (Busy::default(), Instant::now());
        busy.add("a", now);
        assert_eq!(busy.due(now), None);
        for (versions, waits) in [(1, false), (1, false), (2, true)] {
            now += BETWEEN;
            assert_eq!(busy.due(now), Some("a"));
            assert_eq!(busy.note_versions("a", versions, now), waits);
            assert_eq!(busy.due(now), None);
        }
        assert_eq!(busy.alone(), Some("a"));
    }

    #[test]
    fn a_lock_that_is_held_for_long_leaves_the_others_nearly_all_of_the_time() {
        let (mut busy, start) = (Busy::default(), Instant::now());
        let (mut now, mut waits) = (start, Vec::new());
        busy.add("a", now);
        while now < start + Duration::from_secs(600) {
            now += BETWEEN;
            if busy.due(now).is_some() && busy.note_versions("a", 7, now) {
                waits.push((now - start).as_secs());
                now += TIME;
                busy.waited(TIME, now);
            }
        }
        assert_eq!(waits[..5], [2, 6, 15, 31, 64]);
        assert_eq!(waits.len(), 13);
    }

    #[test]
    fn a_wait_in_vain_is_followed_by_a_pause() {
        let (mut busy, mut now) = (Busy::default(), Instant::now());
        busy.add("a", now);
        now += BETWEEN;
        assert!(!busy.note_versions("a", 1, now));
        now += BETWEEN;
        assert!(busy.note_versions("a", 2, now));
        busy.waited(TIME, now);
        assert_eq!(busy.alone(), None);
        assert_eq!(busy.due(now + TIME * (PAUSES - 1)), None);
        let next = now + TIME * PAUSES;
        assert_eq!(busy.due(next), Some("a"));
        assert!(!busy.note_versions("a", 3, next));
    }

    #[test]
    fn what_a_scan_has_not_skipped_and_what_was_tried_is_forgotten() {
        let (mut busy, now) = (Busy::default(), Instant::now());
        for key in ["a", "b"] {
            busy.add(key, now);
        }
        busy.end_scan();
        busy.add("b", now);
        busy.end_scan();
        let later = now + BETWEEN;
        assert_eq!(busy.due(later), Some("b"));
        assert!(!busy.note_versions("b", 1, later));
        assert!(busy.note_versions("b", 2, later));
        busy.end_one();
        assert_eq!((busy.alone(), busy.due(later + TIME)), (None, None));
        for number in 0..2 * TRIED_ALONE.keys {
            busy.add(&number.to_string(), now);
        }
        assert_eq!(busy.slugs.iter().count(), TRIED_ALONE.keys);
        let mut busy = Busy::default();
        for number in 0..TRIED_ALONE.keys {
            busy.add(&format!("{number}{}", "x".repeat(8000)), now);
        }
        assert!((60..=65).contains(&busy.slugs.iter().count()));
    }
}

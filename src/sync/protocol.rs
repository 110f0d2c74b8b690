//! The decisions of the drain (C6, G1): when to take and to release the idle lock, when to scan
//! again, to poll or to sleep, and when a change takes the fast path.
//!
//! Pure: no I/O and no clock. [`Protocol::next`] takes an input, which is one fact, and returns the
//! command that follows from it. `sync::drain` and `sync::connection` execute the commands.
//! `tests/model` calls the same code, in every order of its inputs.
//!
//! While the daemon holds the idle lock, every writer sends NOTIFY. So one full scan of the outbox
//! after taking the lock finds every change that is not announced, and the daemon can sleep. An
//! open transaction that saved an agent blocks the lock; then the daemon polls. Invariants: the
//! lock is taken only at the front of a scan. It is released only when more work is known, or when
//! the effect of a failed statement is unknown.

mod input;

pub use input::{Input, Next};

use crate::session::News;
use crate::store::IdleLockAction;

/// The state of the protocol for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol {
    /// Whether it sleeps under the idle lock, so that writers notify it.
    uses_idle_lock: bool,
    idle_lock: IdleLock,
    scan: Scan,
}

/// The knowledge of this session about the idle lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum IdleLock {
    /// This session does not hold it: writers do not notify.
    Released,
    /// The same, and the next scan begins with an attempt to take it, if this daemon uses it.
    Wanted,
    /// This session holds it: writers notify.
    Held {
        /// Whether a full scan under the lock has left nothing, and every later row is announced.
        /// The fast path requires it.
        outbox_scanned: bool,
    },
    /// It may be held, and the next batch releases it.
    ReleaseNext,
}

/// One scan of the outbox, from the front to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Scan {
    /// Whether the next batch begins at the front.
    at_front: bool,
    took_any: bool,
    left_rows: bool,
}

/// The next action of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<T> {
    /// Continue with the running batch, or with the command before.
    Continue,
    /// Process one batch, which begins with this action on the idle lock.
    Claim(IdleLockAction),
    /// Process the change at this ctid by the fast path.
    FastPath(T),
    /// Pause, and scan again: a writer blocks the idle lock.
    Poll {
        /// Whether the scan left rows in the outbox ([`Input::LeftRows`]).
        left_rows: bool,
    },
    /// Sleep until a notification arrives, or a sweep, a retry or another attempt at what was left
    /// is due.
    Sleep {
        /// Whether the scan left rows in the outbox ([`Input::LeftRows`]).
        left_rows: bool,
    },
}

impl Scan {
    const NEW: Self = Self {
        at_front: true,
        took_any: false,
        left_rows: false,
    };
}

impl Protocol {
    /// The state of a new connection. Its first input is [`Input::Unannounced`].
    pub const fn new(uses_idle_lock: bool) -> Self {
        Self {
            uses_idle_lock,
            idle_lock: IdleLock::Released,
            scan: Scan::NEW,
        }
    }

    /// Whether the session certainly holds the idle lock.
    pub fn holds_idle_lock(self) -> bool {
        matches!(self.idle_lock, IdleLock::Held { .. })
    }

    /// Takes one fact, and returns the command that follows from it.
    pub fn next<T>(&mut self, input: Input<T>) -> Command<T> {
        match input {
            Input::Claimed { action, got_lock } => self.claimed(action, got_lock),
            // Release does no harm where the lock is not held.
            Input::ClaimFailed { action } => {
                if action != IdleLockAction::Keep {
                    self.idle_lock = IdleLock::ReleaseNext;
                }
            }
            Input::TookRows => self.scan.took_any = true,
            Input::LeftRows => self.scan.left_rows = true,
            Input::MoreWork => self.release_next(),
            Input::BatchEnded(next) => return self.batch_ended(next),
            Input::FastPathEnded { done } => return self.fast_path_ended(done),
            Input::Woken { news, fast_path } => return self.woken(news, fast_path),
            Input::Unannounced => {
                self.take_outbox_scanned();
                return self.claim();
            }
            Input::Interrupted => {
                self.release_next();
                return self.claim();
            }
        }
        Command::Continue
    }

    fn claimed(&mut self, action: IdleLockAction, got_lock: bool) {
        match action {
            IdleLockAction::Release => self.idle_lock = IdleLock::Released,
            IdleLockAction::Try if got_lock => {
                self.idle_lock = IdleLock::Held {
                    outbox_scanned: false,
                };
            }
            IdleLockAction::Try | IdleLockAction::Keep => {}
        }
    }

    fn claim<T>(self) -> Command<T> {
        Command::Claim(match self.idle_lock {
            IdleLock::ReleaseNext => IdleLockAction::Release,
            // A second batch: there is more work.
            IdleLock::Held { .. } if self.scan.took_any => IdleLockAction::Release,
            IdleLock::Wanted if self.uses_idle_lock && self.scan.at_front => IdleLockAction::Try,
            _ => IdleLockAction::Keep,
        })
    }

    fn batch_ended<T>(&mut self, next: Next) -> Command<T> {
        match next {
            Next::Same => {}
            Next::Further => self.scan.at_front = false,
            Next::Front => self.scan = Scan::NEW,
            Next::End => return self.scan_ended(),
        }
        self.claim()
    }

    fn scan_ended<T>(&mut self) -> Command<T> {
        let scan = std::mem::replace(&mut self.scan, Scan::NEW);
        let (took_any, left_rows) = (scan.took_any, scan.left_rows);
        match self.idle_lock {
            // Held from the front to the end: every row since then is announced.
            IdleLock::Held { .. } => {
                self.idle_lock = IdleLock::Held {
                    outbox_scanned: !left_rows,
                };
                return Command::Sleep { left_rows };
            }
            _ if !took_any && !self.uses_idle_lock => return Command::Sleep { left_rows },
            // The attempt at the front of this scan has failed: a writer blocks the lock.
            IdleLock::Wanted if !took_any => return Command::Poll { left_rows },
            IdleLock::Released => self.idle_lock = IdleLock::Wanted,
            IdleLock::Wanted | IdleLock::ReleaseNext => {}
        }
        self.claim()
    }

    fn fast_path_ended<T>(&mut self, done: bool) -> Command<T> {
        if !done {
            return self.claim();
        }
        if let IdleLock::Held { outbox_scanned } = &mut self.idle_lock {
            *outbox_scanned = true;
        }
        Command::Sleep { left_rows: false }
    }

    fn woken<T>(&mut self, news: News<T>, fast_path: bool) -> Command<T> {
        let was_scanned = self.take_outbox_scanned();
        match news {
            News::Change(tid) if was_scanned && fast_path => Command::FastPath(tid),
            _ => self.claim(),
        }
    }

    /// Ends the state that the fast path requires, and returns whether it was there.
    fn take_outbox_scanned(&mut self) -> bool {
        match &mut self.idle_lock {
            IdleLock::Held { outbox_scanned } => std::mem::take(outbox_scanned),
            _ => false,
        }
    }

    fn release_next(&mut self) {
        if self.holds_idle_lock() {
            self.idle_lock = IdleLock::ReleaseNext;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A protocol, the last command, and the lock that the server would grant.
    struct Daemon {
        protocol: Protocol,
        command: Command<u8>,
        is_blocked: bool,
    }

    impl Daemon {
        fn new(uses_idle_lock: bool) -> Self {
            let mut protocol = Protocol::new(uses_idle_lock);
            Self {
                command: protocol.next(Input::Unannounced),
                protocol,
                is_blocked: false,
            }
        }

        fn tell(&mut self, input: Input<u8>) -> Command<u8> {
            self.command = self.protocol.next(input);
            self.command
        }

        /// Executes a claim; its batch takes rows or none.
        fn batch(&mut self, takes_rows: bool, next: Next) -> Command<u8> {
            let Command::Claim(action) = self.command else {
                panic!("no batch is due: {:?}", self.command);
            };
            let got_lock = action == IdleLockAction::Try && !self.is_blocked;
            self.tell(Input::Claimed { action, got_lock });
            if takes_rows {
                self.tell(Input::TookRows);
            }
            self.tell(Input::BatchEnded(next))
        }

        fn asleep() -> Self {
            let mut daemon = Self::new(true);
            daemon.batch(false, Next::End);
            assert_eq!(daemon.batch(false, Next::End), SLEEP);
            daemon
        }

        fn wake(&mut self, news: News<u8>) -> Command<u8> {
            let fast_path = true;
            self.tell(Input::Woken { news, fast_path })
        }
    }

    const SLEEP: Command<u8> = Command::Sleep { left_rows: false };
    const KEEP: Command<u8> = Command::Claim(IdleLockAction::Keep);
    const TRY: Command<u8> = Command::Claim(IdleLockAction::Try);
    const RELEASE: Command<u8> = Command::Claim(IdleLockAction::Release);

    #[test]
    fn c6_sleep_follows_a_full_scan_under_the_lock() {
        let mut daemon = Daemon::new(true);
        assert_eq!(daemon.command, KEEP);
        assert_eq!(daemon.batch(true, Next::Further), KEEP);
        assert_eq!(daemon.batch(true, Next::End), TRY, "after the first scan");
        assert_eq!(daemon.batch(false, Next::End), SLEEP);
    }

    #[test]
    fn a_writer_that_blocks_the_lock_makes_the_daemon_poll() {
        let mut daemon = Daemon::new(true);
        daemon.is_blocked = true;
        assert_eq!(daemon.batch(false, Next::End), TRY);
        assert_eq!(daemon.batch(true, Next::Further), KEEP, "not at the front");
        assert_eq!(daemon.batch(true, Next::End), TRY);
        let poll = Command::Poll { left_rows: false };
        assert_eq!(daemon.batch(false, Next::End), poll);
        assert_eq!(daemon.wake(News::Change(7)), TRY, "no fast path");
        daemon.is_blocked = false;
        assert_eq!(daemon.batch(false, Next::End), SLEEP);
    }

    #[test]
    fn a_daemon_that_may_not_sleep_takes_no_lock() {
        let mut daemon = Daemon::new(false);
        assert_eq!(daemon.batch(true, Next::End), KEEP);
        assert_eq!(daemon.batch(false, Next::End), SLEEP);
    }

    #[test]
    fn more_work_releases_the_lock() {
        let mut daemon = Daemon::asleep();
        assert_eq!(daemon.wake(News::WakeUp), KEEP);
        assert_eq!(daemon.batch(true, Next::Further), RELEASE, "a second batch");
        assert_eq!(daemon.batch(true, Next::End), TRY);

        let mut daemon = Daemon::asleep();
        daemon.tell(Input::MoreWork);
        assert_eq!(daemon.wake(News::Change(7)), RELEASE);
        assert_eq!(Daemon::asleep().tell(Input::Interrupted), RELEASE);
    }

    #[test]
    fn c6_an_unknown_lock_is_released() {
        let mut daemon = Daemon::new(true);
        daemon.batch(false, Next::End);
        let action = IdleLockAction::Try;
        daemon.tell(Input::ClaimFailed { action });
        assert_eq!(daemon.tell(Input::BatchEnded(Next::Same)), RELEASE);
        assert_eq!(daemon.batch(false, Next::End), TRY);
    }

    #[test]
    fn one_change_takes_the_fast_path_again_and_again() {
        let mut daemon = Daemon::asleep();
        for tid in 1..4 {
            assert_eq!(daemon.wake(News::Change(tid)), Command::FastPath(tid));
            assert_eq!(daemon.tell(Input::FastPathEnded { done: true }), SLEEP);
        }
        daemon.wake(News::Change(4));
        assert_eq!(daemon.tell(Input::FastPathEnded { done: false }), KEEP);
        assert_eq!(daemon.batch(true, Next::End), SLEEP);
        assert_eq!(daemon.wake(News::Change(5)), Command::FastPath(5));
    }

    #[test]
    fn the_fast_path_needs_a_full_scan_and_permission() {
        assert_eq!(Daemon::asleep().wake(News::Slugs), KEEP);
        let (news, fast_path) = (News::Change(7), false);
        let forbidden = Input::Woken { news, fast_path };
        assert_eq!(Daemon::asleep().tell(forbidden), KEEP);

        let mut daemon = Daemon::asleep();
        daemon.wake(news);
        assert_eq!(daemon.tell(Input::Unannounced), KEEP);
        daemon.tell(Input::LeftRows);
        daemon.tell(Input::BatchEnded(Next::End));
        assert_eq!(daemon.wake(news), KEEP, "a locked row is left");
    }
}

//! The messages that belong to no answer: notifications, notices and parameters; and errors, of
//! which the driver gets a part. A server can send them at any time and in any number, and each
//! takes time from the other databases of the process.

use std::time::{Duration, Instant};

use super::reader::{ERROR, NOTICE, NOTIFICATION, PARAMETER};

/// The messages of a period, each with a weight for the time that it takes.
#[derive(Debug, Default)]
pub(super) struct Flood {
    since: Option<Instant>,
    sum: u64,
    /// The weight of those that have arrived since the last look at the clock.
    new: u64,
}

impl Flood {
    /// The most in a period: more than a million empty messages in each second of it. A role that
    /// does nothing but send notifications has been seen to reach a third of it.
    pub(super) const MOST: u64 = 1024 * 1024 * 1024;

    /// The length of a period.
    pub(super) const PERIOD: Duration = Duration::from_secs(10);

    /// The weight of a message besides its bytes.
    const MESSAGE: u64 = 64;

    /// Takes in the head of a message with a body of this length.
    pub(super) fn take(&mut self, tag: u8, length: u64) {
        let bytes = match tag {
            PARAMETER => length,
            NOTIFICATION => length / 4,
            // The driver gets the start of it, or nothing.
            NOTICE | ERROR => length / 64,
            _ => return,
        };
        self.new = self.new.saturating_add(Self::MESSAGE + bytes);
    }

    /// Whether there are messages since the last look at the clock.
    pub(super) fn has_new(&self) -> bool {
        self.new > 0
    }

    /// Looks at the clock. Returns whether those of the present period still fit.
    pub(super) fn fits(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= Self::PERIOD {
            (self.since, self.sum) = (Some(now), 0);
        }
        self.sum = self.sum.saturating_add(std::mem::take(&mut self.new));
        self.sum <= Self::MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a server may send that many such messages in each second of a minute.
    fn may_send(number: u64, tag: u8, length: u64) -> bool {
        let (mut flood, start) = (Flood::default(), Instant::now());
        (0..60).all(|second| {
            (0..number).for_each(|_| flood.take(tag, length));
            flood.fits(start + Duration::from_secs(second))
        })
    }

    #[test]
    fn g12_a_busy_server_is_not_refused_and_a_flood_is() {
        for (number, tag, length, fits) in [
            // The notifications of applications, and of a role that sends nothing else: as many as
            // PostgreSQL has been seen to send.
            (900, NOTIFICATION, 8100, true),
            (500_000, NOTIFICATION, 30, true),
            (14_000, NOTIFICATION, 8100, true),
            (3_000_000, NOTIFICATION, 6, false),
            // Triggers that raise notices, short ones or with whole values.
            (100_000, NOTICE, 200, true),
            (30, NOTICE, 64 << 20, true),
            (3_000_000, NOTICE, 0, false),
            (3_000_000, ERROR, 0, false),
            (200, NOTICE, 64 << 20, false),
            (200, ERROR, 64 << 20, false),
            (10_000, PARAMETER, 30, true),
            (3_000_000, PARAMETER, 2, false),
            // A row is a part of an answer, which has a limit of its own.
            (3_000_000, b'D', 1000, true),
        ] {
            assert_eq!(may_send(number, tag, length), fits, "{number} of {length}");
        }
    }
}

//! The pause before the next attempt to connect (G8). It doubles with each attempt up to a cap, has
//! jitter, and starts over after a connection that was healthy for [`HEALTHY`].
//!
//! After the loss of a healthy connection, the first attempt comes almost at once, because usually
//! only the session was ended and the server is up. This happens once after each healthy period.
//! Otherwise a connection that keeps breaking would cause hundreds of attempts and log lines a
//! minute.

use std::time::Duration;

/// How long a connection must have been healthy for its loss to be a new outage.
const HEALTHY: Duration = Duration::from_secs(10);

/// The delays of one database.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
    /// Whether the next loss of a healthy connection is followed by an attempt almost at once, and
    /// whether this one is.
    may_hurry: bool,
    hurries: bool,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            next: initial,
            may_hurry: true,
            hurries: false,
        }
    }

    /// The next delay: between half and all of a time that doubles; or a small random part of the
    /// first one, so that the databases of a server do not reconnect in the same instant.
    pub(super) fn delay(&mut self) -> Duration {
        if std::mem::take(&mut self.hurries) {
            return self.initial.mul_f64(fastrand::f64() / 20.0);
        }
        let full = self.next.min(self.max);
        self.next = (full * 2).min(self.max);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Notes how long the lost connection had been healthy.
    pub(super) fn lost_after(&mut self, healthy: Duration) {
        if healthy >= HEALTHY {
            self.next = self.initial;
            self.may_hurry = true;
        }
        self.hurries = std::mem::take(&mut self.may_hurry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_and_start_over_after_health() {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(initial, max);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let expected = Duration::from_millis(expected);
            let delay = backoff.delay();
            assert!(
                delay >= expected / 2 && delay <= expected,
                "{delay:?} for {expected:?}"
            );
        }
        backoff.lost_after(Duration::from_secs(1));
        assert!(
            backoff.delay() <= initial / 20,
            "once, it is worth a try at once"
        );
        backoff.lost_after(Duration::from_secs(1));
        assert!(backoff.delay() >= max / 2, "a short life is no health");
        backoff.lost_after(HEALTHY);
        assert!(backoff.delay() <= initial / 20);
        assert!((initial / 2..=initial).contains(&backoff.delay()));
    }
}

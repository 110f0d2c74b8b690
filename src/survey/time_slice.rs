//! The time slice of work on the event loop, which all databases of a daemon share (G5).

use std::time::{Duration, Instant};

/// The length of a slice.
const LENGTH: Duration = Duration::from_millis(5);

/// A time slice that has begun. The work on one configuration is not interrupted.
pub struct TimeSlice(Instant);

impl TimeSlice {
    /// A slice that begins now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Lets the other tasks of the process run if the slice is over.
    pub async fn give_way(&mut self) {
        if self.0.elapsed() >= LENGTH {
            tokio::task::yield_now().await;
            *self = Self::begin();
        }
    }
}

//! The work of a proof by SCRAM, which the driver does on the event loop of all databases (S32).
//!
//! The server chooses the number of iterations, and has proved nothing yet. In each iteration the
//! driver hashes four blocks, and first the password where that is longer than a block. So a server
//! that asks for too much work is refused, and a proof of more than the usual work awaits its
//! [`Turn`]: between two of them, the other databases are served for as long as the first one took.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// The fewest iterations: what RFC 7677 asks for, and the default of PostgreSQL.
pub(super) const FEWEST: u32 = 4096;

/// The bytes of a block of SHA-256, and those that a text has there besides its own.
const BLOCK: usize = 64;
const PADDING: usize = 9;

/// The blocks of an iteration with a password of at most one block.
const SHORT: u64 = 4;

/// The usual work, in blocks.
const USUAL: u64 = FEWEST as u64 * SHORT;

/// The most work: 65,536 iterations with a password of at most a block, or 4,096 with one of 3,831
/// bytes. It takes 30 to 40 ms in a release build.
const MOST: u64 = 16 * USUAL;

/// The work of a proof with a password of this length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// The blocks of an iteration.
    blocks: u64,
}

impl Work {
    pub(super) fn of(password: usize) -> Self {
        let hashed = if password > BLOCK {
            (password + PADDING).div_ceil(BLOCK)
        } else {
            0
        };
        Self {
            blocks: SHORT + hashed as u64,
        }
    }

    /// Whether so many iterations are more than the usual work. An error if they are too many.
    pub(super) fn is_long(self, found: u32) -> Result<bool, HeavyScram> {
        let most = MOST / self.blocks;
        match u64::from(found) {
            iterations if iterations > most => Err(HeavyScram { found, most }),
            iterations => Ok(iterations * self.blocks > USUAL),
        }
    }
}

/// A server asks for more iterations than agent-sync computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a server that asks for at most {most} iterations of SCRAM with a password of this \
    length, and found one that asks for {found}; the password was not proved"
)]
pub struct HeavyScram {
    found: u32,
    most: u64,
}

/// The iterations that the first message of a server asks for: `r=nonce,s=salt,i=iterations`.
pub(super) fn iterations(message: &[u8]) -> Option<u32> {
    let message = str::from_utf8(message).ok()?;
    message
        .split(',')
        .find_map(|part| part.strip_prefix("i="))?
        .parse()
        .ok()
}

/// The one proof of more than the usual work that the process computes.
static PROOF: Semaphore = Semaphore::const_new(1);

type Permit = SemaphorePermit<'static>;

/// The turn of a connection to compute such a proof.
#[derive(Default)]
pub(super) enum Turn {
    #[default]
    None,
    Awaited(Pin<Box<dyn Future<Output = Result<Permit, AcquireError>> + Send>>),
    Taken(Permit, Instant),
}

impl Turn {
    /// Asks for it: until it comes, the driver gets no more.
    pub(super) fn ask(&mut self) {
        *self = Self::Awaited(Box::pin(PROOF.acquire()));
    }

    /// Waits for it, if it is asked for.
    pub(super) fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Awaited(turn) = self {
            // Nobody closes it.
            let taken = ready!(turn.as_mut().poll(context)).ok();
            *self = taken.map_or(Self::None, |permit| Self::Taken(permit, Instant::now()));
        }
        Poll::Ready(())
    }

    /// The driver answers, so it has computed the proof. The next one waits for as long as it took.
    pub(super) fn end(&mut self) {
        if let Self::Taken(permit, since) = std::mem::take(self) {
            let pause = since.elapsed();
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s32_the_work_of_a_proof_is_bounded() {
        for (password, found, expected) in [
            (9, 4096, Ok(false)),
            (64, 4096, Ok(false)),
            (64, 4097, Ok(true)),
            (64, 65_536, Ok(true)),
            (64, 65_537, Err(65_536)),
            (65, 4096, Ok(true)),
            (65, 43_690, Ok(true)),
            (65, 43_691, Err(43_690)),
            (2000, 4096, Ok(true)),
            (3831, 4096, Ok(true)),
            (3832, 4097, Err(4032)),
            (65_536, 4096, Err(254)),
            (0, u32::MAX, Err(65_536)),
        ] {
            let expected = expected.map_err(|most| HeavyScram { found, most });
            assert_eq!(Work::of(password).is_long(found), expected, "{password}");
        }
    }

    /// A proof waits for the one before, and for a pause as long as that took.
    #[tokio::test]
    async fn s32_proofs_take_turns() {
        use std::future::poll_fn;
        let (mut first, mut second) = (Turn::default(), Turn::default());
        first.ask();
        second.ask();
        poll_fn(|context| first.poll_taken(context)).await;
        let waiting = poll_fn(|context| Poll::Ready(second.poll_taken(context).is_pending()));
        assert!(waiting.await);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let ended = Instant::now();
        first.end();
        poll_fn(|context| second.poll_taken(context)).await;
        assert!(ended.elapsed().as_millis() >= 20);
        // A connection that ends frees it at once.
        drop(second);
        first.ask();
        poll_fn(|context| first.poll_taken(context)).await;
    }
}

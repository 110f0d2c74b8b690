//! Heartbeats: before each wait, a database task announces the longest duration of the wait, so
//! that [`super::verdict::stuck`] can tell a hung task from a waiting one.
//!
//! [`timeout`] and [`sleep`] bound every wait. Each announcement covers one wait, never a loop of
//! waits. The observer is task-local, set by [`of`]. Outside of a database task, as
//! in a command, these functions announce nothing.

use std::time::Duration;

use tokio::time::error::Elapsed;

use super::Observer;

tokio::task_local! {
    static LOOP: Observer;
}

/// Runs a database task with this observer for its heartbeats.
pub async fn of<F: Future>(observer: Observer, run: F) -> F::Output {
    LOOP.scope(observer, run).await
}

/// Records a heartbeat; the next one is due within this time.
pub fn promise(within: Duration) {
    // Outside of a database task there is no observer.
    let _ = LOOP.try_with(|observer| observer.alive(within));
}

/// Waits for the answer with a time limit, and announces the limit.
pub async fn timeout<F: Future>(time_limit: Duration, answer: F) -> Result<F::Output, Elapsed> {
    promise(time_limit);
    tokio::time::timeout(time_limit, answer).await
}

/// Sleeps for the pause, and announces it.
pub async fn sleep(pause: Duration) {
    promise(pause);
    tokio::time::sleep(pause).await;
}

#[cfg(test)]
mod tests {
    use super::super::Board;
    use super::*;

    #[tokio::test]
    async fn a_loop_promises_as_much_as_the_wait_takes_that_it_is_in_and_no_more() {
        let (board, second) = (Board::default(), Duration::from_secs(1));
        let promised = || {
            let (last, due) = board.snapshot().databases[0].1.alive;
            due - last
        };
        of(board.observer("main", "here"), async {
            assert_eq!(
                timeout(second * 30, async { promised() }).await.ok(),
                Some(second * 30)
            );
            assert_eq!(
                timeout(second, async { promised() }).await.ok(),
                Some(second)
            );
            sleep(Duration::ZERO).await;
            assert_eq!(promised(), Duration::ZERO);
        })
        .await;
        promise(second);
        assert_eq!(
            promised(),
            Duration::ZERO,
            "nobody is spoken for by who is not the loop"
        );
    }
}

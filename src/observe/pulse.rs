//! Signs of life: before a loop waits for anything, it says here how long that can take at most, so
//! that [`super::verdict::stuck`] can tell a loop that hangs from one that waits.
//!
//! Whatever a loop waits for is bounded by [`timeout`] or [`sleep`], each time anew, so the promise
//! is that of the one wait and never that of a round of many. Which loop it is, the task knows:
//! [`of`]. Elsewhere, in a verb, nobody is told.

use std::time::Duration;

use tokio::time::error::Elapsed;

use super::Observer;

tokio::task_local! {
    static LOOP: Observer;
}

/// Runs a loop whose signs of life this observer tells.
pub async fn of<F: Future>(observer: Observer, run: F) -> F::Output {
    LOOP.scope(observer, run).await
}

/// Says that the loop is alive, and that it will say so again within this time.
pub fn promise(within: Duration) {
    // Who is no loop has promised nothing to anybody.
    let _ = LOOP.try_with(|observer| observer.alive(within));
}

/// Waits no longer than this.
pub async fn timeout<F: Future>(time_limit: Duration, answer: F) -> Result<F::Output, Elapsed> {
    promise(time_limit);
    tokio::time::timeout(time_limit, answer).await
}

/// Waits for so long.
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

//! The thread on which the pages of agents are made, one after the other.
//!
//! A page takes as much work as its agent is large, and the answer that an untrusted server gives
//! may take more. So nothing of it runs on the thread that answers `/livez`: neither the queries,
//! nor the comparison, nor the text of the answer.
//!
//! Invariant: the thread has one page at a time, and at most one more waits for it. A page that is
//! no longer waited for ends at its next wait for the database.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::agent::{self, Explain, Which};
use super::answer::Answer;

/// The thread.
#[derive(Debug)]
pub(super) struct Making(mpsc::Sender<Job>);

/// A page to make.
#[derive(Debug)]
struct Job {
    which: Which,
    made: oneshot::Sender<Answer>,
}

impl Making {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(explain: Arc<dyn Explain>) -> Option<Self> {
        let (jobs, waiting) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("pages".to_owned());
        match thread.spawn(move || run(&*explain, waiting)) {
            Ok(_) => Some(Self(jobs)),
            Err(cause) => {
                error!(%cause, "the operating system gives no thread for the pages of agents; none \
                    is served");
                None
            }
        }
    }

    /// The page, when it is made; `None` where one before it is still being made for nobody, and
    /// another waits.
    pub(super) async fn make(&self, which: Which) -> Option<Answer> {
        let (made, answer) = oneshot::channel();
        self.0.try_send(Job { which, made }).ok()?;
        answer.await.ok()
    }
}

fn run(explain: &dyn Explain, mut waiting: mpsc::Receiver<Job>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        while let Some(Job { which, mut made }) = waiting.recv().await {
            let explained = tokio::select! {
                biased;
                () = made.closed() => continue,
                explained = explain.explain(which) => explained,
            };
            let _ = made.send(agent::answer(explained));
        }
        explain.ended().await;
    });
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::Pin;
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use hyper::header::HeaderMap;
    use hyper::{Request, StatusCode};

    use super::super::agent::{Agents, Explaining};
    use super::super::answer::{Source, answer};
    use super::*;

    /// Blocks its thread until it is told to go on.
    #[derive(Debug)]
    struct Blocked {
        begun: mpsc::Sender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl Explain for Blocked {
        fn explain(&self, _: Which) -> Explaining<'_> {
            Box::pin(async {
                self.begun.send(()).unwrap();
                self.go_on.lock().unwrap().recv().unwrap();
                Ok("{}".to_owned())
            })
        }

        fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async { self.begun.send(()).unwrap_or_default() })
        }
    }

    async fn status(source: &Source, path: &str, headers: HeaderMap) -> StatusCode {
        let mut request = Request::builder().uri(path).body(()).unwrap();
        *request.headers_mut() = headers;
        let local = Some(([127, 0, 0, 1], 9878).into());
        answer(&request, local, source).await.status()
    }

    /// A page that keeps its thread busy keeps no probe from being answered.
    #[tokio::test]
    async fn g5_livez_is_answered_while_a_page_is_made() {
        let ((begun, has_begun), (go_on, told)) = (mpsc::channel(), mpsc::channel());
        let source = Source {
            agents: Agents::new(Arc::new(Blocked {
                begun,
                go_on: Mutex::new(told),
            })),
            ..Source::default()
        };
        let page = status(&source, "/agents/a/b", HeaderMap::new());
        let probes = async {
            // The page has been handed over before this runs.
            let second = Duration::from_secs(1);
            has_begun.recv_timeout(60 * second).unwrap();
            for path in ["/livez", "/readyz"] {
                status(&source, path, HeaderMap::new()).await;
            }
            go_on.send(()).unwrap();
        };
        let (page, ()) = tokio::join!(page, probes);
        assert_eq!(page, StatusCode::OK);
        assert!(has_begun.try_recv().is_err(), "the page was made once");
    }

    /// The thread ends after the connections of its pages.
    #[test]
    fn g10_the_thread_waits_for_the_ends_of_its_connections() {
        let ((begun, has_ended), (_, told)) = (mpsc::channel(), mpsc::channel());
        let making = Making::start(Arc::new(Blocked {
            begun,
            go_on: Mutex::new(told),
        }));
        drop(making);
        has_ended.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// A page of another web site starts no work.
    #[tokio::test]
    async fn s26_a_page_of_another_site_gets_no_page_of_an_agent() {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, told) = mpsc::channel();
        let source = Source {
            agents: Agents::new(Arc::new(Blocked {
                begun,
                go_on: Mutex::new(told),
            })),
            ..Source::default()
        };
        for (site, expected) in [
            (None, StatusCode::OK),
            (Some("none"), StatusCode::OK),
            (Some("same-origin"), StatusCode::OK),
            (Some("same-site"), StatusCode::FORBIDDEN),
            (Some("cross-site"), StatusCode::FORBIDDEN),
            (Some("elsewhere"), StatusCode::FORBIDDEN),
        ] {
            for accept in ["text/html", "image/*"] {
                let mut headers = HeaderMap::new();
                headers.insert("accept", accept.parse().unwrap());
                if let Some(site) = site {
                    headers.insert("sec-fetch-site", site.parse().unwrap());
                }
                go_on.send(()).unwrap();
                let found = status(&source, "/agents/a/b", headers).await;
                assert_eq!(found, expected, "{site:?} {accept}");
            }
        }
        assert_eq!(has_begun.try_iter().count(), 3);
    }
}

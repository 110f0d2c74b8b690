//! The page of one agent at `/agents/DATABASE/SLUG` (I8): a document for a browser, and as JSON
//! what `agent-sync why` says.
//!
//! The answer shows settings of the agent, and makes one connection to its database. So it is
//! served on a loopback address and on the Unix socket only, and not to the page of another web
//! site; one at a time, with a time limit and of bounded size. `making` has the thread on which it
//! is made.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::answer::Answer;
use super::limits::Limits;
use super::making::Making;
use super::page;

/// Where the pages of agents begin.
pub(super) const UNDER: &str = "/agents/";

/// The longest time for an answer, with the wait for the one before it.
const TIME: Duration = Duration::from_secs(10);

/// The name of an agent in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// The name of the database in the settings.
    pub database: String,
    /// The slug.
    pub slug: String,
    /// The tenant; None for every tenant.
    pub tenant: Option<String>,
}

/// The most bytes of an explanation.
pub const LONGEST: usize = 1024 * 1024;

/// The most bytes of its answer: a character that must not reach a terminal becomes six.
const LONGEST_ANSWER: usize = 6 * LONGEST;

/// Why there is no explanation: text for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// There is no such database or agent.
    NotFound(String),
    /// The database cannot be asked.
    Failed(String),
}

/// An explanation in the making.
pub type Explaining<'a> = Pin<Box<dyn Future<Output = Result<String, Unexplained>> + Send + 'a>>;

/// Explains agents.
pub trait Explain: Debug + Send + Sync {
    /// The explanation as JSON, of at most [`LONGEST`] bytes.
    fn explain(&self, which: Which) -> Explaining<'_>;

    /// Waits for the ends of the connections of all explanations, but not for long.
    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The pages of agents.
#[derive(Debug, Default)]
pub(super) struct Agents {
    making: Option<Making>,
    turn: Mutex<()>,
}

impl Agents {
    /// With these explanations; without any, if the operating system gives no thread for them.
    pub(super) fn new(explain: Arc<dyn Explain>) -> Self {
        Self {
            making: Making::start(explain),
            turn: Mutex::default(),
        }
    }

    /// Answers a request to this address, or with `None` to the Unix socket.
    pub(super) async fn answer<B>(
        &self,
        request: &Request<B>,
        local: Option<SocketAddr>,
        limits: &Limits,
    ) -> Answer {
        if let Some(refusal) = refusal(request.headers(), local) {
            return Answer::text(StatusCode::FORBIDDEN, refusal);
        }
        let which = match Which::parse(request.uri()) {
            Ok(which) => which,
            Err(mistake) => return Answer::text(StatusCode::BAD_REQUEST, mistake),
        };
        if is_for_a_browser(request.headers()) {
            return page::agent();
        }
        let Some(making) = &self.making else {
            return Answer::text(StatusCode::NOT_FOUND, "no agent is known here\n");
        };
        let made = async {
            let _turn = self.turn.lock().await;
            let Some(room) = limits.room(LONGEST_ANSWER) else {
                return Some(Answer::too_much_unread());
            };
            let answer = making.make(which).await?;
            Some(Answer {
                room: Some(room),
                ..answer
            })
        };
        // Without an answer, the thread is busy with one that has taken too long.
        timeout(TIME, made).await.ok().flatten().unwrap_or_else(|| {
            Answer::text(
                StatusCode::GATEWAY_TIMEOUT,
                format!("the page was not made within {TIME:?}\nAsk again later.\n"),
            )
        })
    }
}

/// Why this request gets no page of an agent, if it gets none.
///
/// Browsers say which site has made a request. The page of another site could not read the answer,
/// but it could ask without end.
fn refusal(headers: &HeaderMap, local: Option<SocketAddr>) -> Option<&'static str> {
    let is_other_site =
        |site: &header::HeaderValue| !matches!(site.as_bytes(), b"none" | b"same-origin");
    if local.is_some_and(|local| !local.ip().is_loopback()) {
        return Some(
            "the page of an agent shows its settings, so it is served only where admin.listen is a \
            loopback address, and at the Unix socket\nagent-sync why SLUG shows the same\n",
        );
    }
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(is_other_site).then_some(
        "the page of another web site has asked for the page of an agent, which is not served \
        there\nOpen its address by hand.\n",
    )
}

/// The answer with an explanation.
pub(super) fn answer(explained: Result<String, Unexplained>) -> Answer {
    match explained {
        Ok(text) => Answer::of("application/json", &text),
        Err(Unexplained::NotFound(why)) => Answer::text(StatusCode::NOT_FOUND, why + "\n"),
        Err(Unexplained::Failed(why)) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

impl Which {
    /// Reads the path and the query.
    fn parse(uri: &Uri) -> Result<Self, String> {
        let path = uri.path().strip_prefix(UNDER).unwrap_or_default();
        let form = || "expected /agents/DATABASE/SLUG, or /agents/DATABASE/SLUG?tenant=TENANT\n";
        let (database, slug) = path.split_once('/').ok_or_else(form)?;
        let tenant = match uri.query() {
            None | Some("") => None,
            Some(query) => Some(query.strip_prefix("tenant=").ok_or_else(form)?),
        };
        if database.is_empty() || slug.is_empty() {
            return Err(form().to_owned());
        }
        Ok(Self {
            database: decoded(database)?,
            slug: decoded(slug)?,
            tenant: tenant.map(decoded).transpose()?,
        })
    }
}

/// The text without percent signs, in which PostgreSQL can hold every character.
fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| "expected UTF-8 behind the percent signs\n".to_owned())?;
    if text.contains('\0') {
        return Err("expected no character NUL, which no slug has\n".to_owned());
    }
    Ok(text.into_owned())
}

/// Whether the client shows documents.
fn is_for_a_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim().starts_with("text/html"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Which, String> {
        Which::parse(&uri.parse().unwrap())
    }

    #[test]
    fn the_names_are_read_from_the_address() {
        let which = |database: &str, slug: &str, tenant: Option<&str>| {
            Ok(Which {
                database: database.to_owned(),
                slug: slug.to_owned(),
                tenant: tenant.map(str::to_owned),
            })
        };
        for (uri, expected) in [
            ("/agents/eu/reception", which("eu", "reception", None)),
            ("/agents/eu/a%2Fb", which("eu", "a/b", None)),
            ("/agents/eu/a/b", which("eu", "a/b", None)),
            ("/agents/eu/%C3%A4?tenant=7", which("eu", "ä", Some("7"))),
            (
                "/agents/eu/a?tenant=x%26y%20z",
                which("eu", "a", Some("x&y z")),
            ),
            ("/agents/eu/a?tenant=", which("eu", "a", Some(""))),
            ("/agents/eu/a+b?", which("eu", "a+b", None)),
        ] {
            assert_eq!(parse(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_names_no_agent_is_refused_with_the_form() {
        for (uri, expected) in [
            ("/agents/", "expected /agents/DATABASE/SLUG"),
            ("/agents/eu", "expected /agents/DATABASE/SLUG"),
            ("/agents/eu/", "expected /agents/DATABASE/SLUG"),
            ("/agents//a", "expected /agents/DATABASE/SLUG"),
            ("/agents/eu/a?x=1", "expected /agents/DATABASE/SLUG"),
            ("/agents/eu/%FF", "expected UTF-8"),
            ("/agents/eu/%00", "expected no character NUL"),
            ("/agents/eu/a?tenant=%ff", "expected UTF-8"),
        ] {
            let refused = parse(uri).unwrap_err();
            assert!(refused.starts_with(expected), "{uri}: {refused}");
        }
    }

    #[test]
    fn a_browser_gets_the_document_and_a_program_the_json() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", true),
            ("application/json", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(is_for_a_browser(&headers), expected, "{accept}");
        }
        assert!(!is_for_a_browser(&HeaderMap::new()));
    }
}

//! Maps a request to its answer: the paths, the methods, and the headers of every answer.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::agent::{self, Agents};
use super::host::{self, is_host_allowed};
use super::limits::{Limits, Room};
use super::metrics::Format;
use super::{health, metrics, page, status};
use crate::observe::Board;
use crate::show::Clean;

/// The paths with a description of each.
const PATHS: &[(&str, &str)] = &[
    ("/", "the status page"),
    (
        "/livez",
        "200 while the loop of every database makes progress",
    ),
    ("/readyz", "200 while every database is served"),
    ("/metrics", "metrics for Prometheus"),
    ("/status", "everything as JSON"),
    (
        "/agents/DATABASE/SLUG",
        "one agent, as agent-sync why explains it",
    ),
];

/// The content security policy of every answer but the page: a browser may only display it.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// The largest answer, in bytes, that does not count as unread. The number of connections is
/// bounded, so probes always have memory.
const SMALL: usize = 64 * 1024;

const TOO_MUCH_UNREAD: &str =
    "clients have not read the answers of before; read them, or ask again later\n";

/// The data for the answers.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) board: Arc<Board>,
    pub(super) limits: Limits,
    pub(super) agents: Agents,
}

/// An answer without its headers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) policy: &'static str,
    pub(super) body: Clean<'static>,
    /// The room that was taken for it before it was made.
    pub(super) room: Option<Room>,
}

impl Answer {
    /// A plain text answer.
    pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        let body = Clean::lines(&body.into()).into_owned();
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            policy: POLICY,
            body,
            room: None,
        }
    }

    /// The answer where clients have not read those of before.
    pub(super) fn too_much_unread() -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, TOO_MUCH_UNREAD)
    }

    /// An answer for programs, with status 200.
    pub(super) fn of(content_type: &'static str, body: &str) -> Self {
        let body = Clean::lines(body).into_owned();
        Self {
            status: StatusCode::OK,
            content_type,
            policy: POLICY,
            body,
            room: None,
        }
    }
}

/// Answers a request to this address, or with `None` to the Unix socket. Does not read its body.
pub(super) async fn answer<B>(
    request: &Request<B>,
    local: Option<SocketAddr>,
    source: &Source,
) -> Response<Full<Bytes>> {
    let answer = if !is_host_allowed(host::named(request), local) {
        Answer::text(
            StatusCode::MISDIRECTED_REQUEST,
            "this daemon answers on a loopback address, and so only to localhost, 127.0.0.1 and \
            [::1] as the name of the host\n",
        )
    } else if ![Method::GET, Method::HEAD].contains(request.method()) {
        Answer::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "there is nothing here to change: GET and HEAD\n",
        )
    } else {
        route(request, local, source).await
    };
    respond(answer, &source.limits)
}

async fn route<B>(request: &Request<B>, local: Option<SocketAddr>, source: &Source) -> Answer {
    let Source {
        board,
        limits,
        agents,
    } = source;
    match request.uri().path() {
        "/" => page::status(),
        "/livez" => health::live(&board.snapshot()),
        "/readyz" => health::ready(&board.snapshot()),
        "/metrics" => {
            let accept = request.headers().get_all(header::ACCEPT).iter();
            let format = Format::accepted(accept.filter_map(|value| value.to_str().ok()));
            let made = async {
                let text = metrics::exposition(board.snapshot(), format);
                Answer::of(format.content_type(), &text)
            };
            limits.in_turn(made).await
        }
        "/status" => match status::Wanted::parse(request.uri().query().unwrap_or_default()) {
            Ok(wanted) => {
                let made = async {
                    let text = status::status(&board.snapshot(), &wanted);
                    Answer::of("application/json", &text)
                };
                limits.in_turn(made).await
            }
            Err(mistake) => Answer::text(StatusCode::BAD_REQUEST, mistake + "\n"),
        },
        path if path.starts_with(agent::UNDER) => agents.answer(request, local, limits).await,
        _ => {
            let paths: Vec<_> = PATHS
                .iter()
                .map(|(path, what)| format!("{path:<21} {what}"))
                .collect();
            Answer::text(
                StatusCode::NOT_FOUND,
                format!("not found; there are:\n{}\n", paths.join("\n")),
            )
        }
    }
}

fn respond(answer: Answer, limits: &Limits) -> Response<Full<Bytes>> {
    let Answer {
        mut status,
        content_type,
        policy,
        body,
        room,
    } = answer;
    let body = match (body.into_string(), room) {
        (small, _) if small.len() <= SMALL => Bytes::from(small),
        (large, room) => {
            let body = match room {
                Some(room) => room.body(large),
                None => limits.body(large),
            };
            body.unwrap_or_else(|| {
                status = StatusCode::SERVICE_UNAVAILABLE;
                Bytes::from_static(TOO_MUCH_UNREAD.as_bytes())
            })
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let mut set = |name: HeaderName, value: &'static str| {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, content_type);
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        set(header::ALLOW, "GET, HEAD");
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str) -> Response<Full<Bytes>> {
        ask_at([127, 0, 0, 1], method, path)
    }

    fn ask_at(address: [u8; 4], method: &str, path: &str) -> Response<Full<Bytes>> {
        let address = SocketAddr::from((address, 9878));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "text/html")
            .body(())
            .unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(answer(&request, Some(address), &Source::default()))
    }

    #[test]
    fn every_path_that_is_listed_is_served_and_no_other() {
        for (path, _) in PATHS {
            assert_eq!(ask("GET", path).status(), StatusCode::OK, "{path}");
            assert_eq!(ask("HEAD", path).status(), StatusCode::OK, "{path}");
        }
        for path in ["/livez/", "/metrics/x", "//", "/index.html"] {
            assert_eq!(ask("GET", path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn the_page_of_an_agent_is_served_on_a_loopback_address_alone() {
        for (address, expected) in [
            ([127, 0, 0, 1], StatusCode::OK),
            ([127, 0, 0, 2], StatusCode::OK),
            ([0, 0, 0, 0], StatusCode::FORBIDDEN),
            ([10, 0, 0, 1], StatusCode::FORBIDDEN),
        ] {
            let response = ask_at(address, "GET", "/agents/default/reception");
            assert_eq!(response.status(), expected, "{address:?}");
        }
    }

    #[test]
    fn nothing_can_be_changed_and_the_answer_says_so() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let response = ask(method, "/status");
            assert_eq!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method}"
            );
            assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
        }
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused() {
        assert_eq!(
            ask("GET", "/status?problems=5&changes=0").status(),
            StatusCode::OK
        );
        for query in ["problem=5", "problems=many", "problems", "problems=-1"] {
            assert_eq!(
                ask("GET", &format!("/status?{query}")).status(),
                StatusCode::BAD_REQUEST,
                "{query}"
            );
        }
    }
}

//! The check of the header `Host`. A daemon on a loopback address serves this host alone. A web
//! site in a browser of this host can resolve its own name to a loopback address (DNS rebinding)
//! and would then be allowed to read the answers. Its requests have its name as `Host`, so on
//! loopback only the names of loopback are answered.
//!
//! On other addresses any name is valid; the network decides about access there.

use std::net::{IpAddr, SocketAddr};

use hyper::Request;
use hyper::header;
use hyper::http::uri::Authority;

/// Whether a request to this address with all these hosts may be answered. Browsers always send a
/// host and cannot reach the Unix socket, so a request without a host or without an address is
/// allowed.
pub(super) fn is_host_allowed<'a>(
    mut hosts: impl Iterator<Item = &'a str>,
    local: Option<SocketAddr>,
) -> bool {
    let is_loopback_address = local.is_some_and(|local| local.ip().to_canonical().is_loopback());
    !is_loopback_address || hosts.all(is_loopback)
}

/// The hosts of a request: in each header `Host`, and in the target of the request line.
pub(super) fn named<B>(request: &Request<B>) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(header::HOST).iter();
    let headers = headers.map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(Authority::as_str);
    headers.chain(target)
}

fn is_loopback(host: &str) -> bool {
    // A user before the host is no part of the header.
    let authority = host.parse::<Authority>().ok();
    let Some(name) = authority
        .as_ref()
        .filter(|_| !host.contains('@'))
        .map(Authority::host)
    else {
        return false;
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_names_of_loopback_are_answered() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 9878));
        for (host, answered) in [
            ("localhost", true),
            ("LocalHost:9878", true),
            ("127.0.0.1:9878", true),
            ("127.0.0.1", true),
            ("[::1]:9878", true),
            ("[::1]", true),
            // Browsers do not tell the site for this address.
            ("[::ffff:127.0.0.1]:9878", false),
            ("[::ffff:7f00:1]", false),
            ("evil.example", false),
            ("evil.example:9878", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("evil.example@localhost", false),
            ("localhost:1:2", false),
            ("[::1", false),
            ("", false),
        ] {
            let any_address = SocketAddr::from(([0, 0, 0, 0], 9878));
            for (local, expected) in [
                (Some(loopback), answered),
                (Some(any_address), true),
                (None, true),
            ] {
                let hosts = ["localhost", host].into_iter();
                assert_eq!(
                    is_host_allowed(hosts, local),
                    expected,
                    "{host:?} at {local:?}"
                );
            }
        }
        assert!(is_host_allowed(std::iter::empty(), Some(loopback)));
    }
}

//! Whom an answer is for. A daemon that listens on a loopback address is for this host alone; but a
//! web site that a browser on this host shows can give its own name this host's address (DNS
//! rebinding), and would then be let to read the answers. Its requests carry its name, so no other
//! names than those of loopback are answered.
//!
//! On an address that others can reach, any name can be meant; there, who may ask is the business
//! of the network.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HeaderValue;

/// Whether a request to this address with this `Host` is to be answered. Without a `Host` it is
/// from no browser, nor is one that came in without an address, at the Unix socket.
pub(super) fn is_for_us(host: Option<&HeaderValue>, local: Option<SocketAddr>) -> bool {
    let is_loopback_address = local.is_some_and(|local| local.ip().to_canonical().is_loopback());
    let Some(host) = host.filter(|_| is_loopback_address) else {
        return true;
    };
    host.to_str()
        .is_ok_and(|host| is_loopback(without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

fn is_loopback(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
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
            ("evil.example", false),
            ("evil.example:9878", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let host = HeaderValue::from_static(host);
            assert_eq!(is_for_us(Some(&host), Some(loopback)), answered, "{host:?}");
            assert!(is_for_us(
                Some(&host),
                Some(SocketAddr::from(([0, 0, 0, 0], 9878)))
            ));
            assert!(is_for_us(Some(&host), None));
        }
        assert!(is_for_us(None, Some(loopback)));
    }
}

//! Whose address a request is counted under.

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::Server;
use crate::http::{client_address, is_trusted};
use crate::telemetry::{Arrival, ClientHeader};

/// Returns the client's address: the peer, or, where that is a trusted proxy, what the configured header says, read
/// from the right past further trusted proxies. What cannot be read ends the search: all before it is the client's word.
pub(in crate::accept) fn client(peer: Option<IpAddr>, headers: &HeaderMap, server: &Server) -> Option<IpAddr> {
    Some(client_address(peer?, headers, server.client_address.as_deref(), &server.trusted_proxies))
}

/// By these proxies say for whom they ask, or that there is one.
const PROXY_HEADERS: [&str; 7] =
    ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip", "fastly-client-ip", "via"];

/// Describes how a request came here.
pub(in crate::accept) fn arrival(
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    headers: &HeaderMap,
    server: &Server,
) -> Arrival {
    let header = |name: &String| ClientHeader { name: name.clone(), came: headers.contains_key(name) };
    let came = PROXY_HEADERS.into_iter().filter(|name| headers.contains_key(*name));
    Arrival {
        peer,
        client,
        peer_is_trusted: peer.is_some_and(|peer| is_trusted(peer, &server.trusted_proxies)),
        client_header: server.client_address.as_ref().map(header),
        proxy_headers: came.map(str::to_owned).collect(),
        shown: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn counted(peer: &str, header: Option<&str>, forwarded: &[&str]) -> Option<IpAddr> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().expect("a value"));
        }
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let client_address = header.map(str::to_owned);
        let server = Server { client_address, trusted_proxies, ..Server::default() };
        client(Some(ip(peer)), &headers, &server)
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        let name = Some("x-forwarded-for");
        let client = |peer, forwarded: &[&str]| counted(peer, name, forwarded).map(|ip| ip.to_string());
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "198.51.100.7:80"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6, unknown"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "é, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "é"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(counted("10.0.0.1", None, &["6.6.6.6"]), Some(ip("10.0.0.1")));
    }

    #[test]
    fn a_net_of_no_bits_holds_everybody() {
        let holds = |net: &str, address| is_trusted(ip(address), &[net.parse().expect("a network")]);
        assert!(holds("0.0.0.0/0", "203.0.113.5") && holds("0.0.0.0/0", "::ffff:203.0.113.5"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(!holds("::/0", "203.0.113.5"));
        assert!(!holds("127.0.0.1/32", "127.0.0.2"));
    }
}

//! Whose address a request comes from, past trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// Most entries of the header looked at: each trusted proxy adds one.
const HOPS_MAX: usize = 32;

/// Returns the client's address: the peer, or, where that is a trusted proxy, what the header says, read from the right past
/// further trusted proxies. What cannot be read ends the search: all before it is the client's word.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, header: Option<&str>, proxies: &[IpNet]) -> IpAddr {
    let Some(name) = header else { return peer };
    let mut found = peer;
    // A value that is no text is not left out: what stands before it would pass for a proxy's word.
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')).take(HOPS_MAX) {
        if !is_trusted(found, proxies) {
            break;
        }
        match parse(hop.trim()) {
            Some(address) => found = address,
            None => break,
        }
    }
    found
}

/// Reads an address, with or without brackets and port.
fn parse(text: &str) -> Option<IpAddr> {
    let socket = || text.parse::<std::net::SocketAddr>().map(|socket| socket.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().or_else(|_not_bare| socket()).ok()
}

/// Returns what an address is counted as: an IPv6 subscriber has a whole /64.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

pub fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|net| net.contains(&address))
}

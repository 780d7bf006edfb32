//! Doors that stand open: listeners without TLS on public addresses, and proxies that are everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use toml::de::DeValue;

use crate::config::reader::{Table, Value};
use crate::config::snapshot::Server;

/// More trusted public addresses than this are no list of proxies: as many as an IPv4 /8, as an IPv6 /20.
const WIDE_V4: u128 = 1 << 24;
const WIDE_V6: u128 = 1 << 108;

/// What is never somebody else's on the internet: private, shared, loopback and link-local networks.
const INNER: [IpNet; 10] = [
    v4(0, 0, 8),
    v4(10, 0, 8),
    v4(100, 64, 10),
    v4(127, 0, 8),
    v4(169, 254, 16),
    v4(172, 16, 12),
    v4(192, 168, 16),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    v6(0xfc00, 7),
    v6(0xfe80, 10),
];
/// The addresses that somebody may have: unicast.
const UNICAST_V4: Range = Range { first: 0x0100_0000, last: 0xdfff_ffff };
const UNICAST_V6: Range = Range { first: 0x2000 << 112, last: (0x4000 << 112) - 1 };

const fn v4(first: u8, second: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(first, second, 0, 0), prefix))
}

const fn v6(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// Addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u128,
    last: u128,
}

impl Range {
    fn of(net: &IpNet) -> Self {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        Self { first: number(net.network()), last: number(net.broadcast()) }
    }

    fn overlap(self, other: Self) -> Option<Self> {
        let range = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (range.first <= range.last).then_some(range)
    }

    /// Counts its addresses, all of IPv6 as one less.
    fn size(self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Warns of what `[server]` opens to everybody.
pub(in crate::config) fn warn_of_open_doors(table: &Table<'_>, server: &Server) {
    if let Some(value) = table.get("trusted_proxies") {
        warn_of_trust(&value, server);
    }
    warn_of_unheard_proxies(table, server);
    let is_behind_proxy = server.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
    let Some(value) = table.get("listen").filter(|_| !is_behind_proxy) else { return };
    let places = value.items().unwrap_or_else(|| vec![value]);
    for (place, listen) in places.iter().zip(&server.listen) {
        if listen.tls.is_none() && is_exposed(listen.address.ip()) {
            warn_of_plain_http(place);
        }
    }
}

/// Warns where no proxy, or none but one on this machine, is believed who a client is.
fn warn_of_unheard_proxies(table: &Table<'_>, server: &Server) {
    let is_for_others = server.listen.iter().any(|listen| !listen.address.ip().to_canonical().is_loopback());
    match (table.get("client_address"), table.get("trusted_proxies")) {
        (Some(header), Some(_)) if server.trusted_proxies.is_empty() => {
            let hint = "list the proxies in front of formgate: trusted_proxies = [\"127.0.0.1/32\"]";
            header.warn("`client_address` has no effect, since `trusted_proxies` is empty", Some(hint));
        }
        (Some(header), None) if is_for_others => {
            let message = "`client_address` counts only for posts from this machine, since `trusted_proxies` isn't set: \
                           visitors behind a proxy on another machine all count as that proxy";
            let hint = "list the proxies in front of formgate: trusted_proxies = [\"10.0.0.2/32\"]; if they are on this \
                        machine, listen on 127.0.0.1 alone";
            header.warn(message, Some(hint));
        }
        // The default, written out, waits for a header that is not needed.
        (None, Some(proxies)) if server.trusted_proxies.iter().any(|proxy| !proxy.addr().is_loopback()) => {
            let hint = "name the header that the proxies set: client_address = \"x-forwarded-for\"";
            let message =
                "without `client_address`, all visitors behind `trusted_proxies` count as one, with one limit";
            proxies.warn(message, Some(hint));
        }
        _ => {}
    }
}

fn warn_of_plain_http(place: &Value<'_>) {
    let reached = every_interface(place);
    let message = format!("plain HTTP on a public address{reached}: others can read tokens and leads");
    let hint = "set `tls`. Behind a proxy that terminates TLS, listen on an address that only the proxy can reach, \
                such as 127.0.0.1:8080, or set public_url = \"https://…\"";
    place.warn(&message, Some(hint));
}

/// Warns where `[admin]` can be reached from outside: it has no TLS of its own.
pub(in crate::config) fn warn_of_open_admin(place: &Value<'_>, address: IpAddr) {
    if is_exposed(address) {
        let reached = every_interface(place);
        let message = format!("the admin listener uses plain HTTP on a public address{reached}");
        let hint = "listen on 127.0.0.1:8081 or a private address, and use a tunnel or a proxy that terminates TLS; \
                    in a container, publish the port on 127.0.0.1 only";
        place.warn(&message, Some(hint));
    }
}

fn every_interface(place: &Value<'_>) -> &'static str {
    let unspecified = |text: &str| text.starts_with("0.0.0.0:") || text.starts_with("[::]:");
    let text = match place.inner() {
        DeValue::Table(table) => table.get("address").and_then(|address| address.get_ref().as_str()),
        other => other.as_str(),
    };
    if text.is_some_and(unspecified) { " (every interface)" } else { "" }
}

/// Tells whether others than this machine and its neighbours may reach an address; every interface is public.
fn is_exposed(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if address.is_unspecified() {
        return true;
    }
    !INNER.iter().any(|net| net.contains(&address))
}

/// Returns the networks of one family.
fn of_family(networks: &[IpNet], is_v4: bool) -> impl Iterator<Item = Range> {
    networks.iter().filter(move |net| net.addr().is_ipv4() == is_v4).map(Range::of)
}

fn warn_of_trust(value: &Value<'_>, server: &Server) {
    let whom = match (trust(&server.trusted_proxies, true), trust(&server.trusted_proxies, false)) {
        (Trust::Everybody, Trust::Everybody) => "every address",
        (Trust::Everybody, _) => "every IPv4 address",
        (_, Trust::Everybody) => "every IPv6 address",
        (Trust::Wide, _) | (_, Trust::Wide) => "a large part of the internet",
        (Trust::Proxies, Trust::Proxies) => return,
    };
    let header = server.client_address.as_deref().map_or_else(|| "the header".to_owned(), |name| format!("`{name}`"));
    let message = format!("`trusted_proxies` trusts {whom}: anyone there can forge a client address in {header}");
    value.warn(&message, Some("list only the proxies in front of formgate, such as \"127.0.0.1/32\""));
}

/// Whom the networks of one family let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Proxies,
    Wide,
    Everybody,
}

/// Judges the networks together: two halves of the internet are the internet.
fn trust(networks: &[IpNet], is_v4: bool) -> Trust {
    let (unicast, wide) = if is_v4 { (UNICAST_V4, WIDE_V4) } else { (UNICAST_V6, WIDE_V6) };
    let covered = |ranges: Vec<Range>| -> u128 {
        let inside = ranges.into_iter().filter_map(|range| range.overlap(unicast)).collect();
        merged(inside).into_iter().map(Range::size).sum()
    };
    let inner_alone = covered(of_family(&INNER, is_v4).collect());
    let with_inner = covered(of_family(networks, is_v4).chain(of_family(&INNER, is_v4)).collect());
    match with_inner {
        all if all == unicast.size() => Trust::Everybody,
        much if much - inner_alone >= wide => Trust::Wide,
        _ => Trust::Proxies,
    }
}

fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::network;

    fn both(networks: &[&str]) -> (Trust, Trust) {
        let networks: Vec<IpNet> = networks.iter().map(|text| network(text).expect("a network")).collect();
        (trust(&networks, true), trust(&networks, false))
    }

    #[test]
    fn networks_are_judged_together() {
        use Trust::{Everybody, Proxies, Wide};
        for (networks, expected) in [
            (&["0.0.0.0/0"][..], (Everybody, Proxies)),
            (&["::/0", "10.0.0.0/8"], (Proxies, Everybody)),
            (&["0.0.0.0/1", "128.0.0.0/1"], (Everybody, Proxies)),
            (&["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/3"], (Everybody, Proxies)),
            (&["2000::/4", "3000::/4"], (Proxies, Everybody)),
            (&["0.0.0.0/0", "::/0"], (Everybody, Everybody)),
            (&["203.0.113.9/0"], (Everybody, Proxies)),
            (&["128.0.0.0/1"], (Wide, Proxies)),
            (&["52.0.0.0/8"], (Wide, Proxies)),
            (&["52.0.0.0/9", "53.0.0.0/9"], (Wide, Proxies)),
            (&["2600::/16"], (Proxies, Wide)),
            // One provider's edge, and what is inside a network.
            (&["104.16.0.0/13", "172.64.0.0/13", "162.158.0.0/15", "2606:4700::/32"], (Proxies, Proxies)),
            (&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7"], (Proxies, Proxies)),
            (&["127.0.0.1/32", "::1/128"], (Proxies, Proxies)),
            // Compared as 0.0.0.0/0.
            (&["::ffff:0.0.0.0/96"], (Everybody, Proxies)),
            (&[], (Proxies, Proxies)),
        ] {
            assert_eq!(both(networks), expected, "{networks:?}");
        }
    }

    #[test]
    fn an_exposed_address_is_one_that_strangers_can_reach() {
        for public in ["0.0.0.0", "::", "203.0.113.7", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(is_exposed(public.parse().expect("an address")), "{public}");
        }
        for inside in ["127.0.0.1", "127.8.8.8", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1"] {
            assert!(!is_exposed(inside.parse().expect("an address")), "{inside}");
        }
        for inside in ["::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1"] {
            assert!(!is_exposed(inside.parse().expect("an address")), "{inside}");
        }
    }
}

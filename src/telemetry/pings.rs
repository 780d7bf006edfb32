//! Requests that an operator announced, and how they arrived: the way from outside to this process, seen from inside.
//!
//! `formgate doctor` makes up a name, announces it through the admin API, and posts to `/hooks/{name}` at the public
//! address. What isn't announced leaves no trace, so nobody else can fill the memo or learn anything from it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What every ping's name begins with. No site of a configuration is expected to be called so.
pub const PING_PREFIX: &str = "doctor-";
/// What follows it: hex digits.
const DIGITS: usize = 32;
/// Most pings at one time; the oldest goes first.
const PINGS_MAX: usize = 16;
/// Most arrivals kept of one ping.
const ARRIVALS_MAX: usize = 16;
/// How long a ping is known.
const LIFETIME: Duration = Duration::from_secs(300);

/// How a request arrived. The addresses are the operator's own: only announced requests have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Who connected to the gateway: a proxy, or the client itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Whom the gateway counts it for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Whether the peer is one of `trusted_proxies`.
    pub peer_is_trusted: bool,
    /// The configured header, where there is one, and whether it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_header: Option<ClientHeader>,
    /// The headers that came by which proxies say for whom they ask.
    pub proxy_headers: Vec<String>,
    /// Where the ping's name came through, of the places in which a credential or an origin stands; none where an older
    /// gateway doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Vec<Shown>>,
}

/// Where a request says that it may post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// `?token=`.
    Query,
    Authorization,
    /// `X-Formgate-Token`.
    TokenHeader,
    Origin,
}

/// `[server].client_address`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHeader {
    pub name: String,
    pub came: bool,
}

/// The pings that are announced. Bounded in number and time.
#[derive(Default)]
pub struct Pings {
    announced: Mutex<VecDeque<Ping>>,
}

struct Ping {
    name: String,
    since: Instant,
    arrivals: Vec<Arrival>,
}

impl Pings {
    /// Expects requests under a name; tells whether it is a ping's name.
    pub fn announce(&self, name: &str) -> bool {
        if !is_ping(name) {
            return false;
        }
        let mut announced = self.announced.lock();
        announced.retain(|ping| ping.since.elapsed() < LIFETIME && ping.name != name);
        if announced.len() >= PINGS_MAX {
            announced.pop_front();
        }
        announced.push_back(Ping { name: name.to_owned(), since: Instant::now(), arrivals: Vec::new() });
        true
    }

    /// Remembers how a request arrived, where one of that name is expected; tells whether one is.
    pub fn arrived(&self, name: &str, arrival: impl FnOnce() -> Arrival) -> bool {
        if !is_ping(name) {
            return false;
        }
        let mut announced = self.announced.lock();
        let ping = announced.iter_mut().find(|ping| ping.name == name && ping.since.elapsed() < LIFETIME);
        let Some(ping) = ping else { return false };
        if ping.arrivals.len() < ARRIVALS_MAX {
            ping.arrivals.push(arrival());
        }
        true
    }

    /// Returns how the requests of a name arrived; none where it isn't announced.
    pub fn arrivals(&self, name: &str) -> Option<Vec<Arrival>> {
        let announced = self.announced.lock();
        let ping = announced.iter().find(|ping| ping.name == name && ping.since.elapsed() < LIFETIME)?;
        Some(ping.arrivals.clone())
    }
}

/// Returns the origin that a ping shows: of a host that nobody has.
pub fn ping_origin(name: &str) -> String {
    format!("https://{name}.invalid")
}

fn is_ping(name: &str) -> bool {
    let digits = name.strip_prefix(PING_PREFIX).unwrap_or_default();
    digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> String {
        format!("{PING_PREFIX}{n:032x}")
    }

    fn arrival() -> Arrival {
        Arrival {
            peer: None,
            client: None,
            peer_is_trusted: false,
            client_header: None,
            proxy_headers: Vec::new(),
            shown: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_announced_is_remembered_and_not_for_long() {
        let pings = Pings::default();
        assert!(!pings.arrived(&name(1), || unreachable!("nobody waits for it")));
        assert_eq!(pings.arrivals(&name(1)), None);
        assert!(pings.announce(&name(1)));
        assert!(pings.arrived(&name(1), arrival));
        assert!(!pings.arrived(&name(2), || unreachable!("nobody waits for it")));
        assert_eq!(pings.arrivals(&name(1)), Some(vec![arrival()]));
        tokio::time::advance(LIFETIME).await;
        assert_eq!(pings.arrivals(&name(1)), None);
    }

    #[test]
    fn pings_and_their_arrivals_are_bounded() {
        let pings = Pings::default();
        for n in 0..=PINGS_MAX {
            assert!(pings.announce(&name(n)));
        }
        assert_eq!(pings.arrivals(&name(0)), None, "the oldest went");
        for _ in 0..=ARRIVALS_MAX {
            assert!(pings.arrived(&name(1), arrival));
        }
        assert_eq!(pings.arrivals(&name(1)).map(|arrivals| arrivals.len()), Some(ARRIVALS_MAX));
    }

    #[test]
    fn a_ping_is_told_from_a_site() {
        let pings = Pings::default();
        for other in ["", "acme", "doctor-", "doctor-smith", &name(1).to_uppercase(), &format!("{}0", name(1))] {
            assert!(!pings.announce(other), "{other}");
        }
    }
}

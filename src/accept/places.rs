//! How many connections may be open: altogether, and of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::address::{is_trusted, subscriber};
use crate::config::IpNet;

/// The places for connections. Clones share them.
#[derive(Clone)]
pub(super) struct Places {
    max: usize,
    max_per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self { max, max_per_address, taken: Arc::default() }
    }

    /// Takes a place. Behind a trusted proxy everybody has its address, so that of one isn't counted.
    pub(super) fn take(&self, peer: Option<IpAddr>, trusted: &[IpNet]) -> Option<Place> {
        let address = peer.filter(|peer| !is_trusted(*peer, trusted)).map(subscriber);
        let mut taken = self.taken.lock();
        let full = taken.all >= self.max;
        let own = address.and_then(|address| taken.by_address.get(&address)).copied().unwrap_or_default();
        if full || own >= self.max_per_address {
            return None;
        }
        taken.all += 1;
        if let Some(address) = address {
            *taken.by_address.entry(address).or_default() += 1;
        }
        Some(Place { taken: Arc::clone(&self.taken), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        let left = taken.by_address.get_mut(&address).map(|own| {
            *own = own.saturating_sub(1);
            *own
        });
        if left == Some(0) {
            taken.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let places = Places::new(3, 2);
        let first = places.take(Some(ip("192.0.2.1")), &[]).expect("a place");
        let _second = places.take(Some(ip("::ffff:192.0.2.1")), &[]).expect("a place");
        assert!(places.take(Some(ip("192.0.2.1")), &[]).is_none());
        drop(first);
        let _third = places.take(Some(ip("192.0.2.1")), &[]).expect("a place");
        let _other = places.take(None, &[]).expect("a place");
        assert!(places.take(Some(ip("192.0.2.9")), &[]).is_none(), "all three are taken");
    }

    #[test]
    fn a_subscribers_addresses_share_their_places_and_a_proxys_are_not_counted() {
        let places = Places::new(9, 1);
        let _one = places.take(Some(ip("2001:db8::1")), &[]).expect("a place");
        assert!(places.take(Some(ip("2001:db8::2")), &[]).is_none());
        assert!(places.take(Some(ip("2001:db8:0:1::2")), &[]).is_some());
        let proxies = [IpNet { address: ip("10.0.0.0"), prefix: 8 }];
        let _a = places.take(Some(ip("10.1.2.3")), &proxies).expect("a place");
        let _b = places.take(Some(ip("10.1.2.3")), &proxies).expect("a place");
    }
}

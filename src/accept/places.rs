//! How many connections may be open: altogether, and of one address.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

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
    /// Connections that bring nothing at the moment, the longest waiting first.
    idle: BTreeMap<u64, Arc<Notify>>,
    /// Number of the next of these.
    next: u64,
}

/// A connection that brings nothing at the moment.
struct Idle<'a> {
    taken: &'a Mutex<Taken>,
    number: u64,
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
    ///
    /// Where all are taken, the connection that has been idle longest has to leave for it.
    pub(super) fn take(&self, peer: Option<IpAddr>, trusted: &[IpNet]) -> Option<Place> {
        let address = peer.filter(|peer| !is_trusted(*peer, trusted)).map(subscriber);
        let mut taken = self.taken.lock();
        let own = address.and_then(|address| taken.by_address.get(&address)).copied().unwrap_or_default();
        if own >= self.max_per_address {
            return None;
        }
        if taken.all >= self.max {
            let (_, idle) = taken.idle.pop_first()?;
            idle.notify_one();
        }
        taken.all += 1;
        if let Some(address) = address {
            *taken.by_address.entry(address).or_default() += 1;
        }
        Some(Place { taken: Arc::clone(&self.taken), address })
    }
}

impl Place {
    /// Ends when the place is wanted for another connection. To be waited on only while nothing is being answered.
    pub(super) async fn wanted(&self) {
        let told = Arc::new(Notify::new());
        let _idle = {
            let mut taken = self.taken.lock();
            let number = taken.next;
            taken.next += 1;
            taken.idle.insert(number, Arc::clone(&told));
            Idle { taken: &self.taken, number }
        };
        told.notified().await;
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.taken.lock().idle.remove(&self.number);
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

    #[tokio::test]
    async fn who_has_been_idle_longest_leaves_for_another() {
        let places = Places::new(2, 2);
        let first = places.take(Some(ip("192.0.2.1")), &[]).expect("a place");
        let second = places.take(Some(ip("192.0.2.1")), &[]).expect("a place");
        let (mut wanted, mut later) = (Box::pin(first.wanted()), Box::pin(second.wanted()));
        tokio::select! {
            biased;
            () = &mut wanted => panic!("nobody wants it"),
            () = &mut later => panic!("nobody wants it"),
            () = std::future::ready(()) => {}
        }
        assert!(places.take(Some(ip("192.0.2.1")), &[]).is_none(), "the address has all of its own");
        let third = places.take(Some(ip("192.0.2.2")), &[]).expect("a place");
        wanted.await;
        drop(first);
        drop(later);
        assert!(places.take(Some(ip("192.0.2.2")), &[]).is_none(), "none is idle");
        drop(third);
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

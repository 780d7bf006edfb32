//! How many connections may be open: altogether, and of one address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::http::{is_trusted, subscriber};

/// The limited slots for connections. Clones share them.
#[derive(Clone)]
pub(in crate::accept) struct ConnectionSlots {
    max: usize,
    max_per_address: usize,
    taken: Arc<Mutex<UsedSlots>>,
}

/// The slots in use.
#[derive(Default)]
struct UsedSlots {
    all: usize,
    by_address: HashMap<IpAddr, Own>,
    /// Connections that bring nothing at the moment, the longest waiting first.
    idle: BTreeMap<u64, IdleConnection>,
    /// Number of the next of these.
    next: u64,
}

/// What an address has.
#[derive(Default)]
struct Own {
    open: usize,
    /// The numbers of its idle connections.
    idle: BTreeSet<u64>,
}

/// A connection that can be told to leave.
struct IdleConnection {
    leave: Arc<Notify>,
    address: Option<IpAddr>,
}

/// A connection that brings nothing at the moment; it is forgotten as one when dropped.
struct Idle<'a> {
    taken: &'a Mutex<UsedSlots>,
    number: u64,
}

/// The answer to a connection that asks for a slot.
pub(in crate::accept) enum SlotGrant {
    Free(ConnectionSlot),
    /// An idle connection has to leave for it.
    Evicted(ConnectionSlot, Eviction),
    /// No connection is idle that could leave for it.
    Refused,
}

/// Whose idle connection had to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum Eviction {
    /// One of the same address, which has all that an address may have.
    SameAddress,
    /// Anybody's: all slots were taken.
    Full,
}

/// The slot of one connection; freed when dropped.
pub(in crate::accept) struct ConnectionSlot {
    taken: Arc<Mutex<UsedSlots>>,
    address: Option<IpAddr>,
}

impl ConnectionSlots {
    pub(in crate::accept) fn new(max: usize, max_per_address: usize) -> Self {
        Self { max, max_per_address, taken: Arc::default() }
    }

    /// Takes a slot. Behind a trusted proxy everybody has its address, so that of one isn't counted.
    ///
    /// Where an address has all of its slots, its connection that has been idle longest has to leave; where all are
    /// taken, anybody's.
    pub(in crate::accept) fn take(&self, peer: Option<IpAddr>, trusted: &[IpNet]) -> SlotGrant {
        let address = peer.filter(|peer| !is_trusted(*peer, trusted)).map(subscriber);
        let mut taken = self.taken.lock();
        let eviction = if address.is_some_and(|address| taken.open(address) >= self.max_per_address) {
            Some(Eviction::SameAddress)
        } else if taken.all >= self.max {
            Some(Eviction::Full)
        } else {
            None
        };
        let leaving = match eviction {
            None => None,
            Some(Eviction::SameAddress) => address.and_then(|address| taken.longest_idle_of(address)),
            Some(Eviction::Full) => taken.idle.keys().next().copied(),
        };
        match (eviction, leaving) {
            (None, _) => {}
            (Some(_), Some(number)) => taken.evict(number),
            (Some(_), None) => return SlotGrant::Refused,
        }
        taken.all += 1;
        if let Some(address) = address {
            taken.by_address.entry(address).or_default().open += 1;
        }
        drop(taken);
        let slot = ConnectionSlot { taken: Arc::clone(&self.taken), address };
        match eviction {
            None => SlotGrant::Free(slot),
            Some(eviction) => SlotGrant::Evicted(slot, eviction),
        }
    }
}

impl UsedSlots {
    fn open(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, |own| own.open)
    }

    fn longest_idle_of(&self, address: IpAddr) -> Option<u64> {
        self.by_address.get(&address)?.idle.first().copied()
    }

    /// Tells an idle connection to leave; its slot is given back when it has.
    fn evict(&mut self, number: u64) {
        if let Some(waiting) = self.forget(number) {
            waiting.leave.notify_one();
        }
    }

    fn forget(&mut self, number: u64) -> Option<IdleConnection> {
        let waiting = self.idle.remove(&number)?;
        if let Some(own) = waiting.address.and_then(|address| self.by_address.get_mut(&address)) {
            own.idle.remove(&number);
        }
        Some(waiting)
    }
}

impl ConnectionSlot {
    /// Ends when the slot is wanted for another connection. To be waited on only while nothing is being answered.
    pub(in crate::accept) async fn wanted(&self) {
        let leave = Arc::new(Notify::new());
        let _idle = {
            let mut taken = self.taken.lock();
            let number = taken.next;
            taken.next += 1;
            taken.idle.insert(number, IdleConnection { leave: Arc::clone(&leave), address: self.address });
            if let Some(own) = self.address.and_then(|address| taken.by_address.get_mut(&address)) {
                own.idle.insert(number);
            }
            Idle { taken: &self.taken, number }
        };
        leave.notified().await;
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        drop(self.taken.lock().forget(self.number));
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        let left = taken.by_address.get_mut(&address).map(|own| {
            own.open = own.open.saturating_sub(1);
            own.open
        });
        if left == Some(0) {
            taken.by_address.remove(&address);
        }
    }
}

impl SlotGrant {
    /// Returns the slot, however it was had.
    pub(in crate::accept) fn slot(self) -> Option<ConnectionSlot> {
        match self {
            Self::Free(slot) | Self::Evicted(slot, _) => Some(slot),
            Self::Refused => None,
        }
    }

    pub(in crate::accept) fn eviction(&self) -> Option<Eviction> {
        match self {
            Self::Evicted(_, eviction) => Some(*eviction),
            Self::Free(_) | Self::Refused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn slot(slots: &ConnectionSlots, address: &str) -> Option<ConnectionSlot> {
        slots.take(Some(ip(address)), &[]).slot()
    }

    /// Begins to wait, or tells whether the wait is over.
    fn is_over(wanted: &mut std::pin::Pin<Box<impl Future<Output = ()>>>) -> bool {
        wanted.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let slots = ConnectionSlots::new(3, 2);
        let first = slot(&slots, "192.0.2.1").expect("a slot");
        let _second = slot(&slots, "::ffff:192.0.2.1").expect("a slot");
        assert!(slot(&slots, "192.0.2.1").is_none());
        drop(first);
        let _third = slot(&slots, "192.0.2.1").expect("a slot");
        let _other = slots.take(None, &[]).slot().expect("a slot");
        assert!(slot(&slots, "192.0.2.9").is_none(), "all three are taken");
    }

    #[test]
    fn an_address_over_its_cap_loses_its_own_longest_idle_connection() {
        let slots = ConnectionSlots::new(9, 2);
        let other = slot(&slots, "192.0.2.9").expect("a slot");
        let mut others = Box::pin(other.wanted());
        assert!(!is_over(&mut others));
        let first = slot(&slots, "192.0.2.1").expect("a slot");
        let second = slot(&slots, "192.0.2.1").expect("a slot");
        let mut wanted = Box::pin(first.wanted());
        let mut later = Box::pin(second.wanted());
        assert!(!is_over(&mut wanted) && !is_over(&mut later));
        let third = slots.take(Some(ip("192.0.2.1")), &[]);
        assert_eq!(third.eviction(), Some(Eviction::SameAddress));
        assert!(is_over(&mut wanted) && !is_over(&mut later) && !is_over(&mut others));
        drop(later);
        assert!(matches!(slots.take(Some(ip("192.0.2.1")), &[]), SlotGrant::Refused), "none of its own is idle");
        assert!(!is_over(&mut others), "a stranger's connection stays");
    }

    #[test]
    fn where_all_are_taken_who_has_been_idle_longest_leaves() {
        let slots = ConnectionSlots::new(2, 2);
        let first = slot(&slots, "192.0.2.1").expect("a slot");
        let second = slot(&slots, "192.0.2.2").expect("a slot");
        let mut wanted = Box::pin(first.wanted());
        let mut later = Box::pin(second.wanted());
        assert!(!is_over(&mut wanted) && !is_over(&mut later));
        let third = slots.take(Some(ip("192.0.2.3")), &[]);
        assert_eq!(third.eviction(), Some(Eviction::Full));
        assert!(is_over(&mut wanted) && !is_over(&mut later));
        drop(wanted);
        drop(first);
        drop(later);
        assert!(slot(&slots, "192.0.2.3").is_none(), "none is idle");
    }

    #[test]
    fn a_subscribers_addresses_share_their_places_and_a_proxys_are_not_counted() {
        let slots = ConnectionSlots::new(9, 1);
        let _one = slot(&slots, "2001:db8::1").expect("a slot");
        assert!(slot(&slots, "2001:db8::2").is_none());
        assert!(slot(&slots, "2001:db8:0:1::2").is_some());
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        let _a = slots.take(Some(ip("10.1.2.3")), &proxies).slot().expect("a slot");
        let _b = slots.take(Some(ip("10.1.2.3")), &proxies).slot().expect("a slot");
    }
}

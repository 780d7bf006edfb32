//! How many posts may be under way: half are for new leads, so that a backlog delays none of them, and a quarter of either
//! is always left to other sites than the one that has most to send.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lead::SiteId;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// Whatever is due.
    Any,
    /// Leads that came a short while ago.
    New,
}

impl Slot {
    pub(super) const ALL: [Self; 2] = [Self::Any, Self::New];

    /// Returns how many there are of this kind.
    pub(super) fn count(self, max_in_flight: NonZeroU32) -> usize {
        let all = usize::try_from(max_in_flight.get()).unwrap_or(usize::MAX);
        match self {
            Self::Any => all - all / 2,
            Self::New => all / 2,
        }
    }
}

/// Returns the most that one of several sites gets of so many slots.
pub(super) fn most_of(slots: usize, sites: usize) -> usize {
    if sites > 1 { slots - slots / 4 } else { slots }
}

/// The slots that posts hold.
#[derive(Default)]
pub(super) struct Slots {
    held: Mutex<HashMap<Slot, Held>>,
    freed: Notify,
}

#[derive(Default)]
struct Held {
    all: usize,
    sites: HashMap<SiteId, usize>,
}

/// A slot, until it is dropped.
pub(super) struct HeldSlot {
    slots: Arc<Slots>,
    slot: Slot,
    site: SiteId,
}

impl Slots {
    /// Takes a slot for a lead of a site; none where so many, or so many of the site, are held.
    pub(super) fn take(
        self: &Arc<Self>,
        slot: Slot,
        site: &SiteId,
        max_in_flight: NonZeroU32,
        sites: usize,
    ) -> Option<HeldSlot> {
        let most = slot.count(max_in_flight);
        let mut held = self.held.lock();
        let held = held.entry(slot).or_default();
        let of_site = held.sites.get(site).copied().unwrap_or_default();
        if held.all >= most || of_site >= most_of(most, sites) {
            return None;
        }
        held.all += 1;
        held.sites.insert(site.clone(), of_site + 1);
        Some(HeldSlot { slots: Arc::clone(self), slot, site: site.clone() })
    }

    /// Counts the slots that are held.
    pub(super) fn held(&self) -> usize {
        self.held.lock().values().map(|held| held.all).sum()
    }

    /// Waits until one is freed; where that happened since it was last asked, not at all.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        if let Some(held) = self.slots.held.lock().get_mut(&self.slot) {
            held.all = held.all.saturating_sub(1);
            let of_site = held.sites.get(&self.site).copied().unwrap_or_default();
            if of_site > 1 {
                held.sites.insert(self.site.clone(), of_site - 1);
            } else {
                held.sites.remove(&self.site);
            }
        }
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    #[test]
    fn half_the_slots_are_for_new_leads_and_at_least_one_for_any() {
        assert_eq!([1, 2, 5].map(|all| Slot::Any.count(number(all))), [1, 1, 3]);
        assert_eq!([1, 2, 5].map(|all| Slot::New.count(number(all))), [0, 1, 2]);
    }

    #[test]
    fn a_slot_is_held_until_it_is_dropped_and_a_quarter_is_left_to_other_sites() {
        let slots = Arc::new(Slots::default());
        let take = |slot, name| slots.take(slot, &site(name), number(16), 2);
        let mut held: Vec<_> = std::iter::from_fn(|| take(Slot::Any, "acme")).collect();
        assert_eq!(held.len(), 6);
        held.extend(std::iter::from_fn(|| take(Slot::Any, "beta")));
        assert_eq!((held.len(), slots.held()), (8, 8));
        assert!(take(Slot::New, "acme").is_some(), "the other half is free");
        drop(held.pop());
        assert!(take(Slot::Any, "acme").is_none());
        assert!(take(Slot::Any, "beta").is_some());
        drop(held);
        assert_eq!(slots.held(), 0);
        let alone: Vec<_> = std::iter::from_fn(|| slots.take(Slot::Any, &site("acme"), number(16), 1)).collect();
        assert_eq!(alone.len(), 8, "one site alone has all");
    }
}

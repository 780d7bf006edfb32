//! How many posts may be under way: half are for new leads, so that a backlog delays none of them, and a quarter of either
//! is always left to other sites than the one that has most to send.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lead::SiteId;
use crate::queue::Head;

/// While the last post ended no longer ago than this, the next is expected to end soon.
const TURNOVER: Duration = Duration::from_secs(1);

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

/// What decides who gets a slot.
#[derive(Clone, Copy)]
pub(super) struct SlotLimits {
    pub(super) max_in_flight: NonZeroU32,
    /// How many sites there are.
    pub(super) sites: usize,
    /// Leads that came then or later are new.
    pub(super) new_since: Timestamp,
}

/// The slots that posts hold.
#[derive(Default)]
pub(super) struct Slots {
    held: Mutex<HashMap<Slot, Held>>,
    last_freed: Mutex<Option<Instant>>,
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
    /// Takes a slot for a lead: one for any, else one for new leads where it is new. None where so many, or so many of its
    /// site, are held.
    pub(super) fn take(self: &Arc<Self>, head: &Head, limits: SlotLimits) -> Option<HeldSlot> {
        let is_new = head.accepted_at >= limits.new_since;
        let take = |slot| self.take_of(slot, &head.site, limits);
        take(Slot::Any).or_else(|| if is_new { take(Slot::New) } else { None })
    }

    fn take_of(self: &Arc<Self>, slot: Slot, site: &SiteId, limits: SlotLimits) -> Option<HeldSlot> {
        let most = slot.count(limits.max_in_flight);
        let mut held = self.held.lock();
        let held = held.entry(slot).or_default();
        let of_site = held.sites.get(site).copied().unwrap_or_default();
        if held.all >= most || of_site >= most_of(most, limits.sites) {
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

    /// Counts those that a site holds.
    pub(super) fn held_by(&self, site: &SiteId) -> usize {
        self.held.lock().values().filter_map(|held| held.sites.get(site)).sum()
    }

    /// Tells whether posts end soon: one has ended within the last second.
    pub(super) fn turn_over(&self) -> bool {
        self.last_freed.lock().is_some_and(|freed| freed.elapsed() < TURNOVER)
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
        *self.slots.last_freed.lock() = Some(Instant::now());
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

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_held_until_it_is_dropped_and_a_quarter_is_left_to_other_sites() {
        let slots = Arc::new(Slots::default());
        let limits = |sites| SlotLimits { max_in_flight: number(16), sites, new_since: Timestamp::UNIX_EPOCH };
        let take = |slot, name| slots.take_of(slot, &site(name), limits(2));
        let mut held: Vec<_> = std::iter::from_fn(|| take(Slot::Any, "acme")).collect();
        assert_eq!((held.len(), slots.held_by(&site("acme"))), (6, 6));
        held.extend(std::iter::from_fn(|| take(Slot::Any, "beta")));
        assert_eq!((held.len(), slots.held()), (8, 8));
        assert!(take(Slot::New, "acme").is_some(), "the other half is free");
        drop(held.pop());
        assert!(take(Slot::Any, "acme").is_none());
        assert!(take(Slot::Any, "beta").is_some());
        drop(held);
        assert_eq!(slots.held(), 0);
        assert!(slots.turn_over());
        tokio::time::advance(TURNOVER).await;
        assert!(!slots.turn_over());
        let alone: Vec<_> = std::iter::from_fn(|| slots.take_of(Slot::Any, &site("acme"), limits(1))).collect();
        assert_eq!(alone.len(), 8, "one site alone has all");
    }
}

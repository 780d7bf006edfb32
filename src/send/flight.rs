//! Leads on their way: claimed and waiting for a slot, being posted, being written down.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admission::SharePlace;
use super::ownership::UnderWay;
use super::slots::{HeldSlot, Slot, SlotLimits, Slots};
use crate::queue::Lease;

/// A lead waits no longer in hand for a slot: it is put back, so that nothing is posted that was erased meanwhile, and no lease
/// runs out before its post has ended.
pub(super) const IN_HAND_MAX: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Settled,
    /// Cut off before an answer came.
    Cut,
}

/// A lead that was claimed, and has not begun to be sent.
pub(super) struct Claimed {
    pub(super) lease: Lease,
    pub(super) share_place: SharePlace,
    pub(super) slot: Slot,
    pub(super) claimed_at: Instant,
    /// Its partition is not given back meanwhile.
    pub(super) under_way: UnderWay,
}

/// The leads on their way.
#[derive(Default)]
pub(super) struct Flight {
    claimed: VecDeque<Claimed>,
    under_way: JoinSet<End>,
    /// Each task holds one of these to its end, however it ends.
    any: Arc<()>,
    new: Arc<()>,
}

/// Returns how many leads of a kind may be on their way. While posts end soon, as many again as there are slots: the next are
/// claimed while these are posted, and the last are written down. Else who is claimed would only wait in hand.
pub(super) fn places(slot: Slot, max_in_flight: NonZeroU32, turn_over: bool) -> usize {
    slot.count(max_in_flight).saturating_mul(if turn_over { 2 } else { 1 })
}

impl Flight {
    /// Takes in leads that were claimed.
    pub(super) fn take_in(&mut self, claimed: impl IntoIterator<Item = Claimed>) {
        self.claimed.extend(claimed);
    }

    /// Takes out the first lead that there is a slot for, of the site that holds fewest: who is slow keeps nobody waiting.
    pub(super) fn next(&mut self, slots: &Arc<Slots>, limits: SlotLimits) -> Option<(Claimed, HeldSlot)> {
        let mut order: Vec<usize> = (0..self.claimed.len()).collect();
        if limits.sites > 1 {
            order.sort_by_cached_key(|at| self.claimed.get(*at).map(|claimed| slots.held_by(&claimed.lease.head.site)));
        }
        for at in order {
            if let Some(held) = slots.take(&self.claimed.get(at)?.lease.head, limits) {
                return Some((self.claimed.remove(at)?, held));
            }
        }
        None
    }

    /// Takes out those that have waited in hand for too long.
    pub(super) fn take_overdue(&mut self) -> VecDeque<Claimed> {
        let is_overdue = |claimed: &Claimed| claimed.claimed_at.elapsed() >= IN_HAND_MAX;
        let (overdue, waiting): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.claimed).into_iter().partition(is_overdue);
        self.claimed = waiting;
        overdue
    }

    /// Takes out all that have not begun.
    pub(super) fn take_claimed(&mut self) -> VecDeque<Claimed> {
        std::mem::take(&mut self.claimed)
    }

    /// Begins to send or to settle a lead.
    pub(super) fn begin(&mut self, slot: Slot, under_way: UnderWay, work: impl Future<Output = End> + Send + 'static) {
        let place = Arc::clone(self.place(slot));
        self.under_way.spawn(async move {
            let end = work.await;
            drop((place, under_way));
            end
        });
    }

    fn place(&self, slot: Slot) -> &Arc<()> {
        match slot {
            Slot::Any => &self.any,
            Slot::New => &self.new,
        }
    }

    /// Returns how many more leads may be claimed for slots of a kind.
    pub(super) fn room(&self, slot: Slot, places: usize) -> usize {
        let waiting = self.claimed.iter().filter(|claimed| claimed.slot == slot).count();
        let under_way = Arc::strong_count(self.place(slot)) - 1;
        places.saturating_sub(waiting + under_way)
    }

    /// Counts those that wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        self.claimed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.under_way.is_empty()
    }

    /// Counts those that have begun and not ended.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Forgets those that have ended.
    pub(super) fn reap(&mut self) {
        while self.under_way.try_join_next().is_some() {}
    }

    /// Waits until one has ended; returns at once where none has begun. Dropping it loses nothing but the knowledge of how.
    pub(super) async fn one_ended(&mut self) -> Option<End> {
        // One that panicked settled nothing.
        Some(self.under_way.join_next().await?.unwrap_or(End::Cut))
    }

    /// Waits until all that have begun have ended; returns how many were cut off.
    pub(super) async fn all_ended(&mut self) -> usize {
        let mut cut = 0;
        while let Some(end) = self.one_ended().await {
            cut += usize::from(end == End::Cut);
        }
        cut
    }

    /// Drops what has not ended; returns how many that were.
    pub(super) async fn abandon(&mut self) -> usize {
        let left = self.under_way();
        self.under_way.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_kind_of_slot_has_places_of_its_own() {
        let mut flight = Flight::default();
        let four = NonZeroU32::new(4).expect("not zero");
        let room = |flight: &Flight| Slot::ALL.map(|slot| flight.room(slot, places(slot, four, true)));
        assert_eq!(room(&flight), [4, 4]);
        assert_eq!(Slot::ALL.map(|slot| places(slot, four, false)), [2, 2]);
        flight.begin(Slot::Any, UnderWay::default(), async { End::Settled });
        flight.begin(Slot::New, UnderWay::default(), std::future::pending());
        assert_eq!(room(&flight), [3, 3]);
        assert_eq!(flight.one_ended().await, Some(End::Settled));
        assert_eq!(room(&flight), [4, 3]);
        assert_eq!(flight.abandon().await, 1);
        assert_eq!(room(&flight), [4, 4]);
        assert!(flight.is_empty());
    }
}

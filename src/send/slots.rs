//! Attempts under way, and how many there may be: half are for new leads, so that a backlog delays none of them.

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::task::JoinSet;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    /// Whatever is due.
    Any,
    /// Leads that came a short while ago.
    New,
}

impl Slot {
    /// Returns how many there are of this kind.
    pub(super) fn count(self, max_in_flight: NonZeroU32) -> usize {
        let all = usize::try_from(max_in_flight.get()).unwrap_or(usize::MAX);
        match self {
            Self::Any => all - all / 2,
            Self::New => all / 2,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Settled,
    /// Cut off before an answer came.
    Cut,
}

/// The attempts under way.
#[derive(Default)]
pub(super) struct Flight {
    attempts: JoinSet<End>,
    /// Each attempt holds one of these to its end, however it ends.
    any: Arc<()>,
    new: Arc<()>,
}

impl Flight {
    /// Starts an attempt in a slot.
    pub(super) fn begin(&mut self, slot: Slot, attempt: impl Future<Output = End> + Send + 'static) {
        let place = Arc::clone(match slot {
            Slot::Any => &self.any,
            Slot::New => &self.new,
        });
        self.attempts.spawn(async move {
            let end = attempt.await;
            drop(place);
            end
        });
    }

    /// Returns how many slots are free.
    pub(super) fn free(&self, slot: Slot, max_in_flight: NonZeroU32) -> usize {
        let place = match slot {
            Slot::Any => &self.any,
            Slot::New => &self.new,
        };
        slot.count(max_in_flight).saturating_sub(Arc::strong_count(place) - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Forgets attempts that have ended.
    pub(super) fn reap(&mut self) {
        while self.attempts.try_join_next().is_some() {}
    }

    /// Waits until one has ended; returns at once where there is none. Dropping it loses nothing but the knowledge of how.
    pub(super) async fn one_ended(&mut self) -> Option<End> {
        // One that panicked settled nothing.
        Some(self.attempts.join_next().await?.unwrap_or(End::Cut))
    }

    /// Waits until all have ended; returns how many were cut off.
    pub(super) async fn all_ended(&mut self) -> usize {
        let mut cut = 0;
        while let Some(end) = self.one_ended().await {
            cut += usize::from(end == End::Cut);
        }
        cut
    }

    /// Drops what has not ended; returns how many that were.
    pub(super) async fn abandon(&mut self) -> usize {
        let left = self.len();
        self.attempts.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn half_the_slots_are_for_new_leads_and_at_least_one_for_any() {
        let mut flight = Flight::default();
        let number = |number| NonZeroU32::new(number).expect("not zero");
        assert_eq!([1, 2, 5].map(|all| flight.free(Slot::Any, number(all))), [1, 1, 3]);
        assert_eq!([1, 2, 5].map(|all| flight.free(Slot::New, number(all))), [0, 1, 2]);
        flight.begin(Slot::Any, async { End::Settled });
        flight.begin(Slot::New, std::future::pending());
        assert_eq!((flight.free(Slot::Any, number(4)), flight.free(Slot::New, number(4))), (1, 1));
        assert_eq!(flight.one_ended().await, Some(End::Settled));
        assert_eq!((flight.free(Slot::Any, number(4)), flight.free(Slot::New, number(4))), (2, 1));
        assert_eq!(flight.abandon().await, 1);
        assert_eq!(flight.free(Slot::New, number(4)), 2);
    }
}

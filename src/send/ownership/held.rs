//! The partitions that this gateway holds, each until when, and what is under way of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, later};
use crate::lead::SiteId;
use crate::queue::{Partition, Partitions};

/// The partitions whose sites this gateway sends for: all, unless it shares its store. Clones are the same.
#[derive(Clone)]
pub(in crate::send) struct HeldPartitions {
    is_shared: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<Partitions>,
}

/// Until when a partition is held: until either clock says so.
///
/// The monotonic clock stands still while a virtual machine is paused or a computer sleeps, and the wall clock may be set back.
#[derive(Clone, Copy)]
pub(super) struct Until {
    monotonic: Instant,
    wall: Timestamp,
}

#[derive(Default)]
struct State {
    /// Until when each is held, by the clocks of this machine: what the store says later is too late for a claim.
    until: BTreeMap<Partition, Until>,
    clock: Clock,
    /// Of these, those that are given back once nothing is under way of them.
    leaving: Partitions,
    under_way: BTreeMap<Partition, usize>,
}

/// A claim or a lead of some partitions, until it is dropped.
#[derive(Default)]
pub(in crate::send) struct UnderWay {
    held: Option<(HeldPartitions, Partitions)>,
}

impl Default for HeldPartitions {
    /// All, for ever.
    fn default() -> Self {
        let changed = watch::Sender::new(Partitions::ALL);
        Self { is_shared: Arc::default(), state: Arc::default(), changed }
    }
}

impl HeldPartitions {
    /// Holds none from now on, but what is taken; the clock is the wall clock.
    pub(super) fn share(&self, clock: Clock) {
        self.state.lock().clock = clock;
        self.is_shared.store(true, Ordering::SeqCst);
        self.publish();
    }

    fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::SeqCst)
    }

    /// Tells when partitions are taken or lost.
    pub(in crate::send) fn changes(&self) -> watch::Receiver<Partitions> {
        self.changed.subscribe()
    }

    /// Returns what may be claimed from now.
    pub(in crate::send) fn claimable(&self) -> Partitions {
        if !self.is_shared() {
            return Partitions::ALL;
        }
        self.state.lock().claimable()
    }

    /// Begins a claim: of these partitions none is given back before it has ended.
    pub(in crate::send) fn begin_claim(&self) -> (Partitions, UnderWay) {
        if !self.is_shared() {
            return (Partitions::ALL, UnderWay::default());
        }
        let mut state = self.state.lock();
        let partitions = state.claimable();
        (partitions, self.begin(&mut state, partitions))
    }

    /// Notes that a lead of a site is under way.
    pub(in crate::send) fn begin_lead(&self, site: &SiteId) -> UnderWay {
        if !self.is_shared() {
            return UnderWay::default();
        }
        self.begin(&mut self.state.lock(), Partitions::NONE.with(Partition::of(site)))
    }

    fn begin(&self, state: &mut State, partitions: Partitions) -> UnderWay {
        for partition in partitions.iter() {
            *state.under_way.entry(partition).or_default() += 1;
        }
        UnderWay { held: Some((self.clone(), partitions)) }
    }

    /// Tells whether a lead of a site that was claimed may still be sent: no other gateway sends for it.
    pub(in crate::send) fn has_site(&self, site: &SiteId) -> bool {
        if !self.is_shared() {
            return true;
        }
        let state = self.state.lock();
        let now = state.after(Duration::ZERO);
        state.until.get(&Partition::of(site)).is_some_and(|until| until.is_after(now))
    }

    /// Returns those whose leads this gateway may send now, also those that are to be given back.
    pub(in crate::send) fn all_claimable_or_leaving(&self) -> Partitions {
        if self.is_shared() { self.all() } else { Partitions::ALL }
    }

    /// Returns all that are held, also those that are to be given back.
    pub(super) fn all(&self) -> Partitions {
        self.state.lock().until.keys().copied().collect()
    }

    /// Returns those that are to be given back.
    pub(super) fn leaving(&self) -> Partitions {
        self.state.lock().leaving
    }

    /// Returns those of which something is under way.
    pub(super) fn busy(&self) -> Partitions {
        self.state.lock().under_way.keys().copied().collect()
    }

    /// Returns the time after a wait.
    pub(super) fn after(&self, wait: Duration) -> Until {
        self.state.lock().after(wait)
    }

    /// Takes or renews a partition.
    pub(super) fn hold(&self, partition: Partition, until: Until) {
        self.state.lock().until.insert(partition, until);
    }

    /// Another holds it, or it was given back.
    pub(super) fn lose(&self, partition: Partition) {
        let mut state = self.state.lock();
        state.until.remove(&partition);
        state.leaving = state.leaving.without(partition);
    }

    /// Loses those that weren't renewed in time; returns them.
    pub(super) fn lose_overdue(&self) -> Partitions {
        let mut state = self.state.lock();
        let now = state.after(Duration::ZERO);
        let overdue: Partitions =
            state.until.iter().filter(|(_, until)| !until.is_after(now)).map(|(of, _)| *of).collect();
        state.until.retain(|_, until| until.is_after(now));
        state.leaving = state.leaving - overdue;
        overdue
    }

    /// Claims no more of these.
    pub(super) fn leave(&self, partitions: Partitions) {
        let mut state = self.state.lock();
        state.leaving = state.leaving | partitions;
    }

    /// Tells the worker what may be claimed from now.
    pub(super) fn publish(&self) {
        let claimable = self.claimable();
        self.changed.send_if_modified(|published| std::mem::replace(published, claimable) != claimable);
    }
}

impl Until {
    fn is_after(self, now: Self) -> bool {
        self.monotonic > now.monotonic && self.wall > now.wall
    }
}

impl State {
    fn after(&self, wait: Duration) -> Until {
        Until { monotonic: Instant::now() + wait, wall: later(self.clock.now(), wait) }
    }

    fn claimable(&self) -> Partitions {
        let now = self.after(Duration::ZERO);
        let held = self.until.iter().filter(|(_, until)| until.is_after(now)).map(|(partition, _)| *partition);
        held.collect::<Partitions>() - self.leaving
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some((held, partitions)) = self.held.take() else { return };
        let mut state = held.state.lock();
        for partition in partitions.iter() {
            let left = state.under_way.get(&partition).copied().unwrap_or_default().saturating_sub(1);
            if left == 0 {
                state.under_way.remove(&partition);
            } else {
                state.under_way.insert(partition, left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    /// A wall clock, and what sets it.
    fn wall_clock() -> (Clock, Arc<Mutex<Timestamp>>) {
        let time = Arc::new(Mutex::new(Timestamp::UNIX_EPOCH));
        let told = Arc::clone(&time);
        (Clock::by(move || *told.lock()), time)
    }

    #[test]
    fn a_gateway_with_a_store_of_its_own_sends_for_all_sites() {
        let held = HeldPartitions::default();
        let (claimed, _under_way) = held.begin_claim();
        assert_eq!((claimed, held.claimable()), (Partitions::ALL, Partitions::ALL));
        assert!(held.has_site(&site("acme")) && held.busy().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_renewed_in_time_is_neither_claimed_nor_sent() {
        let held = HeldPartitions::default();
        let acme = site("acme");
        held.share(wall_clock().0);
        assert!(held.claimable().is_empty() && !held.has_site(&acme));
        held.hold(Partition::of(&acme), held.after(Duration::from_secs(3)));
        held.publish();
        assert_eq!(*held.changes().borrow(), Partitions::NONE.with(Partition::of(&acme)));
        assert!(held.claimable().has_site(&acme) && held.has_site(&acme));
        tokio::time::advance(Duration::from_secs(3)).await;
        // Nothing ran since: it goes by the clock alone.
        assert!(held.claimable().is_empty() && !held.has_site(&acme));
        assert!(held.begin_claim().0.is_empty());
        assert!(held.lose_overdue().has_site(&acme) && held.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_was_suspended_sends_nothing_when_it_wakes() {
        let held = HeldPartitions::default();
        let acme = site("acme");
        let (clock, time) = wall_clock();
        held.share(clock);
        held.hold(Partition::of(&acme), held.after(Duration::from_secs(3)));
        // The monotonic clock stood still.
        *time.lock() += Duration::from_secs(2);
        assert!(held.claimable().has_site(&acme) && held.has_site(&acme));
        *time.lock() += Duration::from_secs(1);
        assert!(held.claimable().is_empty() && !held.has_site(&acme));
        assert!(held.begin_claim().0.is_empty());
        assert!(held.lose_overdue().has_site(&acme) && held.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_holds_nothing_longer() {
        let held = HeldPartitions::default();
        let acme = site("acme");
        let (clock, time) = wall_clock();
        held.share(clock);
        held.hold(Partition::of(&acme), held.after(Duration::from_secs(3)));
        *time.lock() -= Duration::from_secs(60);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(held.claimable().is_empty() && !held.has_site(&acme));
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_to_be_given_back_nothing_new_is_claimed_and_what_is_under_way_is_sent() {
        let held = HeldPartitions::default();
        let acme = site("acme");
        held.share(wall_clock().0);
        let its = Partition::of(&acme);
        held.hold(its, held.after(Duration::from_secs(3)));
        let (_, claim) = held.begin_claim();
        let lead = held.begin_lead(&acme);
        held.leave(Partitions::NONE.with(its));
        assert!(held.claimable().is_empty() && held.has_site(&acme));
        drop(claim);
        assert!(held.busy().has(its), "a lead of it is under way");
        drop(lead);
        assert!(held.busy().is_empty() && held.all().has(its));
        held.lose(its);
        assert!(held.all().is_empty() && held.leaving().is_empty());
    }
}

//! A store far away: it can be told to be silent, to fail, and to commit without an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use formgate::lead::{EntryId, SiteId};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, CarryPage, Change, Claim, Counts, DedupeKey, Entry,
    Filter, Lease, NewEntry, Note, NoteKind, OnceKeys, Order, Page, Set, Settlement, Store, StoreError,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::passing_on::pass_on;

/// How a store takes what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Sound,
    /// Takes a second for a batch.
    Slow,
    /// Answers nothing.
    Silent,
    Away,
    Full,
    DiskFull,
    Corrupt,
    Newer,
    CommitsAndFails,
    CommitsAndIsSilent,
}

#[derive(Default)]
pub(super) struct Remote {
    pub(super) inner: MemoryStore,
    mood: Mutex<Mood>,
    refused: Mutex<Option<EntryId>>,
    appends: AtomicUsize,
    probes: AtomicUsize,
    carrying: AtomicUsize,
    carried: AtomicUsize,
}

impl Remote {
    pub(super) fn be(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// Never takes an entry, whatever else it takes.
    pub(super) fn refuse(&self, id: Option<EntryId>) {
        *self.refused.lock() = id;
    }

    /// How many appends it was asked for.
    pub(super) fn appends(&self) -> usize {
        self.appends.load(Ordering::Relaxed)
    }

    /// How often it was asked whether it is ready.
    pub(super) fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }

    /// How many batches have begun to be carried in, and how many are.
    pub(super) fn carrying(&self) -> usize {
        self.carrying.load(Ordering::Relaxed)
    }

    pub(super) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }

    fn mood(&self) -> Mood {
        *self.mood.lock()
    }

    /// Fails before anything is done.
    async fn before(&self) -> Result<(), StoreError> {
        match self.mood() {
            Mood::Sound | Mood::Slow | Mood::CommitsAndFails | Mood::CommitsAndIsSilent => Ok(()),
            Mood::Silent => std::future::pending().await,
            Mood::Away => Err(StoreError::Unavailable("away".into())),
            Mood::Full => Err(StoreError::Full),
            Mood::DiskFull => Err(StoreError::DiskFull),
            Mood::Corrupt => Err(StoreError::Corrupt("damaged".into())),
            Mood::Newer => Err(StoreError::Newer { found: 9, known: 1 }),
        }
    }

    /// Fails though it is done.
    async fn after(&self) -> Result<(), StoreError> {
        match self.mood() {
            Mood::CommitsAndFails => Err(StoreError::Unavailable("the connection was lost".into())),
            Mood::CommitsAndIsSilent => std::future::pending().await,
            _ => Ok(()),
        }
    }

    /// Only what writes new entries fails where it is full.
    async fn reach(&self) -> Result<(), StoreError> {
        match self.mood() {
            Mood::Full | Mood::DiskFull => Ok(()),
            _ => self.before().await,
        }
    }
}

pass_on!(Remote);

#[async_trait]
impl Store for Remote {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.before().await?;
        let appended = self.inner.append(entry, dedupe).await?;
        self.after().await?;
        Ok(appended)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        self.reach().await?;
        self.inner.claim(claim).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        self.reach().await?;
        self.inner.settle(lease, settlement, now).await
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.reach().await?;
        self.inner.make_due(site, max, now).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        self.reach().await?;
        self.inner.get(id).await
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.reach().await?;
        self.inner.scan(filter, order, cursor, limit).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        self.reach().await?;
        self.inner.amend(id, revision, change, now).await
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        self.reach().await?;
        self.inner.erase(ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.reach().await?;
        self.inner.expire(now, limit).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.reach().await?;
        self.inner.counts().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        self.before().await
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        self.reach().await?;
        self.inner.problems().await
    }
}

#[async_trait]
impl Carry for Remote {
    async fn carry_out(&self, after: Option<EntryId>, limit: usize) -> Result<CarryPage, StoreError> {
        self.inner.carry_out(after, limit).await
    }

    async fn carry_in(&self, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, StoreError> {
        self.carrying.fetch_add(1, Ordering::Relaxed);
        if self.mood() == Mood::Slow {
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        self.before().await?;
        let refused = *self.refused.lock();
        if entries.iter().any(|entry| Some(entry.id()) == refused) {
            return Err(StoreError::Unavailable("this one not".into()));
        }
        let carried_in = self.inner.carry_in(entries, carried_as).await?;
        self.carried.fetch_add(1, Ordering::Relaxed);
        self.after().await?;
        Ok(carried_in)
    }

    async fn carry_once_out(&self, after: u64, limit: usize) -> Result<OnceKeys, StoreError> {
        self.inner.carry_once_out(after, limit).await
    }

    async fn carry_events_in(&self, events: &CarriedEvents) -> Result<(), StoreError> {
        self.inner.carry_events_in(events).await
    }

    async fn carry_notes_in(&self, kind: NoteKind, notes: &[Note]) -> Result<(), StoreError> {
        self.inner.carry_notes_in(kind, notes).await
    }
}

//! A gateway's line to the store that all share: it can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use formgate::lead::{EntryId, SiteId};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, Change, Claim, Counts, DedupeKey, Emission, Entry, Events, Filter, Holds, Key, Lease, MoveFilter,
    NewEntry, Note, NoteChange, NoteKind, Notes, Order, Outbox, Page, Reader, Set, Settlement, Store, StoreError,
};
use jiff::Timestamp;
use tokio::sync::watch;

/// The same store for all, behind a line of each.
pub(super) struct Line {
    inner: Arc<MemoryStore>,
    is_cut: AtomicBool,
}

impl Line {
    pub(super) fn to(store: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(store), is_cut: AtomicBool::new(false) })
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    fn other_end(&self) -> Result<&MemoryStore, StoreError> {
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        if is_cut { Err(StoreError::Unavailable("the line is cut".into())) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl Store for Line {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        self.other_end()?.append(entry, dedupe).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        self.other_end()?.claim(claim).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        self.other_end()?.settle(lease, settlement, now).await
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.other_end()?.make_due(site, max, now).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        self.other_end()?.get(id).await
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.other_end()?.scan(filter, order, cursor, limit).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        self.other_end()?.amend(id, revision, change, now).await
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        self.other_end()?.erase(ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.other_end()?.expire(now, limit).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.other_end()?.counts().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.other_end()?.ready().await
    }
}

#[async_trait]
impl Outbox for Line {
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError> {
        self.other_end()?.register(reader).await
    }

    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError> {
        self.other_end()?.unregister(reader).await
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        self.other_end()?.readers().await
    }

    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError> {
        self.other_end()?.record_moves(filter).await
    }

    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError> {
        self.other_end()?.emit(emission, once, now).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError> {
        self.other_end()?.events(after, limit).await
    }

    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError> {
        self.other_end()?.trim(reader, upto).await
    }
}

#[async_trait]
impl Notes for Line {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        self.other_end()?.note(change, now).await
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        self.other_end()?.note_all(changes).await
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.other_end()?.notes(kind, prefix, after, limit).await
    }
}

#[async_trait]
impl Holds for Line {
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        self.other_end()?.hold(name, holder, ttl, now).await
    }

    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError> {
        self.other_end()?.release(name, holder).await
    }
}

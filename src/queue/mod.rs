//! Durable before the client hears yes: the [`Store`] and the entries it keeps.
//!
//! Entry states: `queued` (will be sent) → `delivered` (KaiCalls took it) or `dead` (refused for good, or its time
//! ran out); `held` (needs a person). Nothing changes state without a recorded [`Reason`].
//!
//! Time is an argument everywhere: no store reads a clock.

pub mod entry;
pub mod memory;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

pub use entry::{
    Attempt, AttemptResult, Change, Content, Counts, Entry, Event, Filter, Lease, NewEntry, Page, Reason, Settlement,
    State,
};

use crate::lead::EntryId;

/// What makes two submissions the same, as a digest; compared only within the store's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupeKey(pub [u8; 32]);

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    New(EntryId),
    /// The key was seen within the window; nothing was stored but the first entry's `seen`.
    Duplicate(EntryId),
}

/// Whether a compare-and-set held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Set {
    Done,
    /// Somebody else changed it first (or the lease ran out); nothing was written.
    Lost,
}

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room: the disk is full or `max_size` is reached. Nothing was written.
    #[error("the store is full")]
    Full,
    /// The store cannot be reached or written. Nothing is known to be written.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read is not what this program writes.
    #[error("the store holds an entry that cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was written by a newer program.
    #[error("the store has schema version {found}, this program knows up to {known}")]
    Newer { found: u32, known: u32 },
}

/// Keeps entries. Every implementation passes the suite in `tests/it/store_contract.rs`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores an entry; returns after it is durable.
    ///
    /// Atomic on the key: of two appends with one key within the window exactly one is `New`. The window is fixed per
    /// store. The entry is `queued` or `held` as it says itself.
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError>;

    /// Takes up to `max` queued entries that are due, oldest first per site, and leases each for `lease`.
    ///
    /// Written before it returns (the attempt is counted), so that a kill keeps it. An entry whose lease has run out is due
    /// again. May return an entry that the caller can't use now: it settles that as `Postponed`.
    async fn claim(&self, max: usize, lease: Duration, now: Timestamp) -> Result<Vec<Lease>, StoreError>;

    /// Ends a lease: compare-and-set on it.
    ///
    /// A lease that ran out and was taken by another gives `Lost`, except for `Delivered`, which is always recorded.
    /// `Postponed` takes the claim's attempt back.
    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError>;

    /// Returns one entry whole.
    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError>;

    /// Lists entries by id, from after `cursor`. Eventually consistent; no snapshot across pages.
    async fn scan(&self, filter: &Filter, cursor: Option<EntryId>, limit: usize) -> Result<Page, StoreError>;

    /// Changes one entry: compare-and-set on its revision. For retry and drop. A leased entry gives `Lost`.
    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError>;

    /// Erases entries. Their bytes are gone from the store when it returns; an error says where they remain.
    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError>;

    /// Counts entries per site and state; may lag a second.
    async fn counts(&self) -> Result<Vec<Counts>, StoreError>;

    /// Tells that something may have become due. A hint that may be lost: callers poll as well.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Checks that the store can be written, for `/readyz`.
    async fn ready(&self) -> Result<(), StoreError>;
}

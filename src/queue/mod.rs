//! Durable before the client hears yes: the [`Store`] and the entries it keeps.
//!
//! Entry states: `queued` (will be sent) → `delivered` (KaiCalls took it) or `dead` (refused for good, or its time
//! ran out); `held` (needs a person). Nothing changes state without a recorded [`Reason`].
//!
//! Time is an argument everywhere: no store reads a clock. Times are kept to the millisecond.

pub mod activity;

mod attempt;

pub mod carry;

mod cause;

mod claim;

mod codes;

pub mod entry;

mod gateways;

mod history;

mod holds;

mod key;

pub mod live;

pub mod memory;

mod notes;

mod open;

mod outbox;

pub mod postgres;

mod partition;

pub mod private_file;

pub mod reading;

mod sending;

pub mod spool;

pub mod sqlite;

mod standing;

mod turns;

mod unreadable;

use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use attempt::{Attempt, AttemptResult, Confirmed};
pub use carry::{CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, CarryPage, OnceKeys};
pub use cause::{CAUSES_MAX, Cause, CauseQuery, Causes, DETAIL_MAX};
pub use claim::{Claim, Quota};
pub use entry::{
    Change, Counts, Entry, Event, Filter, HISTORY_FIRST, HISTORY_MAX, Head, Lease, NewEntry, Order, Page, Reason,
    SITE_GONE_MAX, Set, Settlement, State, Transition,
};
pub use gateways::{GATEWAY_NAME_MAX, GatewayName, GatewayNote, InvalidGatewayName, SeenGateway, gateway_notes};
pub use holds::{HOLDS_MAX, Holds};
pub use key::{InvalidKey, KEY_MAX, Key};
pub use notes::{
    CHANGES_MAX, InvalidNote, Merge, NOTES_MAX, NUMBER_MAX, Note, NoteChange, NoteKind, NoteLimits, Notes,
    NumbersMerge, TextMerge,
};
pub use open::{NoFile, OpenStore};
pub use outbox::{
    EVENTS_MAX, Emission, Events, Happened, Move, MoveFilter, ONCE_MAX, OUTBOX_MAX, OUTBOX_STEP, Outbox, OutboxEvent,
    READERS_MAX, Reader,
};
pub use partition::{PARTITIONS, Partition, Partitions};
pub use reading::Reading;

pub use sending::{Holdup, KeyUnderWay, KeysUnderWay, PausedKeys, SendingStatus};
pub use spool::{SpoolStatus, SpoolingStore};

use crate::lead::{EntryId, SiteId};

/// Most entries one [`Store::claim`] gives, whatever it is asked for.
pub const CLAIM_MAX: usize = 256;
/// Most entries one [`Store::make_due`] makes due.
pub const MAKE_DUE_MAX: usize = 1_000;
/// Most entries one page of [`Store::scan`] holds.
pub const PAGE_MAX: usize = 1_000;
/// Most entries one [`Store::expire`] removes.
pub const EXPIRE_MAX: usize = 1_000;

/// What makes two submissions the same, as a digest; compared only within the store's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupeKey(pub [u8; 32]);

/// The part of a [`DedupeKey`] that a store keeps: no two digests of a store agree in so many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupePrefix(pub [u8; 16]);

impl From<DedupeKey> for DedupePrefix {
    fn from(DedupeKey(digest): DedupeKey) -> Self {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(digest.get(..16).unwrap_or(&[0; 16]));
        Self(prefix)
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    New(EntryId),
    /// The key was seen within the window; nothing was stored but the first entry's `seen`.
    Duplicate(EntryId),
}

/// What came of salvaging the files that were set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Salvaged {
    /// The files that were read; empty where none is set aside.
    pub files: Vec<PathBuf>,
    /// Entries merged back.
    pub recovered: u64,
    /// Entries that the store had already.
    pub present: u64,
    /// What could not be read, one line each without anybody's data, at most 1,000.
    pub unreadable: Vec<String>,
}

/// How large a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes in use, as `max_size` counts them.
    pub bytes: u64,
    /// The version of its tables; none where it has none.
    pub schema: Option<u32>,
}

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room: `max_size` is reached. Nothing was written.
    #[error("the store is full: max_size is reached")]
    Full,
    /// There is no room: the disk is full. Nothing was written.
    #[error("the store is full: no space is left on the disk")]
    DiskFull,
    /// The store cannot be reached or written. Nothing is known to be written.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read is not what this program writes, or the file is damaged there.
    #[error("part of the store cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was corrupt and is set aside, a new one is in its place: `formgate leads salvage` merges it back.
    #[error("the store was corrupt and is set aside as {}; run `formgate leads salvage`", file.display())]
    SetAside { file: PathBuf },
    /// What was to be erased is gone from the store, but may be elsewhere: each place in words, such as a file's path.
    #[error("what was erased may still be in {}", remains(places))]
    Remains { erased: usize, places: Vec<String> },
    /// The database isn't fit to keep leads; says what is wrong and what to do.
    #[error("the database isn't fit to keep leads: {why}")]
    Unfit { why: String },
    /// The store was written by a newer program.
    #[error("the store has schema version {found}, this program knows up to {known}")]
    Newer { found: u32, known: u32 },
    /// The store that gateways share is away, or was until now: leads are in the spool on this machine.
    #[error("the shared store is away, or is just back: the spool on this machine holds {}", leads(.0.entries))]
    Away(Box<SpoolStatus>),
    /// Leads that were answered lie in a spool, and the store that they were on their way to isn't the configured one.
    #[error("{} in the spool {}, which only a store in PostgreSQL uses", lie(*entries), spool.display())]
    Unused { spool: PathBuf, entries: u64 },
}

fn leads(entries: u64) -> String {
    if entries == 1 { "1 lead".to_owned() } else { format!("{entries} leads") }
}

fn lie(entries: u64) -> String {
    format!("{} {}", leads(entries), if entries == 1 { "lies" } else { "lie" })
}

fn remains(places: &[String]) -> String {
    match places {
        [place] => format!("{place}, which is kept beside the store: delete it once it is not needed"),
        places => format!("{}: delete there what you can, once it is not needed", places.join("; ")),
    }
}

/// Keeps entries, and beside them the events, notes and holds of the gateways that share it. Every implementation passes the
/// suite in `tests/it/store_contract.rs`.
#[async_trait]
pub trait Store: Outbox + Notes + Holds {
    /// Stores an entry; returns after it is durable.
    ///
    /// Atomic on the key: of two appends with one key within the window exactly one is `New`. The window is fixed per
    /// store and begins with the first of them. The entry is `queued` or `held` as it says itself. Once begun it is
    /// written even if the caller goes away.
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError>;

    /// Takes up to `max` queued entries that are due, oldest first per site, and leases each for `lease`.
    ///
    /// Sites take turns, and the next claim goes on where this one stopped, so one site's backlog keeps no other waiting;
    /// with `accepted_since` sites take their turns apart. Of each site no more than its quota: a hint, a store that
    /// cannot tell sites apart may give more. Of a site outside its partitions nothing: another gateway sends for that one.
    /// Written before it returns (the attempt is counted), so that a kill keeps it. An entry whose lease has run out is
    /// due again, its unsettled attempt recorded as ambiguous. May return an entry that the caller can't use now: it
    /// settles that as `Postponed`. A wait that began later than `now` (the clock went back) begins anew. A claim whose
    /// caller goes away leaves its leases to run out.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError>;

    /// Ends a lease: compare-and-set on it.
    ///
    /// A lease that ran out and was taken by another gives `Lost`, except for `Delivered`, which is always recorded (of
    /// several, the first `lead_id` stays). The claim's attempt counts only where one was made: `Postponed`, `SiteGone`, and
    /// `Held` and `Dead` without an attempt take it back, and so does a `Delivered` that was only confirmed. `Postponed`
    /// without an attempt leaves no event, unless it is the first since the entry's site was gone. The transition says what
    /// became of it, also where nothing but the wait changed.
    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError>;

    /// Makes up to `max` entries of a site due that wait for no lease to end, those due soonest first; returns how many.
    ///
    /// For a site that could not be sent to and now can. Nothing but the wait is changed.
    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError>;

    /// Returns one entry whole: the only way to what was received.
    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError>;

    /// Lists the heads of entries by id, oldest or newest first, from behind `cursor`. Eventually consistent; no snapshot
    /// across pages.
    ///
    /// What can't be read is named on the page, and keeps nobody from the others.
    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Lists the oldest entries of each of some sites: of every one what [`scan`](Self::scan) gives from its beginning, in the
    /// order of `sites`. Of the filter all counts but its site.
    ///
    /// So many sites are asked for with one statement, not one after the other. Whoever asks keeps sites times `limit` below
    /// [`PAGE_MAX`].
    async fn scan_sites(&self, sites: &[SiteId], filter: &Filter, limit: usize) -> Result<Vec<Page>, StoreError> {
        let mut pages = Vec::with_capacity(sites.len());
        for site in sites {
            let filter = Filter { site: Some(site.clone()), ..filter.clone() };
            pages.push(self.scan(&filter, Order::Oldest, None, limit).await?);
        }
        Ok(pages)
    }

    /// Counts what is held or dead by its cause: the list of work, however long it is. Eventually consistent.
    ///
    /// The trait's own version reads the head of each.
    async fn causes(&self, query: CauseQuery<'_>) -> Result<Causes, StoreError> {
        cause::count_heads(self, query).await
    }

    /// Changes one entry: compare-and-set on its revision. For retry, amend and drop.
    ///
    /// A leased entry gives `Lost`, and so does a change that the entry's state does not permit.
    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError>;

    /// Erases entries, whatever their state; returns how many there were.
    ///
    /// What the visitor sent is gone from the store when it returns; an error says where it remains. Files that were set
    /// aside are not searched: while there are any, the error names one, though the store's own bytes are gone.
    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError>;

    /// Removes up to `limit` entries whose `expires_at` has come, the longest expired first; never a queued one.
    ///
    /// Removes as many notes of each kind whose time is over; those are not counted.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Counts entries per site and state, sorted by both; may lag a second. Nothing is said where there are none.
    async fn counts(&self) -> Result<Vec<Counts>, StoreError>;

    /// Tells how large it is; of a store in memory nothing is known.
    async fn extent(&self) -> Result<Extent, StoreError> {
        Ok(Extent::default())
    }

    /// Tells that something may have become due, or that there are new events. A hint that may be lost: callers poll as well.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Checks that an entry appended now would be stored, for `/readyz`. Writes a little.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Returns what needs a person although the store may be ready: a file set aside and not yet salvaged (`SetAside`),
    /// parts that can't be read (`Corrupt`). Writes nothing.
    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns once this process can never write the store again: what wrote it has died. Until then it waits.
    async fn ended(&self) {
        std::future::pending::<()>().await;
    }
}

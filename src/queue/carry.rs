//! Carrying entries from one store into another: for `formgate store copy`, and for the spool that takes leads in while the
//! shared store is away.
//!
//! An entry is carried whole: its standing with the history, what was made of it, what was received, and its dedupe key.
//! So are notes, the readers of events with what they have not read, and the keys of what was emitted. Holds are not: they
//! are of gateways that run.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::standing::{Beside, Standing};
use super::{DedupePrefix, Entry, Event, Key, Note, NoteKind, OutboxEvent, Reading, Reason, State, Store, StoreError};
use crate::lead::{EntryId, FormId, SiteId};
use crate::received::Received;

/// Most entries that one [`Carry::carry_out`] gives, and one [`Carry::carry_in`] takes.
pub const CARRY_MAX: usize = 256;
/// Bytes of what was received, beyond which [`Carry::carry_out`] gives no further entry: of a page, all but the last.
pub const CARRY_BYTES: usize = 4 * 1_024 * 1_024;
/// Most events and keys that one [`Carry::carry_events_in`] takes, and most notes that one [`Carry::carry_notes_in`] does.
pub const CARRY_BESIDE_MAX: usize = 1_000;

/// An entry on its way from one store into another. Nobody holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub(super) standing: Standing,
    pub(super) beside: Beside,
    pub(super) received: Received,
    pub(super) key: Option<DedupePrefix>,
}

/// Some entries that leave a store, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarryPage {
    pub entries: Vec<Carried>,
    /// Those that would be on it but can't be read.
    pub unreadable: Vec<EntryId>,
    /// From where to read on; none at the end.
    pub next: Option<EntryId>,
}

/// As what entries come into a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarriedAs {
    /// As they stood in another store, which this one takes the place of. Each is kept, whatever its key, and nothing has
    /// happened to it now, so there is no event.
    Copy,
    /// As appends that come late: one whose key was seen within the window is a duplicate, and the others' arrivals are
    /// events.
    Append,
}

/// What became of an entry that was carried in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CarriedIn {
    New,
    /// There is an entry with its id; that stays as it is.
    Present,
    /// The key was seen within the window; nothing was stored but the first entry's `seen`. Only as [`CarriedAs::Append`].
    Duplicate(EntryId),
}

/// Events on their way from one store into another, with who reads them; any part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedEvents {
    /// The last number that the other store gave: none up to it is given again.
    pub last: u64,
    /// Each with the last event that it has dealt with.
    pub readers: Vec<(Key, u64)>,
    pub events: Vec<OutboxEvent>,
    /// The keys of what was emitted, oldest first.
    pub once: Vec<Key>,
}

/// Some keys of what was emitted, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnceKeys {
    pub keys: Vec<Key>,
    /// From where to read on; none at the end.
    pub next: Option<u64>,
}

/// The part of a store from which entries leave, and which takes those of another.
#[async_trait]
pub trait Carry: Send + Sync + 'static {
    /// Gives up to `limit` entries by id, from behind `after` on. The store keeps them.
    ///
    /// A leased one is given as if its lease had been abandoned: its attempt recorded as ambiguous, due now. That is sound
    /// only where nobody sends from this store any more, since the other one sends it again. What can't be read is named,
    /// and keeps nobody from the others.
    async fn carry_out(&self, after: Option<EntryId>, limit: usize) -> Result<CarryPage, StoreError>;

    /// Takes entries in, all or none; says of each what became of it, in their order. Durable when it returns.
    ///
    /// Done twice it changes nothing the second time, except that a duplicate is counted again. More than [`CARRY_MAX`] are
    /// refused.
    async fn carry_in(&self, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, StoreError>;

    /// Gives up to `limit` keys of what was emitted, from behind `after` on.
    async fn carry_once_out(&self, after: u64, limit: usize) -> Result<OnceKeys, StoreError>;

    /// Takes in events with the numbers that they have, readers, and keys of what was emitted. What is there stays as it is.
    ///
    /// Sound only in a store that has recorded no event of its own: two events would have one number. Durable when it
    /// returns; all or nothing, up to [`CARRY_BESIDE_MAX`] of each.
    async fn carry_events_in(&self, events: &CarriedEvents) -> Result<(), StoreError>;

    /// Takes in notes as they are. One that was written to later than the one that comes stays.
    async fn carry_notes_in(&self, kind: NoteKind, notes: &[Note]) -> Result<(), StoreError>;
}

/// A store that entries can leave, and that takes those of another.
pub trait CarryingStore: Store + Carry {}

impl<T: Store + Carry> CarryingStore for T {}

/// More was to be carried at once than a store takes.
#[derive(Debug, thiserror::Error)]
#[error("{given} were to be carried at once, and a store takes {max}")]
struct TooMany {
    given: usize,
    max: usize,
}

/// Checks how much is carried at once.
pub(super) fn check_count(given: usize, max: usize) -> Result<(), StoreError> {
    if given > max { Err(StoreError::Unavailable(Box::new(TooMany { given, max }))) } else { Ok(()) }
}

impl Carried {
    /// Puts an entry together as it leaves a store; ends its lease.
    pub(super) fn new(mut standing: Standing, beside: Beside, received: Received, key: Option<DedupePrefix>) -> Self {
        standing.release();
        Self { standing, beside, received, key }
    }

    pub fn id(&self) -> EntryId {
        self.beside.id
    }

    pub fn site(&self) -> &SiteId {
        &self.beside.site
    }

    pub fn state(&self) -> State {
        self.standing.state
    }

    /// Returns the entry as [`Store::get`] gives it.
    pub fn into_entry(self) -> Entry {
        let Self { standing, beside, received, .. } = self;
        Entry { head: standing.into_head(beside), received }
    }

    /// Returns the SHA-256 of all that is carried: the same in every kind of store.
    pub fn digest(&self) -> Result<[u8; 32], StoreError> {
        let Self { standing, beside, received, key } = self;
        let digested = Digested {
            id: beside.id,
            site: &beside.site,
            form: &beside.form,
            accepted_at: beside.accepted_at.as_millisecond(),
            seen: beside.seen,
            reading: &beside.reading,
            state: standing.state,
            reason: standing.reason,
            revision: standing.revision,
            due_at: standing.due_at.map(Timestamp::as_millisecond),
            waits_from: standing.waits_from.as_millisecond(),
            expires_at: standing.expires_at.map(Timestamp::as_millisecond),
            attempts: standing.attempts,
            lead_id: standing.lead_id.as_deref(),
            history: &standing.history,
            received,
            key: key.map(|DedupePrefix(key)| key),
        };
        let mut digest = Sha256::new();
        // The parser's error is left out: it may quote a person's words.
        let json = serde_json::to_vec(&digested).map_err(|_quoting| StoreError::Corrupt(Box::new(NoJson)))?;
        digest.update((json.len() as u64).to_be_bytes());
        digest.update(json);
        digest.update(&received.body);
        Ok(digest.finalize().into())
    }
}

/// An entry can't be written as JSON, so it has no digest.
#[derive(Debug, thiserror::Error)]
#[error("an entry cannot be written as JSON")]
struct NoJson;

/// What an entry's digest is of, but for the body. The order of its fields is part of the digest.
#[derive(Serialize)]
struct Digested<'a> {
    id: EntryId,
    site: &'a SiteId,
    form: &'a FormId,
    accepted_at: i64,
    seen: u32,
    reading: &'a Reading,
    state: State,
    reason: Reason,
    revision: u64,
    due_at: Option<i64>,
    waits_from: i64,
    expires_at: Option<i64>,
    attempts: u32,
    lead_id: Option<&'a str>,
    history: &'a [Event],
    received: &'a Received,
    key: Option<[u8; 16]>,
}

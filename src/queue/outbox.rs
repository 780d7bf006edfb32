//! Events for whoever tells others what happens in the gateway: what they are, and the [`Outbox`] that keeps them until
//! they are read.
//!
//! An event holds ids and words of closed sets, never what a visitor sent. Its reader looks the entry up when it needs more,
//! so what is erased is gone from here too.

use async_trait::async_trait;
use jiff::Timestamp;

use super::entry::{Reason, State};
use super::key::Key;
use super::{AttemptResult, StoreError};
use crate::event::EventType;
use crate::lead::{EntryId, FormId, SiteId};

/// Newest events that are kept although a reader has not read them. Older ones are dropped, [`OUTBOX_STEP`] at a time,
/// so nothing that is written waits for a reader. [`EventType::LeadOverdue`] is never dropped.
pub const OUTBOX_MAX: u64 = 100_000;
/// After so many events the outbox drops what is too old; so many more than [`OUTBOX_MAX`] may be kept.
pub const OUTBOX_STEP: u64 = 1_000;
/// Newest keys that [`Outbox::emit`] remembers.
pub const ONCE_MAX: u64 = 100_000;
/// Most readers of a store.
pub const READERS_MAX: usize = 64;
/// Most events that one [`Outbox::events`] gives.
pub const EVENTS_MAX: usize = 1_000;

/// An event that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Rises with each event, and is never given again.
    pub number: u64,
    pub at: Timestamp,
    pub happened: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// To an entry.
    Moved(Move),
    /// What no change of an entry tells.
    Emitted(Emission),
}

/// How an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub entry: EntryId,
    /// Where it is filed now.
    pub site: SiteId,
    pub form: FormId,
    /// None where it was appended.
    pub from: Option<State>,
    /// None where it was removed because its keeping time was over.
    pub to: Option<State>,
    /// Why it is in `to`; of one that was removed, why it was in `from`.
    pub reason: Reason,
    /// How the attempt ended that led to this.
    pub attempt: Option<AttemptResult>,
}

/// What [`Outbox::emit`] records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    pub event: EventType,
    pub entry: Option<EntryId>,
    pub site: Option<SiteId>,
    pub form: Option<FormId>,
}

impl Emission {
    /// An event about the gateway itself.
    pub fn new(event: EventType) -> Self {
        Self { event, entry: None, site: None, form: None }
    }
}

/// What is kept until every reader has it: there are no more of these than leads, and each may be the only word that its
/// lead's owner gets.
pub(super) const NEVER_DROPPED: EventType = EventType::LeadOverdue;

impl Happened {
    pub(super) fn is_never_dropped(&self) -> bool {
        matches!(self, Self::Emitted(emission) if emission.event == NEVER_DROPPED)
    }
}

/// Which changes of entries a process records while there are readers; all of them unless it says otherwise. What is emitted
/// is recorded always.
///
/// Most changes are of no interest to anybody, and each costs a row in the transaction that a plugin waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveFilter {
    pub delivered: bool,
    pub held: bool,
    pub dead: bool,
    /// Queued again, after it was held or dead.
    pub requeued: bool,
    /// Arrivals that are queued, attempts that fail, reasons that change, expiries.
    pub others: bool,
}

impl MoveFilter {
    pub const ALL: Self = Self { delivered: true, held: true, dead: true, requeued: true, others: true };
    pub const NONE: Self = Self { delivered: false, held: false, dead: false, requeued: false, others: false };

    /// Tells whether a change is recorded.
    pub(super) fn lets(self, from: Option<State>, to: Option<State>) -> bool {
        match to.filter(|to| from != Some(*to)) {
            Some(State::Delivered) => self.delivered,
            Some(State::Held) => self.held,
            Some(State::Dead) => self.dead,
            Some(State::Queued) if from.is_some() => self.requeued,
            Some(State::Queued) | None => self.others,
        }
    }
}

/// Some events, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub events: Vec<OutboxEvent>,
    /// How many behind the `after` that was asked for, up to `upto`, are not there any more (or can't be read).
    pub missed: u64,
    /// From where to read on, and what to give to [`Outbox::trim`] once these are dealt with.
    pub upto: u64,
}

impl Events {
    /// Counts what is missing among the events behind `after`; `upto` is as far as was looked.
    pub(super) fn new(events: Vec<OutboxEvent>, after: u64, upto: u64) -> Self {
        let upto = upto.max(after);
        let missed = (upto - after).saturating_sub(events.len() as u64);
        Self { events, missed, upto }
    }
}

/// Whoever reads events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub name: Key,
    /// The last event that it has dealt with.
    pub upto: u64,
    /// How many were recorded since.
    pub behind: u64,
}

/// Tells up to which event those are dropped that are too old; none where it isn't yet time.
///
/// A rule of the number alone, so that nobody counts what is kept.
pub(super) fn drop_upto(recorded: u64) -> Option<u64> {
    recorded.is_multiple_of(OUTBOX_STEP).then(|| recorded.checked_sub(OUTBOX_MAX)).flatten().filter(|upto| *upto > 0)
}

/// The part of a store that keeps events until every reader has them.
///
/// While no reader is registered nothing is recorded, and nothing is paid for it. Else whatever `append`, `settle` and
/// `amend` write into an entry's history is recorded in the same transaction, and so is what `expire` removes. A wait that
/// is only prolonged is no event. Nor is an erasure: whoever asks to be forgotten wants no trace of that kept, and of what was
/// recorded before only ids are left. What a salvage merges back, or a restored copy holds, did not happen now.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Adds a reader, from the events recorded from now on; returns the last one before. One that is there keeps its place.
    ///
    /// Durable: it outlives the process. None where there are [`READERS_MAX`].
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError>;

    /// Removes a reader, and what no other reads; tells whether it was there.
    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError>;

    /// Lists the readers by name.
    async fn readers(&self) -> Result<Vec<Reader>, StoreError>;

    /// Says which changes of entries this process records from now on.
    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError>;

    /// Records an event, at most once for a key of the last [`ONCE_MAX`]; tells whether it did. While no reader is registered
    /// it does not, and the key stays free.
    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError>;

    /// Returns up to `limit` events behind a number. All of them are durable.
    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError>;

    /// Says that a reader needs nothing up to a number any more, and removes what no other needs; tells whether there is such
    /// a reader. One with a lower number than before changes nothing.
    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_is_dropped_a_step_at_a_time() {
        assert_eq!(drop_upto(OUTBOX_MAX), None);
        assert_eq!(drop_upto(OUTBOX_MAX + 1), None);
        assert_eq!(drop_upto(OUTBOX_MAX + OUTBOX_STEP), Some(OUTBOX_STEP));
        assert_eq!(drop_upto(OUTBOX_MAX + OUTBOX_STEP + 1), None);
        assert_eq!(drop_upto(0), None);
    }
}

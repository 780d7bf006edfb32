//! What is remembered of entries, so that nobody reads again what was just written: of those that were appended last until
//! they are claimed, and of those that are leased until they are settled.
//!
//! True only of what was committed, and only as long as nobody else changes the entry: whoever does forgets it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::arrival::Arrival;
use crate::lead::EntryId;
use crate::queue::Reading;
use crate::queue::standing::Standing;

/// Entries of either kind that are remembered.
const REMEMBERED_MAX: usize = 2_048;
/// Bytes of the records of those that were appended.
const BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Both kinds. No `Debug`: it is personal data.
#[derive(Default)]
pub(super) struct Recent {
    appended: HashMap<i64, Appended, RandomState>,
    /// The numbers of those, the oldest first; of some that are gone by now too.
    order: VecDeque<i64>,
    bytes: usize,
    leased: HashMap<EntryId, Leased, RandomState>,
}

/// An entry to which nothing has happened since it was appended.
pub(super) struct Appended {
    pub(super) arrival: Arc<Arrival>,
    pub(super) place: u32,
    /// Bytes of its record: what is remembered takes fewer.
    pub(super) len: usize,
    pub(super) traceparent: Option<String>,
    pub(super) reading: Reading,
}

/// How an entry stands that is leased.
pub(super) struct Leased {
    pub(super) number: i64,
    pub(super) site: i64,
    pub(super) place: u32,
    pub(super) accepted_at: i64,
    pub(super) standing: Standing,
}

impl Recent {
    /// Remembers an entry that is appended.
    pub(super) fn add(&mut self, number: i64, entry: Appended) {
        self.bytes += entry.len;
        self.appended.insert(number, entry);
        self.order.push_back(number);
        while self.bytes > BYTES_MAX || self.order.len() > REMEMBERED_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.take(oldest);
        }
    }

    /// Gives what is remembered of an entry that was appended, and forgets it.
    pub(super) fn take(&mut self, number: i64) -> Option<Appended> {
        let entry = self.appended.remove(&number)?;
        self.bytes -= entry.len;
        Some(entry)
    }

    /// Remembers an entry that is leased.
    pub(super) fn lease(&mut self, id: EntryId, leased: Leased) {
        if self.leased.len() >= REMEMBERED_MAX {
            self.leased.clear();
        }
        self.leased.insert(id, leased);
    }

    /// Gives what is remembered of an entry that is leased, and forgets it.
    pub(super) fn take_leased(&mut self, id: EntryId) -> Option<Leased> {
        self.leased.remove(&id)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

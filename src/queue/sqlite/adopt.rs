//! Entries that come from elsewhere: from a store of a former version, or from one that was set aside.

use jiff::Timestamp;
use rusqlite::Connection;

use super::arrival;
use super::failure::Failure;
use super::names::Names;
use super::row::{NewRow, Row, from_millisecond, insert_entries};
use super::segment::{self, SEGMENT_MAX};
use super::tally::SiteTally;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::DedupePrefix;
use crate::queue::standing::Standing;

/// An entry with all that is known of it.
pub(super) struct Kept {
    pub(super) id: EntryId,
    pub(super) site: SiteId,
    pub(super) form: FormId,
    pub(super) accepted_at: i64,
    pub(super) seen: u32,
    pub(super) key: Option<DedupePrefix>,
    pub(super) standing: Standing,
    /// As an append writes it.
    pub(super) record: Vec<u8>,
}

impl Kept {
    /// Returns when it was accepted.
    pub(super) fn accepted_at(&self) -> Result<Timestamp, Failure> {
        from_millisecond(self.accepted_at, "accepted_at")
    }
}

/// Puts entries into the tables, as many to a segment as fit.
pub(super) struct Adopting<'c> {
    connection: &'c Connection,
    names: Names,
    segment: Vec<u8>,
    first: i64,
    /// The number that the next one gets.
    pub(super) next: i64,
}

impl<'c> Adopting<'c> {
    pub(super) fn from(connection: &'c Connection, next: i64) -> Self {
        Self { connection, names: Names::default(), segment: Vec::new(), first: next, next }
    }

    /// Makes ready for an entry what others need as well: who may take back the entry begins to write behind this.
    pub(super) fn make_ready(&mut self, kept: &Kept) -> Result<(), Failure> {
        if !self.segment.is_empty() && self.segment.len() + kept.record.len() > SEGMENT_MAX {
            self.write()?;
        }
        self.names.number(self.connection, kept.site.as_str())?;
        self.names.number(self.connection, kept.form.as_str())?;
        Ok(())
    }

    /// Adds an entry for which all is ready. On an error nothing of it is left once its row is taken back.
    pub(super) fn add(&mut self, kept: &Kept, tally: &mut SiteTally) -> Result<(), Failure> {
        let Kept { id, accepted_at, seen, key, standing, record, .. } = kept;
        let place = u32::try_from(self.segment.len()).map_err(Failure::unavailable)?;
        let site = self.names.number(self.connection, kept.site.as_str())?;
        let form = self.names.number(self.connection, kept.form.as_str())?;
        let row = Row { id: *id, site, form, accepted_at: *accepted_at, seen: *seen, place, key: *key };
        insert_entries(self.connection, &[NewRow { number: self.next, row, standing }])?;
        tally.note(site, standing.state, 1);
        self.segment.extend_from_slice(record);
        self.next += 1;
        Ok(())
    }

    /// Writes the segment that was begun.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        if !self.segment.is_empty() {
            segment::insert(self.connection, self.first, &self.segment)?;
            self.segment.clear();
        }
        self.first = self.next;
        arrival::set_entered(self.connection, self.next - 1)
    }
}

//! Entries on their way out of a store in memory, and into one.

use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;

use super::{Kept, MemoryStore, Record};
use crate::lead::EntryId;
use crate::queue::carry::{CARRY_BESIDE_MAX, CARRY_BYTES, check_count};
use crate::queue::standing::Beside;
use crate::queue::{
    CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, CarryPage, Happened, Move, Note, NoteKind,
    OnceKeys, StoreError,
};

impl Kept {
    fn carry_out(&self, after: Option<EntryId>, limit: usize) -> CarryPage {
        let mut page = CarryPage::default();
        let mut bytes = 0;
        let mut last = None;
        for (id, record) in self.records.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)) {
            if page.entries.len() == limit || bytes >= CARRY_BYTES {
                page.next = last;
                break;
            }
            last = Some(*id);
            bytes += record.received.body.len();
            let standing = record.standing.clone();
            page.entries.push(Carried::new(standing, record.beside(*id), record.received.clone(), record.key));
        }
        page
    }

    fn carry_in(&mut self, carried: &Carried, carried_as: CarriedAs, window: Duration) -> CarriedIn {
        let Carried { standing, beside, received, key } = carried.clone();
        let Beside { id, site, form, accepted_at, seen, reading, .. } = beside;
        if self.records.contains_key(&id) {
            return CarriedIn::Present;
        }
        if carried_as == CarriedAs::Append
            && let Some(first) = self.count_seen(key, accepted_at, window, seen.saturating_add(1))
        {
            return CarriedIn::Duplicate(first);
        }
        if let Some(key) = key.filter(|_| !window.is_zero()) {
            let known = self.first_seen.entry(key).or_insert((id, accepted_at));
            // A key that came again since stays with what came since.
            if known.1 < accepted_at {
                *known = (id, accepted_at);
            }
        }
        self.appends += 1;
        let number = self.appends;
        let record = Record { number, site, form, accepted_at, seen, reading, received, key, standing };
        if carried_as == CarriedAs::Append {
            let to = Some(record.standing.state);
            self.outbox.record(accepted_at, || Happened::Moved(Move { to, ..record.moved(id) }));
        }
        self.records.insert(id, record);
        CarriedIn::New
    }
}

#[async_trait]
impl Carry for MemoryStore {
    async fn carry_out(&self, after: Option<EntryId>, limit: usize) -> Result<CarryPage, StoreError> {
        Ok(self.kept.lock().carry_out(after, limit.clamp(1, CARRY_MAX)))
    }

    async fn carry_in(&self, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, StoreError> {
        check_count(entries.len(), CARRY_MAX)?;
        let mut kept = self.kept.lock();
        let carried_in = entries.iter().map(|carried| kept.carry_in(carried, carried_as, self.dedupe_window)).collect();
        drop(kept);
        self.wake();
        Ok(carried_in)
    }

    async fn carry_once_out(&self, after: u64, limit: usize) -> Result<OnceKeys, StoreError> {
        Ok(self.kept.lock().outbox.once_keys(after, limit.clamp(1, CARRY_BESIDE_MAX)))
    }

    async fn carry_events_in(&self, events: &CarriedEvents) -> Result<(), StoreError> {
        for given in [events.readers.len(), events.events.len(), events.once.len()] {
            check_count(given, CARRY_BESIDE_MAX)?;
        }
        self.kept.lock().outbox.take(events);
        Ok(())
    }

    async fn carry_notes_in(&self, kind: NoteKind, notes: &[Note]) -> Result<(), StoreError> {
        check_count(notes.len(), CARRY_BESIDE_MAX)?;
        let mut kept = self.kept.lock();
        notes.iter().for_each(|note| kept.notes.take(kind, note));
        Ok(())
    }
}

//! What a store does beside keeping entries: events, notes, holds, and what is carried from one store into another.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::events::Emitting;
use super::holds::Asking;
use super::{PostgresStore, carry, carry_beside, events, holds, notes};
use crate::lead::EntryId;
use crate::queue::carry::{CARRY_BESIDE_MAX, check_count};
use crate::queue::{
    CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, CarryPage, Emission, Events, Holds, Key,
    MoveFilter, Note, NoteChange, NoteKind, Notes, OnceKeys, Outbox, Reader, StoreError,
};

#[async_trait]
impl Outbox for PostgresStore {
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError> {
        Ok(events::register(&self.core, reader).await?)
    }

    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError> {
        Ok(events::unregister(&self.core, reader).await?)
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        Ok(events::readers(&self.core).await?)
    }

    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError> {
        *self.core.filter.lock() = filter;
        Ok(())
    }

    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError> {
        let emitted = self.emits.run(Emitting::new(emission, once, now)).await?;
        if emitted {
            self.wake();
        }
        Ok(emitted)
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError> {
        Ok(events::events(&self.core, after, limit).await?)
    }

    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError> {
        Ok(events::trim(&self.core, reader, upto).await?)
    }
}

#[async_trait]
impl Notes for PostgresStore {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        self.note_all(&[(change.clone(), now)]).await
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        Ok(notes::note_all(&self.core, changes).await?)
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        Ok(notes::notes(&self.core, kind, prefix, after, limit).await?)
    }
}

#[async_trait]
impl Holds for PostgresStore {
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.asks.run(Asking::new(name, holder, ttl, now)).await?)
    }

    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError> {
        Ok(holds::release(&self.core, name, holder).await?)
    }
}

#[async_trait]
impl Carry for PostgresStore {
    async fn carry_out(&self, after: Option<EntryId>, limit: usize) -> Result<CarryPage, StoreError> {
        Ok(carry::carry_out(&self.core, after, limit.clamp(1, CARRY_MAX)).await?)
    }

    async fn carry_in(&self, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, StoreError> {
        check_count(entries.len(), CARRY_MAX)?;
        let carried_in = carry::carry_in(&self.core, entries, carried_as).await?;
        self.wake();
        Ok(carried_in)
    }

    async fn carry_once_out(&self, after: u64, limit: usize) -> Result<OnceKeys, StoreError> {
        Ok(carry_beside::once_keys(&self.core, after, limit.clamp(1, CARRY_BESIDE_MAX)).await?)
    }

    async fn carry_events_in(&self, events: &CarriedEvents) -> Result<(), StoreError> {
        for given in [events.readers.len(), events.events.len(), events.once.len()] {
            check_count(given, CARRY_BESIDE_MAX)?;
        }
        Ok(carry_beside::take_events(&self.core, events).await?)
    }

    async fn carry_notes_in(&self, kind: NoteKind, notes: &[Note]) -> Result<(), StoreError> {
        check_count(notes.len(), CARRY_BESIDE_MAX)?;
        Ok(carry_beside::take_notes(&self.core, kind, notes).await?)
    }
}

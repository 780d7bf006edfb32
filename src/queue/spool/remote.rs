//! What is the store's alone, and gives its error while it is away: events, notes and holds.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::SpoolingStore;
use crate::queue::{
    Emission, Events, Holds, Key, MoveFilter, Note, NoteChange, NoteKind, Notes, Outbox, Reader, StoreError,
};

#[async_trait]
impl Outbox for SpoolingStore {
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError> {
        self.0.answering()?.register(reader).await
    }

    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError> {
        self.0.answering()?.unregister(reader).await
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        self.0.answering()?.readers().await
    }

    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError> {
        self.0.answering()?.record_moves(filter).await
    }

    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError> {
        self.0.answering()?.emit(emission, once, now).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError> {
        self.0.answering()?.events(after, limit).await
    }

    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError> {
        self.0.answering()?.trim(reader, upto).await
    }
}

#[async_trait]
impl Notes for SpoolingStore {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        self.0.answering()?.note(change, now).await
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        self.0.answering()?.note_all(changes).await
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.0.answering()?.notes(kind, prefix, after, limit).await
    }
}

#[async_trait]
impl Holds for SpoolingStore {
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        self.0.answering()?.hold(name, holder, ttl, now).await
    }

    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError> {
        self.0.answering()?.release(name, holder).await
    }
}

//! The notes and holds of a store in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::MemoryStore;
use crate::queue::holds::{HOLDS_MAX, Hold};
use crate::queue::standing::whole_millisecond;
use crate::queue::{CHANGES_MAX, Holds, Key, NOTES_MAX, Note, NoteChange, NoteKind, Notes, StoreError};

/// The notes of each kind.
#[derive(Debug, Default)]
pub(super) struct KeptNotes(BTreeMap<NoteKind, BTreeMap<Key, Note>>);

impl KeptNotes {
    fn note(&mut self, NoteChange { kind, key, merge }: &NoteChange, now: Timestamp) {
        let notes = self.0.entry(*kind).or_default();
        Self::make_room(notes, *kind, key);
        notes.entry(key.clone()).or_insert_with(|| Note::begin(key.clone(), now)).merge(merge, now);
    }

    /// Takes in a note as it is, unless the one that is there was written to later.
    pub(super) fn take(&mut self, kind: NoteKind, note: &Note) {
        let notes = self.0.entry(kind).or_default();
        if notes.get(&note.key).is_some_and(|there| there.last_at > note.last_at) {
            return;
        }
        Self::make_room(notes, kind, &note.key);
        notes.insert(note.key.clone(), note.clone());
    }

    fn make_room(notes: &mut BTreeMap<Key, Note>, kind: NoteKind, key: &Key) {
        if !notes.contains_key(key) && notes.len() as u64 >= kind.limits().notes_max {
            let oldest = notes.values().min_by_key(|note| (note.last_at, &note.key)).map(|note| note.key.clone());
            oldest.map(|oldest| notes.remove(&oldest));
        }
    }

    /// Removes up to `limit` notes of each kind whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp, limit: usize) {
        for (kind, notes) in &mut self.0 {
            let over = notes.values().filter(|note| note.is_over(*kind, now));
            let mut over: Vec<_> = over.map(|note| (note.last_at, note.key.clone())).collect();
            over.sort_unstable();
            over.iter().take(limit).for_each(|(_, key)| drop(notes.remove(key)));
        }
    }
}

#[async_trait]
impl Notes for MemoryStore {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        self.kept.lock().notes.note(change, whole_millisecond(now));
        Ok(())
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        for (change, at) in changes.iter().take(CHANGES_MAX) {
            kept.notes.note(change, whole_millisecond(*at));
        }
        Ok(())
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        let kept = self.kept.lock();
        let Some(notes) = kept.notes.0.get(&kind) else { return Ok(Vec::new()) };
        let behind = notes.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let found = behind.map(|(_, note)| note).filter(|note| note.key.as_str().starts_with(prefix));
        Ok(found.take(limit.clamp(1, NOTES_MAX)).cloned().collect())
    }
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct KeptHolds(BTreeMap<Key, Hold>);

impl KeptHolds {
    fn hold(&mut self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> bool {
        if let Some(hold) = self.0.get_mut(name) {
            return hold.ask(holder, ttl, now);
        }
        if self.0.len() >= HOLDS_MAX {
            self.0.retain(|_, hold| hold.until > now);
        }
        let has_room = self.0.len() < HOLDS_MAX;
        if has_room {
            self.0.insert(name.clone(), Hold::begin(holder.clone(), ttl, now));
        }
        has_room
    }
}

#[async_trait]
impl Holds for MemoryStore {
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.kept.lock().holds.hold(name, holder, ttl, whole_millisecond(now)))
    }

    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError> {
        let holds = &mut self.kept.lock().holds.0;
        let is_held = holds.get(name).is_some_and(|hold| hold.holder == *holder);
        if is_held {
            holds.remove(name);
        }
        Ok(is_held)
    }
}

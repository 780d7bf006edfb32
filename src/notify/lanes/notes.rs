//! The notes of lanes, also of those that are not in the configuration now.

use std::collections::HashMap;

use jiff::Timestamp;

use super::state::{LaneState, TRIED_FOR};
use crate::clock::later;
use crate::queue::{Key, NOTES_MAX, Note, NoteKind, Store, StoreError};

/// Returns how far the sinks of some notes had got, each with until when it is waited for: so long its events are tried.
pub(super) fn parked<'a>(notes: impl Iterator<Item = &'a Note>, now: Timestamp) -> Vec<(u64, Timestamp)> {
    let parked = notes.filter_map(|note| Some((LaneState::read(note)?.cursor, later(note.last_at, TRIED_FOR))));
    parked.filter(|(_, until)| now < *until).collect()
}

/// Tells whether a sink was there not long ago, and may come back.
pub(in crate::notify) async fn has_parked(store: &dyn Store, now: Timestamp) -> Result<bool, StoreError> {
    Ok(!parked(states(store).await?.values(), now).is_empty())
}

/// Reads the notes of all lanes.
pub(super) async fn states(store: &dyn Store) -> Result<HashMap<Key, Note>, StoreError> {
    let mut notes = HashMap::new();
    let mut after: Option<Key> = None;
    loop {
        let page = store.notes(NoteKind::Sink, "", after.as_ref(), NOTES_MAX).await?;
        let Some(last) = page.last() else { return Ok(notes) };
        after = Some(last.key.clone());
        notes.extend(page.into_iter().map(|note| (note.key.clone(), note)));
    }
}

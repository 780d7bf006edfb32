//! Entries on their way out of this store into another, and the other way.

mod beside;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::SqliteStore;
use super::adopt::{Adopting, Kept};
use super::append::{check_room, count_seen};
use super::arrival::Arrival;
use super::check::Watch;
use super::failure::Failure;
use super::keys::Keys;
use super::recent::Recent;
use super::row::{DEDUPE_KEY, HEAD_BY_ID, read_beside, read_standing, received, signed, spot};
use super::segment::{self, Segments};
use super::workspace::Workspace;
use super::{keys, listed, outbox};
use crate::lead::EntryId;
use crate::queue::carry::{CARRY_BESIDE_MAX, CARRY_BYTES, check_count};
use crate::queue::{
    CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, CarryPage, DedupePrefix, Note, NoteKind, OnceKeys,
    StoreError,
};

/// Reads some entries by id. What can't be read is named, and keeps nobody from the others.
fn carry_out(
    connection: &Connection,
    damage: &Watch,
    after: Option<EntryId>,
    limit: usize,
) -> Result<CarryPage, Failure> {
    let mut find =
        connection.prepare_cached("SELECT id FROM entry INDEXED BY entry_id WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    let ids = find.query_map((after, signed(limit as u64 + 1)), |row| row.get(0).map(EntryId::from_bytes))?;
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let mut page = CarryPage::default();
    let mut segments = Segments::of(connection);
    let mut bytes = 0;
    for (at, id) in ids.iter().enumerate() {
        if at == limit || bytes >= CARRY_BYTES {
            page.next = at.checked_sub(1).and_then(|last| ids.get(last)).copied();
            break;
        }
        match read(connection, &mut segments, *id) {
            Ok(Some(carried)) => {
                bytes += carried.received.body.len();
                page.entries.push(carried);
            }
            // Removed since.
            Ok(None) => {}
            Err(failure @ (Failure::Corrupt(_) | Failure::Damaged(_))) => {
                damage.note(&failure);
                page.unreadable.push(*id);
                segments = Segments::of(connection);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(page)
}

fn read(connection: &Connection, segments: &mut Segments<'_>, id: EntryId) -> Result<Option<Carried>, Failure> {
    let mut find = connection.prepare_cached(HEAD_BY_ID)?;
    let mut rows = find.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (standing, _) = read_standing(row)?;
    let beside = read_beside(row, segments)?;
    let (json, body) = segments.received(spot(row)?)?;
    let key = row.get::<_, Option<[u8; 16]>>(DEDUPE_KEY)?.map(DedupePrefix);
    Ok(Some(Carried::new(standing, beside, received(&json, body)?, key)))
}

/// An entry as it goes into the tables; made before it comes to the writer's thread.
struct Prepared {
    arrival: Arrival,
    kept: Kept,
}

impl Prepared {
    fn of(carried: &Carried) -> Result<Self, Failure> {
        let Carried { standing, beside, received, key } = carried;
        let accepted_at = beside.accepted_at.as_millisecond();
        let site = beside.site.clone();
        let form = beside.form.clone();
        let expires_at = standing.expires_at.map(|at| at.as_millisecond());
        let state = (standing.state, standing.reason);
        let arrival = Arrival::of(beside.id, site.clone(), form.clone(), state, accepted_at, (expires_at, *key));
        let record = segment::record_of(&arrival, &beside.reading, received)?;
        let standing = standing.clone();
        let kept = Kept { id: beside.id, site, form, accepted_at, seen: beside.seen, key: *key, standing, record };
        Ok(Self { arrival, kept })
    }
}

/// Puts entries into the tables.
fn carry_in(workspace: &mut Workspace, entries: &[Prepared], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, Failure> {
    let bytes = entries.iter().map(|entry| entry.kept.record.len()).sum();
    check_room(workspace, bytes)?;
    workspace.asked += bytes;
    let first = workspace.next_number;
    let newest = workspace.newest;
    let mut carried_in = Vec::with_capacity(entries.len());
    let Workspace { connection, tally, keys, options, newest: newest_now, outbox, names, recent, .. } = workspace;
    let mut adopting = Adopting::from(connection, first);
    for Prepared { arrival, kept } in entries {
        if connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?.exists([kept.id.as_bytes()])? {
            carried_in.push(CarriedIn::Present);
            continue;
        }
        let window = options.dedupe_window;
        if carried_as == CarriedAs::Append {
            if let Some(first) = count_duplicate(connection, keys, recent, kept, window)? {
                carried_in.push(CarriedIn::Duplicate(first));
                continue;
            }
            outbox::arrived(connection, outbox, names, arrival)?;
        }
        adopting.make_ready(kept)?;
        adopting.add(kept, tally)?;
        *newest_now = (*newest_now).max(Some(kept.id));
        if !window.is_zero() {
            keys.add_if_newer(kept.id, kept.accepted_at, kept.key);
        }
        carried_in.push(CarriedIn::New);
    }
    adopting.write()?;
    // Times that rise with the numbers say what they always do.
    if entries.iter().any(|entry| Some(entry.kept.id) < newest) {
        keys::note_adopted(connection, first, adopting.next - 1)?;
    }
    listed::put_in(connection, adopting.next - 1)?;
    workspace.woke |= adopting.next > first;
    workspace.next_number = adopting.next;
    Ok(carried_in)
}

/// Counts an entry as one more sight of that which had its key first within the window, if there is such an entry.
fn count_duplicate(
    connection: &Connection,
    keys: &Keys,
    recent: &mut Recent,
    kept: &Kept,
    window: Duration,
) -> Result<Option<EntryId>, Failure> {
    let Some(key) = kept.key.filter(|_| !window.is_zero()) else { return Ok(None) };
    let Some(first) = keys.first(key, kept.accepted_at()?, window) else { return Ok(None) };
    let number = count_seen(connection, first, key, kept.seen.saturating_add(1))?;
    number.map(|number| recent.take(number));
    Ok(number.map(|_| first))
}

#[async_trait]
impl Carry for SqliteStore {
    async fn carry_out(&self, after: Option<EntryId>, limit: usize) -> Result<CarryPage, StoreError> {
        let limit = limit.clamp(1, CARRY_MAX);
        self.enter().await?;
        let damage = Arc::clone(&self.damage);
        self.readers.read(move |connection| carry_out(connection, &damage, after, limit)).await
    }

    async fn carry_in(&self, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, StoreError> {
        check_count(entries.len(), CARRY_MAX)?;
        let prepared = entries.iter().map(Prepared::of).collect::<Result<Vec<_>, _>>()?;
        self.writer.write(move |workspace| carry_in(workspace, &prepared, carried_as)).await
    }

    async fn carry_once_out(&self, after: u64, limit: usize) -> Result<OnceKeys, StoreError> {
        let limit = limit.clamp(1, CARRY_BESIDE_MAX);
        self.readers.read(move |connection| beside::once_keys(connection, after, limit)).await
    }

    async fn carry_events_in(&self, events: &CarriedEvents) -> Result<(), StoreError> {
        let CarriedEvents { readers, events: carried, once, .. } = events;
        for given in [readers.len(), carried.len(), once.len()] {
            check_count(given, CARRY_BESIDE_MAX)?;
        }
        let events = events.clone();
        self.writer.write(move |workspace| beside::take_events(workspace, &events)).await
    }

    async fn carry_notes_in(&self, kind: NoteKind, notes: &[Note]) -> Result<(), StoreError> {
        check_count(notes.len(), CARRY_BESIDE_MAX)?;
        let notes = notes.to_vec();
        self.writer.write(move |workspace| beside::take_notes(&workspace.connection, kind, &notes)).await
    }
}

//! Adding entries.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::arrival::{self, Arrival};
use super::change;
use super::entering;
use super::failure::Failure;
use super::outbox;
use super::recent;
use super::schema::PAGE_SIZE;
use super::segment::{self, SEGMENT_MAX};
use super::writer::Workspace;
use crate::lead::EntryId;
use crate::queue::standing::{Standing, whole_millisecond};
use crate::queue::{Appended, DedupeKey, DedupePrefix, NewEntry, Reading};

/// Room that a probe wants to see: a small entry's.
const READY_ROOM: usize = 2 * PAGE_SIZE;

/// An entry as it goes into the tables; made before it comes to the writer's thread.
pub(super) struct Prepared {
    arrival: Arc<Arrival>,
    accepted_at: Timestamp,
    record: Vec<u8>,
    dedupe: Option<DedupePrefix>,
    /// What it is sent with, until that is remembered.
    reading: Option<(Option<String>, Reading)>,
}

impl Prepared {
    pub(super) fn new(entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Self, Failure> {
        let dedupe = dedupe.map(DedupePrefix::from);
        let arrival = Arrival::new(&entry, &Standing::new(&entry), dedupe);
        let NewEntry { accepted_at, reading, received, .. } = entry;
        let record = segment::record_of(&arrival, &reading, &received)?;
        Ok(Self {
            arrival: Arc::new(arrival),
            accepted_at: whole_millisecond(accepted_at),
            record,
            dedupe,
            reading: Some((received.traceparent, reading)),
        })
    }
}

/// Adds an entry unless its key is fresh.
pub(super) fn append(workspace: &mut Workspace, entry: &mut Prepared) -> Result<Appended, Failure> {
    if let Some(key) = entry.dedupe.filter(|_| !workspace.options.dedupe_window.is_zero()) {
        // Whoever counts one more sight of an entry needs it in the books.
        if workspace.waiting.has_key(key) {
            entering::enter(workspace)?;
        }
        if let Some(first) = find_first(workspace, key, entry.accepted_at)? {
            return Ok(Appended::Duplicate(first));
        }
    }
    if workspace.waiting.len() >= arrival::WAITING_MAX {
        entering::enter(workspace)?;
    }
    let id = entry.arrival.id;
    check_id(workspace, id)?;
    let bytes = entry.record.len();
    if let Err(failure) = check_room(workspace, bytes) {
        workspace.missing = bytes;
        return Err(failure);
    }
    if workspace.segment.len() + bytes > SEGMENT_MAX {
        arrival::write_segment(workspace)?;
    }
    outbox::appended(workspace, &entry.arrival)?;
    let number = workspace.next_number;
    workspace.next_number += 1;
    if workspace.segment.is_empty() {
        workspace.segment_number = number;
    }
    let place = u32::try_from(workspace.segment.len()).map_err(Failure::unavailable)?;
    workspace.waiting.add(number, place, Arc::clone(&entry.arrival));
    workspace.segment.extend_from_slice(&entry.record);
    if let Some((traceparent, reading)) = entry.reading.take() {
        let arrival = Arc::clone(&entry.arrival);
        workspace.recent.add(number, recent::Appended { arrival, place, len: bytes, traceparent, reading });
    }
    workspace.asked += bytes;
    workspace.woke = true;
    Ok(Appended::New(id))
}

fn check_id(workspace: &Workspace, id: EntryId) -> Result<(), Failure> {
    // Most ids are later than all that are entered.
    let is_entered = workspace.newest.is_some_and(|newest| id <= newest)
        && workspace.connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?.exists([id.as_bytes()])?;
    if is_entered || workspace.waiting.has(id) { Err(Failure::unavailable(RepeatedId)) } else { Ok(()) }
}

/// The database grows by at most this many times what was asked for.
const GROWTH_MAX: u64 = 8;
/// What a transaction may add that nobody asked for: rows, indexes, events.
pub(super) const BESIDE: usize = 8 * 1_024;

/// Checks that a small entry would be stored, and writes a little.
pub(super) fn probe(workspace: &mut Workspace) -> Result<usize, Failure> {
    let room = workspace.missing.max(READY_ROOM);
    check_room(workspace, room)?;
    change::probe(workspace)
}

/// Fails with `Full` unless there is room for some bytes more.
///
/// Only new entries are held back: what is stored must still be claimed and settled when `max_size` is reached.
pub(super) fn check_room(workspace: &mut Workspace, bytes: usize) -> Result<(), Failure> {
    let Some(max_size) = workspace.options.max_size else { return Ok(()) };
    let asked = (workspace.asked + bytes) as u64;
    // Far from the limit it is enough to have looked some time ago.
    if let Some((used, since)) = workspace.used
        && used + GROWTH_MAX * (since + asked) <= max_size
    {
        return Ok(());
    }
    let used = match workspace.used {
        Some((used, 0)) => used,
        _ => used_bytes(&workspace.connection)?,
    };
    workspace.used = Some((used, 0));
    if used + asked > max_size { Err(Failure::Full) } else { Ok(()) }
}

/// Returns the bytes of all pages in use.
fn used_bytes(connection: &Connection) -> Result<u64, Failure> {
    let pages = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0));
    let used = pages("PRAGMA page_count")?.saturating_sub(pages("PRAGMA freelist_count")?);
    Ok(u64::from(used) * PAGE_SIZE as u64)
}

/// Looks for the entry that had the key first, and counts one more sight of it.
fn find_first(workspace: &mut Workspace, key: DedupePrefix, now: Timestamp) -> Result<Option<EntryId>, Failure> {
    let Some(id) = workspace.keys.first(key, now, workspace.options.dedupe_window) else { return Ok(None) };
    let Workspace { connection, recent, .. } = workspace;
    let number = count_seen(connection, id, key, 1)?;
    number.map(|number| recent.take(number));
    Ok(number.map(|_| id))
}

/// Counts more sights of the entry that had a key first, and returns its number.
///
/// Without a row, or with one that has another key, it was erased meanwhile: there is none.
pub(super) fn count_seen(
    connection: &Connection,
    first: EntryId,
    DedupePrefix(key): DedupePrefix,
    times: u32,
) -> Result<Option<i64>, Failure> {
    let mut count = connection
        .prepare_cached("UPDATE entry SET seen = seen + ?3 WHERE id = ?1 AND dedupe_key = ?2 RETURNING number")?;
    Ok(count.query_row(params![first.as_bytes(), key, times], |row| row.get(0)).optional()?)
}

/// Two appends with one id: the caller's fault.
#[derive(Debug, thiserror::Error)]
#[error("the id is taken")]
struct RepeatedId;

//! Adding entries.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::arrival::{self, Arrival};
use super::failure::Failure;
use super::row::{Content, padding, to_json};
use super::schema::PAGE_SIZE;
use super::writer::Workspace;
use crate::lead::EntryId;
use crate::queue::standing::{Standing, forget_until, is_duplicate, whole_millisecond};
use crate::queue::{Appended, DedupeKey, NewEntry};

/// Most old keys forgotten for each entry: more than one, so that their number goes down.
const PRUNED_MAX: u32 = 4;

/// An entry as it goes into the tables; made before it comes to the writer's thread.
pub(super) struct Prepared {
    id: EntryId,
    accepted_at: Timestamp,
    arrived: String,
    json: String,
    body: Bytes,
    dedupe: Option<DedupeKey>,
}

impl Prepared {
    pub(super) fn new(entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Self, Failure> {
        let arrival = Arrival::new(&entry, &Standing::new(&entry), dedupe);
        Ok(Self {
            id: entry.id,
            arrived: to_json(&arrival)?,
            json: to_json(&Content { received: &entry.received, reading: &entry.reading })?,
            accepted_at: whole_millisecond(entry.accepted_at),
            body: entry.received.body,
            dedupe,
        })
    }
}

/// Adds an entry unless its key is fresh.
pub(super) fn append(workspace: &mut Workspace, entry: &Prepared) -> Result<Appended, Failure> {
    let dedupe = entry.dedupe.filter(|_| !workspace.options.dedupe_window.is_zero());
    if let Some(key) = dedupe {
        // Whoever counts one more sight of an entry needs it in the books.
        if workspace.waiting.has_key(key) {
            arrival::enter(workspace)?;
        }
        if let Some(first) = find_first(workspace, key, entry.accepted_at)? {
            return Ok(Appended::Duplicate(first));
        }
    }
    if workspace.waiting.len() >= arrival::WAITING_MAX {
        arrival::enter(workspace)?;
    }
    check_id(workspace, entry.id)?;
    let padding = padding(entry.json.len(), entry.body.len(), Some(entry.arrived.len()));
    let bytes = padding.len() + entry.json.len() + entry.body.len() + entry.arrived.len();
    let inserted = check_room(workspace, bytes).and_then(|()| insert(&workspace.connection, entry, padding));
    if matches!(inserted, Err(Failure::Full | Failure::DiskFull)) {
        workspace.missing = bytes;
    }
    inserted?;
    workspace.asked += bytes;
    workspace.waiting.add(entry.id, dedupe);
    workspace.woke = true;
    Ok(Appended::New(entry.id))
}

fn check_id(workspace: &Workspace, id: EntryId) -> Result<(), Failure> {
    let mut find = workspace.connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?;
    if workspace.waiting.has(id) || find.exists([id.as_bytes()])? {
        return Err(Failure::unavailable(RepeatedId));
    }
    Ok(())
}

/// Fails with `Full` unless there is room for some bytes more.
///
/// Only new entries are held back: what is stored must still be claimed and settled when `max_size` is reached.
pub(super) fn check_room(workspace: &Workspace, bytes: usize) -> Result<(), Failure> {
    let Some(max_size) = workspace.options.max_size else { return Ok(()) };
    let pages = |sql| workspace.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0));
    let used = pages("PRAGMA page_count")?.saturating_sub(pages("PRAGMA freelist_count")?);
    let needed = u64::from(used) * PAGE_SIZE as u64 + bytes as u64;
    if needed > max_size { Err(Failure::Full) } else { Ok(()) }
}

/// Looks for the entry that had the key first, and counts one more sight of it.
fn find_first(workspace: &Workspace, key: DedupeKey, now: Timestamp) -> Result<Option<EntryId>, Failure> {
    let mut find = workspace.connection.prepare_cached("SELECT id, seen_at FROM dedupe WHERE key = ?1")?;
    let found = find.query_row([key.0], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?))).optional()?;
    let Some((id, seen_at)) = found else { return Ok(None) };
    let fresh = Timestamp::from_millisecond(seen_at)
        .is_ok_and(|first| is_duplicate(first, now, workspace.options.dedupe_window));
    if !fresh {
        return Ok(None);
    }
    let mut count = workspace.connection.prepare_cached("UPDATE entry SET seen = seen + 1 WHERE id = ?1")?;
    // Without a row it was erased meanwhile: then this one is new.
    Ok((count.execute([id])? > 0).then(|| EntryId::from_bytes(id)))
}

fn insert(connection: &Connection, entry: &Prepared, padding: &[u8]) -> Result<(), Failure> {
    // After all that was ever entered, so that a number is never given twice.
    let mut last = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM content")?;
    let last: i64 = last.query_row([], |row| row.get(0))?;
    let number = last.max(arrival::sequence(connection)?) + 1;
    let mut insert = connection
        .prepare_cached("INSERT INTO content (number, padding, json, body, arrived) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert.execute(params![number, padding, entry.json, &*entry.body, entry.arrived])?;
    Ok(())
}

/// Forgets some keys that no append can meet any more.
pub(super) fn forget_keys(workspace: &Workspace, now: Timestamp, entered: u32) -> Result<(), Failure> {
    let until = forget_until(now, workspace.options.dedupe_window).as_millisecond();
    let mut forget = workspace.connection.prepare_cached(
        "DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE seen_at <= ?1 ORDER BY seen_at LIMIT ?2)",
    )?;
    forget.execute(params![until, entered.saturating_mul(PRUNED_MAX)])?;
    Ok(())
}

/// Two appends with one id: the caller's fault.
#[derive(Debug, thiserror::Error)]
#[error("the id is taken")]
struct RepeatedId;

//! Adding entries.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::failure::Failure;
use super::row::{padding, to_json};
use super::schema::PAGE_SIZE;
use super::writer::Workspace;
use crate::lead::EntryId;
use crate::queue::standing::{Standing, forget_until, is_duplicate, whole_millisecond};
use crate::queue::{Appended, DedupeKey, NewEntry};

/// Most old keys forgotten with each append: more than one, so that their number goes down.
const PRUNED_MAX: u32 = 4;

/// An entry as it goes into the tables; made before it comes to the writer's thread.
pub(super) struct Prepared {
    id: EntryId,
    site: String,
    form: String,
    accepted_at: Timestamp,
    standing: Standing,
    history: String,
    json: String,
    body: Bytes,
    dedupe: Option<DedupeKey>,
}

impl Prepared {
    pub(super) fn new(entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Self, Failure> {
        let standing = Standing::new(&entry);
        Ok(Self {
            id: entry.id,
            history: to_json(&standing.history)?,
            json: to_json(&entry.content)?,
            standing,
            site: entry.site.into(),
            form: entry.form.into(),
            accepted_at: whole_millisecond(entry.accepted_at),
            body: entry.content.received.body,
            dedupe,
        })
    }

    /// Returns the room it takes of `max_size`.
    pub(super) fn bytes(&self) -> usize {
        padding(self.json.len(), self.body.len()).len() + self.json.len() + self.body.len()
    }
}

/// Adds an entry unless its key is fresh.
pub(super) fn append(workspace: &mut Workspace, entry: &Prepared) -> Result<Appended, Failure> {
    if let Some(key) = entry.dedupe.filter(|_| !workspace.options.dedupe_window.is_zero())
        && let Some(first) = find_first(workspace, key, entry.accepted_at)?
    {
        return Ok(Appended::Duplicate(first));
    }
    let bytes = entry.bytes();
    let inserted = check_room(workspace, bytes).and_then(|()| insert(&workspace.connection, entry));
    if matches!(inserted, Err(Failure::Full | Failure::DiskFull)) {
        workspace.missing = bytes;
    }
    inserted?;
    workspace.asked += bytes;
    remember_key(workspace, entry)?;
    workspace.woke = true;
    Ok(Appended::New(entry.id))
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

fn insert(connection: &Connection, entry: &Prepared) -> Result<(), Failure> {
    let standing = &entry.standing;
    let mut insert = connection.prepare_cached(
        "INSERT INTO entry (id, site, form, state, reason, revision, accepted_at, due_at, waits_from, expires_at,
            attempts, dedupe_key, history)
         VALUES (:id, :site, :form, :state, :reason, 1, :accepted_at, :due_at, :waits_from, :expires_at, 0,
            :dedupe_key, :history)",
    )?;
    insert.execute(named_params! {
        ":id": entry.id.as_bytes(),
        ":site": entry.site,
        ":form": entry.form,
        ":state": standing.state.as_str(),
        ":reason": standing.reason.as_str(),
        ":accepted_at": entry.accepted_at.as_millisecond(),
        ":due_at": standing.due_at.map(Timestamp::as_millisecond),
        ":waits_from": standing.waits_from.as_millisecond(),
        ":expires_at": standing.expires_at.map(Timestamp::as_millisecond),
        ":dedupe_key": entry.dedupe.map(|key| key.0),
        ":history": entry.history,
    })?;
    let number = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT INTO content (number, padding, json, body) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![number, padding(entry.json.len(), entry.body.len()), entry.json, &*entry.body])?;
    Ok(())
}

/// Remembers the key, and forgets some that no append can meet any more.
fn remember_key(workspace: &Workspace, entry: &Prepared) -> Result<(), Failure> {
    let window = workspace.options.dedupe_window;
    let Some(key) = entry.dedupe.filter(|_| !window.is_zero()) else { return Ok(()) };
    let mut remember =
        workspace.connection.prepare_cached("INSERT OR REPLACE INTO dedupe (key, id, seen_at) VALUES (?1, ?2, ?3)")?;
    remember.execute(params![key.0, entry.id.as_bytes(), entry.accepted_at.as_millisecond()])?;
    let mut forget = workspace.connection.prepare_cached(
        "DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE seen_at <= ?1 ORDER BY seen_at LIMIT ?2)",
    )?;
    forget.execute(params![forget_until(entry.accepted_at, window).as_millisecond(), PRUNED_MAX])?;
    Ok(())
}

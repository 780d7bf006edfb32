//! The notes. How many there are of a kind is kept in `meta`, so that nobody counts them.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::failure::Failure;
use super::outbox::key;
use super::row::{from_millisecond, signed, to_json};
use super::writer::Workspace;
use crate::queue::codes::Code;
use crate::queue::standing::whole_millisecond;
use crate::queue::unreadable::Unreadable;
use crate::queue::{CHANGES_MAX, Key, NOTES_MAX, Note, NoteChange, NoteKind, Notes, StoreError};

/// Writes to a note.
fn note(workspace: &Workspace, NoteChange { kind, key, merge }: &NoteChange, now: Timestamp) -> Result<(), Failure> {
    let connection = &workspace.connection;
    let mut find = connection
        .prepare_cached("SELECT key, first_at, last_at, text, numbers FROM note WHERE kind = ?1 AND key = ?2")?;
    let mut note = match find.query_and_then(params![kind.code(), key.as_str()], read)?.next().transpose() {
        Ok(Some(note)) => note,
        // What can't be read any more must not keep newer facts out.
        Err(Failure::Corrupt(_)) => Note::begin(key.clone(), now),
        Ok(None) => {
            make_room(connection, *kind)?;
            Note::begin(key.clone(), now)
        }
        Err(failure) => return Err(failure),
    };
    note.merge(merge, now);
    let Note { key, first_at, last_at, text, numbers } = note;
    let mut write = connection.prepare_cached(
        "INSERT INTO note (kind, key, first_at, last_at, text, numbers) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO UPDATE SET first_at = excluded.first_at, last_at = excluded.last_at, text = excluded.text,
                numbers = excluded.numbers",
    )?;
    let first_at = first_at.as_millisecond();
    let last_at = last_at.as_millisecond();
    write.execute(params![kind.code(), key.as_str(), first_at, last_at, text, to_json(&numbers)?])?;
    Ok(())
}

/// Makes room for one more note of a kind.
pub(super) fn make_room(connection: &Connection, kind: NoteKind) -> Result<(), Failure> {
    let counted = count(connection, kind, 1)?;
    if counted > signed(kind.limits().notes_max) {
        let removed = remove_oldest(connection, kind, i64::MAX, 1)?;
        count(connection, kind, -removed)?;
    }
    Ok(())
}

/// Removes up to `limit` notes of each kind whose time is over.
pub(super) fn expire(connection: &Connection, now: Timestamp, limit: usize) -> Result<(), Failure> {
    for kind in NoteKind::ALL {
        let Ok(written_until) = now.checked_sub(kind.limits().keep) else { continue };
        let removed = remove_oldest(connection, kind, written_until.as_millisecond(), limit)?;
        if removed > 0 {
            count(connection, kind, -removed)?;
        }
    }
    Ok(())
}

fn remove_oldest(connection: &Connection, kind: NoteKind, written_until: i64, limit: usize) -> Result<i64, Failure> {
    let mut remove = connection.prepare_cached(
        "DELETE FROM note WHERE kind = ?1 AND key IN (
            SELECT key FROM note INDEXED BY note_age WHERE kind = ?1 AND last_at <= ?2 ORDER BY last_at, key LIMIT ?3)",
    )?;
    let removed = remove.execute(params![kind.code(), written_until, signed(limit as u64)])?;
    Ok(signed(removed as u64))
}

/// Counts some notes more of a kind, or less; returns how many that makes.
fn count(connection: &Connection, kind: NoteKind, by: i64) -> Result<i64, Failure> {
    let mut count = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('notes ' || ?1, ?2) ON CONFLICT DO UPDATE SET value = value + excluded.value
         RETURNING value",
    )?;
    Ok(count.query_row(params![kind.code(), by], |row| row.get(0))?)
}

fn list(
    connection: &Connection,
    kind: NoteKind,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Note>, Failure> {
    // One lower bound: of two, SQLite seeks by the first, and reads everything up to the second.
    let from = after.max(prefix);
    let mut list = connection.prepare_cached(
        "SELECT key, first_at, last_at, text, numbers FROM note WHERE kind = ?1 AND key >= ?2 AND key <> ?3
         ORDER BY key LIMIT ?4",
    )?;
    let rows = list.query_and_then(params![kind.code(), from, after, signed(limit as u64)], read)?;
    // Keys that begin with the text stand together.
    let of_prefix = |note: &Result<Note, Failure>| match note {
        Ok(note) => note.key.as_str().starts_with(prefix),
        Err(_) => true,
    };
    rows.take_while(of_prefix).filter(|note| !matches!(note, Err(Failure::Corrupt(_)))).collect()
}

fn read(row: &Row<'_>) -> Result<Note, Failure> {
    let numbers: String = row.get(4)?;
    Ok(Note {
        key: key(row, 0, "key")?,
        first_at: from_millisecond(row.get(1)?, "first_at")?,
        last_at: from_millisecond(row.get(2)?, "last_at")?,
        text: row.get(3)?,
        numbers: serde_json::from_str(&numbers).map_err(|_quoting| Unreadable { column: "numbers" })?,
    })
}

#[async_trait]
impl Notes for SqliteStore {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        let change = change.clone();
        let now = whole_millisecond(now);
        self.writer.write_aside(move |workspace| note(workspace, &change, now)).await
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        let changes = changes.iter().take(CHANGES_MAX).map(|(change, at)| (change.clone(), whole_millisecond(*at)));
        let changes: Vec<_> = changes.collect();
        let all =
            move |workspace: &mut Workspace| changes.iter().try_for_each(|(change, at)| note(workspace, change, *at));
        self.writer.write_aside(all).await
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        let prefix = prefix.to_owned();
        let limit = limit.clamp(1, NOTES_MAX);
        // No key is empty, so all are behind that.
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        self.readers.read(move |connection| list(connection, kind, &prefix, &after, limit)).await
    }
}

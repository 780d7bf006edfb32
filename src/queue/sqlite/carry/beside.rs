//! What is carried beside entries: events, their readers, and notes.

use rusqlite::{Connection, params};

use super::super::failure::Failure;
use super::super::names::Names;
use super::super::notes::make_room;
use super::super::outbox::key;
use super::super::row::{signed, to_json, unsigned};
use super::super::workspace::Workspace;
use crate::lead::EntryId;
use crate::queue::codes::Code;
use crate::queue::{
    CarriedEvents, Emission, Happened, Key, Move, Note, NoteKind, ONCE_MAX, OnceKeys, OutboxEvent, READERS_MAX,
};

/// Both stores together have more readers than one may.
#[derive(Debug, thiserror::Error)]
#[error("a store has at most {READERS_MAX} readers of events")]
struct TooManyReaders;

/// Lists the keys of what was emitted, oldest first.
pub(super) fn once_keys(connection: &Connection, after: u64, limit: usize) -> Result<OnceKeys, Failure> {
    let mut list =
        connection.prepare_cached("SELECT number, key FROM once WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    let mut rows = list.query(params![signed(after), signed(limit as u64)])?;
    let mut listed = OnceKeys::default();
    let mut last = after;
    while let Some(row) = rows.next()? {
        last = unsigned(row.get(0)?);
        listed.keys.push(key(row, 1, "key")?);
    }
    listed.next = (listed.keys.len() == limit).then_some(last);
    Ok(listed)
}

/// Takes in events and who reads them. What is there stays.
pub(super) fn take_events(workspace: &mut Workspace, carried: &CarriedEvents) -> Result<(), Failure> {
    let CarriedEvents { last, readers, events, once } = carried;
    let Workspace { connection, outbox, names, .. } = workspace;
    take_readers(connection, readers)?;
    for event in events {
        take_event(connection, names, event)?;
    }
    for key in once {
        let mut insert = connection.prepare_cached(
            "INSERT INTO once (key, number) VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM once))
             ON CONFLICT DO NOTHING",
        )?;
        insert.execute([key.as_str()])?;
    }
    let mut forget = connection
        .prepare_cached("DELETE FROM once WHERE number <= (SELECT coalesce(max(number), 0) FROM once) - ?1")?;
    forget.execute([signed(ONCE_MAX)])?;
    outbox.take_over(connection, signed(*last))
}

fn take_readers(connection: &Connection, readers: &[(Key, u64)]) -> Result<(), Failure> {
    for (name, upto) in readers {
        let mut insert =
            connection.prepare_cached("INSERT INTO reader (name, upto) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        insert.execute(params![name.as_str(), signed(*upto)])?;
    }
    let counted: i64 = connection.query_row("SELECT count(*) FROM reader", [], |row| row.get(0))?;
    if unsigned(counted) > READERS_MAX as u64 { Err(Failure::unavailable(TooManyReaders)) } else { Ok(()) }
}

fn take_event(connection: &Connection, names: &mut Names, event: &OutboxEvent) -> Result<(), Failure> {
    let OutboxEvent { number, at, happened } = event;
    let (topic, entry, site, form) = match happened {
        Happened::Moved(Move { entry, site, form, .. }) => (None, Some(entry), Some(site), Some(form)),
        Happened::Emitted(Emission { event, entry, site, form }) => {
            (Some(event.code()), entry.as_ref(), site.as_ref(), form.as_ref())
        }
    };
    let moved = if let Happened::Moved(moved) = happened { Some(moved) } else { None };
    let mut insert = connection.prepare_cached(
        "INSERT INTO outbox (number, at, topic, id, site, form, from_state, to_state, reason, attempt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )?;
    insert.execute(params![
        signed(*number),
        at.as_millisecond(),
        topic,
        entry.map(EntryId::as_bytes),
        site.map(|site| names.number(connection, site.as_str())).transpose()?,
        form.map(|form| names.number(connection, form.as_str())).transpose()?,
        moved.and_then(|moved| moved.from).map(Code::code),
        moved.and_then(|moved| moved.to).map(Code::code),
        moved.map(|moved| moved.reason.code()),
        moved.and_then(|moved| moved.attempt).map(Code::code),
    ])?;
    Ok(())
}

/// Takes in notes as they are, but for those that were written to later here.
pub(super) fn take_notes(connection: &Connection, kind: NoteKind, notes: &[Note]) -> Result<(), Failure> {
    for Note { key, first_at, last_at, text, numbers } in notes {
        let mut find = connection.prepare_cached("SELECT 1 FROM note WHERE kind = ?1 AND key = ?2")?;
        if !find.exists(params![kind.code(), key.as_str()])? {
            make_room(connection, kind)?;
        }
        let mut write = connection.prepare_cached(
            "INSERT INTO note (kind, key, first_at, last_at, text, numbers) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT DO UPDATE SET first_at = excluded.first_at, last_at = excluded.last_at,
                    text = excluded.text, numbers = excluded.numbers
                WHERE last_at <= excluded.last_at",
        )?;
        let first_at = first_at.as_millisecond();
        let last_at = last_at.as_millisecond();
        write.execute(params![kind.code(), key.as_str(), first_at, last_at, text, to_json(numbers)?])?;
    }
    Ok(())
}

//! Between rows and values.

use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Statement, params};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::segment::{Segments, Spot, padding};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::codes::Code;
use crate::queue::history;
use crate::queue::standing::{Beside, Standing};
use crate::queue::unreadable::Unreadable;
use crate::queue::{DedupePrefix, Entry, Event, Head, Reading};
use crate::received::Received;

/// What [`read_standing`] reads, as the first columns of a row.
macro_rules! standing {
    () => {
        "state, reason, revision, accepted_at, due_at, waits_from, expires_at, lease, attempts, lead_id, history"
    };
}

macro_rules! select_head {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            standing!(),
            ", entry.number, id, of_site.text AS site, of_form.text AS form, seen, place, site,
                (SELECT json FROM reading WHERE reading.number = entry.number), dedupe_key
             FROM entry LEFT JOIN name AS of_site ON of_site.number = site
                LEFT JOIN name AS of_form ON of_form.number = form
             WHERE ",
            $condition
        )
    };
}

/// Selects what [`read_head`] reads.
pub(super) const HEAD_BY_ID: &str = select_head!("id = ?1");
/// Selects what [`read_head`] reads.
pub(super) const HEAD_BY_NUMBER: &str = select_head!("entry.number = ?1");
/// Selects what [`read_standing`] reads, and then where the entry is.
pub(super) const STANDING_BY_ID: &str =
    concat!("SELECT ", standing!(), ", number, site, place FROM entry WHERE id = ?1");
/// Selects what [`read_standing`] reads.
pub(super) const STANDING_BY_NUMBER: &str = concat!("SELECT ", standing!(), " FROM entry WHERE number = ?1");
/// How many columns [`read_standing`] reads.
pub(super) const STANDING_COLUMNS: usize = 11;

/// Where [`read_head`]'s rows have an entry's place in its segment, and the number of its site.
pub(super) const PLACE: usize = STANDING_COLUMNS + 5;
pub(super) const SITE_NUMBER: usize = STANDING_COLUMNS + 6;
/// Where they have its dedupe key.
pub(super) const DEDUPE_KEY: usize = STANDING_COLUMNS + 8;

/// The columns of an entry that are no part of its standing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: EntryId,
    pub(super) site: i64,
    pub(super) form: i64,
    pub(super) accepted_at: i64,
    pub(super) seen: u32,
    /// Where its record is in its segment.
    pub(super) place: u32,
    pub(super) key: Option<DedupePrefix>,
}

/// What is stored of a reading.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    reading: &'a Reading,
}

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    traceparent: Option<String>,
    reading: Reading,
}

/// Writes a reading as it is stored.
pub(super) fn write_reading(to: &mut Vec<u8>, traceparent: Option<&str>, reading: &Reading) -> Result<(), Failure> {
    serde_json::to_writer(to, &Written { traceparent, reading }).map_err(Failure::unavailable)
}

/// The same as a text of its own.
pub(super) fn reading_to_json(traceparent: Option<&str>, reading: &Reading) -> Result<String, Failure> {
    to_json(&Written { traceparent, reading })
}

/// The row of an entry that is added.
pub(super) struct NewRow<'a> {
    pub(super) number: i64,
    pub(super) row: Row,
    pub(super) standing: &'a Standing,
}

/// The columns of `entry`.
const COLUMNS: usize = 18;

/// Rows that one statement adds: it opens the table and its indexes once for all of them.
pub(super) const TOGETHER: usize = 16;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));
static INSERT_TOGETHER: LazyLock<String> = LazyLock::new(|| insert_sql(TOGETHER));

fn insert_sql(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    format!(
        "INSERT INTO entry (number, id, site, form, state, reason, revision, accepted_at, due_at, waits_from, expires_at,
            lease, attempts, seen, place, lead_id, dedupe_key, history)
         VALUES {}",
        vec![row; rows].join(", ")
    )
}

/// Adds rows of entries, [`TOGETHER`] to a statement as far as there are so many.
pub(super) fn insert_entries(connection: &Connection, rows: &[NewRow<'_>]) -> Result<(), Failure> {
    let (together, rest) = rows.as_chunks::<TOGETHER>();
    for rows in together {
        insert(&mut *connection.prepare_cached(&INSERT_TOGETHER)?, rows)?;
    }
    for row in rest {
        insert(&mut *connection.prepare_cached(&INSERT_ONE)?, std::slice::from_ref(row))?;
    }
    Ok(())
}

fn insert(statement: &mut Statement<'_>, rows: &[NewRow<'_>]) -> Result<(), Failure> {
    for (at, NewRow { number, row, standing }) in (1..).step_by(COLUMNS).zip(rows) {
        let history = history_to_write(standing, row.accepted_at);
        let values = params![
            number,
            row.id.as_bytes(),
            row.site,
            row.form,
            standing.state.code(),
            standing.reason.code(),
            signed(standing.revision),
            row.accepted_at,
            standing.due_at.map(Timestamp::as_millisecond),
            standing.waits_from.as_millisecond(),
            standing.expires_at.map(Timestamp::as_millisecond),
            standing.lease.map(signed),
            standing.attempts,
            row.seen,
            row.place,
            standing.lead_id,
            row.key.map(|DedupePrefix(key)| key),
            history,
        ];
        for (at, value) in (at..).zip(values) {
            statement.raw_bind_parameter(at, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}

/// Writes back how an entry stands.
pub(super) fn write_standing(
    connection: &Connection,
    number: i64,
    standing: &Standing,
    accepted_at: i64,
) -> Result<(), Failure> {
    connection.prepare_cached(UPDATE_STANDING)?.execute(params![
        number,
        standing.state.code(),
        standing.reason.code(),
        signed(standing.revision),
        standing.due_at.map(Timestamp::as_millisecond),
        standing.waits_from.as_millisecond(),
        standing.expires_at.map(Timestamp::as_millisecond),
        standing.lease.map(signed),
        standing.attempts,
        standing.lead_id,
        history_to_write(standing, accepted_at),
    ])?;
    Ok(())
}

const UPDATE_STANDING: &str =
    "UPDATE entry SET state = ?2, reason = ?3, revision = ?4, due_at = ?5, waits_from = ?6, expires_at = ?7, lease = ?8,
        attempts = ?9, lead_id = ?10, history = ?11
     WHERE number = ?1";

/// What [`write_lease`] runs. It names only columns that a lease changes, so SQLite leaves the other indexes alone.
pub(super) const UPDATE_LEASE: &str =
    "UPDATE entry SET reason = ?2, revision = ?3, due_at = ?4, waits_from = ?5, lease = ?6, attempts = ?7, history = ?8
     WHERE number = ?1";

/// Writes back how an entry stands that was leased: queued before and after.
pub(super) fn write_lease(
    update: &mut Statement<'_>,
    number: i64,
    standing: &Standing,
    accepted_at: i64,
) -> Result<(), Failure> {
    update.execute(params![
        number,
        standing.reason.code(),
        signed(standing.revision),
        standing.due_at.map(Timestamp::as_millisecond),
        standing.waits_from.as_millisecond(),
        standing.lease.map(signed),
        standing.attempts,
        history_to_write(standing, accepted_at),
    ])?;
    Ok(())
}

/// Bytes that the columns which change take together at least: as many as those of most entries that are delivered.
const CHANGING_MIN: usize = 80;

/// Writes a history, and behind it so much that the row need not grow until the entry is delivered: a row that does is moved
/// within its page, and may move others to another one.
fn history_to_write(standing: &Standing, accepted_at: i64) -> Vec<u8> {
    let mut bytes = match &*standing.history {
        // Told by the other columns.
        [Event { at, state, reason, attempt: None }]
            if at.as_millisecond() == accepted_at && *state == standing.state && *reason == standing.reason =>
        {
            Vec::with_capacity(CHANGING_MIN)
        }
        history => history::encode(history),
    };
    let times = [standing.due_at, Some(standing.waits_from), standing.expires_at];
    let others = times.into_iter().flatten().map(|time| integer_len(time.as_millisecond())).sum::<usize>()
        + integer_len(signed(standing.revision))
        + standing.lease.map_or(0, |lease| integer_len(signed(lease)))
        + integer_len(standing.attempts.into())
        + standing.lead_id.as_ref().map_or(0, String::len);
    let wanted = CHANGING_MIN.saturating_sub(others);
    if bytes.len() < wanted {
        bytes.resize(wanted, 0);
    }
    bytes
}

/// Returns how many bytes of a row an integer takes.
fn integer_len(value: i64) -> usize {
    match value {
        0 | 1 => 0,
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x80_0000..=0x7f_ffff => 3,
        -0x8000_0000..=0x7fff_ffff => 4,
        -0x8000_0000_0000..=0x7fff_ffff_ffff => 6,
        _ => 8,
    }
}

/// Reads how an entry stands, from the first columns, and when it was accepted.
pub(super) fn read_standing(row: &rusqlite::Row<'_>) -> Result<(Standing, i64), Failure> {
    let state = code(row, 0, "state")?;
    let reason = code(row, 1, "reason")?;
    let accepted_at: i64 = row.get(3)?;
    let history = row.get_ref(10)?.as_blob().map_err(|_other| Unreadable { column: "history" })?;
    let history = match history::decode(history)? {
        Some(history) => history,
        None => vec![Event { at: from_millisecond(accepted_at, "accepted_at")?, state, reason, attempt: None }],
    };
    let standing = Standing {
        state,
        reason,
        revision: unsigned(row.get(2)?),
        due_at: optional_time(row, 4, "due_at")?,
        waits_from: from_millisecond(row.get(5)?, "waits_from")?,
        expires_at: optional_time(row, 6, "expires_at")?,
        lease: row.get::<_, Option<i64>>(7)?.map(unsigned),
        attempts: row.get(8)?,
        lead_id: row.get(9)?,
        history,
    };
    Ok((standing, accepted_at))
}

/// Reads what stands beside an entry's standing.
pub(super) fn read_beside(row: &rusqlite::Row<'_>, segments: &mut Segments<'_>) -> Result<Beside, Failure> {
    const AT: usize = STANDING_COLUMNS;
    let (traceparent, reading) = read_reading(row, segments)?;
    Ok(Beside {
        id: EntryId::from_bytes(row.get(AT + 1)?),
        site: text_at(row, AT + 2, "site", |text| SiteId::parse(text).ok())?,
        form: text_at(row, AT + 3, "form", |text| FormId::parse(text).ok())?,
        accepted_at: from_millisecond(row.get(3)?, "accepted_at")?,
        seen: row.get(AT + 4)?,
        traceparent,
        reading,
    })
}

/// Reads all of an entry but what was received.
pub(super) fn read_head(row: &rusqlite::Row<'_>, segments: &mut Segments<'_>) -> Result<Head, Failure> {
    let (standing, _) = read_standing(row)?;
    Ok(standing.into_head(read_beside(row, segments)?))
}

/// Says where the record should be of an entry that [`read_head`] reads.
pub(super) fn spot(row: &rusqlite::Row<'_>) -> Result<Spot, Failure> {
    let number = row.get(STANDING_COLUMNS)?;
    let id = EntryId::from_bytes(row.get(STANDING_COLUMNS + 1)?);
    Ok(Spot { number, place: row.get(PLACE)?, id })
}

fn read_reading(row: &rusqlite::Row<'_>, segments: &mut Segments<'_>) -> Result<(Option<String>, Reading), Failure> {
    let json = row.get_ref(STANDING_COLUMNS + 7)?.as_str_or_null().map_err(|_other| Unreadable { column: "json" })?;
    let read = match json {
        Some(json) => serde_json::from_str::<Read>(json),
        None => serde_json::from_slice(&segments.reading(spot(row)?)?),
    };
    // The error of the parser is left out: it may quote a person's words.
    let read = read.map_err(|_quoting| Unreadable { column: "json" })?;
    Ok((read.traceparent, read.reading))
}

/// Reads a whole entry.
pub(super) fn read_entry(row: &rusqlite::Row<'_>, segments: &mut Segments<'_>) -> Result<Entry, Failure> {
    let head = read_head(row, segments)?;
    let (json, body) = segments.received(spot(row)?)?;
    Ok(Entry { head, received: received(&json, body)? })
}

/// Reads what was received.
pub(super) fn received(json: &[u8], body: Vec<u8>) -> Result<Received, Failure> {
    let mut received: Received = serde_json::from_slice(json).map_err(|_quoting| Unreadable { column: "bytes" })?;
    received.body = Bytes::from(body);
    Ok(received)
}

/// Keeps what was made of an entry again; what was made of it before is wiped by the caller.
pub(super) fn keep_reading(connection: &Connection, number: i64, json: &str) -> Result<(), Failure> {
    let mut write = connection.prepare_cached(
        "INSERT INTO reading (number, padding, json) VALUES (?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET padding = excluded.padding, json = excluded.json",
    )?;
    write.execute(params![number, padding(json.len()), json])?;
    Ok(())
}

/// Writes a value as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::unavailable)
}

/// Reads a count that is never negative.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Fits a count into what SQLite can hold.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads one word of a closed set.
pub(super) fn code<T: Code>(row: &rusqlite::Row<'_>, at: usize, column: &'static str) -> Result<T, Failure> {
    let code: i64 = row.get(at)?;
    let word = u8::try_from(code).ok().and_then(T::from_code);
    Ok(word.ok_or(Unreadable { column })?)
}

/// Reads text that `parse` must accept.
pub(super) fn text<T>(
    row: &rusqlite::Row<'_>,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Failure> {
    text_at(row, row.as_ref().column_index(column)?, column, parse)
}

fn text_at<T>(
    row: &rusqlite::Row<'_>,
    at: usize,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Failure> {
    let value = row.get_ref(at)?;
    Ok(value.as_str().ok().and_then(parse).ok_or(Unreadable { column })?)
}

/// Reads a time.
pub(super) fn from_millisecond(millisecond: i64, column: &'static str) -> Result<Timestamp, Failure> {
    Timestamp::from_millisecond(millisecond).ok().ok_or_else(|| Unreadable { column }.into())
}

fn optional_time(row: &rusqlite::Row<'_>, at: usize, column: &'static str) -> Result<Option<Timestamp>, Failure> {
    row.get::<_, Option<i64>>(at)?.map(|millisecond| from_millisecond(millisecond, column)).transpose()
}

//! Stores of former versions: read as they were written, and brought over.
//!
//! Versions 1 to 3 kept all that is known of an entry in one row of `content`: its JSON and the body. `entry` named sites,
//! forms and states by words and had its history as JSON. What version 3 had not entered yet says so in the column
//! `arrived`.

pub(super) mod columns;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;

use super::adopt::{Adopting, Kept};
use super::arrival::Arrival;
use super::failure::Failure;
use super::listed;
use super::row::unsigned;
use super::schema::TABLES;
use super::segment;
use super::tally::SiteTally;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::standing::Standing;
use crate::queue::unreadable::Unreadable;
use crate::queue::{DedupeKey, DedupePrefix, Reading, Reason, State};
use crate::received::Received;
use columns::Columns;

/// Columns of `entry`.
pub(super) const ENTRY_COLUMNS: usize = 17;

/// Only the last of them kept entries that have yet to be entered.
const ARRIVED_SINCE: u32 = 3;

/// What is in the way of the tables of today.
const SET_ASIDE: &str = "
DROP TRIGGER entry_added;
DROP TRIGGER entry_moved;
DROP TRIGGER entry_removed;
DROP INDEX entry_due;
DROP INDEX IF EXISTS entry_new;
DROP INDEX entry_expiring;
DROP TABLE dedupe;
DROP TABLE tally;
ALTER TABLE entry RENAME TO former_entry;
ALTER TABLE content RENAME TO former_content;
ALTER TABLE meta RENAME TO former_meta;
";

const DROPPED: &str = "
DROP TABLE former_entry;
DROP TABLE former_content;
DROP TABLE former_meta;
";

/// What was known of an entry when it arrived.
#[derive(Deserialize)]
struct FormerArrival {
    id: EntryId,
    site: SiteId,
    form: FormId,
    state: State,
    reason: Reason,
    accepted_at: i64,
    #[serde(default)]
    expires_at: Option<i64>,
    #[serde(default)]
    dedupe_key: Option<String>,
}

/// The part of a content's JSON that is not its reading.
#[derive(Deserialize)]
struct FormerContent {
    received: Received,
}

/// Brings all entries over into new tables. What can't be read is logged and left out: returns how many that are.
pub(super) fn bring_over(connection: &Connection, version: u32) -> Result<u64, Failure> {
    let entered = sequence(connection)?;
    connection.execute_batch(SET_ASIDE)?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(
        "INSERT INTO meta (key, value) SELECT key, value FROM former_meta WHERE key IN ('claims', 'probes')",
    )?;
    let mut adopting = Adopting::from(connection, 1);
    let mut tally = SiteTally::default();
    let mut lost = bring_entered(connection, &mut adopting, &mut tally)?;
    if version >= ARRIVED_SINCE {
        lost += bring_arrived(connection, entered, &mut adopting, &mut tally)?;
    }
    adopting.write()?;
    listed::put_in(connection, adopting.next - 1)?;
    tally.write(connection)?;
    connection.execute_batch(DROPPED)?;
    Ok(lost)
}

fn bring_entered(connection: &Connection, adopting: &mut Adopting<'_>, tally: &mut SiteTally) -> Result<u64, Failure> {
    let mut find = connection.prepare(
        "SELECT former_entry.*, json, body FROM former_entry LEFT JOIN former_content USING (number) ORDER BY number",
    )?;
    let mut rows = find.query([])?;
    let mut lost = 0;
    while let Some(row) = rows.next()? {
        let values = (0..ENTRY_COLUMNS).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>()?;
        let json: Option<String> = row.get(ENTRY_COLUMNS)?;
        let body: Option<Vec<u8>> = row.get(ENTRY_COLUMNS + 1)?;
        let kept = entry(&values, &json.unwrap_or_default(), body.unwrap_or_default());
        lost += u64::from(!add(adopting, tally, kept)?);
    }
    Ok(lost)
}

/// The same for what has yet to be entered.
fn bring_arrived(
    connection: &Connection,
    entered: i64,
    adopting: &mut Adopting<'_>,
    tally: &mut SiteTally,
) -> Result<u64, Failure> {
    let mut find =
        connection.prepare("SELECT arrived, json, body FROM former_content WHERE number > ?1 ORDER BY number")?;
    let mut rows = find.query([entered])?;
    let mut lost = 0;
    while let Some(row) = rows.next()? {
        let arrived: Option<String> = row.get(0)?;
        let json: String = row.get(1)?;
        let body = row.get(2)?;
        let kept = arrival(&arrived.unwrap_or_default()).and_then(|arrival| {
            let standing = arrival.standing()?;
            content(arrival, standing, &json, body)
        });
        lost += u64::from(!add(adopting, tally, kept)?);
    }
    Ok(lost)
}

/// Adds what could be read.
fn add(adopting: &mut Adopting<'_>, tally: &mut SiteTally, kept: Result<Kept, Failure>) -> Result<bool, Failure> {
    match kept {
        Ok(kept) => {
            adopting.make_ready(&kept)?;
            adopting.add(&kept, tally).map(|()| true)
        }
        Err(Failure::Corrupt(_)) => {
            tracing::error!("an entry of the former store cannot be read; it stays in the copy of that");
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// Counts what has yet to be entered.
pub(super) fn count_not_entered(connection: &Connection) -> Result<u64, Failure> {
    let count = "SELECT count(*) FROM content WHERE number > ?1";
    Ok(unsigned(connection.query_row(count, [sequence(connection)?], |row| row.get(0))?))
}

/// Returns the number of the entry that was entered last.
fn sequence(connection: &Connection) -> Result<i64, Failure> {
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'entry'";
    Ok(connection.query_row(last, params![], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Reads the columns of an entry, in their order, and its content.
pub(super) fn entry(columns: &[Value], json: &str, body: Vec<u8>) -> Result<Kept, Failure> {
    let columns = Columns(columns);
    let accepted_at = columns.integer(7, "accepted_at")?;
    let state = columns.word(4, "state")?;
    let standing = Standing {
        state,
        reason: columns.word(5, "reason")?,
        revision: unsigned(columns.integer(6, "revision")?),
        due_at: columns.optional_time(8, "due_at")?,
        waits_from: columns.time(9, "waits_from")?,
        expires_at: columns.optional_time(10, "expires_at")?,
        lease: columns.optional(11, "lease")?.map(unsigned),
        attempts: columns.count(12, "attempts")?,
        lead_id: columns.optional_text(14, "lead_id")?.map(str::to_owned),
        history: serde_json::from_str(columns.text(16, "history")?)
            .map_err(|_quoting| Unreadable { column: "history" })?,
    };
    let arrival = Arrival::of(
        columns.id()?,
        SiteId::parse(columns.text(2, "site")?).map_err(|_invalid| Unreadable { column: "site" })?,
        FormId::parse(columns.text(3, "form")?).map_err(|_invalid| Unreadable { column: "form" })?,
        (state, standing.reason),
        accepted_at,
        (None, columns.blob(15, "dedupe_key")?.and_then(cut_key)),
    );
    let seen = columns.count(13, "seen")?;
    // The table's own condition: what no store of ours holds.
    if (state == State::Queued) != standing.due_at.is_some() {
        return Err(Unreadable { column: "due_at" }.into());
    }
    Ok(Kept { seen, ..content(arrival, standing, json, body)? })
}

/// Reads what was known of an entry when it arrived.
pub(super) fn arrival(json: &str) -> Result<Arrival, Failure> {
    let unreadable = || Failure::from(Unreadable { column: "arrived" });
    let arrival: FormerArrival = serde_json::from_str(json).map_err(|_quoting| unreadable())?;
    let FormerArrival { id, site, form, state, reason, accepted_at, expires_at, dedupe_key } = arrival;
    let key = dedupe_key.map(|key| STANDARD_NO_PAD.decode(key)).transpose().map_err(|_other| unreadable())?;
    let key = key.and_then(|key| cut_key(&key));
    Ok(Arrival::of(id, site, form, (state, reason), accepted_at, (expires_at, key)))
}

/// Joins an entry with the JSON and the body of its content.
pub(super) fn content(arrival: Arrival, standing: Standing, json: &str, body: Vec<u8>) -> Result<Kept, Failure> {
    let unreadable = Unreadable { column: "json" };
    let FormerContent { mut received } = serde_json::from_str(json).map_err(|_quoting| unreadable)?;
    let reading: Reading = serde_json::from_str(json).map_err(|_quoting| unreadable)?;
    received.body = Bytes::from(body);
    let record = segment::record_of(&arrival, &reading, &received)?;
    let Arrival { id, site, form, accepted_at, dedupe_key: key, .. } = arrival;
    Ok(Kept { id, site, form, accepted_at, seen: 0, key, standing, record })
}

fn cut_key(key: &[u8]) -> Option<DedupePrefix> {
    <[u8; 32]>::try_from(key).ok().map(|key| DedupeKey(key).into())
}

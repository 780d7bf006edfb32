//! Between rows and values.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Row, named_params};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NotOne, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Unreadable};
use super::schema::PAGE_SIZE;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::standing::Standing;
use crate::queue::{Entry, Head, Reading};
use crate::received::Received;

macro_rules! select {
    ($columns:literal, $condition:literal) => {
        concat!("SELECT entry.*, ", $columns, " FROM entry JOIN content USING (number) WHERE ", $condition)
    };
}

/// Selects what [`read_entry`] reads.
pub(super) const SELECT_BY_ID: &str = select!("json, body", "id = ?1");
/// Selects what [`read_entry`] reads.
pub(super) const SELECT_BY_NUMBER: &str = select!("json, body", "number = ?1");
/// Selects what [`read_head`] reads: without the body.
pub(super) const SELECT_HEAD_BY_ID: &str = select!("json", "id = ?1");
/// Selects what [`read_head`] reads: without the body.
pub(super) const SELECT_HEAD_BY_NUMBER: &str = select!("json", "number = ?1");

/// What the column `json` holds: the reading, and of what was received all but the body.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    pub(super) received: &'a Received,
    #[serde(flatten)]
    pub(super) reading: &'a Reading,
}

/// The part of it that [`Reading`] passes over.
#[derive(Deserialize)]
struct Around<T> {
    received: T,
}

#[derive(Deserialize)]
struct Traced {
    #[serde(default)]
    traceparent: Option<String>,
}

/// Bytes of a row that SQLite keeps beside other rows when it is as long as [`padding`] makes it.
const LOCAL: usize = (PAGE_SIZE - 12) * 32 / 255 - 23;
/// Bytes of a row on each page of its own.
const OVERFLOW: usize = PAGE_SIZE - 4;

static ZEROS: [u8; LOCAL + OVERFLOW] = [0; LOCAL + OVERFLOW];

/// Returns the bytes that go before a visitor's in the row of `content`, so that his lie on pages of their own.
///
/// When rows grow, a page of several is put in order again, and may keep a copy of a row that moved to another page;
/// zeroing the row later does not find that copy. Pages of one row's overflow are never shared and are zeroed as a
/// whole. So the padding fills what lies in the shared page, and makes the rest fill its pages exactly: by the file
/// format's rule, what does not fill a page would go into the shared one.
pub(super) fn padding(json_len: usize, body_len: usize, arrived_len: Option<usize>) -> &'static [u8] {
    // Header: its length, the number (stored elsewhere), the padding (two bytes up to 8 KiB), JSON, body, arrival.
    let header = 1 + 1 + 2 + varint_len(2 * json_len + 13) + varint_len(2 * body_len + 12);
    let header = header + arrived_len.map_or(1, |len| varint_len(2 * len + 13));
    let own_pages = (header + json_len + body_len + arrived_len.unwrap_or(0)) % OVERFLOW;
    let missing = (OVERFLOW - own_pages) % OVERFLOW;
    ZEROS.get(..LOCAL + missing).expect("less than a page is missing")
}

fn varint_len(mut value: usize) -> usize {
    let mut len = 1;
    while value > 0x7f {
        value >>= 7;
        len += 1;
    }
    len
}

/// Reads a whole entry.
pub(super) fn read_entry(row: &Row<'_>) -> Result<Entry, Failure> {
    Ok(Entry { head: read_head(row)?, received: read_received(row)? })
}

/// Reads what was received.
pub(super) fn read_received(row: &Row<'_>) -> Result<Received, Failure> {
    let Around { received } = json(row, "json")?;
    Ok(Received { body: Bytes::from(row.get::<_, Vec<u8>>("body")?), ..received })
}

/// Reads all of an entry but what was received.
pub(super) fn read_head(row: &Row<'_>) -> Result<Head, Failure> {
    let standing = read_standing(row)?;
    let Around { received: Traced { traceparent } } = json(row, "json")?;
    Ok(Head {
        id: EntryId::from_bytes(row.get("id")?),
        site: text(row, "site", |text| SiteId::parse(text).ok())?,
        form: text(row, "form", |text| FormId::parse(text).ok())?,
        state: standing.state,
        reason: standing.reason,
        revision: standing.revision,
        accepted_at: time(row, "accepted_at")?,
        due_at: standing.due_at,
        expires_at: standing.expires_at,
        attempts: standing.attempts,
        seen: row.get("seen")?,
        lead_id: standing.lead_id,
        history: standing.history,
        traceparent,
        reading: json(row, "json")?,
    })
}

/// Reads how an entry stands.
pub(super) fn read_standing(row: &Row<'_>) -> Result<Standing, Failure> {
    Ok(Standing {
        state: word(row, "state")?,
        reason: word(row, "reason")?,
        revision: unsigned(row.get("revision")?),
        due_at: optional_time(row, "due_at")?,
        waits_from: time(row, "waits_from")?,
        expires_at: optional_time(row, "expires_at")?,
        attempts: row.get("attempts")?,
        lead_id: row.get("lead_id")?,
        lease: row.get::<_, Option<i64>>("lease")?.map(unsigned),
        history: json(row, "history")?,
    })
}

/// Writes back how an entry stands.
pub(super) fn write_standing(connection: &Connection, number: i64, standing: &Standing) -> Result<(), Failure> {
    let mut update = connection.prepare_cached(
        "UPDATE entry SET state = :state, reason = :reason, revision = :revision, due_at = :due_at,
            waits_from = :waits_from, expires_at = :expires_at, attempts = :attempts, lead_id = :lead_id,
            lease = :lease, history = :history
         WHERE number = :number",
    )?;
    update.execute(named_params! {
        ":number": number,
        ":state": standing.state.as_str(),
        ":reason": standing.reason.as_str(),
        ":revision": signed(standing.revision),
        ":due_at": standing.due_at.map(Timestamp::as_millisecond),
        ":waits_from": standing.waits_from.as_millisecond(),
        ":expires_at": standing.expires_at.map(Timestamp::as_millisecond),
        ":attempts": standing.attempts,
        ":lead_id": standing.lead_id,
        ":lease": standing.lease.map(signed),
        ":history": to_json(&standing.history)?,
    })?;
    Ok(())
}

/// Writes a value as JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
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

/// Reads a time.
pub(super) fn time(row: &Row<'_>, column: &'static str) -> Result<Timestamp, Failure> {
    from_millisecond(row.get(column)?, column)
}

/// Reads one word of a closed set.
pub(super) fn word<T: DeserializeOwned>(row: &Row<'_>, column: &'static str) -> Result<T, Failure> {
    text(row, column, |text| T::deserialize(StrDeserializer::<NotOne>::new(text)).ok())
}

/// Reads text that `parse` must accept.
pub(super) fn text<T>(
    row: &Row<'_>,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Failure> {
    let value = row.get_ref(column)?;
    let text = value.as_str().ok();
    Ok(text.and_then(parse).ok_or(Unreadable { column })?)
}

fn optional_time(row: &Row<'_>, column: &'static str) -> Result<Option<Timestamp>, Failure> {
    row.get::<_, Option<i64>>(column)?.map(|millisecond| from_millisecond(millisecond, column)).transpose()
}

fn from_millisecond(millisecond: i64, column: &'static str) -> Result<Timestamp, Failure> {
    Timestamp::from_millisecond(millisecond).ok().ok_or_else(|| Unreadable { column }.into())
}

/// The error of the parser is left out: it may quote a person's words.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: &'static str) -> Result<T, Failure> {
    text(row, column, |text| serde_json::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::sqlite::connection::open_writer;
    use crate::queue::sqlite::{files, schema};

    #[test]
    fn a_visitors_bytes_share_no_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = files::create(&folder.path().join("store.db")).expect("created");
        let mut connection = open_writer(&path).expect("opened");
        schema::migrate(&mut connection).expect("migrated");
        let lens = [0, 1, 57, 58, 63, 64, 500, 4_000, 4_091, 4_092, 4_093, 8_185, 8_186, 40_000, 1_048_576, 2_100_000];
        let arrived_lens = [None, Some(0), Some(57), Some(58), Some(300)].into_iter().cycle();
        let pairs = lens.iter().flat_map(|json_len| lens.map(|body_len| (*json_len, body_len)));
        for ((json_len, body_len), arrived_len) in pairs.zip(arrived_lens) {
            connection.execute("DELETE FROM content", []).expect("deleted");
            let arrived = arrived_len.map(|len| "x".repeat(len));
            let padding = padding(json_len, body_len, arrived_len);
            let values = (padding, " ".repeat(json_len), vec![1_u8; body_len], arrived);
            connection
                .execute("INSERT INTO content (padding, json, body, arrived) VALUES (?1, ?2, ?3, ?4)", values)
                .expect("inserted");
            let shared: u32 = connection
                .query_row("SELECT payload FROM dbstat WHERE name = 'content' AND pagetype = 'leaf'", [], |row| {
                    row.get(0)
                })
                .expect("measured");
            let unused: Option<u32> = connection
                .query_row(
                    "SELECT sum(unused) FROM dbstat WHERE name = 'content' AND pagetype = 'overflow'",
                    [],
                    |row| row.get(0),
                )
                .expect("measured");
            assert_eq!((shared as usize, unused), (LOCAL, Some(0)), "{json_len} {body_len}");
        }
    }
}

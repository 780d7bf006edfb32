//! What a row of `formgate.entry` says, and how it is written back.

use bytes::Bytes;
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::cause;
use crate::queue::codes::Code;
use crate::queue::history;
use crate::queue::standing::{Beside, Standing};
use crate::queue::unreadable::Unreadable;
use crate::queue::{Entry, Event, Head, Partition, Reading, State};
use crate::received::Received;

/// The present, in milliseconds: by the server's clock, unless the parameter says otherwise.
macro_rules! now {
    ($parameter:literal) => {
        concat!("coalesce(", $parameter, "::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)")
    };
}
pub(super) use now;

/// What a standing is read from, in the order of [`read_standing`].
pub(super) const STANDING: &str = "e.id, e.site, e.form, e.state, e.reason, e.revision, e.accepted_at, e.due_at,
    e.waits_from, e.expires_at, e.attempts, e.seen, e.lease, e.lead_id, e.traceparent, e.history";
/// Where the columns behind it begin.
pub(super) const BEHIND_STANDING: usize = 16;

/// What of an entry is in its row: all of its head but the reading.
pub(super) struct Stored {
    pub(super) id: EntryId,
    pub(super) site: SiteId,
    pub(super) form: FormId,
    pub(super) accepted_at: Timestamp,
    pub(super) seen: u32,
    pub(super) traceparent: Option<String>,
    pub(super) standing: Standing,
}

impl Stored {
    pub(super) fn into_head(self, reading: Reading) -> Head {
        let (standing, beside) = self.into_parts(reading);
        standing.into_head(beside)
    }

    pub(super) fn into_parts(self, reading: Reading) -> (Standing, Beside) {
        let Self { id, site, form, accepted_at, seen, traceparent, standing } = self;
        (standing, Beside { id, site, form, accepted_at, seen, traceparent, reading })
    }
}

/// Returns an id as PostgreSQL keeps it.
pub(super) fn uuid(id: EntryId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Reads the id, which comes first.
pub(super) fn read_id(row: &Row) -> EntryId {
    EntryId::from_bytes(row.get::<_, Uuid>(0).into_bytes())
}

/// Reads how an entry stands, from the first columns.
pub(super) fn read_standing(row: &Row) -> Result<Stored, Unreadable> {
    let state = code(row.get(3), "state")?;
    let reason = code(row.get(4), "reason")?;
    let accepted_at = time(row.get(6), "accepted_at")?;
    let history = match history::decode(row.get(15))? {
        Some(history) => history,
        None => vec![Event { at: accepted_at, state, reason, attempt: None }],
    };
    let standing = Standing {
        state,
        reason,
        revision: unsigned(row.get(5)),
        due_at: optional_time(row.get(7), "due_at")?,
        waits_from: time(row.get(8), "waits_from")?,
        expires_at: optional_time(row.get(9), "expires_at")?,
        attempts: count(row.get(10)),
        lead_id: row.get(13),
        lease: row.get::<_, Option<i64>>(12).map(i64::cast_unsigned),
        history,
    };
    Ok(Stored {
        id: read_id(row),
        site: site(row.get(1))?,
        form: form(row.get(2))?,
        accepted_at,
        seen: count(row.get(11)),
        traceparent: row.get(14),
        standing,
    })
}

/// Reads a head: a standing, and the reading as text behind it.
pub(super) fn read_head(row: &Row) -> Result<Head, Unreadable> {
    let stored = read_standing(row)?;
    Ok(stored.into_head(reading(row.get(BEHIND_STANDING))?))
}

/// Reads a whole entry: a head, and what was received as text and bytes behind it.
pub(super) fn read_entry(row: &Row) -> Result<Entry, Unreadable> {
    let head = read_head(row)?;
    Ok(Entry { head, received: received(row)? })
}

/// Reads what was received: behind the reading, as text and bytes.
pub(super) fn received(row: &Row) -> Result<Received, Unreadable> {
    let json = row.get(BEHIND_STANDING + 1);
    let mut received: Received = serde_json::from_str(json).map_err(|_quoting| Unreadable { column: "received" })?;
    received.body = Bytes::from(row.get::<_, Vec<u8>>(BEHIND_STANDING + 2));
    Ok(received)
}

/// Reads what was made of an entry.
pub(super) fn reading(json: &str) -> Result<Reading, Unreadable> {
    serde_json::from_str(json).map_err(|_quoting| Unreadable { column: "reading" })
}

pub(super) fn site(name: &str) -> Result<SiteId, Unreadable> {
    SiteId::parse(name).map_err(|_invalid| Unreadable { column: "site" })
}

pub(super) fn form(name: &str) -> Result<FormId, Unreadable> {
    FormId::parse(name).map_err(|_invalid| Unreadable { column: "form" })
}

/// Returns a statement that selects what [`read_head`] reads, of entries that a condition picks.
pub(super) fn heads(picked: &str) -> String {
    format!("SELECT {STANDING}, c.reading::text FROM formgate.entry e JOIN formgate.content c ON c.id = e.id {picked}")
}

/// Says what a reason leaves open, as it is written beside the entry: of what is held or dead alone. None where only a reading
/// tells, and there is none.
pub(super) fn detail_of(standing: &Standing, reading: Option<&Reading>) -> Option<String> {
    let Standing { state, reason, history, .. } = standing;
    if !matches!(state, State::Held | State::Dead) {
        return Some(String::new());
    }
    let detail = match cause::is_of_reading(*reason) {
        true => cause::of_reading(*reason, reading?),
        false => cause::of_history(*reason, history),
    };
    Some(detail.unwrap_or_default())
}

/// Writes a value as JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::unavailable)
}

/// A text that PostgreSQL takes: it has none with a NUL in it.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(super) fn partition(site: &SiteId) -> i16 {
    Partition::of(site).number().into()
}

/// Reads a word of a closed set.
pub(super) fn code<T: Code>(code: i16, column: &'static str) -> Result<T, Unreadable> {
    u8::try_from(code).ok().and_then(T::from_code).ok_or(Unreadable { column })
}

/// Writes a word of a closed set.
pub(super) fn number_of(word: impl Code) -> i16 {
    word.code().into()
}

pub(super) fn time(millisecond: i64, column: &'static str) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millisecond(millisecond).map_err(|_beyond| Unreadable { column })
}

fn optional_time(millisecond: Option<i64>, column: &'static str) -> Result<Option<Timestamp>, Unreadable> {
    millisecond.map(|millisecond| time(millisecond, column)).transpose()
}

/// Reads a count that is never negative.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Fits a count into what PostgreSQL can hold.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

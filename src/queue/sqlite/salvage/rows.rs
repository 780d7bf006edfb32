//! What a row of a file that was set aside says, as an entry.

use std::collections::HashMap;

use rusqlite::types::Value;

use super::super::adopt::Kept;
use super::super::arrival::Arrival;
use super::super::failure::Failure;
use super::super::former;
use super::super::former::columns::Columns;
use super::super::row::{reading_to_json, unsigned};
use super::super::segment::{Record, record};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::history;
use crate::queue::standing::Standing;
use crate::queue::unreadable::Unreadable;
use crate::queue::{Event, Reading, State};

/// Makes an entry of a record without a row; `is_lost` says that more had become of it than its arrival.
pub(super) fn orphan(record: Record, is_lost: bool) -> Result<Kept, Failure> {
    let arrival = Arrival::parse(&record.arrival).ok_or(Unreadable { column: "bytes" })?;
    let standing = if is_lost { arrival.standing_of_lost()? } else { arrival.standing()? };
    kept(arrival, standing, record, None)
}

/// Joins what is known of an entry; `anew` is what was made of it again.
fn kept(arrival: Arrival, mut standing: Standing, found: Record, anew: Option<Vec<u8>>) -> Result<Kept, Failure> {
    let is_wiped = found.reading.first().is_none_or(|first| *first == 0);
    let reading = match anew {
        Some(anew) => anew,
        None if !is_wiped => found.reading,
        // It was made again since, and that is lost: a person must look.
        None => {
            if standing.state == State::Queued {
                standing = arrival.standing_of_lost()?;
            }
            reading_to_json(None, &Reading::default())?.into_bytes()
        }
    };
    let record = record([&found.arrival, &reading, &found.received, &found.body])?;
    let Arrival { id, site, form, accepted_at, dedupe_key: key, .. } = arrival;
    Ok(Kept { id, site, form, accepted_at, seen: 0, key, standing, record })
}

/// A row of `entry`.
pub(super) struct EntryRow {
    pub(super) id: EntryId,
    site: i64,
    form: i64,
    seen: u32,
    standing: Standing,
}

impl EntryRow {
    pub(super) fn read(values: &[Value]) -> Result<Self, Failure> {
        let columns = Columns(values);
        let state = columns.code(4, "state")?;
        let reason = columns.code(5, "reason")?;
        let history = match history::decode(columns.blob(17, "history")?.unwrap_or_default())? {
            Some(history) => history,
            None => vec![Event { at: columns.time(7, "accepted_at")?, state, reason, attempt: None }],
        };
        let standing = Standing {
            state,
            reason,
            revision: unsigned(columns.integer(6, "revision")?),
            due_at: columns.optional_time(8, "due_at")?,
            waits_from: columns.time(9, "waits_from")?,
            expires_at: columns.optional_time(10, "expires_at")?,
            lease: columns.optional(11, "lease")?.map(unsigned),
            attempts: columns.count(12, "attempts")?,
            lead_id: columns.optional_text(15, "lead_id")?.map(str::to_owned),
            history,
        };
        // The table's own conditions tell what no store of ours holds.
        let is_queued = state == State::Queued;
        if is_queued != standing.due_at.is_some() || is_queued && standing.expires_at.is_some() {
            return Err(Unreadable { column: "due_at" }.into());
        }
        if !is_queued && standing.lease.is_some() {
            return Err(Unreadable { column: "lease" }.into());
        }
        let site = columns.integer(2, "site")?;
        let form = columns.integer(3, "form")?;
        Ok(Self { id: columns.id()?, site, form, seen: columns.count(13, "seen")?, standing })
    }

    pub(super) fn kept(
        self,
        arrival: Arrival,
        record: Record,
        anew: Option<Vec<u8>>,
        names: &HashMap<i64, String>,
    ) -> Result<Kept, Failure> {
        let Self { site, form, seen, standing, .. } = self;
        let kept = kept(arrival, standing, record, anew)?;
        // It may have been filed under another site since; where the name is lost, the one that it arrived with stays.
        let site = names.get(&site).and_then(|name| SiteId::parse(name).ok()).unwrap_or(kept.site);
        let form = names.get(&form).and_then(|name| FormId::parse(name).ok()).unwrap_or(kept.form);
        Ok(Kept { site, form, seen, ..kept })
    }
}

/// A row of `content` as former versions wrote it.
pub(super) struct FormerRow {
    pub(super) json: String,
    pub(super) body: Vec<u8>,
    arrived: Option<String>,
}

impl FormerRow {
    pub(super) fn of(values: Vec<Value>) -> Option<Self> {
        let mut values = values.into_iter().skip(2);
        let (Some(Value::Text(json)), Some(Value::Blob(body))) = (values.next(), values.next()) else { return None };
        let arrived = values.next().and_then(|value| if let Value::Text(text) = value { Some(text) } else { None });
        Some(Self { json, body, arrived })
    }

    pub(super) fn orphan(self, is_lost: bool) -> Result<Kept, Failure> {
        let arrival = former::arrival(self.arrived.as_deref().unwrap_or_default())?;
        let standing = if is_lost { arrival.standing_of_lost()? } else { arrival.standing()? };
        former::content(arrival, standing, &self.json, self.body)
    }
}

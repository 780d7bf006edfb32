//! New entries, many in one statement.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::batch::Job;
use super::database::Params;
use super::failure::{Contended, Failure};
use super::row::{now, number_of, partition, read_id, storable, to_json, uuid};
use crate::lead::EntryId;
use crate::queue::standing::{Standing, whole_millisecond};
use crate::queue::{Appended, DedupeKey, DedupePrefix, NewEntry};

/// How often a key is looked for that goes while it is looked for.
const TRIES_MAX: usize = 4;

/// An entry to append, as it is written.
pub(super) struct Arrival {
    id: EntryId,
    entry: NewEntry,
    key: Option<DedupePrefix>,
    reading: String,
    received: String,
}

impl Arrival {
    /// Makes ready what an append writes.
    pub(super) fn new(entry: NewEntry, key: Option<DedupeKey>, window: Duration) -> Result<Self, Failure> {
        let key = key.filter(|_key| !window.is_zero()).map(DedupePrefix::from);
        let reading = to_json(&entry.reading)?;
        let received = to_json(&entry.received)?;
        Ok(Self { id: entry.id, entry, key, reading, received })
    }

    pub(super) fn size(&self) -> usize {
        self.reading.len() + self.received.len() + self.entry.received.body.len()
    }
}

const APPEND: &str = concat!(
    "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::smallint[],
        $7::bigint[], $8::bigint[], $9::text[], $10::bytea[], $11::text[], $12::text[], $13::bytea[], $14::bool[])
    WITH ORDINALITY AS g(id, site, form, partition, state, reason, accepted_at, expires_at, traceparent, key, reading,
        received, body, is_told, place)
), keyed AS (
    INSERT INTO formgate.dedupe AS d (key, id, seen_at)
    SELECT key, id, accepted_at FROM given WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE SET id = excluded.id, seen_at = excluded.seen_at
        WHERE abs(excluded.seen_at - d.seen_at) >= $15
    RETURNING id
), fresh AS (
    SELECT *, CASE WHEN state = 0 THEN least(accepted_at, ",
    now!("$16"),
    ") END AS due_at FROM given WHERE key IS NULL OR id IN (SELECT id FROM keyed)
), entered AS (
    INSERT INTO formgate.entry (id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from,
        expires_at, attempts, seen, traceparent, history, dedupe_key)
    SELECT id, site, form, partition, state, reason, 1, accepted_at, due_at, coalesce(due_at, accepted_at),
        expires_at, 0, 0, traceparent, '\\x00', key FROM fresh ORDER BY place
    RETURNING id
), kept AS (
    INSERT INTO formgate.content (id, reading, received, body)
    SELECT id, reading::json, received::json, body FROM fresh
), tallied AS (
    INSERT INTO formgate.tally_change (site, state, entries)
    SELECT site, state, count(*) FROM fresh GROUP BY site, state
), told AS (
    INSERT INTO formgate.unnumbered (at, entry, site, form, to_state, reason)
    SELECT accepted_at, id, site, form, state, reason FROM fresh
    WHERE is_told AND EXISTS (SELECT FROM formgate.reader) ORDER BY place
)
SELECT id FROM entered"
);

/// One more of what is there already; a key that is gone meanwhile gives no row.
const SEEN_AGAIN: &str = "
WITH found AS (SELECT key, id FROM formgate.dedupe WHERE key = $1), seen AS (
    UPDATE formgate.entry e SET seen = least(e.seen + 1, 4294967295) FROM found WHERE e.id = found.id RETURNING e.id
)
SELECT id FROM seen";

const STORED: &str = "SELECT id FROM formgate.entry WHERE id = ANY($1)";

/// Two windows longer than they count, for clocks that differ.
const FORGET_KEYS: &str = concat!("DELETE FROM formgate.dedupe WHERE seen_at <= ", now!("NULL"), " - 3 * $1");

/// Forgets keys whose window has been over for a while.
pub(super) async fn forget_keys(core: &Core) -> Result<(), Failure> {
    core.database.query(FORGET_KEYS, &[(&core.window_ms(), Type::INT8)]).await.map(drop)
}

/// Entries that are appended together.
type Batch = Vec<Job<Arrival, Appended>>;

/// Appends a batch: each is told what became of it.
pub(super) async fn append(core: Arc<Core>, jobs: Batch) {
    let mut left = jobs;
    while !left.is_empty() {
        let (batch, later) = with_keys_of_their_own(left);
        append_batch(&core, batch).await;
        left = later;
    }
}

/// Of several with one key only the first can go into a statement: the others are compared with it.
fn with_keys_of_their_own(jobs: Batch) -> (Batch, Batch) {
    let mut keys = HashSet::new();
    jobs.into_iter().partition(|job| job.what.key.is_none_or(|key| keys.insert(key)))
}

async fn append_batch(core: &Core, batch: Batch) {
    let arrivals: Vec<&Arrival> = batch.iter().map(|job| &job.what).collect();
    match enter(core, &arrivals).await {
        Ok(entered) => {
            for job in batch {
                let id = job.what.id;
                let appended =
                    if entered.contains(&id) { Ok(Appended::New(id)) } else { seen_again(core, &job.what).await };
                job.end(appended);
            }
        }
        // One of them has an id that is taken: the others must not be refused for that.
        Err(Failure::Repeated) if batch.len() > 1 => {
            for job in batch {
                let appended = append_one(core, &job.what).await;
                job.end(appended);
            }
        }
        Err(failure) => batch.into_iter().for_each(|job| job.end(Err(failure.clone()))),
    }
}

async fn append_one(core: &Core, arrival: &Arrival) -> Result<Appended, Failure> {
    if enter(core, &[arrival]).await?.contains(&arrival.id) {
        return Ok(Appended::New(arrival.id));
    }
    seen_again(core, arrival).await
}

/// Counts one whose key was there already.
async fn seen_again(core: &Core, arrival: &Arrival) -> Result<Appended, Failure> {
    let Some(key) = arrival.key else { return Err(Failure::Repeated) };
    for _ in 0..TRIES_MAX {
        let rows = core.database.query(SEEN_AGAIN, &[(&&key.0[..], Type::BYTEA)]).await?;
        if let Some(row) = rows.first() {
            return Ok(Appended::Duplicate(read_id(row)));
        }
        // The first was erased meanwhile, or its window is over.
        if enter(core, &[arrival]).await?.contains(&arrival.id) {
            return Ok(Appended::New(arrival.id));
        }
    }
    Err(Failure::unavailable(Contended))
}

/// Enters those whose keys are new; returns their ids.
///
/// Where the connection was lost while it was done, the ids tell which were entered.
async fn enter(core: &Core, arrivals: &[&Arrival]) -> Result<HashSet<EntryId>, Failure> {
    let failure = match insert(core, arrivals).await {
        Err(failure @ Failure::Lost(_)) => failure,
        entered => return entered,
    };
    let ids: Vec<Uuid> = arrivals.iter().map(|arrival| uuid(arrival.id)).collect();
    let Ok(stored) = core.database.query(STORED, &[(&ids, Type::UUID_ARRAY)]).await else { return Err(failure) };
    if !stored.is_empty() {
        // One statement: all that are new are there, and the others are not.
        return Ok(stored.iter().map(read_id).collect());
    }
    // The server may still be at it, in the session that was lost: ids keep it from being done twice.
    insert(core, arrivals).await
}

async fn insert(core: &Core, arrivals: &[&Arrival]) -> Result<HashSet<EntryId>, Failure> {
    let filter = core.filter();
    let told: Vec<bool> = arrivals.iter().map(|arrival| filter.lets(None, Some(arrival.entry.state))).collect();
    let mut params = columns(arrivals);
    params.add(Type::BOOL_ARRAY, told);
    params.add(Type::INT8, core.window_ms());
    // By the caller's clock an entry is due when it was accepted, whatever the time is.
    params.add(Type::INT8, core.now(Timestamp::MAX));
    let rows = core.database.query(APPEND, &params.all()).await?;
    Ok(rows.iter().map(read_id).collect())
}

fn columns<'a>(arrivals: &[&'a Arrival]) -> Params<'a> {
    fn all<'a, T>(arrivals: &[&'a Arrival], of: impl Fn(&'a Arrival) -> T) -> Vec<T> {
        arrivals.iter().map(|arrival| of(arrival)).collect()
    }
    let accepted_at = |arrival: &Arrival| whole_millisecond(arrival.entry.accepted_at).as_millisecond();
    let expires_at = |arrival: &Arrival| Standing::new(&arrival.entry).expires_at.map(Timestamp::as_millisecond);
    let traceparent = |arrival: &Arrival| arrival.entry.received.traceparent.as_deref().map(storable);
    let mut columns = Params::default();
    columns.add(Type::UUID_ARRAY, all(arrivals, |arrival| uuid(arrival.id)));
    columns.add(Type::TEXT_ARRAY, all(arrivals, |arrival| arrival.entry.site.as_str()));
    columns.add(Type::TEXT_ARRAY, all(arrivals, |arrival| arrival.entry.form.as_str()));
    columns.add(Type::INT2_ARRAY, all(arrivals, |arrival| partition(&arrival.entry.site)));
    columns.add(Type::INT2_ARRAY, all(arrivals, |arrival| number_of(arrival.entry.state)));
    columns.add(Type::INT2_ARRAY, all(arrivals, |arrival| number_of(arrival.entry.reason)));
    columns.add(Type::INT8_ARRAY, all(arrivals, accepted_at));
    columns.add(Type::INT8_ARRAY, all(arrivals, expires_at));
    columns.add(Type::TEXT_ARRAY, all(arrivals, traceparent));
    columns.add(Type::BYTEA_ARRAY, all(arrivals, |arrival| arrival.key.as_ref().map(|DedupePrefix(key)| &key[..])));
    columns.add(Type::TEXT_ARRAY, all(arrivals, |arrival| arrival.reading.as_str()));
    columns.add(Type::TEXT_ARRAY, all(arrivals, |arrival| arrival.received.as_str()));
    columns.add(Type::BYTEA_ARRAY, all(arrivals, |arrival| &*arrival.entry.received.body));
    columns
}

//! New entries, many in one statement.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::batch::Job;
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
    INSERT INTO formgate.content (id, form, reading, received, body)
    SELECT id, form, reading::json, received::json, body FROM fresh
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

/// Appends a batch: each is told what became of it.
pub(super) async fn append(core: Arc<Core>, jobs: Vec<Job<Arrival, Appended>>) {
    let mut left = jobs;
    while !left.is_empty() {
        let (batch, later) = with_keys_of_their_own(left);
        append_batch(&core, batch).await;
        left = later;
    }
}

/// Of several with one key only the first can go into a statement: the others are compared with it.
fn with_keys_of_their_own(
    jobs: Vec<Job<Arrival, Appended>>,
) -> (Vec<Job<Arrival, Appended>>, Vec<Job<Arrival, Appended>>) {
    let mut keys = HashSet::new();
    jobs.into_iter().partition(|job| job.what.key.is_none_or(|key| keys.insert(key)))
}

async fn append_batch(core: &Core, batch: Vec<Job<Arrival, Appended>>) {
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
    fn all<'a, T>(arrivals: &[&'a Arrival], of: impl Fn(&'a Arrival) -> T) -> Vec<T> {
        arrivals.iter().map(|arrival| of(arrival)).collect()
    }
    let standings: HashMap<EntryId, Standing> =
        arrivals.iter().map(|arrival| (arrival.id, Standing::new(&arrival.entry))).collect();
    let expires_at = |arrival: &Arrival| standings.get(&arrival.id)?.expires_at.map(|at| at.as_millisecond());
    let filter = core.filter();
    let ids = all(arrivals, |arrival| uuid(arrival.id));
    let sites = all(arrivals, |arrival| arrival.entry.site.as_str());
    let forms = all(arrivals, |arrival| arrival.entry.form.as_str());
    let partitions = all(arrivals, |arrival| partition(&arrival.entry.site));
    let states = all(arrivals, |arrival| number_of(arrival.entry.state));
    let reasons = all(arrivals, |arrival| number_of(arrival.entry.reason));
    let accepted_at = all(arrivals, |arrival| whole_millisecond(arrival.entry.accepted_at).as_millisecond());
    let expires_at = all(arrivals, expires_at);
    let traceparents = all(arrivals, |arrival| arrival.entry.received.traceparent.as_deref().map(storable));
    let keys = all(arrivals, |arrival| arrival.key.as_ref().map(|DedupePrefix(key)| &key[..]));
    let readings = all(arrivals, |arrival| arrival.reading.as_str());
    let received = all(arrivals, |arrival| arrival.received.as_str());
    let bodies = all(arrivals, |arrival| &*arrival.entry.received.body);
    let told = all(arrivals, |arrival| filter.lets(None, Some(arrival.entry.state)));
    let window = core.window_ms();
    // By the caller's clock an entry is due when it was accepted, whatever the time is.
    let now = core.now(jiff::Timestamp::MAX);
    let rows = core
        .database
        .query(
            APPEND,
            &[
                (&ids, Type::UUID_ARRAY),
                (&sites, Type::TEXT_ARRAY),
                (&forms, Type::TEXT_ARRAY),
                (&partitions, Type::INT2_ARRAY),
                (&states, Type::INT2_ARRAY),
                (&reasons, Type::INT2_ARRAY),
                (&accepted_at, Type::INT8_ARRAY),
                (&expires_at, Type::INT8_ARRAY),
                (&traceparents, Type::TEXT_ARRAY),
                (&keys, Type::BYTEA_ARRAY),
                (&readings, Type::TEXT_ARRAY),
                (&received, Type::TEXT_ARRAY),
                (&bodies, Type::BYTEA_ARRAY),
                (&told, Type::BOOL_ARRAY),
                (&window, Type::INT8),
                (&now, Type::INT8),
            ],
        )
        .await?;
    Ok(rows.iter().map(read_id).collect())
}

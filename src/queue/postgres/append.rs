//! New entries, many in one statement.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::batch::Job;
use super::database::Params;
use super::failure::{Contended, Failure};
use super::row::{detail_of, now, number_of, partition, read_id, storable, to_json, uuid};
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
        $7::bigint[], $8::bigint[], $9::text[], $10::bytea[], $11::text[], $12::text[], $13::bytea[], $14::text[], $15::bool[])
    WITH ORDINALITY AS g(id, site, form, partition, state, reason, accepted_at, expires_at, traceparent, key, reading,
        received, body, detail, is_told, place)
), keyed AS (
    INSERT INTO formgate.dedupe AS d (key, id, seen_at)
    SELECT key, id, accepted_at FROM given WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE SET id = excluded.id, seen_at = excluded.seen_at
        WHERE abs(excluded.seen_at - d.seen_at) >= $16
    RETURNING id
), fresh AS (
    SELECT *, octet_length(reading) + octet_length(received) + octet_length(body) + 1024 AS bytes,
        CASE WHEN state = 0 THEN least(accepted_at, ",
    now!("$17"),
    ") END AS due_at FROM given WHERE key IS NULL OR id IN (SELECT id FROM keyed)
), entered AS (
    INSERT INTO formgate.entry (id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from,
        expires_at, attempts, seen, traceparent, history, dedupe_key, bytes, detail, detail_revision)
    SELECT id, site, form, partition, state, reason, 1, accepted_at, due_at, coalesce(due_at, accepted_at),
        expires_at, 0, 0, traceparent, '\\x00', key, bytes, detail, 1 FROM fresh ORDER BY place
    RETURNING id
), kept AS (
    INSERT INTO formgate.content (id, form, reading, received, body)
    SELECT id, form, reading::json, received::json, body FROM fresh
), tallied AS (
    INSERT INTO formgate.tally_change (site, state, entries, bytes)
    SELECT site, state, count(*), sum(bytes) FROM fresh GROUP BY site, state
), told AS (
    INSERT INTO formgate.unnumbered (at, entry, site, form, to_state, reason)
    SELECT accepted_at, id, site, form, state, reason FROM fresh
    WHERE is_told AND EXISTS (SELECT FROM formgate.reader) ORDER BY place
)
SELECT id FROM entered"
);

/// Some more of what is there already; a key that is gone meanwhile gives no row.
const SEEN_AGAIN: &str = "
WITH found AS (
    SELECT d.key, d.id, g.times FROM unnest($1::bytea[], $2::bigint[]) AS g(key, times)
    JOIN formgate.dedupe d ON d.key = g.key
), seen AS (
    UPDATE formgate.entry e SET seen = least(e.seen + f.times, 4294967295) FROM found f WHERE e.id = f.id RETURNING e.id
)
SELECT f.id, f.key FROM found f JOIN seen USING (id)";

const STORED: &str = "SELECT id FROM formgate.entry WHERE id = ANY($1)";

/// Longer than keys count, for clocks that differ. By the index, which a clock that goes on while the statement runs would
/// rule out: so the time is asked for once. And by the time itself once more, for a key that somebody renews meanwhile.
const FORGET_KEYS: &str = concat!(
    "DELETE FROM formgate.dedupe WHERE key = ANY(ARRAY(SELECT key FROM formgate.dedupe WHERE seen_at <= (SELECT ",
    now!("NULL"),
    ") - 3 * $1 ORDER BY seen_at LIMIT $2)) AND seen_at <= (SELECT ",
    now!("NULL"),
    ") - 3 * $1"
);
/// Most keys that are forgotten at a time.
const FORGOTTEN_AT_ONCE: i64 = 50_000;

/// Forgets keys whose window has been over for a while.
pub(super) async fn forget_keys(core: &Core) -> Result<(), Failure> {
    // Whoever uses no window, such as a copy, knows nothing of that of the gateways.
    if core.window_ms() == 0 {
        return Ok(());
    }
    let params = [(&core.window_ms() as _, Type::INT8), (&FORGOTTEN_AT_ONCE as _, Type::INT8)];
    core.database.query(FORGET_KEYS, &params).await.map(drop)
}

/// Entries that are appended together.
type Batch = Vec<Job<Arrival, Appended>>;

/// Appends a batch: each is told what became of it.
pub(super) async fn append(core: Arc<Core>, jobs: Batch) {
    let mut left = Left { jobs, is_in_doubt: false, why: Failure::unavailable(Contended) };
    for _ in 0..TRIES_MAX {
        if left.is_in_doubt {
            left.jobs = end_stored(&core, left.jobs).await;
        }
        if left.jobs.is_empty() {
            return;
        }
        left = append_batch(&core, left).await;
    }
    let Left { jobs, why, .. } = left;
    jobs.into_iter().for_each(|job| job.end(Err(why.clone())));
}

/// What has to be tried again.
struct Left {
    jobs: Batch,
    /// A connection was lost while they were appended, so they may be there. The server may still be at it: whoever tries again waits
    /// for that, and then looks.
    is_in_doubt: bool,
    why: Failure,
}

/// Ends those that are there; of the others those that nobody waits for any more, since somebody else has them by now.
async fn end_stored(core: &Core, jobs: Batch) -> Batch {
    let arrivals: Vec<&Arrival> = jobs.iter().map(|job| &job.what).collect();
    let stored = match stored(core, &arrivals).await {
        Ok(stored) => stored,
        Err(failure) => {
            jobs.into_iter().for_each(|job| job.end(Err(failure.clone())));
            return Batch::new();
        }
    };
    let mut left = Batch::new();
    for job in jobs {
        let id = job.what.id;
        if stored.contains(&id) {
            job.end(Ok(Appended::New(id)));
        } else if job.is_waited_for() {
            left.push(job);
        }
    }
    left
}

/// Appends what it can; returns what has to be tried again.
async fn append_batch(core: &Core, Left { jobs, is_in_doubt, .. }: Left) -> Left {
    // Of several with one key only the first can go into a statement: the others are seen again, whatever becomes of that one.
    let mut keys = HashSet::new();
    let (firsts, mut others): (Batch, Batch) =
        jobs.into_iter().partition(|job| job.what.key.is_none_or(|key| keys.insert(key)));
    let arrivals: Vec<&Arrival> = firsts.iter().map(|job| &job.what).collect();
    let again = |jobs: Batch, is_in_doubt| Left { jobs, is_in_doubt, why: Failure::unavailable(Contended) };
    match insert(core, &arrivals).await {
        Ok(entered) => {
            for job in firsts {
                let id = job.what.id;
                if entered.contains(&id) { job.end(Ok(Appended::New(id))) } else { others.push(job) }
            }
            if is_in_doubt {
                others = end_stored(core, others).await;
            }
            again(see_again(core, others).await, is_in_doubt)
        }
        Err(failure @ Failure::Lost(_)) => {
            let jobs = firsts.into_iter().chain(others).collect();
            Left { jobs, is_in_doubt: true, why: failure }
        }
        Err(Failure::Repeated) if is_in_doubt => again(firsts.into_iter().chain(others).collect(), true),
        // One of them can't be entered: the others must not be refused for that.
        Err(Failure::Repeated | Failure::Refused(_)) if firsts.len() > 1 => {
            again(one_by_one(core, firsts, others).await, is_in_doubt)
        }
        Err(failure) => {
            firsts.into_iter().chain(others).for_each(|job| job.end(Err(failure.clone())));
            again(Batch::new(), false)
        }
    }
}

async fn one_by_one(core: &Core, firsts: Batch, mut left: Batch) -> Batch {
    for job in firsts {
        let id = job.what.id;
        match insert(core, &[&job.what]).await {
            Ok(entered) if entered.contains(&id) => job.end(Ok(Appended::New(id))),
            Ok(_seen_before) => left.push(job),
            Err(failure) => job.end(Err(failure)),
        }
    }
    see_again(core, left).await
}

/// Counts those whose keys were there already, all at once; returns those whose first entry is gone, or whose key no longer
/// counts.
async fn see_again(core: &Core, jobs: Batch) -> Batch {
    let mut times: HashMap<DedupePrefix, i64> = HashMap::new();
    for key in jobs.iter().filter_map(|job| job.what.key) {
        *times.entry(key).or_default() += 1;
    }
    if times.is_empty() {
        return jobs;
    }
    let mut keys: Vec<(&[u8], i64)> = times.iter().map(|(DedupePrefix(key), times)| (&key[..], *times)).collect();
    keys.sort_unstable();
    let (keys, counts): (Vec<&[u8]>, Vec<i64>) = keys.into_iter().unzip();
    let found = core.database.query(SEEN_AGAIN, &[(&keys, Type::BYTEA_ARRAY), (&counts, Type::INT8_ARRAY)]).await;
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            jobs.into_iter().for_each(|job| job.end(Err(failure.clone())));
            return Batch::new();
        }
    };
    let first: HashMap<&[u8], EntryId> = found.iter().map(|row| (row.get(1), read_id(row))).collect();
    let mut left = Batch::new();
    for job in jobs {
        match job.what.key.as_ref().and_then(|DedupePrefix(key)| first.get(&key[..])) {
            Some(id) => job.end(Ok(Appended::Duplicate(*id))),
            None => left.push(job),
        }
    }
    left
}

/// Returns which of them are there.
async fn stored(core: &Core, arrivals: &[&Arrival]) -> Result<HashSet<EntryId>, Failure> {
    let ids: Vec<Uuid> = arrivals.iter().map(|arrival| uuid(arrival.id)).collect();
    let stored = core.database.query(STORED, &[(&ids, Type::UUID_ARRAY)]).await?;
    Ok(stored.iter().map(read_id).collect())
}

/// Enters those whose keys are new; returns their ids.
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
    columns.add(
        Type::TEXT_ARRAY,
        all(arrivals, |arrival| detail_of(&Standing::new(&arrival.entry), Some(&arrival.entry.reading))),
    );
    columns
}

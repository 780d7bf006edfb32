//! Events: recorded by whatever makes them, in its own transaction, and numbered when somebody reads.
//!
//! Transactions end in another order than they begin. Were a number given at the beginning, a reader would pass over those that
//! end late. So what is recorded waits without a number, and whoever reads gives out the next ones, one gateway at a time.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::batch::Job;
use super::failure::Failure;
use super::row::{self, code, number_of, signed, time, unsigned, uuid};
use super::transaction::{Lock, Transaction};
use crate::lead::EntryId;
use crate::queue::codes::Code;
use crate::queue::outbox::{NEVER_DROPPED, drop_upto};
use crate::queue::standing::whole_millisecond;
use crate::queue::unreadable::Unreadable;
use crate::queue::{
    EVENTS_MAX, Emission, Events, Happened, Key, Move, ONCE_MAX, OUTBOX_STEP, OutboxEvent, READERS_MAX, Reader,
};

/// An event to emit.
pub(super) struct Emitting {
    emission: Emission,
    once: Key,
    at: Timestamp,
}

impl Emitting {
    pub(super) fn new(emission: &Emission, once: &Key, now: Timestamp) -> Self {
        Self { emission: emission.clone(), once: once.clone(), at: whole_millisecond(now) }
    }
}

const EMIT: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::uuid[], $5::text[], $6::text[])
    WITH ORDINALITY AS g(key, at, event, entry, site, form, place)
), first AS (
    INSERT INTO formgate.once (key) SELECT key FROM given g
    WHERE EXISTS (SELECT FROM formgate.reader) AND NOT EXISTS (SELECT FROM formgate.once WHERE key = g.key) ORDER BY key
    ON CONFLICT (key) DO NOTHING RETURNING key
), told AS (
    INSERT INTO formgate.unnumbered (at, event, entry, site, form)
    SELECT at, event, entry, site, form FROM (
        SELECT DISTINCT ON (key) * FROM given WHERE key IN (SELECT key FROM first) ORDER BY key, place
    ) of_each ORDER BY place
)
SELECT key FROM first";

/// Emits a batch: each is told whether its event was recorded.
pub(super) async fn emit(core: Arc<Core>, jobs: Vec<Job<Emitting, bool>>) {
    let emitted = insert(&core, &jobs).await;
    let mut emitted = match emitted {
        Ok(emitted) => emitted,
        Err(failure) => return jobs.into_iter().for_each(|job| job.end(Err(failure.clone()))),
    };
    for job in jobs {
        // Of several with one key the first was recorded.
        let place = emitted.iter().position(|key| key == job.what.once.as_str());
        let is_first = place.map(|place| emitted.swap_remove(place)).is_some();
        job.end(Ok(is_first));
    }
}

async fn insert(core: &Core, jobs: &[Job<Emitting, bool>]) -> Result<Vec<String>, Failure> {
    let all = || jobs.iter().map(|job| &job.what);
    let keys: Vec<&str> = all().map(|emitting| emitting.once.as_str()).collect();
    let times: Vec<i64> = all().map(|emitting| emitting.at.as_millisecond()).collect();
    let events: Vec<i16> = all().map(|emitting| number_of(emitting.emission.event)).collect();
    let entries: Vec<Option<Uuid>> = all().map(|emitting| emitting.emission.entry.map(uuid)).collect();
    let sites: Vec<Option<&str>> =
        all().map(|emitting| emitting.emission.site.as_ref().map(|site| site.as_str())).collect();
    let forms: Vec<Option<&str>> =
        all().map(|emitting| emitting.emission.form.as_ref().map(|form| form.as_str())).collect();
    let params = [
        (&keys as _, Type::TEXT_ARRAY),
        (&times as _, Type::INT8_ARRAY),
        (&events as _, Type::INT2_ARRAY),
        (&entries as _, Type::UUID_ARRAY),
        (&sites as _, Type::TEXT_ARRAY),
        (&forms as _, Type::TEXT_ARRAY),
    ];
    let rows = core.database.query(EMIT, &params).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Most events that get their numbers in one statement.
const NUMBERED_MAX: i64 = 5_000;

const NUMBER: &str = "
WITH taken AS (
    DELETE FROM formgate.unnumbered WHERE place IN (SELECT place FROM formgate.unnumbered ORDER BY place LIMIT $1)
    RETURNING *
), counted AS (
    UPDATE formgate.last_event SET number = number + (SELECT count(*) FROM taken) RETURNING number
)
INSERT INTO formgate.outbox (number, at, event, entry, site, form, from_state, to_state, reason, attempt)
SELECT counted.number - (SELECT count(*) FROM taken) + row_number() OVER (ORDER BY taken.place),
    at, event, entry, site, form, from_state, to_state, reason, attempt
FROM taken, counted";

const LAST: &str = "SELECT number FROM formgate.last_event";

/// What no reader has dealt with in time; the rows of the event that is never dropped stay.
const DROP: &str = "DELETE FROM formgate.outbox WHERE number <= $1 AND event IS DISTINCT FROM $2";

/// By rank: places are left out where two gateways emit one key at once.
const FORGET_ONCE: &str =
    "DELETE FROM formgate.once WHERE place <= (SELECT place FROM formgate.once ORDER BY place DESC OFFSET $1 LIMIT 1)";

/// Gives out numbers to what has none, and drops what is too old; returns the last number. Called under the lock.
async fn number(transaction: &Transaction<'_>) -> Result<u64, Failure> {
    let before = last(transaction).await?;
    while transaction.execute(NUMBER, &[(&NUMBERED_MAX, Type::INT8)]).await? == NUMBERED_MAX.cast_unsigned() {}
    let last = last(transaction).await?;
    if last / OUTBOX_STEP > before / OUTBOX_STEP {
        let upto = drop_upto(last - last % OUTBOX_STEP).unwrap_or_default();
        let kept = number_of(NEVER_DROPPED);
        transaction.execute(DROP, &[(&signed(upto), Type::INT8), (&kept, Type::INT2)]).await?;
        transaction.execute(FORGET_ONCE, &[(&signed(ONCE_MAX), Type::INT8)]).await?;
    }
    Ok(last)
}

async fn last(transaction: &Transaction<'_>) -> Result<u64, Failure> {
    let rows = transaction.query(LAST, &[]).await?;
    Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
}

/// Adds a reader.
pub(super) async fn register(core: &Core, reader: &Key) -> Result<Option<u64>, Failure> {
    const PLACE: &str = "SELECT upto FROM formgate.reader WHERE name = $1";
    const COUNT: &str = "SELECT count(*) FROM formgate.reader";
    const INSERT: &str = "INSERT INTO formgate.reader (name, upto) VALUES ($1, $2)";
    let transaction = core.database.begin_locked(Lock::Events).await?;
    let last = number(&transaction).await?;
    let name = reader.as_str();
    let place = transaction.query(PLACE, &[(&name, Type::TEXT)]).await?;
    if let Some(row) = place.first() {
        return Ok(Some(unsigned(row.get(0))));
    }
    let readers = transaction.query(COUNT, &[]).await?;
    if readers.first().is_some_and(|row| unsigned(row.get(0)) >= READERS_MAX as u64) {
        return Ok(None);
    }
    transaction.execute(INSERT, &[(&name, Type::TEXT), (&signed(last), Type::INT8)]).await?;
    transaction.commit().await?;
    Ok(Some(last))
}

/// What every reader has; without a reader all.
const REMOVE_READ: &str = "DELETE FROM formgate.outbox WHERE number <=
    coalesce((SELECT min(upto) FROM formgate.reader), (SELECT number FROM formgate.last_event))";

/// Removes a reader.
pub(super) async fn unregister(core: &Core, reader: &Key) -> Result<bool, Failure> {
    const DELETE: &str = "DELETE FROM formgate.reader WHERE name = $1";
    let transaction = core.database.begin_locked(Lock::Events).await?;
    number(&transaction).await?;
    let was_there = transaction.execute(DELETE, &[(&reader.as_str(), Type::TEXT)]).await? > 0;
    transaction.execute(REMOVE_READ, &[]).await?;
    transaction.commit().await?;
    Ok(was_there)
}

/// Lists the readers.
pub(super) async fn readers(core: &Core) -> Result<Vec<Reader>, Failure> {
    const READERS: &str = "SELECT r.name, r.upto, l.number + (SELECT count(*) FROM formgate.unnumbered)
        FROM formgate.reader r, formgate.last_event l ORDER BY r.name";
    let rows = core.database.query(READERS, &[]).await?;
    let read = |row: &Row| {
        let name = Key::parse(row.get(0)).map_err(|_invalid| Unreadable { column: "name" })?;
        let upto = unsigned(row.get(1));
        Ok(Reader { name, upto, behind: unsigned(row.get(2)).saturating_sub(upto) })
    };
    rows.iter().map(read).collect()
}

/// Returns events behind a number.
pub(super) async fn events(core: &Core, after: u64, limit: usize) -> Result<Events, Failure> {
    number_waiting(core).await?;
    page(core, after, limit.clamp(1, EVENTS_MAX)).await
}

/// Gives out numbers where something waits for one.
pub(super) async fn number_waiting(core: &Core) -> Result<(), Failure> {
    const WAITING: &str = "SELECT EXISTS (SELECT FROM formgate.unnumbered)";
    let waiting = core.database.query(WAITING, &[]).await?;
    if waiting.first().is_some_and(|row| row.get(0)) {
        let transaction = core.database.begin_locked(Lock::Events).await?;
        number(&transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn page(core: &Core, after: u64, limit: usize) -> Result<Events, Failure> {
    // The last number is read with them: what comes behind it later was not looked at.
    const PAGE: &str = "SELECT l.number, o.number, o.at, o.event, o.entry, o.site, o.form, o.from_state, o.to_state,
            o.reason, o.attempt
        FROM formgate.last_event l LEFT JOIN LATERAL (
            SELECT * FROM formgate.outbox WHERE number > $1 AND number <= l.number ORDER BY number LIMIT $2
        ) o ON true ORDER BY o.number";
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = core.database.query(PAGE, &[(&signed(after), Type::INT8), (&most, Type::INT8)]).await?;
    let last = rows.first().map_or(0, |row| unsigned(row.get(0)));
    let numbers: Vec<u64> = rows.iter().filter_map(|row| row.get::<_, Option<i64>>(1)).map(unsigned).collect();
    let upto = numbers.last().copied().filter(|_| numbers.len() == limit).unwrap_or(last);
    // One that can't be read counts as missed.
    let events = rows.iter().filter_map(|row| read_event(row).ok().flatten()).collect();
    Ok(Events::new(events, after, upto))
}

fn read_event(row: &Row) -> Result<Option<OutboxEvent>, Unreadable> {
    let Some(number) = row.get::<_, Option<i64>>(1) else { return Ok(None) };
    let entry = row.get::<_, Option<Uuid>>(4).map(|id| EntryId::from_bytes(id.into_bytes()));
    let site = row.get::<_, Option<&str>>(5).map(row::site).transpose()?;
    let form = row.get::<_, Option<&str>>(6).map(row::form).transpose()?;
    let happened = match optional_code(row, 3, "event")? {
        Some(event) => Happened::Emitted(Emission { event, entry, site, form }),
        None => Happened::Moved(Move {
            entry: entry.ok_or(Unreadable { column: "entry" })?,
            site: site.ok_or(Unreadable { column: "site" })?,
            form: form.ok_or(Unreadable { column: "form" })?,
            from: optional_code(row, 7, "from_state")?,
            to: optional_code(row, 8, "to_state")?,
            reason: optional_code(row, 9, "reason")?.ok_or(Unreadable { column: "reason" })?,
            attempt: optional_code(row, 10, "attempt")?,
        }),
    };
    Ok(Some(OutboxEvent { number: unsigned(number), at: time(row.get(2), "at")?, happened }))
}

fn optional_code<T: Code>(row: &Row, at: usize, column: &'static str) -> Result<Option<T>, Unreadable> {
    row.get::<_, Option<i16>>(at).map(|number| code(number, column)).transpose()
}

/// Says that a reader needs nothing up to a number any more.
pub(super) async fn trim(core: &Core, reader: &Key, upto: u64) -> Result<bool, Failure> {
    const MOVE: &str = "UPDATE formgate.reader r SET upto = greatest(r.upto, least($2, l.number))
        FROM formgate.last_event l WHERE r.name = $1";
    let transaction = core.database.begin_locked(Lock::Events).await?;
    number(&transaction).await?;
    let params = [(&reader.as_str() as _, Type::TEXT), (&signed(upto) as _, Type::INT8)];
    let is_there = transaction.execute(MOVE, &params).await? > 0;
    transaction.execute(REMOVE_READ, &[]).await?;
    transaction.commit().await?;
    Ok(is_there)
}

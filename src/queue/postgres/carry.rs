//! Entries on their way out of this store into another, and the other way.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::database::Params;
use super::failure::Failure;
use super::row::{
    BEHIND_STANDING, detail_of, number_of, partition, read_id, read_standing, signed, storable, to_json, uuid,
};
use super::transaction::Transaction;
use super::write::encode_history;
use crate::lead::EntryId;
use crate::queue::carry::CARRY_BYTES;
use crate::queue::unreadable::Unreadable;
use crate::queue::{Carried, CarriedAs, CarriedIn, CarryPage, DedupePrefix};

/// How often entries are carried in anew that another gateway appends at the same time.
const TRIES_MAX: usize = 5;

/// Reads some entries by id; what can't be read is named.
pub(super) async fn carry_out(core: &Core, after: Option<EntryId>, limit: usize) -> Result<CarryPage, Failure> {
    // How long a body is, is known without reading it.
    const SIZES: &str =
        "SELECT id, octet_length(body)::bigint FROM formgate.content WHERE id > $1 ORDER BY id LIMIT $2";
    let after = after.map_or(Uuid::nil(), uuid);
    let most = signed(limit as u64 + 1);
    let sizes = core.database.read(SIZES, &[(&after, Type::UUID), (&most, Type::INT8)]).await?;
    let mut page = CarryPage::default();
    let mut ids: Vec<Uuid> = Vec::new();
    let mut bytes = 0;
    for row in &sizes {
        if ids.len() == limit || bytes >= CARRY_BYTES {
            page.next = ids.last().map(|id| EntryId::from_bytes(id.into_bytes()));
            break;
        }
        bytes += usize::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        ids.push(row.get(0));
    }
    for row in whole(core, &ids).await? {
        match read(&row) {
            Ok(carried) => page.entries.push(carried),
            Err(_unreadable) => page.unreadable.push(read_id(&row)),
        }
    }
    Ok(page)
}

async fn whole(core: &Core, ids: &Vec<Uuid>) -> Result<Vec<Row>, Failure> {
    let sql = format!(
        "SELECT {}, c.reading::text, c.received::text, c.body, e.dedupe_key FROM formgate.entry e
         JOIN formgate.content c ON c.id = e.id WHERE e.id = ANY($1) ORDER BY e.id",
        super::row::STANDING
    );
    core.database.read(&sql, &[(ids, Type::UUID_ARRAY)]).await
}

fn read(row: &Row) -> Result<Carried, Unreadable> {
    let stored = read_standing(row)?;
    let reading = super::row::reading(row.get(BEHIND_STANDING))?;
    let received = super::row::received(row)?;
    let key: Option<&[u8]> = row.get(BEHIND_STANDING + 3);
    let key = key.map(|key| key.try_into().map(DedupePrefix)).transpose();
    let key = key.map_err(|_other_length| Unreadable { column: "dedupe_key" })?;
    let (standing, beside) = stored.into_parts(reading);
    Ok(Carried::new(standing, beside, received, key))
}

const CARRY_IN: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::smallint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::text[], $15::text[], $16::bytea[], $17::bytea[], $18::text[], $19::text[], $20::bytea[],
        $21::text[])
    WITH ORDINALITY AS g(id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from,
        expires_at, attempts, seen, lead_id, traceparent, history, key, reading, received, body, detail,
        place)
), others AS MATERIALIZED (
    SELECT g.* FROM given g WHERE NOT EXISTS (SELECT FROM formgate.entry e WHERE e.id = g.id)
), keyed AS (
    INSERT INTO formgate.dedupe AS d (key, id, seen_at)
    SELECT key, id, accepted_at FROM others WHERE key IS NOT NULL AND (NOT $22 OR $23 > 0) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        id = CASE WHEN excluded.seen_at > d.seen_at THEN excluded.id ELSE d.id END,
        seen_at = greatest(excluded.seen_at, d.seen_at)
        WHERE NOT $22 OR abs(excluded.seen_at - d.seen_at) >= $23
    RETURNING key
), fresh AS MATERIALIZED (
    SELECT *, octet_length(reading) + octet_length(received) + octet_length(body) + 1024 AS bytes
    FROM others WHERE NOT $22 OR key IS NULL OR $23 = 0 OR key IN (SELECT key FROM keyed)
), entered AS (
    INSERT INTO formgate.entry (id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from,
        expires_at, attempts, seen, lead_id, traceparent, history, dedupe_key, bytes,
        detail, detail_revision)
    SELECT id, site, form, partition, state, reason, revision, accepted_at, due_at, waits_from, expires_at, attempts,
        seen, lead_id, traceparent, history, key, bytes, detail, revision FROM fresh ORDER BY place
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
    WHERE $22 AND state = ANY($24) AND EXISTS (SELECT FROM formgate.reader) ORDER BY place
), again AS (
    SELECT o.id, d.id AS first, o.seen + 1 AS seen FROM others o JOIN formgate.dedupe d ON d.key = o.key
    WHERE o.id NOT IN (SELECT id FROM fresh)
), seen AS (
    UPDATE formgate.entry e SET seen = least(e.seen + a.seen, 4294967295) FROM again a WHERE e.id = a.first
    RETURNING a.id, a.first
)
SELECT id, NULL::uuid, true FROM entered UNION ALL SELECT id, first, true FROM seen
UNION ALL SELECT id, NULL, false FROM given WHERE id NOT IN (SELECT id FROM others)";

/// Takes entries in, all or none.
pub(super) async fn carry_in(
    core: &Core,
    entries: &[Carried],
    carried_as: CarriedAs,
) -> Result<Vec<CarriedIn>, Failure> {
    for _ in 0..TRIES_MAX {
        match try_to_carry_in(core, entries, carried_as).await {
            // Another appends one of them, or one with the same key.
            Err(Failure::Repeated | Failure::Again(_)) => {}
            carried_in => return carried_in,
        }
    }
    Err(Failure::unavailable(super::failure::Contended))
}

async fn try_to_carry_in(core: &Core, entries: &[Carried], carried_as: CarriedAs) -> Result<Vec<CarriedIn>, Failure> {
    let transaction = core.database.begin().await?;
    let mut carried_in = HashMap::new();
    let mut left: Vec<&Carried> = entries.iter().collect();
    while !left.is_empty() {
        // Of several with one key each is compared with the one before.
        let mut keys = HashSet::new();
        let mut ids = HashSet::new();
        let is_apart =
            |carried: &&Carried| carried.key.is_none_or(|key| keys.insert(key)) & ids.insert(carried.beside.id);
        let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(is_apart);
        for (id, came_in) in insert(core, &transaction, &now, carried_as).await? {
            carried_in.entry(id).or_insert(came_in);
        }
        left = later;
    }
    let came_in = entries.iter().map(|carried| carried_in.get(&carried.beside.id).copied());
    let came_in = came_in.collect::<Option<Vec<_>>>().ok_or(Failure::Repeated)?;
    transaction.commit().await?;
    Ok(came_in)
}

async fn insert(
    core: &Core,
    transaction: &Transaction<'_>,
    entries: &[&Carried],
    carried_as: CarriedAs,
) -> Result<Vec<(EntryId, CarriedIn)>, Failure> {
    let mut params = columns(entries)?;
    params.add(Type::BOOL, carried_as == CarriedAs::Append);
    params.add(Type::INT8, core.window_ms());
    params.add(Type::INT2_ARRAY, core.told_arrivals());
    let rows = transaction.query(CARRY_IN, &params.all()).await?;
    let came_in = |row: &Row| match (row.get::<_, Option<Uuid>>(1), row.get(2)) {
        (Some(first), _) => CarriedIn::Duplicate(EntryId::from_bytes(first.into_bytes())),
        (None, true) => CarriedIn::New,
        (None, false) => CarriedIn::Present,
    };
    Ok(rows.iter().map(|row| (read_id(row), came_in(row))).collect())
}

fn columns<'a>(entries: &[&'a Carried]) -> Result<Params<'a>, Failure> {
    fn all<'a, T>(entries: &[&'a Carried], of: impl Fn(&'a Carried) -> T) -> Vec<T> {
        entries.iter().map(|carried| of(carried)).collect()
    }
    let history = |carried: &Carried| encode_history(&carried.standing, carried.beside.accepted_at);
    let readings = entries.iter().map(|carried| to_json(&carried.beside.reading)).collect::<Result<Vec<_>, _>>()?;
    let received = entries.iter().map(|carried| to_json(&carried.received)).collect::<Result<Vec<_>, _>>()?;
    let mut columns = Params::default();
    columns.add(Type::UUID_ARRAY, all(entries, |carried| uuid(carried.beside.id)));
    columns.add(Type::TEXT_ARRAY, all(entries, |carried| carried.beside.site.as_str()));
    columns.add(Type::TEXT_ARRAY, all(entries, |carried| carried.beside.form.as_str()));
    columns.add(Type::INT2_ARRAY, all(entries, |carried| partition(&carried.beside.site)));
    columns.add(Type::INT2_ARRAY, all(entries, |carried| number_of(carried.standing.state)));
    columns.add(Type::INT2_ARRAY, all(entries, |carried| number_of(carried.standing.reason)));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| signed(carried.standing.revision)));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| carried.beside.accepted_at.as_millisecond()));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| carried.standing.due_at.map(Timestamp::as_millisecond)));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| carried.standing.waits_from.as_millisecond()));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| carried.standing.expires_at.map(Timestamp::as_millisecond)));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| i64::from(carried.standing.attempts)));
    columns.add(Type::INT8_ARRAY, all(entries, |carried| i64::from(carried.beside.seen)));
    columns.add(Type::TEXT_ARRAY, all(entries, |carried| carried.standing.lead_id.as_deref().map(storable)));
    columns.add(Type::TEXT_ARRAY, all(entries, |carried| carried.beside.traceparent.as_deref().map(storable)));
    columns.add(Type::BYTEA_ARRAY, all(entries, history));
    columns.add(Type::BYTEA_ARRAY, all(entries, |carried| carried.key.as_ref().map(|DedupePrefix(key)| &key[..])));
    columns.add(Type::TEXT_ARRAY, readings);
    columns.add(Type::TEXT_ARRAY, received);
    columns.add(Type::BYTEA_ARRAY, all(entries, |carried| &*carried.received.body));
    let detail = |carried: &Carried| detail_of(&carried.standing, Some(&carried.beside.reading));
    columns.add(Type::TEXT_ARRAY, all(entries, detail));
    Ok(columns)
}

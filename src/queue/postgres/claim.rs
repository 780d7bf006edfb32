//! Leasing entries: what is due is sought, read, and taken by compare-and-set.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::database::Params;
use super::failure::Failure;
use super::row::{self, BEHIND_STANDING, Stored, now, read_standing, time};
use super::write::{Written, write};
use crate::lead::SiteId;
use crate::queue::turns::{self, Lanes};
use crate::queue::{CLAIM_MAX, Claim, Lease, Quota, Reading};

/// Of each site, this many of those that have been due longest are put in order of their age, as in the other stores: to order
/// a whole backlog would read it all at each claim.
const ORDERED_MAX: i64 = 256;
/// Of those that became due last, this many are looked through for what is new.
const NEW_MAX: i64 = 1_024;
/// What can't be read is put off, for so long in milliseconds: it must not be met by each claim.
const PUT_OFF: i64 = 3_600_000;

/// Sites that have something due, in the order of their names behind `$2` and round again, and of each the oldest.
///
/// The recursion goes from site to site by the index, however much each has, and only as far as `$7` sites are found.
/// How much a site has, the planner doesn't know: a limit that it doesn't know either (`SELECT $8`) makes it go by the index, too,
/// where it would read and sort the whole backlog of a large site. In the order of `due_at` no other index will do.
macro_rules! due {
    ($entries:literal) => {
        concat!(
            "
WITH RECURSIVE clock AS MATERIALIZED (SELECT ",
            now!("$1"),
            " AS now), sites AS (
    SELECT $2::text COLLATE \"C\" AS site, 0::smallint AS partition, false AS is_round, false AS is_site
    UNION ALL
    SELECT next.site, next.partition, next.is_round, true FROM sites s CROSS JOIN LATERAL (
        (SELECT e.site, e.partition, s.is_round FROM formgate.entry e
            WHERE e.state = 0 AND e.site > s.site AND (NOT s.is_round OR e.site <= $2) ORDER BY e.site, e.due_at LIMIT 1)
        UNION ALL
        (SELECT e.site, e.partition, true FROM formgate.entry e
            WHERE e.state = 0 AND NOT s.is_round AND e.site <= $2 ORDER BY e.site, e.due_at LIMIT 1)
        LIMIT 1
    ) next
)
SELECT s.site, lane.ids, clock.now FROM sites s CROSS JOIN clock CROSS JOIN LATERAL (
    SELECT array_agg(e.id ORDER BY e.number) AS ids FROM (
        SELECT first.id, first.number FROM (",
            $entries,
            ") first ORDER BY first.number LIMIT $7
    ) e
) lane
WHERE s.is_site AND ($3::bigint >> s.partition) & 1 = 1
    AND ($4::text[] IS NULL OR s.site = ANY($4)) AND s.site <> ALL($5::text[]) AND lane.ids IS NOT NULL
LIMIT $7"
        )
    };
}

const DUE: &str = due!(
    "SELECT e.id, e.number FROM formgate.entry e
        WHERE e.state = 0 AND e.site = s.site AND e.due_at <= clock.now AND $6::bigint IS NULL
        ORDER BY e.due_at, e.number LIMIT (SELECT $8)"
);
/// What is new; where the clock was set back it may have become due a little before.
const NEW_DUE: &str = due!(
    "SELECT id, number FROM (
        SELECT e.id, e.number, e.accepted_at FROM formgate.entry e
        WHERE e.state = 0 AND e.site = s.site AND e.due_at BETWEEN $6::bigint - 600000 AND clock.now
        ORDER BY e.due_at DESC, e.number DESC LIMIT (SELECT $8)
     ) last WHERE last.accepted_at >= $6"
);

const CLOCK: &str = concat!("SELECT ", now!("$1"));

const REWIND: &str = concat!(
    "UPDATE formgate.entry e SET due_at = clock.now + (e.due_at - e.waits_from), waits_from = clock.now
     FROM (SELECT ",
    now!("$1"),
    " AS now) clock WHERE e.state = 0 AND e.waits_from > clock.now"
);

const MAKE_DUE: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT ",
    now!("$3"),
    " AS now), waiting AS (
    SELECT e.id FROM formgate.entry e, clock WHERE e.state = 0 AND e.site = $1 AND e.due_at > clock.now AND e.lease IS NULL
    ORDER BY e.due_at, e.number LIMIT (SELECT $2)
)
UPDATE formgate.entry e SET due_at = clock.now, waits_from = clock.now FROM waiting, clock
WHERE e.id = waiting.id AND e.state = 0 AND e.lease IS NULL RETURNING e.id"
);

/// Not what somebody has changed since, who may be able to read it.
const PUT_OFF_SQL: &str = concat!(
    "UPDATE formgate.entry e SET due_at = g.now + $3, waits_from = g.now, lease = NULL
     FROM (SELECT id, revision, ",
    now!("$4"),
    " AS now FROM unnest($1::uuid[], $2::bigint[]) AS g(id, revision)) g WHERE e.id = g.id AND e.revision = g.revision"
);

/// Leases entries that are due.
pub(super) async fn claim(core: &Core, claim: &Claim) -> Result<Vec<Lease>, Failure> {
    let claim = claim.cut();
    if claim.quota.partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = find(core, &claim).await?;
    let now = match found.now {
        Some(now) => now,
        None => clock(core, &claim).await?,
    };
    if core.went_back(now) {
        rewind(core, &claim).await?;
        found = find(core, &claim).await?;
    }
    let (ids, last) = turns::take(found.lanes, claim.max);
    core.set_last_site(claim.accepted_since, last);
    lease(core, &claim, &ids, now).await
}

/// Returns the present by the clock that counts: what waits for it may do so only because it went back.
async fn clock(core: &Core, claim: &Claim) -> Result<Timestamp, Failure> {
    let now = core.now(claim.now);
    let rows = core.database.query(CLOCK, &[(&now, Type::INT8)]).await?;
    Ok(rows.first().map_or(Ok(claim.now), |row| time(row.get(0), "now"))?)
}

async fn rewind(core: &Core, claim: &Claim) -> Result<(), Failure> {
    let now = core.now(claim.now);
    core.database.query(REWIND, &[(&now, Type::INT8)]).await.map(drop)
}

/// What is due.
struct Found {
    lanes: Lanes<SiteId, Uuid>,
    /// By the clock that counts; not known where nothing is due.
    now: Option<Timestamp>,
}

async fn find(core: &Core, claim: &Claim) -> Result<Found, Failure> {
    let last_site = core.last_site(claim.accepted_since);
    let last_site = last_site.as_ref().map_or("", SiteId::as_str);
    let (sql, looked_at) = if claim.accepted_since.is_some() { (NEW_DUE, NEW_MAX) } else { (DUE, ORDERED_MAX) };
    let mut params = sought(core, claim, last_site);
    params.add(Type::INT8, looked_at);
    let rows = core.database.query(sql, &params.all()).await?;
    let mut lanes = Lanes::new();
    for row in &rows {
        let site = row::site(row.get(0))?;
        let mut ids: Vec<Uuid> = row.get(1);
        ids.truncate(claim.quota.of(&site));
        lanes.push((site, ids.into()));
    }
    // The server may give them in whichever order.
    lanes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let behind_last = lanes.partition_point(|(site, _)| site.as_str() <= last_site);
    lanes.rotate_left(behind_last);
    let now = rows.first().map(|row| time(row.get(2), "now")).transpose()?;
    Ok(Found { lanes, now })
}

/// Says what is sought: when, behind which site, of which sites, since when, and how much.
fn sought<'c>(core: &Core, claim: &'c Claim, last_site: &'c str) -> Params<'c> {
    let Quota { each, of, partitions } = &claim.quota;
    let named = |has_some: bool| {
        let sites = of.iter().filter(move |(_, most)| (**most > 0) == has_some);
        sites.map(|(site, _)| site.as_str()).collect::<Vec<_>>()
    };
    let mut params = Params::default();
    params.add(Type::INT8, core.now(claim.now));
    params.add(Type::TEXT, last_site);
    params.add(Type::INT8, partitions.bits().cast_signed());
    params.add(Type::TEXT_ARRAY, (*each == 0).then(|| named(true)));
    params.add(Type::TEXT_ARRAY, named(false));
    params.add(Type::INT8, claim.accepted_since.map(Timestamp::as_millisecond));
    params.add(Type::INT8, i64::try_from(claim.max.min(CLAIM_MAX)).unwrap_or(i64::MAX));
    params
}

/// Takes entries, but for those that another has taken meanwhile.
async fn lease(core: &Core, claim: &Claim, ids: &[Uuid], now: Timestamp) -> Result<Vec<Lease>, Failure> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = ids.to_vec();
    let rows = core.database.query(&row::heads("WHERE e.id = ANY($1)"), &[(&ids, Type::UUID_ARRAY)]).await?;
    let mut by_id: HashMap<Uuid, &Row> = rows.iter().map(|row| (row.get(0), row)).collect();
    let mut unreadable = Vec::new();
    let mut taken = Vec::new();
    let mut changes = Vec::new();
    for id in &ids {
        let Some(row) = by_id.remove(id) else { continue };
        let Ok((mut stored, reading)) = read(row) else {
            unreadable.push((*id, row.get(5)));
            continue;
        };
        if stored.standing.due_at.is_none_or(|due_at| due_at > now) {
            continue;
        }
        let revision = stored.standing.revision;
        let token = rand::random();
        stored.standing.claim(token, claim.lease, now);
        changes.push(Written::in_place(&stored, revision));
        taken.push(Lease { head: stored.into_head(reading), token });
    }
    put_off(core, claim, &unreadable).await?;
    let written = write(&core.database, &mut changes).await?;
    taken.retain(|lease| written.contains(&lease.head.id));
    Ok(taken)
}

fn read(row: &Row) -> Result<(Stored, Reading), Failure> {
    let stored = read_standing(row)?;
    Ok((stored, row::reading(row.get(BEHIND_STANDING))?))
}

/// One that cannot be read is leased to nobody: it must not keep the others waiting.
async fn put_off(core: &Core, claim: &Claim, unreadable: &[(Uuid, i64)]) -> Result<(), Failure> {
    if unreadable.is_empty() {
        return Ok(());
    }
    tracing::error!(entries = unreadable.len(), "entries of the store cannot be read; they are not sent");
    core.note_unreadable();
    let (ids, revisions): (Vec<_>, Vec<_>) = unreadable.iter().copied().unzip();
    let mut params = Params::default();
    params.add(Type::UUID_ARRAY, ids);
    params.add(Type::INT8_ARRAY, revisions);
    params.add(Type::INT8, PUT_OFF);
    params.add(Type::INT8, core.now(claim.now));
    core.database.query(PUT_OFF_SQL, &params.all()).await.map(drop)
}

/// Ends waits of a site.
pub(super) async fn make_due(core: &Core, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, Failure> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let now = core.now(now);
    let params = [(&site.as_str() as _, Type::TEXT), (&max as _, Type::INT8), (&now as _, Type::INT8)];
    Ok(core.database.query(MAKE_DUE, &params).await?.len())
}

//! Who does what only one gateway may do: by the server's clock, so that gateways need none in common.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::Core;
use super::batch::Job;
use super::failure::Failure;
use super::row::now;
use crate::queue::standing::whole_millisecond;
use crate::queue::{HOLDS_MAX, Key};

/// A name that is asked for.
pub(super) struct Asking {
    name: Key,
    holder: Key,
    ttl: Duration,
    now: Timestamp,
}

impl Asking {
    pub(super) fn new(name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Self {
        Self { name: name.clone(), holder: holder.clone(), ttl, now: whole_millisecond(now) }
    }
}

/// Takes, renews or leaves names, as [`Hold::ask`](crate::queue::holds::Hold::ask) says. One that waited for another's row looks at an
/// older time than that one: it is no clock that went back.
const HOLD: &str = concat!(
    "
WITH given AS MATERIALIZED (
    SELECT name, holder, ttl, ",
    now!("at"),
    " AS now FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS g(name, holder, ttl, at)
)
INSERT INTO formgate.hold AS h (name, holder, since, until)
SELECT name, holder, now, now + ttl FROM given g
WHERE EXISTS (SELECT FROM formgate.hold WHERE name = g.name) OR (SELECT count(*) FROM formgate.hold) < $5
ORDER BY name COLLATE \"C\"
ON CONFLICT (name) DO UPDATE SET
    holder = CASE WHEN h.holder = excluded.holder OR h.until <= excluded.since THEN excluded.holder ELSE h.holder END,
    since = excluded.since,
    until = CASE WHEN h.holder = excluded.holder OR h.until <= excluded.since THEN excluded.until
        ELSE excluded.since + (h.until - h.since) END
WHERE h.holder = excluded.holder OR h.until <= excluded.since OR h.since > excluded.since + 60000
RETURNING name, holder"
);

const FREE: &str = concat!("DELETE FROM formgate.hold WHERE until <= ", now!("$1"));

/// Asks for a batch of names: each is told whether it is held now.
pub(super) async fn hold(core: Arc<Core>, jobs: Vec<Job<Asking, bool>>) {
    let mut left = jobs;
    while !left.is_empty() {
        let mut names = HashSet::new();
        let (batch, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|job| names.insert(job.what.name.clone()));
        hold_batch(&core, batch).await;
        left = later;
    }
}

async fn hold_batch(core: &Core, batch: Vec<Job<Asking, bool>>) {
    let asked: Vec<&Asking> = batch.iter().map(|job| &job.what).collect();
    let held = match ask(core, &asked).await {
        Ok(held) => held,
        Err(failure) => return batch.into_iter().for_each(|job| job.end(Err(failure.clone()))),
    };
    for job in batch {
        let is_held = held.contains(&(job.what.name.as_str().to_owned(), job.what.holder.as_str().to_owned()));
        job.end(Ok(is_held));
    }
}

/// Returns what is held now of what was asked for.
async fn ask(core: &Core, asked: &[&Asking]) -> Result<HashSet<(String, String)>, Failure> {
    let held = try_to_hold(core, asked).await?;
    if held.len() == asked.len() || !is_full(core).await? {
        return Ok(held);
    }
    // Those that ran out make room.
    let now = core.now(asked.first().map_or(Timestamp::MIN, |asking| asking.now));
    core.database.query(FREE, &[(&now, Type::INT8)]).await?;
    try_to_hold(core, asked).await
}

async fn is_full(core: &Core) -> Result<bool, Failure> {
    let most = i64::try_from(HOLDS_MAX).unwrap_or(i64::MAX);
    let rows = core.database.query("SELECT count(*) >= $1 FROM formgate.hold", &[(&most, Type::INT8)]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

async fn try_to_hold(core: &Core, asked: &[&Asking]) -> Result<HashSet<(String, String)>, Failure> {
    let names: Vec<&str> = asked.iter().map(|asking| asking.name.as_str()).collect();
    let holders: Vec<&str> = asked.iter().map(|asking| asking.holder.as_str()).collect();
    let ttls: Vec<i64> =
        asked.iter().map(|asking| i64::try_from(asking.ttl.as_millis()).unwrap_or(i64::MAX / 4)).collect();
    let times: Vec<Option<i64>> = asked.iter().map(|asking| core.now(asking.now)).collect();
    let most = i64::try_from(HOLDS_MAX).unwrap_or(i64::MAX);
    let params = [
        (&names as _, Type::TEXT_ARRAY),
        (&holders as _, Type::TEXT_ARRAY),
        (&ttls as _, Type::INT8_ARRAY),
        (&times as _, Type::INT8_ARRAY),
        (&most as _, Type::INT8),
    ];
    let rows = core.database.query(HOLD, &params).await?;
    let held: HashSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(held)
}

/// Gives a name back.
pub(super) async fn release(core: &Core, name: &Key, holder: &Key) -> Result<bool, Failure> {
    const RELEASE: &str = "DELETE FROM formgate.hold WHERE name = $1 AND holder = $2 RETURNING name";
    let params = [(&name.as_str() as _, Type::TEXT), (&holder.as_str() as _, Type::TEXT)];
    Ok(!core.database.query(RELEASE, &params).await?.is_empty())
}

//! Entries go: erased because somebody asked for it, or because they were kept long enough.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failure::Failure;
use super::row::uuid;
use super::{Core, notes};
use crate::lead::EntryId;
use crate::queue::standing::whole_millisecond;
use crate::queue::{EXPIRE_MAX, StoreError};

const ERASE: &str = "
WITH keys AS (DELETE FROM formgate.dedupe WHERE id = ANY($1)),
    contents AS (DELETE FROM formgate.content WHERE id = ANY($1)),
    entries AS (DELETE FROM formgate.entry WHERE id = ANY($1) RETURNING id, site, state, bytes),
    tallied AS (
        INSERT INTO formgate.tally_change SELECT site, state, -count(*), -sum(bytes) FROM entries GROUP BY site, state
    )
SELECT id FROM entries";

const EXPIRE: &str = "
WITH over AS (
    SELECT e.id FROM formgate.entry e WHERE e.expires_at IS NOT NULL AND e.expires_at <= $1 AND e.state <> 0
    ORDER BY e.expires_at, e.id LIMIT $2 FOR UPDATE SKIP LOCKED
), keys AS (DELETE FROM formgate.dedupe WHERE id IN (SELECT id FROM over)),
    contents AS (DELETE FROM formgate.content WHERE id IN (SELECT id FROM over)),
    entries AS (
    DELETE FROM formgate.entry WHERE id IN (SELECT id FROM over) RETURNING id, site, form, state, reason, expires_at, bytes
), tallied AS (
    INSERT INTO formgate.tally_change SELECT site, state, -count(*), -sum(bytes) FROM entries GROUP BY site, state
), told AS (
    INSERT INTO formgate.unnumbered (at, entry, site, form, from_state, reason)
    SELECT $1, id, site, form, state, reason FROM entries
    WHERE $3 AND EXISTS (SELECT FROM formgate.reader) ORDER BY expires_at, id
)
SELECT id FROM entries";

/// Makes the pages of what is gone fit to be used again; a vacuum waits for nobody, and nobody for it.
const CLEAN: [&str; 2] = ["VACUUM formgate.content", "VACUUM formgate.entry"];

/// Where bytes of what was erased may still be, and what ends that.
const REMAINS: [&str; 4] = [
    "the database's free pages, until they are written over",
    "its write-ahead log (pg_wal), until the server recycles that",
    "its standbys and archived log",
    "its backups, until you delete them",
];

/// Erases entries. They can't be read any more when it returns; where anything was erased, an error names the places in which
/// bytes of it may still lie, since no client reaches those.
pub(super) async fn erase(core: &Arc<Core>, ids: &[EntryId]) -> Result<usize, StoreError> {
    let ids: Vec<Uuid> = ids.iter().copied().map(uuid).collect();
    let erased = core.database.query(ERASE, &[(&ids, Type::UUID_ARRAY)]).await?.len();
    if erased == 0 {
        return Ok(0);
    }
    let cleaned = Arc::clone(core);
    core.runtime.spawn(async move {
        for table in CLEAN {
            if let Err(failure) = cleaned.database.command(table).await {
                let error = StoreError::from(failure);
                tracing::warn!(%error, "queue.vacuum_failed: what was erased is gone, its pages wait for autovacuum");
            }
        }
    });
    Err(StoreError::Remains { erased, places: REMAINS.map(str::to_owned).into() })
}

/// Removes entries and notes that were kept long enough.
pub(super) async fn expire(core: &Core, now: Timestamp, limit: usize) -> Result<usize, Failure> {
    let now = whole_millisecond(now);
    let limit = limit.min(EXPIRE_MAX);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let at = now.as_millisecond();
    let is_told = core.filter().others;
    let params = [(&at as _, Type::INT8), (&most as _, Type::INT8), (&is_told as _, Type::BOOL)];
    let expired = core.database.query(EXPIRE, &params).await?.len();
    notes::expire(core, now, limit).await?;
    Ok(expired)
}

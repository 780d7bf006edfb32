//! The indexes that came after the first step. They are made beside the gateways' work: within a step's transaction the table would
//! take no writes meanwhile, for some seconds with ten million entries. Statements go by the former ones until then.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::Core;
use super::failure::Failure;
use super::transaction::Lock;
use crate::queue::StoreError;

/// An index, and what it has.
struct Index {
    name: &'static str,
    of: &'static str,
}

const INDEXES: [Index; 4] = [
    Index { name: "entry_state", of: "(state, id)" },
    Index { name: "entry_site_state", of: "(site, state, id)" },
    // Has all that is counted, in the order in which it is counted.
    Index {
        name: "entry_cause",
        of: "(state, reason, detail, site, id) INCLUDE (form, accepted_at)
            WHERE state IN (1, 3) AND detail_revision = revision",
    },
    Index { name: "entry_untold", of: "(id) WHERE state IN (1, 3) AND detail_revision IS DISTINCT FROM revision" },
];

/// What they take the place of.
const FORMER: [&str; 3] = ["entry_open", "entry_site_open", "entry_site"];

/// From one look to the next while they aren't there: each that fails doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Returns what makes them in a store that has no entries yet.
pub(super) fn of_new_store() -> String {
    let make = INDEXES.iter().map(|Index { name, of }| format!("CREATE INDEX {name} ON formgate.entry {of};"));
    let remove = FORMER.iter().map(|name| format!("DROP INDEX formgate.{name};"));
    make.chain(remove).collect()
}

/// Tells whether all are there.
pub(super) async fn are_there(core: &Core) -> Result<bool, Failure> {
    if core.has_indexes.load(Ordering::Relaxed) {
        return Ok(true);
    }
    let has_all = has_all(&found(core).await?);
    core.has_indexes.store(has_all, Ordering::Relaxed);
    Ok(has_all)
}

/// Makes those that are missing, and removes the former ones, until all is done or the store is dropped.
pub(super) async fn keep(core: Weak<Core>) {
    let mut wait = FIRST_WAIT;
    loop {
        // Those that began together don't go on together.
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.75..1.25))).await;
        let Some(core) = core.upgrade() else { return };
        match make(&core).await {
            Ok(true) => return,
            Ok(false) => wait = FIRST_WAIT,
            // Told where it failed; a server that is away is told by whatever is asked of it.
            Err(_failure) => wait = wait.saturating_mul(2).min(LONGEST_WAIT),
        }
    }
}

/// Makes what is missing; tells whether nothing is left to do.
async fn make(core: &Core) -> Result<bool, Failure> {
    if has_all(&found(core).await?) && !has_former(core).await? {
        return Ok(true);
    }
    // One gateway does: two that make indexes of one table wait for each other.
    let Some(alone) = core.database.begin_alone(Lock::Indexes).await? else { return Ok(false) };
    let found = found(core).await?;
    // The server goes on with an index after the gateway that asked for it has gone.
    if found.iter().any(|found| found.is_being_made) {
        return Ok(false);
    }
    for command in commands(&found) {
        tracing::info!(command, "queue.index: making or removing an index; leads don't wait for it");
        // Without the lock another gateway may be at it.
        alone.stay().await?;
        if let Err(failure) = core.database.long_command(&command).await {
            let error = StoreError::from(failure.clone());
            tracing::warn!(%error, command, "queue.index_failed: lists stay slow until this works; trying again later");
            return Err(failure);
        }
    }
    // All is done, whatever became of it.
    drop(alone.commit().await);
    are_there(core).await
}

/// Returns what makes them of those that were found.
fn commands(found: &[Found]) -> Vec<String> {
    let mut commands = Vec::new();
    for Index { name, of } in &INDEXES {
        let former = found.iter().find(|found| found.name == *name);
        // Left behind by a gateway that was stopped.
        if former.is_some_and(|found| !found.is_valid) {
            commands.push(format!("DROP INDEX CONCURRENTLY IF EXISTS formgate.{name}"));
        }
        if former.is_none_or(|found| !found.is_valid) {
            commands.push(format!("CREATE INDEX CONCURRENTLY {name} ON formgate.entry {of}"));
        }
    }
    commands.extend(FORMER.map(|name| format!("DROP INDEX CONCURRENTLY IF EXISTS formgate.{name}")));
    commands
}

fn has_all(found: &[Found]) -> bool {
    found.iter().filter(|found| found.is_valid).count() == INDEXES.len()
}

async fn has_former(core: &Core) -> Result<bool, Failure> {
    const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'formgate' AND c.relname = ANY($1))";
    let rows = core.database.query(IS_THERE, &[(&FORMER.to_vec(), Type::TEXT_ARRAY)]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// An index that is there.
struct Found {
    name: String,
    /// It is whole, and statements go by it.
    is_valid: bool,
    is_being_made: bool,
}

async fn found(core: &Core) -> Result<Vec<Found>, Failure> {
    const FOUND: &str = "SELECT c.relname::text, i.indisvalid, p.pid IS NOT NULL
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
        LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = c.oid
        WHERE n.nspname = 'formgate' AND c.relname = ANY($1)";
    let names: Vec<&str> = INDEXES.iter().map(|index| index.name).collect();
    let rows = core.database.query(FOUND, &[(&names, Type::TEXT_ARRAY)]).await?;
    let read = |row: &tokio_postgres::Row| Found { name: row.get(0), is_valid: row.get(1), is_being_made: row.get(2) };
    Ok(rows.iter().map(read).collect())
}

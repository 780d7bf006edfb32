//! Which store a configuration names, opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Config, Origin, StoreUrl};
use crate::postgres_url::PostgresUrl;
use crate::queue::memory::MemoryStore;
use crate::queue::postgres::{self, PostgresStore, StoreClock};
use crate::queue::spool::SpoolingStore;
use crate::queue::sqlite::{self, SqliteStore};
use crate::queue::{OpenStore, Store as _, StoreError};

/// How long a start waits for a database on another machine before it takes leads without it.
const FIRST_ANSWER: Duration = Duration::from_secs(8);

/// Opens the store the configuration names, to look into it beside a gateway or without one.
pub fn open_store(config: &Config) -> Result<OpenStore, StoreError> {
    match &config.queue.url {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new(config.queue.dedupe)).into()),
        StoreUrl::Sqlite(path) => Ok(Arc::new(open_file(config, path)?).into()),
        StoreUrl::Postgres(url) => Ok(OpenStore::shared(Arc::new(open_postgres(config, url)?))),
    }
}

/// Opens the store that a gateway serves from: where it is on other machines, with a spool on this one.
pub(super) fn open_to_serve(config: &Config) -> Result<OpenStore, StoreError> {
    let (StoreUrl::Postgres(url), Some(data)) = (&config.queue.url, config.data_folder()) else {
        return open_store(config);
    };
    let remote = Arc::new(open_postgres(config, url)?);
    let spool = Arc::new(open_file(config, &spool_in(data))?);
    Ok(SpoolingStore::new(remote, spool, Timestamp::now()).into())
}

/// Checks before a start that a database on other machines can be used. One that can't be reached is no error: leads are taken
/// into the spool until it can.
///
/// Where the store is none on other machines any more, what a gateway left in its spool would never be sent: that is an error.
pub async fn check_store(config: &Config, origin: &Origin) -> Result<(), StoreError> {
    let StoreUrl::Postgres(url) = &config.queue.url else { return check_no_spool(config, origin).await };
    let store = open_postgres(config, url)?;
    let away: Box<dyn std::error::Error + Send + Sync> = match tokio::time::timeout(FIRST_ANSWER, store.prepare()).await
    {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error @ (StoreError::Unfit { .. } | StoreError::Newer { .. }))) => return Err(error),
        Ok(Err(error)) => Box::new(error),
        Err(elapsed) => Box::new(elapsed),
    };
    let error: &dyn std::error::Error = &*away;
    tracing::error!(error, database = %url, "store.away: the database can't be used; leads are taken into the spool until it can");
    Ok(())
}

/// Makes sure that no lead lies in a spool that this configuration doesn't use.
async fn check_no_spool(config: &Config, origin: &Origin) -> Result<(), StoreError> {
    let beside = origin.default_data_folder();
    let other = config.data_folder().filter(|data| *data != beside);
    for data in other.into_iter().chain([&*beside]) {
        let file = spool_in(data);
        if !file.exists() {
            continue;
        }
        let entries: u64 = open_file(config, &file)?.counts().await?.iter().map(|count| count.entries).sum();
        if entries > 0 {
            return Err(StoreError::Unused { spool: file, entries });
        }
    }
    Ok(())
}

/// Returns the file of the spool, in the data folder.
fn spool_in(data: &Path) -> PathBuf {
    data.join("spool").join("spool.db")
}

fn open_file(config: &Config, path: &Path) -> Result<SqliteStore, StoreError> {
    let dedupe_window = config.queue.dedupe;
    let max_size = Some(config.queue.max_size);
    SqliteStore::open(path, sqlite::Options { dedupe_window, max_size, opened_at: Timestamp::now() })
}

fn open_postgres(config: &Config, url: &PostgresUrl) -> Result<PostgresStore, StoreError> {
    let dedupe_window = config.queue.dedupe;
    let max_size = Some(config.queue.max_size);
    PostgresStore::open(url, postgres::Options { dedupe_window, max_size, clock: StoreClock::Server })
}

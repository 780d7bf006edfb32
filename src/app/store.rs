//! Which store a configuration names, opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Config, StoreUrl};
use crate::postgres_url::PostgresUrl;
use crate::queue::memory::MemoryStore;
use crate::queue::postgres::{self, PostgresStore, StoreClock};
use crate::queue::spool::SpoolingStore;
use crate::queue::sqlite::{self, SqliteStore};
use crate::queue::{OpenStore, StoreError};

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
    let spool = Arc::new(open_file(config, &data.join("spool").join("spool.db"))?);
    Ok(SpoolingStore::new(remote, spool, Timestamp::now()).into())
}

/// Checks before a start that a database on other machines can be used. One that can't be reached is no error: leads are taken
/// into the spool until it can.
pub async fn check_store(config: &Config) -> Result<(), StoreError> {
    let StoreUrl::Postgres(url) = &config.queue.url else { return Ok(()) };
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

fn open_file(config: &Config, path: &Path) -> Result<SqliteStore, StoreError> {
    let (dedupe_window, max_size) = (config.queue.dedupe, Some(config.queue.max_size));
    SqliteStore::open(path, sqlite::Options { dedupe_window, max_size, opened_at: Timestamp::now() })
}

fn open_postgres(config: &Config, url: &PostgresUrl) -> Result<PostgresStore, StoreError> {
    let (dedupe_window, max_size) = (config.queue.dedupe, Some(config.queue.max_size));
    PostgresStore::open(url, postgres::Options { dedupe_window, max_size, clock: StoreClock::Server })
}

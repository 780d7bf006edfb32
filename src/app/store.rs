//! Which store a configuration names, opened.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, StoreUrl};
use crate::queue::memory::MemoryStore;
use crate::queue::postgres::{self, PostgresStore, StoreClock};
use crate::queue::sqlite::{self, SqliteStore};
use crate::queue::{OpenStore, StoreError};

/// Opens the store the configuration names.
pub fn open_store(config: &Config) -> Result<OpenStore, StoreError> {
    let (dedupe_window, max_size) = (config.queue.dedupe, Some(config.queue.max_size));
    match &config.queue.url {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new(dedupe_window)).into()),
        StoreUrl::Sqlite(path) => {
            let options = sqlite::Options { dedupe_window, max_size, opened_at: Timestamp::now() };
            Ok(Arc::new(SqliteStore::open(path, options)?).into())
        }
        StoreUrl::Postgres(url) => {
            let options = postgres::Options { dedupe_window, max_size, clock: StoreClock::Server };
            Ok(OpenStore::shared(Arc::new(PostgresStore::open(url, options)?)))
        }
    }
}

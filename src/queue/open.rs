//! A store that is open, with what only a file on this machine can do.

use std::sync::Arc;

use super::Store;
use super::memory::MemoryStore;
use super::spool::SpoolingStore;
use super::sqlite::SqliteStore;

/// A store that is open. Clones are the same store.
///
/// Most need nothing but a [`Store`]. Copying it to a path and salvaging what was set aside need a file on this machine,
/// which not every store is: whoever does so asks for [`OpenStore::file`].
#[derive(Clone)]
pub struct OpenStore {
    store: Arc<dyn Store>,
    file: Option<Arc<SqliteStore>>,
    spool: Option<SpoolingStore>,
    is_shared: bool,
}

/// The store is not a file on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store is not a file on this machine, so it can't be copied: set [queue].url to sqlite:PATH, or use the \
     database's own backup"
)]
pub struct NoFile;

impl OpenStore {
    /// A store that gateways on several machines share: each sends for some of the sites.
    pub fn shared(store: Arc<dyn Store>) -> Self {
        Self { store, file: None, spool: None, is_shared: true }
    }

    /// Tells whether gateways on several machines may share it. One that doesn't share it sends for all sites.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the store for whoever keeps it.
    pub fn share(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Returns the store as what it is on this machine: one file.
    pub fn file(&self) -> Result<&SqliteStore, NoFile> {
        self.file.as_deref().ok_or(NoFile)
    }

    /// Returns the store as one that has a spool on this machine, if it is one.
    pub fn spooling(&self) -> Option<&SpoolingStore> {
        self.spool.as_ref()
    }
}

impl From<Arc<SqliteStore>> for OpenStore {
    fn from(file: Arc<SqliteStore>) -> Self {
        Self { store: Arc::<SqliteStore>::clone(&file), file: Some(file), spool: None, is_shared: false }
    }
}

impl From<Arc<MemoryStore>> for OpenStore {
    fn from(store: Arc<MemoryStore>) -> Self {
        Self { store, file: None, spool: None, is_shared: false }
    }
}

impl From<SpoolingStore> for OpenStore {
    /// Of a store that gateways share, with a spool of this one's own.
    fn from(store: SpoolingStore) -> Self {
        Self { store: Arc::new(store.clone()), file: None, spool: Some(store), is_shared: true }
    }
}

impl From<Arc<dyn Store>> for OpenStore {
    /// Of a store of any kind: nothing is known of a file.
    fn from(store: Arc<dyn Store>) -> Self {
        Self { store, file: None, spool: None, is_shared: false }
    }
}

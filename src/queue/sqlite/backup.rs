//! Copying the store while it is in use.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::SqliteStore;
use super::copy_check::count;
use super::failure::{CopyExists, CopyHeld, Failure};
use super::files::sync_folder;
use crate::queue::{StoreError, private_file};

/// Pages copied in one step: 1 MiB.
const STEP_PAGES: i32 = 256;

impl SqliteStore {
    /// Copies the whole store as it is now into a new file, while it is in use; returns how many entries that holds.
    ///
    /// Refuses a file that exists. The copy is durable when it returns, and is opened as a store by itself.
    pub async fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        let to = to.to_owned();
        self.enter_if_possible().await;
        self.readers.read(move |connection| copy(connection, &to)).await
    }
}

/// Copies what the connection's snapshot shows into a new file; returns how many entries that holds.
///
/// The snapshot is one of the log, so nobody who writes waits. The log grows meanwhile, and can't be emptied: an erasure
/// during a copy says that bytes remain.
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<u64, Failure> {
    if to.exists() {
        return Err(Failure::unavailable(CopyExists { file: to.to_owned() }));
    }
    // The first read fixes the snapshot.
    let entries = count(connection)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Under a name of its own (and mode 0600) until it is whole.
    let file = NamedTempFile::with_prefix_in(".formgate-backup-", folder)?;
    let mut copy = Connection::open(file.path())?;
    let backup = Backup::new(connection, &mut copy)?;
    loop {
        match backup.step(STEP_PAGES)? {
            StepResult::Done => break,
            StepResult::More => {}
            // Nobody else has the copy open.
            _ => return Err(Failure::unavailable(CopyHeld)),
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| error)?;
    file.as_file().sync_all()?;
    private_file::adopt(file.as_file(), to)?;
    file.persist_noclobber(to).map_err(|error| error.error)?;
    sync_folder(to)?;
    Ok(entries)
}

//! Putting a copy in the store's place: copied beside it and checked there, and renamed last.
//!
//! The lock that says that a process has the store open is held alone from beginning to end, so no gateway runs
//! meanwhile. Until the last step the store at hand is as it was; what stood in its place is kept beside it. What a
//! killed restore leaves is removed by whoever next has the store to itself.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use super::failure::Failure;
use super::files::{Presence, beside, sync_folder};
use super::{aside, check, connection, copy_check};
use crate::queue::StoreError;

/// Stands in the name of the folder in which a copy is prepared, after the store's name.
const STAGING: &str = ".restore-";

/// Why a copy was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("a gateway or another command has the store {} open", store.display())]
    InUse { store: PathBuf },
    #[error("{} is the store itself", file.display())]
    Same { file: PathBuf },
    #[error("{} is not a file", file.display())]
    NotAFile { file: PathBuf },
    #[error("{} can't be restored", file.display())]
    Copy {
        file: PathBuf,
        #[source]
        source: StoreError,
    },
    #[error("{} can't be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A copy that is to take the store's place. Dropping it leaves the store as it is.
#[derive(Debug)]
pub struct Restoration {
    store: PathBuf,
    /// Beside the store, so that the last step is a rename; holds nothing else, and goes with what is left in it.
    staging: TempDir,
    entries: u64,
    _alone: Presence,
}

impl Restoration {
    /// Copies and checks. Blocks as long as that takes.
    pub fn begin(store: &Path, copy: &Path) -> Result<Self, RestoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| RestoreError::File { path, source }
        };
        let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let store = match store.canonicalize() {
            Ok(store) => store,
            Err(_missing) => folder.canonicalize().map_err(at(folder))?.join(store.file_name().unwrap_or_default()),
        };
        let alone = Presence::alone(&store).map_err(at(&store))?;
        let alone = alone.ok_or_else(|| RestoreError::InUse { store: store.clone() })?;
        let found = copy.metadata().map_err(at(copy))?;
        if store.metadata().is_ok_and(|store| (store.dev(), store.ino()) == (found.dev(), found.ino())) {
            return Err(RestoreError::Same { file: copy.to_owned() });
        }
        // A pipe would be waited for without end.
        if !found.is_file() {
            return Err(RestoreError::NotAFile { file: copy.to_owned() });
        }
        // Else the error would name the file it is copied to.
        drop(fs::File::open(copy).map_err(at(copy))?);
        let folder = store.parent().unwrap_or(Path::new("/"));
        remove_interrupted(&store).map_err(at(folder))?;
        let staging = tempfile::Builder::new().prefix(&staging_name(&store)).tempdir_in(folder).map_err(at(folder))?;
        let mut restoration = Self { store, staging, entries: 0, _alone: alone };
        let staged = restoration.staged();
        fs::copy(copy, &staged).map_err(at(&staged))?;
        let checked = fold_log_in(copy, &staged).and_then(|()| copy_check::check_copy(&staged));
        restoration.entries = checked.map_err(|source| RestoreError::Copy { file: copy.to_owned(), source })?;
        Ok(restoration)
    }

    /// Where the copy is until the end: a store that may be opened, and must be closed again.
    pub fn staged(&self) -> PathBuf {
        self.staging.path().join("store.db")
    }

    /// Returns how many entries the copy holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts what is queued or held in the store at hand; none where that can't be read, or isn't there.
    pub fn waiting_in_store(&self) -> Option<u64> {
        let connection = self.store.exists().then(|| connection::open_writer(&self.store).ok()).flatten()?;
        copy_check::count_waiting(&connection).ok()
    }

    /// Puts the copy in the store's place; returns where the former store is now, if there was one.
    pub fn finish(self, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
        let staged = self.staged();
        let failed = |source| RestoreError::File { path: self.store.clone(), source };
        own_as(&self.store, &staged).map_err(failed)?;
        fs::File::open(&staged).and_then(|file| file.sync_all()).map_err(failed)?;
        // Closing the last connection copies the log into the database and removes it. A damaged store keeps its log.
        if let Ok(connection) = connection::open_writer(&self.store) {
            drop(connection.close());
        }
        let aside = aside::replace(&self.store, &staged, now).map_err(failed)?;
        check::forget(&self.store).map_err(failed)?;
        sync_folder(&self.store).map_err(failed)?;
        Ok(aside)
    }
}

/// Removes what a killed restore left: it holds all that visitors wrote, where nobody would look for it.
///
/// Only who is alone with the store may: another process may be in the middle of it.
pub(super) fn remove_interrupted(store: &Path) -> io::Result<()> {
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = staging_name(store);
    for found in folder.read_dir()? {
        let found = found?;
        let is_staging = found.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        if is_staging && found.file_type()?.is_dir() {
            fs::remove_dir_all(found.path())?;
        }
    }
    Ok(())
}

/// The store's name is part of it: other stores of this folder have locks of their own.
fn staging_name(store: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(store.file_name().unwrap_or_default());
    name.push(STAGING);
    name
}

/// A store that was copied as files may have its newest entries in a log beside it.
fn fold_log_in(copy: &Path, staged: &Path) -> Result<(), StoreError> {
    let log = beside(copy, "-wal");
    if !log.metadata().is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    fs::copy(&log, beside(staged, "-wal")).map_err(Failure::from)?;
    let connection = connection::open_writer(staged)?;
    connection.close().map_err(|(_, error)| Failure::from(error))?;
    Ok(())
}

/// Gives the copy the owner and the mode of what it replaces, else its folder's owner: this may be run by root, and the
/// gateway by a user of its own.
fn own_as(store: &Path, staged: &Path) -> io::Result<()> {
    let folder = store.parent().unwrap_or(Path::new("/"));
    let (like, mode) = match store.metadata() {
        Ok(store) => (store.clone(), store.permissions()),
        Err(_missing) => (folder.metadata()?, std::os::unix::fs::PermissionsExt::from_mode(0o600)),
    };
    let ours = staged.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        match chown(staged, Some(like.uid()), Some(like.gid())) {
            // The owner may not be of the folder's group, and reads the store all the same.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && ours.uid() == like.uid() => {}
            given => given?,
        }
    }
    fs::set_permissions(staged, mode)
}

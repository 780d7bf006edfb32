//! Which files a configuration was read from, and whether they are still the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::include;
use super::recurring::folder_of;

/// The files that were read, also those that were missing, and what each pattern of an `include` found.
///
/// Each is looked at before it is read, so that what changes meanwhile is seen as a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    files: BTreeMap<PathBuf, Option<Stamp>>,
    listings: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// What tells one version of a file from the next, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    /// Another file under the same name: how most editors save, and how mounted secrets change.
    identity: (u64, u64),
    /// Changes also where a time of modification was set by hand.
    changed: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of a file; none where there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let (identity, changed) = unix_parts(&found);
        Some(Self { modified: found.modified().ok(), size: found.len(), identity, changed })
    }
}

#[cfg(unix)]
fn unix_parts(found: &std::fs::Metadata) -> ((u64, u64), (i64, i64)) {
    use std::os::unix::fs::MetadataExt as _;
    ((found.dev(), found.ino()), (found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn unix_parts(_found: &std::fs::Metadata) -> ((u64, u64), (i64, i64)) {
    ((0, 0), (0, 0))
}

impl Watched {
    pub(super) fn add_file(&mut self, path: PathBuf, stamp: Option<Stamp>) {
        self.files.insert(path, stamp);
    }

    pub(super) fn add_listing(&mut self, pattern: PathBuf, found: Vec<PathBuf>) {
        self.listings.insert(pattern, found);
    }

    /// Returns the folder of each pattern.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.listings.keys().map(|pattern| folder_of(pattern)).collect()
    }

    /// Tells whether a pattern found a file.
    pub(super) fn lists(&self, path: &Path) -> bool {
        self.listings.values().any(|found| found.iter().any(|file| file == path))
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.listings.extend(other.listings);
    }

    /// Looks at the same files again, and at those that are new in a listing: they may be being written.
    pub(super) fn look_again(&self) -> Self {
        let listings: BTreeMap<_, _> =
            self.listings.keys().map(|pattern| (pattern.clone(), include::found(pattern))).collect();
        let new = listings.values().flatten().filter(|path| !self.files.contains_key(*path));
        let files = self.files.keys().chain(new).map(|path| (path.clone(), Stamp::of(path))).collect();
        Self { files, listings }
    }
}

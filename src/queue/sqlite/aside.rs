//! Files that were set aside because they are corrupt, those that were salvaged since, and those that a copy replaced.
//! None is ever removed here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;

use super::backup;
use super::failure::Failure;
use super::files::{beside, sync_folder};
use crate::queue::StoreError;
use crate::telemetry;

/// Comes between the database's name and the time it was set aside.
const CORRUPT: &str = ".corrupt-";
/// Takes the place of [`CORRUPT`] when what can be read was merged back.
const SALVAGED: &str = ".salvaged-";
/// Comes between the database's name and the time at which a copy took its place.
const REPLACED: &str = ".replaced-";
/// Ends the name of the copy that is kept of a store of a former version.
const FORMER: &str = ".former";
/// The database, its log, the log's index, and what an interrupted change of the journal's mode leaves.
const PARTS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// Most files of one second.
const SAME_TIME_MAX: u32 = 1_000;

/// Copies a database whose file is gone to where it would be if it had been set aside, and says so.
pub(super) fn rescue(connection: &Connection, path: &Path, opened_at: Timestamp) {
    let copied = || {
        let aside = free_name(path, CORRUPT, opened_at)?;
        backup::copy(connection, &aside)?;
        Ok::<_, Failure>(aside)
    };
    match copied() {
        Ok(file) => tracing::error!(
            file = %file.display(),
            "queue.removed: the store's file was removed or replaced; nothing is taken until the next start, then run \
             `formgate leads salvage`: what it held is copied"
        ),
        Err(failure) => tracing::error!(
            error = %StoreError::from(failure),
            "queue.removed: the store's file was removed or replaced, and what it held could not be copied"
        ),
    }
}

/// Sets a database aside with its log; returns its new path.
pub(super) fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = free_name(path, CORRUPT, now)?;
    rename_parts(path, &aside)?;
    Ok(aside)
}

/// Puts a file in the database's place and keeps what stood there beside it; returns its new path, if there was any.
///
/// Where the log was emptied before, there is no moment without a database.
pub(super) fn replace(path: &Path, with: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let is_there = PARTS.iter().any(|part| beside(path, part).exists());
    if !is_there {
        std::fs::rename(with, path)?;
        return Ok(None);
    }
    let aside = free_name(path, REPLACED, now)?;
    let has_log = beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
    let linked = !has_log && std::fs::hard_link(path, &aside).is_ok();
    if linked {
        // They belong to the database that goes; SQLite would take them for the new one's.
        for part in PARTS.into_iter().filter(|part| !part.is_empty()) {
            remove_if_there(&beside(path, part))?;
        }
    } else {
        rename_parts(path, &aside)?;
    }
    std::fs::rename(with, path)?;
    Ok(Some(aside))
}

pub(super) fn remove_if_there(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the copy is that is kept of a store of a former version.
pub(super) fn former_copy(path: &Path) -> PathBuf {
    beside(path, FORMER)
}

/// Keeps that copy as if the store had been set aside: not all of it was brought over.
pub(super) fn keep_former(path: &Path, copy: &Path, now: Timestamp) -> io::Result<()> {
    std::fs::rename(copy, free_name(path, CORRUPT, now)?)?;
    sync_folder(path)
}

/// Lists what was set aside and is not yet salvaged, the newest first.
pub(super) fn corrupt(path: &Path) -> io::Result<Vec<PathBuf>> {
    list(path, &[CORRUPT])
}

/// Tells of the newest that is not yet salvaged.
pub(super) async fn told(path: PathBuf) -> Result<Option<StoreError>, StoreError> {
    let listed = telemetry::blocking(move || corrupt(&path)).await.map_err(Failure::unavailable)?;
    let newest = listed.map_err(Failure::from)?.into_iter().next();
    Ok(newest.map(|file| StoreError::SetAside { file }))
}

/// Lists all that was ever set aside and is still there, the newest first.
pub(super) fn all(path: &Path) -> io::Result<Vec<PathBuf>> {
    list(path, &[CORRUPT, SALVAGED, REPLACED, FORMER])
}

/// Remembers that what can be read was merged back; returns the file's new path.
pub(super) fn mark_salvaged(path: &Path, file: &Path) -> io::Result<PathBuf> {
    let known = beside(path, CORRUPT);
    let time = file.as_os_str().as_encoded_bytes().strip_prefix(known.as_os_str().as_encoded_bytes());
    let Some(time) = time.and_then(|time| std::str::from_utf8(time).ok()) else { return Ok(file.to_owned()) };
    let salvaged = beside(path, &format!("{SALVAGED}{time}"));
    rename_parts(file, &salvaged)?;
    Ok(salvaged)
}

fn free_name(path: &Path, mark: &str, time: Timestamp) -> io::Result<PathBuf> {
    let time = time.strftime("%Y%m%dT%H%M%SZ");
    let taken = |name: &PathBuf| PARTS.iter().any(|part| beside(name, part).exists());
    let mut names = (1..=SAME_TIME_MAX).map(|number| match number {
        1 => beside(path, &format!("{mark}{time}")),
        number => beside(path, &format!("{mark}{time}-{number}")),
    });
    names.find(|name| !taken(name)).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

fn rename_parts(from: &Path, to: &Path) -> io::Result<()> {
    for part in PARTS {
        match std::fs::rename(beside(from, part), beside(to, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_folder(to)
}

fn list(path: &Path, marks: &[&str]) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = BTreeSet::new();
    for file in folder.read_dir()? {
        let file = file?.file_name();
        let of_ours = |mark: &&str| {
            let prefix = [name.as_encoded_bytes(), mark.as_bytes()].concat();
            file.as_encoded_bytes().starts_with(&prefix)
        };
        if marks.iter().any(of_ours) {
            found.insert(folder.join(without_part(&file)));
        }
    }
    Ok(found.into_iter().rev().collect())
}

/// Returns the name of the database to which a file belongs.
fn without_part(file: &OsStr) -> &OsStr {
    let text = file.to_str();
    let cut = text.and_then(|text| PARTS.iter().rev().find_map(|part| text.strip_suffix(part)));
    cut.map_or(file, OsStr::new)
}

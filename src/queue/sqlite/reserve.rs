//! Room kept for a full disk: a file beside the store, whose blocks are given back when what frees room, or records what
//! was sent, can't be written otherwise.
//!
//! While it is gone nothing is appended and nothing claimed, so that these don't take that room; it comes back as soon as
//! it fits.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, StatVfs, fallocate, statvfs};

use super::files::beside;
use super::schema::PAGE_SIZE;
use crate::queue::private_file;

/// Its part of the file system, its part of the room that is left, and its size at least and at most. Emptying the log may take as much as the log is long,
/// and entering what waits (see `arrival`) some MiB.
const PART: u64 = 16;
const PART_OF_ROOM: u64 = 2;
const BYTES_MIN: u64 = 256 * 1_024;
const BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
    size: u64,
}

impl Reserve {
    /// Returns that of a store, whether it is there or not.
    pub(super) fn of(store: &Path) -> Self {
        let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let bytes = |blocks, disk: &StatVfs| disk.f_frsize.saturating_mul(blocks);
        let (disk, free) = statvfs(folder)
            .map_or((u64::MAX, u64::MAX), |disk| (bytes(disk.f_blocks, &disk), bytes(disk.f_bavail, &disk)));
        let file = beside(store, ".reserve");
        let own = file.metadata().map_or(0, |found| found.blocks().saturating_mul(512));
        Self { file, size: size(disk, free.saturating_add(own)) }
    }

    /// Returns how many pages the log may hold before it is copied into the database, so that the reserve is enough for
    /// that.
    pub(super) fn log_pages(&self) -> u64 {
        self.size / PAGE_SIZE as u64 * 2 / 3
    }

    /// Makes it where it is gone; an error says that there is no room.
    pub(super) fn keep(&self) -> io::Result<()> {
        if self.file.metadata().is_ok_and(|found| found.len() == self.size) {
            return Ok(());
        }
        let file = private_file::open(&self.file, OpenOptions::new().write(true))?;
        file.set_len(0)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.size).map_err(io::Error::from) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                fs::remove_file(&self.file)?;
                Err(error)
            }
            // A file system that promises no room has none to give back: the file is empty, and as long as wanted.
            Err(_unsupported) => file.set_len(self.size),
        }
    }

    /// Gives its room back; tells whether there was any.
    pub(super) fn release(&self) -> bool {
        let released = fs::remove_file(&self.file).is_ok();
        if released {
            tracing::error!(
                bytes = self.size,
                "queue.reserve_released: the disk is full; nothing is taken or sent until there is room for the reserve again"
            );
        }
        released
    }
}

/// Returns how large it is on a disk with so much room, its own included. A disk that is nearly full when the gateway
/// starts still takes posts: it never takes all that is left.
fn size(disk: u64, room: u64) -> u64 {
    (disk / PART).min(room / PART_OF_ROOM).clamp(BYTES_MIN, BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_nearly_full_disk_a_reserve_leaves_room_for_posts() {
        const MIB: u64 = 1_024 * 1_024;
        for (disk, room, wanted) in [
            (u64::MAX, u64::MAX, BYTES_MAX),
            (200 * MIB, 100 * MIB, 200 * MIB / PART),
            (200 * MIB, 10 * MIB, 5 * MIB),
            (100_000 * MIB, 12 * MIB, 6 * MIB),
            (MIB, MIB, BYTES_MIN),
            (200 * MIB, 0, BYTES_MIN),
        ] {
            assert_eq!(size(disk, room), wanted, "{disk} {room}");
        }
    }

    #[test]
    fn a_reserve_takes_room_until_it_is_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::of(&folder.path().join("store.db"));
        assert!((BYTES_MIN..=BYTES_MAX).contains(&reserve.size) && reserve.log_pages() >= 42);
        assert!(!reserve.release());
        for _ in 0..2 {
            reserve.keep().expect("kept");
            let found = folder.path().join("store.db.reserve").metadata().expect("it is there");
            assert!(found.len() == reserve.size && found.blocks() * 512 >= reserve.size);
        }
        assert!(reserve.release() && !reserve.release());
    }
}

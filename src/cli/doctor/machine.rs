//! This machine: room on the disk, how fast it writes, how many files may be open.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::finding::{Check, Finding};
use crate::accept;
use crate::app::{CONNECTIONS_MIN, OTHER_FILES};
use crate::cli::status::size;
use crate::config::{Config, StoreUrl};
use crate::telemetry::OpenFiles;

/// Less room than this is soon none.
const FREE_MIN: u64 = 256 << 20;
/// So many writes are timed; the median counts.
const WRITES: usize = 20;
/// What is written each time: about a lead's size in the store.
const WRITE_BYTES: usize = 4096;
/// A submission waits for one write. Plugins give up after 5 s, and several may wait for each other.
const SLOW_WRITE: Duration = Duration::from_millis(50);
const TOO_SLOW_WRITE: Duration = Duration::from_secs(1);
/// For all writes together.
const WRITES_TIME: Duration = Duration::from_secs(20);
/// Deliveries at once that are within [`OTHER_FILES`].
const IN_FLIGHT_COUNTED: usize = 32;

/// Looks at the folder of the store, and at what the process may open.
pub(super) async fn look(config: &Config, open_files: OpenFiles, is_gateways: bool) -> Vec<Finding> {
    let in_flight = usize::try_from(config.upstream.max_in_flight.get()).unwrap_or(usize::MAX);
    let files = judge_open_files(open_files, in_flight, is_gateways);
    let (folder, used) = match &config.queue.url {
        StoreUrl::Memory => {
            let why = "the store is in memory";
            let cure = "every lead in it is lost when the gateway stops; set [queue].url to use it in earnest";
            return vec![Finding::skipped(Check::DiskSpace, why, cure), files];
        }
        StoreUrl::Postgres(_) => {
            let why = "the store is in PostgreSQL";
            let cure = "watch the disk of the database's machine, where leads are written";
            return vec![Finding::skipped(Check::DiskSpace, why, cure), files];
        }
        StoreUrl::Sqlite(store) => (folder_of(store), store_bytes(store)),
    };
    let space = match free(folder) {
        Ok(free) => judge_space(free, config.queue.max_size.saturating_sub(used), folder),
        Err(error) => unreadable(Check::DiskSpace, &error, folder),
    };
    let fsync = match time_writes(folder.to_owned()).await {
        Ok(median) => judge_fsync(median, folder),
        Err(error) => unreadable(Check::Fsync, &error, folder),
    };
    vec![space, fsync, files]
}

fn folder_of(store: &Path) -> &Path {
    store.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The database and its log.
fn store_bytes(store: &Path) -> u64 {
    let mut log = store.as_os_str().to_owned();
    log.push("-wal");
    [store.to_owned(), PathBuf::from(log)]
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|file| file.len())
        .sum()
}

fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Times small appends, each on disk before the next, in a file that is removed again.
///
/// On a thread of its own: a disk that hangs must not keep the other checks from ending.
async fn time_writes(folder: PathBuf) -> io::Result<Duration> {
    let (sender, timed) = tokio::sync::oneshot::channel();
    let work = move || {
        // Nobody waits any more where it took too long.
        drop(sender.send(median_write(&folder)));
    };
    std::thread::Builder::new().name("fsync".to_owned()).spawn(work)?;
    match timeout(WRITES_TIME, timed).await {
        Ok(Ok(timed)) => timed,
        Ok(Err(_gone)) => Err(io::Error::other("the measurement ended by itself")),
        Err(_elapsed) => Ok(WRITES_TIME),
    }
}

fn median_write(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::Builder::new().prefix(".doctor-").tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..WRITES {
        let begun = Instant::now();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.as_file().sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(WRITES / 2).copied().unwrap_or_default())
}

fn judge_space(free: u64, room: u64, folder: &Path) -> Finding {
    let folder = folder.display();
    let cure = "free some space, move the store to a larger disk, or lower [queue].max_size; a full disk means 503 for \
                every submission";
    match free {
        _ if free < FREE_MIN => Finding::bad(Check::DiskSpace, format!("only {} free in {folder}", size(free)), cure),
        _ if free < room => Finding::warn(
            Check::DiskSpace,
            format!("{} free in {folder}, and [queue].max_size lets the store grow by {}", size(free), size(room)),
            cure,
        ),
        _ => Finding::ok(Check::DiskSpace, format!("{} free in {folder}", size(free))),
    }
}

fn judge_fsync(median: Duration, folder: &Path) -> Finding {
    let what = format!("a write to {} takes {:.1} ms", folder.display(), median.as_secs_f64() * 1_000.0);
    let cure = "every submission waits for one write: put the store on a local SSD, not on a network file system";
    match median {
        _ if median >= TOO_SLOW_WRITE => Finding::bad(Check::Fsync, what, cure),
        _ if median >= SLOW_WRITE => Finding::warn(Check::Fsync, what, cure),
        _ => Finding::ok(Check::Fsync, what),
    }
}

fn unreadable(check: Check, error: &io::Error, folder: &Path) -> Finding {
    let what = format!("{}: {error}", folder.display());
    match error.kind() {
        ErrorKind::NotFound => Finding::skipped(check, what, "`formgate serve` creates the folder at its first start"),
        ErrorKind::PermissionDenied => {
            Finding::skipped(check, what, "run the doctor as the gateway's user; only that user may write there")
        }
        _ => Finding::bad(check, what, "the store can't be written there either; fix the disk or its mount"),
    }
}

fn judge_open_files(files: OpenFiles, in_flight: usize, is_gateways: bool) -> Finding {
    let Some(limit) = files.limit else {
        return Finding::ok(Check::OpenFiles, "no known limit");
    };
    let others = OTHER_FILES + in_flight.saturating_sub(IN_FLIGHT_COUNTED);
    let wanted = accept::Options::default().connections;
    let left = limit.saturating_sub(others);
    let whose = if is_gateways { "the gateway's" } else { "this shell's (no gateway runs)" };
    let what = format!("{whose} limit is {limit}");
    let cure = format!(
        "raise it to {} or more: LimitNOFILE= in the systemd unit, `ulimit -n` in a shell, --ulimit nofile= in Docker",
        wanted + others
    );
    match left {
        _ if left < CONNECTIONS_MIN => Finding::bad(Check::OpenFiles, format!("{what}, too few to work"), cure),
        _ if left < wanted => {
            Finding::warn(Check::OpenFiles, format!("{what}, which leaves {left} connections of {wanted}"), cure)
        }
        _ => Finding::ok(Check::OpenFiles, what),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn room_is_judged_by_what_the_store_may_still_take() {
        let grade = |free, room| judge_space(free, room, Path::new("data")).grade;
        assert_eq!(grade(20 << 30, 10 << 30), Grade::Ok);
        assert_eq!(grade(5 << 30, 10 << 30), Grade::Warn);
        assert_eq!(grade(100 << 20, 0), Grade::Bad);
    }

    #[test]
    fn a_slow_disk_is_told() {
        let grade = |ms| judge_fsync(Duration::from_millis(ms), Path::new("data")).grade;
        assert_eq!([2, 50, 1_000].map(grade), [Grade::Ok, Grade::Warn, Grade::Bad]);
    }

    #[test]
    fn the_limit_of_open_files_is_judged_by_the_connections_it_leaves() {
        let judge = |limit, in_flight| judge_open_files(OpenFiles { limit, open: None }, in_flight, true).grade;
        assert_eq!(judge(None, 32), Grade::Ok);
        assert_eq!(judge(Some(65_536), 32), Grade::Ok);
        assert_eq!(judge(Some(1_024), 32), Grade::Warn);
        assert_eq!(judge(Some(1_024), 1_000), Grade::Bad);
    }

    #[tokio::test]
    async fn writing_is_timed_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        time_writes(folder.path().to_owned()).await.expect("it can be written");
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
        let gone = time_writes(folder.path().join("gone")).await.expect_err("it isn't there");
        assert_eq!(unreadable(Check::Fsync, &gone, folder.path()).grade, Grade::Skipped);
    }
}

//! Copies of the store on a timer, as `[backup]` says.
//!
//! A copy is written under a hidden name, read back whole, and only then given its name; so a file called
//! `formgate-<time>.db` is one that was good when it was made. Files of other names are never touched.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{Backup, Config};
use crate::queue::sqlite::check_copy;
use crate::queue::{NoFile, OpenStore, StoreError};
use crate::telemetry::{self, Degraded, Metrics};

/// How often it is looked whether a copy is due: so a reload and a clock that was set count soon.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// When a copy is tried again after one failed, at the latest.
const RETRY_AFTER: Duration = Duration::from_secs(5 * 60);
/// A copy's name, around its time.
const NAME: (&str, &str) = ("formgate-", ".db");
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Where a copy is until it was checked: nothing else is in there, so what a killed process left can be removed.
const UNCHECKED: &str = ".formgate-unchecked";
const LOCK: &str = ".formgate-lock";

/// Why there is no new copy.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error("{} can't be written", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the store can't be copied")]
    Copy(#[source] StoreError),
    #[error("the copy can't be read back")]
    Unreadable(#[source] StoreError),
    #[error("the copy has {found} entries instead of {expected}")]
    Incomplete { found: u64, expected: u64 },
    #[error(transparent)]
    NoFile(#[from] NoFile),
}

/// The service that makes copies.
#[derive(Clone)]
pub(super) struct Backups {
    config: Arc<ArcSwap<Config>>,
    store: OpenStore,
    metrics: Arc<Metrics>,
}

/// The last attempt of this process, and the folder it was for.
struct LastBackup {
    to: PathBuf,
    ended: Instant,
    succeeded: bool,
}

/// A copy that was made.
struct NewCopy {
    file: PathBuf,
    entries: u64,
    removed: usize,
}

impl Backups {
    pub(super) fn new(config: Arc<ArcSwap<Config>>, store: OpenStore, metrics: Arc<Metrics>) -> Self {
        Self { config, store, metrics }
    }

    /// Makes copies when they are due, until `stopping` says true.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut last = None;
        let looking = async {
            loop {
                self.look(&mut last).await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => {}
            () = looking => {}
        }
    }

    /// Makes a copy if one is due.
    async fn look(&self, last: &mut Option<LastBackup>) {
        let config = self.config.load_full();
        let Some(backup) = &config.backup else {
            *last = None;
            return self.metrics.set_degraded(Degraded::BackupFailed, false);
        };
        if !self.is_due(backup, last.as_ref()).await {
            return;
        }
        let made = self.copy(backup).await;
        let succeeded = self.tell(backup, made);
        *last = Some(LastBackup { to: backup.to.clone(), ended: Instant::now(), succeeded });
    }

    /// Goes by what this process did, else by the times in the names: a clock that was set delays no copy for long.
    async fn is_due(&self, backup: &Backup, last: Option<&LastBackup>) -> bool {
        if let Some(last) = last.filter(|last| last.to == backup.to) {
            let wait = if last.succeeded { backup.every } else { backup.every.min(RETRY_AFTER) };
            return last.ended.elapsed() >= wait;
        }
        let to = backup.to.clone();
        let now = Timestamp::now();
        let Ok(Some(newest)) = telemetry::blocking(move || newest(&to)).await else { return true };
        self.metrics.backed_up(newest.as_second());
        // One of the future says nothing: the clock was wrong then, or is now.
        let age = Duration::try_from(now.duration_since(newest));
        age.map_or(true, |age| age >= backup.every)
    }

    async fn copy(&self, backup: &Backup) -> Result<Option<NewCopy>, BackupError> {
        let store = self.store.file()?;
        let to = backup.to.clone();
        let prepared = telemetry::blocking(move || prepare(&to)).await.unwrap_or_else(|_panic| Ok(None));
        let failed = |source| BackupError::Folder { path: backup.to.clone(), source };
        // Held until this copy has its name.
        let Some(_lock) = prepared.map_err(failed)? else { return Ok(None) };
        let name = name_of(Timestamp::now());
        let unchecked = backup.to.join(UNCHECKED).join(&name);
        let expected = store.backup(&unchecked).await.map_err(BackupError::Copy)?;
        let file = backup.to.join(name);
        let keep = backup.keep.get();
        let named = telemetry::blocking(move || {
            let checked = name_if_whole(&unchecked, &file, expected);
            if checked.is_err() {
                drop(fs::remove_file(&unchecked));
            }
            checked.map(|entries| NewCopy { entries, removed: remove_oldest(&file, keep), file })
        });
        let panicked = |error| BackupError::Folder { path: backup.to.clone(), source: io::Error::other(error) };
        named.await.map_err(panicked)?.map(Some)
    }

    /// Tells whether nothing has to be done about it.
    fn tell(&self, backup: &Backup, made: Result<Option<NewCopy>, BackupError>) -> bool {
        match made {
            Ok(Some(NewCopy { file, entries, removed })) => {
                tracing::info!(file = %file.display(), entries, removed, "backup.written");
                self.metrics.backed_up(Timestamp::now().as_second());
                self.metrics.set_degraded(Degraded::BackupFailed, false);
                true
            }
            // An upgrade: the other process goes on, or ends, and then it's this one's turn.
            Ok(None) => {
                tracing::debug!("backup.postponed: another process is making a copy in this folder");
                false
            }
            Err(error) => {
                let folder = backup.to.display();
                let next_try_in_s = backup.every.min(RETRY_AFTER).as_secs();
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    %folder,
                    next_try_in_s,
                    "backup.failed: no copy was made; check that the folder exists, is writable and has room"
                );
                self.metrics.backup_failed();
                self.metrics.set_degraded(Degraded::BackupFailed, true);
                false
            }
        }
    }
}

/// Makes the folders and takes the lock; none where another process has it.
fn prepare(to: &Path) -> io::Result<Option<File>> {
    // Only the last part of the path: what is missing above it is a disk that isn't mounted, or a slip of the pen.
    for folder in [to, &to.join(UNCHECKED)] {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(to.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    for left in to.join(UNCHECKED).read_dir()? {
        fs::remove_file(left?.path())?;
    }
    Ok(Some(lock))
}

/// Gives a copy its name if it is whole.
fn name_if_whole(unchecked: &Path, file: &Path, expected: u64) -> Result<u64, BackupError> {
    let found = check_copy(unchecked).map_err(BackupError::Unreadable)?;
    if found != expected {
        return Err(BackupError::Incomplete { found, expected });
    }
    let failed = |source| BackupError::Folder { path: file.to_owned(), source };
    // Under the lock nobody else makes a file of this name; one that is there all the same is not overwritten.
    if file.symlink_metadata().is_ok() {
        return Err(failed(io::ErrorKind::AlreadyExists.into()));
    }
    fs::rename(unchecked, file).map_err(failed)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(found)
}

/// Removes the oldest copies beyond `keep`, but never the one that was just made, whatever the clock was.
fn remove_oldest(newest: &Path, keep: u32) -> usize {
    let folder = newest.parent().unwrap_or(Path::new("."));
    let mut others = copies(folder);
    others.retain(|(_, file)| file != newest);
    let keep = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(1);
    let surplus = others.len().saturating_sub(keep);
    let mut removed = 0;
    for (_, file) in others.into_iter().take(surplus) {
        match fs::remove_file(&file) {
            Ok(()) => removed += 1,
            Err(error) => {
                tracing::warn!(%error, file = %file.display(), "backup.not_removed: delete this old copy by hand");
            }
        }
    }
    removed
}

fn newest(folder: &Path) -> Option<Timestamp> {
    copies(folder).pop().map(|(time, _)| time)
}

/// Lists the copies of a folder, the oldest first.
fn copies(folder: &Path) -> Vec<(Timestamp, PathBuf)> {
    let Ok(files) = folder.read_dir() else { return Vec::new() };
    let mut copies: Vec<_> = files
        .filter_map(Result::ok)
        .filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|file| Some((time_of(file.file_name().to_str()?)?, file.path())))
        .collect();
    copies.sort();
    copies
}

fn name_of(time: Timestamp) -> String {
    format!("{}{}{}", NAME.0, time.strftime(TIME), NAME.1)
}

/// Reads the time in a copy's name; none for every other file.
fn time_of(name: &str) -> Option<Timestamp> {
    let time = name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?;
    let time = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (name_of(time) == name).then_some(time)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Sources;
    use crate::queue::sqlite::{Options, SqliteStore};

    const HOUR: Duration = Duration::from_secs(3600);

    struct TestBackups {
        folder: tempfile::TempDir,
        backups: Backups,
        last: Option<LastBackup>,
    }

    impl TestBackups {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("config.toml");
            let text = "[queue]\nurl = \"sqlite:store.db\"\n[backup]\nto = \"copies\"\nevery = \"1h\"\nkeep = 2\n";
            fs::write(&file, text).expect("written");
            let today = jiff::civil::date(2027, 1, 1);
            let loaded = crate::config::load(&file, &Sources::with_environment([]), today);
            let config = loaded.config.expect("sound");
            let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::UNIX_EPOCH };
            let store = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
            let metrics = Arc::new(Metrics::new().expect("metrics"));
            let backups = Backups::new(Arc::new(ArcSwap::from_pointee(config)), Arc::new(store).into(), metrics);
            Self { folder, backups, last: None }
        }

        fn copies(&self) -> PathBuf {
            self.folder.path().join("copies")
        }

        fn names(&self) -> Vec<PathBuf> {
            copies(&self.copies()).into_iter().map(|(_, file)| file).collect()
        }

        async fn look(&mut self) {
            self.backups.look(&mut self.last).await;
        }

        fn is_degraded(&self) -> bool {
            self.backups.metrics.degraded().contains(&Degraded::BackupFailed)
        }

        fn page(&self) -> String {
            String::from_utf8(self.backups.metrics.text().expect("a page")).expect("text")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_is_made_soon_after_the_start_and_then_each_time_it_is_due() {
        let mut place = TestBackups::new();
        place.look().await;
        let first = place.names();
        assert_eq!(first.len(), 1);
        let mode = fs::metadata(&first[0]).expect("there").permissions().mode();
        assert_eq!((mode & 0o777, check_copy(&first[0]).expect("whole")), (0o600, 0));
        assert!(!place.page().contains("formgate_backup_last_success_timestamp_seconds 0\n"), "{}", place.page());
        place.look().await;
        tokio::time::advance(HOUR - Duration::from_secs(1)).await;
        place.look().await;
        assert_eq!(place.names(), first, "not due yet");
        // Its name has seconds: it is moved away, not waited for.
        fs::rename(&first[0], place.copies().join("formgate-20200101T000000Z.db")).expect("renamed");
        tokio::time::advance(Duration::from_secs(1)).await;
        place.look().await;
        assert_eq!(place.names().len(), 2);
        let left = fs::read_dir(place.copies().join(UNCHECKED)).expect("a folder").count();
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_goes_by_the_copies_that_are_there_unless_they_are_of_the_future() {
        let mut place = TestBackups::new();
        fs::create_dir(place.copies()).expect("a folder");
        let recent = place.copies().join(name_of(Timestamp::now()));
        fs::write(&recent, "a copy").expect("written");
        place.look().await;
        assert_eq!(place.names(), std::slice::from_ref(&recent));
        fs::rename(&recent, place.copies().join("formgate-29990101T000000Z.db")).expect("renamed");
        place.look().await;
        assert_eq!(place.names().len(), 2);
        place.look().await;
        assert_eq!(place.names().len(), 2, "the next is due in an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_copies_go_and_nothing_else() {
        let mut place = TestBackups::new();
        fs::create_dir(place.copies()).expect("a folder");
        let others = ["formgate-today.db", "formgate-20200101T000000Z.db.bak", "formgate-20201399T000000Z.db", "notes"];
        let olds = ["20200101", "20200102", "20200103"].map(|day| format!("formgate-{day}T000000Z.db"));
        for name in others.iter().copied().chain(olds.iter().map(String::as_str)) {
            fs::write(place.copies().join(name), "x").expect("written");
        }
        place.look().await;
        let names = place.names();
        assert_eq!((names.len(), names.first()), (2, Some(&place.copies().join(&olds[2]))));
        assert!(others.iter().all(|other| place.copies().join(other).exists()));
    }

    #[test]
    fn a_clock_that_went_back_removes_no_copy_that_was_just_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let [made, one, two] = ["2021", "2030", "2031"].map(|year| {
            let file = folder.path().join(format!("formgate-{year}0101T000000Z.db"));
            fs::write(&file, "x").expect("written");
            file
        });
        assert_eq!(remove_oldest(&made, 2), 1);
        assert!(made.exists() && two.exists() && !one.exists());
        assert_eq!(remove_oldest(&made, 1), 1);
        assert!(made.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_degraded_and_counted_until_a_copy_succeeds() {
        let mut place = TestBackups::new();
        // A file in the folder's place.
        fs::write(place.copies(), "x").expect("written");
        place.look().await;
        assert!(place.is_degraded());
        place.look().await;
        assert!(place.page().contains("formgate_backup_failures_total 1\n"), "one try for now: {}", place.page());
        fs::remove_file(place.copies()).expect("removed");
        tokio::time::advance(RETRY_AFTER).await;
        place.look().await;
        assert!(!place.is_degraded());
        assert_eq!(place.names().len(), 1);
    }

    #[tokio::test]
    async fn only_a_copy_that_is_whole_gets_its_name() {
        let place = TestBackups::new();
        let unchecked = place.folder.path().join("unchecked.db");
        let file = place.folder.path().join("named.db");
        let expected = place.backups.store.file().expect("a file").backup(&unchecked).await.expect("copied");
        let lacking = name_if_whole(&unchecked, &file, expected + 1);
        assert!(matches!(lacking, Err(BackupError::Incomplete { found: 0, expected: 1 })), "{lacking:?}");
        fs::write(&unchecked, "no database").expect("written");
        let damaged = name_if_whole(&unchecked, &file, expected);
        assert!(matches!(damaged, Err(BackupError::Unreadable(_))), "{damaged:?}");
        assert!(!file.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_processes_copy_at_once_and_what_a_killed_one_left_goes() {
        let mut place = TestBackups::new();
        fs::create_dir(place.copies()).expect("a folder");
        let lock = prepare(&place.copies()).expect("prepared").expect("free");
        let left = place.copies().join(UNCHECKED).join("formgate-20200101T000000Z.db");
        fs::write(&left, "half").expect("written");
        place.look().await;
        assert!(place.names().is_empty() && left.exists() && !place.is_degraded());
        drop(lock);
        tokio::time::advance(RETRY_AFTER).await;
        place.look().await;
        assert!(place.names().len() == 1 && !left.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_changes_where_and_how_often() {
        let mut place = TestBackups::new();
        place.look().await;
        let elsewhere = place.folder.path().join("elsewhere");
        let change = |place: &TestBackups, backup: Option<Backup>| {
            let text = "[queue]\nurl = \"sqlite:store.db\"\n";
            let file = place.folder.path().join("config.toml");
            fs::write(&file, text).expect("written");
            let loaded = crate::config::load(&file, &Sources::with_environment([]), jiff::civil::date(2027, 1, 1));
            let config = Config { backup, ..loaded.config.expect("sound") };
            place.backups.config.store(Arc::new(config));
        };
        let backup = Backup { every: HOUR, to: elsewhere.clone(), keep: NonZeroU32::MIN };
        change(&place, Some(backup.clone()));
        place.look().await;
        assert_eq!(copies(&elsewhere).len(), 1, "another folder gets one at once");
        fs::rename(&copies(&elsewhere)[0].1, elsewhere.join("formgate-20200101T000000Z.db")).expect("renamed");
        change(&place, Some(Backup { every: Duration::from_secs(60), ..backup }));
        tokio::time::advance(Duration::from_secs(60)).await;
        place.look().await;
        assert_ne!(copies(&elsewhere)[0].1, elsewhere.join("formgate-20200101T000000Z.db"));
        change(&place, None);
        tokio::time::advance(HOUR).await;
        place.look().await;
        assert_eq!(copies(&elsewhere).len(), 1);
    }
}

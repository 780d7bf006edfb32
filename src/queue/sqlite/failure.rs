//! Why a job on the database failed, told so that each of a whole batch can be told the same.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::queue::StoreError;
use crate::queue::unreadable::Unreadable;

/// A [`StoreError`] that can be copied.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Full,
    DiskFull,
    Unavailable(Arc<dyn Error + Send + Sync>),
    /// A value that this program does not write, or a file that is not ours.
    Corrupt(Arc<dyn Error + Send + Sync>),
    /// The file is damaged.
    Damaged(Arc<dyn Error + Send + Sync>),
    Newer {
        found: u32,
        known: u32,
    },
}

/// The file is a database, but of another program.
#[derive(Debug, thiserror::Error)]
#[error("the database belongs to another program")]
pub(super) struct Foreign;

/// The file is no longer where it was, so what is written there can never be read again.
#[derive(Debug, thiserror::Error)]
#[error("the database file was removed or replaced")]
pub(super) struct Removed;

/// The writer's thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct Closed;

/// The database's mode could not be set.
#[derive(Debug, thiserror::Error)]
#[error("the file system cannot hold a write-ahead log")]
pub(super) struct NoLog;

/// The file does not hold what belongs into a store of its version, or is shorter than it says.
#[derive(Debug, thiserror::Error)]
#[error("the database is damaged")]
pub(super) struct Damage;

/// Damage was met since the store was opened.
#[derive(Debug, thiserror::Error)]
#[error("the database is damaged: start again, so that it is checked and set aside")]
pub(super) struct DamageMet;

/// A copy goes into a new file.
#[derive(Debug, thiserror::Error)]
#[error("there is a file {} already; a copy goes into a new one", file.display())]
pub(super) struct CopyExists {
    pub(super) file: PathBuf,
}

/// A store of a former version is copied before it is brought up to date.
#[derive(Debug, thiserror::Error)]
#[error(
    "the store is of a former version, and there is no room for the copy of it that is kept as {} until the first clean \
     stop, or for bringing it over: make four times as much room as the store takes",
    copy.display()
)]
pub(super) struct NoRoomForCopy {
    pub(super) copy: PathBuf,
}

/// A copy of the store could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the copy is locked by another program")]
pub(super) struct CopyHeld;

/// Nothing is written behind what could not be synced, before that is in the database.
#[derive(Debug, thiserror::Error)]
#[error("the store's log could not be written to the disk, and is still in use")]
pub(super) struct NotSynced;

/// Readers kept the log from being emptied.
#[derive(Debug, thiserror::Error)]
#[error("the entries are removed, but their bytes remain in the write-ahead log until it is next emptied")]
pub(super) struct BytesRemain;

impl Failure {
    pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(error))
    }

    /// Tells whether the file itself is damaged, rather than a value in it unknown.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    pub(super) fn damaged(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Damaged(Arc::new(error))
    }

    pub(super) fn corrupt(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Corrupt(Arc::new(error))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            // There is no room for the log's index.
            Some(_) if error.sqlite_error().is_some_and(|told| told.extended_code == SQLITE_IOERR_SHMSIZE) => {
                Self::DiskFull
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::damaged(error),
            Some(_) => Self::unavailable(error),
            None if is_about_a_value(&error) => Self::corrupt(error),
            None => Self::unavailable(error),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::unavailable(error),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::corrupt(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            Failure::DiskFull => Self::DiskFull,
            Failure::Unavailable(source) => Self::Unavailable(Box::new(Shared(source))),
            Failure::Corrupt(source) | Failure::Damaged(source) => Self::Corrupt(Box::new(Shared(source))),
            Failure::Newer { found, known } => Self::Newer { found, known },
        }
    }
}

fn is_about_a_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Sql;
    matches!(
        error,
        Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::InvalidColumnType(..)
            | Sql::Utf8Error(..)
    )
}

/// An error that several callers were given: reads as the error itself.
#[derive(Debug)]
struct Shared(Arc<dyn Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

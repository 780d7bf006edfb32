//! Why a statement failed, told so that each of a whole batch can be told the same.
//!
//! Of the server's words only the message is kept: its detail may quote a row, and so a visitor.

use std::error::Error;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::queue::StoreError;
use crate::queue::unreadable::Unreadable;

/// A [`StoreError`] that can be copied.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The server's disk is full.
    DiskFull,
    /// The connection ended, or the answer didn't come in time: a statement that was sent may have been carried out.
    Lost(Arc<dyn Error + Send + Sync>),
    /// Another had locked what was needed, for longer than was waited; nothing was done.
    Locked(Arc<dyn Error + Send + Sync>),
    /// Another transaction was in the way; nothing was done, and it may be tried again at once.
    Again(Arc<dyn Error + Send + Sync>),
    /// A row with that key is there already.
    Repeated,
    /// The server doesn't take what a statement was given.
    Refused(Arc<dyn Error + Send + Sync>),
    Unavailable(Arc<dyn Error + Send + Sync>),
    Corrupt(Arc<dyn Error + Send + Sync>),
    /// What is missing, and what to do about it.
    Unfit(String),
    Newer {
        found: u32,
        known: u32,
    },
}

/// What the server said.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL says: {message} (SQLSTATE {code})")]
struct ServerError {
    message: String,
    code: String,
}

/// What the connection met, in words that quote nothing that was sent.
#[derive(Debug, thiserror::Error)]
#[error("the connection to PostgreSQL: {0}")]
struct ConnectionError(String);

/// The server didn't answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("PostgreSQL didn't answer in time")]
pub(super) struct NoAnswer;

/// The row was changed by others again and again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the lead is being changed by others again and again")]
pub(super) struct Contended;

/// The store is being closed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct Closed;

/// Two appends with one id: the caller's fault.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the id is taken")]
pub(super) struct RepeatedId;

impl Failure {
    pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(error))
    }

    pub(super) fn lost(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Lost(Arc::new(error))
    }

    /// Tells whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            // Its own words are about the protocol, its source's about the socket.
            let source = error.source().map(|source| format!("{error}: {source}"));
            return Self::lost(ConnectionError(source.unwrap_or_else(|| error.to_string())));
        };
        let code = said.code();
        let words = ServerError { message: said.message().to_owned(), code: code.code().to_owned() };
        match code.code().get(..2) {
            _ if *code == SqlState::DISK_FULL => Self::DiskFull,
            _ if *code == SqlState::UNIQUE_VIOLATION => Self::Repeated,
            _ if *code == SqlState::LOCK_NOT_AVAILABLE => Self::Locked(Arc::new(words)),
            _ if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Again(Arc::new(words))
            }
            _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::Unfit(format!(
                "{}; let formgate's user create a schema: GRANT CREATE, CONNECT ON DATABASE … TO …",
                words.message
            )),
            // The server is being stopped, ends what hangs, or takes no writes; or the connection is in a transaction that failed.
            Some("57" | "08" | "25") => Self::lost(words),
            Some("22" | "23" | "54") => Self::Refused(Arc::new(words)),
            _ if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
                Self::Corrupt(Arc::new(words))
            }
            _ => Self::Unavailable(Arc::new(words)),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self::Corrupt(Arc::new(error))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::DiskFull => Self::DiskFull,
            Failure::Lost(error)
            | Failure::Locked(error)
            | Failure::Again(error)
            | Failure::Refused(error)
            | Failure::Unavailable(error) => Self::Unavailable(Box::new(error)),
            Failure::Repeated => Self::Unavailable(Box::new(RepeatedId)),
            Failure::Corrupt(error) => Self::Corrupt(Box::new(error)),
            Failure::Unfit(why) => Self::Unfit { why },
            Failure::Newer { found, known } => Self::Newer { found, known },
        }
    }
}

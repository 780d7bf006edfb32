//! Several statements that belong together.

use tokio::sync::SemaphorePermit;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::database::{Database, Lent, Param, in_time};
use super::failure::Failure;

/// Begins a transaction. A gateway that is frozen in the middle, or can't be reached any more, must not keep the others from what it
/// has locked.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '10s'";

/// Several statements that are carried out together. Dropped before it is committed, it leaves nothing behind.
pub(super) struct Transaction<'d> {
    database: &'d Database,
    lent: Lent,
    /// Of those that may read long.
    place: Option<SemaphorePermit<'d>>,
}

impl Transaction<'_> {
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        in_time(self.lent.client()?.query_typed(sql, params)).await
    }

    /// Returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Failure> {
        in_time(self.lent.client()?.execute_typed(sql, params)).await
    }

    /// Makes sure that it is still there, and keeps it for a work of up to an hour. Also ends the portal of the statement before,
    /// which would keep a snapshot.
    pub(super) async fn stay(&self) -> Result<(), Failure> {
        const STAY: &str = "SET LOCAL idle_in_transaction_session_timeout = '70min'";
        in_time(self.lent.client()?.batch_execute(STAY)).await
    }

    pub(super) async fn commit(self) -> Result<(), Failure> {
        let Self { database, lent, place: _place } = self;
        let done = in_time(lent.client()?.batch_execute("COMMIT")).await;
        database.take_back(lent, done)
    }
}

/// What only one gateway may do at a time. The numbers are advisory locks of the database.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    Events,
    Tally,
    Indexes,
}

impl Lock {
    fn number(self) -> i64 {
        match self {
            Self::Events => 7_166_181_093,
            Self::Tally => 7_166_181_094,
            Self::Indexes => 7_166_181_095,
        }
    }
}

impl Database {
    /// Begins a transaction of several statements.
    pub(super) async fn begin(&self) -> Result<Transaction<'_>, Failure> {
        let lent = self.lend().await?;
        match in_time(lent.client()?.batch_execute(BEGIN)).await {
            Ok(()) => Ok(Transaction { database: self, lent, place: None }),
            Err(failure) => self.take_back(lent, Err(failure)),
        }
    }

    /// Begins a transaction that reads alone, all its statements as of one moment.
    pub(super) async fn begin_reading(&self) -> Result<Transaction<'_>, Failure> {
        let place = self.reading.acquire().await.map_err(Failure::unavailable)?;
        let begun = self.begin().await?;
        begun.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", &[]).await?;
        Ok(Transaction { place: Some(place), ..begun })
    }

    /// Begins a transaction that stands for a long work of one gateway; none where another does it. It has no snapshot, so nothing
    /// waits for it. It ends with the connection.
    pub(super) async fn begin_alone(&self, lock: Lock) -> Result<Option<Transaction<'_>>, Failure> {
        let transaction = self.begin().await?;
        let locked = transaction.query("SELECT pg_try_advisory_xact_lock($1)", &[(&lock.number(), Type::INT8)]).await?;
        transaction.stay().await?;
        if locked.first().is_some_and(|row| row.get(0)) {
            return Ok(Some(transaction));
        }
        transaction.commit().await?;
        Ok(None)
    }

    /// Begins a transaction under a lock that one of all gateways has at a time, until it ends.
    pub(super) async fn begin_locked(&self, lock: Lock) -> Result<Transaction<'_>, Failure> {
        let transaction = self.begin().await?;
        transaction.query("SELECT pg_advisory_xact_lock($1)", &[(&lock.number(), Type::INT8)]).await?;
        Ok(transaction)
    }
}

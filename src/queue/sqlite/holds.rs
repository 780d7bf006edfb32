//! Who holds what.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::SqliteStore;
use super::failure::Failure;
use super::outbox::key;
use super::row::from_millisecond;
use super::writer::Workspace;
use crate::queue::holds::{HOLDS_MAX, Hold};
use crate::queue::standing::whole_millisecond;
use crate::queue::{Holds, Key, StoreError};

fn hold(workspace: &Workspace, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, Failure> {
    let connection = &workspace.connection;
    let Some(mut hold) = find(connection, name)? else {
        let has_room = has_room(connection, now)?;
        if has_room {
            write(connection, name, &Hold::begin(holder.clone(), ttl, now))?;
        }
        return Ok(has_room);
    };
    let before = hold.clone();
    let is_own = hold.ask(holder, ttl, now);
    if hold != before {
        write(connection, name, &hold)?;
    }
    Ok(is_own)
}

fn find(connection: &Connection, name: &Key) -> Result<Option<Hold>, Failure> {
    let mut find = connection.prepare_cached("SELECT holder, since, until FROM hold WHERE name = ?1")?;
    let mut rows = find.query_and_then([name.as_str()], |row| {
        let since = from_millisecond(row.get(1)?, "since")?;
        let until = from_millisecond(row.get(2)?, "until")?;
        Ok::<_, Failure>(Hold { holder: key(row, 0, "holder")?, since, until })
    })?;
    match rows.next().transpose() {
        // Whoever held it renews it, or loses it: better than nobody ever.
        Err(Failure::Corrupt(_)) => Ok(None),
        found => found,
    }
}

fn write(connection: &Connection, name: &Key, hold: &Hold) -> Result<(), Failure> {
    let mut write = connection
        .prepare_cached("INSERT OR REPLACE INTO hold (name, holder, since, until) VALUES (?1, ?2, ?3, ?4)")?;
    let since = hold.since.as_millisecond();
    let until = hold.until.as_millisecond();
    write.execute(params![name.as_str(), hold.holder.as_str(), since, until])?;
    Ok(())
}

/// Tells whether one name more may be held; where there are many, what ran out is removed first.
fn has_room(connection: &Connection, now: Timestamp) -> Result<bool, Failure> {
    let count = || {
        let mut count = connection.prepare_cached("SELECT count(*) FROM hold")?;
        count.query_row([], |row| row.get::<_, i64>(0))
    };
    if count()? < HOLDS_MAX as i64 {
        return Ok(true);
    }
    connection.prepare_cached("DELETE FROM hold WHERE until <= ?1")?.execute([now.as_millisecond()])?;
    Ok(count()? < HOLDS_MAX as i64)
}

/// Ends the holds that dead processes left.
pub(super) fn release_all(connection: &Connection) -> Result<(), Failure> {
    connection.execute("DELETE FROM hold", [])?;
    Ok(())
}

#[async_trait]
impl Holds for SqliteStore {
    async fn hold(&self, name: &Key, holder: &Key, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let name = name.clone();
        let holder = holder.clone();
        let now = whole_millisecond(now);
        self.writer.write_always(move |workspace| hold(workspace, &name, &holder, ttl, now)).await
    }

    async fn release(&self, name: &Key, holder: &Key) -> Result<bool, StoreError> {
        let name = name.clone();
        let holder = holder.clone();
        let release = move |workspace: &mut Workspace| {
            let mut delete = workspace.connection.prepare_cached("DELETE FROM hold WHERE name = ?1 AND holder = ?2")?;
            Ok(delete.execute([name.as_str(), holder.as_str()])? > 0)
        };
        self.writer.write_always(release).await
    }
}

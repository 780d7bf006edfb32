//! Opening a store: what is there is checked, and a damaged store is set aside.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;

use super::failure::{Failure, NoRoomForCopy};
use super::files::Presence;
use super::reserve::Reserve;
use super::{Options, SqliteStore, aside, backup, check, claim, connection, files, holds, schema};
use crate::queue::StoreError;

/// Whether other processes may have the store open as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    Welcome,
    KeptOut,
}

/// Opens the connection that writes: of a new store where the one that is there is damaged.
pub(super) fn open(path: &Path, alone: bool, reserve: &Reserve, opened_at: Timestamp) -> Result<Connection, Failure> {
    let opened = match open_sound(path, alone, opened_at) {
        Err(Failure::DiskFull) if reserve.release() => open_sound(path, alone, opened_at),
        opened => opened,
    };
    match opened {
        Err(failure) if failure.is_damage() && alone => {
            begin_anew(path, opened_at, &failure)?;
            open_sound(path, true, opened_at)
        }
        opened => opened,
    }
}

/// The same of a store that is sound. Where no other process has it open, checks it and releases the leases.
fn open_sound(path: &Path, alone: bool, opened_at: Timestamp) -> Result<Connection, Failure> {
    check::check_log(path)?;
    let mut connection = connection::open_writer(path)?;
    migrate(&mut connection, path, opened_at)?;
    if alone {
        check::check(&connection, path)?;
        release_leases(&connection)?;
    }
    Ok(connection)
}

/// Brings a store up to date. Of a former version a copy is kept until a gateway has stopped once as it should: with that one
/// can go back to the program before. Where an entry could not be brought over, the copy is kept for good.
fn migrate(connection: &mut Connection, path: &Path, opened_at: Timestamp) -> Result<(), Failure> {
    let copy = aside::former_copy(path);
    let is_former = schema::is_former(connection)?;
    let before = || {
        aside::remove_if_there(&copy)?;
        backup::copy(&connection::open_reader(path)?, &copy).map(drop)
    };
    let after = |lost| if lost > 0 { Ok(aside::keep_former(path, &copy, opened_at)?) } else { Ok(()) };
    match schema::migrate(connection, before, after) {
        Err(Failure::DiskFull) if is_former => {
            aside::remove_if_there(&copy)?;
            Err(Failure::unavailable(NoRoomForCopy { copy }))
        }
        done => done,
    }
}

impl SqliteStore {
    /// Opens the store and keeps every other process out until it is dropped: one that starts meanwhile waits. None where
    /// another has it open. Blocks as [`open`](Self::open) does.
    pub fn open_alone(path: &Path, options: Options) -> Result<Option<Self>, StoreError> {
        let path = files::create(path).map_err(Failure::from)?;
        let Some(presence) = Presence::alone(&path).map_err(Failure::from)? else { return Ok(None) };
        Ok(Some(Self::open_as(path, options, presence, Company::KeptOut)?))
    }

    /// Removes the copy that is kept of a store of a former version: for a gateway that has run on the new one, and stops as
    /// it should.
    pub fn forget_former(&self) {
        if let Err(error) = aside::remove_if_there(&aside::former_copy(&self.path)) {
            tracing::warn!(%error, "queue.former_kept: the copy of the store's former version could not be removed");
        }
    }
}

/// Sets a damaged store aside and makes an empty file in its place.
fn begin_anew(path: &Path, now: Timestamp, failure: &Failure) -> Result<(), Failure> {
    let aside = aside::set_aside(path, now)?;
    check::forget(path)?;
    files::create(path)?;
    tracing::error!(
        file = %aside.display(),
        error = %StoreError::from(failure.clone()),
        "queue.set_aside: the store was damaged and a new one is begun; run `formgate leads salvage`"
    );
    Ok(())
}

fn release_leases(connection: &Connection) -> Result<(), Failure> {
    let transaction = connection.unchecked_transaction()?;
    claim::release_all(&transaction)?;
    holds::release_all(&transaction)?;
    Ok(transaction.commit()?)
}

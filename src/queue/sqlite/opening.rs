//! Opening a store: what is there is checked, and a damaged store is set aside.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;

use super::failure::{Failure, NoRoomForCopy};
use super::{aside, backup, check, claim, connection, files, holds, schema};
use crate::queue::StoreError;

/// Opens the connection that writes. Of a store that no other process has open, checks it and releases the leases.
pub(super) fn open_sound(path: &Path, alone: bool, opened_at: Timestamp) -> Result<Connection, Failure> {
    check::check_log(path)?;
    let mut connection = connection::open_writer(path)?;
    if schema::is_former(&connection)? {
        migrate(&mut connection, path, opened_at)?;
    }
    schema::migrate(&mut connection)?;
    if alone {
        check::check(&connection, path)?;
        release_leases(&connection)?;
    }
    Ok(connection)
}

/// Brings a store of a former version up to date. A copy of it is kept until this program has stopped once as it should:
/// with that one can go back to the program before. Where an entry could not be brought over, the copy is kept for good.
fn migrate(connection: &mut Connection, path: &Path, opened_at: Timestamp) -> Result<(), Failure> {
    let copy = aside::former_copy(path);
    aside::remove_if_there(&copy)?;
    backup::copy(connection, &copy).map_err(|failure| match failure {
        Failure::DiskFull => Failure::unavailable(NoRoomForCopy { copy: copy.clone() }),
        failure => failure,
    })?;
    if schema::migrate(connection)? > 0 {
        aside::keep_former(path, &copy, opened_at)?;
    }
    Ok(())
}

/// Sets a damaged store aside and makes an empty file in its place.
pub(super) fn begin_anew(path: &Path, now: Timestamp, failure: &Failure) -> Result<(), Failure> {
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

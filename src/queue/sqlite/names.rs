//! The numbers of sites and forms.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::failure::Failure;
use super::row::text;
use crate::lead::SiteId;
use crate::queue::unreadable::Unreadable;

/// Most of them that are remembered; beyond that all are looked up anew.
const REMEMBERED_MAX: usize = 10_000;

/// The numbers that were looked up before. True only of what was committed.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, i64, foldhash::fast::RandomState>);

impl Names {
    /// Returns the number of a name, giving it one if need be.
    pub(super) fn number(&mut self, connection: &Connection, text: &str) -> Result<i64, Failure> {
        if let Some(number) = self.0.get(text) {
            return Ok(*number);
        }
        let number = match find(connection, text)? {
            Some(number) => number,
            None => {
                connection.prepare_cached("INSERT INTO name (text) VALUES (?1)")?.execute([text])?;
                connection.last_insert_rowid()
            }
        };
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.insert(text.to_owned(), number);
        Ok(number)
    }

    /// Forgets all: a transaction was taken back.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Returns the number of a name, if it has one.
pub(super) fn find(connection: &Connection, text: &str) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT number FROM name WHERE text = ?1")?;
    Ok(find.query_row([text], |row| row.get(0)).optional()?)
}

/// Returns the name of a site that has a number.
pub(super) fn site(connection: &Connection, number: i64) -> Result<SiteId, Failure> {
    let mut find = connection.prepare_cached("SELECT text FROM name WHERE number = ?1")?;
    let mut names = find.query_and_then([number], |row| text(row, "text", |text| SiteId::parse(text).ok()))?;
    names.next().unwrap_or_else(|| Err(Unreadable { column: "site" }.into()))
}

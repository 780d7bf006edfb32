//! How many entries there are of each site and state.
//!
//! Changes are gathered while a transaction goes on, and written at its end, a row for each site and state.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::names;
use crate::lead::SiteId;
use crate::queue::State;
use crate::queue::codes::Code;

/// What has changed in this transaction, and whose turn may come. True only of what was committed.
#[derive(Debug, Default)]
pub(super) struct SiteTally {
    changed: HashMap<(i64, State), i64>,
    /// Of each site that ever had something queued, by its number.
    queued: HashMap<i64, i64>,
    /// The same sites in the order of their turns.
    turns: BTreeMap<SiteId, i64>,
    /// Those of which only the number is known yet.
    unnamed: Vec<i64>,
}

impl SiteTally {
    /// Reads the counts anew; with `unread` only them, since damage was met where the entries lie.
    pub(super) fn refresh(&mut self, connection: &Connection, unread: bool) -> Result<(), Failure> {
        *self = Self::default();
        let mut find = connection.prepare_cached("SELECT site, entries FROM tally WHERE state = 0 AND entries > 0")?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            self.queued.insert(row.get(0)?, row.get(1)?);
        }
        if !unread {
            self.add_uncounted(connection)?;
        }
        self.unnamed.extend(self.queued.keys());
        Ok(())
    }

    /// Adds the sites that have something queued although it isn't counted: else a damaged count would hide them for ever.
    fn add_uncounted(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut next = connection.prepare_cached(
            "SELECT site FROM entry INDEXED BY entry_due WHERE state = 0 AND site > ?1 ORDER BY site LIMIT 1",
        )?;
        let mut site = i64::MIN;
        while let Some(next) = next.query_row([site], |row| row.get(0)).optional()? {
            site = next;
            self.queued.entry(site).or_insert(i64::MAX / 2);
        }
        Ok(())
    }

    /// Notes that one entry more, or one less, of a site is in a state.
    pub(super) fn note(&mut self, site: i64, state: State, by: i64) {
        *self.changed.entry((site, state)).or_default() += by;
        if state == State::Queued {
            let queued = self.queued.entry(site).or_insert_with(|| {
                self.unnamed.push(site);
                0
            });
            *queued += by;
        }
    }

    /// Writes what has changed.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Failure> {
        let mut write = connection.prepare_cached(
            "INSERT INTO tally (site, state, entries) VALUES (?1, ?2, ?3)
                ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        )?;
        for ((site, state), by) in self.changed.drain().filter(|(_, by)| *by != 0) {
            write.execute(params![site, state.code(), by])?;
        }
        Ok(())
    }

    /// Returns the sites that have something queued, with their numbers and how much that is, in the order of their turns
    /// after `last`.
    pub(super) fn in_turn(
        &mut self,
        connection: &Connection,
        last: Option<&SiteId>,
    ) -> Result<impl Iterator<Item = (&SiteId, i64, i64)>, Failure> {
        for number in self.unnamed.drain(..) {
            match names::site(connection, number) {
                Ok(site) => {
                    self.turns.insert(site, number);
                }
                Err(Failure::Corrupt(_)) => {
                    tracing::error!(site.number = number, "a site's name cannot be read; its leads are not sent");
                }
                Err(failure) => return Err(failure),
            }
        }
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let wrapped = last.map(|last| self.turns.range::<SiteId, _>((Bound::Unbounded, Bound::Included(last))));
        let turns = self.turns.range::<SiteId, _>((after, Bound::Unbounded)).chain(wrapped.into_iter().flatten());
        let queued = |number| self.queued.get(number).copied().unwrap_or_default();
        Ok(turns.map(move |(site, number)| (site, *number, queued(number))).filter(|(_, _, queued)| *queued > 0))
    }
}

//! What needs a person, counted by its cause: of each entry that alone is read which tells it, not its lead.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, Row, named_params};
use serde::Deserialize;

use super::check::Watch;
use super::failure::Failure;
use super::list::ceil_millisecond;
use super::names;
use super::row::{code, from_millisecond};
use super::segment::{Segments, Spot};
use crate::lead::{EntryId, FieldError, FormId, SiteId};
use crate::queue::cause::{self, CauseCounter};
use crate::queue::codes::Code;
use crate::queue::unreadable::Unreadable;
use crate::queue::{Cause, CauseQuery, Causes, Filter, Reading, Reason, State, history};

/// What is held or dead, by the index of that, with what tells its cause.
macro_rules! open {
    ($from:literal) => {
        concat!(
            "SELECT number, id, site, reason, accepted_at, place, history,
                (SELECT json FROM reading WHERE reading.number = entry.number)
             FROM entry INDEXED BY ",
            $from,
            " AND state = :state AND state IN (1, 3)
                AND (:form IS NULL OR form = :form) AND (:reason IS NULL OR reason = :reason)
                AND (:but IS NULL OR reason <> :but)
                AND (:since IS NULL OR accepted_at >= :since) AND (:until IS NULL OR accepted_at < :until)
             ORDER BY id LIMIT :limit"
        )
    };
}

// A statement has to name each parameter.
const OPEN: &str = open!("entry_open WHERE :site IS NULL");
const OPEN_OF_SITE: &str = open!("entry_open_by_site WHERE site = :site");

/// A query that waits for its turn on another thread.
struct OwnedQuery {
    filter: Filter,
    sites: Option<BTreeSet<SiteId>>,
    max: usize,
}

impl From<CauseQuery<'_>> for OwnedQuery {
    fn from(CauseQuery { filter, sites, max }: CauseQuery<'_>) -> Self {
        Self { filter: filter.clone(), sites: sites.cloned(), max }
    }
}

/// What of a reading tells the cause.
#[derive(Deserialize)]
struct Read {
    reading: ToldBy,
}

#[derive(Deserialize)]
struct ToldBy {
    #[serde(default)]
    errors: Vec<FieldError>,
    #[serde(default)]
    hold_rule: Option<String>,
}

/// Returns the count as a closure, for another thread to run.
pub(super) fn counting(
    query: CauseQuery<'_>,
    damage: &Arc<Watch>,
) -> impl FnOnce(&Connection) -> Result<Causes, Failure> + Send + use<> {
    let query = OwnedQuery::from(query);
    let damage = Arc::clone(damage);
    move |connection| causes(connection, &damage, &query)
}

/// Counts what is held or dead by its cause.
fn causes(connection: &Connection, damage: &Watch, query: &OwnedQuery) -> Result<Causes, Failure> {
    let OwnedQuery { filter, sites, max } = query;
    let query = CauseQuery { filter, sites: sites.as_ref(), max: *max };
    let mut counting = Counting {
        connection,
        damage,
        query,
        segments: Segments::of(connection),
        sites: HashMap::new(),
        counter: CauseCounter::default(),
    };
    let mut left = *max;
    for state in query.states() {
        left = left.saturating_sub(counting.count(state, left)?);
    }
    Ok(counting.counter.finish(left == 0))
}

struct Counting<'a> {
    connection: &'a Connection,
    damage: &'a Watch,
    query: CauseQuery<'a>,
    segments: Segments<'a>,
    /// Their names, by number.
    sites: HashMap<i64, SiteId>,
    counter: CauseCounter,
}

impl Counting<'_> {
    /// Counts what is in a state; returns how many that are.
    fn count(&mut self, state: State, max: usize) -> Result<usize, Failure> {
        let Filter { site, form, reason, since, until, .. } = self.query.filter;
        let number = |text: Option<&str>| text.map(|text| names::find(self.connection, text)).transpose();
        let site = number(site.as_ref().map(SiteId::as_str))?;
        let form = number(form.as_ref().map(FormId::as_str))?;
        if site == Some(None) || form == Some(None) {
            return Ok(0);
        }
        let site = site.flatten();
        let mut scan = self.connection.prepare_cached(if site.is_some() { OPEN_OF_SITE } else { OPEN })?;
        let mut rows = scan.query(named_params! {
            ":site": site,
            ":form": form.flatten(),
            ":state": state.code(),
            ":reason": reason.map(Code::code),
            ":but": (!self.query.takes_dropped()).then(|| Reason::Dropped.code()),
            ":since": since.map(ceil_millisecond),
            ":until": until.map(ceil_millisecond),
            ":limit": u32::try_from(max).unwrap_or(u32::MAX),
        })?;
        let mut counted = 0;
        while let Some(row) = rows.next()? {
            counted += 1;
            match self.add(state, row) {
                Ok(()) => {}
                Err(failure @ (Failure::Corrupt(_) | Failure::Damaged(_))) => {
                    self.damage.note(&failure);
                    self.counter.note_unreadable(vec![EntryId::from_bytes(row.get(1)?)]);
                    self.segments = Segments::of(self.connection);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(counted)
    }

    fn add(&mut self, state: State, row: &Row<'_>) -> Result<(), Failure> {
        let reason = code(row, 3, "reason")?;
        let site = self.site(row.get(2)?)?;
        if self.query.takes(reason, &site) {
            let detail = self.detail(reason, row)?;
            let id = EntryId::from_bytes(row.get(1)?);
            let oldest = from_millisecond(row.get(4)?, "accepted_at")?;
            self.counter.add_all(Cause { state, reason, detail, sites: [(site, 1)].into(), oldest, example: id });
        }
        Ok(())
    }

    fn site(&mut self, number: i64) -> Result<SiteId, Failure> {
        if let Some(site) = self.sites.get(&number) {
            return Ok(site.clone());
        }
        let site = names::site(self.connection, number)?;
        self.sites.insert(number, site.clone());
        Ok(site)
    }

    /// Says what a reason leaves open.
    fn detail(&mut self, reason: Reason, row: &Row<'_>) -> Result<String, Failure> {
        if !cause::is_of_reading(reason) {
            let bytes = row.get_ref(6)?.as_blob().map_err(|_other| Unreadable { column: "history" })?;
            let history = history::decode(bytes)?.unwrap_or_default();
            return Ok(cause::of_history(reason, &history).unwrap_or_default());
        }
        let json = row.get_ref(7)?.as_str_or_null().map_err(|_other| Unreadable { column: "json" })?;
        let read = match json {
            Some(json) => serde_json::from_str::<Read>(json),
            None => {
                let id = EntryId::from_bytes(row.get(1)?);
                let spot = Spot { number: row.get(0)?, place: row.get(5)?, id };
                serde_json::from_slice(&self.segments.reading(spot)?)
            }
        };
        // The error of the parser is left out: it may quote a person's words.
        let ToldBy { errors, hold_rule } = read.map_err(|_quoting| Unreadable { column: "json" })?.reading;
        let reading = Reading { errors, hold_rule, ..Reading::default() };
        Ok(cause::of_reading(reason, &reading).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Workspace;
    use super::super::tests::{damage_last_entries, entry, store};
    use super::*;
    use crate::lead::{Code as ErrorCode, LeadField};
    use crate::queue::{Appended, NewEntry, Store};

    #[tokio::test]
    async fn what_cannot_be_read_is_named_and_the_others_are_counted() {
        let (_folder, store) = store();
        let errors = vec![FieldError::new(LeadField::Email, ErrorCode::Missing, "it isn't there")];
        let reading = Reading { errors, ..Reading::default() };
        let held = [1, 2, 3, 4].map(|number| NewEntry {
            state: State::Held,
            reason: if number == 3 { Reason::Spam } else { Reason::Invalid },
            reading: reading.clone(),
            ..entry(number, 10)
        });
        let ids = held.clone().map(|new| new.id);
        for new in held {
            assert!(matches!(store.append(new, None).await, Ok(Appended::New(_))));
        }
        let spoil = |workspace: &mut Workspace| {
            let connection = &workspace.connection;
            connection.execute("UPDATE content SET bytes = ?1 WHERE number IN (1, 3)", [b"jane@example.com"])?;
            Ok(connection.execute("UPDATE entry SET reason = 99 WHERE number = 2", [])?)
        };
        assert_eq!(store.writer.write(spoil).await.expect("spoilt"), 1);
        let query = CauseQuery { filter: &Filter::default(), sites: None, max: 9 };
        let Causes { causes, unreadable, has_more } = store.causes(query).await.expect("counted");
        assert_eq!((unreadable, has_more), (ids[..2].to_vec(), false));
        let told: Vec<_> = causes.iter().map(|cause| (cause.reason, &*cause.detail, cause.example)).collect();
        // What alone tells the cause can be read: that it is spam.
        assert_eq!(told, [(Reason::Invalid, "email missing", ids[3]), (Reason::Spam, "", ids[2])]);
    }

    #[tokio::test]
    async fn a_damaged_page_keeps_no_other_from_being_counted() {
        let (folder, store) = store();
        for number in 0..200 {
            let new = NewEntry { state: State::Held, reason: Reason::Spam, ..entry(number, 10) };
            assert!(store.append(new, None).await.is_ok());
        }
        damage_last_entries(folder.path(), &store).await;
        let query = CauseQuery { filter: &Filter::default(), sites: None, max: 300 };
        let Causes { causes, unreadable, .. } = store.causes(query).await.expect("counted");
        let counted: u64 = causes.iter().flat_map(|cause| cause.sites.values()).sum();
        assert!(!unreadable.is_empty() && counted + unreadable.len() as u64 == 200, "{counted}, {unreadable:?}");
    }
}

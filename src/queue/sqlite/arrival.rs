//! Entries that are durable but not yet in the books.
//!
//! An append writes one row of `content`, which says all that is known of the entry. Its row of `entry`, that row's
//! indexes and its dedupe key are written later, for many entries together: an index has its pages all over, and each
//! page that changes is written whole at every commit. What comes after [`sequence`] has not been entered; every job but
//! an append enters all of it first, in its own transaction, so none sees the difference.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use super::append::forget_keys;
use super::failure::{Failure, Unreadable};
use super::row::to_json;
use super::writer::Workspace;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::standing::Standing;
use crate::queue::{DedupeKey, Event, NewEntry, Reason, State};

/// Entries that wait at most: the append that finds so many enters them first.
pub(super) const WAITING_MAX: usize = 2_048;

/// What is known of an entry when it arrives, beside its content: no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arrival {
    pub(super) id: EntryId,
    site: SiteId,
    form: FormId,
    state: State,
    reason: Reason,
    /// In milliseconds, as all times of the tables.
    pub(super) accepted_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dedupe_key: Option<String>,
}

/// Which entries wait to be entered, as far as this process wrote them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ids: HashSet<EntryId>,
    keys: HashMap<DedupeKey, EntryId>,
    /// The database's version that this goes with; none when a transaction was taken back.
    version: Option<i64>,
}

impl Arrival {
    pub(super) fn new(entry: &NewEntry, standing: &Standing, dedupe: Option<DedupeKey>) -> Self {
        Self {
            id: entry.id,
            site: entry.site.clone(),
            form: entry.form.clone(),
            state: entry.state,
            reason: entry.reason,
            accepted_at: standing.waits_from.as_millisecond(),
            expires_at: standing.expires_at.map(Timestamp::as_millisecond),
            dedupe_key: dedupe.map(|key| STANDARD_NO_PAD.encode(key.0)),
        }
    }

    /// Reads what an append wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the columns of `entry`, in their order, with nothing for the number.
    pub(super) fn values(&self) -> Result<Vec<Value>, Failure> {
        self.values_with(self.state, self.reason, &[(self.state, self.reason)])
    }

    /// Returns the columns of an entry of which only the content is left, so that nobody knows what became of it.
    pub(super) fn values_of_lost(&self) -> Result<Vec<Value>, Failure> {
        let (held, salvaged) = (State::Held, Reason::Salvaged);
        self.values_with(held, salvaged, &[(self.state, self.reason), (held, salvaged)])
    }

    fn values_with(&self, state: State, reason: Reason, history: &[(State, Reason)]) -> Result<Vec<Value>, Failure> {
        let at = Timestamp::from_millisecond(self.accepted_at).ok().ok_or(Unreadable { column: "arrived" })?;
        let event = |(state, reason): &(State, Reason)| Event { at, state: *state, reason: *reason, attempt: None };
        let history: Vec<_> = history.iter().map(event).collect();
        let key = self.dedupe_key.as_ref().map(|key| STANDARD_NO_PAD.decode(key)).transpose();
        let key = key.ok().ok_or(Unreadable { column: "arrived" })?;
        let due_at = (state == State::Queued).then_some(self.accepted_at);
        Ok(vec![
            Value::Null,
            self.id.as_bytes().to_vec().into(),
            self.site.as_str().to_owned().into(),
            self.form.as_str().to_owned().into(),
            state.as_str().to_owned().into(),
            reason.as_str().to_owned().into(),
            1.into(),
            self.accepted_at.into(),
            due_at.into(),
            self.accepted_at.into(),
            self.expires_at.into(),
            Value::Null,
            0.into(),
            0.into(),
            Value::Null,
            key.into(),
            to_json(&history)?.into(),
        ])
    }
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn has(&self, id: EntryId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn has_key(&self, key: DedupeKey) -> bool {
        self.keys.contains_key(&key)
    }

    pub(super) fn add(&mut self, id: EntryId, key: Option<DedupeKey>) {
        self.ids.insert(id);
        self.keys.extend(key.map(|key| (key, id)));
    }

    /// Says that the tables may hold other entries than these: a transaction was taken back.
    pub(super) fn distrust(&mut self) {
        self.version = None;
    }
}

/// Returns the number of the entry that was entered last.
pub(super) fn sequence(connection: &Connection) -> Result<i64, Failure> {
    let mut find =
        connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entry'")?;
    Ok(find.query_row([], |row| row.get(0))?)
}

/// Enters what waits, unless it is known that nothing does; at the beginning of each transaction, where others wrote.
pub(super) fn refresh(workspace: &mut Workspace) -> Result<(), Failure> {
    let mut find = workspace.connection.prepare_cached("PRAGMA data_version")?;
    let version = Some(find.query_row([], |row| row.get(0))?);
    drop(find);
    if workspace.waiting.version != version {
        enter_all(workspace)?;
        workspace.waiting.version = version;
    }
    Ok(())
}

/// Enters what waits.
pub(super) fn enter(workspace: &mut Workspace) -> Result<(), Failure> {
    if workspace.waiting.len() == 0 { Ok(()) } else { enter_all(workspace) }
}

fn enter_all(workspace: &mut Workspace) -> Result<(), Failure> {
    let connection = &workspace.connection;
    let mut find =
        connection.prepare_cached("SELECT number, arrived FROM content WHERE number > ?1 ORDER BY number")?;
    let mut rows = find.query([sequence(connection)?])?;
    let remembers = !workspace.options.dedupe_window.is_zero();
    let (mut entered, mut newest) = (0, None);
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let arrived = row.get_ref(1)?;
        match arrived.as_str().ok().and_then(Arrival::parse) {
            Some(arrival) => {
                enter_one(connection, number, &arrival, remembers)?;
                newest = newest.max(Some(arrival.accepted_at));
                entered += 1;
            }
            None => tracing::error!(entry.number = number, "an entry of the store cannot be read; it is not sent"),
        }
    }
    drop(rows);
    drop(find);
    if let Some(newest) = newest.and_then(|newest| Timestamp::from_millisecond(newest).ok()) {
        forget_keys(workspace, newest, entered)?;
    }
    workspace.waiting.ids.clear();
    workspace.waiting.keys.clear();
    Ok(())
}

fn enter_one(connection: &Connection, number: i64, arrival: &Arrival, remembers: bool) -> Result<(), Failure> {
    let mut values = arrival.values()?;
    if let Some(first) = values.first_mut() {
        *first = number.into();
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO entry (number, id, site, form, state, reason, revision, accepted_at, due_at, waits_from, expires_at,
            lease, attempts, seen, lead_id, dedupe_key, history)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    insert.execute(params_from_iter(&values))?;
    if !remembers || arrival.dedupe_key.is_none() {
        return Ok(());
    }
    let mut remember = connection.prepare_cached(
        "INSERT OR REPLACE INTO dedupe (key, id, seen_at)
         SELECT dedupe_key, id, accepted_at FROM entry WHERE number = ?1",
    )?;
    remember.execute([number])?;
    Ok(())
}

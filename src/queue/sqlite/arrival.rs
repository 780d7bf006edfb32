//! Entries that are durable but not yet in the books.
//!
//! An append adds a record to the segment of its transaction, and that says all that is known of the entry. Its row of
//! `entry` and that row's indexes are written later, for many entries together: each page of theirs that changes is written
//! whole at every commit (see `entering`). Every job but an append enters what waits, in its own transaction, so none sees
//! the difference.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use rusqlite::Connection;

use super::failure::Failure;
use super::listed;
use super::row::from_millisecond;
use super::schema::check_version;
use super::segment::{self, records};
use super::writer::Workspace;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::codes::Code;
use crate::queue::history::take;
use crate::queue::standing::{Beside, Standing};
use crate::queue::unreadable::Unreadable;
use crate::queue::{DedupePrefix, Event, NewEntry, Reading, Reason, State};

/// Entries that wait at most: the append that finds so many enters them first.
pub(super) const WAITING_MAX: usize = 2_048;

/// What is known of an entry when it arrives, beside its content: no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) id: EntryId,
    pub(super) site: SiteId,
    pub(super) form: FormId,
    state: State,
    reason: Reason,
    /// In milliseconds, as all times of the tables.
    pub(super) accepted_at: i64,
    expires_at: Option<i64>,
    pub(super) dedupe_key: Option<DedupePrefix>,
}

/// The version of its bytes. Never zero: zeros are what is left of a record that was removed.
const VERSION: u8 = 1;
/// Bytes that tell whose it is: the version and the id.
pub(super) const START: usize = 1 + 16;
const HAS_EXPIRY: u8 = 1;
const HAS_KEY: u8 = 2;

/// Entries that wait to be entered.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: Vec<Waits>,
    ids: HashSet<EntryId, RandomState>,
    keys: HashMap<DedupePrefix, EntryId, RandomState>,
    /// The database's version that this goes with; none when a transaction was taken back.
    version: Option<i64>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) number: i64,
    pub(super) place: u32,
    pub(super) arrival: Arc<Arrival>,
}

impl Arrival {
    pub(super) fn new(entry: &NewEntry, standing: &Standing, dedupe: Option<DedupePrefix>) -> Self {
        Self {
            id: entry.id,
            site: entry.site.clone(),
            form: entry.form.clone(),
            state: entry.state,
            reason: entry.reason,
            accepted_at: standing.waits_from.as_millisecond(),
            expires_at: standing.expires_at.map(Timestamp::as_millisecond),
            dedupe_key: dedupe,
        }
    }

    /// Puts together what is known of an entry that came from elsewhere.
    pub(super) fn of(
        id: EntryId,
        site: SiteId,
        form: FormId,
        (state, reason): (State, Reason),
        accepted_at: i64,
        (expires_at, dedupe_key): (Option<i64>, Option<DedupePrefix>),
    ) -> Self {
        Self { id, site, form, state, reason, accepted_at, expires_at, dedupe_key }
    }

    pub(super) fn state_and_reason(&self) -> (State, Reason) {
        (self.state, self.reason)
    }

    pub(super) fn is_queued(&self) -> bool {
        self.state == State::Queued
    }

    /// Writes it as part of a record: the id, when it was accepted, how it stood and which of the following there are, when it
    /// expires, its key, how long the site's name is, the names of site and form.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let Self { id, site, form, state, reason, accepted_at, expires_at, dedupe_key } = self;
        let site = site.as_str().as_bytes();
        let form = form.as_str().as_bytes();
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        let has = flag(expires_at.is_some(), HAS_EXPIRY) | flag(dedupe_key.is_some(), HAS_KEY);
        bytes.push(VERSION);
        bytes.extend(id.as_bytes());
        bytes.extend(accepted_at.to_be_bytes());
        bytes.extend([state.code(), reason.code(), has]);
        bytes.extend(expires_at.iter().flat_map(|time| time.to_be_bytes()));
        bytes.extend(dedupe_key.iter().flat_map(|DedupePrefix(key)| key));
        // A name is far shorter.
        bytes.push(u8::try_from(site.len()).unwrap_or(u8::MAX));
        bytes.extend(site);
        bytes.extend(form);
    }

    /// Reads what an append wrote.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [VERSION] = take(&mut rest)? else { return None };
        let id = EntryId::from_bytes(take(&mut rest)?);
        let accepted_at = i64::from_be_bytes(take(&mut rest)?);
        let [state, reason, has] = take(&mut rest)?;
        let expires_at = if has & HAS_EXPIRY == 0 { None } else { Some(i64::from_be_bytes(take(&mut rest)?)) };
        let dedupe_key = if has & HAS_KEY == 0 { None } else { Some(DedupePrefix(take(&mut rest)?)) };
        let [site_len] = take(&mut rest)?;
        let (site, form) = rest.split_at_checked(site_len.into())?;
        Some(Self {
            id,
            site: SiteId::parse(std::str::from_utf8(site).ok()?).ok()?,
            form: FormId::parse(std::str::from_utf8(form).ok()?).ok()?,
            state: State::from_code(state)?,
            reason: Reason::from_code(reason)?,
            accepted_at,
            expires_at,
            dedupe_key,
        })
    }

    /// Returns how the entry stood when it arrived.
    pub(super) fn standing(&self) -> Result<Standing, Failure> {
        let time = |millisecond| Timestamp::from_millisecond(millisecond).ok().ok_or(Unreadable { column: "bytes" });
        let at = time(self.accepted_at)?;
        let state = self.state;
        let reason = self.reason;
        Ok(Standing {
            state,
            reason,
            revision: 1,
            due_at: (state == State::Queued).then_some(at),
            waits_from: at,
            expires_at: self.expires_at.map(time).transpose()?,
            attempts: 0,
            lead_id: None,
            lease: None,
            history: vec![Event { at, state, reason, attempt: None }],
        })
    }

    /// Returns what stands beside the standing, as long as nothing has happened to the entry.
    pub(super) fn beside(&self, traceparent: Option<String>, reading: Reading) -> Result<Beside, Failure> {
        Ok(Beside {
            id: self.id,
            site: self.site.clone(),
            form: self.form.clone(),
            accepted_at: from_millisecond(self.accepted_at, "accepted_at")?,
            seen: 0,
            traceparent,
            reading,
        })
    }

    /// Tells whether an append could have written this.
    fn is_sound(&self) -> bool {
        let may_be = self.is_queued() && self.expires_at.is_none() || self.state == State::Held;
        may_be && self.standing().is_ok()
    }

    /// Returns how an entry stands of which only the record is left, so that nobody knows what became of it.
    pub(super) fn standing_of_lost(&self) -> Result<Standing, Failure> {
        let mut standing = self.standing()?;
        standing.state = State::Held;
        standing.reason = Reason::Salvaged;
        standing.due_at = None;
        let event = Event { at: standing.waits_from, state: State::Held, reason: Reason::Salvaged, attempt: None };
        standing.history.push(event);
        Ok(standing)
    }
}

/// Tells whether bytes are the beginning of what is known of an entry.
pub(super) fn is_of(bytes: &[u8], id: EntryId) -> bool {
    bytes.split_first().is_some_and(|(version, rest)| *version == VERSION && rest.starts_with(id.as_bytes()))
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn has(&self, id: EntryId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn has_key(&self, key: DedupePrefix) -> bool {
        self.keys.contains_key(&key)
    }

    pub(super) fn add(&mut self, number: i64, place: u32, arrival: Arc<Arrival>) {
        self.ids.insert(arrival.id);
        self.keys.extend(arrival.dedupe_key.map(|key| (key, arrival.id)));
        self.entries.push(Waits { number, place, arrival });
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Vec<Waits> {
        self.ids.clear();
        self.keys.clear();
        std::mem::take(&mut self.entries)
    }

    /// Tells whether a transaction was taken back, and nothing was looked at since.
    pub(super) fn is_distrusted(&self) -> bool {
        self.version.is_none()
    }

    /// Says that the tables may hold other entries than these: a transaction was taken back.
    pub(super) fn distrust(&mut self) {
        *self = Self::default();
    }
}

/// Returns the number of the entry that was entered last, whether it is still there or not: none is given again.
pub(super) fn entered(connection: &Connection) -> Result<i64, Failure> {
    let mut find = connection.prepare_cached("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'entered'")?;
    Ok(find.query_row([], |row| row.get(0))?)
}

/// Says up to which number all are entered.
pub(super) fn set_entered(connection: &Connection, number: i64) -> Result<(), Failure> {
    let mut set = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('entered', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    set.execute([number])?;
    Ok(())
}

/// Hands over each record that has no row of `entry` yet, with its number; returns the highest number of all records.
pub(super) fn not_entered(
    connection: &Connection,
    mut each: impl FnMut(i64, segment::Record) -> Result<(), Failure>,
) -> Result<i64, Failure> {
    let entered = entered(connection)?;
    // The segment of the last one may hold others behind it.
    let mut find = connection.prepare_cached(
        "SELECT number, bytes FROM content
         WHERE number >= coalesce((SELECT max(number) FROM content WHERE number <= ?1), 0) AND number > 0 ORDER BY number",
    )?;
    let mut rows = find.query([entered.saturating_add(1)])?;
    let mut highest = entered;
    while let Some(row) = rows.next()? {
        let first: i64 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(|_other| Unreadable { column: "bytes" })?;
        for (number, record) in (first..).zip(records(bytes)) {
            highest = highest.max(number);
            if number > entered && !record.arrival.is_empty() {
                each(number, record)?;
            }
        }
    }
    Ok(highest)
}

/// Counts the records that have no row of `entry` yet.
pub(super) fn count_not_entered(connection: &Connection) -> Result<u64, Failure> {
    let mut count = 0;
    not_entered(connection, |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Looks at the beginning of each transaction whether what is remembered still holds: nothing does where another process
/// wrote, or a transaction was taken back.
pub(super) fn refresh(workspace: &mut Workspace) -> Result<(), Failure> {
    let mut find = workspace.connection.prepare_cached("PRAGMA data_version")?;
    let version = Some(find.query_row([], |row| row.get(0))?);
    drop(find);
    if workspace.waiting.version == version {
        return Ok(());
    }
    let connection = &workspace.connection;
    // A newer program may have changed the tables; this one must then hold still.
    check_version(connection)?;
    workspace.waiting.distrust();
    workspace.recent.clear();
    workspace.names.forget();
    workspace.used = None;
    // Once damage was met where the entries lie, what is new is stored all the same.
    let unread = workspace.keys.has_given_up();
    workspace.tally.refresh(connection, unread)?;
    workspace.outbox.refresh(connection)?;
    let waiting = &mut workspace.waiting;
    let mut known = connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?;
    let highest = not_entered(connection, |number, record| {
        // What the table would refuse must keep nobody else from being entered.
        let arrival = Arrival::parse(&record.arrival).filter(Arrival::is_sound);
        let mut is_new =
            |id: EntryId| Ok::<_, Failure>(!waiting.has(id) && (unread || !known.exists([id.as_bytes()])?));
        match arrival {
            Some(arrival) if is_new(arrival.id)? => waiting.add(number, record.place, Arc::new(arrival)),
            _ => tracing::error!(entry.number = number, "an entry of the store cannot be read; it is not sent"),
        }
        Ok(())
    })?;
    drop(known);
    workspace.next_number = highest + 1;
    let not_listed = entered(connection)? - listed::upto(connection)?;
    workspace.unlisted = usize::try_from(not_listed).unwrap_or_default();
    workspace.newest = if unread { None } else { newest(connection)? };
    if !workspace.options.dedupe_window.is_zero() {
        workspace.keys.refresh(connection, workspace.options.dedupe_window)?;
    }
    workspace.waiting.version = version;
    Ok(())
}

fn newest(connection: &Connection) -> Result<Option<EntryId>, Failure> {
    let mut newest = connection.prepare_cached("SELECT max(id) FROM entry")?;
    Ok(newest.query_row([], |row| row.get::<_, Option<[u8; 16]>>(0))?.map(EntryId::from_bytes))
}

/// Writes the segment that appends have begun.
pub(super) fn write_segment(workspace: &mut Workspace) -> Result<(), Failure> {
    if workspace.segment.is_empty() {
        return Ok(());
    }
    segment::insert(&workspace.connection, workspace.segment_number, &workspace.segment)?;
    workspace.segment.clear();
    Ok(())
}

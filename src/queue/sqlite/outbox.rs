//! The events that are recorded, and who reads them.
//!
//! Whoever records adds a row in the transaction of what it records. Numbers follow each other without a gap: the last is
//! remembered while the transactions go on, and else told by the table, or by `meta` where that was trimmed.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::arrival::Arrival;
use super::failure::{DamageMet, Failure};
use super::names::Names;
use super::row::{code, from_millisecond, signed, unsigned};
use super::writer::Workspace;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::codes::Code;
use crate::queue::outbox::{NEVER_DROPPED, drop_upto};
use crate::queue::standing::whole_millisecond;
use crate::queue::unreadable::Unreadable;
use crate::queue::{
    EVENTS_MAX, Emission, Events, Happened, Key, Move, MoveFilter, ONCE_MAX, Outbox, OutboxEvent, READERS_MAX, Reader,
    StoreError, Transition,
};

/// Records what an entry's row says, and what is given beside it.
const OF_ENTRY: &str = "INSERT INTO outbox (number, at, id, site, form, from_state, to_state, reason, attempt)
    SELECT ?2, ?3, id, site, form, coalesce(?4, state), ?5, reason, ?6 FROM entry WHERE number = ?1";

/// Whether events are recorded, and the number of the last. True only of what was committed.
#[derive(Debug)]
pub(super) struct Recorder {
    has_readers: bool,
    filter: MoveFilter,
    last: i64,
    /// Damage was met where events lie: none is recorded until the next start, since no lead may wait for one.
    given_up: bool,
    gave_up_now: bool,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { has_readers: false, filter: MoveFilter::ALL, last: 0, given_up: false, gave_up_now: false }
    }
}

impl Recorder {
    /// Tells whether it gave up since it was last asked: then the transaction may go well without it.
    pub(super) fn gave_up_now(&mut self) -> bool {
        std::mem::take(&mut self.gave_up_now)
    }

    /// Looks at what is committed.
    pub(super) fn refresh(&mut self, connection: &Connection) -> Result<(), Failure> {
        if self.given_up {
            return Ok(());
        }
        let found = has_readers(connection).and_then(|has_readers| Ok((has_readers, last(connection)?)));
        (self.has_readers, self.last) = found.inspect_err(|failure| self.note(failure))?;
        Ok(())
    }

    /// Takes over readers and events that were put into the tables, and a number up to which none is given.
    pub(super) fn take_over(&mut self, connection: &Connection, last: i64) -> Result<(), Failure> {
        keep_last(connection, last)?;
        self.refresh(connection)
    }

    fn note(&mut self, failure: &Failure) {
        if failure.is_damage() {
            tracing::error!("queue.events_lost: events are on a damaged page; none is recorded until the next start");
            self.has_readers = false;
            self.given_up = true;
            self.gave_up_now = true;
        }
    }

    /// Records an event that `insert` adds under the number given to it, if anybody reads it.
    fn record(
        &mut self,
        connection: &Connection,
        insert: impl FnOnce(i64) -> rusqlite::Result<usize>,
    ) -> Result<(), Failure> {
        if !self.has_readers {
            return Ok(());
        }
        let number = self.last + 1;
        let recorded = insert(number).map_err(Failure::from).and_then(|_| drop_old(connection, number));
        recorded.inspect_err(|failure| self.note(failure))?;
        self.last = number;
        Ok(())
    }
}

/// Records that an entry was appended; before anything of it is remembered, since this may fail.
pub(super) fn appended(workspace: &mut Workspace, arrival: &Arrival) -> Result<(), Failure> {
    let Workspace { connection, outbox, names, .. } = workspace;
    arrived(connection, outbox, names, arrival)
}

/// The same for whoever holds parts of the workspace.
pub(super) fn arrived(
    connection: &Connection,
    outbox: &mut Recorder,
    names: &mut Names,
    arrival: &Arrival,
) -> Result<(), Failure> {
    let (state, reason) = arrival.state_and_reason();
    if !outbox.has_readers || !outbox.filter.lets(None, Some(state)) {
        return Ok(());
    }
    let site = names.number(connection, arrival.site.as_str())?;
    let form = names.number(connection, arrival.form.as_str())?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO outbox (number, at, id, site, form, to_state, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let id = arrival.id.as_bytes();
    let at = arrival.accepted_at;
    outbox.record(connection, |number| insert.execute(params![number, at, id, site, form, state.code(), reason.code()]))
}

/// Records what became of an entry, once it is written.
pub(super) fn changed(workspace: &mut Workspace, number: i64, transition: &Transition) -> Result<(), Failure> {
    let Transition { from, to, attempt, at, .. } = *transition;
    if !transition.recorded || !workspace.outbox.filter.lets(Some(from), Some(to)) {
        return Ok(());
    }
    let attempt = attempt.map(Code::code);
    of_entry(workspace, number, at, (Some(from.code()), Some(to.code()), attempt))
}

/// Records that an entry is about to be removed because its time is over.
pub(super) fn expires(workspace: &mut Workspace, number: i64, now: Timestamp) -> Result<(), Failure> {
    if !workspace.outbox.filter.others {
        return Ok(());
    }
    of_entry(workspace, number, now, (None, None, None))
}

fn of_entry(
    workspace: &mut Workspace,
    entry: i64,
    at: Timestamp,
    (from, to, attempt): (Option<u8>, Option<u8>, Option<u8>),
) -> Result<(), Failure> {
    let Workspace { connection, outbox, .. } = workspace;
    outbox.record(connection, |number| {
        connection.prepare_cached(OF_ENTRY)?.execute(params![entry, number, at.as_millisecond(), from, to, attempt])
    })
}

fn emit(workspace: &mut Workspace, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, Failure> {
    let Workspace { connection, outbox, names, .. } = workspace;
    if outbox.given_up {
        return Err(Failure::corrupt(DamageMet));
    }
    if !outbox.has_readers || !is_new(connection, once)? {
        return Ok(false);
    }
    let site = emission.site.as_ref().map(|site| names.number(connection, site.as_str())).transpose()?;
    let form = emission.form.as_ref().map(|form| names.number(connection, form.as_str())).transpose()?;
    let id = emission.entry.as_ref().map(EntryId::as_bytes);
    let mut insert = connection
        .prepare_cached("INSERT INTO outbox (number, at, topic, id, site, form) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    outbox.record(connection, |number| {
        insert.execute(params![number, now.as_millisecond(), emission.event.code(), id, site, form])
    })?;
    drop(insert);
    workspace.woke = true;
    Ok(true)
}

/// Remembers a key and forgets the oldest; false where it was remembered before.
fn is_new(connection: &Connection, once: &Key) -> Result<bool, Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO once (key, number) VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM once))
         ON CONFLICT DO NOTHING RETURNING number",
    )?;
    let number: Option<i64> = insert.query_row([once.as_str()], |row| row.get(0)).optional()?;
    let Some(number) = number else { return Ok(false) };
    let mut forget = connection.prepare_cached("DELETE FROM once WHERE number <= ?1")?;
    forget.execute([number - signed(ONCE_MAX)])?;
    Ok(true)
}

/// Drops what nobody read in time.
fn drop_old(connection: &Connection, recorded: i64) -> Result<(), Failure> {
    let Some(upto) = drop_upto(unsigned(recorded)) else { return Ok(()) };
    let mut delete = connection.prepare_cached("DELETE FROM outbox WHERE number <= ?1 AND topic IS NOT ?2")?;
    let dropped = delete.execute(params![signed(upto), NEVER_DROPPED.code()])?;
    if dropped > 0 {
        tracing::warn!(dropped, "queue.events_dropped: a reader of events is too far behind");
    }
    Ok(())
}

fn register(workspace: &mut Workspace, reader: &Key) -> Result<Option<u64>, Failure> {
    let Workspace { connection, outbox, .. } = workspace;
    let mut find = connection.prepare_cached("SELECT upto FROM reader WHERE name = ?1")?;
    if let Some(upto) = find.query_row([reader.as_str()], |row| row.get(0)).optional()? {
        return Ok(Some(unsigned(upto)));
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO reader (name, upto) SELECT ?1, ?2 WHERE (SELECT count(*) FROM reader) < ?3")?;
    let added = insert.execute(params![reader.as_str(), outbox.last, READERS_MAX as i64])?;
    outbox.has_readers |= added > 0 && !outbox.given_up;
    Ok((added > 0).then_some(unsigned(outbox.last)))
}

fn unregister(workspace: &mut Workspace, reader: &Key) -> Result<bool, Failure> {
    let Workspace { connection, outbox, .. } = workspace;
    let removed = connection.prepare_cached("DELETE FROM reader WHERE name = ?1")?.execute([reader.as_str()])?;
    outbox.has_readers &= has_readers(connection)?;
    remove_read(connection, outbox.last)?;
    Ok(removed > 0)
}

fn trim(workspace: &mut Workspace, reader: &Key, upto: u64) -> Result<bool, Failure> {
    let Workspace { connection, outbox, .. } = workspace;
    let mut update = connection.prepare_cached("UPDATE reader SET upto = max(upto, ?2) WHERE name = ?1")?;
    let updated = update.execute(params![reader.as_str(), signed(upto).min(outbox.last)])?;
    remove_read(connection, outbox.last)?;
    Ok(updated > 0)
}

/// Removes what every reader has, and keeps the number of the last event: none is given again.
fn remove_read(connection: &Connection, last: i64) -> Result<(), Failure> {
    keep_last(connection, last)?;
    let mut delete =
        connection.prepare_cached("DELETE FROM outbox WHERE number <= (SELECT coalesce(min(upto), ?1) FROM reader)")?;
    delete.execute([last])?;
    Ok(())
}

fn keep_last(connection: &Connection, last: i64) -> Result<(), Failure> {
    let mut keep = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('events', ?1) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
    )?;
    keep.execute([last])?;
    Ok(())
}

fn has_readers(connection: &Connection) -> Result<bool, Failure> {
    Ok(connection.prepare_cached("SELECT 1 FROM reader")?.exists([])?)
}

/// Returns the number of the last event that was recorded, whether it is still there or not.
fn last(connection: &Connection) -> Result<i64, Failure> {
    let mut find = connection.prepare_cached(
        "SELECT max(coalesce((SELECT max(number) FROM outbox), 0),
                    coalesce((SELECT value FROM meta WHERE key = 'events'), 0))",
    )?;
    Ok(find.query_row([], |row| row.get(0))?)
}

fn readers(connection: &Connection) -> Result<Vec<Reader>, Failure> {
    let last = last(connection)?;
    let mut list = connection.prepare_cached("SELECT name, upto FROM reader ORDER BY name")?;
    let rows = list.query_and_then([], |row| {
        let upto = row.get(1)?;
        Ok(Reader { name: key(row, 0, "name")?, upto: unsigned(upto), behind: unsigned(last - upto) })
    })?;
    rows.collect()
}

fn events(connection: &Connection, after: u64, limit: usize) -> Result<Events, Failure> {
    let mut list = connection.prepare_cached(
        "SELECT outbox.number, at, topic, id, of_site.text, of_form.text, from_state, to_state, reason, attempt
         FROM outbox LEFT JOIN name AS of_site ON of_site.number = site LEFT JOIN name AS of_form ON of_form.number = form
         WHERE outbox.number > ?1 ORDER BY outbox.number LIMIT ?2",
    )?;
    let mut rows = list.query(params![signed(after), signed(limit as u64)])?;
    let mut events = Vec::new();
    let mut read = 0;
    let mut upto = after;
    while let Some(row) = rows.next()? {
        read += 1;
        upto = unsigned(row.get(0)?);
        match event(row, upto) {
            Ok(event) => events.push(event),
            // A newer program's words, or damage: it is one of those that are missed.
            Err(Failure::Corrupt(_)) => {
                tracing::error!(event.number = upto, "an event cannot be read; it is passed over");
            }
            Err(failure) => return Err(failure),
        }
    }
    let upto = if read < limit { unsigned(last(connection)?) } else { upto };
    Ok(Events::new(events, after, upto))
}

fn event(row: &Row<'_>, number: u64) -> Result<OutboxEvent, Failure> {
    let at = from_millisecond(row.get(1)?, "at")?;
    let entry = row.get::<_, Option<[u8; 16]>>(3)?.map(EntryId::from_bytes);
    let site = optional(row, 4, |text| SiteId::parse(text).map_err(|_invalid| Unreadable { column: "site" }))?;
    let form = optional(row, 5, |text| FormId::parse(text).map_err(|_invalid| Unreadable { column: "form" }))?;
    let happened = match optional_code(row, 2, "topic")? {
        Some(event) => Happened::Emitted(Emission { event, entry, site, form }),
        None => Happened::Moved(Move {
            entry: entry.ok_or(Unreadable { column: "id" })?,
            site: site.ok_or(Unreadable { column: "site" })?,
            form: form.ok_or(Unreadable { column: "form" })?,
            from: optional_code(row, 6, "from_state")?,
            to: optional_code(row, 7, "to_state")?,
            reason: code(row, 8, "reason")?,
            attempt: optional_code(row, 9, "attempt")?,
        }),
    };
    Ok(OutboxEvent { number, at, happened })
}

fn optional<T>(
    row: &Row<'_>,
    at: usize,
    parse: impl FnOnce(&str) -> Result<T, Unreadable>,
) -> Result<Option<T>, Failure> {
    let text: Option<String> = row.get(at)?;
    Ok(text.as_deref().map(parse).transpose()?)
}

fn optional_code<T: Code>(row: &Row<'_>, at: usize, column: &'static str) -> Result<Option<T>, Failure> {
    let is_there = row.get::<_, Option<i64>>(at)?.is_some();
    is_there.then(|| code(row, at, column)).transpose()
}

/// Reads a key.
pub(super) fn key(row: &Row<'_>, at: usize, column: &'static str) -> Result<Key, Failure> {
    Key::parse(&row.get::<_, String>(at)?).map_err(|_invalid| Unreadable { column }.into())
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn register(&self, reader: &Key) -> Result<Option<u64>, StoreError> {
        let reader = reader.clone();
        self.writer.write_always(move |workspace| register(workspace, &reader)).await
    }

    async fn unregister(&self, reader: &Key) -> Result<bool, StoreError> {
        let reader = reader.clone();
        self.writer.write_always(move |workspace| unregister(workspace, &reader)).await
    }

    async fn readers(&self) -> Result<Vec<Reader>, StoreError> {
        self.readers.read(readers).await
    }

    async fn record_moves(&self, filter: MoveFilter) -> Result<(), StoreError> {
        let set = move |workspace: &mut Workspace| {
            workspace.outbox.filter = filter;
            Ok(())
        };
        self.writer.write_always(set).await
    }

    async fn emit(&self, emission: &Emission, once: &Key, now: Timestamp) -> Result<bool, StoreError> {
        let emission = emission.clone();
        let once = once.clone();
        let now = whole_millisecond(now);
        self.writer.write_always(move |workspace| emit(workspace, &emission, &once, now)).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Events, StoreError> {
        let limit = limit.clamp(1, EVENTS_MAX);
        let events = self.readers.read(move |connection| events(connection, after, limit)).await?;
        // What is committed can be read before it is on the disk. An event that others were told of must not be lost in a
        // power cut, nor its number given to another.
        if !events.events.is_empty() {
            self.writer.write_always(|_| Ok(())).await?;
        }
        Ok(events)
    }

    async fn trim(&self, reader: &Key, upto: u64) -> Result<bool, StoreError> {
        let reader = reader.clone();
        self.writer.write_always(move |workspace| trim(workspace, &reader, upto)).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;
    use std::time::Duration;

    use super::super::Options;
    use super::super::schema::PAGE_SIZE;
    use super::super::tests::{entry, number, store};
    use super::*;
    use crate::event::EventType;
    use crate::queue::{Appended, Claim, Settlement, Store};

    /// Spoils the page of the newest events.
    async fn spoil(store: &SqliteStore, folder: &Path) {
        let page = "SELECT max(pageno) FROM dbstat WHERE name = 'outbox' AND pagetype = 'leaf'";
        let page = number(store, page).await;
        assert_eq!(store.writer.write_and_truncate(|_| Ok(1)).await.expect("done"), 1);
        let file = std::fs::OpenOptions::new().write(true).open(folder.join("store.db")).expect("opened");
        file.write_all_at(&[0x5a; PAGE_SIZE], u64::from(page - 1) * PAGE_SIZE as u64).expect("written");
        let forget = |workspace: &mut Workspace| Ok(workspace.connection.execute_batch("PRAGMA shrink_memory")?);
        store.writer.write(forget).await.expect("done");
    }

    async fn goes_its_way(store: &SqliteStore, number: u8) {
        let id = entry(number, 10).id;
        assert_eq!(store.append(entry(number, 10), None).await.expect("appended"), Appended::New(id));
        let claim = Claim::new(1, Duration::from_secs(60), Timestamp::UNIX_EPOCH);
        let leases = store.claim(&claim).await.expect("claimed");
        assert_eq!(leases.iter().map(|lease| lease.head.id).collect::<Vec<_>>(), [id]);
        let again = Settlement::Postponed { after: Duration::from_secs(9), attempt: None };
        for lease in leases {
            assert!(store.settle(&lease, again.clone(), Timestamp::UNIX_EPOCH).await.expect("settled").is_done());
        }
        assert!(
            store
                .amend(id, 3, crate::queue::Change::Drop { keep: Duration::ZERO }, Timestamp::UNIX_EPOCH)
                .await
                .expect("amended")
                .is_done()
        );
        assert_eq!(store.expire(Timestamp::UNIX_EPOCH, 9).await.expect("expired"), 1);
    }

    #[tokio::test]
    async fn no_lead_waits_for_an_event_on_a_damaged_page() {
        let (folder, store) = store();
        let reader = Key::parse("ops").expect("a key");
        assert_eq!(store.register(&reader).await.expect("registered"), Some(0));
        let emit = async |store: &SqliteStore, number: u32| {
            let once = Key::parse(&number.to_string()).expect("a key");
            store.emit(&Emission::new(EventType::SitePaused), &once, Timestamp::UNIX_EPOCH).await
        };
        for number in 0..500 {
            assert!(emit(&store, number).await.expect("emitted"));
        }
        spoil(&store, folder.path()).await;
        goes_its_way(&store, 1).await;
        assert!(matches!(emit(&store, 999).await, Err(StoreError::Corrupt(_))));
        assert!(matches!(store.problems().await.expect("read")[..], [StoreError::Corrupt(_)]));
        assert!(store.ready().await.is_ok());
        // A process that meets the damage as it begins goes without events too.
        let dedupe_window = Duration::from_secs(10);
        let opened_at = Timestamp::UNIX_EPOCH;
        let options = Options { dedupe_window, max_size: None, opened_at };
        let other = SqliteStore::open(&folder.path().join("store.db"), options).expect("opened");
        goes_its_way(&other, 2).await;
        let page = other.events(0, 9).await.expect("what lies elsewhere can be read");
        assert_eq!((page.events.len(), page.missed), (9, 0));
    }

    #[tokio::test]
    async fn an_event_with_a_word_of_a_newer_program_is_passed_over() {
        let (_folder, store) = store();
        let reader = Key::parse("ops").expect("a key");
        assert_eq!(store.register(&reader).await.expect("registered"), Some(0));
        for number in 1..=3 {
            assert!(store.append(entry(number, 10), None).await.is_ok());
        }
        let newer = |workspace: &mut Workspace| {
            Ok(workspace.connection.execute("UPDATE outbox SET to_state = 99 WHERE number = 2", [])?)
        };
        assert_eq!(store.writer.write(newer).await.expect("written"), 1);
        let page = store.events(0, 2).await.expect("read");
        assert_eq!((page.events.len(), page.missed, page.upto), (1, 1, 2));
        assert_eq!(store.events(2, 2).await.expect("read").events.len(), 1);
    }
}

//! Reading entries and counting them.

use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use super::check::Watch;
use super::failure::Failure;
use super::row::{HEAD_BY_ID, code, from_millisecond, read_entry, read_head, text, unsigned};
use super::schema::{self, PAGE_SIZE};
use super::segment::Segments;
use super::{listed, names};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::codes::Code;
use crate::queue::{Counts, Entry, Extent, Filter, Head, Order, Page, State};

/// What all scans have in common: by id, from behind the cursor. The reasons for `:upto` are in [`listed`].
macro_rules! scan {
    ($from:literal, $id:literal, $behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $id,
            " FROM ",
            $from,
            " AND ",
            $id,
            " ",
            $behind,
            " :cursor
                AND (:state IS NULL OR state = :state)
                AND (:form IS NULL OR form = :form) AND (:reason IS NULL OR reason = :reason)
                AND (:since IS NULL OR accepted_at >= :since) AND (:until IS NULL OR accepted_at < :until)
                AND (:site IS NULL OR entry.site = :site) AND :upto >= 0
             ORDER BY ",
            $id,
            " ",
            $order,
            " LIMIT :limit"
        )
    };
}

/// The same oldest and newest first.
macro_rules! scans {
    ($from:literal, $id:literal) => {
        [scan!($from, $id, ">", "ASC"), scan!($from, $id, "<", "DESC")]
    };
}

/// All entries by id.
const ALL: [&str; 2] = scans!("entry INDEXED BY entry_id WHERE TRUE", "id");
/// Those of a site.
const OF_SITE: [&str; 2] =
    scans!("listed CROSS JOIN entry ON entry.id = listed.id WHERE listed.site = :site", "listed.id");
/// Those that are not listed under their site yet.
const BEHIND: [&str; 2] = scans!("entry NOT INDEXED WHERE number > :upto", "id");
/// Those that need a person.
const OPEN: [&str; 2] = scans!("entry INDEXED BY entry_open WHERE state = :state AND state IN (1, 3)", "id");
const OPEN_OF_SITE: [&str; 2] =
    scans!("entry INDEXED BY entry_open_by_site WHERE entry.site = :site AND state = :state AND state IN (1, 3)", "id");
/// Those that wait to be sent, put in order when they are found.
const QUEUED: [&str; 2] = scans!("entry INDEXED BY entry_due WHERE state = 0", "id");
const QUEUED_OF_SITE: [&str; 2] = scans!("entry INDEXED BY entry_due WHERE state = 0 AND entry.site = :site", "id");

/// Those that are delivered, found among all that will be removed.
const SETTLED: [&str; 2] = scans!("entry INDEXED BY entry_expiring WHERE expires_at IS NOT NULL", "id");
/// Finding an entry among them is about this many times cheaper than walking past one of a site's.
const SETTLED_SAVES: u64 = 4;

/// So many of a state are always found by it and put in order; of more only where that is less work than to walk past all
/// others.
const ORDERED_MAX: u64 = 20_000;

/// Sorts behind every id.
const BEHIND_ALL: [u8; 17] = [u8::MAX; 17];

/// Measures the store.
pub(super) fn extent(connection: &Connection) -> Result<Extent, Failure> {
    let pages = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let used = pages("page_count")?.saturating_sub(pages("freelist_count")?);
    let schema = Some(schema::check_version(connection)?);
    Ok(Extent { bytes: u64::from(used) * PAGE_SIZE as u64, schema })
}

/// Reads one entry.
pub(super) fn get(connection: &Connection, id: EntryId) -> Result<Option<Entry>, Failure> {
    let mut find = connection.prepare_cached(HEAD_BY_ID)?;
    let mut segments = Segments::of(connection);
    find.query_and_then([id.as_bytes()], |row| read_entry(row, &mut segments))?.next().transpose()
}

/// Reads a page of entries. What can't be read is named, and keeps nobody from the others.
pub(super) fn scan(
    connection: &Connection,
    damage: &Watch,
    filter: &Filter,
    order: Order,
    cursor: Option<EntryId>,
    limit: usize,
) -> Result<Page, Failure> {
    let Some(scan) = Scan::of(connection, filter, order, cursor, limit + 1)? else { return Ok(Page::default()) };
    let mut ids = scan.ids(connection)?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().copied().filter(|_| more);
    let mut page = Page { next, ..Page::default() };
    let mut segments = Segments::of(connection);
    for id in ids {
        match head(connection, &mut segments, id) {
            Ok(head) => page.heads.extend(head),
            Err(failure @ (Failure::Corrupt(_) | Failure::Damaged(_))) => {
                damage.note(&failure);
                page.unreadable.push(id);
                segments = Segments::of(connection);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(page)
}

fn head(connection: &Connection, segments: &mut Segments<'_>, id: EntryId) -> Result<Option<Head>, Failure> {
    let mut find = connection.prepare_cached(HEAD_BY_ID)?;
    find.query_and_then([id.as_bytes()], |row| read_head(row, segments))?.next().transpose()
}

/// What is looked for, in the words of the tables.
struct Scan {
    order: Order,
    site: Option<i64>,
    form: Option<i64>,
    state: Option<u8>,
    reason: Option<u8>,
    since: Option<i64>,
    until: Option<i64>,
    cursor: Vec<u8>,
    limit: usize,
    /// Whether the state has few of the entries, of the site or of all.
    is_rare: bool,
    /// Those behind it are not listed under their site.
    upto: i64,
}

impl Scan {
    /// Reads a filter; none where nothing can pass it.
    fn of(
        connection: &Connection,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Self>, Failure> {
        let number = |text: Option<&str>| text.map(|text| names::find(connection, text)).transpose();
        let (site, form) =
            (number(filter.site.as_ref().map(SiteId::as_str))?, number(filter.form.as_ref().map(FormId::as_str))?);
        if site == Some(None) || form == Some(None) {
            return Ok(None);
        }
        let before_all = if order == Order::Newest { &BEHIND_ALL[..] } else { &[][..] };
        let site = site.flatten();
        let is_rare = filter.state.map(|state| is_rare(connection, site, state)).transpose()?.unwrap_or_default();
        Ok(Some(Self {
            order,
            site,
            form: form.flatten(),
            state: filter.state.map(Code::code),
            reason: filter.reason.map(Code::code),
            since: filter.since.map(ceil_millisecond),
            until: filter.until.map(ceil_millisecond),
            cursor: cursor.as_ref().map_or(before_all, |id| id.as_bytes()).to_vec(),
            limit,
            is_rare,
            upto: if site.is_some() { listed::upto(connection)? } else { 0 },
        }))
    }

    /// Returns the ids of what passes, in order.
    fn ids(&self, connection: &Connection) -> Result<Vec<EntryId>, Failure> {
        let state = self.state.and_then(State::from_code);
        match (state, self.site) {
            (Some(State::Held | State::Dead), None) => self.run(connection, OPEN),
            (Some(State::Held | State::Dead), Some(_)) => self.run(connection, OPEN_OF_SITE),
            (Some(State::Queued), None) if self.is_rare => self.run(connection, QUEUED),
            (Some(State::Queued), Some(_)) if self.is_rare => self.run(connection, QUEUED_OF_SITE),
            (Some(State::Delivered), _) if self.is_rare => self.run(connection, SETTLED),
            (_, None) => self.run(connection, ALL),
            (_, Some(_)) => {
                let mut ids = self.run(connection, OF_SITE)?;
                ids.extend(self.run(connection, BEHIND)?);
                ids.sort_unstable();
                ids.dedup();
                if self.order == Order::Newest {
                    ids.reverse();
                }
                ids.truncate(self.limit);
                Ok(ids)
            }
        }
    }

    fn run(&self, connection: &Connection, [oldest, newest]: [&str; 2]) -> Result<Vec<EntryId>, Failure> {
        let mut scan = connection.prepare_cached(if self.order == Order::Oldest { oldest } else { newest })?;
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        let rows = scan.query_map(
            named_params! {
                ":site": self.site,
                ":form": self.form,
                ":state": self.state,
                ":reason": self.reason,
                ":since": self.since,
                ":until": self.until,
                ":cursor": self.cursor,
                ":limit": limit,
                ":upto": self.upto,
            },
            |row| row.get(0).map(EntryId::from_bytes),
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn is_rare(connection: &Connection, site: Option<i64>, state: State) -> Result<bool, Failure> {
    let mut count = connection.prepare_cached(
        "SELECT coalesce(sum(entries) FILTER (WHERE state = ?2), 0), coalesce(sum(entries), 0) FROM tally
         WHERE ?1 IS NULL OR site = ?1",
    )?;
    let (of_state, all) = count.query_row(params![site, state.code()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let of_state = unsigned(of_state);
    let all = unsigned(all);
    if of_state > ORDERED_MAX && of_state >= all.saturating_sub(of_state) / 4 {
        return Ok(false);
    }
    if site.is_none() || state != State::Delivered {
        return Ok(true);
    }
    // A site's own are not found by themselves, but among all that is not queued, of all sites.
    let mut settled =
        connection.prepare_cached("SELECT coalesce(sum(entries), 0) FROM tally WHERE state <> ?1 AND entries > 0")?;
    let settled = unsigned(settled.query_row([State::Queued.code()], |row| row.get(0))?);
    Ok(settled < all.saturating_mul(SETTLED_SAVES))
}

/// Rounds up, so that comparing with whole milliseconds gives the same as with the time itself.
pub(super) fn ceil_millisecond(time: Timestamp) -> i64 {
    let millisecond = time.as_millisecond();
    if Timestamp::from_millisecond(millisecond).is_ok_and(|cut| cut < time) { millisecond + 1 } else { millisecond }
}

/// Reads how many entries there are of each site and state.
pub(super) fn counts(connection: &Connection) -> Result<Vec<Counts>, Failure> {
    let mut tally = connection.prepare_cached(
        "SELECT text, state, entries,
            (SELECT min(accepted_at) FROM entry INDEXED BY entry_due
             WHERE entry.state = 0 AND entry.site = tally.site AND tally.state = 0)
         FROM tally JOIN name ON name.number = site WHERE entries > 0",
    )?;
    let rows = tally.query_and_then([], |row| {
        let site = text(row, "text", |text| SiteId::parse(text).ok())?;
        let oldest: Option<i64> = row.get(3)?;
        let oldest = oldest.map(|oldest| from_millisecond(oldest, "accepted_at")).transpose()?;
        Ok::<_, Failure>(Counts { site, state: code(row, 1, "state")?, entries: unsigned(row.get(2)?), oldest })
    })?;
    let mut counts: Vec<_> = rows.collect::<Result<_, _>>()?;
    counts.sort_unstable_by(|one, other| (&one.site, one.state).cmp(&(&other.site, other.state)));
    Ok(counts)
}

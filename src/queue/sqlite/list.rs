//! Reading entries and counting them.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::check::Watch;
use super::failure::Failure;
use super::row::{SELECT_BY_ID, SELECT_HEAD_BY_ID, read_entry, read_head, text, time, unsigned, word};
use super::schema::{self, PAGE_SIZE};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{Counts, Entry, Extent, Filter, Head, Order, Page, State};

const STATES: [State; 4] = [State::Queued, State::Held, State::Delivered, State::Dead];

/// What all scans have in common: one state, by id, from behind the cursor.
macro_rules! scan {
    ($index:literal, $site:literal, $behind:literal, $order:literal) => {
        concat!(
            "SELECT id FROM entry INDEXED BY ",
            $index,
            " WHERE ",
            $site,
            " AND state = ?2 AND id ",
            $behind,
            " ?3 AND (?4 IS NULL OR form = ?4) AND (?5 IS NULL OR reason = ?5)",
            " AND (?6 IS NULL OR accepted_at >= ?6) AND (?7 IS NULL OR accepted_at < ?7) ORDER BY id ",
            $order,
            " LIMIT ?8"
        )
    };
}

const SITE_OLDEST: &str = scan!("entry_by_site", "site = ?1", ">", "ASC");
const SITE_NEWEST: &str = scan!("entry_by_site", "site = ?1", "<", "DESC");
const ALL_OLDEST: &str = scan!("entry_by_state", "?1 IS NULL", ">", "ASC");
const ALL_NEWEST: &str = scan!("entry_by_state", "?1 IS NULL", "<", "DESC");

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
    let mut find = connection.prepare_cached(SELECT_BY_ID)?;
    find.query_and_then([id.as_bytes()], read_entry)?.next().transpose()
}

fn head(connection: &Connection, id: EntryId) -> Result<Option<Head>, Failure> {
    let mut find = connection.prepare_cached(SELECT_HEAD_BY_ID)?;
    find.query_and_then([id.as_bytes()], read_head)?.next().transpose()
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
    // Each state has its own stretch of the index; what comes first of all of them is the page.
    let mut ids = Vec::new();
    for state in STATES.into_iter().filter(|state| filter.state.is_none_or(|wanted| wanted == *state)) {
        ids.extend(scan_state(connection, filter, order, state, cursor, limit + 1)?);
    }
    ids.sort_unstable();
    if order == Order::Newest {
        ids.reverse();
    }
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().copied().filter(|_| more);
    let mut page = Page { next, ..Page::default() };
    for id in ids {
        match head(connection, id) {
            Ok(head) => page.heads.extend(head),
            Err(failure @ (Failure::Corrupt(_) | Failure::Damaged(_))) => {
                damage.note(&failure);
                page.unreadable.push(id);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(page)
}

fn scan_state(
    connection: &Connection,
    filter: &Filter,
    order: Order,
    state: State,
    cursor: Option<EntryId>,
    limit: usize,
) -> Result<Vec<EntryId>, Failure> {
    let site = filter.site.as_ref().map(SiteId::as_str);
    let (sql, before_all) = match (order, site) {
        (Order::Oldest, Some(_)) => (SITE_OLDEST, &[][..]),
        (Order::Oldest, None) => (ALL_OLDEST, &[][..]),
        (Order::Newest, Some(_)) => (SITE_NEWEST, &BEHIND_ALL[..]),
        (Order::Newest, None) => (ALL_NEWEST, &BEHIND_ALL[..]),
    };
    let mut scan = connection.prepare_cached(sql)?;
    let rows = scan.query_map(
        params![
            site,
            state.as_str(),
            cursor.as_ref().map_or(before_all, |id| id.as_bytes()),
            filter.form.as_ref().map(FormId::as_str),
            filter.reason.map(|reason| reason.as_str()),
            filter.since.map(ceil_millisecond),
            filter.until.map(ceil_millisecond),
            u32::try_from(limit).unwrap_or(u32::MAX),
        ],
        |row| row.get(0).map(EntryId::from_bytes),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Rounds up, so that comparing with whole milliseconds gives the same as with the time itself.
fn ceil_millisecond(time: Timestamp) -> i64 {
    let millisecond = time.as_millisecond();
    if Timestamp::from_millisecond(millisecond).is_ok_and(|cut| cut < time) { millisecond + 1 } else { millisecond }
}

/// Reads how many entries there are of each site and state.
pub(super) fn counts(connection: &Connection) -> Result<Vec<Counts>, Failure> {
    let mut tally = connection.prepare_cached(
        "SELECT site, state, entries,
            iif(state = 'queued', (SELECT accepted_at FROM entry INDEXED BY entry_by_site
             WHERE entry.site = tally.site AND entry.state = tally.state ORDER BY id LIMIT 1), NULL) AS oldest
         FROM tally WHERE entries > 0",
    )?;
    let rows = tally.query_and_then([], |row| {
        let site = text(row, "site", |text| SiteId::parse(text).ok())?;
        let (state, entries) = (word(row, "state")?, unsigned(row.get("entries")?));
        let oldest = if state == State::Queued { Some(time(row, "oldest")?) } else { None };
        Ok::<_, Failure>(Counts { site, state, entries, oldest })
    })?;
    let mut counts: Vec<_> = rows.collect::<Result<_, _>>()?;
    counts.sort_unstable_by(|one, other| (&one.site, one.state).cmp(&(&other.site, other.state)));
    Ok(counts)
}

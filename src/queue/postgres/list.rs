//! Looking entries up, listing and counting them.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Core;
use super::failure::Failure;
use super::filter::Conditions;
use super::row::{self, BEHIND_STANDING, STANDING, code, read_entry, read_head, read_id, time, unsigned, uuid};
use super::schema;
use super::transaction::Lock;
use crate::lead::{EntryId, SiteId};
use crate::queue::{Counts, Entry, Extent, Filter, Order, PAGE_MAX, Page};

/// Changes of counts that are added up before the others are counted.
const CHANGES_MAX: i64 = 10_000;

/// Returns one entry whole.
pub(super) async fn get(core: &Core, id: EntryId) -> Result<Option<Entry>, Failure> {
    let sql = format!(
        "SELECT {STANDING}, c.reading::text, c.received::text, c.body
         FROM formgate.entry e JOIN formgate.content c ON c.id = e.id WHERE e.id = $1"
    );
    let rows = core.database.read(&sql, &[(&uuid(id), Type::UUID)]).await?;
    Ok(rows.first().map(read_entry).transpose()?)
}

/// Lists heads by id.
pub(super) async fn scan(
    core: &Core,
    filter: &Filter,
    order: Order,
    cursor: Option<EntryId>,
    limit: usize,
) -> Result<Page, Failure> {
    let limit = limit.clamp(1, PAGE_MAX);
    let (beyond, direction) = match order {
        Order::Oldest => (">", "ASC"),
        Order::Newest => ("<", "DESC"),
    };
    let mut conditions = Conditions::of(filter);
    if let Some(cursor) = cursor {
        conditions.add_id(beyond, uuid(cursor));
    }
    let rows = core.database.read(&conditions.heads(direction, limit + 1), &conditions.params.all()).await?;
    Ok(page_of(core, &rows, limit))
}

/// Lists the first heads of each of some sites by id, a page of each.
pub(super) async fn scan_sites(
    core: &Core,
    sites: &[SiteId],
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Page>, Failure> {
    let limit = limit.clamp(1, PAGE_MAX);
    let conditions = Conditions::of(&Filter { site: None, ..filter.clone() });
    let (sql, params) = conditions.heads_of_sites(sites, limit + 1);
    let rows = core.database.read(&sql, &params.all()).await?;
    // Counted from one.
    let position = |row: &Row| usize::try_from(row.get::<_, i64>(BEHIND_STANDING + 1)).unwrap_or_default();
    let mut pages = vec![Page::default(); sites.len()];
    for of_site in rows.chunk_by(|one, other| position(one) == position(other)) {
        let at = of_site.first().map_or(0, position);
        if let Some(page) = at.checked_sub(1).and_then(|at| pages.get_mut(at)) {
            *page = page_of(core, of_site, limit);
        }
    }
    Ok(pages)
}

/// Reads a page of rows, of which there is one more than it holds where it isn't the last.
pub(super) fn page_of(core: &Core, rows: &[Row], limit: usize) -> Page {
    let mut page = Page::default();
    for row in rows.iter().take(limit) {
        match read_head(row) {
            Ok(head) => page.heads.push(head),
            Err(_unreadable) => page.unreadable.push(read_id(row)),
        }
    }
    page.next = rows.get(limit - 1).map(read_id).filter(|_| rows.len() > limit);
    if !page.unreadable.is_empty() {
        core.note_unreadable();
    }
    page
}

const COUNTS: &str = "
SELECT counted.site, counted.state, counted.entries::bigint, oldest.accepted_at FROM (
    SELECT site, state, sum(entries) AS entries FROM (
        SELECT site, state, entries FROM formgate.tally
        UNION ALL SELECT site, state, entries FROM formgate.tally_change
    ) all_of_them GROUP BY site, state HAVING sum(entries) > 0
) counted LEFT JOIN LATERAL (
    SELECT e.accepted_at FROM formgate.entry e
    WHERE counted.state = 0 AND e.state = 0 AND e.site = counted.site ORDER BY e.id LIMIT 1
) oldest ON true ORDER BY counted.site, counted.state";

/// Counts entries per site and state.
pub(super) async fn counts(core: &Core) -> Result<Vec<Counts>, Failure> {
    let rows = core.database.read(COUNTS, &[]).await?;
    let mut counts = Vec::with_capacity(rows.len());
    for row in &rows {
        let oldest: Option<i64> = row.get(3);
        counts.push(Counts {
            site: row::site(row.get(0))?,
            state: code(row.get(1), "state")?,
            entries: unsigned(row.get(2)),
            oldest: oldest.map(|oldest| time(oldest, "accepted_at")).transpose()?,
        });
    }
    Ok(counts)
}

const ADD_UP: &str = "
WITH taken AS (
    DELETE FROM formgate.tally_change WHERE ctid = ANY(ARRAY(SELECT ctid FROM formgate.tally_change LIMIT $1))
    RETURNING site, state, entries, bytes
), added AS (
    INSERT INTO formgate.tally AS t (site, state, entries, bytes)
    SELECT site, state, sum(entries), sum(bytes) FROM taken GROUP BY site, state
    ON CONFLICT (site, state) DO UPDATE
        SET entries = t.entries + excluded.entries, bytes = t.bytes + excluded.bytes
)
SELECT count(*) FROM taken";

/// Adds up what changed in the counts, so that counting stays quick. One gateway at a time does.
pub(super) async fn add_up(core: &Core) -> Result<(), Failure> {
    loop {
        let transaction = core.database.begin_locked(Lock::Tally).await?;
        let taken = transaction.query(ADD_UP, &[(&CHANGES_MAX, Type::INT8)]).await?;
        transaction.commit().await?;
        if taken.first().is_none_or(|row| row.get::<_, i64>(0) < CHANGES_MAX) {
            return Ok(());
        }
    }
}

/// Tells how large the store is: by what its entries take. What their tables take stays the same when they go, since a vacuum makes
/// room in a table and gives none back.
pub(super) async fn extent(core: &Core) -> Result<Extent, Failure> {
    const BYTES: &str = "SELECT coalesce(sum(bytes), 0)::bigint FROM (
        SELECT bytes FROM formgate.tally UNION ALL SELECT bytes FROM formgate.tally_change) all_of_them";
    let rows = core.database.query(BYTES, &[]).await?;
    let bytes = rows.first().map_or(0, |row| unsigned(row.get(0)));
    Ok(Extent { bytes, schema: Some(schema::KNOWN) })
}

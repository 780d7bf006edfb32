//! What needs a person, counted by its cause.
//!
//! A row says what its reason leaves open (`detail`), and of which revision that is, so the index of causes has all that is counted.
//! A program that doesn't know the column leaves the revision behind: of such entries the head is read, as it is of those from
//! before the column, until the upkeep has written it.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::database::Params;
use super::failure::Failure;
use super::filter::Conditions;
use super::list::page_of;
use super::row::{self, code, heads, signed, time, unsigned};
use crate::lead::EntryId;
use crate::queue::cause::CauseCounter;
use crate::queue::unreadable::Unreadable;
use crate::queue::{CAUSES_MAX, Cause, CauseQuery, Causes, Head, Page, State};

/// Heads that are read at a time.
const PAGE: usize = 250;
/// Most entries whose detail one turn of the upkeep writes.
const WRITTEN_MAX: usize = 10_000;

/// With the states, in the words of the index of causes: only so it is used.
const IS_TOLD: &str = "e.detail_revision = e.revision";
/// In the words of the index of what has yet to be told.
const IS_UNTOLD: &str = "e.state IN (1, 3) AND e.detail_revision IS DISTINCT FROM e.revision";

/// Counts what is held or dead by its cause.
pub(super) async fn causes(core: &Core, query: CauseQuery<'_>) -> Result<Causes, Failure> {
    let conditions = Conditions::of_causes(&query);
    let mut counter = CauseCounter::default();
    let mut left = query.max;
    let mut cursor = None;
    // As of one moment, or the upkeep might move some from one part to the other.
    let snapshot = core.database.begin_reading().await?;
    while left > 0 {
        let sql = untold(&conditions, cursor, PAGE.min(left));
        let rows = snapshot.query(&sql, &conditions.params.all()).await?;
        let Page { heads, unreadable, next } = page_of(core, &rows, PAGE.min(left));
        left = left.saturating_sub(heads.len() + unreadable.len());
        heads.iter().for_each(|head| counter.add(head));
        counter.note_unreadable(unreadable);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let rows = snapshot.query(&told(&conditions, left), &conditions.params.all()).await?;
    snapshot.commit().await?;
    let counted = rows.first().map_or(0, |row| unsigned(row.get(7)));
    let mut has_more = counted >= left as u64;
    for row in &rows {
        match read_cause(row) {
            Ok(cause) => counter.add_all(cause),
            // Written by a newer program: one of them is named.
            Err(_unreadable) => {
                core.note_unreadable();
                counter.note_unreadable(vec![example(row)]);
                has_more = true;
            }
        }
    }
    Ok(counter.finish(has_more))
}

/// Returns a statement that counts those whose rows say all.
fn told(conditions: &Conditions, max: usize) -> String {
    let picked = format!("{IS_TOLD} AND {}", conditions.whole());
    // In the order of the index, so that nothing is sorted.
    format!(
        "WITH looked_at AS (
            SELECT e.state, e.reason, e.detail, e.site, e.accepted_at FROM formgate.entry e WHERE {picked}
            ORDER BY e.state, e.reason, e.detail, e.site, e.id LIMIT {max}
         ), counted AS (
            SELECT state, reason, detail, site, count(*) AS entries, min(accepted_at) AS oldest FROM looked_at
            GROUP BY state, reason, detail, site
         ), causes AS (
            SELECT state, reason, detail, array_agg(site) AS sites, array_agg(entries) AS entries, min(oldest) AS oldest,
                (sum(sum(entries)) OVER ())::bigint AS of_all
            FROM counted GROUP BY state, reason, detail ORDER BY sum(entries) DESC LIMIT {}
         )
         SELECT c.state, c.reason, c.detail, c.sites, c.entries, c.oldest, example.id, c.of_all
         FROM causes c CROSS JOIN LATERAL (
            SELECT e.id FROM formgate.entry e
            WHERE {picked} AND e.state = c.state AND e.reason = c.reason AND e.detail = c.detail
            ORDER BY e.site, e.id LIMIT 1
         ) example",
        CAUSES_MAX + 1
    )
}

fn read_cause(row: &Row) -> Result<Cause, Unreadable> {
    let sites: Vec<&str> = row.get(3);
    let entries: Vec<i64> = row.get(4);
    let of_site = |(site, entries)| Ok((row::site(site)?, unsigned(entries)));
    Ok(Cause {
        state: code(row.get(0), "state")?,
        reason: code(row.get(1), "reason")?,
        detail: row.get(2),
        sites: sites.into_iter().zip(entries).map(of_site).collect::<Result<_, Unreadable>>()?,
        oldest: time(row.get(5), "accepted_at")?,
        example: example(row),
    })
}

fn example(row: &Row) -> EntryId {
    EntryId::from_bytes(row.get::<_, Uuid>(6).into_bytes())
}

/// Returns a statement that reads the heads of some whose rows don't say all.
fn untold(conditions: &Conditions, cursor: Option<EntryId>, limit: usize) -> String {
    let behind = cursor.map_or_else(|| "true".to_owned(), |cursor| format!("e.id > '{cursor}'"));
    let picked = conditions.whole();
    // In words that no other index has: by most of them there is more.
    heads(&format!("WHERE {IS_UNTOLD} AND {behind} AND ({picked}) IS TRUE ORDER BY e.id LIMIT {}", limit + 1))
}

const TELL: &str = "
UPDATE formgate.entry e SET detail = g.detail, detail_revision = g.revision
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS g(id, revision, detail) WHERE e.id = g.id AND e.revision = g.revision
    AND e.detail_revision IS DISTINCT FROM e.revision";

/// Writes the detail of some whose rows don't say it; returns from where to go on, none at the end.
pub(super) async fn tell(core: &Core, mut cursor: Option<EntryId>) -> Result<Option<EntryId>, Failure> {
    let conditions = Conditions::of_states(&[State::Held, State::Dead]);
    for _page in 0..WRITTEN_MAX / PAGE {
        let rows = core.database.read(&untold(&conditions, cursor, PAGE), &[]).await?;
        let Page { heads, next, .. } = page_of(core, &rows, PAGE);
        if !heads.is_empty() {
            let mut params = Params::default();
            params.add(Type::UUID_ARRAY, heads.iter().map(|head| row::uuid(head.id)).collect::<Vec<_>>());
            params.add(Type::INT8_ARRAY, heads.iter().map(|head| signed(head.revision)).collect::<Vec<_>>());
            params.add(Type::TEXT_ARRAY, heads.iter().map(Head::detail).collect::<Vec<_>>());
            core.database.query(TELL, &params.all()).await?;
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(cursor)
}

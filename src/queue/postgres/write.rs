//! Changes of standings are written back: compare-and-set on the revision, with the counts and the event that go with them.
//!
//! Nothing is locked between reading and writing. Whoever finds the revision changed reads again.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::database::{Database, Params};
use super::failure::Failure;
use super::row::{Stored, detail_of, number_of, partition, read_id, signed, storable, uuid};
use crate::lead::{EntryId, SiteId};
use crate::queue::history;
use crate::queue::standing::Standing;
use crate::queue::{AttemptResult, Event, MoveFilter, Set, State, Transition};

/// An entry whose standing was changed.
pub(super) struct Written {
    pub(super) id: EntryId,
    /// How it was before: whoever has changed it since goes before.
    pub(super) revision: u64,
    pub(super) accepted_at: Timestamp,
    pub(super) site_before: SiteId,
    pub(super) state_before: State,
    pub(super) site: SiteId,
    pub(super) standing: Standing,
    /// The reading as JSON, where that was made again.
    pub(super) reading: Option<String>,
    /// What the reason leaves open; none: what it left open before.
    pub(super) detail: Option<String>,
    /// What is told of it.
    pub(super) told: Option<Told>,
}

impl Written {
    /// A change that leaves the entry where it was.
    pub(super) fn in_place(stored: &Stored, revision: u64) -> Self {
        Self {
            id: stored.id,
            revision,
            accepted_at: stored.accepted_at,
            site_before: stored.site.clone(),
            state_before: stored.standing.state,
            site: stored.site.clone(),
            standing: stored.standing.clone(),
            reading: None,
            detail: None,
            told: None,
        }
    }
}

/// What an event tells of a change.
pub(super) struct Told {
    at: Timestamp,
    from: State,
    attempt: Option<AttemptResult>,
}

impl Told {
    /// Returns what is told of a change, if anything.
    pub(super) fn of(set: Set, filter: MoveFilter) -> Option<Self> {
        let Set::Done(Transition { from, to, attempt, recorded: true, at, .. }) = set else { return None };
        filter.lets(Some(from), Some(to)).then_some(Self { at, from, attempt })
    }
}

const WRITE: &str = "
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::smallint[],
        $7::smallint[], $8::smallint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bigint[], $15::text[], $16::bytea[], $17::text[], $18::bigint[], $19::smallint[], $20::smallint[],
        $21::text[])
    WITH ORDINALITY AS g(id, before, site_before, state_before, site, partition, state, reason, revision, due_at,
        waits_from, expires_at, attempts, lease, lead_id, history, reading, told_at, told_from, told_attempt,
        detail, place)
), written AS (
    UPDATE formgate.entry e SET site = g.site, partition = g.partition, state = g.state, reason = g.reason,
        revision = g.revision, due_at = g.due_at, waits_from = g.waits_from, expires_at = g.expires_at,
        attempts = g.attempts, lease = g.lease, lead_id = g.lead_id, history = g.history,
        detail = coalesce(g.detail, e.detail),
        detail_revision = CASE WHEN g.detail IS NOT NULL
            OR e.detail_revision = e.revision AND (e.state, e.reason) = (g.state, g.reason) THEN g.revision END
    FROM given g WHERE e.id = g.id AND e.revision = g.before
    RETURNING e.id, e.form, e.bytes
), made_again AS (
    UPDATE formgate.content c SET reading = g.reading::json
    FROM given g JOIN written w USING (id) WHERE c.id = g.id AND g.reading IS NOT NULL
), tallied AS (
    INSERT INTO formgate.tally_change (site, state, entries, bytes)
    SELECT site, state, sum(entries), sum(bytes) FROM (
        SELECT g.site_before AS site, g.state_before AS state, -1 AS entries, -w.bytes AS bytes
        FROM given g JOIN written w USING (id)
        UNION ALL SELECT g.site, g.state, 1, w.bytes FROM given g JOIN written w USING (id)
    ) changes GROUP BY site, state HAVING sum(entries) <> 0
), told AS (
    INSERT INTO formgate.unnumbered (at, entry, site, form, from_state, to_state, reason, attempt)
    SELECT g.told_at, g.id, g.site, w.form, g.told_from, g.state, g.reason, g.told_attempt
    FROM given g JOIN written w USING (id)
    WHERE g.told_at IS NOT NULL AND EXISTS (SELECT FROM formgate.reader) ORDER BY g.place
)
SELECT id FROM written";

/// Writes changes back; returns those that nobody else had changed before.
pub(super) async fn write(database: &Database, changes: &mut [Written]) -> Result<HashSet<EntryId>, Failure> {
    if changes.is_empty() {
        return Ok(HashSet::new());
    }
    // All who write take rows in one order, so that none waits for one who waits for him.
    changes.sort_unstable_by_key(|change| change.id);
    let rows = database.query(WRITE, &columns(changes).all()).await?;
    Ok(rows.iter().map(read_id).collect())
}

fn columns(changes: &[Written]) -> Params<'_> {
    fn all<'c, T>(changes: &'c [Written], of: impl Fn(&'c Written) -> T) -> Vec<T> {
        changes.iter().map(of).collect()
    }
    let time = |of: fn(&Standing) -> Option<Timestamp>| {
        all(changes, move |change| of(&change.standing).map(Timestamp::as_millisecond))
    };
    let told = |of: fn(&Told) -> Option<i16>| all(changes, move |change| change.told.as_ref().and_then(of));
    let mut columns = Params::default();
    columns.add(Type::UUID_ARRAY, all(changes, |change| uuid(change.id)));
    columns.add(Type::INT8_ARRAY, all(changes, |change| signed(change.revision)));
    columns.add(Type::TEXT_ARRAY, all(changes, |change| change.site_before.as_str()));
    columns.add(Type::INT2_ARRAY, all(changes, |change| number_of(change.state_before)));
    columns.add(Type::TEXT_ARRAY, all(changes, |change| change.site.as_str()));
    columns.add(Type::INT2_ARRAY, all(changes, |change| partition(&change.site)));
    columns.add(Type::INT2_ARRAY, all(changes, |change| number_of(change.standing.state)));
    columns.add(Type::INT2_ARRAY, all(changes, |change| number_of(change.standing.reason)));
    columns.add(Type::INT8_ARRAY, all(changes, |change| signed(change.standing.revision)));
    columns.add(Type::INT8_ARRAY, time(|standing| standing.due_at));
    columns.add(Type::INT8_ARRAY, time(|standing| Some(standing.waits_from)));
    columns.add(Type::INT8_ARRAY, time(|standing| standing.expires_at));
    columns.add(Type::INT8_ARRAY, all(changes, |change| i64::from(change.standing.attempts)));
    columns.add(Type::INT8_ARRAY, all(changes, |change| change.standing.lease.map(u64::cast_signed)));
    columns.add(Type::TEXT_ARRAY, all(changes, |change| change.standing.lead_id.as_deref().map(storable)));
    columns.add(Type::BYTEA_ARRAY, all(changes, |change| encode_history(&change.standing, change.accepted_at)));
    columns.add(Type::TEXT_ARRAY, all(changes, |change| change.reading.as_deref()));
    let told_at = |change: &Written| change.told.as_ref().map(|told| told.at.as_millisecond());
    columns.add(Type::INT8_ARRAY, all(changes, told_at));
    columns.add(Type::INT2_ARRAY, told(|told| Some(number_of(told.from))));
    columns.add(Type::INT2_ARRAY, told(|told| told.attempt.map(number_of)));
    let detail = |change: &Written| detail_of(&change.standing, None).or_else(|| change.detail.clone());
    columns.add(Type::TEXT_ARRAY, all(changes, detail));
    columns
}

/// Writes a history; of an entry to which nothing but its arrival has happened a byte, since its row says the same.
pub(super) fn encode_history(standing: &Standing, accepted_at: Timestamp) -> Vec<u8> {
    let Standing { state, reason, history: events, .. } = standing;
    match events.as_slice() {
        [Event { at, state: as_state, reason: as_reason, attempt: None }]
            if (*at, as_state, as_reason) == (accepted_at, state, reason) =>
        {
            vec![0]
        }
        events => history::encode(events),
    }
}

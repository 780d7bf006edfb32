//! What needs a person is counted by its cause, alike in every store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use formgate::lead::{Code, EntryId, FieldError, FormId, LeadField, SiteId};
use formgate::queue::{
    Attempt, AttemptResult, CARRY_MAX, CarriedAs, Carry, Cause, CauseQuery, Causes, Change, Filter, Head, NewEntry,
    Order, Reading, Reason, Settlement, State, Store,
};

use tokio::time::Instant;

use super::carry::AnyStore;
use super::{
    KEEP, add, again, at, attempt, claim_one, delivered, entry, head_of, held, id, open_postgres, open_postgres_at,
    site,
};
use crate::postgres::{Database, fresh_database};

fn form(name: &str) -> FormId {
    FormId::parse(name).expect("a slug")
}

fn unread(new: NewEntry, reason: Reason, reading: Reading) -> NewEntry {
    NewEntry { reason, reading: Reading { lead: None, ..reading }, ..new }
}

fn errors(codes: &[(LeadField, Code)]) -> Vec<FieldError> {
    codes.iter().map(|(field, code)| FieldError::new(*field, *code, "it isn't there")).collect()
}

fn refused(words: &str) -> Settlement {
    let attempt = Attempt { words: Some(words.to_owned()), ..attempt(AttemptResult::LeadRefused) };
    Settlement::Dead { reason: Reason::Refused, attempt: Some(attempt), keep: KEEP }
}

async fn amend(store: &dyn Store, id: EntryId, change: Change) {
    let head = head_of(store, id).await;
    assert!(store.amend(id, head.revision, change, at(500)).await.expect("amended").is_done(), "{id}");
}

/// Fills a store with entries of every kind of cause.
async fn fill(store: &dyn Store) {
    let no_email = || Reading { errors: errors(&[(LeadField::Email, Code::Missing)]), ..Reading::default() };
    let neither = || Reading {
        errors: errors(&[(LeadField::Email, Code::Missing), (LeadField::Name, Code::Missing)]),
        ..Reading::default()
    };
    let rule = |words: &str| Reading { hold_rule: Some(words.to_owned()), ..Reading::default() };
    add(store, unread(held(1, "acme"), Reason::Invalid, no_email())).await;
    add(store, unread(held(2, "birch"), Reason::Invalid, no_email())).await;
    add(store, unread(held(3, "acme"), Reason::Invalid, neither())).await;
    add(store, unread(NewEntry { form: form("quote"), ..held(4, "acme") }, Reason::Invalid, no_email())).await;
    add(store, unread(held(5, "acme"), Reason::HoldRule, rule("a rule"))).await;
    add(store, unread(held(6, "acme"), Reason::HoldRule, rule("another rule"))).await;
    add(store, unread(held(7, "acme"), Reason::Spam, Reading::default())).await;
    add(store, unread(held(8, "acme"), Reason::Invalid, no_email())).await;
    add(store, entry(9, "acme")).await;
    add(store, entry(10, "birch")).await;
    add(store, entry(11, "birch")).await;
    add(store, entry(12, "birch")).await;
    add(store, entry(13, "birch")).await;
    for (settlement, now) in [
        (refused("no such business"), 100),
        (refused("no such business\0"), 100),
        (delivered("lead-1"), 100),
        (Settlement::Held { reason: Reason::SiteGone, attempt: None, keep: KEEP }, 100),
        (again(9_999), 100),
    ] {
        let lease = claim_one(store, now).await;
        assert!(store.settle(&lease, settlement, at(now)).await.expect("settled").is_done());
    }
    // What its errors didn't hold at first.
    add(store, NewEntry { reading: neither(), ..entry(14, "acme") }).await;
    let lease = claim_one(store, 101).await;
    let invalid = Settlement::Held { reason: Reason::Invalid, attempt: None, keep: KEEP };
    assert!(store.settle(&lease, invalid, at(101)).await.expect("settled").is_done());
    // What an operator changes has another cause then: dropped, filed elsewhere, read again, or on its way.
    amend(store, id(5), Change::Drop { keep: KEEP }).await;
    amend(store, id(3), Change::Assign { site: site("cedar") }).await;
    amend(store, id(7), Change::Hold { reason: Reason::Invalid, reading: Box::new(neither()) }).await;
    amend(store, id(8), Change::Retry { reading: Box::default() }).await;
}

async fn heads(store: &dyn Store, filter: &Filter) -> Vec<Head> {
    store.scan(filter, Order::Oldest, None, 1_000).await.expect("scanned").heads
}

type Counted = BTreeMap<(State, Reason, String), (BTreeMap<SiteId, u64>, jiff::Timestamp)>;

/// Counts what a scan gives, one by one.
async fn one_by_one(store: &dyn Store, filter: &Filter, sites: Option<&BTreeSet<SiteId>>) -> Counted {
    let is_work = filter.state.is_none() && filter.reason.is_none();
    let mut counted = Counted::new();
    for head in heads(store, filter).await {
        let is_meant = matches!(head.state, State::Held | State::Dead)
            && !(is_work && head.reason == Reason::Dropped)
            && sites.is_none_or(|sites| sites.contains(&head.site));
        if is_meant {
            let detail = head.detail();
            let (of_sites, oldest) =
                counted.entry((head.state, head.reason, detail)).or_insert((BTreeMap::new(), head.accepted_at));
            *of_sites.entry(head.site).or_default() += 1;
            *oldest = (*oldest).min(head.accepted_at);
        }
    }
    counted
}

async fn causes(store: &dyn Store, filter: &Filter, sites: Option<&BTreeSet<SiteId>>) -> Causes {
    store.causes(CauseQuery { filter, sites, max: 1_000 }).await.expect("counted")
}

/// Checks what a store counts, by all kinds of filters.
async fn assert_counted(store: &dyn Store) {
    let all = Filter::default;
    let filters = [
        all(),
        Filter { state: Some(State::Held), ..all() },
        Filter { state: Some(State::Dead), ..all() },
        Filter { state: Some(State::Delivered), ..all() },
        Filter { reason: Some(Reason::Invalid), ..all() },
        Filter { reason: Some(Reason::Dropped), ..all() },
        Filter { reason: Some(Reason::Refused), state: Some(State::Held), ..all() },
        Filter { site: Some(site("acme")), ..all() },
        Filter { form: Some(form("quote")), ..all() },
        Filter { since: Some(at(4)), ..all() },
        Filter { until: Some(at(4)), site: Some(site("acme")), ..all() },
    ];
    let some = BTreeSet::from(["birch", "cedar", "nobody"].map(site));
    for (filter, sites) in filters.iter().flat_map(|filter| [(filter, None), (filter, Some(&some))]) {
        let expected = one_by_one(store, filter, sites).await;
        let Causes { causes, unreadable, has_more } = causes(store, filter, sites).await;
        assert!(unreadable.is_empty() && !has_more, "{filter:?}");
        for Cause { state, reason, detail, example, .. } in &causes {
            let head = head_of(store, *example).await;
            assert_eq!((head.state, head.reason, &head.detail()), (*state, *reason, detail), "{filter:?}");
            assert!(sites.is_none_or(|sites| sites.contains(&head.site)), "{filter:?}");
        }
        let read = |cause: Cause| ((cause.state, cause.reason, cause.detail), (cause.sites, cause.oldest));
        assert_eq!(causes.into_iter().map(read).collect::<Counted>(), expected, "{filter:?}, {sites:?}");
    }
}

pub(super) async fn what_needs_a_person_is_counted_by_its_cause(store: AnyStore) {
    fill(&*store).await;
    let counted = causes(&*store, &Filter::default(), None).await.causes.into_iter();
    let of_all = |cause: &Cause| cause.sites.values().sum::<u64>();
    let mut counted: Vec<_> =
        counted.map(|cause| (cause.reason.as_str(), cause.detail.clone(), of_all(&cause))).collect();
    counted.sort();
    let answer = |words: &str| format!("500 {words}");
    let expected = [
        ("hold_rule", "another rule".to_owned(), 1),
        ("invalid", "email missing".to_owned(), 3),
        ("invalid", "email missing, name missing".to_owned(), 3),
        ("refused", answer("no such business"), 1),
        ("refused", answer("no such business\u{fffd}"), 1),
        ("site_gone", String::new(), 1),
    ];
    assert_eq!(counted, expected);
    assert_counted(&*store).await;
}

pub(super) async fn no_more_is_counted_than_was_asked_for(store: AnyStore) {
    for number in 1..9 {
        add(&*store, held(number, "acme")).await;
    }
    let filter = Filter::default();
    for (max, counted, has_more) in [(0, 0, true), (3, 3, true), (8, 8, true), (9, 8, false)] {
        let found = store.causes(CauseQuery { filter: &filter, sites: None, max }).await.expect("counted");
        let of_all: u64 = found.causes.iter().flat_map(|cause| cause.sites.values()).sum();
        assert_eq!((of_all, found.has_more), (counted, has_more), "{max}");
    }
}

pub(super) async fn what_comes_from_another_store_is_counted_too(store: AnyStore) {
    let other = open_postgres().await;
    fill(&other).await;
    let carried = other.carry_out(None, CARRY_MAX).await.expect("carried").entries;
    let came_in = store.carry_in(&carried, CarriedAs::Copy).await.expect("carried");
    assert_eq!(came_in.len(), 14);
    assert_counted(&*store).await;
}

/// Makes of a store's tables what version 1 had.
const AS_VERSION_1: &str = "
DROP INDEX formgate.entry_state, formgate.entry_site_state, formgate.entry_cause, formgate.entry_untold;
ALTER TABLE formgate.entry DROP COLUMN detail, DROP COLUMN detail_revision;
CREATE INDEX entry_open ON formgate.entry (state, id) WHERE state <> 2;
CREATE INDEX entry_site_open ON formgate.entry (site, state, id) WHERE state <> 2;
CREATE INDEX entry_site ON formgate.entry (site, id);
UPDATE formgate.version SET number = 1, usable_from = 1";

/// How many entries have a cause that must be read from their heads.
const UNTOLD: &str =
    "SELECT count(*) FROM formgate.entry WHERE state IN (1, 3) AND detail_revision IS DISTINCT FROM revision";

/// Names the indexes of a table that statements can go by.
const INDEXES: &str = "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'formgate.entry'::regclass AND i.indisvalid";

async fn until(database: &Database, sql: &str, expected: &str) {
    let reached = async {
        while database.server.sql(&database.name, sql).await.expect("asked") != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect(sql);
}

#[tokio::test]
async fn a_store_of_version_1_counts_while_it_is_brought_up_to_date_and_after() {
    let database = fresh_database().await;
    let sql = async |sql: &str| database.server.sql(&database.name, sql).await.expect("asked");
    let first = open_postgres_at(&database.url);
    fill(&first).await;
    let indexes = sql(INDEXES).await;
    drop(first);
    sql(AS_VERSION_1).await;
    // One that somebody began and was killed.
    sql("CREATE INDEX entry_cause ON formgate.entry (id);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'formgate.entry_cause'::regclass")
    .await;

    // Two gateways: one of them makes the indexes.
    let store = open_postgres_at(&database.url);
    let beside = open_postgres_at(&database.url);
    let (one, other) = tokio::join!(store.prepare(), beside.prepare());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert_counted(&store).await;
    assert_eq!(sql("SELECT number || ' ' || usable_from FROM formgate.version").await, "2 1");
    until(&database, INDEXES, &indexes).await;
    assert_counted(&store).await;
    until(&database, UNTOLD, "0").await;
    assert_counted(&store).await;
    assert_eq!(sql("SELECT count(*) FROM formgate.entry WHERE detail <> ''").await, "9");
}

#[tokio::test]
async fn a_step_that_would_have_to_wait_for_a_table_lets_others_go_first_and_is_taken_later() {
    let database = fresh_database().await;
    let first = open_postgres_at(&database.url);
    fill(&first).await;
    drop(first);
    database.server.sql(&database.name, AS_VERSION_1).await.expect("asked");
    // As a backup does.
    const READING: &str = "BEGIN; LOCK TABLE formgate.entry IN ACCESS SHARE MODE; SELECT pg_sleep(5); COMMIT";
    const READERS: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'formgate.entry'::regclass AND granted";
    let Database { name, server, .. } = &database;
    let (name, server) = (name.clone(), *server);
    let backup = tokio::spawn(async move { server.sql(&name, READING).await.map(drop) });
    until(&database, READERS, "1").await;
    let store = open_postgres_at(&database.url);
    let refused = async || {
        let begun = Instant::now();
        let error = store.prepare().await.expect_err("the table is in use");
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("lock timeout"), "{why}");
        begun.elapsed()
    };
    // As long as a step waits for a table.
    const WAIT: Duration = Duration::from_secs(1);
    let waited = refused().await;
    assert!(waited >= WAIT, "{waited:?}");
    // Nobody waits for it meanwhile.
    let waited = refused().await;
    assert!(waited < WAIT, "{waited:?}");
    backup.await.expect("ended").expect("read");
    let prepared = async {
        while store.prepare().await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), prepared).await.expect("taken");
    assert_counted(&store).await;
}

#[tokio::test]
async fn what_a_program_of_version_1_changes_is_counted_by_what_it_became() {
    let database = fresh_database().await;
    let sql = async |sql: &str| database.server.sql(&database.name, sql).await.expect("asked");
    let store = open_postgres_at(&database.url);
    fill(&store).await;
    let before = causes(&store, &Filter::default(), None).await;
    // As it writes: the columns that it doesn't know stay as they are. One is spam now, and one was read again.
    sql("UPDATE formgate.entry SET reason = 9, revision = revision + 1 WHERE reason = 2 AND site = 'birch'").await;
    sql(&format!(
        "UPDATE formgate.content SET reading = (SELECT reading FROM formgate.content WHERE id = '{}') WHERE id = '{}';
         UPDATE formgate.entry SET revision = revision + 1 WHERE id = '{1}'",
        id(3),
        id(4)
    ))
    .await;
    // It is filed elsewhere by one that isn't told why it is held.
    amend(&store, id(4), Change::Assign { site: site("cedar") }).await;
    assert_counted(&store).await;
    assert_ne!(causes(&store, &Filter::default(), None).await, before);
    until(&database, UNTOLD, "0").await;
    assert_counted(&store).await;
}

#[tokio::test]
async fn many_whose_cause_is_not_in_their_rows_are_counted_and_told() {
    const MANY: u64 = 600;
    let database = fresh_database().await;
    let sql = async |sql: &str| database.server.sql(&database.name, sql).await.expect("asked");
    let store = open_postgres_at(&database.url);
    for number in 0..MANY {
        add(&store, NewEntry { id: EntryId::new(number, &[7; 10]), ..held(1, "acme") }).await;
    }
    let count = async || {
        let causes = causes(&store, &Filter::default(), None).await.causes;
        causes.iter().map(|cause| cause.sites.values().sum::<u64>()).collect::<Vec<_>>()
    };
    assert_eq!(count().await, [MANY]);
    sql("UPDATE formgate.entry SET revision = revision + 1").await;
    assert_eq!(count().await, [MANY]);
    until(&database, UNTOLD, "0").await;
    assert_eq!(count().await, [MANY]);
}

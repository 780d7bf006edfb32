//! A large store in PostgreSQL: no statement reads a large table from end to end, and each answers soon.
//!
//! The server itself tells how it carried each out (`auto_explain`).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use formgate::lead::{EntryId, FormId};
use formgate::operate::{self, Groups, Query, Situation};
use formgate::queue::postgres::PostgresStore;
use formgate::queue::{
    Appended, CarriedAs, Carry as _, CauseQuery, Change, Claim, DedupeKey, Filter, Holds as _, Merge, NewEntry,
    NoteChange, NoteKind, Notes as _, NumbersMerge, Order, Outbox as _, Quota, Reason, SendingStatus, State, Store,
    TextMerge,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{KEEP, LEASE, add, at, delivered, entry, erase, key, open_postgres_at, site};
use crate::gateway;
use crate::postgres::{Database, fresh_database};
use crate::world;

/// Entries of the store; one each 10 s.
const ENTRIES: i64 = 200_000;
/// Seconds from the beginning to when all are there.
const LAST: i64 = ENTRIES * 10 + 10;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(50);
/// How often is asked before an answer counts as slow: other tests share the processor.
const TRIES_MAX: usize = 40;
const PAGE: usize = 100;
const STATES: [State; 4] = [State::Queued, State::Held, State::Delivered, State::Dead];
/// Nothing may read these from end to end.
const LARGE: [&str; 5] = ["entry", "content", "dedupe", "note", "outbox"];
/// Begins what `auto_explain` writes.
const PLAN: &str = "  plan:\n";

const FILL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/store/fill.sql");

/// A store with many entries, whose server tells how it carries statements out.
struct Large {
    store: PostgresStore,
    database: Database,
    /// How many rows a statement may look at.
    rows_max: u64,
    /// How long an answer may take.
    answer_max: Duration,
    /// How the server carried out what was asked last, and how often that was asked.
    told: String,
    tries: usize,
    slow: Vec<String>,
}

impl Large {
    async fn new() -> Self {
        let database = fresh_database().await;
        let store = open_postgres_at(&database.url);
        add(&store, NewEntry { accepted_at: at(-1), ..entry(0, "first") }).await;
        store.register(&key("reader")).await.expect("registered");
        // Its upkeep would remove old keys before they are counted.
        drop(store);
        database
            .server
            .sql(&database.name, &fs::read_to_string(FILL).expect("read").replace("$ENTRIES", &ENTRIES.to_string()))
            .await
            .expect("filled");
        // As a server's own would have done it by then: some ways are quick only in a table that was looked through.
        database.server.sql(&database.name, "VACUUM ANALYZE").await.expect("vacuumed");
        for setting in [
            "session_preload_libraries = auto_explain",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
        ] {
            let set = format!("ALTER DATABASE {} SET {setting}", database.name);
            database.server.sql("postgres", &set).await.expect("set");
        }
        // What has been set counts for connections from now on.
        let store = open_postgres_at(&database.url);
        store.prepare().await.expect("connected");
        Self {
            store,
            database,
            rows_max: 2_000,
            answer_max: ANSWER_MAX,
            told: String::new(),
            tries: 0,
            slow: Vec::new(),
        }
    }

    /// Looks at how the server carried out what the store does by itself every 5 s.
    async fn upkeep(&mut self) {
        let from = fs::metadata(self.database.server.log()).expect("a log").len();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let told = self.told_from(from);
        for table in ["dedupe", "tally_change"] {
            assert!(told.contains(&format!("DELETE FROM formgate.{table}")), "{table} is not looked after: {told}");
        }
        let scans = told.split(PLAN).filter(|plan| scans(plan));
        self.slow.extend(scans.map(|plan| format!("the upkeep reads a table from end to end:\n{plan}")));
    }

    /// Reads what the server has told since its log had that length.
    fn told_from(&self, length: u64) -> String {
        let told = fs::read(self.database.server.log()).expect("a log");
        String::from_utf8_lossy(&told[usize::try_from(length).expect("a length")..]).into_owned()
    }

    /// Asks the store for something until it answers soon, looks at how the server carried it out, and returns the first answer.
    async fn ask<T>(&mut self, what: &str, asked: impl AsyncFn(&PostgresStore) -> T) -> T {
        let log = self.database.server.log();
        let before = fs::metadata(&log).expect("a log").len();
        let mut fastest = Duration::MAX;
        let mut answer = None;
        for tries in 1..=TRIES_MAX {
            self.tries = tries;
            let begun = Instant::now();
            let answered = asked(&self.store).await;
            answer.get_or_insert(answered);
            fastest = fastest.min(begun.elapsed());
            if fastest <= self.answer_max {
                break;
            }
        }
        let told = self.told_from(before);
        assert!(told.contains(PLAN), "{what}: the server does not tell how: {told}");
        if let Some(plan) = told.split(PLAN).find(|plan| scans(plan)) {
            self.slow.push(format!("{what} reads a table from end to end:\n{plan}"));
        } else if let Some(plan) = told.split(PLAN).find(|plan| most_rows(plan) > self.rows_max) {
            self.slow.push(format!("{what} reads {} rows:\n{plan}", most_rows(plan)));
        } else if fastest > self.answer_max {
            self.slow.push(format!("{what} takes {fastest:?}:\n{told}"));
        }
        self.told = told;
        answer.expect("it was asked")
    }
}

fn scans(plan: &str) -> bool {
    LARGE.iter().any(|table| plan.contains(&format!("Seq Scan on {table} ")))
}

/// Returns the most rows that a step gave, or read in vain.
fn most_rows(plan: &str) -> u64 {
    let number = |line: &str, before: &str| {
        let digits = line.split_once(before)?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let given = |line| Some(number(line, "(actual rows=")? * number(line, " loops=")?);
    let of_line = |line| given(line).max(number(line, "Rows Removed by Filter: "));
    plan.lines().filter_map(of_line).max().unwrap_or_default()
}

#[tokio::test]
async fn nothing_reads_a_large_table_from_end_to_end() {
    let mut large = Large::new().await;
    // Of what has no index of its own, such as a site's delivered entries, or those of one form, all of a site may be read, or
    // all of a form in its index.
    large.rows_max = 40_000;
    lists(&mut large).await;
    // Of what is held, or waits, a page is read, and not all of it for each page.
    large.rows_max = 1_000;
    pages(&mut large).await;
    // What is held or dead is counted in an index.
    large.rows_max = u64::try_from(ENTRIES * 15 / 1_000).expect("a count");
    groups(&mut large).await;
    causes(&mut large).await;
    large.answer_max = ANSWER_MAX;
    large.rows_max = 2_000;
    lookups(&mut large).await;
    ways_of_entries(&mut large).await;
    beside(&mut large).await;
    // The last, since much is gone then.
    removals(&mut large).await;
    large.upkeep().await;
    assert!(large.slow.is_empty(), "{}", large.slow.join("\n\n"));
}

fn filters() -> Vec<(String, Filter)> {
    let all = Filter::default;
    let form = |name: &str| Some(FormId::parse(name).expect("a slug"));
    let early = Some(at(LAST / 3));
    let late = Some(at(LAST - 86_400));
    let mut filters = vec![
        ("all".to_owned(), all()),
        ("a form".to_owned(), Filter { form: form("careers"), ..all() }),
        ("a form that nobody has".to_owned(), Filter { form: form("none"), ..all() }),
        ("since".to_owned(), Filter { since: late, ..all() }),
        ("until".to_owned(), Filter { until: early, ..all() }),
        ("between".to_owned(), Filter { since: early, until: late, ..all() }),
    ];
    for name in ["site-0", "site-150", "backlog", "none"] {
        let of_site = || Filter { site: Some(site(name)), ..all() };
        filters.push((format!("of {name}"), of_site()));
        filters.push((format!("of {name}, a form"), Filter { form: form("careers"), ..of_site() }));
        filters.push((format!("of {name}, since"), Filter { since: late, ..of_site() }));
        for state in STATES {
            filters.push((format!("{state:?} of {name}"), Filter { state: Some(state), ..of_site() }));
        }
    }
    for state in STATES {
        let in_state = || Filter { state: Some(state), ..all() };
        filters.push((format!("{state:?}"), in_state()));
        filters.push((format!("{state:?} of a form"), Filter { form: form("careers"), ..in_state() }));
        filters.push((format!("{state:?} since"), Filter { since: late, ..in_state() }));
        filters.push((format!("{state:?} until"), Filter { until: early, ..in_state() }));
    }
    for reason in [Reason::Accepted, Reason::Delivered, Reason::Invalid, Reason::Spam, Reason::Poison] {
        filters.push((format!("for {reason:?}"), Filter { reason: Some(reason), ..all() }));
        filters
            .push((format!("held for {reason:?}"), Filter { reason: Some(reason), state: Some(State::Held), ..all() }));
    }
    filters
}

async fn lists(large: &mut Large) {
    let middle = EntryId::new(1_760_000_000_000 + 5_000 * ENTRIES.unsigned_abs(), &[0; 10]);
    for (what, filter) in filters() {
        for (order, cursor) in
            [(Order::Newest, None), (Order::Oldest, None), (Order::Newest, Some(middle)), (Order::Oldest, Some(middle))]
        {
            let what = format!("{what}, {order:?} first, from {cursor:?}");
            let page = large.ask(&what, async |store| store.scan(&filter, order, cursor, PAGE).await).await;
            page.expect("listed");
        }
    }
    let held = Some(State::Held);
    for (index, filter) in [
        ("entry_pkey", Filter::default()),
        ("entry_state", Filter { state: held, ..Filter::default() }),
        ("entry_site_state", Filter { site: Some(site("site-150")), ..Filter::default() }),
        ("entry_site_state", Filter { site: Some(site("site-0")), state: held, ..Filter::default() }),
        ("entry_reason", Filter { reason: Some(Reason::Spam), ..Filter::default() }),
    ] {
        let page = large.ask(index, async |store| store.scan(&filter, Order::Newest, None, PAGE).await).await;
        assert!(!page.expect("listed").heads.is_empty(), "{index}");
        assert!(large.told.contains(&format!(" {index} ")), "not by {index}: {}", large.told);
    }
    let counts = large.ask("counts", async |store| store.counts().await).await.expect("counted");
    assert!(counts.len() > 400, "{}", counts.len());
}

/// Pages of what is a small part of the store, and yet many.
async fn pages(large: &mut Large) {
    for filter in [
        Filter { state: Some(State::Held), ..Filter::default() },
        Filter { state: Some(State::Queued), ..Filter::default() },
        Filter { state: Some(State::Queued), site: Some(site("backlog")), ..Filter::default() },
    ] {
        let what = format!("a large page of {filter:?}");
        let page = large.ask(&what, async |store| store.scan(&filter, Order::Oldest, None, 2 * PAGE).await).await;
        assert_eq!(page.expect("listed").heads.len(), 2 * PAGE);
    }
    large.ask("counts of few rows", async |store| store.counts().await).await.expect("counted");
}

/// The list of work: everything that is held or dead by its cause, and what is queued of each site that is held back.
async fn groups(large: &mut Large) {
    let many = ENTRIES.unsigned_abs();
    let counts = large.store.counts().await.expect("counted").into_iter();
    let queued: Vec<_> =
        counts.filter(|count| count.state == State::Queued).map(|count| count.site.to_string()).collect();
    assert!(queued.len() > 200, "{}", queued.len());
    let running = Some(SendingStatus::default());
    for (what, has_sites, sending, leads_queued, statements_max) in [
        ("groups, where all sites are gone", false, running.clone(), many * 65 / 1_000 + 1, 1),
        ("groups, where all is on its way", true, running, 0, 3),
        ("groups, where no gateway runs", true, None, many * 65 / 1_000 + 1, 3),
    ] {
        let mut config = gateway::config();
        if has_sites {
            config.sites = queued.iter().map(|name| world::site(name, "1")).collect();
        }
        let situation = Situation { config: Arc::new(config), sending, now: at(LAST) };
        let query = Query::default();
        // To read 1,000 heads takes longer than that in an unoptimised build: there the statements count.
        large.answer_max = if statements_max == 1 { ANSWER_MAX } else { Duration::MAX };
        let groups = large.ask(what, async |store| operate::groups(store, &query, &situation).await).await;
        let Groups { groups, has_more, .. } = groups.expect("grouped");
        assert!(!has_more, "{what}");
        let leads = |state| groups.iter().filter(|group| group.state == state).map(|group| group.leads).sum::<u64>();
        let found = [State::Held, State::Dead, State::Queued].map(leads);
        assert_eq!(found, [many * 14 / 1_000, many / 1_000, leads_queued], "{what}");
        // Those that look for a cause which isn't in the row find none, the upkeep's too.
        let is_read = |plan: &&str| plan.contains("c.reading") && !plan.contains("IS DISTINCT FROM");
        let statements = large.told.split(PLAN).filter(is_read).count();
        assert!(statements <= statements_max * large.tries, "{what}: {statements} statements: {}", large.told);
    }
}

/// What is held or dead is counted in an index, whatever is asked for.
async fn causes(large: &mut Large) {
    let all = Filter::default;
    for filter in [
        all(),
        Filter { state: Some(State::Held), ..all() },
        Filter { reason: Some(Reason::Spam), ..all() },
        Filter { site: Some(site("site-0")), ..all() },
        Filter { form: FormId::parse("careers").ok(), ..all() },
        Filter { since: Some(at(LAST - 86_400)), ..all() },
    ] {
        let what = format!("the causes of {filter:?}");
        let query = CauseQuery { filter: &filter, sites: None, max: 100_000 };
        let counted = large.ask(&what, async |store| store.causes(query).await).await.expect("counted");
        assert!(!counted.causes.is_empty(), "{what}");
        for index in ["Index Only Scan using entry_cause ", "Index Scan using entry_untold "] {
            assert!(large.told.contains(index), "{what}: not by an {index}: {}", large.told);
        }
        // Where it is all, they are put in order by how many they are, and not before they are counted.
        let is_of_all = |line: &&str| line.contains("Sort Key: ") && !line.contains("sum(") && filter == all();
        assert_eq!(large.told.lines().filter(is_of_all).collect::<Vec<_>>(), [""; 0], "{what}");
    }
}

async fn lookups(large: &mut Large) {
    let page = large.store.scan(&Filter::default(), Order::Newest, None, 1).await.expect("listed");
    let id = page.heads[0].id;
    let found = large.ask("get", async |store| store.get(id).await).await;
    assert!(found.expect("read").is_some());
    let middle = Some(EntryId::new(1_760_000_000_000 + 5_000 * ENTRIES.unsigned_abs(), &[0; 10]));
    let carried = large.ask("carry out", async |store| store.carry_out(middle, PAGE).await).await;
    let carried = carried.expect("carried").entries;
    assert_eq!(carried.len(), PAGE);
    let came_in = large.ask("carry in", async |store| store.carry_in(&carried, CarriedAs::Append).await).await;
    came_in.expect("carried");
}

#[expect(clippy::too_many_lines, reason = "a list of the ways in which entries are listed")]
async fn ways_of_entries(large: &mut Large) {
    let numbers = AtomicU8::new(1);
    let append = async |store: &PostgresStore| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let new = NewEntry { accepted_at: at(LAST), ..entry(number, "site-3") };
        store.append(new, Some(DedupeKey([number; 32]))).await
    };
    assert!(matches!(large.ask("append", append).await, Ok(Appended::New(_))));
    let again = async |store: &PostgresStore| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let new = NewEntry { accepted_at: at(LAST), ..entry(number, "site-3") };
        store.append(new, Some(DedupeKey([1; 32]))).await
    };
    assert!(matches!(large.ask("append again", again).await, Ok(Appended::Duplicate(_))));

    let any = Claim::new(PAGE, LEASE, at(LAST));
    // The first claim of a process looks once through all that waits, should the clock have gone back.
    let nothing = Claim { accepted_since: Some(at(LAST + 1)), ..any.clone() };
    assert_eq!(large.store.claim(&nothing).await.expect("claimed").len(), 0);
    let new = Claim { accepted_since: Some(at(LAST - 60)), ..any.clone() };
    let leases = large.ask("claim what is new", async |store| store.claim(&new).await).await.expect("claimed");
    assert_eq!(leases.iter().map(|lease| lease.head.site.as_str()).collect::<Vec<_>>(), ["site-3"]);
    let of = [(site("site-150"), 0), (site("site-0"), 3)].into();
    let quota = Quota { of, ..Quota::default() };
    let claimed =
        large.ask("claim", async |store| store.claim(&Claim { quota: quota.clone(), ..any.clone() }).await).await;
    let leases = claimed.expect("claimed");
    assert_eq!(leases.len(), PAGE);
    let only = Quota { each: 0, of: [(site("waiting"), PAGE)].into(), ..Quota::default() };
    let claimed = large
        .ask("claim where all wait", async |store| store.claim(&Claim { quota: only.clone(), ..any.clone() }).await);
    assert_eq!(claimed.await.expect("claimed").len(), 0);

    let leases = Mutex::new(leases);
    let settle = async |store: &PostgresStore| {
        let lease = leases.lock().pop().expect("enough are leased");
        store.settle(&lease, delivered("lead"), at(LAST)).await
    };
    assert!(large.ask("settle", settle).await.expect("settled").is_done());
    let in_state = Filter { state: Some(State::Held), ..Filter::default() };
    let held = Mutex::new(large.store.scan(&in_state, Order::Oldest, None, PAGE).await.expect("listed").heads);
    let drop = async |store: &PostgresStore| {
        let head = held.lock().pop().expect("enough are held");
        store.amend(head.id, head.revision, Change::Drop { keep: KEEP }, at(LAST)).await
    };
    assert!(large.ask("amend", drop).await.expect("amended").is_done());
    let made_due = large.ask("make due", async |store| store.make_due(&site("waiting"), 100, at(LAST)).await).await;
    assert_eq!(made_due.expect("made due"), 100);
}

async fn beside(large: &mut Large) {
    let events = large.ask("events", async |store| store.events(ENTRIES.unsigned_abs() / 16, PAGE).await).await;
    assert_eq!(events.expect("read").events.len(), PAGE);
    let upto = AtomicU64::new(0);
    let trim =
        async |store: &PostgresStore| store.trim(&key("reader"), upto.fetch_add(100, Ordering::Relaxed) + 100).await;
    assert!(large.ask("trim", trim).await.expect("trimmed"));
    assert_eq!(large.ask("readers", async |store| store.readers().await).await.expect("listed").len(), 1);

    for kind in NoteKind::ALL {
        let what = format!("{kind:?} notes");
        let listed = large.ask(&what, async |store| store.notes(kind, "site-77", None, 1_000).await).await;
        assert_eq!(listed.expect("listed").len(), 11, "{kind:?}");
        let listed = large.ask(&what, async |store| store.notes(kind, "", Some(&key("site-5")), PAGE).await).await;
        assert_eq!(listed.expect("listed").len(), PAGE, "{kind:?}");
    }
    let merge = Merge { text: TextMerge::Keep, numbers: NumbersMerge::Add(vec![1]) };
    let change = NoteChange::new(NoteKind::Form, "site-7", merge).expect("a note");
    large.ask("note", async |store| store.note(&change, at(LAST)).await).await.expect("noted");

    let name = key("partition 1");
    let holder = key("gateway");
    assert!(large.ask("hold", async |store| store.hold(&name, &holder, LEASE, at(LAST)).await).await.expect("held"));
    large.ask("release", async |store| store.release(&name, &holder).await).await.expect("released");
}

async fn removals(large: &mut Large) {
    let page = large.store.scan(&Filter::default(), Order::Oldest, None, 1_000).await.expect("listed");
    let ids = Mutex::new(page.heads.into_iter().map(|head| head.id));
    let some = || ids.lock().by_ref().take(20).collect::<Vec<_>>();
    assert_eq!(large.ask("erase", async |store| erase(store, &some()).await).await, 20);
    let month = at(30 * 86_400 + 3_600);
    let expired = large.ask("expire", async |store| store.expire(month, PAGE).await).await;
    assert_eq!(expired.expect("expired"), PAGE);
}

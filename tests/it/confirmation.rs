//! Leads that may have arrived: they are asked for before they are posted again, and none is lost by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use formgate::config::{Config, Retry};
use formgate::lead::EntryId;
use formgate::queue::{AttemptResult, Claim, Confirmed, Reason, State};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use crate::scripted_api::{Recorded, Reply, ScriptedApi};
use crate::world::{RETRY, World, last_attempt};

/// What an API that takes leads has: names by key, and when they came by its own clock.
#[derive(Clone)]
struct Book {
    leads: Arc<Mutex<Vec<Line>>>,
    now_ms: Arc<AtomicI64>,
    /// How far its clock is ahead of ours.
    ahead_ms: i64,
    /// How many leads its widget shows; none: it is away.
    shown: Option<usize>,
}

#[derive(Clone)]
struct Line {
    key: String,
    name: String,
    email: String,
    at: Timestamp,
}

/// What becomes of one POST.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// Taken, and nobody is told.
    Taken,
    /// Lost on the way.
    Lost,
}

impl Book {
    fn of(world: &World) -> Self {
        Self { leads: Arc::default(), now_ms: Arc::clone(&world.now_ms), ahead_ms: 0, shown: Some(50) }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms.load(Ordering::SeqCst) + self.ahead_ms).expect("a time")
    }

    fn note(&self, key: &str, name: &str, email: &str, at: Timestamp) {
        let line = Line { key: key.to_owned(), name: name.to_owned(), email: email.to_owned(), at };
        self.leads.lock().push(line);
    }

    /// Answers as the API would, with the fate of each POST in turn.
    fn open(&self, world: &World, mut fate: impl FnMut() -> Fate + Send + 'static) {
        let book = self.clone();
        world.api.rule(move |request| {
            let key = key_of(request);
            if request.path.ends_with("/dashboard-widget") {
                return Some(book.widget(&key));
            }
            let fate = fate();
            if fate != Fate::Lost {
                let lead = request.json();
                let text = |name: &str| lead[name].as_str().expect("text").to_owned();
                book.note(&key, &text("name"), &text("email"), book.now());
            }
            Some(if fate == Fate::Answered { Reply::success("lead") } else { Reply::close() })
        });
    }

    fn widget(&self, key: &str) -> Reply {
        let Some(shown) = self.shown else { return Reply::error(500, "Failed") };
        let leads = self.leads.lock();
        let of_key = leads.iter().rev().filter(|line| line.key == key);
        let cut = |at: Timestamp| Timestamp::from_second(at.as_second()).expect("a time").to_string();
        let rows: Vec<_> =
            of_key.take(shown).map(|line| json!({"name": line.name, "created_at": cut(line.at)})).collect();
        widget(&rows, &[("date", &http_date(self.now()))])
    }

    /// How often each lead is there.
    fn copies(&self) -> BTreeMap<String, usize> {
        let mut copies = BTreeMap::new();
        self.leads.lock().iter().for_each(|line| *copies.entry(line.email.clone()).or_default() += 1);
        copies
    }
}

fn key_of(request: &Recorded) -> String {
    request.header("authorization").and_then(|bearer| bearer.split([' ', ':']).nth(1)).expect("keys").to_owned()
}

fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn widget(rows: &[serde_json::Value], headers: &[(&str, &str)]) -> Reply {
    let body = json!({"success": true, "recentLeads": rows, "leadsThisWeek": rows.len()});
    Reply::with_headers(200, headers, &body.to_string())
}

/// A world that tries again after five seconds.
async fn world() -> World {
    World::with(asking).await
}

/// Confirmation is off unless it is asked for.
fn asking(config: &mut Config) {
    config.queue.retry = soon();
    config.upstream.confirm = true;
}

fn soon() -> Retry {
    Retry { first: Duration::from_secs(1), max: Duration::from_secs(60), ..RETRY }
}

impl World {
    fn widgets(&self) -> usize {
        self.api.requests().iter().filter(|request| request.path.ends_with("/dashboard-widget")).count()
    }

    /// Tells how often a lead that may have arrived was posted in the end.
    async fn posts_in_the_end(&self, id: EntryId) -> usize {
        for _ in 0..20 {
            self.pass(5);
            self.step().await;
            if self.state(id).await.0 == State::Delivered {
                return self.sent().len();
            }
        }
        usize::MAX
    }
}

/// The fates in this order, then answers.
fn fates(fates: &'static [Fate]) -> impl FnMut() -> Fate + Send + 'static {
    let mut fates = fates.iter();
    move || fates.next().copied().unwrap_or(Fate::Answered)
}

#[tokio::test]
async fn unless_it_is_set_a_lead_that_may_have_arrived_is_posted_again_at_once_and_nobody_is_asked() {
    let world = World::with(|config| config.queue.retry = soon()).await;
    let book = Book::of(&world);
    book.open(&world, fates(&[Fate::Taken]));
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    world.step().await;
    let site = world.head(id).await.site;
    assert!(world.store.make_due(&site, 9, world.now()).await.expect("made due") <= 1);
    world.step().await;
    assert_eq!(world.state(id).await, (State::Delivered, Reason::Delivered, 2));
    assert!(world.api.requests().iter().all(|request| request.path.ends_with("/intake")));
}

#[tokio::test]
async fn a_lead_that_was_taken_without_a_word_is_found_and_not_posted_again() {
    let world = world().await;
    Book::of(&world).open(&world, fates(&[Fate::Taken]));
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    world.step().await;
    assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, 1));
    // Not even where the site's waits are ended.
    world.pass(4);
    let site = world.head(id).await.site;
    assert!(world.store.make_due(&site, 9, world.now()).await.expect("made due") <= 1);
    world.step().await;
    assert_eq!((world.widgets(), world.sent().len()), (0, 1));

    world.pass(1);
    world.step().await;
    assert_eq!((world.widgets(), world.sent().len()), (1, 1));
    assert_eq!(world.state(id).await, (State::Delivered, Reason::Delivered, 1));
    let entry = world.head(id).await;
    let attempt = last_attempt(&entry);
    assert_eq!((attempt.result, attempt.confirmed), (AttemptResult::Delivered, Some(Confirmed::Widget)));
    world.shows(r#"formgate_delivery_confirmations_total{result="confirmed"} 1"#);
    world.shows(r#"formgate_delivery_attempts_total{result="ambiguous"} 1"#);
    world.shows("formgate_lead_age_seconds_count 1");
}

#[tokio::test]
async fn a_lead_that_was_lost_on_the_way_is_posted_again() {
    let world = world().await;
    Book::of(&world).open(&world, fates(&[Fate::Lost, Fate::Lost]));
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    world.step().await;
    assert_eq!(world.posts_in_the_end(id).await, 3);
    assert_eq!((world.state(id).await.2, world.widgets()), (3, 2));
    assert_eq!(last_attempt(&world.head(id).await).confirmed, None);
    world.shows(r#"formgate_delivery_confirmations_total{result="not_shown"} 2"#);
}

#[tokio::test]
async fn a_clock_that_is_not_ours_is_told_by_its_date() {
    for (ahead_ms, expected) in [(0, 1), (37_250, 1), (-37_250, 1), (86_400_000, 1), (-3_600_000, 1)] {
        let world = world().await;
        Book { ahead_ms, ..Book::of(&world) }.open(&world, fates(&[Fate::Taken]));
        let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
        world.step().await;
        assert_eq!(world.posts_in_the_end(id).await, expected, "{ahead_ms}");
    }
}

#[tokio::test]
async fn whatever_is_not_certain_is_posted_again() {
    let now = Timestamp::from_millisecond(crate::world::START).expect("a time");
    let (then, date) = (now.to_string(), http_date(now + Duration::from_secs(5)));
    let date = ("date", date.as_str());
    let row = |name: &str, at: &str| json!({"name": name, "created_at": at});
    let shifted = |seconds: i64| (now + jiff::SignedDuration::from_secs(seconds)).to_string();
    let good = [row("Jane Doe", &then)];
    let broken = r#"{"success":true,"recentLeads":[{"name":"Jane Doe""#;
    for (name, reply, posts) in [
        ("all is well", widget(&good, &[date]), 1),
        ("no date", widget(&good, &[]), 2),
        ("a date that is none", widget(&good, &[("date", "yesterday")]), 2),
        ("out of a cache", widget(&good, &[date, ("age", "300")]), 2),
        ("nothing shown", widget(&[], &[date]), 2),
        ("another name", widget(&[row("Jane  Doe", &then), row("jane doe", &then)], &[date]), 2),
        ("another time", widget(&[row("Jane Doe", &shifted(-60)), row("Jane Doe", &shifted(60))], &[date]), 2),
        ("just outside", widget(&[row("Jane Doe", &shifted(-4)), row("Jane Doe", &shifted(4))], &[date]), 2),
        ("no time", widget(&[row("Jane Doe", "today"), json!({"name": "Jane Doe"})], &[date]), 2),
        ("keys refused", Reply::error(401, "Unauthorized"), 2),
        ("not there", Reply::error(404, "Not found"), 2),
        ("an error", Reply::html(502, "<html>"), 2),
        ("a page", Reply::html(200, "<html>"), 2),
        ("too long", Reply::large(200, 1 << 20), 2),
        ("cut", Reply::with_headers(200, &[date], broken), 2),
        ("closed", Reply::close(), 2),
        ("silent", Reply::silence(), 2),
    ] {
        let api = ScriptedApi::start().await;
        let base_url = api.base_url();
        let world = World::at(api, &base_url, Duration::from_millis(300), asking);
        world.api.on_intake(Reply::close());
        world.api.on("/dashboard-widget", reply);
        let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
        world.step().await;
        assert_eq!((world.posts_in_the_end(id).await, world.widgets()), (posts, 1), "{name}");
    }
}

#[tokio::test]
async fn a_row_that_another_lead_explains_confirms_nothing() {
    for (second, posts) in [(Fate::Taken, 2), (Fate::Lost, 3)] {
        let world = world().await;
        let book = Book::of(&world);
        book.open(
            &world,
            fates(if second == Fate::Taken { &[Fate::Answered, Fate::Taken] } else { &[Fate::Answered, Fate::Lost] }),
        );
        let first = world.queue_named("acme", 1, Some("Test")).await;
        world.step().await;
        assert_eq!(world.state(first).await.0, State::Delivered);
        let suspect = world.queue_named("acme", 2, Some("Test")).await;
        world.step().await;
        assert_eq!(world.posts_in_the_end(suspect).await, posts);
        assert_eq!(book.copies().len(), 2, "both are there");
    }
}

#[tokio::test]
async fn of_several_leads_of_one_name_that_may_have_arrived_each_is_posted_again() {
    let world = world().await;
    let book = Book::of(&world);
    book.open(&world, fates(&[Fate::Taken, Fate::Lost]));
    let ids = [world.queue_named("acme", 1, Some("Test")).await, world.queue_named("acme", 2, Some("Test")).await];
    world.step().await;
    for id in ids {
        world.posts_in_the_end(id).await;
    }
    let copies = book.copies();
    assert!(copies.len() == 2 && copies.values().sum::<usize>() == 3, "{copies:?}");
    world.shows(r#"formgate_delivery_confirmations_total{result="unknown"} 2"#);
}

#[tokio::test]
async fn a_lead_of_the_name_that_is_under_way_makes_it_uncertain() {
    let world = world().await;
    Book::of(&world).open(&world, fates(&[Fate::Taken]));
    let suspect = world.queue_named("acme", 1, Some("Test")).await;
    world.step().await;
    world.queue_named("acme", 2, Some("Test")).await;
    let leases = world.store.claim(&Claim::new(1, Duration::from_secs(3600), world.now())).await.expect("claimed");
    assert_eq!(leases.len(), 1, "another worker has it");
    assert_eq!(world.posts_in_the_end(suspect).await, 2);
}

#[tokio::test]
async fn a_lead_of_the_name_that_still_waits_to_be_asked_for_makes_it_uncertain_however_long_ago_it_was_sent() {
    for (name, posts) in [("Test", 3), ("Jane Doe", 2)] {
        let world = world().await;
        let book = Book::of(&world);
        world.api.on_intake(Reply::with_headers(502, &[("retry-after", "3600")], ""));
        let first = world.queue_named("acme", 1, Some(name)).await;
        world.step().await;
        assert_eq!(last_attempt(&world.head(first).await).result, AttemptResult::Ambiguous);
        world.pass(60);
        book.open(&world, fates(&[Fate::Taken]));
        let suspect = world.queue_named("acme", 2, Some("Test")).await;
        world.step().await;
        assert_eq!(world.posts_in_the_end(suspect).await, posts, "the first is called {name}");
    }
}

#[tokio::test]
async fn a_lead_that_an_operator_queued_again_is_posted_without_a_question() {
    let world = world().await;
    Book::of(&world).open(&world, fates(&[Fate::Taken]));
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    world.step().await;
    let entry = world.head(id).await;
    let change = formgate::queue::Change::Retry { reading: Box::new(entry.reading) };
    let set = world.store.amend(id, entry.revision, change, world.now()).await.expect("amended");
    assert!(set.is_done());
    world.step().await;
    assert_eq!((world.widgets(), world.sent().len()), (0, 2));
    assert_eq!(world.state(id).await.0, State::Delivered);
}

#[tokio::test]
async fn a_lead_left_by_a_process_that_was_killed_is_asked_for_too() {
    let world = world().await;
    let book = Book::of(&world);
    book.open(&world, fates(&[]));
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    // Its claim is written and its POST arrives; then the process is gone, and the lease runs out.
    let leases = world.store.claim(&Claim::new(1, Duration::ZERO, world.now())).await.expect("claimed");
    book.note("wp_pk_acme", "Jane Doe", "jane1@example.com", world.now());
    drop(leases);
    assert_eq!(world.posts_in_the_end(id).await, 0);
    assert_eq!(book.copies().get("jane1@example.com"), Some(&1));
}

#[tokio::test]
async fn one_look_serves_all_leads_of_a_site() {
    let world = world().await;
    Book::of(&world).open(&world, fates(&[Fate::Taken; 3]));
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(world.queue_named("acme", number, Some(&format!("Jane {number}"))).await);
    }
    world.step().await;
    // Three failed in a row: the circuit is open, and the first that is found closes it.
    world.pass(60);
    world.step().await;
    for id in ids {
        assert_eq!(world.state(id).await.0, State::Delivered);
    }
    assert_eq!((world.widgets(), world.sent().len()), (1, 3));
    world.shows(r#"formgate_circuits_open{scope="site"} 0"#);
}

/// What a run over many leads came to.
#[derive(Debug)]
struct Figures {
    taken_unsaid: usize,
    doubles: usize,
    losses: usize,
}

const LEADS: u64 = 300;

/// Of a hundred fates ten are [`Fate::Taken`], which are counted, and five [`Fate::Lost`]; the same at each run.
fn dice(unsaid: Arc<Mutex<usize>>) -> impl FnMut() -> Fate + Send + 'static {
    let mut seed = 7_u64;
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (seed >> 33) % 100 {
            0..10 => {
                *unsaid.lock() += 1;
                Fate::Taken
            }
            10..15 => Fate::Lost,
            _ => Fate::Answered,
        }
    }
}

/// Sends leads to three sites through an API that takes one of ten and says nothing, and loses one of twenty.
async fn run(names: fn(u64) -> String, shown: Option<usize>, (at_once, every_s): (usize, u64)) -> Figures {
    let world = World::with(|config| {
        config.queue.retry = Retry { first: Duration::from_secs(5), max: Duration::from_secs(60), ..RETRY };
        config.upstream.confirm = true;
    })
    .await;
    let book = Book { shown, ..Book::of(&world) };
    let unsaid = Arc::new(Mutex::new(0));
    book.open(&world, dice(Arc::clone(&unsaid)));
    let (mut coming, mut left) = (0..LEADS, Vec::new());
    for second in 0..10_000 {
        for number in coming.by_ref().take(if second % every_s == 0 { at_once } else { 0 }) {
            let site = ["acme", "beta", "gamma"][number as usize % 3];
            left.push(world.queue_named(site, number + 1_000, Some(&names(number))).await);
        }
        if left.is_empty() && coming.is_empty() {
            break;
        }
        world.step().await;
        world.pass(1);
        let mut waiting = Vec::new();
        for id in left {
            if world.state(id).await.0 != State::Delivered {
                waiting.push(id);
            }
        }
        left = waiting;
    }
    let copies = book.copies();
    let doubles = copies.values().map(|copies| copies - 1).sum();
    let taken_unsaid = *unsaid.lock();
    Figures { taken_unsaid, doubles, losses: LEADS as usize - copies.len() + left.len() }
}

#[tokio::test]
async fn fewer_leads_arrive_twice_where_they_are_asked_for_and_none_is_lost() {
    let people: fn(u64) -> String = |number| format!("Jane {number}");
    let test: fn(u64) -> String = |_number| "Test".to_owned();
    println!(
        "300 leads, 10 % taken without an answer, 5 % lost on the way\n{:<28}{:>8}{:>9}{:>8}",
        "", "unsaid", "doubles", "losses"
    );
    let mut doubles = Vec::new();
    for (name, names, shown, pace) in [
        ("names of their own, asked", people, Some(10), (3, 5)),
        ("not asked", people, None, (3, 5)),
        ("all in one second, asked", people, Some(10), (300, 1)),
        ("all called Test, asked", test, Some(10), (3, 5)),
        ("the same, a minute apart", test, Some(10), (3, 60)),
        ("all called Test, not asked", test, None, (3, 5)),
    ] {
        let figures = run(names, shown, pace).await;
        println!("{name:<28}{:>8}{:>9}{:>8}", figures.taken_unsaid, figures.doubles, figures.losses);
        assert_eq!(figures.losses, 0, "{name}");
        assert!(figures.taken_unsaid >= 20, "{name}: {figures:?}");
        doubles.push(figures.doubles);
    }
    let [asked, not_asked, at_once, same_name, slow, same_name_not_asked] = doubles[..] else { panic!("six runs") };
    assert!(asked * 3 < not_asked && at_once <= not_asked, "{doubles:?}");
    assert!(same_name <= same_name_not_asked && slow * 3 < same_name_not_asked, "{doubles:?}");
}

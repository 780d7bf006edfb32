//! The sender against a scripted API, stepped by hand: what comes back, and what is done about it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::config::{Config, Limit, OverLimit, Rate, Retry, Site};
use formgate::destination::{BaseUrl, KeyPair, Secret};
use formgate::kaicalls::{self, Client};
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{Appended, Attempt, AttemptResult, Content, Entry, NewEntry, Reason, State, Store};
use formgate::received::Received;
use formgate::send::{ATTEMPTS_MIN, Clock, Sender, Stopped};
use formgate::telemetry::Metrics;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::gateway;
use crate::scripted_api::{Reply, ScriptedApi};

const START: i64 = 1_790_000_000_000;
const RETRY: Retry = Retry {
    first: Duration::from_secs(100),
    max: Duration::from_secs(3600),
    give_up_after: Duration::from_secs(14 * 86_400),
};
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A sender whose KaiCalls and whose time are in the test's hands.
struct World {
    api: ScriptedApi,
    store: Arc<dyn Store>,
    config: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    sender: Sender,
    now_ms: Arc<AtomicI64>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_config| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let api = ScriptedApi::start().await;
        let base_url = api.base_url();
        Self::at(api, &base_url, Duration::from_secs(20), change)
    }

    fn at(api: ScriptedApi, base_url: &str, timeout: Duration, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = gateway::config();
        config.upstream.base_url = BaseUrl::parse(base_url).expect("a URL");
        config.upstream.timeout = timeout;
        config.upstream.max_in_flight = NonZeroU32::new(8).expect("not zero");
        config.queue.retry = RETRY;
        config.sites = ["acme", "beta", "gamma", "delta"].map(|name| site(name, "1")).into();
        change(&mut config);
        let options = kaicalls::Options { timeout, ..kaicalls::Options::new(config.upstream.base_url.clone()) };
        let (config, metrics) = (Arc::new(ArcSwap::from_pointee(config)), Arc::new(Metrics::new().expect("metrics")));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::ZERO));
        let now_ms = Arc::new(AtomicI64::new(START));
        let told = Arc::clone(&now_ms);
        let clock = Clock::by(move || Timestamp::from_millisecond(told.load(Ordering::SeqCst)).expect("a time"));
        let client = Client::new(options).expect("a client");
        let sender =
            Sender::new(Arc::clone(&store), client, Arc::clone(&config), Arc::clone(&metrics)).with_clock(clock);
        Self { api, store, config, metrics, sender, now_ms }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms.load(Ordering::SeqCst)).expect("a time")
    }

    fn pass(&self, seconds: u64) {
        self.now_ms.fetch_add(i64::try_from(seconds * 1000).expect("small"), Ordering::SeqCst);
    }

    fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = gateway::config();
        let before = self.config.load_full();
        config.server = before.server.clone();
        (config.upstream, config.queue) = (before.upstream.clone(), before.queue.clone());
        (config.limits, config.sites) = (before.limits, before.sites.clone());
        change(&mut config);
        self.config.store(Arc::new(config));
    }

    async fn queue(&self, site: &str, number: u8) -> EntryId {
        let draft = Draft {
            email: Some(format!("jane{number}@example.com")),
            message: Some("Hello".to_owned()),
            ..Draft::default()
        };
        let content = Content {
            received: Received { traceparent: Some(TRACE.to_owned()), ..Received::default() },
            mapping: None,
            lead: Some(Lead::check(draft).expect("a lead").lead),
            errors: Vec::new(),
            hold_rule: None,
            oddities: Vec::new(),
        };
        let entry = NewEntry {
            id: EntryId::new(u64::from(number), &[number; 10]),
            site: SiteId::parse(site).expect("a slug"),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Queued,
            reason: Reason::Accepted,
            accepted_at: self.now(),
            keep: None,
            content,
        };
        let id = entry.id;
        assert_eq!(self.store.append(entry, None).await.expect("appended"), Appended::New(id));
        id
    }

    async fn step(&self) {
        self.sender.send_due().await;
    }

    async fn entry(&self, id: EntryId) -> Entry {
        self.store.get(id).await.expect("the store answers").expect("the entry is there")
    }

    async fn state(&self, id: EntryId) -> (State, Reason, u32) {
        let entry = self.entry(id).await;
        (entry.state, entry.reason, entry.attempts)
    }

    /// Seconds until an entry is due, rounded down.
    async fn due_in(&self, id: EntryId) -> i64 {
        self.entry(id).await.due_at.expect("it is queued").duration_since(self.now()).as_secs()
    }

    /// The local parts of the addresses of the leads sent so far.
    fn sent(&self) -> Vec<String> {
        let text = |value: &serde_json::Value| value["email"].as_str().unwrap_or_default().replace("@example.com", "");
        self.api.requests().iter().map(|request| text(&request.json())).collect()
    }

    fn page(&self) -> String {
        String::from_utf8(self.metrics.text().expect("a page")).expect("text")
    }

    fn shows(&self, line: &str) {
        let page = self.page();
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
}

fn site(name: &str, secret: &str) -> (SiteId, Arc<Site>) {
    let id = SiteId::parse(name).expect("a slug");
    let keys = KeyPair::new(&format!("wp_pk_{name}"), &Secret::new(format!("wp_sk_{secret}"))).expect("keys");
    let site = Site { id: id.clone(), keys, form_keys: BTreeMap::new(), ..gateway::acme() };
    (id, Arc::new(site))
}

fn limit(count: u32, burst: u32) -> Limit {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    Limit { rate: Rate { count: number(count), per: Duration::from_secs(60) }, burst: number(burst) }
}

fn last_attempt(entry: &Entry) -> &Attempt {
    entry.history.iter().rev().find_map(|event| event.attempt.as_ref()).expect("an attempt")
}

/// The other endpoints' envelope of an error.
fn error_object(status: u16) -> Reply {
    Reply::json(status, r#"{"error":{"code":"nope","message":"No."}}"#)
}

/// What is to become of a lead after one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Delivered(Option<&'static str>),
    /// Tried again after so many seconds, or up to the first backoff later.
    Again(AttemptResult, i64),
    RefusedOnce,
    Paused,
}

use Expected::{Again, Delivered, Paused, RefusedOnce};

const FAILED: Expected = Again(AttemptResult::Failed, 0);
const AMBIGUOUS: Expected = Again(AttemptResult::Ambiguous, 0);

impl World {
    async fn check(&self, name: &str, status: Option<u16>, expected: Expected) {
        let id = self.queue("acme", 1).await;
        self.step().await;
        let entry = self.entry(id).await;
        let attempt = last_attempt(&entry);
        assert_eq!(attempt.status, status, "{name}");
        let stands = (entry.state, entry.reason, attempt.result, entry.attempts);
        let wait = entry.due_at.map(|due_at| due_at.duration_since(self.now()).as_secs());
        match expected {
            Delivered(lead_id) => {
                assert_eq!(stands, (State::Delivered, Reason::Delivered, AttemptResult::Delivered, 1), "{name}");
                assert_eq!(entry.lead_id.as_deref(), lead_id, "{name}");
            }
            Again(result, least) => {
                assert_eq!(stands, (State::Queued, Reason::Retrying, result, 1), "{name}");
                assert!(wait.is_some_and(|wait| (least..=least + 100).contains(&wait)), "{name}: {wait:?}");
            }
            RefusedOnce => {
                assert_eq!(stands, (State::Queued, Reason::Retrying, AttemptResult::LeadRefused, 1), "{name}");
                assert_eq!(wait, Some(3600), "{name}");
            }
            Paused => {
                assert_eq!(stands, (State::Queued, Reason::Accepted, AttemptResult::KeyRefused, 0), "{name}");
                assert_eq!(wait, Some(300), "{name}");
            }
        }
        assert_eq!(self.sent().len(), 1, "{name}: nothing is repeated at once");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table is read as one")]
async fn every_answer_has_its_verdict() {
    let lead = |status| Reply::json(status, r#"{"success":true,"leadId":"lead_7"}"#);
    let redirect = |status| Reply::with_headers(status, &[("location", "http://127.0.0.1:1/")], "");
    let failure = r#"{"success":false,"error":"No."}"#;
    let long = format!(r#"{{"success":false,"error":"{}"}}"#, "x".repeat(10 << 20));
    let noise = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let rows = [
        ("200", lead(200), 200, Delivered(Some("lead_7"))),
        ("201", lead(201), 201, Delivered(Some("lead_7"))),
        ("200 without an id", Reply::json(200, r#"{"success":true}"#), 200, Delivered(None)),
        ("200 after noise", lead(200).preceded_by(noise), 200, Delivered(Some("lead_7"))),
        ("200 that says no", Reply::json(200, failure), 200, FAILED),
        ("200 with an error", error_object(200), 200, FAILED),
        ("200 with a page", Reply::html(200, "<html>maintenance</html>"), 200, FAILED),
        ("200 with nothing", Reply::json(200, ""), 200, FAILED),
        ("200 with other JSON", Reply::json(200, r#"{"ok":true}"#), 200, FAILED),
        ("200 with 10 MB", Reply::json(200, &long), 200, FAILED),
        ("204", Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"), 204, FAILED),
        ("301", redirect(301), 301, FAILED),
        ("302", redirect(302), 302, FAILED),
        ("303", redirect(303), 303, FAILED),
        ("307", redirect(307), 307, FAILED),
        ("308", redirect(308), 308, FAILED),
        ("400", Reply::json(400, failure), 400, RefusedOnce),
        ("400 as an object", error_object(400), 400, RefusedOnce),
        ("400 with a page", Reply::html(400, "<html>"), 400, FAILED),
        ("401", Reply::json(401, failure), 401, Paused),
        ("401 as an object", error_object(401), 401, Paused),
        ("401 with a page", Reply::html(401, "<html>"), 401, FAILED),
        ("402", Reply::json(402, failure), 402, FAILED),
        ("403", error_object(403), 403, FAILED),
        ("404", Reply::json(404, failure), 404, FAILED),
        ("405", error_object(405), 405, FAILED),
        ("408", error_object(408), 408, FAILED),
        ("409", Reply::json(409, failure), 409, FAILED),
        ("410", Reply::json(410, failure), 410, FAILED),
        ("413", Reply::json(413, failure), 413, RefusedOnce),
        ("413 of a proxy", Reply::html(413, "<html>"), 413, FAILED),
        ("422", error_object(422), 422, RefusedOnce),
        ("500", Reply::json(500, failure), 500, FAILED),
        ("502", Reply::html(502, "<html>Bad gateway</html>"), 502, FAILED),
        ("503 that says yes", lead(503), 503, FAILED),
    ];
    for (name, reply, status, expected) in rows {
        let world = World::new().await;
        world.api.on_intake(reply);
        world.check(name, Some(status), expected).await;
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_kept() {
    let date = ("date", "Sat, 01 Aug 2026 10:00:00 GMT");
    let failure = r#"{"success":false,"error":"Too many requests"}"#;
    for (name, status, headers, least) in [
        ("seconds", 429, vec![("retry-after", "120")], 120),
        ("a date", 429, vec![("retry-after", "Sat, 01 Aug 2026 10:05:00 GMT"), date], 300),
        ("nothing", 429, vec![], 0),
        ("a date gone by", 429, vec![("retry-after", "Sat, 01 Aug 2026 09:00:00 GMT"), date], 0),
        ("ten years", 429, vec![("retry-after", "315360000")], 86_400),
        ("words", 429, vec![("retry-after", "soon")], 0),
        ("away for a while", 503, vec![("retry-after", "60")], 60),
    ] {
        let world = World::new().await;
        world.api.on_intake(Reply::with_headers(status, &headers, failure));
        world.check(name, Some(status), Again(AttemptResult::Failed, least)).await;
    }
}

#[tokio::test]
async fn an_exchange_that_breaks_off_is_ambiguous_where_the_lead_may_have_arrived() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"success\":true";
    for (name, reply) in [
        ("closed", Reply::close()),
        ("reset", Reply::reset()),
        ("closed in the answer", Reply::raw(half).then_close()),
        ("reset in the answer", Reply::raw(half).then_reset()),
        ("another protocol", Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then_close()),
    ] {
        let world = World::new().await;
        world.api.on_intake(reply);
        world.check(name, None, AMBIGUOUS).await;
    }
    for (name, reply) in [("silence", Reply::silence()), ("silence in the answer", Reply::raw(half).then_silence())] {
        let api = ScriptedApi::start().await;
        let base_url = api.base_url();
        let world = World::at(api, &base_url, Duration::from_millis(300), |_config| {});
        world.api.on_intake(reply);
        world.check(name, None, AMBIGUOUS).await;
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let world = World::new().await;
    world.api.go_away().await;
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let entry = world.entry(refused).await;
    let attempt = last_attempt(&entry);
    assert_eq!((attempt.result, attempt.words.as_deref()), (AttemptResult::Failed, Some("connection refused")));

    // It takes the connection and never says a word of TLS.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base_url = format!("https://{}", silent.local_addr().expect("an address"));
    let world = World::at(ScriptedApi::start().await, &base_url, Duration::from_millis(300), |_config| {});
    let stuck = world.queue("acme", 1).await;
    world.step().await;
    let entry = world.entry(stuck).await;
    let attempt = last_attempt(&entry);
    assert_eq!((attempt.result, attempt.words.as_deref()), (AttemptResult::Failed, Some("no connection in time")));
    assert_eq!(entry.reason, Reason::Retrying);
}

#[tokio::test]
async fn a_lead_that_is_refused_twice_is_dead_with_the_words_of_the_refusal() {
    let world = World::new().await;
    world.api.always(Reply::error(400, "Missing business"));
    let id = world.queue("acme", 1).await;
    world.step().await;
    world.pass(3599);
    world.step().await;
    assert_eq!(world.sent().len(), 1);
    world.pass(1);
    world.step().await;
    assert_eq!(world.state(id).await, (State::Dead, Reason::Refused, 2));
    let entry = world.entry(id).await;
    assert_eq!(last_attempt(&entry).words.as_deref(), Some("Missing business"));
    world.pass(1_000_000);
    world.step().await;
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_lead_is_given_up_after_its_time_and_at_least_twelve_attempts() {
    let world = World::with(|config| {
        config.queue.retry = Retry { give_up_after: Duration::from_secs(3600), ..RETRY };
    })
    .await;
    world.api.always(Reply::error(500, "Oops"));
    let id = world.queue("acme", 1).await;
    for attempt in 1..ATTEMPTS_MIN {
        world.step().await;
        assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, attempt));
        world.pass(3600);
    }
    world.step().await;
    assert_eq!(world.state(id).await, (State::Dead, Reason::GaveUp, ATTEMPTS_MIN));
    world.shows("formgate_delivery_retries_total 11");
}

#[tokio::test]
async fn a_revoked_key_pauses_its_own_site_only() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let (waiting, other) = (world.queue("acme", 2).await, world.queue("beta", 3).await);
    world.step().await;
    assert_eq!(world.sent(), ["jane1", "jane3"]);
    assert_eq!(world.state(other).await.0, State::Delivered);
    assert_eq!(world.state(waiting).await, (State::Queued, Reason::Accepted, 0));
    world.shows("formgate_sites_paused 1");

    // One lead of it every five minutes, and no attempt is counted however long it goes on.
    for round in 2..=50 {
        world.api.on_intake(Reply::error(401, "Unauthorized"));
        world.pass(300);
        world.step().await;
        assert_eq!(world.sent().len(), 1 + round);
    }
    assert_eq!(world.state(refused).await.2 + world.state(waiting).await.2, 0);

    // The key is valid again: the probe is delivered, and what waited goes after it at once.
    world.pass(300);
    world.step().await;
    assert_eq!((world.state(refused).await.0, world.state(waiting).await.0), (State::Delivered, State::Delivered));
    world.shows("formgate_sites_paused 0");
}

#[tokio::test]
async fn changed_keys_resume_a_site_at_once() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let waiting = world.queue("acme", 2).await;
    world.step().await;

    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!((world.state(refused).await.0, world.state(waiting).await.0), (State::Delivered, State::Delivered));
    let keys: Vec<_> = world.api.requests().iter().map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert_eq!(keys[1..], [const { "Bearer wp_pk_acme:wp_sk_2" }; 2].map(|keys| Some(keys.to_owned())));
}

#[tokio::test]
async fn keys_that_are_refused_after_they_were_changed_pause_nobody() {
    let world = World::new().await;
    let told = Arc::new(tokio::sync::Notify::new());
    world.api.on_intake(Reply::error(401, "Unauthorized").when(&told));
    let id = world.queue("acme", 1).await;
    let sender = world.sender.clone();
    let sending = tokio::spawn(async move { sender.send_due().await });
    world.api.wait_for(1).await;
    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.sender.reloaded().await;
    told.notify_one();
    sending.await.expect("sent");
    assert_eq!(world.state(id).await, (State::Delivered, Reason::Delivered, 1));
    world.shows("formgate_sites_paused 0");
}

#[tokio::test]
async fn a_reload_with_the_same_keys_tries_one_lead() {
    let world = World::new().await;
    world.api.always(Reply::error(401, "Unauthorized"));
    world.queue("acme", 1).await;
    world.step().await;
    world.queue("acme", 2).await;
    world.step().await;
    assert_eq!(world.sent().len(), 1);
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_lead_that_was_refused_keeps_its_hour_when_its_site_is_resumed() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(400, "No."));
    let once_refused = world.queue("acme", 1).await;
    world.step().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    world.queue("acme", 2).await;
    world.step().await;
    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.pass(60);
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.sent(), ["jane1", "jane2", "jane2"]);
    assert_eq!((world.state(once_refused).await.2, world.due_in(once_refused).await), (1, 3540));
}

#[tokio::test]
async fn a_sites_failing_leads_open_its_circuit_and_no_others() {
    let world = World::new().await;
    world.api.always(Reply::error(404, "No such business"));
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="site"} 1"#);
    world.api.back_to_normal();
    let (behind, other) = (world.queue("acme", 4).await, world.queue("beta", 5).await);
    world.step().await;
    assert_eq!(world.state(other).await.0, State::Delivered);
    assert_eq!(world.state(behind).await, (State::Queued, Reason::Accepted, 0));
    world.pass(60);
    world.step().await;
    assert_eq!(world.state(behind).await.0, State::Delivered);
    world.shows(r#"formgate_circuits_open{scope="site"} 0"#);
}

#[tokio::test]
async fn an_upstream_that_is_away_is_probed_once_a_minute_and_nothing_else_is_touched() {
    let world = World::new().await;
    world.api.go_away().await;
    for (number, name) in (1..).zip(["acme", "beta", "gamma"]) {
        world.queue(name, number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 1"#);
    world.api.come_back().await;
    let new = [world.queue("delta", 4).await, world.queue("delta", 5).await];
    world.pass(59);
    world.step().await;
    assert_eq!(world.sent().len(), 0);
    assert_eq!(world.entry(new[0]).await.revision, 1, "it is not even claimed");

    world.api.on_intake(Reply::error(503, "Away"));
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 1, "one lead is the probe");
    world.pass(60);
    world.step().await;
    assert_eq!(world.state(new[1]).await.0, State::Delivered);
    world.shows(r#"formgate_circuits_open{scope="upstream"} 0"#);
}

#[tokio::test]
async fn two_sites_that_fail_leave_the_upstream_alone() {
    let world = World::new().await;
    world.api.always(Reply::error(500, "Oops"));
    for number in 1..=3 {
        world.queue("acme", number).await;
        world.queue("beta", 10 + number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 0"#);
    world.shows(r#"formgate_circuits_open{scope="site"} 2"#);
}

#[tokio::test]
async fn a_site_over_its_rate_is_sent_at_that_rate_and_keeps_no_other_waiting() {
    let world = World::with(|config| config.limits.site = limit(6, 2)).await;
    for number in 1..=5 {
        world.queue("acme", number).await;
    }
    world.queue("beta", 9).await;
    world.step().await;
    let mut first = world.sent();
    first.sort();
    assert_eq!(first, ["jane1", "jane2", "jane9"]);
    for expected in ["jane3", "jane4", "jane5"] {
        world.pass(9);
        world.step().await;
        assert!(!world.sent().contains(&expected.to_owned()), "{expected} is early");
        world.pass(1);
        world.step().await;
        assert_eq!(world.sent().last().map(String::as_str), Some(expected));
    }
    assert_eq!(world.state(EntryId::new(5, &[5; 10])).await, (State::Delivered, Reason::Delivered, 1));
}

#[tokio::test]
async fn only_slow_sends_slowly() {
    let world = World::with(|config| {
        config.limits.site = limit(1, 1);
        config.limits.over_site = OverLimit::Hold;
    })
    .await;
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    world.step().await;
    assert_eq!(world.sent().len(), 3);
}

#[tokio::test]
async fn all_sites_together_keep_to_the_rate_of_the_upstream() {
    let world = World::with(|config| config.upstream.rate = Some(limit(120, 1).rate)).await;
    let mut ids = Vec::new();
    for (number, name) in (1..).zip(["acme", "beta", "gamma", "delta", "acme"]) {
        ids.push(world.queue(name, number).await);
    }
    world.step().await;
    assert_eq!(world.sent().len(), 2);
    assert_eq!(world.entry(ids[4]).await.revision, 1, "what is over the rate is not claimed");
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 4);
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 5);
}

#[tokio::test]
async fn a_backlog_leaves_half_the_slots_to_new_leads() {
    let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::new(4).expect("not zero")).await;
    for number in 1..=9 {
        world.queue("acme", number).await;
    }
    world.pass(601);
    world.api.always(Reply::silence());
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(2).await;
    world.queue("acme", 20).await;
    world.queue("beta", 21).await;
    world.api.wait_for(4).await;
    let mut sent = world.sent();
    sent.sort();
    assert_eq!(sent, ["jane1", "jane2", "jane20", "jane21"]);
    drop((stop, running));
}

#[tokio::test]
async fn what_must_not_be_sent_is_held_with_the_reason() {
    let world = World::new().await;
    let (gone, off) = (world.queue("acme", 1).await, world.queue("beta", 2).await);
    world.change(|config| {
        config.sites.retain(|id, _| id.as_str() != "acme");
        let (id, beta) = site("beta", "1");
        let beta = Arc::into_inner(beta).expect("the only one");
        config.sites.insert(id, Arc::new(Site { deliver: false, ..beta }));
    });
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.state(gone).await, (State::Held, Reason::SiteGone, 0));
    assert_eq!(world.state(off).await, (State::Held, Reason::DeliverOff, 0));
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_trace_is_passed_on() {
    let world = World::new().await;
    world.queue("acme", 1).await;
    world.step().await;
    assert_eq!(world.api.requests()[0].header("traceparent"), Some(TRACE));
}

#[tokio::test]
async fn an_attempt_that_is_cut_off_by_the_end_is_recorded_as_ambiguous() {
    let world = World::new().await;
    world.api.on_intake(Reply::silence());
    let id = world.queue("acme", 1).await;
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(1).await;
    tokio::time::pause();
    stop.send_replace(true);
    assert_eq!(running.await.expect("it ends"), Stopped::Cut(1));
    assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, 1));
    let entry = world.entry(id).await;
    let attempt = last_attempt(&entry);
    assert_eq!(attempt.result, AttemptResult::Ambiguous);
    assert_eq!(attempt.words.as_deref(), Some("the gateway stopped before an answer came"));
    assert_eq!(world.due_in(id).await, 0);
}

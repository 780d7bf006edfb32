//! A sender whose KaiCalls and whose time are in a test's hands, stepped by hand.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::clock::Clock;
use formgate::config::{Config, Limit, Rate, Retry, Site};
use formgate::destination::{BaseUrl, KeyPair, Secret};
use formgate::kaicalls::{self, Client};
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::operate::{self, Query, Situation, Summary};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{Appended, Attempt, Head, NewEntry, Reading, Reason, State, Store};
use formgate::received::Received;
use formgate::send::Sender;
use formgate::telemetry::Metrics;
use jiff::Timestamp;

use crate::gateway;
use crate::scripted_api::ScriptedApi;

pub(crate) const START: i64 = 1_790_000_000_000;
pub(crate) const RETRY: Retry = Retry {
    first: Duration::from_secs(100),
    max: Duration::from_secs(3600),
    give_up_after: Duration::from_secs(14 * 86_400),
};
pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A sender whose KaiCalls and whose time are in the test's hands.
pub(crate) struct World {
    pub(crate) api: ScriptedApi,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sender: Sender,
    pub(crate) now_ms: Arc<AtomicI64>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_config| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let api = ScriptedApi::start().await;
        let base_url = api.base_url();
        Self::at(api, &base_url, Duration::from_secs(20), change)
    }

    pub(crate) fn at(api: ScriptedApi, base_url: &str, timeout: Duration, change: impl FnOnce(&mut Config)) -> Self {
        Self::trusting(api, (base_url, None), timeout, change)
    }

    /// Speaks TLS with who is trusted by these certificates.
    pub(crate) fn trusting(
        api: ScriptedApi,
        (base_url, roots): (&str, Option<Vec<u8>>),
        timeout: Duration,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = gateway::config();
        config.upstream.base_url = BaseUrl::parse(base_url).expect("a URL");
        config.upstream.timeout = timeout;
        config.upstream.max_in_flight = NonZeroU32::new(8).expect("not zero");
        config.queue.retry = RETRY;
        config.sites = ["acme", "beta", "gamma", "delta"].map(|name| site(name, "1")).into();
        change(&mut config);
        let options = kaicalls::Options { timeout, roots, ..kaicalls::Options::new(config.upstream.base_url.clone()) };
        let (config, metrics) = (Arc::new(ArcSwap::from_pointee(config)), Arc::new(Metrics::new().expect("metrics")));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Duration::ZERO));
        Self::of(api, store, (config, metrics), Client::new(options).expect("a client"))
    }

    fn of(
        api: ScriptedApi,
        store: Arc<dyn Store>,
        (config, metrics): (Arc<ArcSwap<Config>>, Arc<Metrics>),
        client: Client,
    ) -> Self {
        let now_ms = Arc::new(AtomicI64::new(START));
        let sender = Sender::new(Arc::clone(&store), client, Arc::clone(&config), Arc::clone(&metrics));
        let sender = sender.with_clock(clock(&now_ms));
        Self { api, store, config, metrics, sender, now_ms }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now_ms.load(Ordering::SeqCst)).expect("a time")
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.pass_ms(i64::try_from(seconds * 1000).expect("small"));
    }

    /// Sets the clock on, or back.
    pub(crate) fn pass_ms(&self, milliseconds: i64) {
        self.now_ms.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = gateway::config();
        let before = self.config.load_full();
        config.server = before.server.clone();
        (config.upstream, config.queue) = (before.upstream.clone(), before.queue.clone());
        (config.limits, config.sites) = (before.limits, before.sites.clone());
        change(&mut config);
        self.config.store(Arc::new(config));
    }

    pub(crate) async fn queue(&self, site: &str, number: u8) -> EntryId {
        self.queue_named(site, number.into(), None).await
    }

    /// Queues a lead of this name, else of its address'.
    pub(crate) async fn queue_named(&self, site: &str, number: u64, name: Option<&str>) -> EntryId {
        let entry = self.entry(site, number, name);
        let id = entry.id;
        assert_eq!(self.store.append(entry, None).await.expect("appended"), Appended::New(id));
        id
    }

    /// A lead of this name, else of its address', as it is queued.
    pub(crate) fn entry(&self, site: &str, number: u64, name: Option<&str>) -> NewEntry {
        let email = format!("jane{number}@example.com");
        let draft = Draft { name, email: Some(&email), message: Some("Hello"), ..Draft::default() };
        let lead = Lead::check(draft).expect("a lead").lead;
        let posted = serde_json::json!({ "name": lead.name(), "email": lead.email(), "message": lead.message() });
        let received = Received {
            method: "POST".to_owned(),
            headers: BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]),
            traceparent: Some(TRACE.to_owned()),
            body: posted.to_string().into(),
            ..Received::default()
        };
        NewEntry {
            id: EntryId::new(number, &[u8::try_from(number).unwrap_or_default(); 10]),
            site: SiteId::parse(site).expect("a slug"),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Queued,
            reason: Reason::Accepted,
            accepted_at: self.now(),
            keep: None,
            reading: Reading { lead: Some(lead), ..Reading::default() },
            received,
        }
    }

    /// What the operator's verbs know beside the store, while the sender runs.
    pub(crate) fn situation(&self) -> Situation {
        let sending = Some(self.sender.status().borrow().clone());
        Situation { config: self.config.load_full(), sending, now: self.now() }
    }

    pub(crate) async fn show(&self, id: EntryId) -> Summary {
        operate::show(&*self.store, &self.situation(), &id.to_string()).await.expect("shown").entry
    }

    /// Leads, sites and cause of each group of the list of work.
    pub(crate) async fn work(&self) -> Vec<(u64, usize, String)> {
        let groups = operate::groups(&*self.store, &Query::default(), &self.situation()).await.expect("grouped");
        groups.groups.into_iter().map(|group| (group.leads, group.sites, group.cause)).collect()
    }

    /// A sender that knows nothing of what this one found out, as after a restart.
    pub(crate) fn restarted(&self) -> Sender {
        let base_url = BaseUrl::parse(&self.api.base_url()).expect("a URL");
        let client = Client::new(kaicalls::Options::new(base_url)).expect("a client");
        let (store, config, metrics) = (&self.store, &self.config, &self.metrics);
        let sender = Sender::new(Arc::clone(store), client, Arc::clone(config), Arc::clone(metrics));
        sender.with_clock(clock(&self.now_ms))
    }

    pub(crate) async fn step(&self) {
        self.sender.send_due().await;
    }

    pub(crate) async fn head(&self, id: EntryId) -> Head {
        self.store.get(id).await.expect("the store answers").expect("the entry is there").head
    }

    pub(crate) async fn state(&self, id: EntryId) -> (State, Reason, u32) {
        let entry = self.head(id).await;
        (entry.state, entry.reason, entry.attempts)
    }

    /// Seconds until an entry is due, rounded down.
    pub(crate) async fn due_in(&self, id: EntryId) -> i64 {
        self.head(id).await.due_at.expect("it is queued").duration_since(self.now()).as_secs()
    }

    /// The local parts of the addresses of the leads sent so far.
    pub(crate) fn sent(&self) -> Vec<String> {
        let text = |value: &serde_json::Value| value["email"].as_str().unwrap_or_default().replace("@example.com", "");
        self.api
            .requests()
            .iter()
            .filter(|request| request.path.ends_with("/intake"))
            .map(|request| text(&request.json()))
            .collect()
    }

    pub(crate) fn page(&self) -> String {
        String::from_utf8(self.metrics.text().expect("a page")).expect("text")
    }

    pub(crate) fn shows(&self, line: &str) {
        let page = self.page();
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
}

fn clock(now_ms: &Arc<AtomicI64>) -> Clock {
    let told = Arc::clone(now_ms);
    Clock::by(move || Timestamp::from_millisecond(told.load(Ordering::SeqCst)).expect("a time"))
}

pub(crate) fn site(name: &str, secret: &str) -> (SiteId, Arc<Site>) {
    let id = SiteId::parse(name).expect("a slug");
    let keys = KeyPair::new(&format!("wp_pk_{name}"), &Secret::new(format!("wp_sk_{secret}"))).expect("keys");
    let site = Site { id: id.clone(), keys: Some(keys), form_keys: BTreeMap::new(), ..gateway::acme() };
    (id, Arc::new(site))
}

pub(crate) fn limit(count: u32, burst: u32) -> Limit {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    Limit { rate: Rate { count: number(count), per: Duration::from_secs(60) }, burst: number(burst) }
}

pub(crate) fn last_attempt(entry: &Head) -> &Attempt {
    entry.history.iter().rev().find_map(|event| event.attempt.as_ref()).expect("an attempt")
}

//! Tasks that die: each is seen, those that can be are started again, and what can't be ends the process.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use formgate::accept::{self, Gateway, Listeners, Options};
use formgate::app::{self, Fatal};
use formgate::config::{self, Config, Listen};
use formgate::destination::BaseUrl;
use formgate::lead::{EntryId, SiteId};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, Change, Claim, Counts, DedupeKey, Entry, Filter, Lease, NewEntry, Order, Page, Set, Settlement, State,
    Store, StoreError,
};
use formgate::telemetry::{Degraded, Metrics, install_panic_hook};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::gateway::{self, TOKEN, json, lead_body, status};
use crate::passing_on::pass_on;
use crate::reload::{Files, TODAY};
use crate::scripted_api::{Reply, ScriptedApi};

/// A call of the store, by those who make it: the sender, what watches the store, the follower, what reads at the start
/// when each site last posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Claim,
    Problems,
    MakeDue,
    Scan,
    /// A scan for what waits for a site that was gone.
    BringBack,
    /// A scan of all that is held.
    Recheck,
}

/// A store in memory that panics once where it is told to, and ends when it is told to.
struct Frail {
    inner: MemoryStore,
    panics: Mutex<Option<Call>>,
    ended: watch::Sender<bool>,
}

impl Frail {
    fn new() -> Arc<Self> {
        let inner = MemoryStore::new(Duration::ZERO);
        Arc::new(Self { inner, panics: Mutex::default(), ended: watch::Sender::new(false) })
    }

    fn panic_at(&self, call: Call) {
        *self.panics.lock() = Some(call);
    }

    fn called(&self, call: Call) {
        let is_due = self.panics.lock().take_if(|due| *due == call).is_some();
        assert!(!is_due, "the store met jane@example.com");
    }
}

pass_on!(Frail);

#[async_trait]
impl Store for Frail {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        self.inner.append(entry, dedupe).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        self.called(Call::Claim);
        self.inner.claim(claim).await
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.called(Call::MakeDue);
        self.inner.make_due(site, max, now).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        self.inner.settle(lease, settlement, now).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        self.inner.get(id).await
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        // The sender's scans name a reason.
        self.called(if filter.reason.is_some() { Call::BringBack } else { Call::Scan });
        if *filter == (Filter { state: Some(State::Held), ..Filter::default() }) {
            self.called(Call::Recheck);
        }
        self.inner.scan(filter, order, cursor, limit).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        self.inner.amend(id, revision, change, now).await
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        self.inner.erase(ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.expire(now, limit).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.inner.counts().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        self.called(Call::Problems);
        self.inner.problems().await
    }

    async fn ended(&self) {
        drop(self.ended.subscribe().wait_for(|ended| *ended).await);
    }
}

fn frail(store: &Arc<Frail>) -> Arc<dyn Store> {
    Arc::<Frail>::clone(store)
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn config_for(base_url: &str) -> Config {
    let mut config = gateway::config();
    config.server.listen = vec![Listen { address: local(), tls: None }];
    config.admin.listen = local();
    config.upstream.base_url = BaseUrl::parse(base_url).expect("a URL");
    config
}

async fn post(app: &app::Running, site: &str) -> String {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let request = gateway::post(&format!("/hooks/{site}"), &token, &lead_body("jane@example.com"));
    gateway::send(app.gateway()[0], request).await
}

async fn readyz(app: &app::Running) -> (u16, serde_json::Value) {
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = gateway::send(app.admin(), request).await;
    (status(&answer), json(&answer))
}

fn has_restarted(app: &app::Running, task: &str) -> bool {
    let page = String::from_utf8(app.metrics().text().expect("a page")).expect("text");
    page.contains(&format!("formgate_task_restarts_total{{task=\"{task}\"}} 1"))
}

/// Polls, with a bound; where time is paused it passes by itself.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not come to hold");
}

#[tokio::test]
async fn a_sender_that_panics_starts_again_and_is_told() {
    install_panic_hook();
    let api = ScriptedApi::start().await;
    let store = Frail::new();
    store.panic_at(Call::Claim);
    let app = app::start_on(config_for(&api.base_url()), frail(&store)).expect("started");
    until(|| has_restarted(&app, "sender")).await;
    assert_eq!(status(&post(&app, "acme").await), 200);
    tokio::time::timeout(Duration::from_secs(10), api.wait_for(1)).await.expect("the lead goes out");
    let (status, body) = readyz(&app).await;
    assert_eq!((status, &body["degraded"]), (200, &serde_json::json!(["task_failing"])));
    let ended = app.stop().await;
    assert!(ended.has_panicked && ended.fatal.is_none());
}

#[tokio::test]
async fn an_attempt_in_flight_ends_though_its_sender_panics() {
    install_panic_hook();
    let (api, answer) = (ScriptedApi::start().await, Arc::new(Notify::new()));
    api.on_intake(Reply::success("lead_1").when(&answer));
    let store = Frail::new();
    let mut config = config_for(&api.base_url());
    // With room for more, so that the sender looks for it.
    config.upstream.max_in_flight = NonZeroU32::new(8).expect("not zero");
    let app = app::start_on(config, frail(&store)).expect("started");
    assert_eq!(status(&post(&app, "acme").await), 200);
    tokio::time::timeout(Duration::from_secs(10), api.wait_for(1)).await.expect("the lead goes out");
    store.panic_at(Call::Claim);
    let panicked = async {
        while store.panics.lock().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), panicked).await.expect("the sender looks for more");
    answer.notify_one();
    until(|| has_restarted(&app, "sender")).await;
    let delivered = Filter { state: Some(State::Delivered), ..Filter::default() };
    let page = store.scan(&delivered, Order::Oldest, None, 2).await.expect("a page");
    assert_eq!((page.heads.len(), api.requests().len()), (1, 1));
    assert!(app.stop().await.has_panicked);
}

#[tokio::test]
async fn what_watches_the_store_starts_again() {
    let store = Frail::new();
    store.panic_at(Call::Problems);
    let app = app::start_on(config_for("http://127.0.0.1:1"), frail(&store)).expect("started");
    until(|| has_restarted(&app, "watch")).await;
    assert_eq!(app.metrics().degraded(), [Degraded::TaskFailing]);
    assert!(app.stop().await.has_panicked);
}

#[tokio::test]
async fn what_is_done_once_dies_alone_and_is_remembered() {
    let store = Frail::new();
    store.panic_at(Call::Scan);
    let app = app::start_on(config_for("http://127.0.0.1:1"), frail(&store)).expect("started");
    until(|| store.panics.lock().is_none()).await;
    assert_eq!(status(&post(&app, "acme").await), 200);
    let ended = app.stop().await;
    assert!(ended.has_panicked && ended.fatal.is_none());
}

#[tokio::test]
async fn what_brings_leads_back_dies_alone_and_is_remembered() {
    let store = Frail::new();
    store.panic_at(Call::BringBack);
    let api = ScriptedApi::start().await;
    let app = app::start_on(config_for(&api.base_url()), frail(&store)).expect("started");
    until(|| store.panics.lock().is_none()).await;
    assert_eq!(status(&post(&app, "acme").await), 200);
    api.wait_for(1).await;
    let ended = app.stop().await;
    assert!(ended.has_panicked && ended.fatal.is_none());
}

#[tokio::test]
async fn an_admin_listener_that_panics_listens_again() {
    install_panic_hook();
    let app = app::start_on(config_for("http://127.0.0.1:1"), frail(&Frail::new())).expect("started");
    assert_eq!(readyz(&app).await.0, 200);
    app.panic_in("admin");
    until(|| has_restarted(&app, "admin")).await;
    assert_eq!(status(&post(&app, "acme").await), 200, "submissions are taken all the while");
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = None;
    for _ in 0..500 {
        answer = gateway::try_send(app.admin(), request).await;
        if answer.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = answer.expect("it listens again");
    assert_eq!((status(&answer), &json(&answer)["degraded"]), (200, &serde_json::json!(["task_failing"])));
    let ended = app.stop().await;
    assert!(ended.has_panicked && ended.fatal.is_none());
}

#[tokio::test]
async fn a_follower_that_panics_starts_again_and_follows() {
    let api = ScriptedApi::start().await;
    let files = Files::new(&api.base_url());
    let starting = config::start(&files.config_path(), &Files::sources(), TODAY);
    let (config, origin) = starting.in_force.expect("it is sound");
    let store = Frail::new();
    let app = app::start_following(config, origin, frail(&store)).expect("started");
    api.on_intake(Reply::error(401, "Unauthorized"));
    assert_eq!(status(&post(&app, "acme").await), 200);
    tokio::time::timeout(Duration::from_secs(10), api.wait_for(1)).await.expect("the lead goes out");
    store.panic_at(Call::MakeDue);
    until(|| app.metrics().text().is_ok_and(|page| String::from_utf8_lossy(&page).contains("formgate_sites_paused 1")))
        .await;
    files.replace("secrets/acme", "wp_sk_2\n");
    until(|| has_restarted(&app, "follower")).await;
    files.write("secrets/gamma", "wp_sk_1");
    files.write_site("gamma", "Gamma");
    let mut taken = false;
    for _ in 0..500 {
        taken = status(&post(&app, "gamma").await) == 200;
        if taken {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(taken);
    assert!(app.stop().await.has_panicked);
}

#[tokio::test]
async fn a_panic_in_what_follows_a_reload_is_told_as_the_followers() {
    install_panic_hook();
    let files = Files::new("http://127.0.0.1:1");
    let starting = config::start(&files.config_path(), &Files::sources(), TODAY);
    let (config, origin) = starting.in_force.expect("it is sound");
    let store = Frail::new();
    store.panic_at(Call::Recheck);
    let app = app::start_following(config, origin, frail(&store)).expect("started");
    app.reload();
    until(|| has_restarted(&app, "follower")).await;
    assert_eq!(app.metrics().degraded(), [Degraded::TaskFailing]);
    assert!(app.stop().await.has_panicked);
}

#[tokio::test]
async fn a_store_that_can_be_written_no_more_ends_the_process() {
    let store = Frail::new();
    let app = app::start_on(config_for("http://127.0.0.1:1"), frail(&store)).expect("started");
    assert_eq!(readyz(&app).await.0, 200);
    store.ended.send_replace(true);
    let failed = tokio::time::timeout(Duration::from_secs(10), app.failed()).await;
    assert_eq!(failed.expect("it says so"), Fatal::Store);
    let (status, body) = readyz(&app).await;
    assert_eq!((status, &body["reasons"]), (503, &serde_json::json!(["store_ended"])));
    let ended = app.stop().await;
    assert_eq!((ended.fatal, ended.has_panicked), (Some(Fatal::Store), true));
}

#[tokio::test]
async fn a_stop_that_nothing_went_wrong_before_is_clean() {
    let app = app::start_on(config_for("http://127.0.0.1:1"), frail(&Frail::new())).expect("started");
    assert_eq!(readyz(&app).await.0, 200);
    let ended = app.stop().await;
    assert_eq!((ended.fatal, ended.has_panicked, ended.unanswered), (None, false, 0));
}

#[tokio::test]
async fn listeners_that_end_are_noticed_and_can_listen_again() {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store: Arc<dyn Store> = Frail::new();
    let config = Arc::new(ArcSwap::from_pointee(gateway::config()));
    let app = Gateway::new(config, store, metrics, Options::default());
    let listeners = Listeners::default();
    let address = listeners.bind(local()).expect("a port");
    // What it listens to for its end is gone: pingora's loop ends by itself.
    let (gone, stopping) = watch::channel(false);
    drop(gone);
    let run = accept::run(vec![accept::service("admin", app.clone(), address)], listeners.clone(), stopping);
    tokio::time::timeout(Duration::from_secs(10), run).await.expect("it says that it ended");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");

    listeners.bind_again(address).expect("the port is free");
    let (stop, stopping) = watch::channel(false);
    let run = tokio::spawn(accept::run(vec![accept::service("admin", app, address)], listeners, stopping));
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let answer = gateway::send(address, gateway::post("/hooks/acme", &token, &lead_body("jane@example.com"))).await;
    assert_eq!(status(&answer), 200);
    stop.send_replace(true);
    run.await.expect("it ends");
}

//! A gateway on a port of its own, in this process, and raw bytes to and from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use formgate::accept::{self, Bounded, Bounds, Gateway, InFlight, Options, serve};
use formgate::admin::AdminApp;
use formgate::config::{
    self, Config, KaiCallsConfig, Keep, Limit, Limits, Listen, OverLimit, Queue, Rate, Retry, Server, Site, StoreUrl,
    Token,
};
use formgate::destination::{BaseUrl, KeyPair, Secret};
use formgate::lead::{EntryId, FormId, SiteId};
use formgate::pipeline::{Mappings, SiteRules};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, Change, Claim, Counts, DedupeKey, Entry, Filter, Head, Key, Lease, NewEntry, Note, NoteChange, NoteKind,
    Notes, Order, Page, Set, Settlement, State, Store, StoreError,
};
use formgate::telemetry::Metrics;
use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use crate::passing_on::pass_on;

pub(crate) const TOKEN: &str = "fg_0123456789012345678901234567890123456789012";
pub(crate) const PUBLIC: &str = "wp_pk_acme";
pub(crate) const SECRET: &str = "wp_sk_acme";

/// A running gateway.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) in_flight: InFlight,
    pub(crate) config: Arc<ArcSwap<Config>>,
    stop: watch::Sender<bool>,
}

/// Keeps what it is given, unless it is told to fail.
#[derive(Default)]
pub(crate) struct Shelf {
    entries: Mutex<Vec<(NewEntry, Option<DedupeKey>)>>,
    /// Keeps what has nothing to do with entries.
    inner: MemoryStore,
    trouble: Mutex<Option<Trouble>>,
    recovered: Notify,
    /// How often it was asked whether it is ready.
    pub(crate) probes: AtomicUsize,
    /// Whether part of it can't be read.
    pub(crate) is_damaged: AtomicBool,
}

#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    Full,
    Away,
    /// Nothing is answered until it recovers.
    Silent,
    Panicking,
}

impl Shelf {
    pub(crate) fn entries(&self) -> Vec<NewEntry> {
        self.entries.lock().iter().map(|(entry, _)| entry.clone()).collect()
    }

    /// The only entry there is.
    pub(crate) fn only(&self) -> NewEntry {
        let mut entries = self.entries();
        assert_eq!(entries.len(), 1);
        entries.remove(0)
    }

    pub(crate) fn fail(&self, trouble: Trouble) {
        *self.trouble.lock() = Some(trouble);
    }

    pub(crate) fn recover(&self) {
        *self.trouble.lock() = None;
        self.recovered.notify_waiters();
    }

    async fn check(&self) -> Result<(), StoreError> {
        let trouble = *self.trouble.lock();
        match trouble {
            None => Ok(()),
            Some(Trouble::Full) => Err(StoreError::Full),
            Some(Trouble::Away) => Err(StoreError::Unavailable("away".into())),
            Some(Trouble::Silent) => {
                self.recovered.notified().await;
                Ok(())
            }
            Some(Trouble::Panicking) => panic!("the store met jane@example.com"),
        }
    }
}

pass_on!(all but notes of Shelf);

#[async_trait]
impl Notes for Shelf {
    async fn note(&self, change: &NoteChange, now: Timestamp) -> Result<(), StoreError> {
        self.note_all(&[(change.clone(), now)]).await
    }

    async fn note_all(&self, changes: &[(NoteChange, Timestamp)]) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.note_all(changes).await
    }

    async fn notes(
        &self,
        kind: NoteKind,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Note>, StoreError> {
        self.inner.notes(kind, prefix, after, limit).await
    }
}

#[async_trait]
impl Store for Shelf {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        self.check().await?;
        let mut entries = self.entries.lock();
        let same = entries.iter().find(|(_, key)| dedupe.is_some() && *key == dedupe);
        if let Some((first, _)) = same {
            return Ok(Appended::Duplicate(first.id));
        }
        let id = entry.id;
        entries.push((entry, dedupe));
        Ok(Appended::New(id))
    }

    async fn claim(&self, _claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        Ok(Vec::new())
    }

    async fn make_due(&self, _site: &SiteId, _max: usize, _now: Timestamp) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn settle(&self, _lease: &Lease, _settlement: Settlement, _now: Timestamp) -> Result<Set, StoreError> {
        Ok(Set::Lost)
    }

    async fn get(&self, _id: EntryId) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }

    async fn scan(&self, filter: &Filter, _: Order, _: Option<EntryId>, _: usize) -> Result<Page, StoreError> {
        self.check().await?;
        let of_site = |entry: &NewEntry| filter.site.as_ref().is_none_or(|site| *site == entry.site);
        let in_time = |entry: &NewEntry| {
            filter.since.is_none_or(|since| since <= entry.accepted_at)
                && filter.until.is_none_or(|until| entry.accepted_at < until)
        };
        let heads = self.entries().into_iter().filter(of_site).filter(in_time).map(as_read).collect();
        Ok(Page { heads, ..Page::default() })
    }

    async fn amend(&self, _id: EntryId, _revision: u64, _change: Change, _now: Timestamp) -> Result<Set, StoreError> {
        Ok(Set::Lost)
    }

    async fn erase(&self, _ids: &[EntryId]) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn expire(&self, _now: Timestamp, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.check().await?;
        let queued = self.entries().into_iter().filter(|entry| entry.state == State::Queued);
        let count = |entry: NewEntry| Counts {
            site: entry.site,
            state: entry.state,
            entries: 1,
            oldest: Some(entry.accepted_at),
        };
        Ok(queued.map(count).collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        // So that others ask meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.check().await
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        let damage = self.is_damaged.load(Ordering::Relaxed).then(|| StoreError::Corrupt("damaged".into()));
        Ok(damage.into_iter().collect())
    }
}

fn as_read(entry: NewEntry) -> Head {
    Head {
        id: entry.id,
        site: entry.site,
        form: entry.form,
        state: entry.state,
        reason: entry.reason,
        revision: 1,
        accepted_at: entry.accepted_at,
        due_at: None,
        expires_at: None,
        attempts: 0,
        seen: 0,
        lead_id: None,
        history: Vec::new(),
        traceparent: entry.received.traceparent,
        reading: entry.reading,
    }
}

/// Deadlines short enough for a test that runs into them.
pub(crate) fn short() -> Options {
    Options {
        head: Duration::from_millis(100),
        body: Duration::from_millis(100),
        append: Duration::from_millis(100),
        linger: Duration::from_millis(100),
        ..Options::default()
    }
}

/// Starts a gateway with one site, `acme`.
pub(crate) fn start() -> Running {
    start_with(Options { linger: Duration::from_millis(100), ..Options::default() }, |_config| {})
}

pub(crate) fn start_with(options: Options, change: impl FnOnce(&mut Config)) -> Running {
    start_behind(None, options, change, |gateway| gateway)
}

/// Starts a gateway whose listener shows a certificate, where files of one and its key are given.
pub(crate) fn start_behind(
    tls: Option<(PathBuf, PathBuf)>,
    options: Options,
    change: impl FnOnce(&mut Config),
    adapt: impl FnOnce(Gateway) -> Gateway,
) -> Running {
    let mut config = config();
    change(&mut config);
    let shelf = Arc::new(Shelf::default());
    let store: Arc<dyn Store> = Arc::<Shelf>::clone(&shelf);
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
    let config = Arc::new(ArcSwap::from_pointee(config));
    let gateway = adapt(Gateway::new(Arc::clone(&config), store, Arc::clone(&metrics), options));
    let in_flight = gateway.in_flight();
    let listeners = accept::Listeners::default();
    let address = listeners.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let (stop, stopped) = watch::channel(false);
    let services = accept::services(&gateway, &[Listen { address, tls }]).expect("usable files");
    drop(tokio::spawn(accept::run(services, listeners, stopped)));
    Running { address, shelf, metrics, in_flight, config, stop }
}

/// Starts an admin listener on a store.
pub(crate) fn start_admin(shelf: &Arc<Shelf>, metrics: &Arc<Metrics>) -> (SocketAddr, watch::Sender<bool>) {
    let bounds = Bounds { connections: 64, head: Duration::from_secs(10), connection: Duration::from_secs(60) };
    start_admin_within(bounds, shelf, metrics)
}

pub(crate) fn start_admin_within(
    bounds: Bounds,
    shelf: &Arc<Shelf>,
    metrics: &Arc<Metrics>,
) -> (SocketAddr, watch::Sender<bool>) {
    let store: Arc<dyn Store> = Arc::<Shelf>::clone(shelf);
    let admin = AdminApp::new(Arc::new(ArcSwap::from_pointee(config())), store, Arc::clone(metrics));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    drop(tokio::spawn(serve(listener, Bounded::new(admin, bounds, Arc::clone(metrics)), stopped)));
    (address, stop)
}

impl Running {
    /// Sends bytes and reads to the end of the connection.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        send(self.address, bytes).await
    }

    /// Posts a body to a path, with the site's token.
    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.send(post(path, &format!("Authorization: Bearer {TOKEN}\r\n"), body)).await
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::<Shelf>::clone(&self.shelf)
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn page(&self) -> String {
        String::from_utf8(self.metrics.text().expect("a page")).expect("text")
    }
}

pub(crate) async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes.as_ref()).await.expect("sent");
    read_to_end(&mut stream).await
}

/// Sends bytes and reads to the end of the connection; none where that is cut.
pub(crate) async fn try_send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(bytes.as_ref()).await.ok()?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.ok()?.ok()?;
    Some(answer)
}

/// Reads until the gateway closes; a test that waits for ever fails here.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the connection ends").expect("an answer");
    String::from_utf8(answer).expect("text")
}

/// Reads one answer of a connection that stays open.
pub(crate) async fn read_one(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return text;
            }
        }
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut answer)).await;
        assert!(read.expect("an answer in time").expect("an answer") > 0, "closed after {text:?}");
    }
}

/// A request that ends its connection.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let fixed = "Host: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
    format!("POST {path} HTTP/1.1\r\n{fixed}{headers}Content-Length: {length}\r\n\r\n{body}")
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

pub(crate) fn json(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// What pipeline makes a lead of.
pub(crate) fn lead_body(email: &str) -> String {
    format!(r#"{{"name":"Jane","email":"{email}","message":"Hello"}}"#)
}

fn limits() -> Limits {
    let count = NonZeroU32::new(6000).expect("a number");
    let limit = Limit { rate: Rate { count, per: Duration::from_secs(60) }, burst: count };
    Limits { gateway: limit, client: limit, site: limit, over_site: OverLimit::Slow, browser: limit }
}

pub(crate) fn config() -> Config {
    let hour = Duration::from_secs(3600);
    let acme = Arc::new(acme());
    Config {
        server: Server {
            listen: Vec::new(),
            trusted_proxies: Vec::new(),
            max_body: 1024 * 1024,
            max_upload: 25 * 1024 * 1024,
            max_reading: 256 * 1024 * 1024,
            ..Server::default()
        },
        admin: config::Admin::default(),
        upstream: KaiCallsConfig {
            base_url: BaseUrl::parse("http://127.0.0.1:1").expect("a URL"),
            timeout: hour,
            max_in_flight: NonZeroU32::MIN,
            rate: None,
            api_key: None,
            confirm: false,
        },
        backup: None,
        sinks: Vec::new(),
        mail: None,
        alerts: config::Alerts::default(),
        queue: Queue {
            url: StoreUrl::Memory,
            retry: Retry { first: hour, max: hour, give_up_after: hour },
            keep: Keep { delivered: hour, held: hour, dead: hour },
            dedupe: Duration::from_secs(600),
            max_size: 1 << 30,
        },
        limits: limits(),
        sites: BTreeMap::from([(acme.id.clone(), acme)]),
        mappings: Arc::new(Mappings::default()),
        missing: config::Missing::default(),
        broken_sites: BTreeSet::new(),
        needs_restart: Vec::new(),
    }
}

pub(crate) fn acme() -> Site {
    let secret = Secret::new(SECRET.to_owned());
    Site {
        id: SiteId::parse("acme").expect("a site"),
        name: None,
        url: None,
        keys: Some(KeyPair::new(PUBLIC, &secret).expect("keys")),
        form_keys: BTreeMap::from([(
            FormId::parse("branch").expect("a form"),
            Some(KeyPair::new("wp_pk_branch", &Secret::new("wp_sk_branch".to_owned())).expect("keys")),
        )]),
        page_forms: BTreeMap::new(),
        tokens: vec![Token { sha256: Sha256::digest(TOKEN.as_bytes()).into(), note: None, expires: None }],
        wpforms_secrets: Vec::new(),
        lacks_signature_secret: false,
        deliver: true,
        hosts: Vec::new(),
        rules: SiteRules::default(),
        notify: config::SiteNotify::default(),
        file: "sites/acme.toml".into(),
    }
}

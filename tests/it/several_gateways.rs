//! Gateways that share a store: each site is sent for by one at a time, and by another within 5 s when that one dies.
//!
//! Time stands still but for [`Cluster::pass`]; each gateway has a KaiCalls of its own, which tells who sent what.

mod line;

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::clock::Clock;
use formgate::config::{Config, Rate};
use formgate::destination::BaseUrl;
use formgate::kaicalls::{self, Client};
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::notify::Notifier;
use formgate::queue::activity::Activity;
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, GatewayName, Head, NewEntry, PARTITIONS, Partition, Partitions, Reading, Reason, SeenGateway, State,
    Store,
};
use formgate::received::Received;
use formgate::send::{GatewayIdentity, Sender};
use formgate::telemetry::{Degraded, Metrics};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::line::Line;
use crate::gateway;
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::{RETRY, START, limit, site};

/// Time goes on in steps of so much.
const STEP: Duration = Duration::from_millis(50);
/// More than a request takes to get through.
const YIELDS: usize = 200;
const TAKEN_OVER: Duration = Duration::from_secs(5);

/// Gateways that share a store.
struct Cluster {
    store: Arc<MemoryStore>,
    clock: Clock,
    queued: u64,
    gateways: Vec<Gateway>,
    /// While it waits, time doesn't go on by itself.
    still: std::sync::mpsc::Sender<()>,
}

struct Gateway {
    api: ScriptedApi,
    config: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    sender: Sender,
    seen: watch::Receiver<Vec<SeenGateway>>,
    stop: watch::Sender<bool>,
    sending: JoinHandle<()>,
    holding: JoinHandle<()>,
    activity: Activity,
    telling: JoinHandle<()>,
    /// What tells others goes by it.
    line: Arc<Line>,
}

fn config_of_many_sites() -> Config {
    let mut config = gateway::config();
    config.upstream.timeout = Duration::from_secs(3_600);
    config.upstream.max_in_flight = NonZeroU32::new(8).expect("not zero");
    config.queue.retry = RETRY;
    config.sites = (0..40).map(|number| site(&format!("site-{number}"), "1")).collect();
    config
}

impl Cluster {
    async fn of(gateways: usize) -> Self {
        Self::with(gateways, |_config| {}).await
    }

    async fn with(gateways: usize, change: impl Fn(&mut Config)) -> Self {
        let (still, ended) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv().is_ok());
        let begun = Instant::now();
        let clock = Clock::by(move || {
            let start = Timestamp::from_millisecond(START).expect("a time");
            start + begun.elapsed()
        });
        let store = Arc::new(MemoryStore::new(Duration::ZERO));
        let mut cluster = Self { store, clock, queued: 0, gateways: Vec::new(), still };
        for _ in 0..gateways {
            cluster.join(&change).await;
        }
        cluster.pass(5_000).await;
        cluster
    }

    /// Starts another gateway.
    async fn join(&mut self, change: impl Fn(&mut Config)) {
        self.join_as(&format!("web-{}", self.gateways.len()), change).await;
    }

    async fn join_as(&mut self, name: &str, change: impl Fn(&mut Config)) {
        let api = ScriptedApi::start().await;
        let mut config = config_of_many_sites();
        change(&mut config);
        let base_url = BaseUrl::parse(&api.base_url()).expect("a URL");
        let options = kaicalls::Options { timeout: config.upstream.timeout, ..kaicalls::Options::new(base_url) };
        let config = Arc::new(ArcSwap::from_pointee(config));
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&self.store);
        let client = Client::new(options).expect("a client");
        let identity = GatewayIdentity {
            name: GatewayName::parse(name).expect("a name"),
            host: "web".to_owned(),
            version: "0.1.0",
            since: self.clock.now(),
        };
        let sender = Sender::new(store, client, Arc::clone(&config), Arc::clone(&metrics));
        let sender = sender.with_clock(self.clock.clone()).shared_as(identity);
        let ownership = sender.ownership().expect("it is shared").clone();
        let name = ownership.name().clone();
        let (stop, stopped) = watch::channel(false);
        let told_to_stop = stopped.clone();
        let seen = ownership.gateways();
        let worker = sender.clone();
        let until = stopped.clone();
        let sending = tokio::spawn(async move {
            worker.run(until).await;
        });
        let holding = tokio::spawn(ownership.run(stopped));
        let activity = Activity::default();
        let line = Line::to(&self.store);
        let shared: Arc<dyn Store> = line.clone();
        let notifier = Notifier::new(Arc::clone(&config), shared, Arc::clone(&metrics), activity.clone())
            .with_sending(sender.status())
            .with_clock(self.clock.clone())
            .shared_as(name);
        let telling = tokio::spawn(notifier.run(told_to_stop));
        let gateway = Gateway { api, config, metrics, sender, seen, stop, sending, holding, activity, telling, line };
        self.gateways.push(gateway);
    }

    /// Lets time go on.
    async fn pass(&self, milliseconds: u64) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < end {
            self.step().await;
        }
    }

    async fn step(&self) {
        tokio::time::advance(STEP).await;
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time go on until something is true; returns how long that took, and fails after `longest`.
    async fn pass_until(&self, longest: Duration, is_true: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !is_true(self) {
            assert!(begun.elapsed() <= longest, "not within {longest:?}: {self:?}");
            self.step().await;
        }
        begun.elapsed()
    }

    /// What each gateway that runs says it holds.
    fn held(&self) -> Vec<Partitions> {
        self.gateways.iter().map(Gateway::held).collect()
    }

    fn count(&self) -> Vec<u32> {
        self.held().into_iter().map(Partitions::len).collect()
    }

    /// A site that one of the gateways sends for.
    fn site_of(&self, gateway: usize) -> SiteId {
        let held = self.gateways[gateway].held();
        let config = self.gateways[gateway].config.load();
        config.sites.keys().find(|site| held.has_site(site)).expect("it has a site").clone()
    }

    async fn queue(&mut self, site: &SiteId) -> EntryId {
        self.queued += 1;
        let email = format!("jane{}@example.com", self.queued);
        let draft = Draft { email: Some(&email), message: Some("Hello"), ..Draft::default() };
        let lead = Lead::check(draft).expect("a lead").lead;
        let entry = NewEntry {
            id: EntryId::new(self.queued, &[1; 10]),
            site: site.clone(),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Queued,
            reason: Reason::Accepted,
            accepted_at: self.clock.now(),
            keep: None,
            reading: Reading { lead: Some(lead), ..Reading::default() },
            received: Received { method: "POST".to_owned(), ..Received::default() },
        };
        let id = entry.id;
        assert_eq!(self.store.append(entry, None).await.expect("appended"), Appended::New(id));
        id
    }

    async fn head(&self, id: EntryId) -> Head {
        self.store.get(id).await.expect("read").expect("it is there").head
    }

    /// The numbers of the leads that were sent, by site, each with the gateway.
    fn sent(&self) -> BTreeMap<String, Vec<(usize, u64)>> {
        let mut sent: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (number, gateway) in self.gateways.iter().enumerate() {
            for (site, lead) in gateway.sent() {
                sent.entry(site).or_default().push((number, lead));
            }
        }
        sent
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} are held, and {:?} sent", self.count(), self.sent())
    }
}

impl Gateway {
    fn held(&self) -> Partitions {
        self.seen.borrow().iter().find(|gateway| gateway.is_this).map(|this| this.note.partitions).unwrap_or_default()
    }

    /// The leads it sent, each with its site.
    fn sent(&self) -> Vec<(String, u64)> {
        let sent = self.api.requests().into_iter().filter(|request| request.path.ends_with("/intake"));
        sent.map(|request| {
            let keys = request.header("authorization").expect("keys").trim_start_matches("Bearer wp_pk_").to_owned();
            let site = keys.split(':').next().expect("a site").to_owned();
            let email = request.json()["email"].as_str().expect("an address").to_owned();
            (site, email.trim_start_matches("jane").trim_end_matches("@example.com").parse().expect("a number"))
        })
        .collect()
    }

    /// It is killed: nothing is given back.
    fn kill(&self) {
        self.sending.abort();
        self.holding.abort();
        self.telling.abort();
    }

    fn is_degraded(&self, reason: Degraded) -> bool {
        self.metrics.degraded().contains(&reason)
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_alone_sends_for_all_and_several_have_equal_shares() {
    let mut cluster = Cluster::of(1).await;
    assert_eq!(cluster.count(), [64]);
    cluster.join(|_config| {}).await;
    cluster.pass_until(TAKEN_OVER, |cluster| cluster.count() == [32, 32]).await;
    cluster.join(|_config| {}).await;
    cluster.pass_until(TAKEN_OVER, |cluster| cluster.count()[2] == 20).await;
    cluster.pass(1_000).await;
    // Nothing moves from then on.
    let settled = cluster.held();
    assert!(settled.iter().all(|held| held.len() <= 22), "{settled:?}");
    cluster.pass(10_000).await;
    assert_eq!(cluster.held(), settled);
    assert_eq!(settled.iter().map(|held| held.len()).sum::<u32>(), u32::from(PARTITIONS));
    let seen = cluster.gateways[0].seen.borrow().clone();
    let live: Vec<_> = seen.iter().filter(|gateway| gateway.is_live).map(|gateway| gateway.name.as_str()).collect();
    assert_eq!(live, ["web-0", "web-1", "web-2"]);
    let of_all: usize = seen.iter().map(|gateway| gateway.note.sites).sum();
    assert_eq!(of_all, 40);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn each_lead_is_sent_once_in_order_and_by_one_gateway_while_others_come_and_go() {
    let mut cluster = Cluster::of(2).await;
    let sites: Vec<_> = cluster.gateways[0].config.load().sites.keys().cloned().collect();
    for round in 0..20 {
        for site in &sites {
            cluster.queue(site).await;
        }
        cluster.pass(500).await;
        match round {
            4 => cluster.join(|_config| {}).await,
            12 => drop(cluster.gateways[0].stop.send_replace(true)),
            _ => {}
        }
    }
    cluster.pass_until(TAKEN_OVER, |cluster| cluster.sent().values().map(Vec::len).sum::<usize>() == 800).await;
    for (site, leads) in cluster.sent() {
        let numbers: BTreeSet<_> = leads.iter().map(|(_, lead)| lead).collect();
        assert_eq!((numbers.len(), leads.len()), (20, 20), "{site}");
        for gateway in 0..3 {
            let its: Vec<_> = leads.iter().filter(|(by, _)| *by == gateway).map(|(_, lead)| *lead).collect();
            assert!(its.is_sorted(), "{site} by {gateway}: {its:?}");
        }
    }
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn the_sites_of_a_gateway_that_is_killed_are_sent_for_within_five_seconds() {
    let mut cluster = Cluster::of(3).await;
    for killed in [0, 1] {
        let site = cluster.site_of(killed);
        cluster.gateways[killed].kill();
        let lead = cluster.queue(&site).await;
        let is_sent = |cluster: &Cluster| {
            cluster.gateways.iter().any(|gateway| gateway.sent().iter().any(|(_, number)| *number == cluster.queued))
        };
        let took = cluster.pass_until(TAKEN_OVER, is_sent).await;
        assert!(took >= Duration::from_secs(2), "it held them until then: {took:?}");
        cluster.pass(500).await;
        assert_eq!(cluster.head(lead).await.state, State::Delivered);
    }
    cluster.pass_until(TAKEN_OVER, |cluster| cluster.gateways[2].held() == Partitions::ALL).await;
    let live = cluster.gateways[2].seen.borrow().iter().filter(|gateway| gateway.is_live).count();
    assert_eq!(live, 1);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn to_others_a_gateway_that_is_upgraded_runs_on() {
    let mut cluster = Cluster::of(2).await;
    let old = cluster.site_of(1);
    let note_of_web_1 = |cluster: &Cluster| {
        let seen = cluster.gateways[0].seen.borrow().clone();
        let web_1 = seen.into_iter().find(|gateway| gateway.name.as_str() == "web-1" && gateway.is_live);
        web_1.map(|gateway| (gateway.note.since, gateway.note.sends))
    };
    let (since, _) = note_of_web_1(&cluster).expect("it runs");
    cluster.join_as("web-1", |_config| {}).await;
    cluster.pass(2_000).await;
    cluster.gateways[1].sender.ownership().expect("it is shared").leave_name();
    cluster.gateways[1].stop.send_replace(true);
    for _ in 0..100 {
        cluster.step().await;
        assert!(matches!(note_of_web_1(&cluster), Some((_, true))), "{cluster:?}");
    }
    assert_ne!(note_of_web_1(&cluster), Some((since, true)));
    cluster.queue(&old).await;
    cluster.pass(1_000).await;
    assert_eq!(cluster.gateways[1].sent(), []);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_renew_stops_sending_before_another_begins() {
    let mut cluster = Cluster::of(2).await;
    let site = cluster.site_of(0);
    // What holds its partitions hangs; its sender runs.
    cluster.gateways[0].holding.abort();
    cluster.pass(3_200).await;
    let before = cluster.gateways[0].sent().len();
    for _ in 0..5 {
        cluster.queue(&site).await;
        cluster.pass(500).await;
    }
    cluster.pass(2_000).await;
    assert_eq!((before, cluster.gateways[0].sent().len()), (0, 0));
    assert_eq!(cluster.gateways[1].sent().len(), 5);
    assert_eq!(cluster.gateways[1].held(), Partitions::ALL);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn leads_of_sites_that_a_gateway_does_not_hold_are_not_even_claimed() {
    let mut cluster = Cluster::of(2).await;
    let site = cluster.site_of(0);
    // It holds its partitions, and sends nothing.
    cluster.gateways[0].sending.abort();
    let lead = cluster.queue(&site).await;
    cluster.pass(10_000).await;
    assert_eq!(cluster.head(lead).await.revision, 1);
    // The other doesn't renew its own any more.
    let site = cluster.site_of(1);
    cluster.gateways[0].holding.abort();
    cluster.gateways[1].holding.abort();
    cluster.pass(3_200).await;
    let lead = cluster.queue(&site).await;
    cluster.pass(10_000).await;
    assert_eq!(cluster.head(lead).await.revision, 1);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_gives_its_sites_to_the_next_at_once_but_not_one_that_it_is_sending_for() {
    let mut cluster = Cluster::of(2).await;
    let busy = cluster.site_of(0);
    let answered = Arc::new(tokio::sync::Notify::new());
    cluster.gateways[0].api.on_intake(Reply::success("1").when(&answered));
    cluster.queue(&busy).await;
    cluster.pass(500).await;
    cluster.queue(&busy).await;
    cluster.gateways[0].stop.send_replace(true);
    let rest = Partitions::ALL.without(Partition::of(&busy));
    let took = cluster.pass_until(TAKEN_OVER, |cluster| cluster.gateways[1].held() == rest).await;
    assert!(took <= Duration::from_millis(1_500), "{took:?}");
    cluster.pass(6_000).await;
    assert_eq!(cluster.gateways[1].sent(), [], "the first of its leads is still under way");
    answered.notify_one();
    let took = cluster.pass_until(TAKEN_OVER, |cluster| cluster.gateways[1].sent().len() == 1).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert_eq!(cluster.sent()[busy.as_str()], [(0, 1), (1, 2)]);
    // It says that it has stopped.
    cluster.pass(1_000).await;
    assert_eq!(cluster.gateways[1].seen.borrow().len(), 1);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_paused_site_is_probed_by_one_gateway_and_forgotten_by_the_one_that_loses_it() {
    let mut cluster = Cluster::of(2).await;
    let site = cluster.site_of(0);
    for gateway in &cluster.gateways {
        gateway.api.always(Reply::error(401, "Unauthorized"));
    }
    cluster.queue(&site).await;
    cluster.pass(500).await;
    for _ in 0..10 {
        cluster.queue(&site).await;
        cluster.pass(10_000).await;
    }
    assert_eq!(cluster.sent()[site.as_str()], [(0, 1)], "its other leads wait");
    assert!(cluster.gateways[0].is_degraded(Degraded::SitesPaused));
    assert!(!cluster.gateways[1].is_degraded(Degraded::SitesPaused));
    // A third of its sites goes to another, and this one with them.
    let mut others = 0;
    while cluster.gateways[0].held().has_site(&site) {
        cluster.join(|_config| {}).await;
        cluster.pass(6_000).await;
        others += 1;
        assert!(others < 12, "some gateway gets it");
    }
    cluster.pass(2_000).await;
    assert!(!cluster.gateways[0].is_degraded(Degraded::SitesPaused), "nobody would tell it that the site goes again");
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn all_together_send_no_faster_than_the_rate_and_a_site_no_faster_than_its_limit() {
    let mut cluster = Cluster::with(3, |config| {
        config.upstream.rate =
            Some(Rate { count: NonZeroU32::new(120).expect("not zero"), per: Duration::from_secs(60) });
        config.limits.site = limit(6, 1);
    })
    .await;
    let sites: Vec<_> = cluster.gateways[0].config.load().sites.keys().cloned().collect();
    for site in sites.iter().cycle().take(120) {
        cluster.queue(site).await;
    }
    cluster.pass(15_000).await;
    let sent = cluster.sent();
    let all = sent.values().map(Vec::len).sum::<usize>();
    assert!((25..=33).contains(&all), "two a second, and a burst of each: {all}");
    assert!(sent.values().all(|leads| leads.len() <= 2), "six a minute: {sent:?}");
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_send_leaves_the_sites_to_the_others() {
    let mut cluster = Cluster::of(1).await;
    cluster.join(|config| config.missing.upstream = true).await;
    cluster.pass(10_000).await;
    assert_eq!(cluster.count(), [64, 0]);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn configurations_that_differ_for_a_minute_are_told_and_so_is_their_end() {
    let mut cluster = Cluster::of(1).await;
    cluster.join(|config| config.limits.site = limit(6, 1)).await;
    let differ = |cluster: &Cluster| {
        cluster.gateways.iter().map(|gateway| gateway.is_degraded(Degraded::ConfigsDiffer)).collect::<Vec<_>>()
    };
    cluster.pass(55_000).await;
    assert_eq!(differ(&cluster), [false, false], "a rollout takes its time");
    cluster.pass(8_000).await;
    assert_eq!(differ(&cluster), [true, true]);
    let first = cluster.gateways[0].config.load_full();
    let mut second = gateway::config();
    second.upstream = first.upstream.clone();
    (second.limits, second.sites) = (first.limits, first.sites.clone());
    cluster.gateways[1].config.store(Arc::new(second));
    cluster.gateways[1].sender.reloaded().await;
    cluster.pass(3_000).await;
    assert_eq!(differ(&cluster), [false, false]);
    drop(cluster.still);
}

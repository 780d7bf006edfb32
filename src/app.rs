//! Composition: a configuration becomes services, started in order and drained in reverse.
//!
//! Store, client and listeners come first: what is missing is said before anything is served. Then the sender, the admin
//! listener, and last the gateway. Stopping closes the gateway first; requests under way are answered and attempts
//! under way get their time while nothing new is taken.

mod admin_socket;

mod backup;

mod bound;

mod expiry;

mod files;

mod follow;

mod identity;

mod last_received;

mod sending;

mod service_manager;

mod store;

mod successor;

mod supervise;

mod tasks;

mod upgrade;

mod warnings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::backup::Backups;
use self::bound::{Bound, bind_all};
pub use self::files::{CONNECTIONS_MIN, OTHER_FILES};
use self::follow::Follower;
use self::sending::{Sending, client, gateways, refused_keys, shared, shared_notifier};
use self::store::open_to_serve;
pub use self::store::{check_store, open_store};
pub use self::successor::{Invocation, ask_to_reload};
pub use self::supervise::Fatal;
use self::supervise::Supervisor;
use self::tasks::Tasks;
use self::upgrade::Meeting;
pub use self::upgrade::{UpgradeError, upgrade};
use crate::accept::{self, Bounded, Bounds, Gateway, InFlight, Listeners, TlsError};
use crate::admin::{self, AdminApp};
use crate::clock::Clock;
use crate::config::{Config, Origin};
use crate::destination::Secret;
use crate::kaicalls::ClientError;
use crate::lead::SiteId;
use crate::notify::Notifier;
use crate::operate::{KeyVerifier, Widgets};
use crate::queue::activity::Activity;
use crate::queue::live::{Live, LiveEnd};
use crate::queue::{OpenStore, StoreError};
use crate::send::Sender;
use crate::telemetry::{Metrics, MetricsError, NotTaking};

/// How long requests under way get to be answered.
const ANSWER_TIME: Duration = Duration::from_secs(8);
/// How long it may take to write the last figures of the sites.
const ACTIVITY_TIME: Duration = Duration::from_secs(1);
/// How long background tasks get to end by themselves.
const TASKS_TIME: Duration = Duration::from_secs(1);
/// How long a connection that was accepted at the last moment may take to show that it is open.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// What the admin listener and its socket take together.
const ADMIN_BOUNDS: Bounds = Bounds {
    connections: 64,
    head: Duration::from_secs(10),
    // A backup of a large store takes its time; each of its steps has a deadline of its own.
    connection: Duration::from_secs(2 * 60 * 60),
};

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store can't be opened")]
    Store(#[from] StoreError),
    #[error("the client for KaiCalls can't be set up")]
    Client(#[from] ClientError),
    #[error("can't listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
    #[error("the sockets of the running gateway can't be taken over")]
    Upgrade(#[from] UpgradeError),
}

/// Where the sockets that listen come from.
enum Sockets {
    New,
    /// From the gateway whose place this one takes.
    TakenOver(Listeners),
}

/// Everything that runs.
pub struct Running {
    gateway: Vec<SocketAddr>,
    admin: SocketAddr,
    listeners: Listeners,
    meeting: Option<Meeting>,
    in_flight: InFlight,
    stop: Stop,
    /// Another process has taken its place.
    is_replaced: AtomicBool,
    reload: Arc<Notify>,
    metrics: Arc<Metrics>,
    supervisor: Supervisor,
    sending: Sending,
    /// The gateway's listeners; they end when no connection is accepted any more.
    accepting: JoinSet<()>,
    services: JoinSet<()>,
    activity: Activity,
    live: Live,
    opened: OpenStore,
}

/// What each part is told to stop by.
#[derive(Default)]
struct Stop {
    /// The gateway's listeners.
    taking: watch::Sender<bool>,
    /// All that runs beside them.
    all: watch::Sender<bool>,
    /// The admin listener: last, so that `/readyz` says meanwhile that the gateway stops.
    admin: watch::Sender<bool>,
}

/// How everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// Requests that were not answered in time.
    pub unanswered: usize,
    /// Attempts that were cut off; they are recorded as ambiguous.
    pub attempts_cut: usize,
    /// What the process could not go on without.
    pub fatal: Option<Fatal>,
    /// A background task panicked since the start, though it may have been started again.
    pub has_panicked: bool,
}

/// Starts everything a configuration asks for, on the current runtime, and follows the files it came from.
pub fn start(config: Config, origin: Origin) -> Result<Running, StartError> {
    let store = open_to_serve(&config)?;
    let sites = config.sites.len();
    let is_sound = origin.is_sound();
    let running = start_following(config, origin, store)?;
    service_manager::serving(sites, is_sound);
    Ok(running)
}

/// Starts everything a configuration asks for on a store that is open.
pub fn start_on(config: Config, store: impl Into<OpenStore>) -> Result<Running, StartError> {
    start_with(config, store.into(), None, Sockets::New)
}

/// The same, and follows the files the configuration came from.
pub fn start_following(config: Config, origin: Origin, store: impl Into<OpenStore>) -> Result<Running, StartError> {
    start_with(config, store.into(), Some(origin), Sockets::New)
}

#[expect(clippy::too_many_lines, reason = "what is started, in order, on one page")]
fn start_with(
    config: Config,
    opened: OpenStore,
    origin: Option<Origin>,
    sockets: Sockets,
) -> Result<Running, StartError> {
    let (listeners, takes_over) = match sockets {
        Sockets::New => (Listeners::default(), false),
        Sockets::TakenOver(listeners) => (listeners, true),
    };
    let store = opened.share();
    let client = client(&config.upstream)?;
    let admin_is_broken = origin.as_ref().is_some_and(Origin::admin_is_broken);
    let bound = bind_all(&config, &listeners, admin_is_broken)?;
    let meeting = Meeting::of(&config);
    let metrics = Arc::new(Metrics::new()?);
    let is_sound = origin.as_ref().is_none_or(Origin::is_sound);
    metrics.config_loaded(is_sound.then(|| Timestamp::now().as_second()));
    expiry::record(&config, &metrics);
    metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
    let config = Arc::new(ArcSwap::from_pointee(config));

    let activity = Activity::default();
    let live = Live::default();
    let widgets = Widgets::new(client.clone());
    let key_verifier = KeyVerifier::new(client.clone());
    let sender = Sender::new(Arc::clone(&store), client, Arc::clone(&config), Arc::clone(&metrics))
        .with_activity(activity.clone())
        .with_live(live.clone());
    let sender = shared(sender, &opened, &config.load());
    let options = files::within_limit(accept::Options::default());
    let gateway = Gateway::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics), options)
        .with_refused_keys(refused_keys(&sender))
        .with_activity(activity.clone())
        .with_live(live.clone());
    let in_flight = gateway.in_flight();
    let admin = AdminApp::new(Arc::clone(&config), opened.clone(), Arc::clone(&metrics));
    let admin = admin
        .with_made_token(made_token(&config.load()))
        .with_sending(sender.status())
        .with_gateways(gateways(&sender));
    let admin = admin.with_keys_under_way(sender.keys_under_way(), takes_over);
    let notifier = Notifier::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics), activity.clone())
        .with_sending(sender.status());
    let notifier = shared_notifier(notifier, &sender);
    let admin = admin.with_activity(activity.clone()).with_widgets(widgets).with_sinks(notifier.statuses());
    let admin = admin.with_live(live.clone()).with_key_verifier(key_verifier);
    let bounded = Bounded::new(admin.clone(), ADMIN_BOUNDS, Arc::clone(&metrics));

    let stop = Stop::default();
    let mut tasks = Tasks::new(Supervisor::new(Arc::clone(&metrics), stop.all.subscribe()), stop.all.subscribe());
    let reload = Arc::new(Notify::new());
    let served = Arc::clone(&config);
    tasks.keep_certificates(Arc::clone(&config), Arc::clone(&metrics));
    tasks.once("last_received", last_received::read(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics)));
    let backups = Backups::new(Arc::clone(&config), opened.clone(), Arc::clone(&metrics));
    tasks.keep("backup", move |stopping| backups.clone().run(stopping));
    tasks.keep_partitions(&sender);
    tasks.keep("notify", move |stopping| notifier.clone().run(stopping));
    if let Some(origin) = origin {
        let (store, sender, asked) = (Arc::clone(&store), sender.clone(), Arc::clone(&reload));
        let follower = Follower::new(origin, config, store, sender, Arc::clone(&metrics), asked);
        tasks.keep("follower", move |stopping| follower.clone().run(stopping));
    }
    let flooded = gateway.clone();
    tasks.keep("floods", move |stopping| {
        let gateway = flooded.clone();
        async move { gateway.report_floods(stopping).await }
    });
    let audited = admin.clone();
    tasks.keep("audit", move |stopping| {
        let admin = audited.clone();
        async move { admin.keep_audit(stopping).await }
    });
    let gateway = accept::services(&gateway, &bound.gateway)?;
    // Last of what is opened: an upgrade that fails before leaves the old process its socket.
    let socket = admin_socket::open(&served.load(), takes_over, &metrics);
    tasks.keep_admin_socket(socket, served, Arc::clone(&metrics), (admin, bounded.clone()));
    tasks.keep_admin(bounded, &bound, listeners.clone(), stop.admin.subscribe());
    tasks.keep_spool(&opened);
    tasks.keep_activity(activity.clone(), Arc::clone(&store));
    tasks.keep_store(store, &metrics, Clock::default());
    let accepting = tasks.accept(gateway, listeners.clone(), stop.taking.subscribe());
    let sending = Sending::begin(&tasks, sender).map_err(StartError::Thread)?;
    let sends_on = sending.runtime();
    tasks.keep("watchdog", move |stopping| service_manager::keep_watchdog(sends_on.clone(), stopping));
    Ok(Running {
        gateway: bound.gateway.iter().map(|listen| listen.address).collect(),
        admin: bound.admin,
        listeners,
        meeting,
        in_flight,
        stop,
        is_replaced: AtomicBool::new(false),
        reload,
        metrics,
        supervisor: tasks.supervisor.clone(),
        sending,
        accepting,
        services: tasks.services,
        activity,
        live,
        opened,
    })
}

impl Running {
    /// Where submissions are taken; with the ports in the place of 0.
    pub fn gateway(&self) -> &[SocketAddr] {
        &self.gateway
    }

    /// Where health and metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Asks for the configuration to be read again; what comes of it is logged.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Makes one of the tasks that are started again panic, for those who test what comes of it.
    pub fn panic_in(&self, task: &'static str) {
        self.supervisor.sabotage(task);
    }

    /// Waits until the process can't go on: stop it then, and start another.
    pub async fn failed(&self) -> Fatal {
        self.supervisor.failed().await
    }

    /// Stops: nothing new is taken, what is under way gets its time, the store is closed last.
    pub async fn stop(mut self) -> RunResult {
        if !self.is_replaced.load(Ordering::Relaxed) {
            service_manager::stopping();
        }
        self.metrics.stop_taking(NotTaking::Stopping);
        // Whoever watches must not keep the process from ending.
        self.live.close(LiveEnd::Stopping);
        // Before the listeners close, which would be fatal otherwise.
        self.stop.all.send_replace(true);
        self.stop.taking.send_replace(true);
        let (unanswered, attempts_cut) =
            tokio::join!(answer_the_last(self.accepting, &self.in_flight), self.sending.stopped());
        // Nothing is counted any more.
        drop(tokio::time::timeout(ACTIVITY_TIME, self.activity.flush(&self.opened.share())).await);
        self.stop.admin.send_replace(true);
        let ended = async { while self.services.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(TASKS_TIME, ended).await;
        if in_time.is_err() {
            self.services.shutdown().await;
        }
        let fatal = self.supervisor.fatal();
        let has_panicked = self.supervisor.has_panicked();
        if let (None, false, Ok(file)) = (&fatal, has_panicked, self.opened.file()) {
            file.forget_former();
        }
        RunResult { unanswered, attempts_cut, fatal, has_panicked }
    }
}

/// Without a token the API lets nobody in; that stops no submission.
fn made_token(config: &Config) -> Option<Secret> {
    let made = admin::make_token(config);
    let file = admin::token_file(config).map(|file| file.display().to_string());
    match &made {
        Err(error) => tracing::error!(%error, file, "admin.no_token: nobody can use the admin API; set [admin].token"),
        Ok(None) if config.admin.token.is_none() => {
            tracing::warn!(
                "admin.no_token: a store in memory has no folder for the token; set [admin].token to use the admin API"
            );
        }
        Ok(_) => {}
    }
    made.ok().flatten()
}

/// Waits until every connection that was accepted has had its answers; tells how many requests did not get theirs.
async fn answer_the_last(mut accepting: JoinSet<()>, in_flight: &InFlight) -> usize {
    let closed = async {
        while accepting.join_next().await.is_some() {}
        tokio::time::sleep(LAST_MOMENT).await;
        in_flight.closed().await;
    };
    drop(tokio::time::timeout(ANSWER_TIME, closed).await);
    in_flight.count()
}

//! The tasks beside the path of a submission, each by its name: follower, sender, admin, expiry, watch.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bound;
use super::admin_socket::{self, AdminSocket};
use super::expiry;
use super::supervise::{Fatal, Supervisor};
use crate::accept::{self, Bounded, Gateway, Listeners};
use crate::admin::{self, AdminApp};
use crate::clock::Clock;
use crate::config::Config;
use crate::queue::activity::Activity;
use crate::queue::{OpenStore, Store};
use crate::send::Sender;
use crate::telemetry::{Metrics, dropped_log_lines};

/// How often is looked whether something in the store needs a person.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// When expired entries are first removed after a start, and how often after that.
const EXPIRE_FIRST: Duration = Duration::from_secs(60 * 60);
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// A clock that is off by more has been set.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// How many expired entries are removed at a time.
const EXPIRE_AT_ONCE: usize = 500;

/// The background tasks that are begun, each by its name.
pub(super) struct Tasks {
    pub(super) supervisor: Supervisor,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) services: JoinSet<()>,
}

impl Tasks {
    pub(super) fn new(supervisor: Supervisor, stopping: watch::Receiver<bool>) -> Self {
        Self { supervisor, stopping, services: JoinSet::new() }
    }

    /// Begins to take submissions, until `stop` says true. Ends when no connection is accepted any more.
    pub(super) fn accept(
        &self,
        gateway: Vec<Service<Gateway>>,
        listeners: Listeners,
        stop: watch::Receiver<bool>,
    ) -> JoinSet<()> {
        let supervisor = self.supervisor.clone();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move { supervisor.need(Fatal::Listener, accept::run(gateway, listeners, stop)).await });
        accepting
    }

    /// Begins a task that is started again whenever it ends.
    pub(super) fn keep<F>(
        &mut self,
        name: &'static str,
        mut start: impl FnMut(watch::Receiver<bool>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let supervisor = self.supervisor.clone();
        let stopping = self.stopping.clone();
        self.services.spawn(async move {
            supervisor.keep(name, || start(stopping.clone())).await;
        });
    }

    /// Begins work that is done once, and that nothing waits for.
    pub(super) fn once(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let supervisor = self.supervisor.clone();
        self.services.spawn(async move { supervisor.once(name, work).await });
    }

    /// Begins the admin socket. Where it could not be opened, or its file goes, another is opened as soon as that works.
    pub(super) fn keep_admin_socket(
        &mut self,
        socket: Option<AdminSocket>,
        config: Arc<ArcSwap<Config>>,
        metrics: Arc<Metrics>,
        (admin, bounded): (AdminApp, Bounded<AdminApp>),
    ) {
        if admin::socket_file(&config.load()).is_none() {
            return;
        }
        let mut opened = socket;
        self.keep("admin_socket", move |stopping| {
            let socket = opened.take();
            let config = Arc::clone(&config);
            let metrics = Arc::clone(&metrics);
            let served = (admin.clone(), bounded.clone());
            async move { admin_socket::keep(socket, &config, &metrics, served, stopping).await }
        });
    }

    /// Begins the admin listener, which goes on until `stop` says true. Where its address isn't bound yet, that is tried
    /// again and again.
    pub(super) fn keep_admin(
        &mut self,
        admin: Bounded<AdminApp>,
        bound: &Bound,
        listeners: Listeners,
        stop: watch::Receiver<bool>,
    ) {
        let address = bound.admin;
        let mut is_bound = bound.admin_is_bound;
        self.keep("admin", move |mut stopping| {
            let admin = admin.clone();
            let listeners = listeners.clone();
            let stop = stop.clone();
            let was_bound = std::mem::replace(&mut is_bound, false);
            async move {
                // Its service owned the socket, and closed it when it ended.
                match if was_bound { Ok(()) } else { listeners.bind_again(address) } {
                    Ok(()) => {
                        accept::run(vec![accept::service("admin", admin, address)], listeners, stop.clone()).await;
                    }
                    Err(error) => tracing::error!(%address, %error, "admin.unbound: can't listen on the address"),
                }
                // Where another process has taken this one's place, it ends before the rest.
                if *stop.borrow() {
                    drop(stopping.wait_for(|stop| *stop).await);
                }
            }
        });
    }

    /// Begins what tells when a certificate expires.
    pub(super) fn keep_certificates(&mut self, config: Arc<ArcSwap<Config>>, metrics: Arc<Metrics>) {
        self.keep("certificates", move |stopping| {
            expiry::follow_certificates(Arc::clone(&config), Arc::clone(&metrics), stopping)
        });
    }

    /// Begins what writes down what sites do.
    pub(super) fn keep_activity(&mut self, activity: Activity, store: Arc<dyn Store>) {
        self.keep("activity", move |stopping| {
            let activity = activity.clone();
            let store = Arc::clone(&store);
            async move { activity.keep_written(&store, stopping).await }
        });
    }

    /// Begins what holds partitions of the sites, where others share the store.
    pub(super) fn keep_partitions(&mut self, sender: &Sender) {
        if let Some(ownership) = sender.ownership().cloned() {
            self.keep("partitions", move |stopping| ownership.clone().run(stopping));
        }
    }

    /// Begins what carries the spool into the store, where the store has one.
    pub(super) fn keep_spool(&mut self, opened: &OpenStore) {
        let Some(spooling) = opened.spooling().cloned() else { return };
        self.keep("spool", move |stopping| {
            let spooling = spooling.clone();
            async move { spooling.run(stopping).await }
        });
    }

    /// Begins what looks after the store.
    pub(super) fn keep_store(&mut self, store: Arc<dyn Store>, metrics: &Arc<Metrics>, clock: Clock) {
        let expired = Arc::clone(&store);
        let looked_at = Arc::clone(&store);
        let metrics = Arc::clone(metrics);
        self.keep("expiry", move |stopping| expire(Arc::clone(&expired), clock.clone(), stopping));
        self.keep("watch", move |stopping| look(Arc::clone(&looked_at), Arc::clone(&metrics), stopping));
        let supervisor = self.supervisor.clone();
        let mut stopping = self.stopping.clone();
        self.services.spawn(async move {
            let ended = async {
                tokio::select! {
                    () = store.ended() => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            };
            supervisor.need(Fatal::Store, ended).await;
        });
    }
}

/// Tells whether the wall clock went otherwise than time did.
fn is_jump(elapsed: Duration, from: Timestamp, to: Timestamp) -> bool {
    let told = to.duration_since(from);
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    told.saturating_sub(elapsed).unsigned_abs() > CLOCK_TOLERANCE
}

/// Tells while something in the store needs a person, and that log lines were lost.
async fn look(store: Arc<dyn Store>, metrics: Arc<Metrics>, mut stopping: watch::Receiver<bool>) {
    let mut told = dropped_log_lines();
    loop {
        admin::tell_problems(&*store, &metrics).await;
        let dropped = dropped_log_lines();
        if dropped > told {
            tracing::warn!(
                lines = dropped - told,
                "log.lines_dropped: nobody read stderr fast enough; check what reads it"
            );
            // Where that line was dropped too, it is said again.
            told = if dropped_log_lines() == dropped { dropped } else { told };
        }
        if tokio::time::timeout(LOOK_EVERY, stopping.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// Removes what has been kept long enough.
async fn expire(store: Arc<dyn Store>, clock: Clock, mut stopping: watch::Receiver<bool>) {
    // Not soon after a start: a clock that is wrong then is often set right within the hour.
    let mut wait = EXPIRE_FIRST;
    let mut last = (Instant::now(), clock.now());
    while tokio::time::timeout(wait, stopping.wait_for(|stop| *stop)).await.is_err() {
        wait = EXPIRE_EVERY;
        let before = std::mem::replace(&mut last, (Instant::now(), clock.now()));
        if is_jump(last.0.duration_since(before.0), before.1, last.1) {
            tracing::warn!("queue.clock_jumped: the clock jumped, so nothing expires within the next hour");
            wait = EXPIRE_FIRST;
            continue;
        }
        match store.expire(clock.now(), EXPIRE_AT_ONCE).await {
            Ok(0) => {}
            Ok(entries) => {
                tracing::info!(entries, "queue.expired: leads past their retention period were removed");
            }
            Err(error) => tracing::error!(%error, "queue.expire_failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use std::net::SocketAddr;

    use super::*;
    use crate::config::{self, Sources};
    use crate::queue::memory::MemoryStore;
    use crate::telemetry::Degraded;

    #[test]
    fn a_clock_that_was_set_is_noticed_either_way() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let ten = Duration::from_secs(10);
        assert!(!is_jump(ten, at(1_000), at(1_010)));
        assert!(!is_jump(ten, at(1_000), at(1_069)));
        assert!(is_jump(ten, at(1_000), at(1_071)));
        assert!(is_jump(ten, at(1_000), at(940)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_admin_listener_that_ends_is_started_again_and_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[server]").expect("written");
        let loaded = config::load(&file, &Sources::with_environment([]), jiff::civil::date(2027, 1, 1));
        let config = Arc::new(ArcSwap::from_pointee(loaded.config.expect("sound")));
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let mut tasks = Tasks::new(Supervisor::new(Arc::clone(&metrics), stopping.clone()), stopping);
        let admin = AdminApp::new(config, Arc::new(MemoryStore::new(Duration::ZERO)), Arc::clone(&metrics));
        let bounded = Bounded::new(admin, crate::app::ADMIN_BOUNDS, Arc::clone(&metrics));
        let listeners = Listeners::default();
        let admin = listeners.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let bound = Bound { gateway: Vec::new(), admin, admin_is_bound: true };
        // What it listens to for its end is gone: pingora's loop ends by itself.
        let (gone, stopped) = watch::channel(false);
        drop(gone);
        tasks.keep_admin(bounded, &bound, listeners, stopped);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        let restarts =
            page.lines().find_map(|line| line.strip_prefix(r#"formgate_task_restarts_total{task="admin"} "#));
        assert!(restarts.is_some_and(|restarts| restarts != "0"), "{page}");
        assert_eq!(metrics.degraded(), [Degraded::TaskFailing]);
        stop.send_replace(true);
        while tasks.services.join_next().await.is_some() {}
    }

    #[tokio::test(start_paused = true)]
    async fn an_expiry_that_panics_starts_again() {
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let supervisor = Supervisor::new(Arc::clone(&metrics), stopping.clone());
        let mut tasks = Tasks::new(supervisor.clone(), stopping);
        // The first look at the clock is at the start, the second an hour later.
        let looks = AtomicUsize::new(0);
        let clock = Clock::by(move || match looks.fetch_add(1, Ordering::Relaxed) {
            1 => panic!("a clock that fails"),
            _ => Timestamp::UNIX_EPOCH,
        });
        tasks.keep_store(Arc::new(MemoryStore::new(Duration::ZERO)), &metrics, clock);
        tokio::time::sleep(EXPIRE_FIRST + Duration::from_secs(2)).await;
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        assert!(page.contains(r#"formgate_task_restarts_total{task="expiry"} 1"#), "{page}");
        stop.send_replace(true);
        while tasks.services.join_next().await.is_some() {}
        assert!(supervisor.has_panicked());
    }
}

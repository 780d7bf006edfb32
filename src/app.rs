//! Composition: a configuration becomes services, started in order and drained in reverse.
//!
//! Store, client and listeners come first: what is missing is said before anything is served. Then the sender, the admin
//! listener, and last the gateway. Stopping closes the gateway first; requests under way are answered and attempts
//! under way get their time while nothing new is taken.

mod backup;

mod files;

mod follow;

mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::backup::Backups;
use self::follow::Follower;
pub use self::follow::Origin;
use self::upgrade::Meeting;
pub use self::upgrade::UpgradeError;
use crate::accept::{self, Gateway, InFlight, Listeners, TlsError};
use crate::admin::{self, Admin};
use crate::config::{Config, Listen, StoreUrl, Upstream};
use crate::destination::Secret;
use crate::kaicalls::{self, Client, ClientError};
use crate::queue::memory::MemoryStore;
use crate::queue::sqlite::{self, SqliteStore};
use crate::queue::{Store, StoreError};
use crate::send::{Sender, Stopped};
use crate::telemetry::{Metrics, MetricsError};

/// How long requests under way get to be answered.
const ANSWER_TIME: Duration = Duration::from_secs(8);
/// How long a connection that was accepted at the last moment may take to show that it is open.
const LAST_MOMENT: Duration = Duration::from_millis(20);
/// When expired entries are first removed after a start, and how often after that.
const EXPIRE_FIRST: Duration = Duration::from_secs(60 * 60);
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// A clock that is off by more has been set.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// How many expired entries are removed at a time.
const EXPIRE_AT_ONCE: usize = 500;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    #[error("the client of KaiCalls cannot be made")]
    Client(#[from] ClientError),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("the sockets of the gateway that runs can't be taken over")]
    Upgrade(#[from] UpgradeError),
}

/// Everything that runs.
pub struct Running {
    gateway: Vec<SocketAddr>,
    admin: SocketAddr,
    listeners: Listeners,
    meeting: Option<Meeting>,
    in_flight: InFlight,
    stop_taking: watch::Sender<bool>,
    stop_all: watch::Sender<bool>,
    reload: Arc<Notify>,
    sender: JoinHandle<Stopped>,
    /// The gateway's listeners; they end when no connection is accepted any more.
    accepting: JoinSet<()>,
    services: JoinSet<()>,
}

/// How everything ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Requests that were not answered in time.
    pub unanswered: usize,
    /// Attempts that were cut off; they are recorded as ambiguous.
    pub attempts_cut: usize,
}

/// Starts everything a configuration asks for, on the current runtime, and follows the files it came from.
pub fn start(config: Config, origin: Origin) -> Result<Running, StartError> {
    let store = open_store(&config)?;
    start_with(config, store, Some(origin), Listeners::default())
}

/// Takes the sockets over from the gateway that runs, starts everything, and tells the other that it may stop.
pub async fn upgrade(config: Config, origin: Origin) -> Result<Running, StartError> {
    let meeting = Meeting::of(&config).ok_or(UpgradeError::NoMeeting)?;
    let listeners = meeting.take_over().await?;
    // The old one still takes and answers; it has the store open too, which is made for that.
    let store = open_store(&config)?;
    let running = start_with(config, store, Some(origin), listeners)?;
    if let Err(error) = meeting.say_serving().await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "upgrade.unheard: the old process may be gone; see that it is");
    }
    Ok(running)
}

/// Starts everything a configuration asks for on a store that is open.
pub fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Running, StartError> {
    start_with(config, store, None, Listeners::default())
}

#[expect(clippy::too_many_lines, reason = "what is started, in order, on one page")]
fn start_with(
    config: Config,
    store: Arc<dyn Store>,
    origin: Option<Origin>,
    listeners: Listeners,
) -> Result<Running, StartError> {
    let client = client(&config.upstream)?;
    let ((listen, admin_address), meeting) = (bind_all(&config, &listeners)?, Meeting::of(&config));
    let metrics = Arc::new(Metrics::new()?);
    metrics.config_loaded(Some(Timestamp::now().as_second()));
    let config = Arc::new(ArcSwap::from_pointee(config));

    let (stop_taking, no_more) = watch::channel(false);
    let (stop_all, stopping) = watch::channel(false);
    let sender = Sender::new(Arc::clone(&store), client, Arc::clone(&config), Arc::clone(&metrics));
    let options = files::within_limit(accept::Options::default());
    let gateway = Gateway::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics), options);
    let in_flight = gateway.in_flight();
    let made_token = made_token(&config.load());
    let admin = Admin::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics)).with_made_token(made_token);

    let (mut services, reload) = (JoinSet::new(), Arc::new(Notify::new()));
    let backups = Backups::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics));
    services.spawn(backups.run(stopping.clone()));
    if let Some(origin) = origin {
        let (store, sender, asked) = (Arc::clone(&store), sender.clone(), Arc::clone(&reload));
        let follower = Follower::new(origin, config, store, sender, metrics, asked);
        services.spawn(follower.run(stopping.clone()));
    }
    let gateway_addresses = listen.iter().map(|listen| listen.address).collect();
    let gateway = accept::services(&gateway, &listen)?;
    let admin = accept::service("admin", admin, admin_address);
    services.spawn(expire(store, stopping.clone()));
    services.spawn(accept::run(vec![admin], listeners.clone(), stopping.clone()));
    let mut accepting = JoinSet::new();
    accepting.spawn(accept::run(gateway, listeners.clone(), no_more));
    let sender = tokio::spawn(async move { sender.run(stopping).await });
    Ok(Running {
        gateway: gateway_addresses,
        admin: admin_address,
        listeners,
        meeting,
        in_flight,
        stop_taking,
        stop_all,
        reload,
        sender,
        accepting,
        services,
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

    /// Asks for the configuration to be read again; what comes of it is logged.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Hands the sockets to a gateway that was started to take this one's place, and waits until that one serves.
    ///
    /// Everything goes on meanwhile, and after an error too: then it is for whoever asked to look what the other does.
    /// Stop when it returns `Ok`.
    pub async fn hand_over(&self) -> Result<(), UpgradeError> {
        self.meeting.as_ref().ok_or(UpgradeError::NoMeeting)?.hand_over(&self.listeners).await
    }

    /// Stops: nothing new is taken, what is under way gets its time, the store is closed last.
    pub async fn stop(mut self) -> Ended {
        self.stop_taking.send_replace(true);
        self.stop_all.send_replace(true);
        let (unanswered, sender) = tokio::join!(answer_the_last(self.accepting, &self.in_flight), self.sender);
        let attempts_cut = match sender {
            Ok(Stopped::Cut(attempts)) => attempts,
            Ok(Stopped::Drained) | Err(_) => 0,
        };
        self.services.shutdown().await;
        Ended { unanswered, attempts_cut }
    }
}

fn client(upstream: &Upstream) -> Result<Client, ClientError> {
    Client::new(kaicalls::Options {
        timeout: upstream.timeout,
        max_in_flight: usize::try_from(upstream.max_in_flight.get()).unwrap_or(usize::MAX),
        ..kaicalls::Options::new(upstream.base_url.clone())
    })
}

/// Opens the store the configuration names.
pub fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    match &config.queue.url {
        StoreUrl::Memory => Ok(Arc::new(MemoryStore::new(config.queue.dedupe))),
        StoreUrl::Sqlite(path) => {
            let (dedupe_window, max_size) = (config.queue.dedupe, Some(config.queue.max_size));
            let options = sqlite::Options { dedupe_window, max_size, opened_at: Timestamp::now() };
            Ok(Arc::new(SqliteStore::open(path, options)?))
        }
    }
}

/// Without a token the API lets nobody in; that stops no submission.
fn made_token(config: &Config) -> Option<Secret> {
    let made = admin::make_token(config);
    let file = admin::token_file(config).map(|file| file.display().to_string());
    match &made {
        Err(error) => tracing::error!(%error, file, "admin.no_token: the API lets nobody in; set [admin].token"),
        Ok(None) if config.admin.token.is_none() => {
            tracing::warn!("admin.no_token: a store in memory has no folder for one; set [admin].token to use the API");
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

/// Listens on every address, and gives them back with the ports the system chose: the gateway's, and the admin's.
fn bind_all(config: &Config, listeners: &Listeners) -> Result<(Vec<Listen>, SocketAddr), StartError> {
    let bind = |address: SocketAddr| listeners.bind(address).map_err(|source| StartError::Listen { address, source });
    let listen: Vec<Listen> = config
        .server
        .listen
        .iter()
        .map(|listen| Ok(Listen { address: bind(listen.address)?, tls: listen.tls.clone() }))
        .collect::<Result<_, StartError>>()?;
    let admin = bind(config.admin.listen)?;
    let addresses: Vec<_> = listen.iter().map(|listen| listen.address).chain([admin]).collect();
    listeners.keep_only(&addresses);
    Ok((listen, admin))
}

/// Tells whether the wall clock went otherwise than time did.
fn is_jump(elapsed: Duration, from: Timestamp, to: Timestamp) -> bool {
    let told = to.duration_since(from);
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    told.saturating_sub(elapsed).unsigned_abs() > CLOCK_TOLERANCE
}

/// Removes what has been kept long enough.
async fn expire(store: Arc<dyn Store>, mut stopping: watch::Receiver<bool>) {
    // Not soon after a start: a clock that is wrong then is often set right within the hour.
    let mut wait = EXPIRE_FIRST;
    let mut last = (Instant::now(), Timestamp::now());
    while tokio::time::timeout(wait, stopping.wait_for(|stop| *stop)).await.is_err() {
        wait = EXPIRE_EVERY;
        let before = std::mem::replace(&mut last, (Instant::now(), Timestamp::now()));
        if is_jump(last.0.duration_since(before.0), before.1, last.1) {
            tracing::warn!("queue.clock_jumped: nothing is removed for being old within the next hour");
            wait = EXPIRE_FIRST;
            continue;
        }
        match store.expire(Timestamp::now(), EXPIRE_AT_ONCE).await {
            Ok(0) => {}
            Ok(entries) => tracing::info!(entries, "queue.expired: kept as long as [queue].keep says"),
            Err(error) => tracing::error!(%error, "queue.expire_failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_either_way() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let ten = Duration::from_secs(10);
        assert!(!is_jump(ten, at(1_000), at(1_010)));
        assert!(!is_jump(ten, at(1_000), at(1_069)));
        assert!(is_jump(ten, at(1_000), at(1_071)));
        assert!(is_jump(ten, at(1_000), at(940)));
    }
}

//! Composition: a configuration becomes services, started in order and drained in reverse.
//!
//! Store, client and listeners come first: what is missing is said before anything is served. Then the sender, the admin
//! listener, and last the gateway. Stopping closes the gateway first; requests under way are answered and attempts
//! under way get their time while nothing new is taken.

mod follow;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::follow::Follower;
pub use self::follow::Origin;
use crate::accept::{self, Gateway, InFlight, TlsError};
use crate::admin::{self, Admin};
use crate::config::{Config, Listen, Live, StoreUrl};
use crate::destination::Secret;
use crate::kaicalls::{self, Client, ClientError};
use crate::queue::memory::MemoryStore;
use crate::queue::sqlite::{self, SqliteStore};
use crate::queue::{Store, StoreError};
use crate::send::{Sender, Stopped};
use crate::telemetry::{Metrics, MetricsError};

/// How long requests under way get to be answered.
const ANSWER_TIME: Duration = Duration::from_secs(8);
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
}

/// Everything that runs.
pub struct Running {
    gateway: Vec<SocketAddr>,
    admin: SocketAddr,
    in_flight: InFlight,
    stop_taking: watch::Sender<bool>,
    stop_all: watch::Sender<bool>,
    reload: Arc<Notify>,
    sender: JoinHandle<Stopped>,
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
    start_with(config, store, Some(origin))
}

/// Starts everything a configuration asks for on a store that is open.
pub fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Running, StartError> {
    start_with(config, store, None)
}

fn start_with(config: Config, store: Arc<dyn Store>, origin: Option<Origin>) -> Result<Running, StartError> {
    let client = Client::new(kaicalls::Options {
        timeout: config.upstream.timeout,
        max_in_flight: usize::try_from(config.upstream.max_in_flight.get()).unwrap_or(usize::MAX),
        ..kaicalls::Options::new(config.upstream.base_url.clone())
    })?;
    let (listen, listeners) = bind_all(&config.server.listen)?;
    let (admin_listen, admin_listeners) = bind_all(&[Listen { address: config.admin.listen, tls: None }])?;
    let metrics = Arc::new(Metrics::new()?);
    metrics.config_loaded(Some(Timestamp::now().as_second()));
    let config = Arc::new(ArcSwap::from_pointee(config));

    let (stop_taking, no_more) = watch::channel(false);
    let (stop_all, stopping) = watch::channel(false);
    let sender = Sender::new(Arc::clone(&store), client, Arc::clone(&config), Arc::clone(&metrics));
    let gateway =
        Gateway::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics), accept::Options::default());
    let in_flight = gateway.in_flight();
    let made_token = made_token(&config.load());
    let admin = Admin::new(Arc::clone(&config), Arc::clone(&store), Arc::clone(&metrics)).with_made_token(made_token);

    let (mut services, reload) = (JoinSet::new(), Arc::new(Notify::new()));
    if let Some(Origin { path, sources, watched }) = origin {
        let live = Arc::new(Live::new(path, sources, watched, Arc::clone(&config)));
        let (store, sender, asked) = (Arc::clone(&store), sender.clone(), Arc::clone(&reload));
        services.spawn(Follower { live, config, store, sender, metrics, asked }.run(stopping.clone()));
    }
    let addresses = listen.iter().map(|listen| listen.address).collect();
    let gateway = accept::services(&gateway, &listen)?;
    let admin_address = admin_listen.first().map_or(SocketAddr::from(([127, 0, 0, 1], 0)), |listen| listen.address);
    let admin = accept::service("admin", admin, admin_address);
    services.spawn(expire(store, stopping.clone()));
    services.spawn(accept::run(vec![admin], admin_listeners, stopping.clone()));
    services.spawn(accept::run(gateway, listeners, no_more));
    let sender = tokio::spawn(async move { sender.run(stopping).await });
    Ok(Running { gateway: addresses, admin: admin_address, in_flight, stop_taking, stop_all, reload, sender, services })
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

    /// Stops: nothing new is taken, what is under way gets its time, the store is closed last.
    pub async fn stop(mut self) -> Ended {
        self.stop_taking.send_replace(true);
        self.stop_all.send_replace(true);
        let (unanswered, sender) = tokio::join!(
            async {
                drop(tokio::time::timeout(ANSWER_TIME, self.in_flight.drained()).await);
                self.in_flight.count()
            },
            self.sender
        );
        let attempts_cut = match sender {
            Ok(Stopped::Cut(attempts)) => attempts,
            Ok(Stopped::Drained) | Err(_) => 0,
        };
        self.services.shutdown().await;
        Ended { unanswered, attempts_cut }
    }
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

/// Binds every address, and gives them back with the ports the system chose.
fn bind_all(listen: &[Listen]) -> Result<(Vec<Listen>, Vec<TcpListener>), StartError> {
    let bind = |listen: &Listen| {
        let failed = |source| StartError::Listen { address: listen.address, source };
        let listener = TcpListener::bind(listen.address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok((Listen { address, tls: listen.tls.clone() }, listener))
    };
    let bound: Result<Vec<_>, StartError> = listen.iter().map(bind).collect();
    Ok(bound?.into_iter().unzip())
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

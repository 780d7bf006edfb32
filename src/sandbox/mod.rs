//! KaiCalls' WordPress API as documented, for tests, demos and trying things out: it behaves, and on demand it doesn't.
//!
//! ```text
//! POST /api/v1/wordpress/keys/create       Authorization: Bearer kc_live_…           mints a pair of keys
//! POST /api/v1/wordpress/auth/verify       the keys in the body                      are they valid?
//! POST /api/v1/wordpress/intake            Authorization: Bearer wp_pk_…:wp_sk_…     takes a lead
//! GET  /api/v1/wordpress/dashboard-widget  Authorization: Bearer wp_pk_…:wp_sk_…     the recent leads
//!
//! GET    /_sandbox/leads?limit=N           what was received, newest first
//! GET    /_sandbox/connections?limit=N     the pairs that were minted, newest first, without their secrets
//! DELETE /_sandbox/connections/ID          revokes one; ID is its connection id or its public key
//! GET    /_sandbox/faults                  what the endpoints do wrong
//! POST   /_sandbox/faults                  adds a [`Fault`], or replaces the one of the same endpoint and site
//! DELETE /_sandbox/faults?endpoint=E&…     removes those that match; without a query all
//! ```
//!
//! docs/sandbox.md describes them for users. It imports nothing of the gateway, so that neither can repeat the other's
//! mistake. Everything is kept in memory and bounded; secrets are kept as SHA-256 only. `Idempotency-Key` is written
//! down and not used: the API documents none.

mod app;
mod control;
mod endpoint;
mod fault;
mod faults;
mod intake;
mod key_files;
mod keyring;
mod leads;
mod live_key;
mod routes;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use pingora::server::Fds;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use endpoint::{Endpoint, UnknownEndpoint};
pub use fault::{Fault, InvalidFault};
pub use key_files::KeyFilesError;
pub use keyring::{Connection, NewKeyPair};
pub use leads::ReceivedLead;
pub use live_key::{InvalidLiveKey, LiveKey};

use app::App;
use faults::{FaultFilter, Faults};
use routes::SandboxState;

/// Longest time that requests under way are waited for when it stops.
const GRACE: Duration = Duration::from_secs(5);

/// How to start the sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Where the first pair of keys is written, or read if it is there: `public_key` and `secret_key`.
    pub keys_dir: Option<PathBuf>,
    /// Standard keys that may mint pairs; if there are none, every well-formed `kc_live_…` may.
    pub live_keys: Vec<LiveKey>,
    /// What the endpoints do wrong from the start.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Returns options without key files, without faults.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, keys_dir: None, live_keys: Vec::new(), faults: Vec::new() }
    }
}

/// Why the sandbox doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxStartError {
    #[error("can't listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the key files can't be used")]
    KeyFiles(#[from] KeyFilesError),
    #[error("the fault isn't valid")]
    Fault(#[from] InvalidFault),
    /// The key that could never mint; `number` counts from 1, since a key is not repeated.
    #[error("live key {number} isn't usable")]
    LiveKey {
        number: usize,
        #[source]
        source: InvalidLiveKey,
    },
}

/// The running sandbox. Dropped without [`Sandbox::stop`], it stops without waiting.
pub struct Sandbox {
    address: SocketAddr,
    keys: NewKeyPair,
    state: Arc<SandboxState>,
    app: App,
    shutdown: watch::Sender<bool>,
    service: JoinHandle<()>,
}

impl Sandbox {
    /// Starts to listen, within the tokio runtime of the caller.
    pub fn start(options: Options) -> Result<Self, SandboxStartError> {
        let now = Timestamp::now();
        let mut faults = Faults::default();
        for fault in options.faults {
            faults.add(fault)?;
        }
        for (at, key) in options.live_keys.iter().enumerate() {
            key.check(now).map_err(|source| SandboxStartError::LiveKey { number: at + 1, source })?;
        }
        let keys = match &options.keys_dir {
            Some(directory) => key_files::read_or_write(directory, &rand::random())?,
            None => NewKeyPair::fresh(&rand::random()),
        };
        let failed = |source| SandboxStartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let state = Arc::new(SandboxState::new(&keys, options.live_keys, faults, now));
        let app = App::new(Arc::clone(&state));
        let (shutdown, watch) = watch::channel(false);
        let service = tokio::spawn(serve(listener, address, app.clone(), watch));
        Ok(Self { address, keys, state, app, shutdown, service })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what a client takes for the API's base URL.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the pair of keys it was started with.
    pub fn keys(&self) -> &NewKeyPair {
        &self.keys
    }

    /// Returns the leads received and still kept, oldest first.
    pub fn leads(&self) -> Vec<ReceivedLead> {
        self.state.leads.lock().all()
    }

    /// Waits until so many leads have been received since the start.
    pub async fn wait_for(&self, count: u64) {
        let mut received = self.state.leads.lock().watch();
        // The sender lives in the state, which this handle holds.
        drop(received.wait_for(|received| *received >= count).await);
    }

    /// Returns the pairs of keys that were minted and not revoked, oldest first.
    pub fn connections(&self) -> Vec<Connection> {
        self.state.keyring.lock().newest().into_iter().rev().cloned().collect()
    }

    /// Revokes a pair of keys, as KaiCalls' dashboard does; tells whether there was one of that id or public key.
    pub fn revoke(&self, name: &str) -> bool {
        self.state.keyring.lock().revoke(name).is_some()
    }

    /// Sets what a fault's endpoint does wrong, or with `None` that intake behaves. Other faults stay.
    pub fn set_fault(&self, fault: Option<Fault>) -> Result<(), InvalidFault> {
        match fault {
            Some(fault) => self.add_fault(fault),
            None => {
                let of_intake = FaultFilter { endpoint: Some(Endpoint::Intake), ..FaultFilter::default() };
                self.state.faults.lock().clear(&of_intake);
                Ok(())
            }
        }
    }

    /// Adds a fault; one of the same endpoint and site is replaced.
    pub fn add_fault(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.state.faults.lock().add(fault)
    }

    /// Returns the faults in force, the most specific first.
    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults.lock().all().to_vec()
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state.faults.lock().clear(&FaultFilter::default());
    }

    /// Stops listening, lets requests under way end within a grace period, and returns when all is closed.
    ///
    /// Tells whether all of them ended.
    pub async fn stop(self) -> bool {
        self.shutdown.send_replace(true);
        let drained = async {
            // It only ends by itself or with the runtime, so there is no error to tell.
            drop(self.service.await);
            self.app.drained().await;
        };
        let has_drained = tokio::time::timeout(GRACE, drained).await.is_ok();
        if !has_drained {
            tracing::warn!(grace_s = GRACE.as_secs(), "sandbox stopped with requests in progress");
        }
        has_drained
    }
}

/// Runs the sandbox until `shutdown` is there; `ready` is called once it listens.
pub async fn run(
    options: Options,
    ready: impl FnOnce(&Sandbox),
    shutdown: impl Future<Output = ()>,
) -> Result<(), SandboxStartError> {
    let sandbox = Sandbox::start(options)?;
    ready(&sandbox);
    shutdown.await;
    sandbox.stop().await;
    Ok(())
}

/// Runs pingora's accept loop on a socket that is bound already, so that port 0 works and no port is lost between.
async fn serve(listener: TcpListener, address: SocketAddr, app: App, shutdown: watch::Receiver<bool>) {
    let name = address.to_string();
    let mut sockets = Fds::new();
    // From here on the socket is the service's, which closes it when it ends.
    sockets.add(name.clone(), listener.into_raw_fd());
    let mut service = Service::new("sandbox".to_owned(), app);
    service.add_tcp(&name);
    service.start_service(Some(Arc::new(Mutex::new(sockets))), shutdown, 1).await;
}

//! The sender on a thread of its own. A post waits for no delivery then, however many are due: the system lets a thread that
//! just woke run before one that is busy.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::identity::identity;
use super::supervise::Supervisor;
use super::tasks::Tasks;
use crate::accept;
use crate::config::{Config, KaiCallsConfig};
use crate::kaicalls::{self, Client, ClientError};
use crate::notify::Notifier;
use crate::queue::{OpenStore, SeenGateway};
use crate::send::{Ownership, Sender, Stopped};

pub(super) struct Sending {
    handle: Handle,
    task: JoinHandle<Option<Stopped>>,
    sender: Sender,
    supervisor: Supervisor,
    runtime: Option<Runtime>,
}

impl Sending {
    /// Begins to send, until everything stops.
    pub(super) fn begin(tasks: &Tasks, sender: Sender) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("sender").enable_all().build()?;
        let supervisor = tasks.supervisor.clone();
        let stopping = tasks.stopping.clone();
        let worker = sender.clone();
        let keeper = supervisor.clone();
        let sending = async move { keeper.keep("sender", || worker.run(stopping.clone())).await };
        let handle = runtime.handle().clone();
        let task = runtime.spawn(sending);
        Ok(Self { handle, task, sender, supervisor, runtime: Some(runtime) })
    }

    /// Returns what it runs on.
    pub(super) fn runtime(&self) -> Handle {
        self.handle.clone()
    }

    /// Tells the sender that another process has taken this one's place.
    pub(super) fn replaced(&self) {
        if let Some(ownership) = self.sender.ownership() {
            ownership.leave_name();
        }
    }

    /// Waits until it has stopped; returns how many attempts were cut off.
    pub(super) async fn stopped(mut self) -> usize {
        let stopped = (&mut self.task).await;
        if let Some(panicked) = self.sender.take_panic() {
            self.supervisor.note(panicked);
        }
        match stopped {
            Ok(Some(Stopped::Cut(attempts))) => attempts,
            // A sender that panicked is in `has_panicked`; what it had under way is ambiguous when its lease ends.
            Ok(Some(Stopped::Drained) | None) | Err(_) => 0,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // A runtime that waits for its threads must not be dropped by a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes the client for KaiCalls.
pub(super) fn client(upstream: &KaiCallsConfig) -> Result<Client, ClientError> {
    Client::new(kaicalls::Options {
        timeout: upstream.timeout,
        max_in_flight: usize::try_from(upstream.max_in_flight.get()).unwrap_or(usize::MAX),
        ..kaicalls::Options::new(upstream.base_url.clone())
    })
}

/// Where others share the store, lets the sender send only for its part of the sites.
pub(super) fn shared(sender: Sender, opened: &OpenStore, config: &Config) -> Sender {
    if opened.is_shared() { sender.shared_as(identity(config)) } else { sender }
}

/// Lets the notifier tell what only this gateway knows, where others share the store.
pub(super) fn shared_notifier(notifier: Notifier, sender: &Sender) -> Notifier {
    match sender.ownership() {
        Some(ownership) => notifier.shared_as(ownership.name().clone()),
        None => notifier,
    }
}

/// Returns the gateways that share the store, as they were last seen; none where it isn't shared.
pub(super) fn gateways(sender: &Sender) -> watch::Receiver<Vec<SeenGateway>> {
    sender.ownership().map_or_else(|| watch::channel(Vec::new()).1, Ownership::gateways)
}

/// Lets the gateway know what the sender does: which keys KaiCalls refuses.
pub(super) fn refused_keys(sender: &Sender) -> accept::RefusedKeys {
    let status = sender.status();
    Arc::new(move |site, keys| {
        let status = status.borrow();
        let refused = status.paused_sites.get(site).into_iter().flatten();
        refused.into_iter().any(|refused| refused.public_key == keys.public())
    })
}

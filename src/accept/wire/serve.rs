//! Starting the gateway on pingora, and knowing when it has nothing left to answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use pingora::apps::ServerApp;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::ShutdownWatch;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listeners::Listeners;
use super::tls::{BadCertificate, Tls};
use crate::accept::gateway::Gateway;
use crate::config::Listen;

/// How many requests are being answered, and how many connections are open. Clones count together.
#[derive(Clone, Debug)]
pub struct InFlight {
    count: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

/// One request being answered, or one connection that is open.
#[derive(Debug)]
pub(super) struct Busy {
    count: watch::Sender<usize>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { count: watch::Sender::new(0), open: watch::Sender::new(0) }
    }
}

impl InFlight {
    pub(super) fn enter(&self) -> Busy {
        self.count.send_modify(|count| *count += 1);
        Busy { count: self.count.clone() }
    }

    pub(super) fn open(&self) -> Busy {
        self.open.send_modify(|count| *count += 1);
        Busy { count: self.open.clone() }
    }

    /// Returns how many requests are being answered now.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no request is being answered. Stop accepting first; how long to wait is the caller's to bound.
    pub async fn drained(&self) {
        let mut counts = self.count.subscribe();
        drop(counts.wait_for(|count| *count == 0).await);
    }

    /// Waits until no connection is open, so that nothing is cut that was on its way.
    pub async fn closed(&self) {
        let mut counts = self.open.subscribe();
        drop(counts.wait_for(|count| *count == 0).await);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

/// A listener's TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate or key of {address} can't be used")]
pub struct TlsError {
    address: SocketAddr,
    #[source]
    source: BadCertificate,
}

/// Makes a pingora service of an application behind one address, unencrypted.
pub fn service<A>(name: &str, app: A, address: SocketAddr) -> Service<A>
where
    A: ServerApp + Send + Sync + 'static,
{
    let mut service = Service::new(name.to_owned(), app);
    // What is read goes into buffers of our own; pingora's are 64 KiB for each connection, also for one that is silent.
    let unread = L4BufferSettings::default().read(0);
    service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(unread));
    service
}

/// Makes the services of a gateway, one for each address, encrypted where the configuration names a certificate.
///
/// pingora knows of none of them that they are: so a connection has its place, and its deadline, from the first byte.
pub fn services(gateway: &Gateway, listen: &[Listen]) -> Result<Vec<Service<Gateway>>, TlsError> {
    let behind = |listen: &Listen| {
        let tls = tls(listen)?.map(Arc::new);
        Ok(service("gateway", Gateway { tls, ..gateway.clone() }, listen.address))
    };
    listen.iter().map(behind).collect()
}

/// Tells whether the certificates and keys of these addresses can be used, for who doesn't serve yet.
pub fn check_certificates(listen: &[Listen]) -> Result<(), TlsError> {
    listen.iter().try_for_each(|listen| tls(listen).map(drop))
}

fn tls(Listen { address, tls }: &Listen) -> Result<Option<Tls>, TlsError> {
    let read = tls.as_ref().map(|(certificate, key)| Tls::new(certificate, key)).transpose();
    read.map_err(|source| TlsError { address: *address, source })
}

/// Runs services on sockets that listen already, on the current runtime, until `shutdown` says true; returns before
/// that as soon as one of them ends by itself. The others go on until `shutdown`.
///
/// The services must have been made with the addresses these have in `listeners`.
pub async fn run<A>(services: Vec<Service<A>>, listeners: Listeners, shutdown: ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    let mut running = JoinSet::new();
    for mut service in services {
        let (bound, shutdown) = (listeners.shared(), shutdown.clone());
        running.spawn(async move { service.start_service(Some(bound), shutdown, 1).await });
    }
    while running.join_next().await.is_some() {
        if !*shutdown.borrow() {
            return;
        }
    }
}

/// Serves an application on one listener that is already bound, as [`run`] does.
pub async fn serve<A>(listener: TcpListener, app: A, shutdown: ShutdownWatch) -> std::io::Result<()>
where
    A: ServerApp + Send + Sync + 'static,
{
    let listeners = Listeners::default();
    let service = service("formgate", app, listeners.add(listener)?);
    run(vec![service], listeners, shutdown).await;
    Ok(())
}

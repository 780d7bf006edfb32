//! Starting the gateway on pingora, and knowing when it has nothing left to answer.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::server::{Fds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Gateway;
use super::tls::{BadCertificate, Tls};
use crate::config::Listen;

/// How many requests are being answered. Clones count together.
#[derive(Clone, Debug)]
pub struct InFlight {
    count: watch::Sender<usize>,
}

/// One request being answered.
#[derive(Debug)]
pub(super) struct Busy {
    count: watch::Sender<usize>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { count: watch::Sender::new(0) }
    }
}

impl InFlight {
    pub(super) fn enter(&self) -> Busy {
        self.count.send_modify(|count| *count += 1);
        Busy { count: self.count.clone() }
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
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

/// A listener's TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate or key of {address} cannot be used")]
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
    service.add_tcp(&address.to_string());
    service
}

/// Makes the services of a gateway, one for each address, encrypted where the configuration names a certificate.
///
/// pingora knows of none of them that they are: so a connection has its place, and its deadline, from the first byte.
pub fn services(gateway: &Gateway, listen: &[Listen]) -> Result<Vec<Service<Gateway>>, TlsError> {
    let behind = |Listen { address, tls }: &Listen| {
        let tls = tls.as_ref().map(|(certificate, key)| Tls::new(certificate, key)).transpose();
        let tls = tls.map_err(|source| TlsError { address: *address, source })?;
        Ok(service("gateway", Gateway { tls: tls.map(Arc::new), ..gateway.clone() }, *address))
    };
    listen.iter().map(behind).collect()
}

/// Runs services on listeners that are already bound, on the current runtime, until `shutdown` says true.
///
/// The services must have been made with the listeners' own addresses.
pub async fn run<A>(services: Vec<Service<A>>, listeners: Vec<TcpListener>, shutdown: ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    let mut bound = Fds::new();
    for listener in listeners {
        // A listener whose address or mode cannot be read was closed under us: binding anew tells the same.
        if let (Ok(address), Ok(())) = (listener.local_addr(), listener.set_nonblocking(true)) {
            bound.add(address.to_string(), listener.into_raw_fd());
        }
    }
    let bound = Arc::new(Mutex::new(bound));
    let mut running = JoinSet::new();
    for mut service in services {
        let (bound, shutdown) = (Arc::clone(&bound), shutdown.clone());
        running.spawn(async move { service.start_service(Some(bound), shutdown, 1).await });
    }
    while running.join_next().await.is_some() {}
}

/// Serves an application on one listener that is already bound, as [`run`] does.
pub async fn serve<A>(listener: TcpListener, app: A, shutdown: ShutdownWatch) -> std::io::Result<()>
where
    A: ServerApp + Send + Sync + 'static,
{
    let service = service("formgate", app, listener.local_addr()?);
    run(vec![service], vec![listener], shutdown).await;
    Ok(())
}

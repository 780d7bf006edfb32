//! Starting the gateway on pingora, and knowing when it has nothing left to answer.

use std::net::TcpListener;
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::server::{Fds, ShutdownWatch};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;

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
    address: std::net::SocketAddr,
    #[source]
    source: Box<pingora::Error>,
}

/// Makes a pingora service of an application, to be added to a `Server`; it binds when the server starts.
///
/// TLS listeners speak HTTP/1.1 only, as the others do.
pub fn service<A>(name: &str, app: A, listen: &[Listen]) -> Result<Service<A>, TlsError>
where
    A: ServerApp + Send + Sync + 'static,
{
    let mut service = Service::new(name.to_owned(), app);
    for Listen { address, tls } in listen {
        match tls {
            None => service.add_tcp(&address.to_string()),
            Some((certificate, key)) => service
                .add_tls(&address.to_string(), &certificate.to_string_lossy(), &key.to_string_lossy())
                .map_err(|source| TlsError { address: *address, source })?,
        }
    }
    Ok(service)
}

/// Runs a service on listeners that are already bound, on the current runtime, until `shutdown` says true.
///
/// The service must have been made with the listeners' own addresses.
pub async fn run<A>(mut service: Service<A>, listeners: Vec<TcpListener>, shutdown: ShutdownWatch)
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
    service.start_service(Some(Arc::new(Mutex::new(bound))), shutdown, 1).await;
}

/// Serves an application on one listener that is already bound, as [`run`] does.
pub async fn serve<A>(listener: TcpListener, app: A, shutdown: ShutdownWatch) -> std::io::Result<()>
where
    A: ServerApp + Send + Sync + 'static,
{
    let address = listener.local_addr()?;
    let mut service = Service::new("formgate".to_owned(), app);
    service.add_tcp(&address.to_string());
    run(service, vec![listener], shutdown).await;
    Ok(())
}

//! The sockets that listen: bound here, or taken over from the process that had them before.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use pingora::server::Fds;

/// Most sockets that are handed over: pingora takes no more at once.
const HANDED_OVER_MAX: usize = 32;
/// Longest path of a Unix socket, without the byte that ends it.
const SOCKET_PATH_MAX: usize = 107;

/// Sockets that listen, each known by the address it was asked for. Clones share them.
#[derive(Clone)]
pub struct Listeners {
    // Numbers: what owns them is pingora's service, from its start to its end.
    sockets: Arc<Mutex<Fds>>,
}

/// Why sockets did not go from one process to the other.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    #[error("more than {HANDED_OVER_MAX} addresses can't be handed over")]
    TooMany,
    #[error("{} is too long for the path of a socket", .0.display())]
    Path(PathBuf),
    #[error("the socket to hand them over can't be created")]
    NoSocket(#[source] Box<dyn Error + Send + Sync>),
    #[error("the other process didn't answer")]
    NoAnswer(#[source] Box<dyn Error + Send + Sync>),
}

impl Default for Listeners {
    fn default() -> Self {
        Self { sockets: Arc::new(Mutex::new(Fds::new())) }
    }
}

impl Listeners {
    /// Listens on an address, unless a socket of it was taken over; gives it with the port the system chose.
    pub fn bind(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if self.sockets.lock().get(&address.to_string()).is_some() {
            return Ok(address);
        }
        self.add(TcpListener::bind(address)?)
    }

    /// Adds a socket that listens; gives its address.
    pub fn add(&self, listener: TcpListener) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        self.sockets.lock().add(address.to_string(), listener.into_raw_fd());
        Ok(address)
    }

    /// Listens again on an address whose service has ended, and closed its socket.
    pub fn bind_again(&self, address: SocketAddr) -> io::Result<()> {
        // Only the number is left of the former one: it is replaced, and never closed a second time.
        self.add(TcpListener::bind(address)?).map(drop)
    }

    /// Closes what was taken over and belongs to none of these addresses: nobody would accept what comes in there.
    pub fn keep_only(&self, addresses: &[SocketAddr]) {
        let keep: HashSet<String> = addresses.iter().map(SocketAddr::to_string).collect();
        for address in self.sockets.lock().close_unclaimed(&keep) {
            tracing::info!(address, "gateway.closed: the configuration no longer names the address");
        }
    }

    /// Waits at a path for another process to hand its sockets over. Blocks, for some seconds at most.
    pub fn receive(at: &Path) -> Result<Self, HandOverError> {
        let mut sockets = Fds::new();
        sockets.get_from_sock(socket_path(at)?).map_err(|error| HandOverError::NoAnswer(Box::new(error)))?;
        Ok(Self { sockets: Arc::new(Mutex::new(sockets)) })
    }

    /// Hands the sockets to the process that waits at a path; both may accept from then on. Blocks, for some seconds
    /// at most.
    pub fn send(&self, to: &Path) -> Result<(), HandOverError> {
        let to = socket_path(to)?;
        let sockets = self.sockets.lock();
        if sockets.serialize().0.len() > HANDED_OVER_MAX {
            return Err(HandOverError::TooMany);
        }
        sockets.send_to_sock(to).map(drop).map_err(|error| HandOverError::NoAnswer(Box::new(error)))
    }

    /// The form in which pingora's services take them.
    pub(super) fn shared(&self) -> Arc<Mutex<Fds>> {
        Arc::clone(&self.sockets)
    }
}

/// pingora asserts both.
fn socket_path(path: &Path) -> Result<&str, HandOverError> {
    let text = path.to_str().filter(|text| text.len() <= SOCKET_PATH_MAX);
    text.ok_or_else(|| HandOverError::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_go_from_one_to_the_other_and_those_not_asked_for_are_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let meeting = folder.path().join("listeners.sock");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let old = Listeners::default();
        let (kept, gone) = (old.bind(any).expect("bound"), old.bind(any).expect("bound"));
        let sender = std::thread::spawn({
            let (old, meeting) = (old.clone(), meeting.clone());
            move || old.send(&meeting)
        });
        let new = Listeners::receive(&meeting).expect("received");
        assert!(sender.join().expect("it ends").is_ok());
        new.keep_only(&[kept]);
        // Of `kept` there is one already; nothing listens at `gone` once the sender has closed it too.
        assert_eq!(new.bind(kept).expect("taken over"), kept);
        old.keep_only(&[kept]);
        assert!(TcpListener::bind(gone).is_ok());
        assert!(TcpListener::bind(kept).is_err());
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_an_error() {
        let long = PathBuf::from("x".repeat(SOCKET_PATH_MAX + 1));
        assert!(matches!(Listeners::receive(&long), Err(HandOverError::Path(_))));
        assert!(matches!(Listeners::default().send(&long), Err(HandOverError::Path(_))));
    }
}

//! The admin API's Unix socket, through which the command line talks to the gateway that runs: who may open it needs no
//! token.
//!
//! It stands in a folder that its user alone can enter. A gateway binds it under another name and renames it into place,
//! so that it is never there with other permissions, and so that an upgrade swaps the old process' socket for the new
//! one's with no moment between: whoever has connected to the old one is answered by it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::protocols::l4::stream::Stream;
use pingora::server::ShutdownWatch;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::Bounded;
use crate::admin::{AdminApp, socket_file};
use crate::config::Config;
use crate::telemetry::{Degraded, Metrics};

/// Longest path of a Unix socket, without the byte that ends it.
const PATH_MAX: usize = 107;
/// How long is waited after a connection could not be accepted, so that a lack of descriptors is no busy loop.
const REST: Duration = Duration::from_millis(100);
/// How often is looked whether the socket can be reached, or opened where it is missing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why there is no socket; over TCP the API is there all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    #[error("the socket path {} is longer than {PATH_MAX} bytes; set a shorter [server].data", .0.display())]
    TooLong(PathBuf),
    #[error("another running gateway listens on {}", .0.display())]
    Taken(PathBuf),
    #[error("{} can't be created", file.display())]
    Make {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A socket that listens; its file is removed when it is dropped, unless another process has replaced it.
pub(super) struct AdminSocket {
    listener: UnixListener,
    file: OwnFile,
}

/// The file of a socket, and which one it is.
struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Serves at the socket until `stopping` says true; opens one wherever there is none, be it that it could not be opened
/// before, or that its file is gone.
pub(super) async fn keep(
    mut socket: Option<AdminSocket>,
    config: &ArcSwap<Config>,
    metrics: &Metrics,
    (admin, bounded): (AdminApp, Bounded<AdminApp>),
    mut stopping: ShutdownWatch,
) {
    let mut connections = JoinSet::new();
    while !*stopping.borrow() {
        match socket.take() {
            Some(socket) => socket.serve(&admin, &bounded, &mut connections, stopping.clone()).await,
            None => drop(timeout(LOOK_EVERY, stopping.wait_for(|stop| *stop)).await),
        }
        if !*stopping.borrow() {
            socket = open(&config.load(), false, metrics);
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Opens the admin API's socket; without one the API is there over TCP.
pub(super) fn open(config: &Config, takes_over: bool, metrics: &Metrics) -> Option<AdminSocket> {
    let opened = AdminSocket::open(config, takes_over);
    let was_missing = metrics.degraded().contains(&Degraded::AdminSocketMissing);
    metrics.set_degraded(Degraded::AdminSocketMissing, opened.is_err());
    match &opened {
        Ok(Some(socket)) => tracing::info!(path = %socket.path().display(), "admin.socket_open"),
        Ok(None) => {}
        Err(_) if was_missing => {}
        Err(error) => {
            let error: &dyn std::error::Error = error;
            tracing::warn!(error, "admin.socket_missing: commands use [admin].listen and the admin token instead");
        }
    }
    opened.ok().flatten()
}

impl AdminSocket {
    /// Listens beside the store; none for a configuration without a data folder. `takes_over` says that the gateway that
    /// listens there is to be replaced.
    pub(super) fn open(config: &Config, takes_over: bool) -> Result<Option<Self>, SocketError> {
        socket_file(config).map(|path| Self::at(path, takes_over)).transpose()
    }

    fn at(path: PathBuf, takes_over: bool) -> Result<Self, SocketError> {
        if path.as_os_str().len() > PATH_MAX {
            return Err(SocketError::TooLong(path));
        }
        if !takes_over && BlockingStream::connect(&path).is_ok() {
            return Err(SocketError::Taken(path));
        }
        Self::bind(&path).map_err(|source| SocketError::Make { file: path, source })
    }

    fn bind(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        // No longer than the name it gets: the path's length is checked for that one.
        let draft = path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        let made = fs::symlink_metadata(&draft)?;
        fs::rename(&draft, path)?;
        let file = OwnFile { path: path.to_owned(), device: made.dev(), inode: made.ino() };
        Ok(Self { listener, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Takes connections until `shutdown` says true, or nobody can reach the socket any more; then removes its file.
    async fn serve(
        self,
        admin: &AdminApp,
        bounded: &Bounded<AdminApp>,
        connections: &mut JoinSet<()>,
        mut shutdown: ShutdownWatch,
    ) {
        let stopping = shutdown.clone();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            let accepted = tokio::select! {
                biased;
                _stop = shutdown.wait_for(|stop| *stop) => break,
                _ = looks.tick() => {
                    if self.file.is_lost() {
                        break;
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
                Some(_ended) = connections.join_next() => continue,
            };
            // Who connected is asked of the kernel: what a client says of itself proves nothing.
            match accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?.uid(), stream))) {
                Ok((uid, stream)) => {
                    let bounded = bounded.with_app(admin.for_local_user(uid));
                    let stopping = stopping.clone();
                    let stream: pingora::protocols::Stream = Box::new(Stream::from(stream));
                    connections.spawn(async move { bounded.take(stream, &stopping).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin.socket_failed: a connection couldn't be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

impl OwnFile {
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }

    /// Tells whether the file is gone, or what has replaced it belongs to a process that died: an upgrade that failed.
    fn is_lost(&self) -> bool {
        !self.is_there() && BlockingStream::connect(&self.path).is_err()
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.is_there() {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Sources, load};
    use crate::queue::memory::MemoryStore;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn it_is_its_users_alone_whatever_was_there_before() {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().join("run/admin.sock");
        fs::create_dir(data.path().join("run")).expect("made");
        fs::set_permissions(data.path().join("run"), Permissions::from_mode(0o755)).expect("open to all");
        // As a process leaves it that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "it is stale");
        let socket = AdminSocket::at(path.clone(), false).expect("it is replaced");
        assert_eq!((mode(path.parent().expect("a folder")), mode(&path)), (0o700, 0o600));
        BlockingStream::connect(&path).expect("it listens");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_second_gateway_leaves_the_first_its_socket_and_an_upgrade_takes_it() {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().join("run/admin.sock");
        let first = AdminSocket::at(path.clone(), false).expect("open");
        assert!(matches!(AdminSocket::at(path.clone(), false), Err(SocketError::Taken(_))));
        BlockingStream::connect(&path).expect("the first still listens");
        let second = AdminSocket::at(path.clone(), true).expect("taken over");
        drop(first);
        BlockingStream::connect(&path).expect("the first removed what is not its own");
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_was_missing_or_is_gone_is_opened_again() {
        let data = tempfile::tempdir().expect("a folder");
        let file = data.path().join("config.toml");
        fs::write(&file, "[queue]\nurl = \"sqlite:formgate.db\"\n").expect("written");
        let today = jiff::civil::date(2026, 11, 21);
        let config = load(&file, &Sources::with_environment([]), today).config.expect("a configuration");
        let path = socket_file(&config).expect("a path");
        let config = Arc::new(ArcSwap::from_pointee(config));
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let other = AdminSocket::at(path.clone(), false).expect("another gateway's");
        assert!(open(&config.load(), false, &metrics).is_none());
        assert_eq!(metrics.degraded(), [Degraded::AdminSocketMissing]);
        let store = Arc::new(MemoryStore::new(Duration::ZERO));
        let admin = AdminApp::new(Arc::clone(&config), store, Arc::clone(&metrics));
        let bounded = Bounded::new(admin.clone(), crate::app::ADMIN_BOUNDS, Arc::clone(&metrics));
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let kept = tokio::spawn({
            let config = Arc::clone(&config);
            let metrics = Arc::clone(&metrics);
            async move { keep(None, &config, &metrics, (admin, bounded), stopping).await }
        });
        drop(other);
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert!(metrics.degraded().is_empty());
        BlockingStream::connect(&path).expect("it listens");
        fs::remove_file(&path).expect("removed");
        tokio::time::sleep(LOOK_EVERY * 2).await;
        BlockingStream::connect(&path).expect("it listens again");
        stop.send_replace(true);
        kept.await.expect("it ends");
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_an_error() {
        let path = Path::new("/tmp").join("x".repeat(PATH_MAX)).join("admin.sock");
        assert!(matches!(AdminSocket::at(path, false), Err(SocketError::TooLong(_))));
    }
}

//! A new process takes the place of this one: its sockets go over, and no request is refused in between.
//!
//! The two meet in a folder beside the store that only their user can enter. The new one waits there; the old one, when
//! it is told to, hands its sockets over and goes on serving until the new one says that it serves too. Whatever goes
//! wrong before that, the old one is still there. `docs/decisions/0009-upgrade.md` says why it is safe.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

use crate::accept::{HandOverError, Listeners};
use crate::config::{Config, StoreUrl};
use crate::telemetry;

/// How long a new process waits for the sockets.
const TAKE_OVER_TIME: Duration = Duration::from_secs(60);
/// How long an old one waits for the new one to serve.
const SERVING_TIME: Duration = Duration::from_secs(30);

/// Why one process did not take the other's place.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("a store in memory can't be shared with another process")]
    NoMeeting,
    #[error("the permissions of the folder {} can't be restricted", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the sockets weren't handed over")]
    HandOver(#[from] HandOverError),
    #[error("the other process can't be contacted")]
    Lost(#[source] io::Error),
    #[error("the other process has the sockets, but didn't confirm that it serves")]
    Silent,
}

/// Where two processes meet.
#[derive(Debug)]
pub(super) struct Meeting {
    folder: PathBuf,
}

impl Meeting {
    /// Returns the place beside the store, or in the data folder where that is on no disk of this machine; none for a
    /// store that no other process can open.
    pub(super) fn of(config: &Config) -> Option<Self> {
        match &config.queue.url {
            StoreUrl::Memory => None,
            StoreUrl::Postgres(_) => config.data_folder().map(|data| Self { folder: data.join("upgrade") }),
            StoreUrl::Sqlite(path) => Some(Self { folder: path.with_file_name("upgrade") }),
        }
    }

    /// Waits for the old process to hand its sockets over.
    pub(super) async fn take_over(&self) -> Result<Listeners, UpgradeError> {
        let socket = self.enter()?.join("listeners.sock");
        let deadline = Instant::now() + TAKE_OVER_TIME;
        loop {
            let at = socket.clone();
            match blocking(move || Listeners::receive(&at)).await {
                // It waits only a few seconds at a time.
                Err(HandOverError::NoAnswer(_)) if Instant::now() < deadline => {}
                received => return Ok(received?),
            }
        }
    }

    /// Tells the old process that it may stop.
    pub(super) async fn say_serving(&self) -> Result<(), UpgradeError> {
        UnixStream::connect(self.serving()).await.map(drop).map_err(UpgradeError::Lost)
    }

    /// Hands the sockets to a new process that waits for them, and waits until it serves.
    pub(super) async fn hand_over(&self, listeners: &Listeners) -> Result<(), UpgradeError> {
        let socket = self.enter()?.join("listeners.sock");
        // Listened on before the other can say anything. What a process that was killed has left is in the way.
        drop(std::fs::remove_file(self.serving()));
        let serving = UnixListener::bind(self.serving()).map_err(UpgradeError::Lost)?;
        let sent = listeners.clone();
        let handed_over = match blocking(move || sent.send(&socket)).await {
            Ok(()) => heard(&serving).await,
            Err(error) => Err(error.into()),
        };
        drop(std::fs::remove_file(self.serving()));
        handed_over
    }

    fn serving(&self) -> PathBuf {
        self.folder.join("serving.sock")
    }

    /// Makes the folder private: pingora lets everybody write to its socket.
    fn enter(&self) -> Result<&Path, UpgradeError> {
        let failed = |source| UpgradeError::Folder { folder: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&self.folder, private).map_err(failed)?;
        Ok(&self.folder)
    }
}

async fn heard(serving: &UnixListener) -> Result<(), UpgradeError> {
    match timeout(SERVING_TIME, serving.accept()).await {
        Ok(accepted) => accepted.map(drop).map_err(UpgradeError::Lost),
        Err(_elapsed) => Err(UpgradeError::Silent),
    }
}

/// pingora waits for the other by sleeping, and panics where a socket can't be made.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HandOverError> + Send + 'static,
) -> Result<T, HandOverError> {
    let done = telemetry::blocking(work).await;
    done.unwrap_or_else(|panicked| Err(HandOverError::NoSocket(Box::new(panicked))))
}

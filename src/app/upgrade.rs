//! A new process takes the place of this one: its sockets go over, and no request is refused in between.
//!
//! The two meet in a folder beside the store that only their user can enter. The new one waits there; the old one, when
//! it is told to, hands its sockets over and goes on serving until the new one says that it serves too. Whatever goes
//! wrong before that, the old one is still there. `docs/decisions/0009-upgrade.md` says why it is safe.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

use super::store::open_to_serve;
use super::successor::{Invocation, Successor};
use super::{Running, Sockets, StartError, service_manager, start_with};
use crate::accept::{HandOverError, Listeners};
use crate::config::{Config, Origin, StoreUrl};
use crate::queue::live::LiveEnd;
use crate::telemetry;

/// How long a new process waits for the sockets, and how long it may take to begin with that.
const TAKE_OVER_TIME: Duration = Duration::from_secs(60);
/// How long an old one waits for a new one to serve that somebody else has started, and looks after.
const SERVING_TIME: Duration = Duration::from_secs(30);
/// How long it waits for one that it has started itself, and so knows to be alive: a new version may convert the store first.
const CONVERTING_TIME: Duration = Duration::from_secs(15 * 60);
/// How often is looked whether a new process waits for the sockets.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The process whose end is the end of its container.
const FIRST_PROCESS: u32 = 1;

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
    #[error("{} can't be started", program.display())]
    NotStarted {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the new process ended before it served ({0}); its log says why")]
    Ended(std::process::ExitStatus),
    #[error("the new process ended as soon as it served; its log says why")]
    EndedAtOnce,
    #[error("the new process didn't ask for the sockets in time")]
    NotWaiting,
    #[error("a container ends with its first process, which this one is; start a new container instead")]
    FirstProcess,
}

/// Takes the sockets over from the gateway that runs, starts everything, and tells the other that it may stop.
pub async fn upgrade(config: Config, origin: Origin) -> Result<Running, StartError> {
    let meeting = Meeting::of(&config).ok_or(UpgradeError::NoMeeting)?;
    let listeners = meeting.take_over().await?;
    // The old one still takes and answers; it has the store open too, which is made for that.
    let store = open_to_serve(&config)?;
    let sites = config.sites.len();
    let is_sound = origin.is_sound();
    let running = start_with(config, store, Some(origin), Sockets::TakenOver(listeners))?;
    // Before the other can end: with what it takes for the main process a manager stops the rest.
    service_manager::took_over(sites, is_sound);
    if let Err(error) = meeting.say_serving().await {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "upgrade.unheard: the old process didn't answer; check that it has ended");
    }
    Ok(running)
}

impl Running {
    /// Hands the sockets to a gateway that was started to take this one's place, and waits until that one serves.
    ///
    /// Everything goes on meanwhile, and after an error too: then it is for whoever asked to look what the other does.
    /// Stop when it returns `Ok`.
    pub async fn hand_over(&self) -> Result<(), UpgradeError> {
        self.meeting.as_ref().ok_or(UpgradeError::NoMeeting)?.hand_over(&self.listeners).await?;
        self.replaced();
        Ok(())
    }

    /// Starts the program anew to take this one's place, and does as [`Running::hand_over`] does. After an error, and
    /// where this is dropped before its end, the new process is ended and this gateway is the only one. Gives the new process.
    pub async fn replace(&self, invocation: &Invocation) -> Result<u32, UpgradeError> {
        let meeting = self.meeting.as_ref().ok_or(UpgradeError::NoMeeting)?;
        let process = match meeting.replace(&self.listeners, invocation).await {
            Ok(process) => process,
            Err((error, successor)) => {
                // Before that one ends, which may have said already that it is the main process.
                service_manager::not_replaced();
                if let Some(successor) = successor {
                    successor.end().await;
                }
                return Err(error);
            }
        };
        service_manager::replaced_by(process);
        self.replaced();
        Ok(process)
    }

    fn replaced(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
        self.sending.replaced();
        self.live.close(LiveEnd::Upgraded);
        // The other one answers for both: "stopping" would make a balancer take it away.
        self.stop.admin.send_replace(true);
    }
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
        let serving = self.listen_for_serving()?;
        self.send(listeners).await?;
        heard(&serving.listener, SERVING_TIME).await
    }

    /// Starts the program anew, hands the sockets to it, and waits until it serves; gives the process. With an error comes
    /// the process that is still there.
    pub(super) async fn replace(
        &self,
        listeners: &Listeners,
        invocation: &Invocation,
    ) -> Result<u32, (UpgradeError, Option<Successor>)> {
        if std::process::id() == FIRST_PROCESS {
            return Err((UpgradeError::FirstProcess, None));
        }
        let socket = self.enter().map_err(|error| (error, None))?.join("listeners.sock");
        // So that it is there when the new process waits, and not before.
        drop(std::fs::remove_file(&socket));
        let failed = |source| UpgradeError::NotStarted { program: invocation.program().to_owned(), source };
        let mut successor = invocation.start().map_err(|error| (failed(error), None))?;
        let process = successor.process();
        let program = invocation.program().display();
        tracing::info!(process, %program, "upgrade.started: the new process gets the sockets");
        match self.introduce(listeners, &mut successor, &socket).await {
            Ok(()) => successor.release().then_some(process).ok_or((UpgradeError::EndedAtOnce, None)),
            Err(error) => Err((error, Some(successor))),
        }
    }

    /// Hands the sockets to a process that was just started, and waits until it serves.
    async fn introduce(
        &self,
        listeners: &Listeners,
        successor: &mut Successor,
        socket: &Path,
    ) -> Result<(), UpgradeError> {
        let serving = self.listen_for_serving()?;
        let waits = async {
            while !socket.exists() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            ended = successor.ended() => return Err(ended.map_or_else(UpgradeError::Lost, UpgradeError::Ended)),
            waits = timeout(TAKE_OVER_TIME, waits) => waits.map_err(|_elapsed| UpgradeError::NotWaiting)?,
        }
        // To its end, which comes within seconds: a thread that is left behind would hand the sockets to the next one.
        self.send(listeners).await?;
        tokio::select! {
            biased;
            ended = successor.ended() => Err(ended.map_or_else(UpgradeError::Lost, UpgradeError::Ended)),
            heard = heard(&serving.listener, CONVERTING_TIME) => heard,
        }
    }

    async fn send(&self, listeners: &Listeners) -> Result<(), UpgradeError> {
        let socket = self.enter()?.join("listeners.sock");
        let sent = listeners.clone();
        Ok(blocking(move || sent.send(&socket)).await?)
    }

    /// Listens before the other can say that it serves. What a process that was killed has left is in the way.
    fn listen_for_serving(&self) -> Result<ServingSocket, UpgradeError> {
        let path = self.serving();
        self.enter()?;
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).map_err(UpgradeError::Lost)?;
        Ok(ServingSocket { listener, path })
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

/// Where a new process says that it serves; its file goes with it.
struct ServingSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ServingSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

async fn heard(serving: &UnixListener, within: Duration) -> Result<(), UpgradeError> {
    match timeout(within, serving.accept()).await {
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

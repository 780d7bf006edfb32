//! The program, started anew to take this process' place.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What makes a new process wait for the sockets of the one that runs.
const UPGRADE: &str = "--upgrade";
/// How long a successor that is not wanted any more may take to stop.
const STOP_TIME: Duration = Duration::from_secs(20);
/// The process that systemd's watchdog was set up for. The next one is another.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Invocation {
    /// Looks at this process. To be asked early: an upgrade puts another file in the place of the program, and the
    /// system then knows the running one under no name that can be started.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let program = match arguments.next().filter(|named| !named.is_empty()).map(PathBuf::from) {
            // As it was called: behind a link, or first in PATH, there may be another version by then.
            Some(named) if named.components().count() > 1 => std::path::absolute(named)?,
            Some(named) => named,
            None => env::current_exe()?,
        };
        Ok(Self { program, arguments: with_upgrade(arguments) })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts what is there by now, to wait for the sockets.
    pub(super) fn start(&self) -> io::Result<Successor> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).env_remove(WATCHDOG_PID);
        command.spawn().map(|child| Successor { child, takes_over: false })
    }
}

/// A process that is to take this one's place. Unless it has, it is asked to stop when this is dropped.
pub(super) struct Successor {
    child: Child,
    takes_over: bool,
}

impl Successor {
    pub(super) fn process(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until it ends.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets it go on when this process ends; tells whether it is there.
    pub(super) fn release(mut self) -> bool {
        self.takes_over = matches!(self.child.try_wait(), Ok(None));
        self.takes_over
    }

    /// Ends it: what it has begun is finished where that takes no longer than a stop may.
    pub(super) async fn end(mut self) {
        self.ask_to_stop();
        if timeout(STOP_TIME, self.child.wait()).await.is_err() {
            // Where it can't be killed it has ended.
            drop(self.child.kill().await);
        }
    }

    fn ask_to_stop(&self) {
        let process = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // One that is gone needs none.
        process.map(|process| kill_process(process, Signal::TERM));
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.takes_over {
            self.ask_to_stop();
        }
    }
}

/// Makes a process read its configuration again.
pub fn ask_to_reload(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    // One that is gone needs none.
    process.map(|process| kill_process(process, Signal::HUP));
}

fn with_upgrade(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if !arguments.iter().any(|argument| argument == OsStr::new(UPGRADE)) {
        arguments.push(UPGRADE.into());
    }
    arguments
}

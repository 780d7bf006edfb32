//! The program, started anew to take this process' place.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

/// What makes a new process wait for the sockets of the one that runs.
const UPGRADE: &str = "--upgrade";
/// The process that systemd's watchdog was set up for. The next one is another.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Looks at this process. To be asked early: an upgrade puts another file in the place of the program, and the
    /// system then knows the running one under no name that can be started.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let named = arguments.next().unwrap_or_default();
        // As it was called, where that is a path: behind a link there may be another version by then.
        let is_path = Path::new(&named).components().count() > 1;
        let path = if is_path { std::path::absolute(&named)? } else { env::current_exe()? };
        Ok(Self { path, arguments: with_upgrade(arguments) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts what is there by now, to wait for the sockets.
    pub(super) fn start(&self) -> io::Result<Child> {
        Command::new(&self.path).args(&self.arguments).stdin(Stdio::null()).env_remove(WATCHDOG_PID).spawn()
    }
}

fn with_upgrade(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if !arguments.iter().any(|argument| argument == OsStr::new(UPGRADE)) {
        arguments.push(UPGRADE.into());
    }
    arguments
}

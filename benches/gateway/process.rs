//! A server under test: its processes run on the first core, everything that measures on the second.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Outcome;

/// The core that a server has for itself, and that of the load, the upstream and the clock.
pub(crate) const SERVER_CORE: usize = 0;
const OWN_CORE: usize = 1;
/// Linux counts processor time in these, on every platform that we know of.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of `/proc/PID/stat` behind the program's name.
const GROUP: usize = 2;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// A program and all that it starts; killed when dropped.
pub(crate) struct Process {
    child: Child,
    group: Pid,
}

/// Keeps this process off the server's core.
pub(crate) fn stay_off_the_servers_core() -> Outcome<()> {
    let mut cores = CpuSet::new();
    cores.set(OWN_CORE);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Returns a command that runs a program on the server's core.
pub(crate) fn on_the_servers_core(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CORE.to_string()]).arg(program.as_ref());
    command
}

impl Process {
    /// Starts a command whose talk goes to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Outcome<Self> {
        let log = fs::File::create(log)?;
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let group = Pid::from_raw(child.id().try_into()?).ok_or("a process has a number")?;
        Ok(Self { child, group })
    }

    /// Returns the processor's time that it has taken so far, in microseconds.
    pub(crate) fn processor_time(&self) -> Outcome<f64> {
        let mut ticks = 0;
        for stat in self.each("stat")? {
            ticks += field(&stat, USER_TIME)? + field(&stat, SYSTEM_TIME)?;
        }
        Ok(crate::as_f64(ticks) / TICKS_PER_SECOND * 1e6)
    }

    /// Returns the memory that it holds now, and the most that it ever held, in MiB.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        let pages = self.each("status")?;
        let sum = |key: &str| pages.iter().filter_map(|page| kilobytes(page, key)).sum::<u64>();
        let mebibytes = |kilobytes| crate::as_f64(kilobytes) / 1024.0;
        Ok(Memory { now: mebibytes(sum("VmRSS:")), peak: mebibytes(sum("VmHWM:")) })
    }

    /// Reads a file of `/proc` of each of its processes.
    fn each(&self, file: &str) -> Outcome<Vec<String>> {
        let group = u64::try_from(self.group.as_raw_nonzero().get())?;
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")? {
            let folder = process?.path();
            // Others come and go meanwhile.
            let Ok(stat) = fs::read_to_string(folder.join("stat")) else { continue };
            if field(&stat, GROUP).is_ok_and(|of| of == group) {
                found.extend(fs::read_to_string(folder.join(file)));
            }
        }
        Ok(found)
    }
}

/// In MiB.
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        kill_process_group(self.group, Signal::KILL).unwrap_or_default();
        drop(self.child.wait());
    }
}

fn field(stat: &str, at: usize) -> Outcome<u64> {
    let behind = stat.rsplit_once(") ").map(|(_, behind)| behind).ok_or("no name in /proc/PID/stat")?;
    let field = behind.split(' ').nth(at).ok_or("too few fields in /proc/PID/stat")?;
    Ok(field.parse()?)
}

fn kilobytes(page: &str, key: &str) -> Option<u64> {
    let line = page.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

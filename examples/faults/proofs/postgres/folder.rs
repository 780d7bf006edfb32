//! A folder of servers, which a guard ends and removes when the process that made it is gone.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::programs::Programs;

/// Ends the servers of the folder `$1`, frozen ones too, and removes it.
///
/// A process is one of them only while it works in its folder: the number in a stale `postmaster.pid` may be another's.
const END: &str = r#"
end() {
    for data in "$1"/*/; do
        data=${data%/}
        [ -r "$data/frozen" ] && kill -CONT $(cat "$data/frozen") 2>/dev/null
        { read -r pid; read -r _; read -r _; read -r _; read -r _; read -r _; read -r _ shared; } 2>/dev/null <"$data/postmaster.pid" || continue
        [ -d /proc/self ] && [ "$(readlink "/proc/$pid/cwd")" != "$data" ] && pid=
        [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null
        tries=50
        while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do
            sleep 0.1
            tries=$((tries - 1))
            [ "$tries" -gt 0 ] || kill -KILL "$pid"
        done
        # A server that was killed leaves it behind.
        [ -e "$data/postmaster.pid" ] && ipcrm -m "$shared" 2>/dev/null
    done
    rm -rf "$1"
}
"#;

/// A temporary folder; its servers end with it.
pub(crate) struct Folder {
    path: PathBuf,
    guard: Child,
}

impl Folder {
    /// Makes one that lasts until it is dropped, or until this process ends in whatever way.
    pub(crate) fn new(programs: &Programs) -> anyhow::Result<Self> {
        let path = make(programs)?;
        // Nobody writes to the pipe; its end is that of this process.
        let guard = spawn_guard("cat >/dev/null", &path, &[], Stdio::piped())?;
        Ok(Self { path, guard })
    }

    /// Makes one that lasts until a shell script has ended, which may be after this process. Its `$1` is the folder.
    pub(crate) fn until(script: &str, arguments: &[&Path], programs: &Programs) -> anyhow::Result<PathBuf> {
        let path = make(programs)?;
        drop(spawn_guard(script, &path, arguments, Stdio::null())?);
        Ok(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

fn make(programs: &Programs) -> anyhow::Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("formgate-postgres-").tempdir()?;
    programs.own(folder.path())?;
    // As the kernel names it, so that the guard can compare.
    let path = folder.path().canonicalize()?;
    // The guard removes it.
    drop(folder.keep());
    Ok(path)
}

fn spawn_guard(script: &str, folder: &Path, arguments: &[&Path], stdin: Stdio) -> anyhow::Result<Child> {
    let mut guard = Command::new("sh");
    guard.arg("-c").arg(format!("{END}\n{script}\nend \"$1\"")).arg("guard").arg(folder).args(arguments);
    // In a group of its own, Ctrl-C doesn't reach it; without this process' output, nobody waits for it.
    guard.process_group(0).current_dir("/").stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
    guard.spawn().context("sh can't be run")
}

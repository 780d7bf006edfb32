//! PostgreSQL's own programs, and the user that they run as.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// Where Debian puts each version, below a folder of its number.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where the programs are, and who runs them.
#[derive(Clone)]
pub(crate) struct Programs {
    folder: PathBuf,
    owner: Option<Owner>,
}

/// PostgreSQL refuses to run as root, so there another user does.
#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Programs {
    /// Finds the newest version that Debian installed, else the programs in `PATH`.
    pub(crate) async fn find() -> anyhow::Result<Self> {
        let folder = debian().or_else(in_path);
        let folder = folder.context("PostgreSQL is not installed; run `scripts/setup --test`")?;
        let owner = if rustix::process::getuid().is_root() { Some(Owner::find().await?) } else { None };
        Ok(Self { folder, owner })
    }

    /// Gives a folder to whoever runs the servers.
    pub(super) fn own(&self, folder: &Path) -> anyhow::Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        chown(folder, Some(owner.user), Some(owner.group)).context("the folder can't be given away")
    }

    /// Returns a command that runs one of the programs in a folder.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command.current_dir(folder).env("LC_ALL", "C").env_remove("PGDATA").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a program to its end; what it wrote, or what it complained about.
    pub(super) async fn run<I: AsRef<OsStr>>(
        &self,
        program: &str,
        folder: &Path,
        arguments: impl IntoIterator<Item = I>,
    ) -> anyhow::Result<String> {
        finish(program, self.command(program, folder).args(arguments)).await
    }
}

impl Owner {
    async fn find() -> anyhow::Result<Self> {
        for name in ["postgres", "nobody"] {
            if let (Some(user), Some(group)) = (id("-u", name).await?, id("-g", name).await?) {
                return Ok(Self { user, group });
            }
        }
        bail!("PostgreSQL doesn't run as root, and there is no user `postgres` or `nobody`")
    }
}

async fn id(which: &str, name: &str) -> anyhow::Result<Option<u32>> {
    let output = Command::new("id").args([which, name]).output().await.context("id can't be run")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// Runs a command to its end; what it wrote, or what it complained about.
pub(super) async fn finish(name: &str, command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| format!("{name} can't be run"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{name} failed: {}", String::from_utf8_lossy(&said).trim())
}

fn debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).ok()?.filter_map(Result::ok);
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let with_server = numbered.filter(|(_, path)| path.join("bin/initdb").exists());
    with_server.max_by_key(|(number, _)| *number).map(|(_, path)| path.join("bin"))
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("initdb")).find(|program| program.exists())?;
    // A link may lie alone in its folder; what it leads to doesn't.
    Some(found.canonicalize().ok()?.parent()?.to_owned())
}

//! One PostgreSQL server, and what may happen to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::super::gateway::{PATIENCE, free_address};
use super::programs::{Programs, finish};

/// Who owns the databases of tests: a role without rights of its own, as a gateway's should be.
const ROLE: &str = "formgate";
/// The folder of its data.
const PRIMARY: &str = "primary";
const PASSWORD: &str = "a-database-password";
const SUPERUSER: &str = "postgres";
/// `fsync` and `synchronous_commit` are on by default, and stay so.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n\
                        shared_buffers = '32MB'\ndynamic_shared_memory_type = 'mmap'\nhot_standby_feedback = on\n";

/// Whether a server asks for the password.
#[derive(Clone, Copy)]
pub(crate) enum Auth {
    /// It does, as everywhere.
    Password,
    /// It doesn't: each connection is made some milliseconds sooner.
    Trust,
}

/// A server with a data folder of its own. What ends it is the end of the [`Folder`](super::folder::Folder) that it is in.
pub(crate) struct Server {
    programs: Programs,
    data: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    /// Sets up a server in a folder, with the role `formgate`, and starts it.
    pub(crate) async fn start_new(programs: &Programs, folder: &Path, auth: Auth) -> anyhow::Result<Self> {
        let server = Self { programs: programs.clone(), data: folder.join(PRIMARY), port: free_address()?.port() };
        let passwords = folder.join("password");
        std::fs::write(&passwords, PASSWORD)?;
        programs.own(&passwords)?;
        let method = match auth {
            Auth::Password => "scram-sha-256",
            Auth::Trust => "trust",
        };
        let mut arguments: Vec<_> = ["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"].into();
        let auth = format!("--auth={method}");
        let data = server.data.display().to_string();
        let pwfile = format!("--pwfile={}", passwords.display());
        arguments.extend([&*auth, &*pwfile, "-D", &*data]);
        programs.run("initdb", folder, arguments).await?;
        server.configure(SETTINGS)?;
        server.start().await?;
        server.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")).await?;
        Ok(server)
    }

    /// Returns a server that another process started.
    pub(crate) fn running(programs: &Programs, folder: &Path, port: u16) -> Self {
        Self { programs: programs.clone(), data: folder.join(PRIMARY), port }
    }

    /// Copies a running server into the folder beside it, as a standby of that name, and starts it.
    pub(super) async fn start_standby(&self, name: &str) -> anyhow::Result<Self> {
        let folder = self.data.parent().context("the data is in a folder")?;
        let data = folder.join(name);
        let standby = Self { programs: self.programs.clone(), data, port: free_address()?.port() };
        let source =
            format!("host=127.0.0.1 port={} user={SUPERUSER} password={PASSWORD} application_name={name}", self.port);
        let target = standby.data.display().to_string();
        let arguments =
            ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D", &*target, "--dbname", &*source];
        self.programs.run("pg_basebackup", folder, arguments).await?;
        standby.configure("")?;
        standby.start().await?;
        Ok(standby)
    }

    /// Adds to the configuration. It counts from the next start.
    pub(crate) fn configure(&self, settings: &str) -> anyhow::Result<()> {
        use std::io::Write as _;

        let mut file = std::fs::File::options().append(true).open(self.data.join("postgresql.conf"))?;
        Ok(write!(file, "{settings}\nport = {}\n", self.port)?)
    }

    /// Changes a setting while the server runs; connections that are open see it too.
    pub(crate) async fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'")).await?;
        self.sql("postgres", "SELECT pg_reload_conf()").await?;
        let started = Instant::now();
        while self.sql("postgres", &format!("SHOW {name}")).await? != value {
            anyhow::ensure!(started.elapsed() < PATIENCE, "{name} doesn't become {value}");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Returns the URL of a database of this server, for `formgate`.
    pub(crate) fn url(&self, database: &str) -> String {
        url(&[self.port], database)
    }

    /// Makes an empty database that `formgate` owns.
    pub(crate) async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0")).await?;
        Ok(())
    }

    /// Makes such a database whose tables lie in another folder, on a disk of their own.
    pub(crate) async fn create_database_at(&self, name: &str, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir(folder)?;
        self.programs.own(folder)?;
        self.sql("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{}'", folder.display())).await?;
        let create = format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0 TABLESPACE {name}");
        self.sql("postgres", &create).await?;
        Ok(())
    }

    /// Runs a statement as the superuser; gives its rows, their columns parted by `|`.
    pub(crate) async fn sql(&self, database: &str, statement: &str) -> anyhow::Result<String> {
        let mut psql = self.programs.command("psql", self.folder());
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", SUPERUSER]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", statement]).env("PGPASSWORD", PASSWORD);
        finish("psql", &mut psql).await
    }

    /// Starts it and waits until it takes connections.
    pub(crate) async fn start(&self) -> anyhow::Result<()> {
        let log = self.log().display().to_string();
        let started = self.control(&["start", "-w", "-t", "60", "-l", &log]).await;
        started.with_context(|| format!("its log: {}", std::fs::read_to_string(&log).unwrap_or_default()))
    }

    /// Stops it as an administrator does: sessions are ended, everything is on the disk.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.control(&["stop", "-w", "-m", "fast"]).await
    }

    /// Makes a primary of a standby.
    pub(crate) async fn promote(&self) -> anyhow::Result<()> {
        self.control(&["promote", "-w"]).await
    }

    async fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let data = self.data.display().to_string();
        self.programs.run("pg_ctl", self.folder(), ["-s", "-D", &data].iter().chain(arguments)).await?;
        Ok(())
    }

    /// SIGKILL to all its processes, as where the machine is lost.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        for process in self.processes()? {
            signal(process, Signal::KILL);
        }
        let started = Instant::now();
        while !self.processes()?.is_empty() {
            anyhow::ensure!(started.elapsed() < PATIENCE, "the server doesn't die");
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// SIGSTOP to all its processes: connections are taken by the kernel, and nobody answers.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        // The postmaster comes first, so that no process is missed. The guard must find them if this process ends now.
        let mut frozen = Vec::new();
        let file = self.data.join("frozen");
        for _ in 0..2 {
            for process in self.processes()?.into_iter().filter(|process| !frozen.contains(process)).collect::<Vec<_>>()
            {
                frozen.push(process);
                let numbers: Vec<_> = frozen.iter().map(|process| process.as_raw_nonzero().to_string()).collect();
                std::fs::write(&file, numbers.join(" "))?;
                signal(process, Signal::STOP);
            }
        }
        Ok(())
    }

    /// SIGCONT to all its processes.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        for process in self.processes()?.into_iter().rev() {
            signal(process, Signal::CONT);
        }
        Ok(std::fs::remove_file(self.data.join("frozen"))?)
    }

    /// Returns the processor's time that all its processes have taken, also those that have ended.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut ticks = 0;
        for (at, process) in self.processes()?.into_iter().enumerate() {
            // One that has ended since counts with the postmaster, which comes first, from the next time on.
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())) else {
                continue;
            };
            let behind_name = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
            let times = behind_name.split(' ').skip(11).take(if at == 0 { 4 } else { 2 });
            ticks += times.filter_map(|time| time.parse::<u64>().ok()).sum::<u64>();
        }
        // Linux counts in hundredths of a second, on every platform that we know of.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Returns the file that it logs to.
    pub(crate) fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    fn folder(&self) -> &Path {
        self.data.parent().unwrap_or(&self.data)
    }

    /// Returns the postmaster, and then its children. None where it doesn't run.
    pub(crate) fn processes(&self) -> anyhow::Result<Vec<Pid>> {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = file.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else {
            return Ok(Vec::new());
        };
        let all = std::fs::read_dir("/proc").context("processes are found in /proc, as on Linux")?;
        let mut found = Vec::new();
        for number in all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()) {
            let works_here = std::fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|cwd| cwd == self.data);
            found.extend(Pid::from_raw(number).filter(|_| works_here));
        }
        found.sort_by_key(|process| process.as_raw_nonzero().get() != postmaster);
        Ok(found)
    }
}

/// Returns the URL of a database of the servers at those ports.
pub(super) fn url(ports: &[u16], database: &str) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://{ROLE}:{PASSWORD}@{}/{database}", hosts.join(","))
}

/// One that has just ended needs no signal.
fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).unwrap_or_default();
}

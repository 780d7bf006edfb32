//! What every row needs: the upstream, the workloads, and servers that are started and awaited.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::load::{Target, Workload, flood, post_one};
use crate::process::{Process, on_the_servers_core};
use crate::setting::{OWN_STORE, Setting, Wanted, folder, free_address};
use crate::upstream::Upstream;

/// The word by which this program is asked to be a floor.
pub(crate) const FLOOR: &str = "floor";
const WORKLOADS: [&str; 3] = ["W1", "W2", "W3"];
/// How long a server may take to accept its first lead.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to deliver what it has accepted.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(1);
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) struct Stand {
    pub(crate) upstream: Upstream,
    pub(crate) workloads: Vec<Rc<Workload>>,
    peers: PathBuf,
}

/// A server that accepts leads.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) target: Target,
    /// From its start to the first lead that it accepted.
    pub(crate) started_in: Duration,
    _folder: TempDir,
}

impl Stand {
    pub(crate) async fn new() -> Outcome<Self> {
        let next = Rc::new(Cell::new(0));
        let workloads = WORKLOADS.iter().map(|name| Workload::read(name, &next).map(Rc::new));
        Ok(Self {
            upstream: Upstream::start().await?,
            workloads: workloads.collect::<Outcome<_>>()?,
            peers: Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gateway/peers"),
        })
    }

    pub(crate) fn w1(&self) -> Outcome<&Rc<Workload>> {
        Ok(self.workloads.first().ok_or("there are workloads")?)
    }

    /// Starts a gateway with so many sites.
    pub(crate) async fn gateway(&self, sites: u64, delivers: bool) -> Outcome<Running> {
        self.start_gateway(Wanted { upstream: &self.upstream.url(), sites, delivers, store: OWN_STORE }).await
    }

    /// Starts a gateway that keeps its leads in a PostgreSQL.
    pub(crate) async fn gateway_on(&self, store: &str, sites: u64) -> Outcome<Running> {
        self.start_gateway(Wanted { upstream: &self.upstream.url(), sites, delivers: true, store }).await
    }

    async fn start_gateway(&self, wanted: Wanted<'_>) -> Outcome<Running> {
        let setting = Setting::new(wanted)?;
        let mut command = on_the_servers_core(program());
        command.args(["serve", "--config"]).arg(setting.config());
        let target = Target { address: setting.address, sites: wanted.sites };
        self.start(command, target, setting.folder).await
    }

    /// Checks the configuration of a gateway with so many sites; returns how long that takes.
    pub(crate) fn check(&self, sites: u64) -> Outcome<Duration> {
        let setting = Setting::new(Wanted { upstream: &self.upstream.url(), sites, delivers: true, store: OWN_STORE })?;
        let mut command = on_the_servers_core(program());
        command.args(["check", "--config"]).arg(setting.config());
        let begun = Instant::now();
        let checked = command.output()?;
        let took = begun.elapsed();
        if !checked.status.success() {
            return Err(format!("check: {}", String::from_utf8_lossy(&checked.stderr)).into());
        }
        Ok(took)
    }

    /// Starts pingora alone, or with a file that is synced before each answer.
    pub(crate) async fn floor(&self, has_file: bool) -> Outcome<Running> {
        let folder = folder()?;
        let address = free_address()?;
        let mut command = on_the_servers_core(std::env::current_exe()?);
        command.args([FLOOR, &address.to_string()]);
        if has_file {
            command.arg(folder.path().join("bodies"));
        }
        self.start(command, Target { address, sites: 1 }, folder).await
    }

    /// Installs a peer where that is due, and starts it.
    pub(crate) async fn peer(&self, name: &str) -> Outcome<Running> {
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        std::fs::create_dir_all(&installed)?;
        let mut install = Command::new(self.peers.join("install"));
        let is_installed = install.arg(name).env("PEERS_DIR", &installed).status()?.success();
        if !is_installed {
            return Err(format!("{name} can't be installed here").into());
        }
        let folder = folder()?;
        let address = free_address()?;
        let mut command = on_the_servers_core(self.peers.join(name).join("start"));
        command.env("PORT", address.port().to_string()).env("UPSTREAM", self.upstream.url());
        let run = folder.path().join("run");
        std::fs::create_dir(&run)?;
        command.env("PEERS_DIR", &installed).env("RUN_DIR", run);
        self.start(command, Target { address, sites: 1 }, folder).await
    }

    async fn start(&self, command: Command, target: Target, folder: TempDir) -> Outcome<Running> {
        let begun = Instant::now();
        let log = folder.path().join("log");
        let process = Process::start(command, &log)?;
        let workload = self.w1()?;
        while !post_one(workload, target).await.unwrap_or_default() {
            if begun.elapsed() > START_MAX {
                return Err(format!("no lead was accepted: {}", std::fs::read_to_string(&log)?).into());
            }
            sleep(LOOK).await;
        }
        Ok(Running { process, target, started_in: begun.elapsed(), _folder: folder })
    }

    /// Posts for a moment, and lets the server get through with it.
    pub(crate) async fn warm_up(&self, running: &Running, workload: &Rc<Workload>) -> Outcome<()> {
        self.upstream.set_delay(Duration::ZERO);
        flood(workload, running.target, CONNECTIONS, WARM_UP).await?;
        self.quiet().await;
        Ok(())
    }

    /// Waits until the upstream has taken so many leads in all.
    pub(crate) async fn delivered(&self, leads: u64) -> Outcome<()> {
        let begun = Instant::now();
        while self.upstream.taken() < leads {
            if begun.elapsed() > DRAIN_MAX {
                return Err(format!("{} of {leads} leads were delivered in time", self.upstream.taken()).into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until nothing has been delivered for a moment.
    pub(crate) async fn quiet(&self) {
        const MOMENT: Duration = Duration::from_millis(1_500);
        loop {
            let taken = self.upstream.taken();
            sleep(MOMENT).await;
            if self.upstream.taken() == taken {
                return;
            }
        }
    }
}

/// Returns the program that is measured.
fn program() -> PathBuf {
    std::env::var_os("FORMGATE").unwrap_or_else(|| env!("CARGO_BIN_EXE_formgate").into()).into()
}

/// Posts at once, where it is posted as fast as can be.
pub(crate) const CONNECTIONS: usize = 32;

/// Tells the time of one sync of a kilobyte, the middle of many, in milliseconds.
pub(crate) fn sync_time() -> Outcome<f64> {
    use std::io::Write as _;
    const SYNCS: usize = 500;
    let mut file = tempfile::tempfile_in(folder()?.path())?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[b'x'; 1_024])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(crate::median(times))
}

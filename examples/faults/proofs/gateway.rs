//! The program under test, as a process with a folder of its own.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{Filter, Head, Order, Store};
use parking_lot::Mutex;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long anything may take that takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SITES: [&str; 3] = ["acme", "beta", "gamma"];
/// Lines of its log that are kept, to be shown when it ends unasked.
const LOG_KEPT: usize = 40;

/// Returns a site's token.
pub(crate) fn token(site: &str) -> String {
    format!("fg_{site:0<43}")
}

pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a gateway is set up: its configuration, its store, its addresses.
pub(crate) struct Place {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// What differs from proof to proof.
pub(crate) struct Settings<'a> {
    pub(crate) upstream: String,
    /// None: a SQLite file of its own.
    pub(crate) store_url: Option<String>,
    pub(crate) queue: &'a str,
    pub(crate) server: &'a str,
    pub(crate) site: &'a str,
    /// No limit of rates for strangers.
    pub(crate) is_open: bool,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        let upstream = "http://127.0.0.1:9".to_owned();
        Self { upstream, store_url: None, queue: "", server: "", site: "", is_open: true }
    }
}

impl Place {
    /// Chooses addresses and writes a configuration with three sites.
    pub(crate) fn new(program: &Path, folder: &Path, settings: &Settings<'_>) -> anyhow::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let store = folder.join("data/formgate.db");
        let place = Self { program: program.to_owned(), folder: folder.to_owned(), store, address, admin };
        place.write_config(&place.config(settings))?;
        Ok(place)
    }

    pub(crate) fn config(&self, settings: &Settings<'_>) -> String {
        let Self { address, admin, store, .. } = self;
        let Settings { upstream, store_url, queue, server, site, is_open } = settings;
        let url = store_url.clone().unwrap_or_else(|| format!("sqlite:{}", store.display()));
        let strangers = if *is_open { "client = { rate = \"100000/s\", burst = 100000 }" } else { "" };
        let sites: String = SITES
            .iter()
            .map(|id| {
                let sha256 = sha256(&token(id));
                format!(
                    "[[site]]\nid = \"{id}\"\npublic_key = \"wp_pk_{id}\"\nsecret_key = \"wp_sk_{id}\"\n\
                     tokens = [{{ sha256 = \"{sha256}\" }}]\n{site}\n"
                )
            })
            .collect();
        format!(
            "[server]\nlisten = \"{address}\"\n{server}\n[admin]\nlisten = \"{admin}\"\n\
             [kaicalls]\nbase_url = \"{upstream}\"\ntimeout = \"20s\"\n\
             [queue]\nurl = \"{url}\"\nretry = {{ first = \"50ms\", max = \"200ms\" }}\n{queue}\n\
             [limits]\ngateway = {{ rate = \"100000/s\", burst = 100000 }}\n\
             {strangers}\n\
             site = {{ rate = \"100000/s\", burst = 100000 }}\n{sites}"
        )
    }

    /// Replaces the configuration at once, as an editor does.
    pub(crate) fn write_config(&self, config: &str) -> anyhow::Result<()> {
        let aside = self.folder.join("config.toml.new");
        std::fs::write(&aside, config)?;
        Ok(std::fs::rename(aside, self.folder.join("config.toml"))?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--log-format", "json", "--config"]).arg(self.folder.join("config.toml"));
        command.args(arguments);
        command
    }

    /// Starts the gateway and waits until it listens.
    pub(crate) async fn start(&self) -> anyhow::Result<Gateway> {
        let mut gateway = Gateway::spawn(self.command(&[]))?;
        gateway.until("gateway.listening").await?;
        Ok(gateway)
    }

    /// Starts another that waits to take over.
    pub(crate) async fn start_upgrade(&self) -> anyhow::Result<Gateway> {
        let mut gateway = Gateway::spawn(self.command(&["--upgrade"]))?;
        gateway.until("upgrade.waiting").await?;
        Ok(gateway)
    }

    /// Starts the gateway below another program, such as one that traces it.
    pub(crate) async fn start_below(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Gateway> {
        let below = self.command(&[]);
        let mut command = Command::new(program);
        command.args(arguments).arg(below.as_std().get_program()).args(below.as_std().get_args());
        let mut gateway = Gateway::spawn(command)?;
        gateway.until("gateway.listening").await?;
        Ok(gateway)
    }

    /// Runs a verb of `formgate leads`.
    pub(crate) async fn leads(&self, line: &[&str]) -> anyhow::Result<std::process::Output> {
        let mut command = Command::new(&self.program);
        command.arg("leads").args(line).arg("--config").arg(self.folder.join("config.toml")).stdin(Stdio::null());
        Ok(timeout(PATIENCE, command.output()).await??)
    }

    /// Opens the store as the gateway would.
    pub(crate) fn open_store(&self) -> anyhow::Result<SqliteStore> {
        let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: jiff::Timestamp::now() };
        SqliteStore::open(&self.store, options).context("the store can't be opened")
    }

    /// Reads everything that is in the store, by id.
    pub(crate) async fn entries(&self) -> anyhow::Result<HashMap<String, Head>> {
        read_all(&self.open_store()?).await
    }
}

/// Reads everything that is in a store, by id.
pub(crate) async fn read_all(store: &dyn Store) -> anyhow::Result<HashMap<String, Head>> {
    let mut entries = HashMap::new();
    let mut cursor = None;
    loop {
        let page = store.scan(&Filter::default(), Order::Oldest, cursor, 1_000).await?;
        entries.extend(page.heads.into_iter().map(|head| (head.id.to_string(), head)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(entries);
        }
    }
}

/// Finds a port that nobody has, below those that the system gives to outgoing connections: one of these might take it
/// while the gateway is down.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let mut random = rand::rng();
    for _ in 0..1_000 {
        let address = SocketAddr::from(([127, 0, 0, 1], random.random_range(10_000..32_000)));
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}

/// A gateway that runs. It is killed when it is dropped.
pub(crate) struct Gateway {
    child: Child,
    events: watch::Receiver<HashMap<String, usize>>,
    waited: HashMap<String, usize>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Gateway {
    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the program can't be started")?;
        let stderr = child.stderr.take().context("its log is piped")?;
        let (told, events) = watch::channel(HashMap::new());
        let log = Arc::new(Mutex::new(VecDeque::new()));
        // It ends with the pipe.
        drop(tokio::spawn(read_log(stderr, told, Arc::clone(&log))));
        Ok(Self { child, events, waited: HashMap::new(), log })
    }

    /// Waits for the next event of that name.
    pub(crate) async fn until(&mut self, name: &str) -> anyhow::Result<()> {
        let number = self.waited.entry(name.to_owned()).or_default();
        *number += 1;
        let number = *number;
        let told = self.events.wait_for(|events| events.get(name).is_some_and(|count| *count >= number));
        let told = matches!(timeout(PATIENCE, told).await, Ok(Ok(_)));
        if told { Ok(()) } else { Err(anyhow!("it never said {name}; its log: {}", self.last_words())) }
    }

    /// Tells how often an event of that name was logged.
    pub(crate) fn events(&self, name: &str) -> usize {
        self.events.borrow().get(name).copied().unwrap_or_default()
    }

    pub(crate) fn last_words(&self) -> String {
        self.log.lock().iter().cloned().collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL: nothing is flushed, closed or drained.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(crate) async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.id().context("it has ended")?;
        signal(id, name).await
    }

    /// Waits for its end and gives its exit code.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("it doesn't end; its log: {}", self.last_words()))??.code())
    }

    /// Stops it as a service manager does.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Option<i32>> {
        self.signal("TERM").await?;
        self.ended().await
    }

    /// Memory in KiB and open files.
    pub(crate) fn size(&self) -> (u64, usize) {
        self.id().map_or((0, 0), size)
    }
}

pub(crate) async fn signal(id: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().await?;
    if sent.success() { Ok(()) } else { bail!("there is no process {id}") }
}

/// Returns a process' memory in KiB and its open files.
pub(crate) fn size(id: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count);
    (memory.unwrap_or_default(), files)
}

async fn read_log(stderr: ChildStderr, told: watch::Sender<HashMap<String, usize>>, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let message = event.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
        let name = message.split(':').next().unwrap_or_default().to_owned();
        let mut log = log.lock();
        if event.get("level").is_none_or(|level| level != "INFO") || log.len() < LOG_KEPT / 2 {
            log.push_back(line);
        }
        if log.len() > LOG_KEPT {
            log.pop_front();
        }
        drop(log);
        told.send_modify(|events| *events.entry(name).or_default() += 1);
    }
}

//! Runs three gateways on one PostgreSQL with a synchronous standby, before a sandbox of KaiCalls, until Ctrl-C.
//!
//! `make cluster` builds what is needed and runs it. `FORMGATE` names another program than the one built beside this.

#[path = "../faults/proofs/balancer.rs"]
mod balancer;

#[path = "../faults/proofs/gateway.rs"]
#[allow(dead_code, reason = "the proofs need more of it")]
mod gateway;

#[path = "../faults/proofs/postgres/mod.rs"]
#[allow(dead_code, reason = "the proofs need more of it")]
mod postgres;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::Context as _;
use formgate::sandbox::{self, Sandbox};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use balancer::Balancer;
use gateway::{Gateway, Place, Settings, sha256, token};
use postgres::pair::Pair;

const GATEWAYS: usize = 3;
const SITE: &str = "acme";
const DATABASE: &str = "leads";
const ADMIN_TOKEN: &str = "the-admin-token-of-this-cluster";

/// All that runs. What is listed first ends first.
struct Cluster {
    balancer: Balancer,
    gateways: Vec<(Place, Gateway)>,
    sandbox: Sandbox,
    pair: Pair,
    folder: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "cluster: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let program = program()?;
    let mut cluster = tokio::select! {
        started = Cluster::start(&program) => started?,
        _ = interrupted.recv() => return Ok(()),
        _ = terminated.recv() => return Ok(()),
    };
    cluster.show(&program).await?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    say("stopping …")?;
    cluster.stop().await
}

impl Cluster {
    async fn start(program: &Path) -> anyhow::Result<Self> {
        say("starting PostgreSQL: a primary, and a standby that has each commit before it counts …")?;
        let pair = Pair::start().await?;
        pair.primary.create_database(DATABASE).await?;
        let folder = tempfile::Builder::new().prefix("formgate-cluster-").tempdir()?;
        let keys = folder.path().join("kaicalls");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox = Sandbox::start(sandbox::Options { keys_dir: Some(keys), ..sandbox::Options::new(listen) })?;
        say("starting three gateways …")?;
        let mut gateways = Vec::new();
        for number in 1..=GATEWAYS {
            let own = folder.path().join(format!("gateway-{number}"));
            std::fs::create_dir(&own)?;
            let place = Place::new(program, &own, &Settings::default())?;
            place.write_config(&config(&place, &sandbox.base_url().to_string(), &pair.url(DATABASE)))?;
            let gateway = place.start().await?;
            gateways.push((place, gateway));
        }
        let balancer = Balancer::start(gateways.iter().map(|(place, _)| place.address).collect()).await?;
        Ok(Self { balancer, gateways, sandbox, pair, folder })
    }

    async fn show(&self, program: &Path) -> anyhow::Result<()> {
        let Pair { primary, standby, .. } = &self.pair;
        say(&format!("\nPostgreSQL  {}", self.pair.url(DATABASE)))?;
        say(&format!("  primary   psql {}", primary.url(DATABASE)))?;
        say(&format!("  standby   psql {}", standby.url(DATABASE)))?;
        say(&format!("KaiCalls    {} (sandbox)", self.sandbox.base_url()))?;
        for (place, gateway) in &self.gateways {
            let id = gateway.id().map(|id| id.to_string()).unwrap_or_default();
            say(&format!(
                "gateway     http://{}  console http://{}/console  process {id}",
                place.address, place.admin
            ))?;
        }
        say(&format!("balancer    http://{}", self.balancer.address))?;
        say(&format!("console     sign in with {ADMIN_TOKEN}"))?;
        say(&format!("folder      {}", self.folder.path().display()))?;
        say("\nPost a lead through the balancer:\n")?;
        say(&format!(
            "    curl http://{}/hooks/{SITE} -H 'Authorization: Bearer {}' \\\n      \
             -d 'name=Jane Doe' -d 'email=jane@example.com' -d 'message=Hello'\n",
            self.balancer.address,
            token(SITE)
        ))?;
        for (place, _) in self.gateways.iter().take(1) {
            let config = place.folder.join("config.toml");
            say(&format!("$ formgate status --config {}\n", config.display()))?;
            let mut status = Command::new(program);
            status.arg("status").arg("--config").arg(config).stdin(Stdio::null()).status().await?;
        }
        say("\nKill a gateway or a server and post again. Ctrl-C stops all.")
    }

    /// Ctrl-C on a terminal reaches the gateways as well: those are stopping already.
    async fn stop(&mut self) -> anyhow::Result<()> {
        for (_, gateway) in &mut self.gateways {
            gateway.signal("TERM").await.unwrap_or_default();
        }
        for (_, gateway) in &mut self.gateways {
            gateway.ended().await?;
        }
        Ok(())
    }
}

fn config(place: &Place, kaicalls: &str, store: &str) -> String {
    let Place { address, admin, .. } = place;
    let sha256 = sha256(&token(SITE));
    format!(
        "[server]\nlisten = \"{address}\"\n\n[admin]\nlisten = \"{admin}\"\ntoken = \"{ADMIN_TOKEN}\"\n\n\
         [kaicalls]\nbase_url = \"{kaicalls}\"\n\n[queue]\nurl = \"{store}\"\n\n\
         [[site]]\nid = \"{SITE}\"\nname = \"Acme Dental\"\nregion = \"US\"\n\
         public_key = {{ file = \"../kaicalls/public_key\" }}\nsecret_key = {{ file = \"../kaicalls/secret_key\" }}\n\
         tokens = [{{ sha256 = \"{sha256}\" }}]\n"
    )
}

fn program() -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("FORMGATE") {
        return Ok(program.into());
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).context("where programs are built")?;
    Ok(folder.join("formgate"))
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

//! `formgate demo`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::time::Instant;

use super::cases::{self, Case};
use super::check::counted;
use super::console::Console;
use super::diff::{self, Sides};
use super::error::Error;
use super::exit::Exit;
use super::expectation::Difference;
use super::replay::compare::{self, SentLead};
use super::replay::post::{self, GatewayAnswer, Hook};
use super::replay::post_all;
use super::rules::today;
use super::runtime::{block_on, stop_signal};
use super::{shown, table};
use crate::app::{self, Running};
use crate::config::{self, Sources};
use crate::lead::EntryId;
use crate::queue::{Head, OpenStore};
use crate::sandbox::{self, Sandbox};

/// Submissions posted at once.
const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");
/// How long the leads may take to arrive.
const WAIT: Duration = Duration::from_secs(60);
/// Posts through the token of the demo's only site.
const SITE: &str = "demo";

/// The captured submissions, each with the lead expected of it: packed by `build.rs`.
const FIXTURES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fixtures.tar.gz"));

/// Shows the gateway at work: posts captured submissions over HTTP, and delivers the leads to a sandbox of KaiCalls.
///
/// Needs only this program, and sends nothing off this machine. The gateway and the sandbox run in this process, on
/// free ports, with a store in a temporary folder that is removed at the end. Exits with 1 if a submission becomes a
/// different lead than expected.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// Post the captured requests in this folder instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
}

/// What became of one submission.
struct DemoRow {
    plugin: String,
    case: String,
    sent: Option<SentLead>,
    /// Where nothing was sent: why.
    held: String,
    differences: Vec<Difference>,
}

/// Everything the demo runs, and the folder that goes with it.
struct Demo {
    sandbox: Sandbox,
    gateway: Running,
    store: OpenStore,
    hook: Hook,
    _folder: TempDir,
}

pub(super) fn run(args: &DemoArgs, console: &mut Console) -> Result<Exit, Error> {
    let cases = match &args.fixtures {
        Some(folder) => read_cases(folder)?,
        None => carried_cases()?,
    };
    block_on(async {
        tokio::select! {
            exit = show(cases, console) => exit,
            () = stop_signal() => Err(Error::usage(anyhow!("stopped"))),
        }
    })
}

/// Reads the cases that the program carries, by way of a folder that is gone when it returns.
fn carried_cases() -> Result<Arc<[Case]>, Error> {
    let folder = tempfile::tempdir().context("can't make a temporary folder").map_err(Error::store)?;
    let unpacked = tar::Archive::new(GzDecoder::new(FIXTURES)).unpack(folder.path());
    unpacked.context("can't unpack the captured submissions").map_err(Error::store)?;
    read_cases(folder.path())
}

fn read_cases(fixtures: &Path) -> Result<Arc<[Case]>, Error> {
    let found = cases::find(&[fixtures.to_owned()])?;
    let read: Result<Vec<_>, _> = found.iter().map(|path| cases::read(path)).collect();
    Ok(read.map_err(Error::usage)?.into())
}

async fn show(cases: Arc<[Case]>, console: &mut Console) -> Result<Exit, Error> {
    let demo = Demo::start()?;
    console.say(format!(
        "gateway on {}, sandbox of KaiCalls on {}: posting {} captured from real plugins",
        demo.address(),
        demo.sandbox.base_url(),
        counted(cases.len(), "submission"),
    ));
    let started = Instant::now();
    let client = post::client(false).map_err(Error::upstream)?;
    let answers = post_all(&client, &demo.hook, Arc::clone(&cases), CONCURRENCY, console).await?;
    let answered = started.elapsed();
    let on_their_way = answers.iter().filter(|answer| compare::is_on_its_way(answer));
    let ids: Vec<&str> = on_their_way.filter_map(|answer| answer.id.as_deref()).collect();
    let sent = compare::sent_leads(&client, &demo.sandbox.base_url(), &ids, WAIT).await.map_err(Error::upstream)?;
    let delivered = started.elapsed();
    let mut rows = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let head = demo.head(answer).await?;
        rows.push(DemoRow::new(case, answer, answer.id.as_ref().and_then(|id| sent.get(id)), head.as_ref()));
    }
    demo.stop().await;
    print(&rows, console)?;
    let differing = rows.iter().filter(|row| !row.differences.is_empty()).count();
    summarise(&rows, differing, (answered, delivered), console);
    Ok(if differing == 0 { Exit::Ok } else { Exit::Findings })
}

impl Demo {
    fn start() -> Result<Self, Error> {
        let folder = tempfile::tempdir().context("the demo's store can't be created").map_err(Error::store)?;
        let any_port = "127.0.0.1:0".parse().map_err(|_never| Error::usage(anyhow!("no loopback address")))?;
        let sandbox = Sandbox::start(sandbox::Options {
            keys_dir: Some(folder.path().into()),
            ..sandbox::Options::new(any_port)
        })
        .map_err(Error::store)?;
        let token = format!("fg_{}", uuid::Uuid::from_bytes(rand::random()).simple());
        let path = folder.path().join("config.toml");
        std::fs::write(&path, config_text(&sandbox.base_url(), &token)).map_err(Error::store)?;
        let (config, _warnings) = config::load(&path, &Sources::process(), today())
            .complete()
            .map_err(|problems| Error::config(anyhow!("{}", problems.render(false))))?;
        let store = app::open_store(&config).map_err(Error::store)?;
        let gateway = app::start_on(config, store.clone()).map_err(Error::store)?;
        let address =
            gateway.gateway().first().ok_or_else(|| Error::config(anyhow!("the gateway doesn't listen anywhere")))?;
        let hook = Hook::new(&format!("http://{address}/hooks/{SITE}"), Some(&token)).map_err(Error::usage)?;
        Ok(Self { sandbox, gateway, store, hook, _folder: folder })
    }

    fn address(&self) -> String {
        self.gateway.gateway().first().map(|address| format!("http://{address}")).unwrap_or_default()
    }

    async fn head(&self, answer: &GatewayAnswer) -> Result<Option<Head>, Error> {
        match answer.id.as_deref().and_then(EntryId::parse) {
            Some(id) => Ok(self.store.store().get(id).await.map_err(Error::store)?.map(|entry| entry.head)),
            None => Ok(None),
        }
    }

    async fn stop(self) {
        let Self { sandbox, gateway, .. } = self;
        let _ended = gateway.stop().await;
        let _drained = sandbox.stop().await;
    }
}

/// The demo's configuration: what a person would write, but for the ports.
fn config_text(sandbox: &str, token: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(token));
    format!(
        r#"[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[kaicalls]
base_url = "{sandbox}"
[queue]
url = "sqlite:demo.db"
dedupe = "0s"             # many captures contain the same lead
[limits]
site = {{ rate = "100000/min", burst = 100000 }}
[[site]]
id = "{SITE}"
public_key = {{ file = "public_key" }}
secret_key = {{ file = "secret_key" }}
tokens = [{{ sha256 = "{sha256}" }}]
"#
    )
}

impl DemoRow {
    fn new(case: &Case, answer: &GatewayAnswer, sent: Option<&SentLead>, head: Option<&Head>) -> Self {
        let mut differences = Vec::new();
        if let Some(expected) = &case.expectation {
            differences = compare::answer(expected, answer);
            if differences.is_empty() {
                differences = compare::lead(expected, sent);
            }
        }
        let name = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
        Self {
            plugin: name(case.path.parent().and_then(Path::file_name)),
            case: name(case.path.file_stem()),
            sent: sent.cloned(),
            held: head.map_or_else(|| compare::words(answer), why_held),
            differences,
        }
    }

    fn row(&self) -> Vec<String> {
        let cells = match &self.sent {
            Some(lead) => [
                shown::short(&lead.name, 24),
                shown::short(&lead.email, 28),
                shown::short(lead.phone.as_deref().unwrap_or_default(), 16),
                lead.id.clone(),
            ],
            None => [String::new(), String::new(), String::new(), self.held.clone()],
        };
        let mut row = vec![self.plugin.clone(), shown::short(&self.case, 44)];
        row.extend(cells);
        row
    }
}

fn why_held(head: &Head) -> String {
    let reasons: Vec<String> = head
        .reading
        .errors
        .iter()
        .map(|error| {
            let field = error.field.map(|field| format!("{} ", field.as_str())).unwrap_or_default();
            format!("{field}{}", error.code.as_str())
        })
        .collect();
    match reasons.is_empty() {
        true => format!("{}: {}", head.state.as_str(), head.reason.as_str()),
        false => format!("{}: {}", head.state.as_str(), reasons.join(", ")),
    }
}

fn print(rows: &[DemoRow], console: &mut Console) -> Result<(), Error> {
    let paint = console.paint();
    let head = ["plugin", "case", "name", "e-mail", "phone", "leadId, or why it is held"].map(str::to_owned).to_vec();
    let cells: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(DemoRow::row)).collect();
    let lines = table::aligned(&cells);
    for (index, line) in lines.iter().enumerate() {
        let row = index.checked_sub(1).and_then(|index| rows.get(index));
        match row {
            None => console.data(paint.bold(line))?,
            Some(row) if !row.differences.is_empty() => {
                console.data(paint.red(line))?;
                for line in diff::render(&row.differences, Sides::Expectation, paint) {
                    console.data(line)?;
                }
            }
            Some(row) if row.sent.is_none() => console.data(paint.yellow(line))?,
            Some(_) => console.data(line)?,
        }
    }
    Ok(())
}

fn summarise(rows: &[DemoRow], differing: usize, (answered, delivered): (Duration, Duration), console: &mut Console) {
    let plugins: BTreeSet<&str> = rows.iter().map(|row| row.plugin.as_str()).collect();
    let sent = rows.iter().filter(|row| row.sent.is_some()).count();
    let paint = console.talk_paint();
    console.say(format!(
        "\n{} from {}: {sent} delivered, {} held; all answered after {:.1} s, all delivered after {:.1} s",
        counted(rows.len(), "submission"),
        counted(plugins.len(), "source"),
        rows.len() - sent,
        answered.as_secs_f64(),
        delivered.as_secs_f64(),
    ));
    console.say(match differing {
        0 => paint.green("each became the expected lead, or was held for the expected reason"),
        _ => paint.red(&format!("{} didn't become what was expected", counted(differing, "submission"))),
    });
    console.say("\nTry it with your own form: formgate init my-gateway");
}

//! `formgate sandbox`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::runtime::{block_on, stop_signal};
use crate::sandbox::{self, Endpoint, Fault, LiveKey, Options, Sandbox, SandboxStartError};

/// Runs a stand-in for KaiCalls' WordPress API, for trials and tests.
///
/// It behaves as KaiCalls documents, keeps everything in memory, and sends nothing.
///
/// While it runs, GET /_sandbox/leads lists the leads it received, GET /_sandbox/connections the key pairs it minted, and
/// DELETE /_sandbox/connections/ID revokes one. The --fault options make an endpoint misbehave; GET, POST and DELETE
/// /_sandbox/faults show and change that. docs/sandbox.md describes each.
#[derive(Args)]
pub(super) struct SandboxArgs {
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The folder of the key pair (public_key and secret_key); created if it has none
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// A standard API key that may create key pairs; repeatable [default: any well-formed key]
    ///
    /// KEY is kc_live_… and may be followed by ,scope=S (repeatable; creating needs leads:write or *), ,business=ID
    /// (repeatable) and ,expires=2027-06-30. A key that could never create a pair is refused, unless it ends with
    /// ,never-mints
    #[arg(long = "live-key", value_name = "KEY", env = "FORMGATE_SANDBOX_LIVE_KEY", hide_env_values = true)]
    live_keys: Vec<String>,
    #[command(flatten)]
    fault: FaultArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// A whole fault as JSON, as POST /_sandbox/faults takes it; repeatable
    #[arg(long = "fault", value_name = "JSON")]
    faults: Vec<String>,
    /// The endpoint of the fault that the options below describe: intake, verify, widget or keys
    #[arg(long = "fault-endpoint", value_name = "ENDPOINT", default_value = "intake", value_parser = Endpoint::parse)]
    endpoint: Endpoint,
    /// Answer with this status, and do nothing
    #[arg(long = "fault-status", value_name = "STATUS")]
    status: Option<u16>,
    /// Answer with this body, and do nothing
    #[arg(long = "fault-body", value_name = "TEXT")]
    body: Option<String>,
    /// The media type of that answer
    #[arg(long = "fault-content-type", value_name = "TYPE")]
    content_type: Option<String>,
    /// The Retry-After of that answer
    #[arg(long = "fault-retry-after", value_name = "VALUE")]
    retry_after: Option<String>,
    /// Wait before handling the request
    #[arg(long = "fault-delay-ms", value_name = "MILLISECONDS")]
    delay_ms: Option<u64>,
    /// Do the work, then close the connection without an answer
    #[arg(long = "fault-drop-after-commit")]
    drop_after_commit: bool,
    /// Stop after N requests
    #[arg(long = "fault-times", value_name = "N")]
    times: Option<NonZeroU32>,
    /// Affect N percent of requests, at random
    #[arg(long = "fault-percent", value_name = "N")]
    percent: Option<u8>,
}

pub(super) fn run(args: &SandboxArgs, console: &mut Console) -> Result<Exit, Error> {
    let options = Options {
        listen: args.listen,
        keys_dir: args.keys.clone(),
        live_keys: live_keys(&args.live_keys)?,
        faults: args.fault.faults()?,
    };
    let keys = args.keys.clone();
    block_on(async {
        let ready = |sandbox: &Sandbox| tell(sandbox, keys.as_deref(), console);
        sandbox::run(options, ready, stop_signal()).await.map_err(failed)
    })?;
    Ok(Exit::Ok)
}

/// Reads the keys here, because clap repeats a value that it refuses.
fn live_keys(texts: &[String]) -> Result<Vec<LiveKey>, Error> {
    let parsed = texts.iter().enumerate().map(|(at, text)| {
        let failed = |source| failed(SandboxStartError::LiveKey { number: at + 1, source });
        LiveKey::parse(text).map_err(failed)
    });
    parsed.collect()
}

fn tell(sandbox: &Sandbox, keys: Option<&std::path::Path>, console: &mut Console) {
    let base_url = sandbox.base_url();
    console.say(format!("the sandbox listens on {base_url}"));
    console.say(format!("  [kaicalls] base_url = \"{base_url}\""));
    match keys {
        Some(folder) => {
            for name in ["public_key", "secret_key"] {
                console.say(format!("  {name} = {{ file = \"{}\" }}", folder.join(name).display()));
            }
        }
        None => console.say("  its keys are in no file; --keys DIR writes them"),
    }
    console.say(format!("  received leads: {base_url}/_sandbox/leads"));
    console.say(format!("  minted key pairs: {base_url}/_sandbox/connections"));
}

fn failed(error: SandboxStartError) -> Error {
    match error {
        SandboxStartError::Listen { .. } => {
            Error::usage(error).hint("is another program listening there? --listen 127.0.0.1:0 takes any free port")
        }
        SandboxStartError::KeyFiles(_) => Error::store(error),
        SandboxStartError::Fault(_) | SandboxStartError::LiveKey { .. } => Error::usage(error),
    }
}

impl FaultArgs {
    fn faults(&self) -> Result<Vec<Fault>, Error> {
        let read = |text: &String| {
            serde_json::from_str(text).with_context(|| format!("--fault {text} is not a fault")).map_err(Error::usage)
        };
        let mut faults = self.faults.iter().map(read).collect::<Result<Vec<Fault>, Error>>()?;
        let described = Fault {
            endpoint: self.endpoint,
            status: self.status,
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            retry_after: self.retry_after.clone(),
            delay_ms: self.delay_ms,
            drop_after_commit: self.drop_after_commit,
            times: self.times,
            percent: self.percent,
            ..Fault::default()
        };
        if described != (Fault { endpoint: self.endpoint, ..Fault::default() }) {
            faults.push(described);
        } else if self.endpoint != Endpoint::default() {
            return Err(Error::usage(anyhow!("--fault-endpoint alone does nothing")).hint("add --fault-status 500"));
        }
        Ok(faults)
    }
}

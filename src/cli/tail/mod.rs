//! `formgate tail`.

mod frames;

mod line;

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::leads::{Opened, find_gateway, plural, read_config};
use super::rules::ConfigArg;
use super::runtime::{block_on, stop_signal};
use super::shown;
use super::status::no_gateway;
use crate::config::Config;
use frames::{Frame, Frames};
use line::ShownEvent;

/// The gateway says something every 15 seconds at least: where it doesn't for so long, it is gone.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// How long a gateway is looked for that takes another's place, and how often.
const RECONNECT_TIME: Duration = Duration::from_secs(30);
const RECONNECT_EVERY: Duration = Duration::from_millis(200);

/// Shows each request and each delivery attempt as it ends.
///
/// Works through the running gateway's admin API. Shows no visitor's data unless you ask for it with --leads, which the
/// audit log records. Follows an upgrade to the new gateway, and ends when the gateway stops. Times are local.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TailArgs {
    /// Only this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only this form
    #[arg(long, value_name = "FORM")]
    form: Option<String>,
    /// Show each lead: name, e-mail, phone and message
    #[arg(long)]
    leads: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the events
    #[arg(long, value_enum, default_value_t)]
    output: TailFormat,
}

const HELP: &str = "\
Examples:
  formgate tail                                   everything, until ctrl-c
  formgate tail --site acme --leads               one site, with the leads
  formgate tail --output ndjson | jq .            one JSON object per event, for programs";

/// The formats of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TailFormat {
    /// One line per event, for people.
    #[default]
    Text,
    /// One JSON object per event, for programs.
    Ndjson,
}

/// The parameters of the stream.
#[derive(Serialize)]
struct TailQuery<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leads: Option<u8>,
}

/// What the last event tells.
#[derive(Deserialize)]
struct End {
    reason: String,
}

#[derive(Deserialize)]
struct Missed {
    events: u64,
}

/// How a stream ended.
enum Ended {
    /// The gateway stops.
    Stopping,
    /// Another gateway has taken its place.
    Upgraded,
    /// It has lasted as long as a stream may.
    Renew,
}

pub(super) fn run(args: &TailArgs, console: &mut Console) -> Result<Exit, Error> {
    block_on(async {
        let config = read_config(&args.config, console)?;
        tokio::select! {
            biased;
            () = stop_signal() => Ok(Exit::Ok),
            followed = follow(args, &config, console) => followed,
        }
    })
}

async fn follow(args: &TailArgs, config: &Config, console: &mut Console) -> Result<Exit, Error> {
    let mut stream = open(args, config).await?.ok_or_else(|| no_gateway(&args.config))?;
    console.say("watching; ctrl-c ends it");
    loop {
        match show(args, stream, console).await? {
            Ended::Stopping => {
                console.say("the gateway is stopping");
                return Ok(Exit::Ok);
            }
            Ended::Upgraded => {
                console.say("the gateway is being replaced by a new one; reconnecting");
                sleep(RECONNECT_EVERY).await;
                stream = reopen(args, config).await?;
                console.say("watching the new gateway");
            }
            Ended::Renew => stream = reopen(args, config).await?,
        }
    }
}

/// Opens a stream of the gateway; none where nobody answers.
async fn open(args: &TailArgs, config: &Config) -> Result<Option<Opened>, Error> {
    let Some(remote) = find_gateway(config, args.admin.as_deref()).await? else { return Ok(None) };
    let query = TailQuery { site: args.site.as_deref(), form: args.form.as_deref(), leads: args.leads.then_some(1) };
    remote.open("/stream", &query).await.map(Some)
}

/// Opens a stream of the gateway that has taken another's place: it may take a moment until it answers.
async fn reopen(args: &TailArgs, config: &Config) -> Result<Opened, Error> {
    let until = Instant::now() + RECONNECT_TIME;
    loop {
        match open(args, config).await {
            Ok(Some(stream)) => return Ok(stream),
            Err(error) if error.exit() != Exit::AdminUnreachable || Instant::now() > until => return Err(error),
            Ok(None) if Instant::now() > until => return Err(no_gateway(&args.config)),
            Ok(None) | Err(_) => sleep(RECONNECT_EVERY).await,
        }
    }
}

/// Shows a stream's events to its end.
async fn show(args: &TailArgs, mut stream: Opened, console: &mut Console) -> Result<Ended, Error> {
    let mut frames = Frames::default();
    loop {
        while let Some(frame) = frames.next() {
            if let Some(ended) = show_frame(args, &frame, console)? {
                return Ok(ended);
            }
        }
        let piece = timeout(QUIET_MAX, stream.piece()).await.map_err(|_elapsed| lost())?.map_err(|_broken| lost())?;
        let room = frames.push(&piece.ok_or_else(lost)?);
        room.map_err(|too_long| Error::admin(too_long).context("the gateway doesn't send what this program reads"))?;
    }
}

/// Shows one event; returns how the stream ended where it is the last.
fn show_frame(args: &TailArgs, frame: &Frame, console: &mut Console) -> Result<Option<Ended>, Error> {
    match (frame.name.as_str(), args.output) {
        ("end", _) => {
            let end: Option<End> = serde_json::from_str(&frame.data).ok();
            return Ok(Some(match end.as_ref().map(|end| end.reason.as_str()) {
                Some("upgraded") => Ended::Upgraded,
                Some("renew") => Ended::Renew,
                _ => Ended::Stopping,
            }));
        }
        ("missed", TailFormat::Text) => {
            let missed = serde_json::from_str::<Missed>(&frame.data).map_or(0, |missed| missed.events);
            console.say(format!("{} missed: they came faster than they were read", plural(missed, "event")));
        }
        (_, TailFormat::Ndjson) => console.data(shown::json(&frame.data))?,
        (_, TailFormat::Text) => {
            // What a newer gateway tells beside is for `--output ndjson`.
            if let Ok(event) = serde_json::from_str::<ShownEvent>(&frame.data) {
                for line in event.lines(&jiff::tz::TimeZone::system(), console.paint()) {
                    console.data(line)?;
                }
            }
        }
    }
    Ok(None)
}

fn lost() -> Error {
    Error::admin(anyhow!("the gateway is gone without having said why"))
        .hint("its log says more; run this again once it is back")
}

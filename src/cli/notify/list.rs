//! `formgate notify list`.

use anyhow::anyhow;
use clap::Args;
use serde::Deserialize;

use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::{gateway, plural};
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::cli::{shown, table};
use crate::operate::{SinkState, SinkStatus};

/// Longest error in the table, in characters.
const ERROR_MAX: usize = 70;
/// Most patterns and sites of a sink in the table.
const NAMED_MAX: usize = 40;

/// Lists the sinks of the running gateway: state, last error and backlog.
#[derive(Args, Debug)]
pub(super) struct NotifyListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Deserialize)]
struct Told {
    sinks: Vec<SinkStatus>,
}

pub(super) fn run(args: &NotifyListArgs, console: &mut Console) -> Result<Exit, Error> {
    let told: Told = block_on(async {
        match gateway(&args.config, args.admin.as_deref(), console).await? {
            Some(remote) => remote.get("/notify", &()).await,
            None => Err(Error::admin(anyhow!("no gateway answers"))
                .hint("`formgate notify test` tries the sinks without a gateway")),
        }
    })?;
    match args.output {
        Format::Json => console.json(&told.sinks)?,
        Format::Text => show(&told.sinks, console)?,
    }
    Ok(Exit::Ok)
}

fn show(sinks: &[SinkStatus], console: &mut Console) -> Result<(), Error> {
    if sinks.is_empty() {
        console.say("there is no [[notify]]: nobody is told of anything");
        return Ok(());
    }
    let head = ["SINK", "KIND", "STATE", "BACKLOG", "SENT", "LOST", "SITES", "EVENTS", "LAST ERROR"];
    let rows = std::iter::once(head.map(str::to_owned).to_vec()).chain(sinks.iter().map(cells));
    let rows: Vec<_> = rows.collect();
    let paint = console.paint();
    for (index, line) in table::fitted(&rows, console.width(), &[6, 7, 8]).into_iter().enumerate() {
        let state = index.checked_sub(1).and_then(|at| sinks.get(at)).map(|sink| sink.state);
        console.data(match state {
            None => paint.bold(&line),
            Some(SinkState::Ok) => line,
            Some(SinkState::Failing) => paint.yellow(&line),
            Some(SinkState::Disabled) => paint.red(&line),
        })?;
    }
    let waiting: u64 = sinks.iter().map(|sink| sink.backlog).sum();
    if waiting > 0 {
        console.say(format!("{} for a sink", wait(waiting)));
    }
    Ok(())
}

fn wait(events: u64) -> String {
    format!("{} {}", plural(events, "event"), if events == 1 { "waits" } else { "wait" })
}

fn cells(sink: &SinkStatus) -> Vec<String> {
    let error = sink.error.as_deref().map_or_else(|| "-".to_owned(), |error| shown::short(error, ERROR_MAX));
    let error = match sink.since.filter(|_| sink.error.is_some()) {
        Some(since) => format!("{error} (since {since:.0})"),
        None => error,
    };
    vec![
        sink.name.clone(),
        sink.kind.clone(),
        sink.state.as_str().to_owned(),
        format!("{}{}", sink.backlog, if sink.has_more { "+" } else { "" }),
        sink.sent.to_string(),
        sink.lost.to_string(),
        shown::short(&sink.sites.join(" "), NAMED_MAX),
        shown::short(&sink.events.join(" "), NAMED_MAX),
        error,
    ]
}

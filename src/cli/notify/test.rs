//! `formgate notify test`.

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::cli::table;
use crate::config::Config;
use crate::notify::{self, Trial};

/// Sends a test event to each sink of the configuration, or to one, and shows what came back.
///
/// It needs no running gateway. Exits with 1 if a sink didn't take it.
#[derive(Args, Debug)]
pub(super) struct NotifyTestArgs {
    /// The sink; of a site's own file as SITE/NAME [default: all]
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What came back from a sink, or from one of its addresses.
#[derive(Serialize)]
struct TrialRow<'a> {
    sink: &'a str,
    to: &'a str,
    ok: bool,
    result: &'a str,
}

pub(super) fn run(args: &NotifyTestArgs, console: &mut Console) -> Result<Exit, Error> {
    let (path, loaded) = args.config.load()?;
    if loaded.diagnostics.prevent_serving() {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
    }
    let Some(config) = &loaded.config else {
        return Err(Error::config(anyhow!("{} has errors", path.display())));
    };
    check_name(args.name.as_deref(), config)?;
    let trials = block_on(async { Ok(notify::try_sinks(config, args.name.as_deref(), Timestamp::now()).await) })?;
    let rows: Vec<_> = trials.iter().map(TrialRow::of).collect();
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, console)?,
    }
    let all_took = rows.iter().all(|row| row.ok);
    Ok(if all_took { Exit::Ok } else { Exit::Findings })
}

fn check_name(name: Option<&str>, config: &Config) -> Result<(), Error> {
    if config.sinks.is_empty() {
        let hint = "add [[notify]] with `url` or `email`: see docs/events.md";
        return Err(Error::missing(anyhow!("there is no usable [[notify]] in the configuration")).hint(hint));
    }
    match name {
        Some(name) if !config.sinks.iter().any(|sink| sink.name == name) => {
            let names: Vec<_> = config.sinks.iter().map(|sink| sink.name.as_str()).take(20).collect();
            let hint = format!("there are: {}", names.join(", "));
            Err(Error::missing(anyhow!("there is no sink called `{name}`")).hint(hint))
        }
        _ => Ok(()),
    }
}

impl<'a> TrialRow<'a> {
    fn of(trial: &'a Trial) -> Self {
        Self { sink: &trial.sink, to: &trial.to, ok: trial.is_ok, result: &trial.result }
    }
}

fn show(rows: &[TrialRow<'_>], console: &mut Console) -> Result<(), Error> {
    let head = ["SINK", "TO", "RESULT"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| vec![row.sink.to_owned(), row.to.to_owned(), row.result.to_owned()]);
    let paint = console.paint();
    for (index, line) in table::aligned(&std::iter::once(head).chain(cells).collect::<Vec<_>>()).into_iter().enumerate()
    {
        let row = index.checked_sub(1).and_then(|at| rows.get(at));
        console.data(match row {
            None => paint.bold(&line),
            Some(row) if row.ok => line,
            Some(_) => paint.red(&line),
        })?;
    }
    Ok(())
}

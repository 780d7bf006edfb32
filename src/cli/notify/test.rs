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
use crate::config::Loaded;
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

/// Said of a sink whose table can't be used.
const MISSED: &str = "its url, secret or [mail] can't be read: run `formgate check`";
/// Most sinks that a hint names.
const NAMES_MAX: usize = 20;

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
    let is_meant = |name: &str| args.name.as_deref().is_none_or(|asked| asked == name);
    let sinks: Vec<_> = loaded.usable_sinks().into_iter().filter(|sink| is_meant(&sink.name)).collect();
    let missed: Vec<_> = loaded.missed_sinks().into_iter().filter(|name| is_meant(name)).collect();
    if sinks.is_empty() && missed.is_empty() {
        return Err(no_sink(args.name.as_deref(), &loaded));
    }
    let trials = block_on(async { Ok(notify::try_sinks(config, &sinks, Timestamp::now()).await) })?;
    let missed = missed.into_iter().map(|sink| TrialRow { sink, to: "-", ok: false, result: MISSED });
    let rows: Vec<_> = trials.iter().map(TrialRow::of).chain(missed).collect();
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, console)?,
    }
    let all_took = rows.iter().all(|row| row.ok);
    Ok(if all_took { Exit::Ok } else { Exit::Findings })
}

fn no_sink(name: Option<&str>, loaded: &Loaded) -> Error {
    let sinks = loaded.usable_sinks();
    match name {
        Some(name) if !sinks.is_empty() => {
            let names: Vec<_> = sinks.iter().map(|sink| sink.name.as_str()).take(NAMES_MAX).collect();
            let hint = format!("there are: {}", names.join(", "));
            Error::missing(anyhow!("there is no sink called `{name}`")).hint(hint)
        }
        _ => Error::missing(anyhow!("there is no [[notify]] in the configuration"))
            .hint("add one with `url` or `email`: see docs/events.md"),
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

//! `formgate leads trace`.

use clap::Args;

use super::args::{ResultFormat, Where};
use super::desk::Desk;
use super::view::{duration, second};
use crate::cli::console::{Console, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::shown;
use crate::operate::Step;
use crate::queue::State;

/// Longest words of a step, in characters.
const WORDS_MAX: usize = 200;

/// Shows one lead's history, one event per line.
///
/// Shows when it was accepted, each attempt, each change, and what happens next. Times are UTC.
#[derive(Args, Debug)]
pub(super) struct TraceArgs {
    /// The lead's id, or a unique prefix
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: Where,
    /// How to write the history
    #[arg(long, value_enum, default_value_t)]
    output: ResultFormat,
}

pub(super) async fn run(args: &TraceArgs, console: &mut Console) -> Result<Exit, Error> {
    let desk = Desk::open(&args.place, console).await?;
    let trace = desk.trace(&args.id).await?;
    let paint = console.paint();
    match args.output {
        ResultFormat::Json => console.json(&trace)?,
        ResultFormat::Ndjson => {
            for step in &trace.steps {
                console.json_line(step)?;
            }
        }
        ResultFormat::Table => {
            let seen = if trace.seen > 0 { format!(", posted {} more times", trace.seen) } else { String::new() };
            let place = format!("{}/{}", trace.site, trace.form);
            console.data(format!("{}  {place}  {}{seen}", paint.bold(&trace.id.to_string()), trace.state.as_str()))?;
            for step in &trace.steps {
                console.data(step_line(step, paint))?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Writes a moment.
pub(super) fn step_line(step: &Step, paint: Paint) -> String {
    let after = format!("+{}", duration(step.after_ms));
    let took = step.duration_ms.map(|took| format!(" ({})", duration(i64::try_from(took).unwrap_or(i64::MAX))));
    let line =
        format!("{}  {after:>8}  {}{}", second(step.at), shown::short(&step.what, WORDS_MAX), took.unwrap_or_default());
    match step.state {
        None => paint.dim(&line),
        Some(State::Dead) => paint.red(&line),
        Some(State::Held) => paint.yellow(&line),
        Some(State::Delivered) => paint.green(&line),
        Some(State::Queued) => line,
    }
}

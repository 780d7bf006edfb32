//! `formgate leads export`.

use clap::{Args, ValueEnum};

use super::args::{FilterArgs, Where};
use super::desk::{Desk, now, operate_error};
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::operate::ExportFormat;

/// Exports leads as CSV, NDJSON or JSON, oldest first.
///
/// In CSV, a value that a spreadsheet could take for a formula (= + - @) gets a ' in front, except phone numbers such
/// as +15035550142.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    filter: FilterArgs,
    /// How to write the leads
    #[arg(long, value_enum, default_value_t)]
    output: ExportFormatArg,
}

const HELP: &str = "\
Examples:
  formgate leads export --site acme --since 30d > leads.csv
  formgate leads export --state dead --output ndjson";

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ExportFormatArg {
    /// For spreadsheets.
    #[default]
    Csv,
    /// One document a line.
    Ndjson,
    /// One document.
    Json,
}

pub(super) async fn run(args: &ExportArgs, console: &mut Console) -> Result<Exit, Error> {
    let filter = args.filter.asked();
    filter.read(now()).map_err(operate_error)?;
    let format = match args.output {
        ExportFormatArg::Csv => (ExportFormat::Csv, "csv"),
        ExportFormatArg::Ndjson => (ExportFormat::Ndjson, "ndjson"),
        ExportFormatArg::Json => (ExportFormat::Json, "json"),
    };
    Desk::open(&args.place, console).await?.export(&filter, format, console).await?;
    Ok(Exit::Ok)
}

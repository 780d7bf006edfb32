//! `formgate leads backup`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::args::{DetailFormat, Where};
use super::desk::Desk;
use super::view::plural;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;

/// Copies the whole store into a new file, while it is in use.
///
/// The copy is a complete store; `formgate store restore` puts it in place of the current one.
#[derive(Args, Debug)]
pub(in crate::cli) struct BackupArgs {
    /// The file to create, on the gateway's machine; it must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Where,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: DetailFormat,
}

pub(in crate::cli) async fn run(args: &BackupArgs, console: &mut Console) -> Result<Exit, Error> {
    // The gateway runs in another folder.
    let file = std::path::absolute(&args.file).context("not a valid path").map_err(Error::usage)?;
    let desk = Desk::open(&args.place, console).await?;
    let backed_up = desk.backup(&file).await?;
    desk.say_audit_waits(backed_up.audit_waits, console).await;
    match args.output {
        DetailFormat::Json => console.json(&backed_up)?,
        DetailFormat::Table => {
            let entries = plural(backed_up.entries, "entry");
            console.data(format!("{entries} copied to {}", backed_up.file.display()))?;
        }
    }
    Ok(Exit::Ok)
}

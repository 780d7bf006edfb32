//! `formgate leads salvage`.

use clap::Args;

use super::args::{DetailFormat, Where};
use super::desk::Desk;
use super::view::plural;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::shown;

/// Merges back what can be read of a store that was set aside.
///
/// The gateway sets a damaged store aside and begins a new one. Salvage names what can't be read, and then exits with
/// 1. The files stay; running it again does no harm.
#[derive(Args, Debug)]
pub(in crate::cli) struct SalvageArgs {
    #[command(flatten)]
    place: Where,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: DetailFormat,
}

pub(in crate::cli) async fn run(args: &SalvageArgs, console: &mut Console) -> Result<Exit, Error> {
    let salvaged = Desk::open(&args.place, console).await?.salvage().await?;
    match args.output {
        DetailFormat::Json => console.json(&salvaged)?,
        DetailFormat::Table if salvaged.files.is_empty() => console.say("no store was set aside"),
        DetailFormat::Table => {
            for file in &salvaged.files {
                console.data(format!("read {}", shown::line(&file.display().to_string())))?;
            }
            let (recovered, present) = (plural(salvaged.recovered, "entry"), plural(salvaged.present, "entry"));
            console.data(format!("{recovered} merged back, {present} already there"))?;
            for line in &salvaged.unreadable {
                console.data(format!("can't be read: {}", shown::line(line)))?;
            }
        }
    }
    Ok(if salvaged.unreadable.is_empty() { Exit::Ok } else { Exit::Findings })
}

//! `formgate store`.

mod copy;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::leads::{DetailFormat, backup, plural, read_config, salvage};
use super::rules::ConfigArg;
use super::runtime::block_on;
use super::shown;
use crate::config::{Config, StoreUrl};
use crate::operate::{self, Actor, Audit, NotRestored, RestoreAsked, Restored};
use crate::queue::sqlite::{Options, RestoreError};

/// Backs up, restores, salvages or copies the store.
#[derive(Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    Backup(backup::BackupArgs),
    Restore(RestoreArgs),
    Salvage(salvage::SalvageArgs),
    Copy(copy::CopyArgs),
}

/// Replaces the store with a copy, while no gateway runs.
///
/// Checks the copy first, and keeps the current store beside it, under a name with `.replaced-`. Leads that are queued
/// in the copy may have been delivered since, so they are held as `restored` until an operator sends or drops them.
/// Leads accepted after the copy was made aren't in it.
#[derive(Args, Debug)]
struct RestoreArgs {
    /// A copy made by [backup] or `formgate store backup`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// Send the leads that are queued in the copy; some may arrive twice
    #[arg(long, conflicts_with = "hold")]
    send: bool,
    /// Hold the leads that are queued in the copy (the default)
    #[arg(long)]
    hold: bool,
    /// Restore even if the current store has queued or held leads
    #[arg(long)]
    force: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: DetailFormat,
}

pub(super) fn run(args: &StoreArgs, console: &mut Console) -> Result<Exit, Error> {
    block_on(async {
        match &args.command {
            StoreCommand::Backup(args) => backup::run(args, console).await,
            StoreCommand::Restore(args) => restore(args, console).await,
            StoreCommand::Salvage(args) => salvage::run(args, console).await,
            StoreCommand::Copy(args) => copy::run(args, console).await,
        }
    })
}

async fn restore(args: &RestoreArgs, console: &mut Console) -> Result<Exit, Error> {
    let config = read_config(&args.config, console)?;
    let StoreUrl::Sqlite(store) = &config.queue.url else {
        let error = Error::config(anyhow!("[queue].url isn't a file, so there is nothing to restore"));
        return Err(error.hint("a PostgreSQL store is restored with the database's own tools"));
    };
    let asked = RestoreAsked {
        store,
        copy: &args.file,
        hold: (!args.send).then_some(config.queue.keep.held),
        force: args.force,
        options: options(&config),
    };
    let restored = operate::restore(asked, &Audit::of(&config), Actor::Cli, Timestamp::now()).await;
    let restored = restored.map_err(not_restored)?;
    match args.output {
        DetailFormat::Json => console.json(&restored)?,
        DetailFormat::Table => show(args, &restored, console)?,
    }
    Ok(Exit::Ok)
}

fn options(config: &Config) -> Options {
    // What is restored may be larger than what may be appended to.
    Options { dedupe_window: config.queue.dedupe, max_size: None, opened_at: Timestamp::now() }
}

fn show(args: &RestoreArgs, restored: &Restored, console: &mut Console) -> Result<(), Error> {
    let file = shown::line(&args.file.display().to_string());
    console.data(format!("restored {} from {file}", plural(restored.entries, "entry")))?;
    if restored.held > 0 {
        console.data(format!(
            "{} queued in the copy may have been delivered since: held as `restored`",
            leads_were(restored.held)
        ))?;
        console.say("  look for them in KaiCalls, then:  formgate leads retry --reason restored  (or leads drop)");
    }
    if restored.queued > 0 {
        console.data(format!(
            "{} queued and will be sent; those delivered after the copy was made arrive twice",
            leads_are(restored.queued)
        ))?;
    }
    if let Some(former) = &restored.former {
        let former = shown::line(&former.display().to_string());
        console.data(format!(
            "the replaced store is {former}; it contains visitors' data: delete it when you no longer need it"
        ))?;
    }
    console.say("leads accepted after the copy was made aren't in it; `formgate serve` continues from here");
    Ok(())
}

fn leads_were(leads: u64) -> String {
    if leads == 1 { "1 lead that was".to_owned() } else { format!("{leads} leads that were") }
}

fn leads_are(leads: u64) -> String {
    if leads == 1 { "1 lead is".to_owned() } else { format!("{leads} leads are") }
}

fn not_restored(error: NotRestored) -> Error {
    match error {
        NotRestored::Missed { .. } => Error::missing(error).hint(
            "nothing was changed; `formgate leads export` saves them, --force restores anyway and keeps the current \
             store beside the new one",
        ),
        NotRestored::Restore(RestoreError::InUse { .. }) => {
            Error::store(error).hint("stop the gateway (SIGTERM), restore, and start it again; nothing was changed")
        }
        NotRestored::Restore(RestoreError::Copy { .. }) => {
            Error::store(error).hint("nothing was changed; try another copy (their names sort by time)")
        }
        NotRestored::Restore(RestoreError::Same { .. } | RestoreError::NotAFile { .. }) => Error::usage(error),
        error => Error::store(error),
    }
}

//! `formgate leads`.

mod amend;

mod args;

pub(super) mod backup;

mod capture;

mod desk;

mod discard;

mod erase;

mod export;

mod gateway;

mod list;

mod remote;

mod results;

mod retry;

pub(super) mod salvage;

mod show;

mod trace;

mod view;

use clap::{Args, Subcommand};

pub(super) use args::DetailFormat;
pub(super) use gateway::{find_gateway, gateway, read_config, read_config_as_gateway};
pub(super) use remote::{Opened, Remote};
pub(super) use view::{ID_SHORT, duration, plural};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::runtime::block_on;

/// Shows what became of submissions, and lets you retry, correct, drop or erase them.
///
/// Works through the running gateway's admin API, or on the store itself if no gateway runs.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct LeadsArgs {
    #[command(subcommand)]
    command: LeadsCommand,
}

const HELP: &str = "\
Examples:
  formgate leads list --group reason              what needs a person, by cause
  formgate leads list --state held --since 7d     what was held in the last week
  formgate leads show 0198c0de-1234               one lead (a unique prefix of its id)
  formgate leads retry --site acme --dry-run      what the fixed mapping would make of them
  formgate leads retry --site acme                do it
  formgate leads erase --email jane@example.com   remove everything about one person";

// In the order in which they are needed.
#[derive(Subcommand)]
enum LeadsCommand {
    List(list::LeadListArgs),
    Show(show::ShowArgs),
    Trace(trace::TraceArgs),
    Retry(retry::RetryArgs),
    Amend(amend::AmendArgs),
    Drop(discard::DropArgs),
    Export(export::ExportArgs),
    Capture(capture::CaptureArgs),
    Erase(erase::EraseArgs),
    Salvage(salvage::SalvageArgs),
    Backup(backup::BackupArgs),
}

pub(super) fn run(args: &LeadsArgs, console: &mut Console) -> Result<Exit, Error> {
    block_on(async {
        match &args.command {
            LeadsCommand::List(args) => list::run(args, console).await,
            LeadsCommand::Show(args) => show::run(args, console).await,
            LeadsCommand::Trace(args) => trace::run(args, console).await,
            LeadsCommand::Retry(args) => retry::run(args, console).await,
            LeadsCommand::Amend(args) => amend::run(args, console).await,
            LeadsCommand::Drop(args) => discard::run(args, console).await,
            LeadsCommand::Export(args) => export::run(args, console).await,
            LeadsCommand::Capture(args) => capture::run(args, console).await,
            LeadsCommand::Erase(args) => erase::run(args, console).await,
            LeadsCommand::Salvage(args) => salvage::run(args, console).await,
            LeadsCommand::Backup(args) => backup::run(args, console).await,
        }
    })
}

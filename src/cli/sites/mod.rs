//! `formgate sites`.

mod add;

mod file_error;

pub(super) mod find;

mod import;

mod list;

mod new_site;

mod pause;

mod plugins;

mod remove;

mod row;

mod running;

mod show;

pub(super) mod token;

use clap::{Args, Subcommand};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;

/// Adds, lists, shows, pauses and removes sites, and makes tokens for them.
#[derive(Args)]
pub(super) struct SitesArgs {
    #[command(subcommand)]
    command: SitesCommand,
}

#[derive(Subcommand)]
enum SitesCommand {
    Add(add::AddArgs),
    Import(import::ImportArgs),
    List(list::SiteListArgs),
    Show(show::SiteShowArgs),
    Token(token::TokenArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Remove(remove::RemoveArgs),
}

pub(super) fn run(args: &SitesArgs, console: &mut Console) -> Result<Exit, Error> {
    match &args.command {
        SitesCommand::Add(args) => add::run(args, console),
        SitesCommand::Import(args) => import::run(args, console),
        SitesCommand::List(args) => list::run(args, console),
        SitesCommand::Show(args) => show::run(args, console),
        SitesCommand::Token(args) => token::run(args, console),
        SitesCommand::Pause(args) => pause::pause(args, console),
        SitesCommand::Resume(args) => pause::resume(args, console),
        SitesCommand::Remove(args) => remove::run(args, console),
    }
}

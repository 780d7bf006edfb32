//! `formgate sites`.

pub(super) mod edit;

pub(super) mod find;

mod list;

mod pause;

mod remove;

pub(super) mod replace;

mod row;

mod running;

mod show;

pub(super) mod token;

use clap::{Args, Subcommand};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;

/// Lists and shows sites, pauses or removes them, and makes tokens for them.
#[derive(Args)]
pub(super) struct SitesArgs {
    #[command(subcommand)]
    command: SitesCommand,
}

#[derive(Subcommand)]
enum SitesCommand {
    List(list::SiteListArgs),
    Show(show::SiteShowArgs),
    Token(token::TokenArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Remove(remove::RemoveArgs),
}

pub(super) fn run(args: &SitesArgs, console: &mut Console) -> Result<Exit, Error> {
    match &args.command {
        SitesCommand::List(args) => list::run(args, console),
        SitesCommand::Show(args) => show::run(args, console),
        SitesCommand::Token(args) => token::run(args, console),
        SitesCommand::Pause(args) => pause::pause(args, console),
        SitesCommand::Resume(args) => pause::resume(args, console),
        SitesCommand::Remove(args) => remove::run(args, console),
    }
}

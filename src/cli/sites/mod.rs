//! `formgate sites`.

pub(super) mod edit;

mod list;

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

/// Lists and shows sites, removes them, or makes tokens for them.
#[derive(Args, Debug)]
pub(super) struct SitesArgs {
    #[command(subcommand)]
    command: SitesCommand,
}

#[derive(Subcommand, Debug)]
enum SitesCommand {
    List(list::SiteListArgs),
    Show(show::SiteShowArgs),
    Remove(remove::RemoveArgs),
    Token(token::TokenArgs),
}

pub(super) fn run(args: &SitesArgs, console: &mut Console) -> Result<Exit, Error> {
    match &args.command {
        SitesCommand::List(args) => list::run(args, console),
        SitesCommand::Show(args) => show::run(args, console),
        SitesCommand::Remove(args) => remove::run(args, console),
        SitesCommand::Token(args) => token::run(args, console),
    }
}

//! `formgate notify`.

mod list;

mod test;

use clap::{Args, Subcommand};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;

/// Shows how the sinks of [[notify]] are doing, and tests them.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

const HELP: &str = "\
Examples:
  formgate notify test        sends a test event to each sink, and shows what came back
  formgate notify test ops    sends it to one sink
  formgate notify list        state, last error and backlog of each sink of the running gateway";

#[derive(Subcommand)]
enum NotifyCommand {
    Test(test::NotifyTestArgs),
    List(list::NotifyListArgs),
}

pub(super) fn run(args: &NotifyArgs, console: &mut Console) -> Result<Exit, Error> {
    match &args.command {
        NotifyCommand::Test(args) => test::run(args, console),
        NotifyCommand::List(args) => list::run(args, console),
    }
}

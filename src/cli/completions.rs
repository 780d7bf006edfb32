//! `formgate completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::console::Console;
use super::error::Error;
use super::exit::Exit;

/// Writes a completion script for a shell.
///
/// For bash: formgate completions bash > /etc/bash_completion.d/formgate
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, console: &mut Console) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "formgate", &mut script);
    console.bytes(&script)?;
    Ok(Exit::Ok)
}

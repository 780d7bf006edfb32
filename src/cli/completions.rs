//! `formgate completions`.

use clap::Args;
use clap_complete::Shell;

use super::console::Console;
use super::error::Error;
use super::exit::Exit;

/// Writes a completion script for a shell.
///
/// For bash, for example: `formgate completions bash > /etc/bash_completion.d/formgate`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell to write it for
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, console: &mut Console) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "formgate", &mut script);
    console.bytes(&script)?;
    Ok(Exit::Ok)
}

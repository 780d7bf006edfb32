//! `formgate keys`.

mod mint;

mod rotate;

mod tools;

mod verify;

mod written;

use clap::{Args, Subcommand};

use super::console::Console;
use super::error::Error;
use super::exit::Exit;
use super::runtime::block_on;

pub(in crate::cli) use tools::{AT_ONCE, OpenedKeys, failure, open, provisioner, say_in_vain};
pub(in crate::cli) use written::{relative_to, unreadable};

/// Mints, verifies and rotates the key pairs that leads are sent to KaiCalls with.
///
/// A secret goes from KaiCalls into a file of the secrets folder ([sites].secrets), readable only by its owner, and
/// nowhere else: not to the screen, a log or an argument.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

const HELP: &str = "\
Minting needs KaiCalls' standard API key in config.toml:
  [kaicalls]
  api_key = { env = \"KAICALLS_API_KEY\" }   # or { file = \"secrets/kaicalls_api_key\" }

Examples:
  formgate keys verify             does KaiCalls take the pairs of all sites?
  formgate keys mint acme          a pair for a site that has none
  formgate keys rotate acme        another pair in the place of the one in use, without a lost lead";

// In the order in which they are needed.
#[derive(Subcommand)]
enum KeysCommand {
    Verify(verify::VerifyArgs),
    Mint(mint::MintArgs),
    Rotate(rotate::RotateArgs),
}

pub(super) fn run(args: &KeysArgs, console: &mut Console) -> Result<Exit, Error> {
    block_on(async {
        match &args.command {
            KeysCommand::Verify(args) => verify::run(args, console).await,
            KeysCommand::Mint(args) => mint::run(args, console).await,
            KeysCommand::Rotate(args) => rotate::run(args, console).await,
        }
    })
}

//! `formgate sites token`.

mod add;

mod list;

mod revoke;

mod seen;

use clap::{Args, Subcommand};

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::lead::SiteId;
use crate::operate::SHOWN_DIGITS;

/// Makes a token for a site, lists tokens, or revokes one.
///
/// `formgate sites token SITE` is short for `formgate sites token add SITE`. A site may have several tokens, so that
/// a new one can be pasted everywhere before the old one is revoked.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_precedence_over_arg = true,
    after_help = HELP
)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    /// The site
    #[arg(value_parser = SiteId::parse, required = true)]
    site: Option<SiteId>,
    #[command(flatten)]
    options: add::TokenOptions,
}

const HELP: &str = "\
Examples:
  formgate sites token acme --note \"contact form\"     make one, and show the URL to paste
  formgate sites token list acme                      which there are, and when each was used
  formgate sites token revoke acme --note \"old form\"  refuse it from now on";

#[derive(Subcommand)]
enum TokenCommand {
    Add(add::TokenAddArgs),
    List(list::TokenListArgs),
    Revoke(revoke::TokenRevokeArgs),
}

/// What to say of a URL that works on this machine alone.
pub(in crate::cli) const LOCAL: &str = "this URL works on this machine only: set [server].public_url to the public \
                                        address, such as \"https://gate.agency.example\"";

pub(super) fn run(args: &TokenArgs, console: &mut Console) -> Result<Exit, Error> {
    match (&args.command, &args.site) {
        (Some(TokenCommand::List(args)), _) => list::run(args, console),
        (Some(TokenCommand::Revoke(args)), _) => revoke::run(args, console),
        (Some(TokenCommand::Add(args)), _) => add::run(&args.site, &args.options, console),
        (None, Some(site)) => add::run(site, &args.options, console),
        (None, None) => Err(Error::usage(anyhow::anyhow!("which site?")).hint("`formgate sites list` lists the sites")),
    }
}

/// Says how to take a token back that couldn't be shown: it is valid, and nobody knows it.
pub(in crate::cli) fn say_unseen(site: &SiteId, sha256: &str, console: &mut Console) {
    let digits = sha256.get(..SHOWN_DIGITS).unwrap_or(sha256);
    console.say(format!(
        "the token couldn't be shown, and is valid all the same: `formgate sites token revoke {site} {digits}` takes it \
         back, and `formgate sites token {site}` makes another"
    ));
}

/// Returns the beginning of a token's SHA-256, as it is shown.
fn digits(sha256: &[u8; 32]) -> String {
    hex::encode(sha256).chars().take(SHOWN_DIGITS).collect()
}

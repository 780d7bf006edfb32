//! `formgate sites token add`, and `formgate sites token SITE`.

use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use jiff::civil::Date;
use serde::Serialize;

use super::super::find::{FoundSite, find_site};
use super::{LOCAL, say_unseen};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::lead::SiteId;
use crate::operate::{MadeToken, write_token};

/// Makes a token for a site, and adds its SHA-256 to the site's file.
///
/// The token is shown only once and stored nowhere. Older tokens stay valid.
#[derive(Args)]
pub(super) struct TokenAddArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    pub(super) site: SiteId,
    #[command(flatten)]
    pub(super) options: TokenOptions,
}

/// The options of a new token.
#[derive(Args)]
pub(super) struct TokenOptions {
    #[command(flatten)]
    config: ConfigArg,
    /// What it is for; a note in the site's file
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The last day (UTC) on which it is valid, such as 2027-06-30
    #[arg(long, value_name = "DATE")]
    expires: Option<Date>,
    /// How to write the token
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What is shown once. No `Debug`: it holds the token.
#[derive(Serialize)]
struct TokenOutput<'a> {
    site: &'a SiteId,
    token: &'a str,
    /// Can be pasted where `[server].public_url` is set; else it is this machine's.
    url: String,
    url_with_token: String,
    sha256: &'a str,
    file: &'a Path,
}

pub(super) fn run(site: &SiteId, args: &TokenOptions, console: &mut Console) -> Result<Exit, Error> {
    if args.expires.is_some_and(|last| last < today()) {
        return Err(Error::usage(anyhow!("--expires is in the past")));
    }
    let FoundSite { loaded, file } = find_site(&args.config, site)?;
    let MadeToken { token, sha256 } = write_token(&file, site, args.note.as_deref(), args.expires, today())?;
    let token = token.expose();
    let server = loaded.server();
    let url = server.map_or_else(|| format!("https://YOUR-GATEWAY/hooks/{site}"), |it| it.hook_url(site));
    let url_with_token = format!("{url}?token={token}");
    let shown = TokenOutput { site, token, url, url_with_token, sha256: &sha256, file: &file };
    let told = match args.output {
        Format::Json => console.json(&shown),
        Format::Text => show(&shown, console),
    };
    if told.is_err() {
        say_unseen(site, &sha256, console);
    }
    told?;
    console.say(format!("its SHA-256 is now in {}; the token itself is stored nowhere", file.display()));
    if server.is_none_or(|server| server.public_url.is_none()) {
        console.say(LOCAL);
    }
    Ok(Exit::Ok)
}

fn show(shown: &TokenOutput<'_>, console: &mut Console) -> Result<(), Error> {
    let token = console.paint().bold(shown.token);
    console.data(format!("Token for {}:  {token}", shown.site))?;
    console.data("\nPaste into the plugin:\n")?;
    console.data(format!("  {}", shown.url_with_token))?;
    console.data("\nor, if the plugin can send headers:\n")?;
    console.data(format!("  {}\n  Authorization: Bearer {}", shown.url, shown.token))
}

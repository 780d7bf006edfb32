//! `formgate sites token`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use jiff::civil::Date;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::edit::{NewToken, edit_file, with_token};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, ConfigPart, Loaded, Sources, StandIn, StandInSource, known_names};
use crate::lead::SiteId;

/// Makes a token for a site, and adds its SHA-256 to the site's file.
///
/// The token is shown only once and stored nowhere. Older tokens stay valid.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
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

/// What to say of a URL that works on this machine alone.
pub(in crate::cli) const LOCAL: &str = "this URL works on this machine only: set [server].public_url to the public \
                                        address, such as \"https://gate.agency.example\"";

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

pub(super) fn run(args: &TokenArgs, console: &mut Console) -> Result<Exit, Error> {
    if args.expires.is_some_and(|last| last < today()) {
        return Err(Error::usage(anyhow!("--expires is in the past")));
    }
    let (path, loaded) = args.config.load()?;
    let file = file_of(&args.site, &loaded)?;
    // What is added to a file that lost its end would be taken for all there is: the tokens of before would be gone.
    let starting = config::start(&path, &Sources::process(), today());
    let is_it = |part: &StandIn| part.part == ConfigPart::Site(args.site.clone()) && part.by == StandInSource::LastGood;
    if starting.stand_ins.iter().any(is_it) {
        let error =
            Error::config(anyhow!("site `{}` uses its last-good version, because its file is broken", args.site));
        return Err(error.hint(format!("fix {} first; `formgate check` shows what is wrong", file.display())));
    }
    let token = fresh();
    let sha256 = hash(&token);
    let new = NewToken { sha256: &sha256, note: args.note.as_deref(), expires: args.expires };
    edit_file(&file, &args.site, |text| with_token(text, args.site.as_str(), &new))?;
    let server = loaded.server();
    let url = server.map_or_else(|| format!("https://YOUR-GATEWAY/hooks/{}", args.site), |it| it.hook_url(&args.site));
    let url_with_token = format!("{url}?token={token}");
    let shown = TokenOutput { site: &args.site, token: &token, url, url_with_token, sha256: &sha256, file: &file };
    match args.output {
        Format::Json => console.json(&shown)?,
        Format::Text => show(&shown, console)?,
    }
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

/// Finds the file in which a site is written, also where it can't be used yet because its keys are missing.
fn file_of(site: &SiteId, loaded: &Loaded) -> Result<PathBuf, Error> {
    let sound = loaded.sound_sites().map(|site| (&site.id, &site.file));
    let broken = loaded.broken_sites.iter().filter_map(|site| Some((site.id.as_ref()?, &site.file)));
    let all: Vec<_> = sound.chain(broken).collect();
    let mut files = all.iter().filter(|(id, _)| *id == site).map(|(_, file)| *file);
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file.clone()),
        (Some(_), Some(_)) => {
            let error = Error::config(anyhow!("more than one site has the id `{site}`"));
            Err(error.hint("`formgate check` shows where"))
        }
        (None, _) => {
            let hint = match all.is_empty() {
                true => {
                    format!(
                        "write sites/{site}.toml first; `formgate check` shows what is wrong with the existing files"
                    )
                }
                false => known_names(site.as_str(), all.iter().map(|(id, _)| id.as_str())),
            };
            Err(Error::usage(anyhow!("there is no site `{site}`")).hint(hint))
        }
    }
}

/// Makes a token nobody can guess.
pub(in crate::cli) fn fresh() -> String {
    format!("fg_{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Returns a token's SHA-256 in hexadecimal: all that is kept of it.
pub(in crate::cli) fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

//! `formgate sites token list`.

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::find::file_of;
use super::digits;
use super::seen::{LastUsed, Seen};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::runtime::block_on;
use crate::cli::{shown, table};
use crate::config::{Site, Token};
use crate::lead::SiteId;

/// Longest note in the table, in characters.
const NOTE_MAX: usize = 40;

/// Lists the tokens of a site, or of all sites: notes, last days, and when each was last used.
///
/// The tokens themselves are stored nowhere: each is shown by the first 12 digits of its SHA-256, by which
/// `formgate sites token revoke` takes it. Only the running gateway knows when a token was last used.
#[derive(Args)]
pub(super) struct TokenListArgs {
    /// The site [default: all]
    #[arg(value_parser = SiteId::parse)]
    site: Option<SiteId>,
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct TokenRow<'a> {
    site: &'a SiteId,
    /// Its first digits.
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Date>,
    expired: bool,
    /// Absent where it isn't known or was never.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Timestamp>,
    /// Whether the gateway could be asked.
    #[serde(skip)]
    is_use_known: bool,
}

pub(super) fn run(args: &TokenListArgs, console: &mut Console) -> Result<Exit, Error> {
    let (_, loaded) = args.config.load()?;
    if let Some(site) = &args.site {
        let file = file_of(site, &loaded)?;
        if loaded.usable_sites().all(|usable| usable.id != *site) {
            let error = Error::config(anyhow!("site `{site}` has errors"));
            return Err(error.hint(format!("`formgate check` shows what is wrong with {}", file.display())));
        }
    }
    let wanted = |site: &&Site| args.site.as_ref().is_none_or(|wanted| site.id == *wanted);
    let mut sites: Vec<&Site> = loaded.usable_sites().filter(wanted).collect();
    sites.sort_by(|a, b| a.id.cmp(&b.id));
    let mut rows = Vec::new();
    block_on(async {
        let mut seen = Seen::of(&args.config, args.admin.as_deref(), console).await;
        for site in &sites {
            let used = seen.last_used(&site.id, console).await;
            rows.extend(site.tokens.iter().map(|token| TokenRow::of(site, token, used.as_ref())));
        }
        Ok(())
    })?;
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text if rows.is_empty() => console.say("there is no token; `formgate sites token SITE` makes one"),
        Format::Text => show(&rows, console)?,
    }
    Ok(Exit::Ok)
}

fn show(rows: &[TokenRow<'_>], console: &mut Console) -> Result<(), Error> {
    let head = ["SITE", "SHA256", "NOTE", "EXPIRES", "LAST USED"].map(str::to_owned).to_vec();
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(TokenRow::cells)).collect();
    table::aligned(&cells).into_iter().try_for_each(|line| console.data(line))
}

impl<'a> TokenRow<'a> {
    fn of(site: &'a Site, token: &'a Token, used: Option<&LastUsed>) -> Self {
        let sha256 = digits(&token.sha256);
        Self {
            site: &site.id,
            note: token.note.as_deref(),
            expires: token.expires,
            expired: token.expires.is_some_and(|last| last < today()),
            last_used: used.and_then(|used| used.get(&sha256)).copied(),
            is_use_known: used.is_some(),
            sha256,
        }
    }

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let expires = self.expires.map_or_else(|| "never".to_owned(), |last| last.to_string());
        let used = match self.last_used {
            Some(at) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string(),
            None if self.is_use_known => "never".to_owned(),
            None => dash(),
        };
        vec![
            self.site.to_string(),
            self.sha256.clone(),
            self.note.map_or_else(dash, |note| shown::short(note, NOTE_MAX)),
            if self.expired { format!("{expires} (expired)") } else { expires },
            used,
        ]
    }
}

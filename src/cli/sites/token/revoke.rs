//! `formgate sites token revoke`.

use anyhow::anyhow;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::find::{FoundSite, find_site};
use super::digits;
use super::seen::Seen;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::{duration, plural};
use crate::cli::rules::{ConfigArg, today};
use crate::cli::runtime::block_on;
use crate::cli::shown;
use crate::config::Token;
use crate::lead::SiteId;
use crate::operate::sites_file::{EditLock, Edited, without_token};
use crate::operate::{SHOWN_DIGITS, token_hash};

/// A token used within this time is probably still pasted somewhere.
const LATELY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Fewer digits are too easily another token's.
const DIGITS_MIN: usize = 6;

/// Revokes a token: it goes out of the site's file, and posts with it are refused.
///
/// The running gateway picks the change up within seconds. Make a new token first, and paste it wherever the old one
/// is used: `formgate sites token list` shows when that was last the case.
#[derive(Args)]
pub(super) struct TokenRevokeArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
    /// The token (fg_…), or at least 6 digits of its SHA-256 as `formgate sites token list` shows them
    #[arg(value_name = "TOKEN", required_unless_present = "note")]
    token: Option<String>,
    /// The token with this note instead
    #[arg(long, value_name = "TEXT", conflicts_with = "token")]
    note: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// The running gateway's admin API [default: its socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Revoked<'a> {
    site: &'a SiteId,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Timestamp>,
    /// The site's tokens that are still valid.
    valid_left: usize,
}

pub(super) fn run(args: &TokenRevokeArgs, console: &mut Console) -> Result<Exit, Error> {
    let FoundSite { loaded, file } = find_site(&args.config, &args.site)?;
    let Some(site) = loaded.usable_sites().find(|site| site.id == args.site) else {
        let error = Error::config(anyhow!("site `{}` has errors", args.site));
        return Err(error.hint(format!("`formgate check` shows what is wrong with {}", file.display())));
    };
    let token = args.choose(&site.tokens)?;
    let used = block_on(async {
        let mut seen = Seen::of(&args.config, args.admin.as_deref(), console).await;
        Ok(seen.last_used(&args.site, console).await)
    })?;
    let last_used = used.as_ref().and_then(|used| used.get(&digits(&token.sha256))).copied();
    let edited = EditLock::of(&file, today())?
        .edit(&args.site, |text| without_token(text, args.site.as_str(), &hex::encode(token.sha256)))?;
    if edited == Edited::Unchanged {
        return Err(Error::config(anyhow!("{} changed at the same time", file.display())).hint("run this again"));
    }
    let is_valid = |other: &&Token| other.sha256 != token.sha256 && other.expires.is_none_or(|last| last >= today());
    let valid_left = site.tokens.iter().filter(is_valid).count();
    let (sha256, note) = (digits(&token.sha256), token.note.as_deref());
    let revoked = Revoked { site: &args.site, sha256, note, last_used, valid_left };
    match args.output {
        Format::Json => console.json(&revoked)?,
        Format::Text => console.data(format!("{} is no longer a token of {}", described(token), args.site))?,
    }
    for line in revoked.warnings(!site.wpforms_secrets.is_empty()) {
        console.say(line);
    }
    Ok(Exit::Ok)
}

impl TokenRevokeArgs {
    /// Finds the one that is meant.
    fn choose<'a>(&self, tokens: &'a [Token]) -> Result<&'a Token, Error> {
        let site = &self.site;
        let is_meant = |token: &&Token| match (&self.token, &self.note) {
            (Some(given), _) if given.starts_with("fg_") => hex::encode(token.sha256) == token_hash(given),
            (Some(given), _) => hex::encode(token.sha256).starts_with(&given.to_ascii_lowercase()),
            (None, note) => token.note == *note,
        };
        let is_hex = |given: &str| given.len() >= DIGITS_MIN && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.token.as_deref().is_some_and(|given| !given.starts_with("fg_") && !is_hex(given)) {
            let error = Error::usage(anyhow!("not a token, nor {DIGITS_MIN} or more digits of its SHA-256"));
            return Err(error.hint(format!("`formgate sites token list {site}` shows the digits")));
        }
        let meant: Vec<&Token> = tokens.iter().filter(is_meant).collect();
        // Listed twice, it is one token all the same: the second run takes out the second.
        match meant.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other.sha256 == first.sha256) => Ok(first),
            [] => Err(Error::usage(anyhow!("site `{site}` has no such token; nothing was changed"))
                .hint(format!("`formgate sites token list {site}` lists its tokens"))),
            several => {
                let names: Vec<_> = several.iter().map(|token| described(token)).collect();
                let error = Error::usage(anyhow!("{} fit: {}", plural(names.len() as u64, "token"), names.join(", ")));
                Err(error.hint(format!("name one by its first {SHOWN_DIGITS} digits")))
            }
        }
    }
}

fn described(token: &Token) -> String {
    let note = token.note.as_deref().map(|note| format!(" ({})", shown::short(note, 40)));
    format!("{}{}", digits(&token.sha256), note.unwrap_or_default())
}

impl Revoked<'_> {
    fn warnings(&self, takes_signatures: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if self.valid_left == 0 && !takes_signatures {
            lines.push(format!(
                "it was the last valid token: no form can post to {site} until you run `formgate sites token {site}`",
                site = self.site
            ));
        }
        let ago = self.last_used.map(|at| Timestamp::now().duration_since(at)).filter(|ago| *ago < LATELY);
        if let Some(ago) = ago {
            let ago = duration(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
            lines.push(format!("it was last used {ago} ago: forms that still have it are refused from now on"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(token: Option<&str>, note: Option<&str>) -> TokenRevokeArgs {
        TokenRevokeArgs {
            site: SiteId::parse("acme").expect("an id"),
            token: token.map(str::to_owned),
            note: note.map(str::to_owned),
            config: ConfigArg::default(),
            admin: None,
            output: Format::Text,
        }
    }

    #[test]
    fn a_token_is_named_by_itself_by_its_digits_or_by_its_note() {
        let token = |first: u8, note: &str| Token {
            sha256: std::array::from_fn(|at| if at < 3 { first } else { at as u8 }),
            note: Some(note.to_owned()),
            expires: None,
        };
        let mut tokens = vec![token(0xaa, "old"), token(0xbb, "new"), token(0xbb, "new")];
        hex::decode_to_slice(token_hash("fg_x"), &mut tokens[2].sha256).expect("a hash");
        tokens[2].note = Some("third".to_owned());
        let chosen = |token, note| {
            let args = args(token, note);
            let chosen = args.choose(&tokens).map(|token| token.note.clone().unwrap_or_default());
            chosen.map_err(|error| error.render())
        };
        assert_eq!(chosen(Some("AAAAAA"), None).as_deref(), Ok("old"));
        assert_eq!(chosen(Some("fg_x"), None).as_deref(), Ok("third"));
        assert_eq!(chosen(None, Some("new")).as_deref(), Ok("new"));
        for (token, note) in [(Some("aaaaa"), None), (Some("cccccc"), None), (Some("fg_y"), None), (None, Some("x"))] {
            assert!(chosen(token, note).is_err(), "{token:?} {note:?}");
        }
    }

    #[test]
    fn two_tokens_that_fit_are_both_named() {
        let token = |last: u8| Token {
            sha256: [0xaa, 0xbb, 0xcc, last].repeat(8).try_into().expect("32"),
            note: None,
            expires: None,
        };
        let error = args(Some("aabbcc"), None).choose(&[token(1), token(2)]).expect_err("two fit");
        assert!(error.render().contains("2 tokens fit: aabbcc01aabb, aabbcc02aabb"), "{}", error.render());
    }
}

//! `token add`: a token for a site, shown once; the site's file keeps its SHA-256.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use super::OperateError;
use super::audit::{Act, Actor, Audit};
use super::sites_file::{EditLock, SiteFileError, WrittenToken, with_token};
use crate::config::{self, Config, Site, Sources, WrittenSite};
use crate::destination::Secret;
use crate::lead::{FormId, SiteId};
use crate::telemetry::{self, Panicked};

/// Longest note, in characters: it stands in tables.
const NOTE_MAX: usize = 200;
/// So many hexadecimal digits of a token's SHA-256 are shown, which tell it from every other.
pub const SHOWN_DIGITS: usize = 12;

/// A token that was made, and where to paste it. No `Debug`: it is the only place that knows the token.
pub struct NewToken {
    pub token: Secret,
    /// The first 12 digits, by which lists name the token.
    pub sha256: String,
    /// To paste where only a URL can be given: it holds the token.
    pub webhook_url: String,
    /// Without the token, for plugins that send it in a header.
    pub plain_url: String,
    pub note: Option<String>,
}

/// A token, and what a site's file keeps of it. No `Debug`.
pub struct MadeToken {
    pub token: Secret,
    /// All of it, in hexadecimal.
    pub sha256: String,
}

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    #[error("`expires` is in the past")]
    Expired,
    #[error("`note` must be one line of at most {NOTE_MAX} characters")]
    Note,
    #[error("there is no site `{0}` in the configuration")]
    NoSite(SiteId),
    #[error(
        "site `{site}` uses its last-good version; fix {} first (`formgate check` shows what is wrong)",
        file.display()
    )]
    LastGood { site: SiteId, file: PathBuf },
    #[error("{} has changed and isn't in force yet; try again in a few seconds", .0.display())]
    Changed(PathBuf),
    #[error("no token was added; {cure}")]
    File {
        cure: String,
        #[source]
        source: SiteFileError,
    },
    #[error("no token was added")]
    Panicked(#[from] Panicked),
}

/// Makes a token for a site of the running configuration, and adds its SHA-256 to the site's file. Older tokens stay valid.
///
/// The token is valid once the gateway has read the file again. It does so by itself, as with any other change of its
/// files: it looks every second, and reads what two looks in a row found the same.
pub async fn add_token(
    config: &Config,
    site: &SiteId,
    note: Option<&str>,
    expires: Option<Date>,
    audit: &Audit,
    by: Actor,
    now: Timestamp,
) -> Result<NewToken, OperateError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let file = check(config, site, note, expires, today)?;
    let plain_url = config.server.hook_url(site);
    let begun = audit.begin(Act::site("token-add", by, site), now).await?;
    let asked = AskedToken {
        in_force: InForce::of(config, site),
        file,
        site: site.clone(),
        note: note.map(str::to_owned),
        expires,
        today,
    };
    let made = telemetry::blocking(move || asked.add()).await.unwrap_or_else(|panicked| Err(panicked.into()));
    begun.end(0, made.is_ok(), now).await?;
    let MadeToken { token, sha256 } = made?;
    let sha256 = sha256.chars().take(SHOWN_DIGITS).collect();
    let webhook_url = format!("{plain_url}?token={}", token.expose());
    Ok(NewToken { token, sha256, webhook_url, plain_url, note: note.map(str::to_owned) })
}

/// Refuses what can be refused before anything is written, and returns the site's file.
fn check(
    config: &Config,
    site: &SiteId,
    note: Option<&str>,
    expires: Option<Date>,
    today: Date,
) -> Result<PathBuf, BadToken> {
    if expires.is_some_and(|last| last < today) {
        return Err(BadToken::Expired);
    }
    let is_line =
        |note: &str| !note.trim().is_empty() && note.chars().count() <= NOTE_MAX && !note.chars().any(char::is_control);
    if note.is_some_and(|note| !is_line(note)) {
        return Err(BadToken::Note);
    }
    let found = config.sites.get(site).ok_or_else(|| BadToken::NoSite(site.clone()))?;
    // What is added to a file that lost its end would be taken for all there is.
    if config.broken_sites.contains(site) {
        return Err(BadToken::LastGood { site: site.clone(), file: found.file.clone() });
    }
    Ok(found.file.clone())
}

/// What is to be added, and to what.
struct AskedToken {
    file: PathBuf,
    site: SiteId,
    in_force: InForce,
    note: Option<String>,
    expires: Option<Date>,
    today: Date,
}

/// What the gateway has of a site, as far as a file that was cut short would lack it.
#[derive(Default)]
struct InForce {
    tokens: Vec<[u8; 32]>,
    forms: Vec<FormId>,
}

impl AskedToken {
    fn add(&self) -> Result<MadeToken, BadToken> {
        let Self { file, site, .. } = self;
        let failed = |source| BadToken::file(file, site, source);
        let lock = EditLock::of(file, self.today).map_err(failed)?;
        let text = lock.read().map_err(failed)?;
        let written = config::written_site(file, &text, site, &Sources::process(), self.today);
        if !written.is_some_and(|written| self.in_force.is_in(&written)) {
            return Err(BadToken::Changed(file.to_owned()));
        }
        write_under(&lock, site, self.note.as_deref(), self.expires).map_err(failed)
    }
}

impl InForce {
    fn of(config: &Config, site: &SiteId) -> Self {
        let of_site = |site: &Site| Self {
            tokens: site.tokens.iter().map(|token| token.sha256).collect(),
            forms: site.rules.forms.iter().map(|form| form.id.clone()).collect(),
        };
        config.sites.get(site).map(|site| of_site(site)).unwrap_or_default()
    }

    fn is_in(&self, written: &WrittenSite) -> bool {
        let Some(site) = &written.site else { return false };
        let has_token = |token: &[u8; 32]| site.tokens.iter().any(|written| written.sha256 == *token);
        let has_form = |form: &FormId| site.rules.forms.iter().any(|written| written.id == *form);
        self.tokens.iter().all(has_token) && self.forms.iter().all(has_form)
    }
}

impl BadToken {
    fn file(file: &Path, site: &SiteId, source: SiteFileError) -> Self {
        // As a service the gateway is often kept from writing below /etc.
        let by_hand = || {
            let file = file.display();
            format!("run `formgate sites token add {site}` on the gateway's machine, as a user who may write {file}")
        };
        Self::File { cure: source.cure().unwrap_or_else(by_hand), source }
    }
}

impl MadeToken {
    /// Makes a token nobody can guess.
    pub fn random() -> Self {
        let token = format!("fg_{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        Self { sha256: token_hash(&token), token: Secret::new(token) }
    }
}

/// Makes a token for a site, and adds its SHA-256 to a file: the part of [`add_token`] that needs no gateway.
pub fn write_token(
    file: &Path,
    site: &SiteId,
    note: Option<&str>,
    expires: Option<Date>,
    today: Date,
) -> Result<MadeToken, SiteFileError> {
    write_under(&EditLock::of(file, today)?, site, note, expires)
}

fn write_under(
    lock: &EditLock,
    site: &SiteId,
    note: Option<&str>,
    expires: Option<Date>,
) -> Result<MadeToken, SiteFileError> {
    let made = MadeToken::random();
    let kept = WrittenToken { sha256: &made.sha256, note, expires };
    lock.edit(site, |text| with_token(text, site.as_str(), &kept))?;
    Ok(made)
}

/// Returns a token's SHA-256 in hexadecimal: all that is kept of it.
pub fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

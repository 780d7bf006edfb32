//! `site.*`.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::{Reader, named};
use crate::config::{Config, Token};
use crate::lead::SiteId;
use crate::notify::alarm::{self, PausedAlarm};
use crate::notify::notice::{
    Data, ExpiringToken, FormSilent, PostsRefused, RefusedPost, SitePaused, SiteResumed, TokenExpiring,
};
use crate::notify::routing::Routed;
use crate::operate::{RefusedMistake, refused_posts};
use crate::queue::activity::{EPISODE_GAP, Mistake, TokenPrefix, form_prefix};
use crate::queue::{NoteKind, StoreError};

/// Tokens are told of so many days before they expire.
pub(in crate::notify) const TOKEN_DAYS: i32 = 14;

const KEYS_CURE: &str = "put the right key pair into the site's files; `formgate keys verify` tells whether it is";

pub(super) async fn paused(reader: &Reader, config: &Config, site: &SiteId, at: Timestamp) -> Result<Data, StoreError> {
    // What the alarm was raised with: by the time this is sent the keys may be taken again.
    let alarm: Option<PausedAlarm> = alarm::detail(&*reader.store, &alarm::paused_key(site)).await?;
    let alarm =
        alarm.unwrap_or_else(|| PausedAlarm { why: "the keys were refused".to_owned(), public_keys: Vec::new() });
    Ok(Data::SitePaused(SitePaused {
        site: named(config, site),
        why: alarm.why,
        public_keys: alarm.public_keys,
        since: at,
        queued: reader.queued(Some(site)).await?,
        cure: KEYS_CURE,
    }))
}

pub(super) async fn resumed(reader: &Reader, config: &Config, site: &SiteId) -> Result<Data, StoreError> {
    Ok(Data::SiteResumed(SiteResumed { site: named(config, site), queued: reader.queued(Some(site)).await? }))
}

/// Reads which posts were refused; none where there is no trace of them any more.
pub(super) async fn refused(
    reader: &Reader,
    config: &Config,
    site: &SiteId,
    at: Timestamp,
) -> Result<Option<Data>, StoreError> {
    let loses_none: Vec<_> =
        Mistake::ALL.into_iter().filter(|mistake| !mistake.loses_a_lead()).map(Mistake::as_str).collect();
    let refused = refused_posts(&*reader.store, site).await?.into_iter();
    let refused = refused.filter(|refused| !loses_none.contains(&refused.mistake.as_str()));
    // What was mended months ago is no news.
    let refused = refused.filter(|refused| at.duration_since(refused.last_at) < EPISODE_GAP);
    let refused: Vec<_> = refused.map(RefusedPost::from).collect();
    Ok((!refused.is_empty()).then(|| Data::PostsRefused(PostsRefused { site: named(config, site), refused })))
}

impl From<RefusedMistake> for RefusedPost {
    fn from(refused: RefusedMistake) -> Self {
        let RefusedMistake { mistake, status, count, first_at, last_at, host, agent, cure } = refused;
        Self { mistake, status, count, first_at, last_at, host, agent, cure }
    }
}

/// Reads when a form posted last; none where the event names no form.
pub(super) async fn form_silent(
    reader: &Reader,
    config: &Config,
    site: &SiteId,
    routed: &Routed,
) -> Result<Option<Data>, StoreError> {
    let Some(form) = &routed.form else { return Ok(None) };
    let key = format!("{}{form}", form_prefix(site));
    let notes = reader.store.notes(NoteKind::Form, &key, None, 1).await?;
    let last_at = notes.first().filter(|note| note.key.as_str() == key).map(|note| note.last_at);
    Ok(Some(Data::FormSilent(FormSilent { site: named(config, site), form: form.clone(), last_at })))
}

/// Lists the tokens that expire soon; none where there are none any more.
pub(super) fn token_expiring(config: &Config, id: &SiteId, now: Timestamp) -> Option<Data> {
    let site = config.sites.get(id)?;
    let tokens: Vec<_> = site
        .tokens
        .iter()
        .filter_map(|token| {
            Some(ExpiringToken {
                sha256: TokenPrefix::of(&token.sha256).to_string(),
                note: token.note.clone(),
                expires: expires_soon(token, now)?,
            })
        })
        .collect();
    let cure = format!("make a new one with `formgate sites token add {id}`, and paste its URL into the form plugin");
    (!tokens.is_empty()).then(|| Data::TokenExpiring(TokenExpiring { site: named(config, id), tokens, cure }))
}

/// Returns a token's last day where it is near, or was yesterday.
pub(in crate::notify) fn expires_soon(token: &Token, now: Timestamp) -> Option<Date> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let last = token.expires?;
    let is_near = last <= today.saturating_add(TOKEN_DAYS.days()) && last >= today.saturating_sub(1.day());
    is_near.then_some(last)
}

//! `site`: everything about one site.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::OperateError;
use super::figures::{Scope, each_note, windows_of};
use super::refusals::{RefusedMistake, refused_posts};
use super::sites::{SiteFacts, SiteSummary};
use super::waiting::Situation;
use super::widget::{WidgetAnswer, Widgets};
use crate::config::Site;
use crate::kaicalls::RecentLead;
use crate::lead::{FormId, SiteId};
use crate::queue::activity::{TokenPrefix, form_of_key, form_prefix, token_key};
use crate::queue::{Filter, NoteKind, Order, Store, StoreError};

/// Everything about a site. Names and order of its keys are a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteDetail {
    #[serde(flatten)]
    pub summary: SiteSummary,
    /// The forms that posted, the last first.
    pub forms: Vec<FormSeen>,
    pub tokens: Vec<TokenSeen>,
    /// For which mistakes posts were refused, the last one first.
    #[serde(default)]
    pub refused_posts: Vec<RefusedMistake>,
    /// What KaiCalls tells, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kaicalls: Option<KaiCallsWeek>,
}

/// A form that posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormSeen {
    pub id: FormId,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub count: u64,
    /// The mapping that its last post was read by.
    pub mapping: Option<String>,
}

/// A token, and when it was last used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSeen {
    /// The first 12 digits.
    pub sha256: String,
    pub note: Option<String>,
    pub expires: Option<Date>,
    pub last_used: Option<Timestamp>,
    pub count: u64,
}

/// KaiCalls' own figures of a site's business, beside formgate's. `Debug` shows no name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KaiCallsWeek {
    /// When KaiCalls was asked: up to an hour ago.
    pub asked_at: Timestamp,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    pub leads_this_week: Option<u64>,
    pub recent_leads: Vec<ShownLead>,
    /// What formgate had delivered in the seven days before `asked_at` with this public key: of this site and of
    /// `shared_with`, without what forms with other keys sent.
    pub delivered_7d: u64,
    /// Other sites with the same public key.
    pub shared_with: Vec<SiteId>,
    /// Whether both counts are the same; none where one of them isn't known.
    pub agrees: Option<bool>,
}

/// A lead in KaiCalls' list. `Debug` shows no name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownLead {
    pub name: String,
    pub created_at: String,
}

/// There is no such site, and never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such site: it is neither in the configuration nor in the store")]
pub struct NoSuchSite;

impl std::fmt::Debug for ShownLead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownLead").field("created_at", &self.created_at).finish_non_exhaustive()
    }
}

/// Shows a site; with `widgets` also what KaiCalls tells of it.
pub async fn site(
    store: &dyn Store,
    situation: &Situation,
    id: &SiteId,
    widgets: Option<&Widgets>,
) -> Result<SiteDetail, OperateError> {
    let facts = SiteFacts::read(store, Some(id), situation.now).await?;
    let site = situation.config.sites.get(id);
    if site.is_none() && !facts.has(id) && !situation.config.broken_sites.contains(id) {
        return Err(NoSuchSite.into());
    }
    let mut summary = facts.summary(id, situation);
    if summary.last_lead_at.is_none() {
        summary.last_lead_at = newest_entry(store, id).await?;
    }
    let tokens = match site {
        Some(site) => tokens(store, site).await?,
        None => Vec::new(),
    };
    let kaicalls = match (widgets, site) {
        (Some(widgets), Some(site)) => week(store, situation, site, widgets).await?,
        _ => None,
    };
    let refused_posts = refused_posts(store, id).await?;
    Ok(SiteDetail { summary, forms: forms(store, id).await?, tokens, refused_posts, kaicalls })
}

/// Returns when something of a site was stored last, as the leads themselves tell: some are older than the figures.
async fn newest_entry(store: &dyn Store, id: &SiteId) -> Result<Option<Timestamp>, StoreError> {
    let filter = Filter { site: Some(id.clone()), ..Filter::default() };
    let page = store.scan(&filter, Order::Newest, None, 1).await?;
    Ok(page.heads.first().map(|head| head.accepted_at))
}

async fn forms(store: &dyn Store, id: &SiteId) -> Result<Vec<FormSeen>, StoreError> {
    let mut forms = Vec::new();
    each_note(store, NoteKind::Form, &form_prefix(id), &mut |note| {
        let count = note.numbers.first().copied().unwrap_or_default();
        let seen = form_of_key(note.key.as_str()).map(|(_, form)| FormSeen {
            id: form,
            first_at: note.first_at,
            last_at: note.last_at,
            count,
            mapping: note.text,
        });
        forms.extend(seen);
    })
    .await?;
    forms.sort_by(|one, other| other.last_at.cmp(&one.last_at).then_with(|| one.id.cmp(&other.id)));
    Ok(forms)
}

async fn tokens(store: &dyn Store, site: &Site) -> Result<Vec<TokenSeen>, StoreError> {
    let mut seen = Vec::new();
    for token in &site.tokens {
        let prefix = TokenPrefix::of(&token.sha256);
        let used = store.notes(NoteKind::Token, &token_key(&site.id, prefix), None, 1).await?;
        seen.push(TokenSeen {
            sha256: prefix.to_string(),
            note: token.note.clone(),
            expires: token.expires,
            last_used: used.first().map(|note| note.last_at),
            count: used.first().and_then(|note| note.numbers.first().copied()).unwrap_or_default(),
        });
    }
    Ok(seen)
}

/// Counts what a site delivered in the last seven days with a public key. What belongs to no form that is counted by name
/// counts to the site's own.
async fn delivered_in_week(store: &dyn Store, site: &Site, public: &str, now: Timestamp) -> Result<u64, StoreError> {
    let is_sent_with = |form: Option<&FormId>| {
        let keys = form.map_or(site.keys.as_ref(), |form| site.keys_of(form));
        keys.is_some_and(|keys| keys.public() == public)
    };
    let windows = windows_of(store, Scope::Of(Some(&site.id)), now, |key| is_sent_with(key.form.as_ref())).await?;
    Ok(windows.get(&Some(site.id.clone())).map_or(0, |windows| windows.week.delivered))
}

/// Puts KaiCalls' figures of a site's key pair beside formgate's.
async fn week(
    store: &dyn Store,
    Situation { config, now, .. }: &Situation,
    site: &Site,
    widgets: &Widgets,
) -> Result<Option<KaiCallsWeek>, StoreError> {
    let Some(keys) = &site.keys else { return Ok(None) };
    let has_same = |other: &&std::sync::Arc<Site>| other.key_pairs().any(|(_, pair)| pair.public() == keys.public());
    let sharing = config.sites.values().filter(has_same).map(|other| &other.id);
    let shared_with: Vec<SiteId> = sharing.filter(|other| **other != site.id).cloned().collect();
    let count = async {
        let mut delivered = 0;
        for site in config.sites.values().filter(has_same) {
            delivered += delivered_in_week(store, site, keys.public(), *now).await?;
        }
        Ok::<_, StoreError>(delivered)
    };
    let WidgetAnswer { asked_at, widget, delivered_7d } = widgets.ask(keys, *now, count).await?;
    let (failed, widget) = match widget {
        Ok(widget) => (None, Some(widget)),
        Err(words) => (Some(words), None),
    };
    let leads_this_week = widget.as_ref().map(|widget| widget.leads_this_week);
    let shown = |RecentLead { name, created_at }| ShownLead { name, created_at };
    Ok(Some(KaiCallsWeek {
        asked_at,
        failed,
        leads_this_week,
        recent_leads: widget.map(|widget| widget.recent_leads.into_iter().map(shown).collect()).unwrap_or_default(),
        delivered_7d,
        shared_with,
        agrees: leads_this_week.map(|leads| leads == delivered_7d),
    }))
}

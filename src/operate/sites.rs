//! `sites`: a row for each site.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::figures::{Scope, Window, Windows, each_note, windows};
use super::refusals::last_mistake;
use super::status::{LastError, newest_errors};
use super::waiting::Situation;
use crate::config::Site;
use crate::lead::SiteId;
use crate::queue::activity::{form_of_key, form_prefix, refused_key};
use crate::queue::{Counts, NoteKind, PausedKeys, SendingStatus, State, Store, StoreError};

/// Most rows of a list.
const ROWS_MAX: usize = 20_000;

/// All sites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteList {
    pub now: Timestamp,
    /// By id: those of the configuration, and those that left it and still have leads.
    pub sites: Vec<SiteSummary>,
    /// Posts to sites that don't exist.
    pub unknown_sites: RefusedPosts,
    /// Sites for which there was no row any more.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: usize,
}

/// One site in a row. Names and order of its keys are a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSummary {
    pub id: SiteId,
    pub name: Option<String>,
    pub url: Option<String>,
    /// Where its forms post to.
    pub hook_url: String,
    pub state: SiteState,
    /// When something of it was stored last.
    pub last_lead_at: Option<Timestamp>,
    pub counts: StateCounts,
    pub last_24h: Window,
    pub last_7d: Window,
    pub key: KeyStatus,
    pub last_error: Option<SiteError>,
    pub refused: RefusedPosts,
}

/// How a site is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteState {
    Ok,
    /// KaiCalls refuses its keys.
    Paused,
    /// It has `deliver = false`.
    DeliveriesOff,
    /// Its keys can't be read.
    NoKeys,
    /// It is not in the configuration any more.
    Gone,
    /// Its file is broken or missing; its last-good version is in use, where there is one.
    Broken,
}

/// How many leads of a site are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCounts {
    pub queued: u64,
    pub held: u64,
    pub delivered: u64,
    pub dead: u64,
}

/// What is known of a site's key pair: the refused one, where a form has its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    pub public_key: Option<String>,
    pub state: KeyState,
    /// Since when it is refused.
    pub since: Option<Timestamp>,
}

/// Whether KaiCalls takes a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Something was delivered in the last seven days, and nothing was refused since.
    Ok,
    Refused,
    /// Nothing was sent in the last seven days, so nobody knows.
    Unknown,
    /// It can't be read.
    Missing,
}

/// The newest failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteError {
    pub at: Timestamp,
    pub words: String,
}

/// Posts to a site that were not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPosts {
    pub last_24h: u64,
    pub last_at: Option<Timestamp>,
    /// A word of a closed set, such as `unknown_token`.
    pub last_reason: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Lists the sites.
pub async fn sites(store: &dyn Store, situation: &Situation) -> Result<SiteList, StoreError> {
    let facts = SiteFacts::read(store, None, situation.now).await?;
    let config = &situation.config;
    let ids: BTreeSet<_> = config.sites.keys().chain(&config.broken_sites).chain(facts.counts.keys()).collect();
    Ok(SiteList {
        now: situation.now,
        sites: ids.iter().take(ROWS_MAX).map(|id| facts.summary(id, situation)).collect(),
        unknown_sites: facts.refused(None),
        left_out: ids.len().saturating_sub(ROWS_MAX),
    })
}

/// What the store knows of sites, by site.
pub(super) struct SiteFacts {
    counts: BTreeMap<SiteId, StateCounts>,
    windows: HashMap<Option<SiteId>, Windows>,
    last_leads: HashMap<SiteId, Timestamp>,
    last_refused: LastRefused,
    errors: BTreeMap<SiteId, LastError>,
}

impl SiteFacts {
    /// Reads what there is of all sites, or of one.
    pub(super) async fn read(store: &dyn Store, site: Option<&SiteId>, now: Timestamp) -> Result<Self, StoreError> {
        let scope = site.map_or(Scope::AllSites, |site| Scope::Of(Some(site)));
        // The store reads for one while the others count.
        let (counts, last_leads, last_refused, windows, errors) = tokio::try_join!(
            counts(store, site),
            last_leads(store, site),
            last_refused(store, site),
            windows(store, scope, now),
            newest_errors(store, site, now),
        )?;
        Ok(Self { counts, windows, last_leads, last_refused, errors })
    }

    /// Tells whether there is anything of a site.
    pub(super) fn has(&self, id: &SiteId) -> bool {
        self.counts.contains_key(id)
    }

    pub(super) fn summary(&self, id: &SiteId, Situation { config, sending, .. }: &Situation) -> SiteSummary {
        let site = config.sites.get(id).map(std::convert::AsRef::as_ref);
        let Windows { day, week } = self.windows.get(&Some(id.clone())).copied().unwrap_or_default();
        let sending = sending.as_ref();
        let paused = sending.and_then(|sending| sending.paused_sites.get(id)?.first());
        SiteSummary {
            id: id.clone(),
            name: site.and_then(|site| site.name.clone()),
            url: site.and_then(|site| site.url.clone()),
            hook_url: config.server.hook_url(id),
            state: if config.broken_sites.contains(id) { SiteState::Broken } else { state(site, paused) },
            last_lead_at: self.last_leads.get(id).copied(),
            counts: self.counts.get(id).copied().unwrap_or_default(),
            last_24h: day,
            last_7d: week,
            key: key(site, paused, week),
            last_error: self.last_error(id, sending),
            refused: self.refused(Some(id)),
        }
    }

    fn last_error(&self, id: &SiteId, sending: Option<&SendingStatus>) -> Option<SiteError> {
        if let Some(LastError { at, words, .. }) = self.errors.get(id) {
            return Some(SiteError { at: *at, words: words.clone() });
        }
        // The lead that failed may be further back than is looked.
        let sending = sending?;
        let paused = sending.paused_sites.get(id).and_then(|keys| keys.first()).map(|keys| &keys.holdup);
        let holdup = paused.or_else(|| sending.failing_sites.get(id))?;
        Some(SiteError { at: holdup.since, words: holdup.why.clone() })
    }

    fn refused(&self, site: Option<&SiteId>) -> RefusedPosts {
        let last_24h = self.windows.get(&site.cloned()).map_or(0, |windows| windows.day.refused);
        let (last_at, last_reason) = match self.last_refused.get(&refused_key(site)) {
            Some((at, reason)) => (Some(*at), reason.clone()),
            None => (None, None),
        };
        RefusedPosts { last_24h, last_at, last_reason }
    }
}

async fn counts(store: &dyn Store, site: Option<&SiteId>) -> Result<BTreeMap<SiteId, StateCounts>, StoreError> {
    let is_meant = |counted: &SiteId| site.is_none_or(|site| site == counted);
    let mut counts: BTreeMap<SiteId, StateCounts> = BTreeMap::new();
    for Counts { site, state, entries, .. } in store.counts().await? {
        if entries > 0 && is_meant(&site) {
            counts.entry(site).or_default().set(state, entries);
        }
    }
    Ok(counts)
}

/// Reads when something of each site was stored last.
async fn last_leads(store: &dyn Store, site: Option<&SiteId>) -> Result<HashMap<SiteId, Timestamp>, StoreError> {
    let mut last_leads: HashMap<SiteId, Timestamp> = HashMap::new();
    let prefix = site.map(form_prefix).unwrap_or_default();
    each_note(store, NoteKind::Form, &prefix, &mut |note| {
        if let Some((site, _)) = form_of_key(note.key.as_str()) {
            let last = last_leads.entry(site).or_insert(note.last_at);
            *last = (*last).max(note.last_at);
        }
    })
    .await?;
    Ok(last_leads)
}

/// When a post was refused last, and for what, by the key of its note.
type LastRefused = HashMap<String, (Timestamp, Option<String>)>;

async fn last_refused(store: &dyn Store, site: Option<&SiteId>) -> Result<LastRefused, StoreError> {
    let mut last_refused = HashMap::new();
    let prefix = site.map(|site| refused_key(Some(site))).unwrap_or_default();
    each_note(store, NoteKind::Refused, &prefix, &mut |note| {
        last_refused.insert(note.key.to_string(), (note.last_at, last_mistake(&note)));
    })
    .await?;
    Ok(last_refused)
}

impl StateCounts {
    fn set(&mut self, state: State, entries: u64) {
        match state {
            State::Queued => self.queued = entries,
            State::Held => self.held = entries,
            State::Delivered => self.delivered = entries,
            State::Dead => self.dead = entries,
        }
    }
}

fn state(site: Option<&Site>, paused: Option<&PausedKeys>) -> SiteState {
    match site {
        None => SiteState::Gone,
        Some(site) if !site.deliver => SiteState::DeliveriesOff,
        Some(site) if site.lacks_keys() => SiteState::NoKeys,
        Some(_) if paused.is_some() => SiteState::Paused,
        Some(_) => SiteState::Ok,
    }
}

fn key(site: Option<&Site>, paused: Option<&PausedKeys>, week: Window) -> KeyStatus {
    if let Some(PausedKeys { public_key, holdup }) = paused {
        let since = Some(holdup.since);
        return KeyStatus { public_key: Some(public_key.clone()), state: KeyState::Refused, since };
    }
    let keys = site.and_then(|site| site.keys.as_ref());
    let state = match keys {
        None => KeyState::Missing,
        Some(_) if week.delivered > 0 => KeyState::Ok,
        Some(_) => KeyState::Unknown,
    };
    KeyStatus { public_key: keys.map(|keys| keys.public().to_owned()), state, since: None }
}

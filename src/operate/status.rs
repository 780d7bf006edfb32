//! `status`: how the gateway is, on one screen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::gateways::{GatewayStatus, gateways};
use super::group::{Group, groups};
use super::query::Query;
use super::refusals::{SiteRefusals, last_refusals};
use super::waiting::{Situation, WaitsFor};
use crate::config::{Config, StoreUrl};
use crate::lead::SiteId;
use crate::queue::{
    AttemptResult, Counts, Extent, Filter, Holdup, Order, Reason, SeenGateway, SendingStatus, SpoolStatus, State,
    Store, StoreError,
};
use crate::telemetry::Degraded;

/// Causes and errors that are shown; `leads list --group reason` has all.
const SHOWN_MAX: usize = 10;
/// The newest entries of a state in which errors are looked for.
const LOOKED_AT_MAX: usize = 200;
/// Sites whose posts were refused.
const REFUSED_MAX: usize = 5;
/// How old an error may be.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// What of it only the running process knows.
#[derive(Clone, Debug)]
pub struct Process<'a> {
    pub version: &'a str,
    pub since: Timestamp,
    pub degraded: Vec<Degraded>,
    pub sending: &'a SendingStatus,
    /// Why a submission posted now would not be stored; none: it would be.
    pub unready: Option<String>,
    /// The same as a word of a closed set, as `/readyz` names it.
    pub unready_reason: Option<&'static str>,
    /// The gateways that share the store; none where it has the store for itself.
    pub gateways: &'a [SeenGateway],
    /// Leaves out causes and errors, for which entries are read.
    pub brief: bool,
}

/// How the gateway is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub since: Timestamp,
    pub now: Timestamp,
    /// Where forms post to, without the path.
    pub url: String,
    /// Whether `url` is the world's, as `[server].public_url` says.
    pub is_public: bool,
    pub ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_reason: Option<String>,
    pub degraded: Vec<Degradation>,
    pub store: StoreStatus,
    /// What lies in the spool on this machine; none: the store answers, and nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolStatus>,
    pub sites: usize,
    pub leads: LeadCounts,
    /// Why leads wait that are not on their way.
    pub waits: Vec<DeliveryWait>,
    /// What is held or dead, by cause: the largest groups.
    pub causes: Vec<Group>,
    /// How many more causes there are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_causes: usize,
    /// How many leads are held or dead for all of them, without spam.
    #[serde(default)]
    pub needs_person: u64,
    /// Not everything could be read, so that figures and causes may lack something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The newest failed attempts of the last 24 hours, one a site.
    pub errors: Vec<LastError>,
    /// The sites whose posts were refused last, with how many in 24 hours; the most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<SiteRefusals>,
    /// The gateways that share the store, by name; none where it isn't shared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<GatewayStatus>,
}

/// Something that needs a person though submissions are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    pub reason: String,
    pub cure: String,
}

impl Degradation {
    /// Says what is the matter, and in which values of the configuration.
    fn of(reason: Degraded, config: &Config) -> Self {
        let cure = match reason {
            Degraded::RestartNeeded if !config.needs_restart.is_empty() => {
                format!("restart the gateway to put the new value of {} in force", config.needs_restart.join(", "))
            }
            _ => reason.cure().to_owned(),
        };
        Self { reason: reason.as_str().to_owned(), cure }
    }
}

/// Where submissions are kept. Bytes are of the database, without its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub kind: String,
    /// The SQLite file, or the URL of a PostgreSQL without its user and password; none for a store in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub bytes: u64,
    pub max_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
}

/// How many leads are in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadCounts {
    pub queued: u64,
    pub held: u64,
    pub dead: u64,
    pub delivered: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_queued: Option<Timestamp>,
}

/// Leads that aren't sent now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryWait {
    pub waits_for: WaitsFor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
    pub since: Timestamp,
    pub why: String,
    pub next_try: Timestamp,
    /// What is queued of the site, or of all.
    pub queued: u64,
}

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub at: Timestamp,
    pub site: SiteId,
    pub words: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Gathers how the gateway is; what the store can't tell is left out, since that is when one asks.
pub async fn status(store: &dyn Store, config: &Arc<Config>, process: Process<'_>, now: Timestamp) -> Status {
    let counts = store.counts().await;
    let told = match process.brief {
        true => Ok(Told::default()),
        false => Told::read(store, config, process.sending, now).await,
    };
    let extent = store.extent().await;
    let incomplete = counts.is_err() || told.is_err() || extent.is_err();
    let counts = counts.unwrap_or_default();
    let Told { causes, has_more, errors, refused } = told.unwrap_or_default();
    let work = || causes.iter().filter(|group| group.reason != Reason::Spam);
    let needs_person = work().map(|group| group.leads).sum();
    Status {
        version: process.version.to_owned(),
        since: process.since,
        now,
        url: config.server.base_url(),
        is_public: config.server.public_url.is_some(),
        ready: process.unready.is_none(),
        unready: process.unready,
        unready_reason: process.unready_reason.map(str::to_owned),
        degraded: process.degraded.into_iter().map(|reason| Degradation::of(reason, config)).collect(),
        store: store_status(config, extent.unwrap_or_default()),
        spool: spool(store).await,
        sites: config.sites.len(),
        leads: leads(&counts),
        waits: waits(process.sending, &counts),
        more_causes: causes.len().saturating_sub(SHOWN_MAX),
        needs_person,
        incomplete: incomplete || has_more,
        causes: causes.into_iter().take(SHOWN_MAX).collect(),
        errors,
        refused,
        gateways: gateways(process.gateways),
    }
}

/// What takes reading entries.
#[derive(Default)]
struct Told {
    causes: Vec<Group>,
    /// There is more than was looked at.
    has_more: bool,
    errors: Vec<LastError>,
    refused: Vec<SiteRefusals>,
}

impl Told {
    async fn read(
        store: &dyn Store,
        config: &Arc<Config>,
        sending: &SendingStatus,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let situation = Situation { config: Arc::clone(config), sending: Some(sending.clone()), now };
        let found = groups(store, &Query::default(), &situation).await?;
        let causes = found.groups.into_iter().filter(|group| group.state != State::Queued).collect();
        let errors = last_errors(store, now).await?;
        let refused = last_refusals(store, now, REFUSED_MAX).await?;
        Ok(Self { causes, has_more: found.has_more, errors, refused })
    }
}

fn store_status(config: &Config, Extent { bytes, schema }: Extent) -> StoreStatus {
    let (kind, file) = match &config.queue.url {
        StoreUrl::Memory => ("memory", None),
        StoreUrl::Postgres(url) => ("postgres", Some(url.to_string())),
        StoreUrl::Sqlite(path) => ("sqlite", Some(path.display().to_string())),
    };
    StoreStatus { kind: kind.to_owned(), file, bytes, max_bytes: config.queue.max_size, schema }
}

async fn spool(store: &dyn Store) -> Option<SpoolStatus> {
    let problems = store.problems().await.unwrap_or_default();
    problems.into_iter().find_map(|problem| match problem {
        StoreError::Away(spool) => Some(*spool),
        _ => None,
    })
}

fn leads(counts: &[Counts]) -> LeadCounts {
    let mut leads = LeadCounts::default();
    for count in counts.iter().filter(|count| count.entries > 0) {
        match count.state {
            State::Queued => {
                leads.queued += count.entries;
                leads.oldest_queued = leads.oldest_queued.into_iter().chain(count.oldest).min();
            }
            State::Held => leads.held += count.entries,
            State::Dead => leads.dead += count.entries,
            State::Delivered => leads.delivered += count.entries,
        }
    }
    leads
}

fn waits(sending: &SendingStatus, counts: &[Counts]) -> Vec<DeliveryWait> {
    let queued_of = |site: Option<&SiteId>| {
        let of_site = counts.iter().filter(|count| site.is_none_or(|site| count.site == *site));
        of_site.filter(|count| count.state == State::Queued).map(|count| count.entries).sum()
    };
    let wait = |waits_for, site: Option<&SiteId>, holdup: &Holdup| DeliveryWait {
        waits_for,
        site: site.cloned(),
        since: holdup.since,
        why: holdup.why.clone(),
        next_try: holdup.next_probe,
        queued: queued_of(site),
    };
    let upstream = sending.upstream.iter().map(|holdup| wait(WaitsFor::Upstream, None, holdup));
    let paused = sending.paused_sites.iter().flat_map(|(site, keys)| keys.iter().map(move |keys| (site, &keys.holdup)));
    let paused = paused.map(|(site, holdup)| wait(WaitsFor::Keys, Some(site), holdup));
    let failing = sending.failing_sites.iter().map(|(site, holdup)| wait(WaitsFor::Site, Some(site), holdup));
    upstream.chain(paused).chain(failing).collect()
}

async fn last_errors(store: &dyn Store, now: Timestamp) -> Result<Vec<LastError>, StoreError> {
    let mut errors: Vec<_> = newest_errors(store, None, now).await?.into_values().collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.at));
    errors.truncate(SHOWN_MAX);
    Ok(errors)
}

/// Returns the newest failed attempt of the last 24 hours of each site, or of one, among the newest entries that wait or
/// are dead.
pub(super) async fn newest_errors(
    store: &dyn Store,
    site: Option<&SiteId>,
    now: Timestamp,
) -> Result<BTreeMap<SiteId, LastError>, StoreError> {
    let mut newest: BTreeMap<SiteId, LastError> = BTreeMap::new();
    for state in [State::Queued, State::Dead] {
        let filter = Filter { site: site.cloned(), state: Some(state), ..Filter::default() };
        let page = store.scan(&filter, Order::Newest, None, LOOKED_AT_MAX).await?;
        for head in &page.heads {
            let Some(attempt) = head.last_attempt() else { continue };
            let at = head.history.iter().rev().find(|event| event.attempt.is_some()).map(|event| event.at);
            let Some(at) = at.filter(|at| now.duration_since(*at) < RECENT) else { continue };
            let is_newer = newest.get(&head.site).is_none_or(|known| known.at < at);
            if attempt.result != AttemptResult::Delivered && is_newer {
                let error = LastError { at, site: head.site.clone(), words: attempt.in_words() };
                newest.insert(head.site.clone(), error);
            }
        }
    }
    Ok(newest)
}

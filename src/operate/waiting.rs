//! What a queued lead waits for, as of now.
//!
//! The store alone can't say: what a pause or a circuit holds back is not even claimed. The sender's published status
//! can; where no gateway runs there is what the store and the configuration tell.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::config::{Config, OverLimit};
use crate::queue::{AttemptResult, HISTORY_MAX, Head, Holdup, PausedKeys, Reason, SITE_GONE_MAX, SendingStatus};

/// What the verbs need to know beside the store.
#[derive(Clone, Debug)]
pub struct Situation {
    pub config: Arc<Config>,
    /// What the sender holds back; none where no gateway runs.
    pub sending: Option<SendingStatus>,
    pub now: Timestamp,
}

/// What a queued lead waits for: a closed set, the same words in every output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Its turn: nothing holds it back.
    Turn,
    /// Its next try, after one that failed.
    Retry,
    /// Its place in line: its site, or all sites together, send as fast as they may.
    Rate,
    /// Keys that KaiCalls takes.
    Keys,
    /// Its site's leads to be taken again: all of them fail.
    Site,
    /// KaiCalls: it fails for every site.
    Upstream,
    /// Its site to be in the configuration again.
    Configuration,
    /// Its site's keys, which can't be read.
    SecretKey,
    /// `[kaicalls]`, which can't be used.
    Delivery,
    /// The gateway: it isn't running.
    Gateway,
}

/// Why a queued lead waits, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitStatus {
    pub(super) waits_for: WaitsFor,
    pub(super) cause: String,
    /// Never in the past.
    pub(super) next_try: Option<Timestamp>,
}

impl WaitStatus {
    /// Says why a queued entry waits.
    pub(super) fn of(head: &Head, situation: &Situation) -> Self {
        let unconfigured = situation.gone(head).or_else(|| situation.unusable(head));
        let held_back = unconfigured.or_else(|| match &situation.sending {
            None => Some(without_gateway(head)),
            Some(sending) => situation.held_back(head, sending),
        });
        let mut waiting = held_back.unwrap_or_else(|| situation.by_itself(head));
        waiting.next_try = waiting.next_try.filter(|at| *at > situation.now);
        waiting
    }

    fn new(waits_for: WaitsFor, cause: impl Into<String>, next_try: Option<Timestamp>) -> Self {
        Self { waits_for, cause: cause.into(), next_try }
    }
}

impl Situation {
    /// Says that an entry's site has left the configuration.
    fn gone(&self, head: &Head) -> Option<WaitStatus> {
        if self.config.sites.contains_key(&head.site) {
            return None;
        }
        let since = head.site_gone_since().unwrap_or(self.now).min(self.now);
        let held_at = since.checked_add(SITE_GONE_MAX).unwrap_or(Timestamp::MAX);
        let minutes = held_at.duration_since(self.now).as_mins().max(0);
        let left = if minutes >= 60 { format!("{} h", minutes / 60) } else { format!("{minutes} min") };
        let cause = format!("{SITE_GONE}; held in {left}");
        Some(WaitStatus::new(WaitsFor::Configuration, cause, None))
    }

    /// Says what of the configuration keeps an entry from being sent.
    fn unusable(&self, head: &Head) -> Option<WaitStatus> {
        if self.config.missing.upstream {
            return Some(WaitStatus::new(WaitsFor::Delivery, NO_UPSTREAM, None));
        }
        let site = self.config.sites.get(&head.site)?;
        site.keys_of(&head.form).is_none().then(|| WaitStatus::new(WaitsFor::SecretKey, NO_KEYS, None))
    }

    /// Says what the sender holds an entry back for.
    fn held_back(&self, head: &Head, sending: &SendingStatus) -> Option<WaitStatus> {
        let keys = self
            .refused_keys(head, sending)
            .map(|keys| WaitStatus::new(WaitsFor::Keys, refused(keys), Some(keys.holdup.next_probe)));
        let upstream = || {
            let outage = sending.upstream.as_ref()?;
            Some(WaitStatus::new(WaitsFor::Upstream, self.outage(outage), Some(outage.next_probe)))
        };
        let site = || {
            let holdup = sending.failing_sites.get(&head.site)?;
            Some(WaitStatus::new(WaitsFor::Site, self.failing(holdup), Some(holdup.next_probe)))
        };
        keys.or_else(upstream).or_else(site)
    }

    /// Returns the pair of keys that an entry would be sent with, where KaiCalls refuses it.
    pub(super) fn refused_keys<'a>(&self, head: &Head, sending: &'a SendingStatus) -> Option<&'a PausedKeys> {
        let paused = sending.paused_sites.get(&head.site)?;
        let site = self.config.sites.get(&head.site)?;
        let keys = site.keys_of(&head.form)?;
        paused.iter().find(|paused| paused.public_key == keys.public())
    }

    /// Says what an entry waits for that nothing holds back: its own next try, or its place in line.
    fn by_itself(&self, head: &Head) -> WaitStatus {
        let is_due = head.due_at.is_none_or(|due_at| due_at <= self.now);
        // Under a lease `due_at` is when that runs out.
        let is_leased = !is_due && head.history.len() < HISTORY_MAX && head.is_under_way();
        if is_leased {
            return WaitStatus::new(WaitsFor::Turn, ON_ITS_WAY, None);
        }
        if let Some(cause) = after_attempt(head) {
            return WaitStatus::new(WaitsFor::Retry, cause, head.due_at);
        }
        let rate = self.config.upstream.rate.zip(self.sending.as_ref().and_then(|sending| sending.rate_limited));
        match (is_due, rate) {
            (true, Some((_, next))) => {
                WaitStatus::new(WaitsFor::Rate, "over [kaicalls].rate: waits its turn", Some(next))
            }
            (true, None) if head.reason == Reason::Retried => {
                WaitStatus::new(WaitsFor::Turn, "sent again by an operator", None)
            }
            (true, None) => WaitStatus::new(WaitsFor::Turn, ON_ITS_WAY, None),
            (false, _) if self.config.limits.over_site == OverLimit::Slow => {
                WaitStatus::new(WaitsFor::Rate, "over [limits].site: waits its turn", head.due_at)
            }
            (false, _) => WaitStatus::new(WaitsFor::Turn, ON_ITS_WAY, head.due_at),
        }
    }

    /// Says that KaiCalls fails for every site.
    pub(super) fn outage(&self, outage: &Holdup) -> String {
        format!(
            "KaiCalls can't be reached ({}, since {}); leads are sent when it is back",
            outage.why,
            self.moment(outage.since)
        )
    }

    /// Says that all leads of a site fail.
    pub(super) fn failing(&self, holdup: &Holdup) -> String {
        format!("the site's leads have failed since {}: {}", self.moment(holdup.since), holdup.why)
    }

    /// Writes a moment: the time today, else with its day.
    fn moment(&self, at: Timestamp) -> String {
        let [at, now] = [at, self.now].map(|time| time.to_zoned(TimeZone::UTC));
        let format = if at.date() == now.date() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
        at.strftime(format).to_string()
    }
}

pub(super) const SITE_GONE: &str = "its site is not in the configuration";
pub(super) const NO_UPSTREAM: &str = "[kaicalls] can't be used: nothing is sent until it is fixed";
pub(super) const NO_KEYS: &str = "the site's keys can't be read: `formgate check` shows why";
const ON_ITS_WAY: &str = "on its way";
pub(super) const NO_GATEWAY: &str = "the gateway isn't running";

/// Says that KaiCalls refuses a pair of keys.
pub(super) fn refused(keys: &PausedKeys) -> String {
    format!("key refused: {}", keys.holdup.why)
}

/// Says what the store tells of an entry while no gateway runs.
fn without_gateway(head: &Head) -> WaitStatus {
    let last = head.attempts_since_queued().next().map(|(_, attempt)| attempt);
    match last.filter(|attempt| attempt.result == AttemptResult::KeyRefused) {
        Some(attempt) => WaitStatus::new(WaitsFor::Keys, format!("key refused: {}", attempt.in_words()), None),
        None => WaitStatus::new(WaitsFor::Gateway, NO_GATEWAY, None),
    }
}

/// Says how the last attempt since an entry was queued ended.
fn after_attempt(head: &Head) -> Option<String> {
    let (_, attempt) = head.attempts_since_queued().next()?;
    let words = attempt.in_words();
    Some(match attempt.result {
        AttemptResult::KeyRefused => format!("key refused: {words}"),
        AttemptResult::LeadRefused => format!("refused once, tried again: {words}"),
        _ => format!("tried again: {words}"),
    })
}

//! `site.paused` and `site.resumed`, `gateway.upstream_down` and `.upstream_up`: what the sender publishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Watch;
use crate::config::{Config, Site};
use crate::event::EventType;
use crate::lead::SiteId;
use crate::notify::alarm::{Alarm, PAUSED, PausedAlarm, UPSTREAM_KEY, UpstreamAlarm, paused_key};
use crate::queue::{Emission, Filter, Holdup, Order, PausedKeys, SendingStatus, State};

/// The upstream's circuit opens with so many sites; with fewer in the configuration it is down once none of them gets
/// through.
const CIRCUIT_SITES: usize = 3;

/// Gateways that share a store notice within this time that KaiCalls is away, and one tells it.
const TOLD_BY_ANOTHER: Duration = Duration::from_secs(5 * 60);

impl Watch {
    /// Tells which sites are paused, and which no longer are.
    pub(super) async fn look_at_sites(&mut self, config: &Config, is_slow: bool, now: Timestamp) {
        let (paused, partitions) = {
            let sending = self.reader.sending.borrow();
            (sending.paused_sites.clone(), sending.partitions)
        };
        for (site, keys) in paused.iter().filter(|(site, _)| config.sites.contains_key(*site)) {
            if !self.alarms.see(&paused_key(site)) {
                self.site_paused(site, keys, now).await;
            }
        }
        for (key, is_seen) in self.alarms.keys(PAUSED) {
            let Ok(site) = SiteId::parse(key.trim_start_matches(PAUSED)) else { continue };
            if !partitions.has_site(&site) {
                // Whether it goes again, the gateway that sends for it tells.
                self.alarms.forget(&key);
                continue;
            }
            if paused.contains_key(&site) {
                continue;
            }
            if !config.sites.contains_key(&site) {
                self.alarms.clear(&*self.reader.store.clone(), &key, now).await;
            } else if is_seen || (is_slow && self.is_proven(config, &key, &site).await) {
                self.site_resumed(site, &key, now).await;
            }
        }
    }

    async fn site_paused(&mut self, site: &SiteId, keys: &[PausedKeys], now: Timestamp) {
        let since = keys.iter().map(|keys| keys.holdup.since).min().unwrap_or(now);
        let alarm = PausedAlarm {
            why: keys.first().map(|keys| keys.holdup.why.clone()).unwrap_or_default(),
            public_keys: keys.iter().map(|keys| keys.public_key.clone()).collect(),
        };
        let key = paused_key(site);
        let store = self.reader.store.clone();
        let detail = serde_json::to_value(alarm).unwrap_or_default();
        self.alarms.raise(&*store, &key, Alarm { since, detail }, now).await;
        let emission = Emission { site: Some(site.clone()), ..Emission::new(EventType::SitePaused) };
        self.emit(emission, &format!("{key}/{}", since.as_millisecond()), now).await;
    }

    async fn site_resumed(&mut self, site: SiteId, key: &str, now: Timestamp) {
        let since = self.alarms.get(key).map_or(now, |alarm| alarm.since);
        let emission = Emission { site: Some(site), ..Emission::new(EventType::SiteResumed) };
        self.emit(emission, &format!("{key}/{}/over", since.as_millisecond()), now).await;
        self.alarms.clear(&*self.reader.store.clone(), key, now).await;
    }

    /// Tells whether an alarm of a former process is over: the sender hasn't met the refusal again, which alone says nothing
    /// while no lead comes.
    async fn is_proven(&self, config: &Config, key: &str, site: &SiteId) -> bool {
        let Some(alarm) = self.alarms.get(key) else { return false };
        let detail: Option<PausedAlarm> = serde_json::from_value(alarm.detail.clone()).ok();
        let known: BTreeSet<&str> =
            config.sites.get(site).iter().flat_map(|site| site.key_pairs()).map(|(_, pair)| pair.public()).collect();
        let is_replaced = detail.is_some_and(|alarm| !alarm.public_keys.iter().any(|key| known.contains(key.as_str())));
        is_replaced || self.has_delivered_since(Some(site), alarm.since).await
    }

    /// Tells that KaiCalls is away, and that it is back.
    pub(super) async fn look_at_upstream(&mut self, config: &Config, is_slow: bool, now: Timestamp) {
        let holdup = outage(&self.reader.sending.borrow(), config);
        let store = self.reader.store.clone();
        match holdup {
            Some(holdup) if !self.alarms.see(UPSTREAM_KEY) => {
                if !self.may_tell(UPSTREAM_KEY, TOLD_BY_ANOTHER, now).await {
                    return;
                }
                let detail = serde_json::to_value(UpstreamAlarm { why: holdup.why }).unwrap_or_default();
                self.alarms.raise(&*store, UPSTREAM_KEY, Alarm { since: holdup.since, detail }, now).await;
                let once = format!("{UPSTREAM_KEY}/{}", holdup.since.as_millisecond());
                self.emit(Emission::new(EventType::GatewayUpstreamDown), &once, now).await;
            }
            Some(_) => {}
            None => {
                let raised = self.alarms.keys(UPSTREAM_KEY).into_iter().next();
                let Some((_, is_seen)) = raised else { return };
                let since = self.alarms.get(UPSTREAM_KEY).map_or(now, |alarm| alarm.since);
                if is_seen || (is_slow && self.has_delivered_since(None, since).await) {
                    let once = format!("{UPSTREAM_KEY}/{}/over", since.as_millisecond());
                    self.emit(Emission::new(EventType::GatewayUpstreamUp), &once, now).await;
                    self.alarms.clear(&*store, UPSTREAM_KEY, now).await;
                }
            }
        }
    }

    /// Tells whether KaiCalls took a lead after a time, as the newest that it took tells.
    async fn has_delivered_since(&self, site: Option<&SiteId>, since: Timestamp) -> bool {
        let filter = Filter { site: site.cloned(), state: Some(State::Delivered), ..Filter::default() };
        let page = self.reader.store.scan(&filter, Order::Newest, None, 1).await.unwrap_or_default();
        let delivered = page.heads.first().and_then(|head| {
            head.history.iter().rev().find(|event| event.state == State::Delivered).map(|event| event.at)
        });
        delivered.is_some_and(|at| at > since)
    }
}

/// Returns since when KaiCalls is away, and in which words.
fn outage(status: &SendingStatus, config: &Config) -> Option<Holdup> {
    if let Some(holdup) = &status.upstream {
        return Some(holdup.clone());
    }
    let is_ours = |site: &&Arc<Site>| site.deliver && status.partitions.has_site(&site.id);
    let sending: Vec<_> = config.sites.values().filter(is_ours).map(|site| &site.id).collect();
    let is_down = |site: &&SiteId| status.unreachable_sites.contains(*site);
    if sending.is_empty() || sending.len() >= CIRCUIT_SITES || !sending.iter().all(is_down) {
        return None;
    }
    sending.iter().filter_map(|site| status.failing_sites.get(*site)).max_by_key(|holdup| holdup.since).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_of_one_site_notices_that_kaicalls_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let site = |id: &str| format!("[[site]]\nid = \"{id}\"\npublic_key = \"wp_pk_a\"\nsecret_key = \"wp_sk_a\"\n");
        let config = |ids: &[&str]| {
            std::fs::write(&file, ids.iter().map(|id| site(id)).collect::<String>()).expect("written");
            let sources = crate::config::Sources::with_environment([]);
            crate::config::load(&file, &sources, jiff::civil::date(2026, 11, 30)).config.expect("sound")
        };
        let acme = SiteId::parse("acme").expect("a site");
        let at = Timestamp::UNIX_EPOCH;
        let holdup = Holdup { since: at, why: "connection refused".to_owned(), next_probe: at };
        let mut status = SendingStatus::default();
        status.failing_sites.insert(acme.clone(), holdup.clone());
        assert_eq!(outage(&status, &config(&["acme"])), None, "a closed account fails as well");
        status.unreachable_sites.insert(acme);
        assert_eq!(outage(&status, &config(&["acme"])), Some(holdup));
        assert_eq!(outage(&status, &config(&["acme", "beta"])), None, "the other gets through");
    }
}

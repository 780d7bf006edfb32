//! What an event tells, read when it is sent: from the store, the configuration, and what the process knows of itself.
//!
//! **Invariant**: what a sink is given of a lead is of one of its own sites, whatever the event says: an operator may have
//! filed the lead under another site since.

mod gateway;
mod lead;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(super) use self::site::expires_soon;
use super::notice::{DegradedReason, NamedSite, Notice};
use super::routing::Routed;
use crate::clock::Clock;
use crate::config::{Config, Sink};
use crate::event::EventType;
use crate::lead::SiteId;
use crate::operate::{SinkStatus, Situation};
use crate::queue::{GatewayName, SendingStatus, State, Store, StoreError};

/// Reads what events tell. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) store: Arc<dyn Store>,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) sending: watch::Receiver<SendingStatus>,
    pub(super) sinks: watch::Receiver<Vec<SinkStatus>>,
    /// What needs a person, by the event that tells of it.
    pub(super) degraded: Arc<Mutex<BTreeMap<EventType, Vec<DegradedReason>>>>,
    /// What this gateway is called, where others share the store.
    pub(super) gateway: Option<GatewayName>,
    pub(super) clock: Clock,
}

impl Reader {
    /// Reads what an event tells a sink; none where there is nothing to tell any more.
    pub(super) async fn read(&self, routed: &Routed, sink: &Sink) -> Result<Option<Notice>, StoreError> {
        let config = self.config.load_full();
        // The sink as it is written now: a site may have been taken from it while the event waited.
        let Some(sink) = config.sinks.iter().find(|known| known.name == sink.name) else { return Ok(None) };
        if !sink.wants(routed.event, routed.site.as_ref()) {
            return Ok(None);
        }
        let data = match (routed.event, &routed.site) {
            (EventType::LeadDelivered | EventType::LeadHeld | EventType::LeadDead | EventType::LeadOverdue, _) => {
                lead::data(self, &config, routed, sink).await?
            }
            (EventType::SitePaused, Some(site)) => Some(site::paused(self, &config, site, routed.at).await?),
            (EventType::SiteResumed, Some(site)) => Some(site::resumed(self, &config, site).await?),
            (EventType::SitePostsRefused, Some(site)) => site::refused(self, &config, site, routed.at).await?,
            (EventType::SiteTokenExpiring, Some(site)) => site::token_expiring(&config, site, self.now()),
            (EventType::FormSilent, Some(site)) => site::form_silent(self, &config, site, routed).await?,
            (EventType::GatewayUpstreamDown | EventType::GatewayUpstreamUp, _) => {
                Some(gateway::upstream(self, routed).await?)
            }
            (EventType::GatewayCertificateExpiring, _) => Some(gateway::certificates(self, &config).await),
            (EventType::GatewaySinkFailing, _) => gateway::sinks(self, sink),
            (
                EventType::GatewayConfigBroken
                | EventType::GatewayStoreDegraded
                | EventType::GatewayBackupFailed
                | EventType::GatewayDegraded,
                _,
            ) => Some(gateway::degraded(self, routed.event).await?),
            (EventType::DigestDaily | EventType::DigestWeekly, _) => gateway::digest(self, routed, sink).await?,
            _ => None,
        };
        Ok(data.map(|data| Notice { id: routed.id(), event: routed.event, at: routed.at, data }))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns where forms post to, which is how a gateway is known.
    pub(super) fn url(&self) -> String {
        self.config.load().server.base_url()
    }

    fn situation(&self) -> Situation {
        Situation { config: self.config.load_full(), sending: Some(self.sending.borrow().clone()), now: self.now() }
    }

    /// Counts what is queued, of a site or of all.
    async fn queued(&self, site: Option<&SiteId>) -> Result<u64, StoreError> {
        let counts = self.store.counts().await?;
        let queued = counts.iter().filter(|count| count.state == State::Queued);
        Ok(queued.filter(|count| site.is_none_or(|site| count.site == *site)).map(|count| count.entries).sum())
    }
}

/// Names a site, also one that has left the configuration.
fn named(config: &Config, id: &SiteId) -> NamedSite {
    let site = config.sites.get(id);
    NamedSite {
        id: id.clone(),
        name: site.and_then(|site| site.name.clone()),
        url: site.and_then(|site| site.url.clone()),
    }
}

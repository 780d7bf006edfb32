//! What a claim asks for.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::CLAIM_MAX;
use super::partition::Partitions;
use super::standing::whole_millisecond;
use crate::lead::SiteId;

/// How long before it counts as new a lead may have become due, after a clock was set back.
pub(super) const EARLY_MAX: Duration = Duration::from_secs(600);

/// What is to be claimed.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Most entries; [`CLAIM_MAX`] at the most.
    pub max: usize,
    /// How long each is leased.
    pub lease: Duration,
    pub now: Timestamp,
    /// Only entries accepted then or later, so that a backlog keeps no new lead waiting. After a clock was set back they
    /// may have become due before that. Such an entry comes last, where a site has enough of the others; one that was due
    /// more than 10 min before is left to the claims of any age.
    pub accepted_since: Option<Timestamp>,
    /// So a backlog that has to wait is neither read nor written again and again.
    pub quota: Quota,
}

impl Claim {
    /// Claims what is due, whatever its age and site.
    pub fn new(max: usize, lease: Duration, now: Timestamp) -> Self {
        Self { max, lease, now, accepted_since: None, quota: Quota::default() }
    }

    /// Cuts it to what the stores keep and give.
    pub(super) fn cut(&self) -> Self {
        Self {
            max: self.max.min(CLAIM_MAX),
            now: whole_millisecond(self.now),
            accepted_since: self.accepted_since.map(whole_millisecond),
            ..self.clone()
        }
    }
}

/// How many entries of one site a claim may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of a site that is not named.
    pub each: usize,
    pub of: HashMap<SiteId, usize>,
    /// The partitions whose sites this gateway sends for: none of another site, whatever else is said of it.
    pub partitions: Partitions,
}

impl Quota {
    /// Returns how many of a site.
    pub fn of(&self, site: &SiteId) -> usize {
        if !self.partitions.has_site(site) {
            return 0;
        }
        self.of.get(site).copied().unwrap_or(self.each)
    }
}

impl Default for Quota {
    /// No limit.
    fn default() -> Self {
        Self { each: usize::MAX, of: HashMap::new(), partitions: Partitions::ALL }
    }
}

//! `site.posts_refused`: the first at once, then once an hour while more are refused.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Watch;
use crate::clock::later;
use crate::config::Config;
use crate::event::EventType;
use crate::lead::SiteId;
use crate::queue::Emission;

/// How often a site's refused posts are told of.
const TELL_EVERY: Duration = Duration::from_secs(60 * 60);

/// When each site's refused posts were told of last.
#[derive(Default)]
pub(super) struct Refusals {
    told: BTreeMap<SiteId, Told>,
}

struct Told {
    at: Timestamp,
    /// More were refused since.
    has_more: bool,
}

impl Refusals {
    /// Notes sites that had posts refused, and returns those to tell of now.
    fn due(&mut self, refused: Vec<SiteId>, now: Timestamp) -> Vec<SiteId> {
        let mut due = Vec::new();
        for site in refused {
            match self.told.get_mut(&site) {
                Some(told) => told.has_more = true,
                None => due.push(site),
            }
        }
        // One that was told of an hour ago, and had none since, is told of at once the next time.
        self.told.retain(|site, told| {
            let is_over = now >= later(told.at, TELL_EVERY) || now < told.at;
            if is_over && told.has_more {
                due.push(site.clone());
            }
            !is_over
        });
        for site in &due {
            self.told.insert(site.clone(), Told { at: now, has_more: false });
        }
        due
    }
}

impl Refusals {
    /// Another gateway has told of the site: what was refused here is told later.
    fn put_off(&mut self, site: &SiteId) {
        if let Some(told) = self.told.get_mut(site) {
            told.has_more = true;
        }
    }
}

impl Watch {
    /// Tells which sites had posts refused.
    pub(super) async fn look_at_refusals(&mut self, config: &Config, now: Timestamp) {
        let refused = self.activity.take_refused();
        let due = self.refusals.due(refused, now);
        if due.is_empty() {
            return;
        }
        // What the event tells is read from the store.
        if let Err(error) = self.activity.flush(&self.reader.store).await {
            tracing::warn!(%error, "notify.refused_unwritten: the figures of refused posts can't be written");
        }
        for site in due.into_iter().filter(|site| config.sites.contains_key(site)) {
            if !self.may_tell(&format!("refused/{site}"), TELL_EVERY, now).await {
                self.refusals.put_off(&site);
                continue;
            }
            let once = format!("refused/{site}/{}", now.as_millisecond());
            let emission = Emission { site: Some(site), ..Emission::new(EventType::SitePostsRefused) };
            self.emit(emission, &once, now).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_then_hourly_while_there_are_more() {
        let mut refusals = Refusals::default();
        let acme = SiteId::parse("acme").expect("a site");
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).expect("a time");
        let mut told = |minutes, has_more: bool| {
            let refused = if has_more { vec![acme.clone()] } else { Vec::new() };
            !refusals.due(refused, at(minutes)).is_empty()
        };
        assert!(told(0, true));
        assert!(!told(1, true));
        assert!(!told(59, false));
        assert!(told(60, false), "more came in the first hour");
        assert!(!told(119, false));
        assert!(!told(120, false), "none came in the second");
        assert!(told(130, true), "it begins anew");
        assert!(!told(135, true));
        assert!(told(100, true), "the clock was set back");
    }
}

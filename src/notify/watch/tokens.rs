//! `site.token_expiring`: two weeks, one week and a day before, and when it has happened.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Watch;
use crate::config::{Config, Site};
use crate::event::EventType;
use crate::notify::content::expires_soon;
use crate::notify::routing;
use crate::queue::Emission;
use crate::queue::activity::TokenPrefix;

/// So many days before a token expires it is told.
const STEPS: [i32; 4] = [0, 1, 7, 14];

/// What was told in this process, so that the store isn't asked again.
#[derive(Default)]
pub(super) struct Told(BTreeSet<String>);

impl Watch {
    /// Tells which sites have tokens that expire soon.
    pub(super) async fn look_at_tokens(&mut self, config: &Config, now: Timestamp) {
        if !routing::wants(config, EventType::SiteTokenExpiring) {
            return;
        }
        let mut current = BTreeSet::new();
        for site in config.sites.values() {
            let Some(key) = step(site, now) else { continue };
            if !self.tokens.0.contains(&key) {
                let emission = Emission { site: Some(site.id.clone()), ..Emission::new(EventType::SiteTokenExpiring) };
                self.emit(emission, &key, now).await;
            }
            current.insert(key);
        }
        self.tokens.0 = current;
    }
}

/// Names how near a site's tokens are to their ends; it changes when one comes a step nearer.
fn step(site: &Site, now: Timestamp) -> Option<String> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let expiring = site.tokens.iter().filter_map(|token| Some((token, expires_soon(token, now)?)));
    let nearest = expiring.min_by_key(|(_, last)| *last)?;
    let prefix = TokenPrefix::of(&nearest.0.sha256);
    Some(format!("token/{}/{prefix}/{}", site.id, step_of(nearest.1, today)))
}

fn step_of(last: Date, today: Date) -> i32 {
    let days = today.until(last).map_or(0, |span| span.get_days());
    STEPS.into_iter().find(|step| days <= *step).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_token_is_told_of_at_each_step() {
        let today = date(2026, 11, 30);
        let step = |last| step_of(last, today);
        assert_eq!(step(date(2026, 12, 14)), 14);
        assert_eq!(step(date(2026, 12, 8)), 14);
        assert_eq!(step(date(2026, 12, 7)), 7);
        assert_eq!(step(date(2026, 12, 1)), 1);
        assert_eq!(step(date(2026, 11, 30)), 0);
        assert_eq!(step(date(2026, 11, 29)), 0, "it has expired");
    }
}

//! `digest.daily` and `digest.weekly`: in the morning, of the days before.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::Watch;
use crate::config::Config;
use crate::event::EventType;
use crate::notify::routing;
use crate::queue::Emission;

/// The hour (UTC) from which a day's digest is sent.
const HOUR: i8 = 6;

/// The days whose digests were asked for in this process, so that the store isn't asked again.
#[derive(Default)]
pub(super) struct Told {
    daily: Option<Date>,
    weekly: Option<Date>,
}

impl Watch {
    /// Tells how it went: every day of the one before, and on Mondays of the week before.
    pub(super) async fn look_at_digests(&mut self, config: &Config, now: Timestamp) {
        let zoned = now.to_zoned(TimeZone::UTC);
        let today = zoned.date();
        if zoned.hour() < HOUR {
            return;
        }
        if routing::wants(config, EventType::DigestDaily) && self.digests.daily != Some(today) {
            self.emit(Emission::new(EventType::DigestDaily), &format!("digest.daily/{today}"), now).await;
            self.digests.daily = Some(today);
        }
        // Of a Monday on which nothing ran it is told later in the week.
        let since_monday = i32::from(today.weekday().to_monday_zero_offset());
        let monday = today.saturating_sub(since_monday.days());
        if routing::wants(config, EventType::DigestWeekly) && self.digests.weekly != Some(monday) {
            self.emit(Emission::new(EventType::DigestWeekly), &format!("digest.weekly/{monday}"), now).await;
            self.digests.weekly = Some(monday);
        }
    }
}

//! What happened in a day or a week.

use super::Report;
use super::say::{capitalised, quoted, site_name};
use crate::event::EventType;
use crate::notify::notice::DigestData;

pub(super) fn headline(data: &DigestData, event: EventType) -> String {
    let period = period(event);
    match &data.site {
        Some(site) => format!("{}: {period} summary of leads", site_name(site)),
        None => format!("{} summary of leads", capitalised(period)),
    }
}

pub(super) fn report(title: String, data: &DigestData, event: EventType) -> Report {
    let paragraph = format!("What formgate took and delivered, in a {} summary.", period(event));
    let report = Report::new(title, paragraph);
    report.known("Gateway", Some(quoted(&data.gateway)).filter(|url| !url.is_empty()))
}

fn period(event: EventType) -> &'static str {
    if event == EventType::DigestWeekly { "weekly" } else { "daily" }
}

//! What happened in a day or a week.

use super::say::{capitalised, count, quoted, site_name};
use super::{Report, Table};
use crate::event::EventType;
use crate::notify::notice::DigestData;
use crate::operate::{Digest, DigestSite};

pub(super) fn headline(data: &DigestData, event: EventType) -> String {
    let period = period(event);
    let title = match &data.site {
        Some(site) => format!("{}: {period} summary", site_name(site)),
        None => format!("{} summary", capitalised(period)),
    };
    let Digest { received, delivered, held, dead, refused, .. } = data.figures;
    let trouble = [(held, "held"), (dead, "given up"), (refused, "posts refused")];
    let trouble = trouble.into_iter().filter(|(number, _)| *number > 0);
    let trouble: String = trouble.map(|(number, what)| format!(", {number} {what}")).collect();
    format!("{title}: {} received, {delivered} delivered{trouble}", count(received, "lead"))
}

pub(super) fn report(title: String, data: &DigestData, event: EventType) -> Report {
    let paragraph = format!("What formgate took and delivered, in a {} summary.", period(event));
    let report = Report::new(title, paragraph);
    let report = report.known("Gateway", Some(quoted(&data.gateway)).filter(|url| !url.is_empty()));
    with_figures(report, &data.figures)
}

/// Adds the figures of some days to a report.
fn with_figures(report: Report, digest: &Digest) -> Report {
    let days = if digest.from == digest.to {
        format!("{} (UTC)", digest.from)
    } else {
        format!("{} to {} (UTC)", digest.from, digest.to)
    };
    let mut report = report
        .fact("Days", days)
        .fact("Received", count(digest.received, "lead"))
        .fact("Delivered", count(digest.delivered, "lead"))
        .known("From submit to KaiCalls", speed(digest))
        .known("Held", some(digest.held).map(|held| count(held, "lead")))
        .known("Given up", some(digest.dead).map(|dead| count(dead, "lead")))
        .known(
            "Refused",
            some(digest.refused).map(|refused| format!("{}, which are probably lost", count(refused, "post"))),
        )
        .known("Refused for unknown sites", digest.refused_unknown.and_then(some).map(|refused| count(refused, "post")))
        .known("Left out", left_out(digest));
    for group in &digest.needs_person {
        let sites = count(group.sites as u64, "site");
        let leads = format!("{} {} at {sites}", count(group.leads, "lead"), group.state.as_str());
        report = report.cure(format!("{leads}: {}", quoted(&group.cause)));
    }
    report.table = table(digest);
    report
}

fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

/// Says how long leads took: half of them, nearly all, and how many were fast.
fn speed(digest: &Digest) -> Option<String> {
    let (median, p95) = digest.median_seconds.zip(digest.p95_seconds)?;
    let within =
        digest.within_minute.map(|share| format!("; {:.1} % within a minute", share * 100.0)).unwrap_or_default();
    Some(format!("half within {}, 95 % within {}{within}", duration(median), duration(p95)))
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

fn left_out(digest: &Digest) -> Option<String> {
    let duplicates = some(digest.duplicates).map(|number| count(number, "duplicate"));
    let spam = some(digest.spam).map(|number| format!("{} of spam", count(number, "post")));
    let parts: Vec<String> = duplicates.into_iter().chain(spam).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// One row for each site; none where there is only one, of which the facts tell already.
fn table(digest: &Digest) -> Option<Table> {
    if digest.sites.len() < 2 {
        return None;
    }
    let columns = vec!["Site", "Received", "Delivered", "Held", "Given up", "Refused", "Half within"];
    let mut rows: Vec<Vec<String>> = digest.sites.iter().map(row).collect();
    if digest.more_sites > 0 {
        let more = format!("and {}", count(digest.more_sites as u64, "more site"));
        rows.push(std::iter::once(more).chain(std::iter::repeat_n(String::new(), columns.len() - 1)).collect());
    }
    Some(Table { columns, rows })
}

fn row(site: &DigestSite) -> Vec<String> {
    let numbers = [site.received, site.delivered, site.held, site.dead, site.refused];
    let numbers = numbers.into_iter().map(|number| number.to_string());
    let half = site.median_seconds.map(duration).unwrap_or_default();
    std::iter::once(site.id.to_string()).chain(numbers).chain([half]).collect()
}

fn period(event: EventType) -> &'static str {
    if event == EventType::DigestWeekly { "weekly" } else { "daily" }
}

//! Leads in a summary: those whose content is told in full, the others counted by site.

use std::collections::BTreeMap;

use super::{REPORTS_MAX, rest};
use crate::lead::SiteId;
use crate::notify::notice::{LeadData, Notice};
use crate::notify::words::{self, Fact, Report, count, site_name};

/// So many ids of a site's leads are named where their content isn't told; the rest is counted.
const IDS_MAX: usize = 20;

/// Reports leads of one type of event. One with content is told in full, however many there are.
pub(super) fn reports(mut leads: Vec<(&Notice, &LeadData)>) -> Vec<Report> {
    leads.sort_by_key(|(notice, data)| (&data.site.id, notice.at));
    let has_content = |(_, data): &(&Notice, &LeadData)| data.lead.content.is_some();
    let (told, counted): (Vec<_>, Vec<_>) = leads.into_iter().partition(has_content);
    let in_full = told.iter().enumerate().map(|(at, (notice, data))| in_full(at + 1, notice, data));
    in_full.chain(by_site(&counted)).collect()
}

/// Tells of a lead with its content; what the section says of all leads isn't repeated.
fn in_full(number: usize, notice: &Notice, data: &LeadData) -> Report {
    let mut report = words::report(notice);
    report.title = format!("{number}. {}", site_name(&data.site));
    if !data.lead.delivered && !data.lead.erased {
        report.paragraphs.clear();
    }
    report
}

/// Counts leads by site, and names the first of them.
fn by_site(leads: &[(&Notice, &LeadData)]) -> Vec<Report> {
    let mut sites: BTreeMap<&SiteId, Vec<&LeadData>> = BTreeMap::new();
    for (_, data) in leads {
        sites.entry(&data.site.id).or_default().push(data);
    }
    let mut reports: Vec<Report> = sites.values().take(REPORTS_MAX).filter_map(|leads| ids(leads)).collect();
    reports.extend(rest(sites.len()));
    reports
}

fn ids(leads: &[&LeadData]) -> Option<Report> {
    let site = &leads.first()?.site;
    let mut ids: Vec<String> = leads.iter().take(IDS_MAX).map(|data| id(data)).collect();
    let more = leads.len().saturating_sub(IDS_MAX) as u64;
    if more > 0 {
        ids.push(format!("and {more} more"));
    }
    Some(Report {
        title: format!("{}: {}", site_name(site), count(leads.len() as u64, "lead")),
        paragraphs: Vec::new(),
        facts: vec![Fact { label: "Leads".to_owned(), value: ids.join("\n") }],
        table: None,
        cures: see_them(leads),
    })
}

/// Says how to see leads that still need something, all of which are in the same state.
fn see_them(leads: &[&LeadData]) -> Vec<String> {
    let waiting = leads.iter().find(|data| !data.lead.delivered && !data.lead.erased);
    let list = |data: &&LeadData| {
        format!("See them: `formgate leads list --site {} --state {}`.", data.site.id, data.lead.state.as_str())
    };
    waiting.map(list).into_iter().collect()
}

/// Names a lead without a word of its visitor.
fn id(data: &LeadData) -> String {
    let form = data.form.as_ref().map(|form| format!(", form {form}")).unwrap_or_default();
    let since = if data.lead.erased {
        " (erased since)"
    } else if data.lead.delivered {
        " (in KaiCalls by now)"
    } else {
        ""
    };
    format!("{}{form}{since}", data.lead.id)
}

//! What a mail says, before it is written as plain text and as HTML: one event, or a summary of several.

mod leads;

use std::collections::BTreeMap;

use crate::event::EventType;
use crate::lead::SiteId;
use crate::notify::notice::{Data, LeadData, Notice};
use crate::notify::words::{self, Report, count, site_name};

/// So many reports stand in a section, apart from those with the content of a lead: of these none is left out.
const REPORTS_MAX: usize = 50;

/// The sections of a summary: what can't wait comes first.
const ORDER: [EventType; 20] = [
    EventType::LeadOverdue,
    EventType::GatewayStoreDegraded,
    EventType::GatewayUpstreamDown,
    EventType::SitePostsRefused,
    EventType::SitePaused,
    EventType::LeadDead,
    EventType::LeadHeld,
    EventType::FormSilent,
    EventType::SiteTokenExpiring,
    EventType::GatewayCertificateExpiring,
    EventType::GatewayConfigBroken,
    EventType::GatewayBackupFailed,
    EventType::GatewayDegraded,
    EventType::GatewaySinkFailing,
    EventType::GatewayUpstreamUp,
    EventType::SiteResumed,
    EventType::LeadDelivered,
    EventType::DigestDaily,
    EventType::DigestWeekly,
    EventType::NotifyTest,
];

/// A mail's content. It may hold what visitors wrote, so it has no `Debug`.
pub(super) struct Page {
    /// The subject, and the heading.
    pub(super) title: String,
    pub(super) sections: Vec<Section>,
}

/// What a mail says of one type of event.
pub(super) struct Section {
    /// None where the title of the page says it.
    pub(super) heading: Option<String>,
    pub(super) paragraphs: Vec<String>,
    /// One without a title is told of by the heading above it.
    pub(super) reports: Vec<Report>,
}

impl Page {
    /// Tells of events; of one in full, of several in sections.
    pub(super) fn of(notices: &[Notice]) -> Self {
        if let [notice] = notices {
            let mut report = words::report(notice);
            let title = std::mem::take(&mut report.title);
            let section = Section { heading: None, paragraphs: Vec::new(), reports: vec![report] };
            return Self { title, sections: vec![section] };
        }
        let of_type = |event| notices.iter().filter(|notice| notice.event == event).collect::<Vec<_>>();
        let sections = ORDER.into_iter().map(|event| (event, of_type(event))).filter(|(_, some)| !some.is_empty());
        Self { title: title(notices), sections: sections.map(|(event, some)| Section::of(event, &some)).collect() }
    }
}

/// Says in one line what a mail of several events is about.
fn title(notices: &[Notice]) -> String {
    let what = what(notices);
    let mut sites: Vec<Option<&SiteId>> = notices.iter().map(|notice| notice.site().map(|site| &site.id)).collect();
    sites.sort();
    sites.dedup();
    let name = notices.iter().find_map(Notice::site).map(site_name);
    match (sites.as_slice(), name) {
        ([Some(_)], Some(name)) => format!("{name}: {what}"),
        ([None], _) => format!("Gateway: {what}"),
        ([None, rest @ ..], _) => format!("Gateway and {}: {what}", count(rest.len() as u64, "site")),
        (sites, _) => format!("{}: {what}", count(sites.len() as u64, "site")),
    }
}

fn what(notices: &[Notice]) -> String {
    let number = notices.len() as u64;
    if notices.iter().any(|notice| notice.event != EventType::LeadOverdue) {
        return count(number, "alert");
    }
    let is_delivered = |notice: &Notice| matches!(&notice.data, Data::Lead(data) if data.lead.delivered);
    if notices.iter().any(is_delivered) {
        format!("{} late for KaiCalls", count(number, "lead"))
    } else {
        format!("{} not yet in KaiCalls", count(number, "lead"))
    }
}

impl Section {
    fn of(event: EventType, notices: &[&Notice]) -> Self {
        let leads: Vec<(&Notice, &LeadData)> =
            notices.iter().filter_map(|notice| Some((*notice, notice.lead()?))).collect();
        let heading = Some(heading(event, leads.len() as u64));
        if leads.is_empty() {
            return Self { heading, paragraphs: Vec::new(), reports: newest(notices) };
        }
        let paragraphs = words::standing_for_all(event).map(str::to_owned).into_iter().collect();
        Self { heading, paragraphs, reports: leads::reports(leads) }
    }
}

/// Reports what each site, or the gateway, was told of last: what is told is read when it is sent, so the last one has all.
/// But each silent form has an event of its own, and each day a digest.
fn newest(notices: &[&Notice]) -> Vec<Report> {
    let mut by_site: BTreeMap<_, &Notice> = BTreeMap::new();
    for notice in notices {
        let (form, day) = match &notice.data {
            Data::FormSilent(data) => (Some(&data.form), None),
            Data::Digest(data) => (None, Some(data.figures.from)),
            _ => (None, None),
        };
        let last = by_site.entry((notice.site().map(|site| &site.id), form, day)).or_insert(notice);
        if last.at <= notice.at {
            *last = notice;
        }
    }
    let mut reports: Vec<Report> = by_site.values().take(REPORTS_MAX).map(|notice| words::report(notice)).collect();
    reports.extend(rest(by_site.len()));
    reports
}

/// Says how many sites have no report of their own.
fn rest(sites: usize) -> Option<Report> {
    let more = sites.checked_sub(REPORTS_MAX).filter(|more| *more > 0)?;
    let said = format!("The same is so for {} more: `formgate status` names them.", count(more as u64, "site"));
    Some(Report { title: String::new(), paragraphs: vec![said], facts: Vec::new(), table: None, cures: Vec::new() })
}

/// Returns the heading of a section; leads are counted in it.
fn heading(event: EventType, leads: u64) -> String {
    let counted = |what: &str| format!("{} {what}", count(leads, "lead"));
    let said = match event {
        EventType::LeadOverdue => return counted("overdue"),
        EventType::LeadDead => return counted("given up"),
        EventType::LeadHeld => return counted("held"),
        EventType::LeadDelivered => return counted("delivered"),
        EventType::SitePaused => "Refused keys",
        EventType::SiteResumed => "Keys accepted again",
        EventType::SitePostsRefused => "Refused posts",
        EventType::SiteTokenExpiring => "Tokens that expire",
        EventType::FormSilent => "Silent forms",
        EventType::GatewayConfigBroken => "Configuration",
        EventType::GatewayStoreDegraded => "Store",
        EventType::GatewayUpstreamDown => "KaiCalls is away",
        EventType::GatewayUpstreamUp => "KaiCalls is back",
        EventType::GatewayCertificateExpiring => "Certificates that expire",
        EventType::GatewayBackupFailed => "Backup",
        EventType::GatewayDegraded => "Gateway",
        EventType::GatewaySinkFailing => "Notifications",
        EventType::DigestDaily => "Daily summary",
        EventType::DigestWeekly => "Weekly summary",
        EventType::NotifyTest => "Test",
    };
    said.to_owned()
}

//! Events to tell of: one of every kind, and leads.

use formgate::event::EventType;
use formgate::lead::{Code, Draft, EntryId, FieldError, FormId, Lead, LeadField, SiteId};
use formgate::notify::notice::{
    CertificatesExpiring, Data, DegradedReason, DigestData, ExpiringCertificate, ExpiringToken, FailingSink,
    FormSilent, GatewayDegraded, GatewayUpstream, LeadContent, LeadData, LeadFacts, NamedSite, Notice, PostsRefused,
    RefusedPost, SinkFailing, SitePaused, SiteResumed, TestData, TokenExpiring,
};
use formgate::queue::{Reason, State};
use jiff::Timestamp;

use super::server::GATEWAY;

use crate::notify::sample_digest;

/// The moment at which everything happens.
pub(super) fn noon() -> Timestamp {
    time("2026-11-30T12:00:00Z")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub(super) fn acme() -> NamedSite {
    site("acme", Some("Acme Dental"))
}

pub(super) fn site(id: &str, name: Option<&str>) -> NamedSite {
    let id = SiteId::parse(id).expect("a site");
    NamedSite { id, name: name.map(str::to_owned), url: None }
}

pub(super) fn notice(number: u64, event: EventType, data: Data) -> Notice {
    Notice { id: format!("evt_{number:032x}"), event, at: noon(), data }
}

/// An event of a lead whose content isn't told.
pub(super) fn lead(number: u64, event: EventType, site: NamedSite) -> Notice {
    let (state, reason) = match event {
        EventType::LeadDelivered => (State::Delivered, Reason::Delivered),
        EventType::LeadHeld => (State::Held, Reason::Invalid),
        EventType::LeadDead => (State::Dead, Reason::Refused),
        _ => (State::Queued, Reason::Retrying),
    };
    let facts = LeadFacts {
        id: EntryId::new(1_796_000_000_000 + number, &[7; 10]),
        state,
        reason: Some(reason),
        erased: false,
        accepted_at: Some(time("2026-11-30T11:12:00Z")),
        attempts: Some(4),
        last_attempt: Some("503 Service Unavailable".to_owned()),
        lead_id: None,
        delivered: event == EventType::LeadDelivered,
        errors: Vec::new(),
        content: None,
    };
    let form = FormId::parse("contact").ok();
    notice(number, event, Data::Lead(Box::new(LeadData { site, form, lead: facts })))
}

/// An overdue lead with what its visitor sent.
pub(super) fn overdue(number: u64, site: NamedSite, name: &str, message: &str) -> Notice {
    let draft = Draft {
        name: Some(name),
        email: Some("jane@visitor.example"),
        phone: Some("+1 503 555 1234"),
        message: Some(message),
        extras: Vec::new(),
        form_name: None,
        region: None,
    };
    let content = LeadContent::Lead(Lead::check(draft).expect("a lead").lead);
    with_content(lead(number, EventType::LeadOverdue, site), content)
}

pub(super) fn with_content(mut notice: Notice, content: LeadContent) -> Notice {
    change(&mut notice, |facts| facts.content = Some(content));
    notice
}

pub(super) fn change(notice: &mut Notice, change: impl FnOnce(&mut LeadFacts)) {
    let Data::Lead(data) = &mut notice.data else { panic!("no lead") };
    change(&mut data.lead);
}

pub(super) fn paused(number: u64, site: NamedSite) -> Notice {
    let data = SitePaused {
        site,
        why: "401 Unauthorized".to_owned(),
        public_keys: vec!["wp_pk_1a2b".to_owned()],
        since: time("2026-11-30T09:12:00Z"),
        queued: 12,
        cure: "put the site's new key pair into its file",
    };
    notice(number, EventType::SitePaused, Data::SitePaused(data))
}

/// A refusal of posts by one mistake.
pub(super) fn mistake(mistake: &str, status: u16, count: u64, first_at: &str) -> RefusedPost {
    RefusedPost {
        mistake: mistake.to_owned(),
        status: Some(status),
        count,
        first_at: time(first_at),
        last_at: time("2026-11-30T11:58:00Z"),
        host: Some("www.acme.example".to_owned()),
        agent: Some("WordPress/7.1".to_owned()),
        cure: "make a new one with `formgate sites token add acme`, and paste the new URL".to_owned(),
    }
}

pub(super) fn refused(number: u64, refused: Vec<RefusedPost>) -> Notice {
    notice(number, EventType::SitePostsRefused, Data::PostsRefused(PostsRefused { site: acme(), refused }))
}

fn degraded(number: u64, event: EventType, reasons: &[&str]) -> Notice {
    let reason =
        |reason: &&str| DegradedReason { reason: (*reason).to_owned(), cure: "run `formgate check`".to_owned() };
    let data = GatewayDegraded { gateway: GATEWAY.to_owned(), reasons: reasons.iter().map(reason).collect() };
    notice(number, event, Data::Degraded(data))
}

pub(super) fn upstream(number: u64, event: EventType) -> Notice {
    let data = GatewayUpstream {
        gateway: GATEWAY.to_owned(),
        since: (event == EventType::GatewayUpstreamDown).then(|| time("2026-11-30T09:12:00Z")),
        why: (event == EventType::GatewayUpstreamDown).then(|| "503 Service Unavailable".to_owned()),
        queued: 412,
    };
    notice(number, event, Data::Upstream(data))
}

/// One of every type of event; of some there are more.
pub(super) fn of_every_type() -> Vec<Notice> {
    let mut held = lead(102, EventType::LeadHeld, acme());
    let missing =
        FieldError { field: Some(LeadField::Email), code: Code::Missing, detail: "no field has it".to_owned() };
    change(&mut held, |facts| facts.errors = vec![missing]);
    let mut late = lead(105, EventType::LeadOverdue, site("bakery", None));
    change(&mut late, |facts| facts.delivered = true);
    let mut all = vec![
        lead(101, EventType::LeadDelivered, acme()),
        held,
        lead(103, EventType::LeadDead, acme()),
        overdue(104, acme(), "Jane Doe", "Hello,\n\nplease call."),
        late,
        paused(106, acme()),
        notice(107, EventType::SiteResumed, Data::SiteResumed(SiteResumed { site: acme(), queued: 1 })),
        refused(108, vec![mistake("expired_token", 401, 37, "2026-11-30T09:12:00Z")]),
        refused(
            109,
            vec![
                mistake("no_credential", 401, 3, "2026-11-29T23:00:00Z"),
                mistake("upload_too_large", 413, 1, "2026-11-30T11:58:00Z"),
            ],
        ),
    ];
    all.extend(of_sites());
    all.extend(of_the_gateway());
    all
}

fn of_sites() -> Vec<Notice> {
    let token = ExpiringToken {
        sha256: "1a2b3c4d5e6f".to_owned(),
        note: Some("old website".to_owned()),
        expires: jiff::civil::date(2026, 12, 5),
    };
    let cure = "make a new one with `formgate sites token add acme`, and paste the new URL".to_owned();
    let expiring = TokenExpiring { site: acme(), tokens: vec![token], cure };
    let form = FormId::parse("contact").expect("a form");
    let silent = FormSilent { site: acme(), form, last_at: Some(time("2026-11-27T08:30:00Z")) };
    vec![
        notice(110, EventType::SiteTokenExpiring, Data::TokenExpiring(expiring)),
        notice(111, EventType::FormSilent, Data::FormSilent(silent)),
    ]
}

fn of_the_gateway() -> Vec<Notice> {
    let gateway = GATEWAY.to_owned();
    let certificate = ExpiringCertificate { listen: "0.0.0.0:8443".to_owned(), expires: time("2026-12-05T06:00:00Z") };
    let certificates = CertificatesExpiring { gateway: gateway.clone(), certificates: vec![certificate] };
    let sink = FailingSink {
        name: "acme/owner".to_owned(),
        since: time("2026-11-29T09:00:00Z"),
        error: "503 Service Unavailable".to_owned(),
        disabled: false,
        backlog: 1,
    };
    let sinks = SinkFailing { gateway: gateway.clone(), sinks: vec![sink], more: 0 };
    let message = "If you can read this, notifications arrive.";
    let test = TestData { gateway: gateway.clone(), sink: "ops".to_owned(), message };
    let daily = DigestData { gateway: gateway.clone(), site: None, figures: sample_digest() };
    let weekly = DigestData { gateway, site: Some(acme()), figures: sample_digest() };
    vec![
        degraded(120, EventType::GatewayConfigBroken, &["config_broken"]),
        degraded(121, EventType::GatewayStoreDegraded, &["store_damaged"]),
        upstream(122, EventType::GatewayUpstreamDown),
        upstream(123, EventType::GatewayUpstreamUp),
        notice(124, EventType::GatewayCertificateExpiring, Data::Certificates(certificates)),
        degraded(125, EventType::GatewayBackupFailed, &[]),
        degraded(126, EventType::GatewayDegraded, &["task_failing", "delivery_off"]),
        notice(127, EventType::GatewaySinkFailing, Data::SinkFailing(sinks)),
        notice(128, EventType::DigestDaily, Data::Digest(Box::new(daily))),
        notice(129, EventType::DigestWeekly, Data::Digest(Box::new(weekly))),
        notice(130, EventType::NotifyTest, Data::Test(test)),
    ]
}

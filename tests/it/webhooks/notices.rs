//! Events to send: of every type, with all that it can hold and with as little.

use formgate::event::{EventScope, EventType};
use formgate::lead::{Code, Draft, EntryId, FieldError, FormId, Lead, LeadField, SiteId};
use formgate::notify::notice::{
    CertificatesExpiring, Data, DegradedReason, DigestData, ExpiringCertificate, ExpiringToken, FailingSink,
    FormSilent, GatewayDegraded, GatewayUpstream, LeadContent, LeadData, LeadFacts, NamedSite, Notice, PostsRefused,
    RefusedPost, SentField, SinkFailing, SitePaused, SiteResumed, TestData, TokenExpiring, UnreadableLead,
};
use formgate::queue::{Reason, State};
use jiff::Timestamp;

use crate::notify::sample_digest;

/// What it says of when it happened.
pub(crate) const AT: &str = "2026-08-01T09:12:00.25Z";
/// What a visitor wrote.
pub(crate) const MESSAGE: &str = "Cracked \"molar\" 🦷\nплиз <b>call</b> & soon";

pub(crate) fn notice(event: EventType, data: Data) -> Notice {
    Notice { id: "evt_0198c1f0a2b87c3d9e4f5a6b7c8d9e0f".to_owned(), event, at: time(), data }
}

/// Returns events of every type.
pub(crate) fn of_every_type() -> Vec<Notice> {
    EventType::ALL.into_iter().flat_map(of_type).collect()
}

/// Returns an event with the content of a lead.
pub(crate) fn overdue(content: LeadContent) -> Notice {
    notice(EventType::LeadOverdue, lead(LeadFacts { content: Some(content), ..bare_lead() }))
}

/// Returns what a sink is sent to try it out.
pub(crate) fn test() -> Notice {
    of_type(EventType::NotifyTest).remove(0)
}

fn of_type(event: EventType) -> Vec<Notice> {
    let kinds = match event.scope() {
        EventScope::Lead => leads(),
        EventScope::Site => match event {
            EventType::SitePaused => vec![paused()],
            EventType::SiteResumed => vec![Data::SiteResumed(SiteResumed { site: named(), queued: 0 })],
            EventType::SitePostsRefused => vec![refused()],
            EventType::SiteTokenExpiring => vec![expiring()],
            _ => [Some(time()), None].map(silent).into(),
        },
        EventScope::Gateway => match event {
            EventType::GatewayUpstreamDown => vec![upstream(Some(time()), Some("502 Bad Gateway"))],
            EventType::GatewayUpstreamUp => vec![upstream(None, None)],
            EventType::GatewayCertificateExpiring => vec![certificates()],
            EventType::GatewaySinkFailing => vec![failing()],
            _ => vec![degraded(&["store_set_aside"]), degraded(&[])],
        },
        EventScope::Digest => [Some(named()), None].map(digest).into(),
        EventScope::Sink => {
            vec![Data::Test(TestData { gateway: gateway(), sink: "ops".to_owned(), message: "a test" })]
        }
    };
    kinds.into_iter().map(|data| notice(event, data)).collect()
}

fn leads() -> Vec<Data> {
    let error = FieldError::new(LeadField::Email, Code::Invalid, "is no e-mail address");
    let whole = FieldError { field: None, code: Code::NoFields, detail: "has no field".to_owned() };
    let full = LeadFacts {
        reason: Some(Reason::GaveUp),
        accepted_at: Some(time()),
        attempts: Some(12),
        last_attempt: Some("502 Bad Gateway".to_owned()),
        lead_id: Some("lead_1".to_owned()),
        delivered: true,
        errors: vec![error, whole],
        content: Some(LeadContent::Lead(a_lead(MESSAGE))),
        ..bare_lead()
    };
    let without_phone = Draft { email: Some("ann@acme.example"), message: Some("Hello"), ..Draft::default() };
    let without_phone = Lead::check(without_phone).expect("a lead").lead;
    [
        full.clone(),
        LeadFacts { content: Some(LeadContent::Lead(without_phone)), ..full.clone() },
        LeadFacts { content: Some(unreadable(MESSAGE)), state: State::Held, ..full },
        LeadFacts { erased: true, ..bare_lead() },
        bare_lead(),
    ]
    .map(lead)
    .into()
}

fn lead(lead: LeadFacts) -> Data {
    let form = Some(FormId::parse("contact").expect("an id")).filter(|_| lead.accepted_at.is_some());
    Data::Lead(Box::new(LeadData { site: named(), form, lead }))
}

fn bare_lead() -> LeadFacts {
    LeadFacts {
        id: EntryId::new(1_785_575_520_000, &[7; 10]),
        state: State::Dead,
        reason: None,
        erased: false,
        accepted_at: None,
        attempts: None,
        last_attempt: None,
        lead_id: None,
        delivered: false,
        errors: Vec::new(),
        content: None,
    }
}

fn a_lead(message: &str) -> Lead {
    let draft = Draft {
        name: Some("Ann Müller"),
        email: Some("ann@acme.example"),
        phone: Some("+12025550143"),
        message: Some(message),
        ..Draft::default()
    };
    Lead::check(draft).expect("a lead").lead
}

/// Returns what a visitor sent that makes no lead.
pub(crate) fn unreadable(value: &str) -> LeadContent {
    let field = SentField { label: "Your problem".to_owned(), value: value.to_owned() };
    LeadContent::Unreadable(UnreadableLead { fields: vec![field] })
}

fn paused() -> Data {
    Data::SitePaused(SitePaused {
        site: NamedSite { name: None, url: None, ..named() },
        why: "401 Invalid API keys".to_owned(),
        public_keys: vec!["wp_pk_acme".to_owned()],
        since: time(),
        queued: 12,
        cure: "make new keys in KaiCalls' dashboard",
    })
}

fn refused() -> Data {
    let post = RefusedPost {
        mistake: "token_expired".to_owned(),
        status: Some(401),
        count: 37,
        first_at: time(),
        last_at: time(),
        host: Some("acme.example".to_owned()),
        agent: Some("WordPress/6.8".to_owned()),
        cure: "make a new token".to_owned(),
    };
    let bare = RefusedPost { host: None, agent: None, ..post.clone() };
    Data::PostsRefused(PostsRefused { site: named(), refused: vec![post, bare] })
}

fn expiring() -> Data {
    let expires = "2026-08-15".parse().expect("a date");
    let token = ExpiringToken { sha256: "0123456789ab".to_owned(), note: Some("old plugin".to_owned()), expires };
    let bare = ExpiringToken { note: None, ..token.clone() };
    Data::TokenExpiring(TokenExpiring { site: named(), tokens: vec![token, bare], cure: "make a new one".to_owned() })
}

fn silent(last_at: Option<Timestamp>) -> Data {
    Data::FormSilent(FormSilent { site: named(), form: FormId::parse("contact").expect("an id"), last_at })
}

fn degraded(reasons: &[&str]) -> Data {
    let reason = |reason: &&str| DegradedReason { reason: (*reason).to_owned(), cure: "run formgate store".to_owned() };
    Data::Degraded(GatewayDegraded { gateway: gateway(), reasons: reasons.iter().map(reason).collect() })
}

fn upstream(since: Option<Timestamp>, why: Option<&str>) -> Data {
    Data::Upstream(GatewayUpstream { gateway: gateway(), since, why: why.map(str::to_owned), queued: 412 })
}

fn certificates() -> Data {
    let certificate = ExpiringCertificate { listen: "0.0.0.0:443".to_owned(), expires: time() };
    Data::Certificates(CertificatesExpiring { gateway: gateway(), certificates: vec![certificate] })
}

fn failing() -> Data {
    let name = "chat".to_owned();
    let error = "503 Service Unavailable".to_owned();
    let sink = FailingSink { name, since: time(), error, disabled: false, backlog: 3 };
    Data::SinkFailing(SinkFailing { gateway: gateway(), sinks: vec![sink], more: 0 })
}

fn digest(site: Option<NamedSite>) -> Data {
    Data::Digest(Box::new(DigestData { gateway: gateway(), site, figures: sample_digest() }))
}

fn named() -> NamedSite {
    let id = SiteId::parse("acme").expect("an id");
    NamedSite { id, name: Some("Acme Dental".to_owned()), url: Some("https://acme.example".to_owned()) }
}

fn gateway() -> String {
    "https://gate.agency.example".to_owned()
}

fn time() -> Timestamp {
    AT.parse().expect("a time")
}

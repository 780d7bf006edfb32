//! An event with what it tells, read at the moment it is sent: what each sink makes its message of.
//!
//! The shapes here are those of `data` in `docs/events.md`; names and order of their keys are a promise.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::event::EventType;
use crate::lead::{EntryId, FormId, Lead, SiteId};
use crate::operate::Digest;
use crate::queue::{Reason, State};

/// An event, for one sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The same however often it is sent: `evt_` and 32 hexadecimal digits.
    pub id: String,
    pub event: EventType,
    /// When it happened.
    pub at: Timestamp,
    pub data: Data,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    Lead(Box<LeadData>),
    SitePaused(SitePaused),
    SiteResumed(SiteResumed),
    PostsRefused(PostsRefused),
    TokenExpiring(TokenExpiring),
    FormSilent(FormSilent),
    Degraded(GatewayDegraded),
    Upstream(GatewayUpstream),
    Certificates(CertificatesExpiring),
    SinkFailing(SinkFailing),
    Digest(Box<DigestData>),
    Test(TestData),
}

/// A site, as people know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamedSite {
    pub id: SiteId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `lead.*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeadData {
    pub site: NamedSite,
    pub form: Option<FormId>,
    pub lead: LeadFacts,
}

/// A lead. Without its content there is no word of the visitor in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeadFacts {
    pub id: EntryId,
    /// As the event says: it may have gone on since.
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// It was erased, or kept for as long as it is: what follows isn't known any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How the last attempt ended: the status and KaiCalls' words, masked of the lead's own values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<String>,
    /// What KaiCalls calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<String>,
    /// Whether KaiCalls has it by now.
    pub delivered: bool,
    /// Why it is no lead: field, code and detail, without a value of the visitor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<crate::lead::FieldError>,
    /// Only for a sink with `leads = true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<LeadContent>,
}

/// What the visitor sent. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LeadContent {
    /// `{"name", "email", "phone"?, "message"}`
    Lead(Lead),
    /// It makes no lead: every field as it was read, `{"fields": [{"label", "value"}]}`.
    Unreadable(UnreadableLead),
}

/// A held submission that makes no lead. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableLead {
    pub fields: Vec<SentField>,
}

/// A field as it was posted.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SentField {
    pub label: String,
    pub value: String,
}

/// `site.paused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SitePaused {
    pub site: NamedSite,
    /// KaiCalls' words.
    pub why: String,
    /// The keys that are refused, by what is no secret of them.
    pub public_keys: Vec<String>,
    pub since: Timestamp,
    /// Leads of the site that wait.
    pub queued: u64,
    pub cure: &'static str,
}

/// `site.resumed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SiteResumed {
    pub site: NamedSite,
    pub queued: u64,
}

/// `site.posts_refused`: those posts are lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PostsRefused {
    pub site: NamedSite,
    pub refused: Vec<RefusedPost>,
}

/// Posts that were refused for one mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedPost {
    pub mistake: String,
    /// None where a version wrote it down that didn't keep the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    pub cure: String,
}

/// `site.token_expiring`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenExpiring {
    pub site: NamedSite,
    pub tokens: Vec<ExpiringToken>,
    pub cure: String,
}

/// A token that expires soon, or has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpiringToken {
    /// The first 12 digits of its SHA-256.
    pub sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The last day (UTC) on which it is valid.
    pub expires: Date,
}

/// `form.silent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormSilent {
    pub site: NamedSite,
    pub form: FormId,
    pub last_at: Option<Timestamp>,
}

/// `gateway.config_broken`, `.store_degraded`, `.backup_failed`, `.degraded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayDegraded {
    /// The gateway's public URL.
    pub gateway: String,
    /// What needs a person now, of what the event is about; empty: it is well again by the time this is sent.
    pub reasons: Vec<DegradedReason>,
}

/// As in `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DegradedReason {
    pub reason: String,
    pub cure: String,
}

/// `gateway.upstream_down`, `gateway.upstream_up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayUpstream {
    pub gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Leads of all sites that wait.
    pub queued: u64,
}

/// `gateway.certificate_expiring`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificatesExpiring {
    pub gateway: String,
    pub certificates: Vec<ExpiringCertificate>,
}

/// A listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpiringCertificate {
    pub listen: String,
    pub expires: Timestamp,
}

/// `gateway.sink_failing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkFailing {
    pub gateway: String,
    /// At most 20.
    pub sinks: Vec<FailingSink>,
    /// So many more.
    pub more: usize,
}

/// A sink that takes no events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingSink {
    pub name: String,
    pub since: Timestamp,
    /// Without its URL or address.
    pub error: String,
    /// It answered 410: nothing is sent to it any more.
    pub disabled: bool,
    pub backlog: u64,
}

/// `digest.daily`, `digest.weekly`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DigestData {
    pub gateway: String,
    /// The only site it is about, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<NamedSite>,
    #[serde(flatten)]
    pub figures: Digest,
}

/// `notify.test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestData {
    pub gateway: String,
    pub sink: String,
    pub message: &'static str,
}

impl Notice {
    /// Returns the only site it is about.
    pub fn site(&self) -> Option<&NamedSite> {
        match &self.data {
            Data::Lead(data) => Some(&data.site),
            Data::SitePaused(data) => Some(&data.site),
            Data::SiteResumed(data) => Some(&data.site),
            Data::PostsRefused(data) => Some(&data.site),
            Data::TokenExpiring(data) => Some(&data.site),
            Data::FormSilent(data) => Some(&data.site),
            Data::Digest(data) => data.site.as_ref(),
            Data::Degraded(_) | Data::Upstream(_) | Data::Certificates(_) | Data::SinkFailing(_) | Data::Test(_) => {
                None
            }
        }
    }

    /// Returns the lead it is about.
    pub fn lead(&self) -> Option<&LeadData> {
        match &self.data {
            Data::Lead(data) => Some(data),
            _ => None,
        }
    }
}

impl std::fmt::Debug for LeadContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeadContent(..)")
    }
}

impl std::fmt::Debug for UnreadableLead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnreadableLead").field("fields", &self.fields.len()).finish()
    }
}

impl std::fmt::Debug for SentField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SentField { .. }")
    }
}

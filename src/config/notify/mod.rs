//! `[[notify]]`, `[mail]` and `[alerts]`: who is told of what, and how.

mod address;

mod alerts;

mod choice;

mod mail;

mod sink;

mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) use alerts::{KEYS as ALERTS_KEYS, compile as compile_alerts, silence};
pub(super) use mail::{KEYS as MAIL_KEYS, WrittenMail, compile as compile_mail};
pub(super) use sink::{KEYS as SINK_KEYS, SinkContext, SinkOwner, WrittenSink, list as compile_sinks};

use crate::destination::Secret;
use crate::event::{EventPattern, EventType};
use crate::lead::{Email, FormId, InvalidEmail, SiteId};

/// A `[[notify]]` table: where events go. Shared by what is told to it, and what is shown of it.
///
/// `Debug` shows neither URL nor addresses: a URL is often a secret in itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Sink {
    /// Unique in the configuration: `[a-z0-9][a-z0-9_-]{0,63}`, of one in a site's file with the site before it (`acme/owner`).
    pub name: String,
    pub target: SinkTarget,
    pub events: Vec<EventPattern>,
    pub sites: SinkSites,
    /// With the content of leads; then `sites` was said.
    pub leads: bool,
}

/// Where a sink's events go.
#[derive(Clone, PartialEq, Eq)]
pub enum SinkTarget {
    Webhook(WebhookTarget),
    /// Each address gets mails of its own.
    Mail(Vec<MailAddress>),
}

/// A URL that events are posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    /// `https://`, or `http://` to this machine's loopback. May hold a token.
    pub url: Secret,
    /// The bytes of each `whsec_…`; the first signs, and so do the others while they are rotated. Empty: unsigned.
    pub secrets: Vec<SigningKey>,
    pub format: WebhookFormat,
    /// Whether it may be at a private address: it was said, or the URL is `http://` to loopback.
    pub allow_private: bool,
}

/// The key of a signature: 24 to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(pub(crate) Vec<u8>);

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// Standard Webhooks: `{"type", "timestamp", "data"}`, signed where there is a secret.
    Standard,
    /// `{"text"}`: one readable line.
    Slack,
}

/// An e-mail address that mail can be sent to. `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailAddress(pub(crate) String);

/// Of which sites a sink is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSites {
    /// All of them, and the gateway itself.
    All,
    /// These, and nothing of the gateway.
    Only(BTreeSet<SiteId>),
}

/// `[mail]`: the server that mail is handed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: MailAddress,
}

/// How a connection to the mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// `smtps://`: from the first byte.
    Tls,
    /// `smtp://`: STARTTLS, without which nothing is sent.
    StartTls,
    /// `smtp://` to this machine's loopback.
    None,
}

/// `[alerts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// How long a lead may wait before it is overdue; none: `"off"`.
    pub overdue: Option<Duration>,
    /// When a form that is silent is told of.
    pub silence: Silence,
}

/// `silence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    Auto,
    Off,
    After(Duration),
}

/// What a site's own file says of who is told.
#[derive(Clone, Debug, Default)]
pub struct SiteNotify {
    /// Its sinks that can be used; they are told of this site alone.
    pub sinks: Vec<Arc<Sink>>,
    /// The names of those whose URL, secret or `[mail]` can't be had.
    pub lacking: Vec<String>,
    /// Its own `silence`.
    pub silence: Option<Silence>,
    /// The own `silence` of its forms.
    pub form_silence: BTreeMap<FormId, Silence>,
}

impl SiteNotify {
    /// Returns what counts for a form: its own `silence`, else the site's, else that of `[alerts]`.
    pub fn silence_of(&self, form: &FormId, alerts: &Alerts) -> Silence {
        self.form_silence.get(form).copied().or(self.silence).unwrap_or(alerts.silence)
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self { overdue: Some(Duration::from_secs(30 * 60)), silence: Silence::Auto }
    }
}

impl Sink {
    /// Tells whether it mails, and so needs `[mail]`.
    pub fn is_mail(&self) -> bool {
        matches!(self.target, SinkTarget::Mail(_))
    }

    /// Tells whether it stands in a site's file: a slash is in no other name.
    pub fn is_of_site_file(&self) -> bool {
        self.name.contains('/')
    }

    /// Tells whether it wants an event of a site, or of the gateway where there is none. A digest is made for each sink, of
    /// its own sites.
    pub fn wants(&self, event: EventType, site: Option<&SiteId>) -> bool {
        use crate::event::EventScope;
        let is_chosen = self.events.iter().any(|pattern| pattern.matches(event));
        let is_its_site = match (&self.sites, site) {
            (SinkSites::All, _) => true,
            (SinkSites::Only(sites), Some(site)) => sites.contains(site),
            (SinkSites::Only(_), None) => event.scope() == EventScope::Digest,
        };
        is_chosen && is_its_site
    }
}

impl SigningKey {
    /// How many bytes a key may have, as Standard Webhooks says.
    pub const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// Makes a key of bytes; none where they are too few or too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        Self::BYTES.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Returns its bytes; for signing only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl MailAddress {
    /// Reads an address, by the rule for a visitor's.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        Email::parse(text).map(|email| Self(email.into()))
    }

    /// Returns the address; for sending only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).field("sites", &self.sites).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MailAddress(..)")
    }
}

//! How the sinks of `[[notify]]` do, for `notify list` and the admin API.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Sink, SinkSites, SinkTarget, WebhookFormat};

/// How a sink does. Names and order of its keys are a promise; neither URL nor address is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    pub name: String,
    /// `webhook`, `slack` or `mail`.
    pub kind: String,
    pub events: Vec<String>,
    /// `["*"]`: all of them.
    pub sites: Vec<String>,
    pub leads: bool,
    pub state: SinkState,
    /// Since when it is failing or disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Events that wait.
    pub backlog: u64,
    /// There are more, in the outbox.
    pub has_more: bool,
    pub sent: u64,
    /// Events that were given up after three days, or were dropped because too many waited.
    pub lost: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent_at: Option<Timestamp>,
}

/// Whether a sink takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    Ok,
    /// The last try failed.
    Failing,
    /// It answered 410.
    Disabled,
}

impl SinkStatus {
    /// A sink of which nothing is known yet.
    pub fn of(sink: &Sink) -> Self {
        let kind = match &sink.target {
            SinkTarget::Mail(_) => "mail",
            SinkTarget::Webhook(webhook) => match webhook.format {
                WebhookFormat::Standard => "webhook",
                WebhookFormat::Slack => "slack",
            },
        };
        let sites = match &sink.sites {
            SinkSites::All => vec!["*".to_owned()],
            SinkSites::Only(sites) => sites.iter().map(|site| site.to_string()).collect(),
        };
        Self {
            name: sink.name.clone(),
            kind: kind.to_owned(),
            events: sink.events.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            sites,
            leads: sink.leads,
            state: SinkState::Ok,
            since: None,
            error: None,
            backlog: 0,
            has_more: false,
            sent: 0,
            lost: 0,
            last_sent_at: None,
        }
    }
}

impl SinkState {
    /// Returns the state as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        }
    }
}

//! What all sinks share: the HTTP client, and the mail server.

use jiff::Timestamp;

use super::{Sent, SinkFailure};
use crate::config::{Config, MailAddress, WebhookTarget};
use crate::notify::notice::Notice;

/// Sends what lanes give it.
#[derive(Clone, Default)]
pub(in crate::notify) struct Outlets {}

impl Outlets {
    /// Makes what a configuration's sinks need.
    pub(in crate::notify) fn of(_config: &Config) -> Self {
        Self {}
    }

    /// Posts an event.
    pub(in crate::notify) async fn post(&self, _target: &WebhookTarget, _notice: &Notice, _now: Timestamp) -> Sent {
        Sent::Failed(SinkFailure::new("not yet"))
    }

    /// Sends one mail that tells of all these events.
    pub(in crate::notify) async fn mail(&self, _to: &MailAddress, _notices: &[Notice], _gateway: &str) -> Sent {
        Sent::Failed(SinkFailure::new("not yet"))
    }
}

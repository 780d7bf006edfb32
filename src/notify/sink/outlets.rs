//! What all sinks share: the HTTP client, and the mail server.

use std::sync::Arc;

use jiff::Timestamp;

use super::mail::Mailer;
use super::webhook::WebhookClient;
use super::{Sent, SinkFailure};
use crate::config::{Config, MailAddress, WebhookTarget};
use crate::notify::notice::Notice;

/// Sends what lanes give it. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::notify) struct Outlets {
    webhooks: Option<WebhookClient>,
    mailer: Option<Arc<Mailer>>,
}

impl Outlets {
    /// Makes what a configuration's sinks need. What can't be made fails with each event: those wait.
    pub(in crate::notify) fn of(config: &Config) -> Self {
        let webhooks = WebhookClient::new().inspect_err(|error| {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "notify.no_client: no event is posted until the configuration changes");
        });
        let mailer = config.mail.as_ref().map(Mailer::new).transpose().inspect_err(|error| {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "notify.no_mailer: no mail is sent until [mail] changes");
        });
        Self { webhooks: webhooks.ok(), mailer: mailer.ok().flatten().map(Arc::new) }
    }

    /// Posts an event.
    pub(in crate::notify) async fn post(&self, target: &WebhookTarget, notice: &Notice, now: Timestamp) -> Sent {
        match &self.webhooks {
            Some(webhooks) => webhooks.post(target, notice, now).await,
            None => Sent::Failed(SinkFailure::new("the HTTP client can't be set up")),
        }
    }

    /// Sends one mail that tells of all these events.
    pub(in crate::notify) async fn mail(&self, to: &MailAddress, notices: &[Notice], gateway: &str) -> Sent {
        match &self.mailer {
            Some(mailer) => mailer.send(to, notices, gateway).await,
            None => Sent::Failed(SinkFailure::new("[mail] is missing or can't be used: run `formgate check`")),
        }
    }
}

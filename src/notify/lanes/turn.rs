//! One turn of a lane: some events are read, and sent in order until one fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::LaneTarget;
use crate::config::{MailAddress, Sink, WebhookTarget};
use crate::notify::content::Reader;
use crate::notify::notice::Notice;
use crate::notify::routing::Routed;
use crate::notify::sink::mail::fitting;
use crate::notify::sink::{Outlets, Sent, SinkFailure};
use crate::queue::StoreError;
use crate::telemetry::catch_async;

/// Some events of a lane.
pub(super) struct Turn {
    pub(super) key: String,
    pub(super) generation: u64,
    pub(super) sink: Arc<Sink>,
    pub(super) target: LaneTarget,
    pub(super) events: Vec<Routed>,
    /// It counts as a mail of alerts, of which an hour holds so many.
    pub(super) is_alert_mail: bool,
}

/// How long a webhook's turn may go on: then others have theirs.
const TURN_TIME: Duration = Duration::from_secs(5);

/// How a turn ended.
pub(super) struct TurnEnd {
    pub(super) key: String,
    /// Of the lane that began it: another may have its key by now.
    pub(super) generation: u64,
    pub(super) is_alert_mail: bool,
    /// The first so many events are dealt with.
    pub(super) dealt_with: usize,
    /// Of these, those that the sink took; the others are of no interest any more.
    pub(super) taken: usize,
    pub(super) end: Sent,
}

/// How far a turn has come.
#[derive(Default)]
struct Progress {
    dealt_with: usize,
    taken: usize,
}

impl Turn {
    /// Sends until all are sent or one fails.
    pub(super) async fn run(self, reader: Reader, outlets: Outlets) -> TurnEnd {
        let mut progress = Progress::default();
        let sending = catch_async(self.send(&reader, &outlets, &mut progress)).await;
        let end = sending.unwrap_or_else(|panicked| {
            tracing::error!(
                sink = self.sink.name,
                location = panicked.location,
                "notify.panicked: an event couldn't be sent; please report the location"
            );
            Sent::Failed(SinkFailure::new("formgate itself failed while it sent the event"))
        });
        TurnEnd {
            key: self.key,
            generation: self.generation,
            is_alert_mail: self.is_alert_mail,
            dealt_with: progress.dealt_with,
            taken: progress.taken,
            end,
        }
    }

    async fn send(&self, reader: &Reader, outlets: &Outlets, progress: &mut Progress) -> Sent {
        match &self.target {
            LaneTarget::Webhook(target) => self.post(target, reader, outlets, progress).await,
            LaneTarget::Alerts(address) | LaneTarget::Overdue(address) => {
                self.mail(address, reader, outlets, progress).await
            }
        }
    }

    /// Posts one by one, in order.
    async fn post(&self, target: &WebhookTarget, reader: &Reader, outlets: &Outlets, progress: &mut Progress) -> Sent {
        let begun = Instant::now();
        for event in &self.events {
            if begun.elapsed() > TURN_TIME {
                break;
            }
            let notice = match reader.read(event, &self.sink).await {
                Ok(notice) => notice,
                Err(error) => return unreadable(&error),
            };
            if let Some(notice) = notice {
                match outlets.post(target, &notice, reader.now()).await {
                    Sent::Taken => progress.taken += 1,
                    not_taken => return not_taken,
                }
            }
            progress.dealt_with += 1;
        }
        Sent::Taken
    }

    /// Sends all in one mail, or as many as it holds.
    async fn mail(&self, address: &MailAddress, reader: &Reader, outlets: &Outlets, progress: &mut Progress) -> Sent {
        let mut notices: Vec<Notice> = Vec::new();
        let mut looked_at = 0;
        for event in &self.events {
            match reader.read(event, &self.sink).await {
                Ok(Some(notice)) => {
                    notices.push(notice);
                    // One that doesn't fit is in the next mail, so none is ever cut.
                    if fitting(&notices) < notices.len() {
                        notices.pop();
                        break;
                    }
                }
                Ok(None) => {}
                Err(error) => return unreadable(&error),
            }
            looked_at += 1;
        }
        if !notices.is_empty() {
            match outlets.mail(address, &notices, &reader.url()).await {
                Sent::Taken => progress.taken = notices.len(),
                not_taken => return not_taken,
            }
        }
        progress.dealt_with = looked_at;
        Sent::Taken
    }
}

fn unreadable(error: &StoreError) -> Sent {
    tracing::warn!(%error, "notify.unreadable: what an event tells can't be read from the store; trying again");
    Sent::Failed(SinkFailure::new("what the event tells can't be read from the store"))
}

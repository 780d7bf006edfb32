//! KaiCalls' summary of a business' recent leads, asked for at most once an hour for each key pair, as its API asks.
//!
//! The answers hold visitors' names: they are in memory only, and neither logged nor written down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::destination::KeyPair;
use crate::kaicalls::{Client, Envelope, Reply, Widget};

/// How long an answer is good for.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// Most answers that are kept.
const KEPT_MAX: usize = 10_000;
/// Longest wait for an answer: an operator waits for it.
const ASK_TIME: Duration = Duration::from_secs(10);

/// Asks KaiCalls, and keeps what it answers for an hour. Clones share it.
#[derive(Clone)]
pub struct Widgets {
    client: Client,
    kept: Arc<Mutex<HashMap<KeyPairName, (Timestamp, Widget)>>>,
}

/// A pair by its public key and the digest of its secret one: with another secret KaiCalls is asked anew.
type KeyPairName = (String, [u8; 32]);

/// What KaiCalls answered, or why it didn't.
pub(super) struct WidgetAnswer {
    pub(super) asked_at: Timestamp,
    pub(super) widget: Result<Widget, String>,
}

impl Widgets {
    pub fn new(client: Client) -> Self {
        Self { client, kept: Arc::default() }
    }

    /// Returns the recent leads of a key pair's business. A failure isn't kept.
    pub(super) async fn ask(&self, keys: &KeyPair, now: Timestamp) -> WidgetAnswer {
        let is_fresh = |asked_at: &Timestamp| *asked_at <= now && now.duration_since(*asked_at) < KEPT;
        let name = name(keys);
        let kept = self.kept.lock().get(&name).filter(|(asked_at, _)| is_fresh(asked_at)).cloned();
        if let Some((asked_at, widget)) = kept {
            return WidgetAnswer { asked_at, widget: Ok(widget) };
        }
        let reply = timeout(ASK_TIME, self.client.dashboard_widget(keys)).await;
        let widget = reply.map_or_else(|_elapsed| Err("KaiCalls didn't answer in time".to_owned()), read);
        if let Ok(widget) = &widget {
            let mut kept = self.kept.lock();
            if kept.len() >= KEPT_MAX {
                kept.retain(|_, (asked_at, _)| is_fresh(asked_at));
            }
            if kept.len() < KEPT_MAX {
                kept.insert(name, (now, widget.clone()));
            }
        }
        WidgetAnswer { asked_at: now, widget }
    }
}

fn name(keys: &KeyPair) -> KeyPairName {
    use sha2::{Digest as _, Sha256};
    (keys.public().to_owned(), Sha256::digest(keys.secret().expose()).into())
}

fn read(reply: Reply<Widget>) -> Result<Widget, String> {
    match reply {
        Reply::Answered(answer) => match answer.envelope {
            Envelope::Success(widget) => Ok(widget),
            Envelope::Failure => Err(match answer.words {
                Some(words) => format!("KaiCalls answered {}: {words}", answer.status),
                None => format!("KaiCalls answered {}", answer.status),
            }),
            Envelope::Other(body) => Err(format!("KaiCalls answered {} with {body}", answer.status)),
        },
        Reply::Failed(failed) => Err(format!("KaiCalls can't be reached: {failed}")),
    }
}

//! KaiCalls' summary of a business' recent leads, asked for at most once an hour for each key pair, as its API asks.
//!
//! The answers hold visitors' names: they are in memory only, and neither logged nor written down.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

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
    pairs: Arc<Mutex<HashMap<KeyPairName, Arc<Asked>>>>,
}

/// A pair by its public key and the digest of its secret one: with another secret KaiCalls is asked anew.
type KeyPairName = (String, [u8; 32]);

/// The last answer for a pair. Whoever asks while KaiCalls is being asked waits for the same answer.
#[derive(Default)]
struct Asked(tokio::sync::Mutex<Option<Told>>);

struct Told {
    came: Instant,
    answer: WidgetAnswer,
}

/// What KaiCalls answered, or why it didn't.
#[derive(Clone)]
pub(super) struct WidgetAnswer {
    pub(super) asked_at: Timestamp,
    pub(super) widget: Result<Widget, String>,
    /// What formgate had delivered in the seven days before: what came later can't be in KaiCalls' answer.
    pub(super) delivered_7d: u64,
}

impl WidgetAnswer {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.widget.is_ok() && self.asked_at <= now && now.duration_since(self.asked_at) < KEPT
    }
}

impl Widgets {
    pub fn new(client: Client) -> Self {
        Self { client, pairs: Arc::default() }
    }

    /// Returns the recent leads of a key pair's business, with what `count` says was delivered when KaiCalls was asked.
    /// A failure is only for those who waited for it.
    pub(super) async fn ask<E>(
        &self,
        keys: &KeyPair,
        now: Timestamp,
        count: impl Future<Output = Result<u64, E>>,
    ) -> Result<WidgetAnswer, E> {
        let since = Instant::now();
        let asked = self.asked(keys, now);
        let mut told = asked.0.lock().await;
        if let Some(told) = told.as_ref().filter(|told| since <= told.came || told.answer.is_fresh(now)) {
            return Ok(told.answer.clone());
        }
        let delivered_7d = count.await?;
        let reply = timeout(ASK_TIME, self.client.dashboard_widget(keys)).await;
        let widget = reply.map_or_else(|_elapsed| Err("KaiCalls didn't answer in time".to_owned()), read);
        let answer = WidgetAnswer { asked_at: now, widget, delivered_7d };
        *told = Some(Told { came: Instant::now(), answer: answer.clone() });
        Ok(answer)
    }

    /// Returns the place of a pair's answer; one of its own, where there is no room for another.
    fn asked(&self, keys: &KeyPair, now: Timestamp) -> Arc<Asked> {
        let mut pairs = self.pairs.lock();
        let name = name(keys);
        if let Some(asked) = pairs.get(&name) {
            return Arc::clone(asked);
        }
        if pairs.len() >= KEPT_MAX {
            // What can't be locked is being asked.
            let is_fresh = |told: &Option<Told>| told.as_ref().is_some_and(|told| told.answer.is_fresh(now));
            pairs.retain(|_, asked| asked.0.try_lock().map_or(true, |told| is_fresh(&told)));
        }
        let asked = Arc::<Asked>::default();
        if pairs.len() < KEPT_MAX {
            pairs.insert(name, Arc::clone(&asked));
        }
        asked
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

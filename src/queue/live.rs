//! What happens now, for whoever watches: the end of each request and of each attempt.
//!
//! Nobody waits for a watcher. Events go through a ring of [`LIVE_KEPT`]; a watcher that is slower than they come loses the
//! oldest and is told how many. While nobody watches, telling costs one look at a number. There is no personal data in
//! an event: an attempt's words are masked of the lead's own values, as in its history.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::{broadcast, watch};

use super::activity::Mistake;
use super::{AttemptResult, Confirmed, Head, Reason, Settlement, State};
use crate::lead::{EntryId, FormId, SiteId};
use crate::telemetry::RequestEnd;

/// Events that wait for a slow watcher.
pub const LIVE_KEPT: usize = 1_024;

/// Tells what happens. Clones tell the same watchers.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    watchers: AtomicUsize,
    events: broadcast::Sender<Arc<LiveEvent>>,
    closed: watch::Sender<Option<LiveEnd>>,
}

/// Sees what happens from its beginning on.
pub struct LiveWatcher {
    shared: Arc<Shared>,
    events: broadcast::Receiver<Arc<LiveEvent>>,
    closed: watch::Receiver<Option<LiveEnd>>,
}

/// What a watcher sees.
#[derive(Clone, Debug)]
pub enum LiveSeen {
    Event(Arc<LiveEvent>),
    /// So many events came too fast for it, of whichever sites.
    Missed(u64),
    /// Nothing more happens in this process.
    Ended(LiveEnd),
}

/// Why a process tells nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveEnd {
    Stopping,
    /// Another process has taken its place, and tells from now on.
    Upgraded,
}

/// Something that has ended. Its JSON is what `/api/v1/stream` sends.
#[derive(Clone, Debug, Serialize)]
pub struct LiveEvent {
    #[serde(serialize_with = "millisecond")]
    pub at: Timestamp,
    /// Only one of the configuration.
    pub site: Option<SiteId>,
    pub form: Option<FormId>,
    /// The entry, where something was stored.
    pub id: Option<EntryId>,
    #[serde(flatten)]
    pub what: LiveWhat,
    pub duration_ms: u64,
}

/// What has ended, and how.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum LiveWhat {
    Request(LiveRequest),
    Attempt(LiveAttempt),
}

/// How a request to the gateway ended.
#[derive(Clone, Debug, Serialize)]
pub struct LiveRequest {
    #[serde(serialize_with = "end_word")]
    pub result: RequestEnd,
    /// What was wrong, where it was refused.
    #[serde(serialize_with = "mistake_word")]
    pub mistake: Option<Mistake>,
    /// Why it is held.
    pub reason: Option<Reason>,
    /// As it was answered; none where there was no answer.
    pub status: Option<u16>,
    pub request_id: String,
}

/// How an attempt to deliver a lead ended.
#[derive(Clone, Debug, Serialize)]
pub struct LiveAttempt {
    pub number: u32,
    pub result: AttemptResult,
    /// Where the lead is now.
    pub state: State,
    /// KaiCalls' status; none where there was no answer.
    pub status: Option<u16>,
    /// KaiCalls' words or the transport's failure, masked of the lead's own values.
    pub reason: Option<String>,
    /// Nothing was posted: an attempt before had arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
    /// When it is tried next, unless something ends the wait.
    #[serde(serialize_with = "optional_millisecond")]
    pub next_try_at: Option<Timestamp>,
}

impl Default for Live {
    fn default() -> Self {
        let (events, _) = broadcast::channel(LIVE_KEPT);
        Self(Arc::new(Shared { watchers: AtomicUsize::new(0), events, closed: watch::Sender::new(None) }))
    }
}

impl Live {
    /// Tells an event; it is made only where somebody watches.
    pub fn tell(&self, event: impl FnOnce() -> Option<LiveEvent>) {
        // A watcher that begins in this moment may miss it: it sees what happens after its beginning.
        if self.0.watchers.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(event) = event() {
            // Whoever watched may have left meanwhile.
            self.0.events.send(Arc::new(event)).ok();
        }
    }

    /// Begins to watch.
    pub fn watch(&self) -> LiveWatcher {
        let shared = Arc::clone(&self.0);
        let events = shared.events.subscribe();
        let closed = shared.closed.subscribe();
        shared.watchers.fetch_add(1, Ordering::Relaxed);
        LiveWatcher { shared, events, closed }
    }

    /// Ends the watching, also for those who begin later.
    pub fn close(&self, end: LiveEnd) {
        self.0.closed.send_if_modified(|closed| {
            let is_first = closed.is_none();
            closed.get_or_insert(end);
            is_first
        });
    }
}

impl LiveWatcher {
    /// Waits for the next thing to see. What is left unread at the end is not seen any more.
    ///
    /// Cancel-safe: what it didn't return comes with the next call.
    pub async fn next(&mut self) -> LiveSeen {
        let Self { events, closed, .. } = self;
        tokio::select! {
            biased;
            end = ended(closed) => LiveSeen::Ended(end),
            event = events.recv() => match event {
                Ok(event) => LiveSeen::Event(event),
                Err(broadcast::error::RecvError::Lagged(events)) => LiveSeen::Missed(events),
                // The sender lives as long as this watcher, which shares it.
                Err(broadcast::error::RecvError::Closed) => LiveSeen::Ended(LiveEnd::Stopping),
            },
        }
    }

    /// Waits for the end alone.
    pub async fn ended(&mut self) -> LiveEnd {
        ended(&mut self.closed).await
    }
}

async fn ended(closed: &mut watch::Receiver<Option<LiveEnd>>) -> LiveEnd {
    match closed.wait_for(Option::is_some).await {
        Ok(end) => end.unwrap_or(LiveEnd::Stopping),
        Err(_gone) => LiveEnd::Stopping,
    }
}

impl Drop for LiveWatcher {
    fn drop(&mut self) {
        self.shared.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LiveWhat {
    /// Returns what `what` says.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Attempt(_) => "attempt",
        }
    }
}

impl LiveEvent {
    /// Says how an attempt ended and what becomes of its lead; none for a lease that ends without one.
    pub fn of_attempt(head: &Head, settlement: &Settlement, at: Timestamp) -> Option<Self> {
        let attempt = settlement.attempt()?;
        let state = match settlement {
            Settlement::Delivered { .. } => State::Delivered,
            Settlement::Dead { .. } => State::Dead,
            Settlement::Held { .. } => State::Held,
            Settlement::Again { .. } | Settlement::Postponed { .. } | Settlement::SiteGone { .. } => State::Queued,
        };
        let told = LiveAttempt {
            number: head.attempts,
            result: attempt.result,
            state,
            status: attempt.status,
            reason: attempt.words.clone(),
            confirmed: attempt.confirmed,
            next_try_at: settlement.wait().and_then(|wait| at.checked_add(wait).ok()),
        };
        Some(Self {
            at,
            site: Some(head.site.clone()),
            form: Some(head.form.clone()),
            id: Some(head.id),
            what: LiveWhat::Attempt(told),
            duration_ms: attempt.duration_ms,
        })
    }
}

/// Writes a time to the millisecond.
fn millisecond<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.3}"))
}

fn optional_millisecond<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => millisecond(at, serializer),
        None => serializer.serialize_none(),
    }
}

fn end_word<S: Serializer>(end: &RequestEnd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(end.as_str())
}

fn mistake_word<S: Serializer>(mistake: &Option<Mistake>, serializer: S) -> Result<S::Ok, S::Error> {
    mistake.map(Mistake::as_str).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> LiveEvent {
        let request = LiveRequest {
            result: RequestEnd::Refused,
            mistake: Some(Mistake::UnknownToken),
            reason: None,
            status: Some(401),
            request_id: "r".to_owned(),
        };
        let what = LiveWhat::Request(request);
        LiveEvent { at: Timestamp::UNIX_EPOCH, site: None, form: None, id: None, what, duration_ms: number }
    }

    async fn number(watcher: &mut LiveWatcher) -> u64 {
        match watcher.next().await {
            LiveSeen::Event(event) => event.duration_ms,
            seen => panic!("{seen:?}"),
        }
    }

    #[tokio::test]
    async fn an_event_is_made_only_where_somebody_watches() {
        let live = Live::default();
        live.tell(|| panic!("nobody watches"));
        let mut watcher = live.watch();
        live.clone().tell(|| Some(event(1)));
        assert_eq!(number(&mut watcher).await, 1);
        drop(watcher);
        live.tell(|| panic!("nobody watches any more"));
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_read_is_told_how_many_it_missed() {
        let live = Live::default();
        let mut watcher = live.watch();
        let told = u64::try_from(LIVE_KEPT).expect("small") + 10;
        for number in 0..told {
            live.tell(|| Some(event(number)));
        }
        assert!(matches!(watcher.next().await, LiveSeen::Missed(10)));
        for expected in 10..told {
            assert_eq!(number(&mut watcher).await, expected);
        }
    }

    #[tokio::test]
    async fn the_end_is_told_once_and_to_those_who_come_late() {
        let live = Live::default();
        let mut watcher = live.watch();
        live.tell(|| Some(event(1)));
        live.close(LiveEnd::Upgraded);
        live.close(LiveEnd::Stopping);
        assert!(matches!(watcher.next().await, LiveSeen::Ended(LiveEnd::Upgraded)));
        assert_eq!(live.watch().ended().await, LiveEnd::Upgraded);
    }

    #[test]
    fn an_events_json_has_these_names() {
        let json = serde_json::to_value(event(7)).expect("JSON");
        let expected = serde_json::json!({
            "at": "1970-01-01T00:00:00.000Z",
            "site": null,
            "form": null,
            "id": null,
            "what": "request",
            "result": "refused",
            "mistake": "unknown_token",
            "reason": null,
            "status": 401,
            "request_id": "r",
            "duration_ms": 7,
        });
        assert_eq!(json, expected);
    }
}

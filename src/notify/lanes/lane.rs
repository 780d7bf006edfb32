//! A lane: one sink's events, or one mailbox's, on their way in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::state::{BACKOFF_MAX, LaneState, TRIED_FOR};
use crate::clock::{later, until};
use crate::config::{MailAddress, Sink, SinkTarget, WebhookFormat, WebhookTarget};
use crate::event::EventType;
use crate::notify::routing::Routed;

/// Events that wait in memory for a lane; the others stay in the outbox until there is room.
pub(super) const WAITING_MAX: usize = 1_000;
/// Most events that a webhook is posted in a second.
pub(super) const POSTS_A_SECOND: usize = 50;
/// Most lines that a chat is posted in a second: Slack takes one.
pub(super) const LINES_A_SECOND: usize = 1;
/// How long a webhook's turn takes at least.
const TURN: Duration = Duration::from_secs(1);
/// After a mail of alerts, those that follow are gathered for so long.
pub(super) const MAIL_EVERY: Duration = Duration::from_secs(15 * 60);
/// The same for leads that are overdue: somebody is to ring back.
pub(super) const OVERDUE_MAIL_EVERY: Duration = Duration::from_secs(5 * 60);
/// What happens at one time is in one mail: so long is waited for more before the first.
const GATHER: Duration = Duration::from_secs(2);
/// Most events in a mail of alerts.
const MAIL_EVENTS_MAX: usize = 500;

/// What a lane sends to.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum LaneTarget {
    Webhook(WebhookTarget),
    /// A mailbox's alerts.
    Alerts(MailAddress),
    /// A mailbox's overdue leads, which wait for no other mail.
    Overdue(MailAddress),
}

/// A sink's events, or one mailbox's.
pub(super) struct Lane {
    pub(super) key: String,
    pub(super) sink: Arc<Sink>,
    pub(super) target: LaneTarget,
    pub(super) state: LaneState,
    /// In order; each is wanted.
    pub(super) waiting: VecDeque<Routed>,
    /// There were more than [`WAITING_MAX`]: from behind this one on they are still in the outbox alone.
    pub(super) behind: Option<u64>,
    pub(super) is_sending: bool,
    /// When its last turn began.
    turn_at: Option<Timestamp>,
    /// Most events of a turn: less while the sink says it is overloaded.
    pub(super) pace: usize,
    /// State that isn't written down yet.
    pub(super) is_changed: bool,
}

impl Lane {
    /// Returns the lanes of a sink, each with its key: one for a webhook, two for a mailbox.
    pub(super) fn targets(sink: &Sink) -> Vec<(String, LaneTarget)> {
        match &sink.target {
            SinkTarget::Webhook(webhook) => vec![(sink.name.clone(), LaneTarget::Webhook(webhook.clone()))],
            SinkTarget::Mail(addresses) => addresses
                .iter()
                .flat_map(|address| {
                    // An address is nobody else's business, and a note may be read by whoever backs the store up.
                    let digest = digest(address.as_str());
                    let alerts = (format!("{}@{digest}", sink.name), LaneTarget::Alerts(address.clone()));
                    let overdue = (format!("{}@{digest}!", sink.name), LaneTarget::Overdue(address.clone()));
                    [alerts, overdue]
                })
                .collect(),
        }
    }

    pub(super) fn new(key: String, sink: Arc<Sink>, target: LaneTarget, state: LaneState) -> Self {
        let pace = target.pace_max();
        Self {
            key,
            sink,
            target,
            state,
            waiting: VecDeque::new(),
            behind: None,
            is_sending: false,
            turn_at: None,
            pace,
            is_changed: false,
        }
    }

    /// Goes on with a sink as it is written now; what that doesn't want is forgotten.
    pub(super) fn follow(mut self, sink: Arc<Sink>, target: LaneTarget) -> Self {
        self.sink = sink;
        self.target = target;
        let waiting = std::mem::take(&mut self.waiting);
        // While a turn is under way its events stay: it says how many of them are dealt with.
        self.waiting = waiting.into_iter().filter(|event| self.is_sending || self.wants(event)).collect();
        self
    }

    /// Takes an event if the lane wants it, has not dealt with it before, and has room.
    pub(super) fn offer(&mut self, event: &Routed) {
        if !self.wants(event) {
            return;
        }
        match event.number {
            // The store couldn't take it: it is known here alone, and there are few.
            None => self.waiting.push_front(event.clone()),
            Some(number) if number <= self.state.cursor || self.behind.is_some() => {}
            Some(number) if self.waiting.len() >= WAITING_MAX => self.behind = Some(number - 1),
            Some(_) => self.waiting.push_back(event.clone()),
        }
    }

    /// Says which events it is to be offered next, where they are in the outbox alone and there is room for them.
    pub(super) fn catches_up_from(&self) -> Option<u64> {
        self.behind.filter(|_| self.waiting.len() < WAITING_MAX / 2)
    }

    fn wants(&self, event: &Routed) -> bool {
        let is_overdue = event.event == EventType::LeadOverdue;
        let is_here = match self.target {
            LaneTarget::Webhook(_) => true,
            LaneTarget::Alerts(_) => !is_overdue,
            LaneTarget::Overdue(_) => is_overdue,
        };
        is_here && self.state.gone_at.is_none() && self.sink.wants(event.event, event.site.as_ref())
    }

    /// Returns the last event that it doesn't need the outbox for; `seen` is the last that was offered to all.
    pub(super) fn needs_after(&self, seen: u64) -> u64 {
        let first = self.waiting.iter().find_map(|event| event.number);
        first.map(|first| first - 1).or(self.behind).unwrap_or(seen)
    }

    /// Tells whether it is time for its next turn.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let Some(first) = self.waiting.front().filter(|_| !self.is_sending) else { return false };
        let is_over = |at: Timestamp, longest| until(at, now, longest).is_none();
        if let Some(failing) = &self.state.failing
            && !is_over(failing.retry_at, BACKOFF_MAX)
        {
            return false;
        }
        let after_last = |wait| self.turn_at.is_none_or(|at| is_over(later(at, wait), wait));
        let after_mail = |wait| self.state.sent_at.is_none_or(|at| is_over(later(at, wait), wait));
        match &self.target {
            LaneTarget::Webhook(_) => after_last(TURN),
            LaneTarget::Alerts(_) => after_mail(MAIL_EVERY) && is_over(later(first.at, GATHER), GATHER),
            LaneTarget::Overdue(_) => after_mail(OVERDUE_MAIL_EVERY) && is_over(later(first.at, GATHER), GATHER),
        }
    }

    /// Begins a turn: returns the events of it.
    pub(super) fn begin(&mut self, now: Timestamp) -> Vec<Routed> {
        self.is_sending = true;
        self.turn_at = Some(now);
        self.waiting.iter().take(self.pace).cloned().collect()
    }

    /// Notes that the first events are dealt with.
    pub(super) fn dealt_with(&mut self, events: usize) {
        for event in self.waiting.drain(..events.min(self.waiting.len())) {
            self.state.cursor = event.number.unwrap_or_default().max(self.state.cursor);
        }
        self.is_changed = true;
    }

    /// Gives up what has been tried for long enough; returns how many events.
    pub(super) fn give_up_old(&mut self, now: Timestamp) -> usize {
        let is_old = |event: &Routed| now >= later(event.at, TRIED_FOR);
        let old = self.waiting.iter().take_while(|event| is_old(event)).count();
        self.dealt_with(old);
        self.state.lost += old as u64;
        old
    }

    /// Lets it be slower, or faster again.
    pub(super) fn adapt(&mut self, is_overloaded: bool) {
        let most = self.target.pace_max();
        self.pace = if is_overloaded { self.pace / 2 } else { self.pace.saturating_mul(2) }.clamp(1, most);
    }
}

impl LaneTarget {
    fn pace_max(&self) -> usize {
        match self {
            Self::Webhook(WebhookTarget { format: WebhookFormat::Slack, .. }) => LINES_A_SECOND,
            Self::Webhook(_) => POSTS_A_SECOND,
            Self::Alerts(_) | Self::Overdue(_) => MAIL_EVENTS_MAX,
        }
    }

    /// Tells two targets apart in a note without saying what they are.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::Webhook(webhook) => digest(webhook.url.expose()),
            Self::Alerts(address) | Self::Overdue(address) => digest(address.as_str()),
        }
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    hex::encode(digest.get(..8).unwrap_or_default())
}

//! A lane: one sink's events, or one mailbox's, on their way in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::state::{BACKOFF_MAX, LaneState, TRIED_FOR};
use crate::clock::{later, until};
use crate::config::{MailAddress, Sink, SinkTarget, WebhookFormat, WebhookTarget};
use crate::event::{EventScope, EventType};
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
/// Most events in a mail.
const MAIL_EVENTS_MAX: usize = 500;
/// Events that the store couldn't take, and that a lane waits with.
const UNSTORED_MAX: usize = 100;
/// So often a single event is refused for good before it is given up: it keeps all that came after it waiting.
const REFUSALS_MAX: u32 = 5;

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
    /// So many of the first are being sent.
    pub(super) sending: Option<usize>,
    /// Tells it from a lane that had its key before.
    pub(super) generation: u64,
    /// How often in a row a single event was refused for good.
    refusals: u32,
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

    pub(super) fn new(key: String, sink: Arc<Sink>, target: LaneTarget, state: LaneState, generation: u64) -> Self {
        let pace = target.pace_max();
        Self {
            key,
            sink,
            target,
            state,
            waiting: VecDeque::new(),
            behind: None,
            sending: None,
            generation,
            refusals: 0,
            turn_at: None,
            pace,
            is_changed: false,
        }
    }

    /// Goes on with a sink as it is written now; what that doesn't want is forgotten.
    pub(super) fn follow(mut self, sink: Arc<Sink>, target: LaneTarget) -> Self {
        if *self.sink != *sink {
            // Whoever changes a sink wants it to be tried.
            self.state.gone_at = None;
            self.pace = target.pace_max();
        }
        self.sink = sink;
        self.target = target;
        let waiting = std::mem::take(&mut self.waiting);
        // Those that are being sent stay: the turn says how many of them are dealt with.
        let sending = self.sending.unwrap_or_default();
        let kept = waiting.into_iter().enumerate().filter(|(place, event)| *place < sending || self.wants(event));
        self.waiting = kept.map(|(_, event)| event).collect();
        self
    }

    /// Goes on from where a lane of the same sink was that isn't there any more: its address or URL was corrected.
    pub(super) fn take_over(&mut self, former: &Self) {
        self.state.cursor = former.state.cursor;
        self.waiting = former.waiting.iter().filter(|event| self.wants(event)).cloned().collect();
        self.behind = former.behind;
        self.is_changed = true;
    }

    /// Tells whether another is of the same sink, and takes the same of its events.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let is_alike = std::mem::discriminant(&self.target) == std::mem::discriminant(&other.target);
        is_alike && self.sink.name == other.sink.name
    }

    /// Takes an event if the lane wants it, has not dealt with it before, and has room.
    pub(super) fn offer(&mut self, event: &Routed) {
        if !self.wants(event) {
            return;
        }
        match event.number {
            // The store couldn't take it: it is known here alone, and there are few.
            None => self.offer_unstored(event),
            Some(number) if number <= self.state.cursor || self.behind.is_some() => {}
            Some(number) if self.waiting.len() >= WAITING_MAX => self.behind = Some(number - 1),
            Some(_) => self.waiting.push_back(event.clone()),
        }
    }

    /// Puts an event that is known here alone behind those that are being sent, and those like it.
    fn offer_unstored(&mut self, event: &Routed) {
        let unstored = self.waiting.iter().filter(|event| event.number.is_none()).count();
        if unstored < UNSTORED_MAX {
            let behind = self.waiting.iter().skip(self.sending.unwrap_or_default());
            let place = self.sending.unwrap_or_default() + behind.take_while(|event| event.number.is_none()).count();
            self.waiting.insert(place.min(self.waiting.len()), event.clone());
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
        let Some(first) = self.waiting.front().filter(|_| self.sending.is_none()) else { return false };
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
            // What doesn't fit into one mail needs the next at once.
            LaneTarget::Overdue(_) if self.waiting.len() > MAIL_EVENTS_MAX => after_last(TURN),
            LaneTarget::Overdue(_) => after_mail(OVERDUE_MAIL_EVERY) && is_over(later(first.at, GATHER), GATHER),
        }
    }

    /// Tells whether its next turn is a mail that an hour holds so many of.
    pub(super) fn is_next_an_alert_mail(&self) -> bool {
        let is_digest = |event: &Routed| event.event.scope() == EventScope::Digest;
        matches!(self.target, LaneTarget::Alerts(_)) && !self.waiting.iter().take(self.pace).all(is_digest)
    }

    /// Begins a turn: returns the events of it.
    pub(super) fn begin(&mut self, now: Timestamp) -> Vec<Routed> {
        self.turn_at = Some(now);
        let events: Vec<_> = self.waiting.iter().take(self.pace).cloned().collect();
        self.sending = Some(events.len());
        events
    }

    /// Notes that the first events are dealt with.
    pub(super) fn dealt_with(&mut self, events: usize) {
        for event in self.waiting.drain(..events.min(self.waiting.len())) {
            self.state.cursor = event.number.unwrap_or_default().max(self.state.cursor);
        }
        self.is_changed = true;
    }

    /// Gives up what has been tried for long enough; returns how many events. What only waited that long is tried first.
    pub(super) fn give_up_old(&mut self, now: Timestamp) -> usize {
        let is_old = |at: Timestamp| now >= later(at, TRIED_FOR);
        if !self.state.failing.as_ref().is_some_and(|failing| is_old(failing.since)) {
            return 0;
        }
        let old = self.waiting.iter().take_while(|event| is_old(event.at)).count();
        self.dealt_with(old);
        self.state.lost += old as u64;
        old
    }

    /// Sends fewer together after a message was refused for good, so that the others get through; the one at fault is given up
    /// at last. Returns how many events were.
    pub(super) fn isolate_refused(&mut self) -> usize {
        if self.pace > 1 {
            self.adapt(true);
            return 0;
        }
        self.refusals += 1;
        if self.refusals < REFUSALS_MAX {
            return 0;
        }
        self.refusals = 0;
        self.dealt_with(1);
        self.state.lost += 1;
        1
    }

    /// Lets it be slower, or faster again.
    pub(super) fn adapt(&mut self, is_overloaded: bool) {
        let most = self.target.pace_max();
        self.refusals = 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SinkSites;
    use crate::event::EventPattern;
    use crate::queue::Emission;

    fn lane() -> Lane {
        let address = MailAddress::parse("owner@acme.example").expect("an address");
        let sink = Sink {
            name: "owner".to_owned(),
            target: SinkTarget::Mail(vec![address.clone()]),
            events: vec![EventPattern::parse("gateway.*").expect("a pattern")],
            sites: SinkSites::All,
            leads: false,
        };
        let state = LaneState::begin(0, String::new());
        Lane::new("owner".to_owned(), Arc::new(sink), LaneTarget::Alerts(address), state, 1)
    }

    fn event(number: Option<u64>) -> Routed {
        let emitted = Routed::emitted(Emission::new(EventType::GatewayBackupFailed), Timestamp::UNIX_EPOCH);
        Routed { number, ..emitted }
    }

    #[test]
    fn a_mail_that_is_refused_for_good_shrinks_to_the_event_at_fault_which_is_given_up() {
        let mut lane = lane();
        (1..=3).for_each(|number| lane.offer(&event(Some(number))));
        let mut shrinking = 0;
        while lane.pace > 1 {
            assert_eq!(lane.isolate_refused(), 0);
            shrinking += 1;
        }
        assert_eq!(shrinking, 8, "500 events, halved");
        assert_eq!((1..REFUSALS_MAX).map(|_| lane.isolate_refused()).sum::<usize>(), 0);
        assert_eq!(lane.isolate_refused(), 1);
        assert_eq!((lane.state.cursor, lane.state.lost, lane.waiting.len()), (1, 1, 2));
    }

    #[test]
    fn what_the_store_could_not_take_goes_behind_what_is_being_sent_and_keeps_its_order() {
        let mut lane = lane();
        (1..=3).for_each(|number| lane.offer(&event(Some(number))));
        lane.pace = 2;
        assert_eq!(lane.begin(Timestamp::UNIX_EPOCH).len(), 2);
        let unstored = |seconds| Routed { at: Timestamp::from_second(seconds).expect("a time"), ..event(None) };
        lane.offer(&unstored(1));
        lane.offer(&unstored(2));
        let order: Vec<_> = lane.waiting.iter().map(|event| (event.number, event.at.as_second())).collect();
        assert_eq!(order, [(Some(1), 0), (Some(2), 0), (None, 1), (None, 2), (Some(3), 0)]);
        for _ in 0..2 * UNSTORED_MAX {
            lane.offer(&unstored(3));
        }
        assert_eq!(lane.waiting.len(), 3 + UNSTORED_MAX);
    }
}

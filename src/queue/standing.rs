//! How an entry stands, and how claims, settlements and operators change it: the rules that every store shares.
//!
//! Pure: a store reads a [`Standing`], lets one of these functions change it, and writes it back whole.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Attempt, AttemptResult, Change, Event, HISTORY_FIRST, HISTORY_MAX, Head, NewEntry, Reading, Reason, Set,
    Settlement, State, Transition,
};
use crate::lead::{EntryId, FormId, SiteId};

/// Said of an attempt that nobody settled.
const UNSETTLED: &str = "the program stopped, or the lease ran out, before an answer was recorded";

/// How far time may seem to go back before it counts as a jump: threads read the clock in no fixed order.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The part of an entry that changes on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: State,
    pub(super) reason: Reason,
    pub(super) revision: u64,
    /// When it may be claimed; exactly for `Queued`. Under a lease: when that runs out.
    pub(super) due_at: Option<Timestamp>,
    /// When the wait for `due_at`, or the lease, began.
    pub(super) waits_from: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) attempts: u32,
    pub(super) lead_id: Option<String>,
    /// The token of the claim that nobody has settled yet, even if its time has run out.
    pub(super) lease: Option<u64>,
    pub(super) history: Vec<Event>,
}

/// What of an entry's head is not its standing: it stays as it is on the entry's way, but for what an operator changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    pub(super) id: EntryId,
    pub(super) site: SiteId,
    pub(super) form: FormId,
    pub(super) accepted_at: Timestamp,
    pub(super) seen: u32,
    pub(super) traceparent: Option<String>,
    pub(super) reading: Reading,
}

impl Standing {
    /// Returns how a new entry stands.
    pub(super) fn new(entry: &NewEntry) -> Self {
        let at = whole_millisecond(entry.accepted_at);
        let queued = entry.state == State::Queued;
        Self {
            state: entry.state,
            reason: entry.reason,
            revision: 1,
            due_at: queued.then_some(at),
            waits_from: at,
            expires_at: entry.keep.filter(|_| !queued).map(|keep| later(at, keep)),
            attempts: 0,
            lead_id: None,
            lease: None,
            history: vec![Event { at, state: entry.state, reason: entry.reason, attempt: None }],
        }
    }

    /// Leases the entry and counts the attempt that the lease is for.
    pub(super) fn claim(&mut self, token: u64, lease: Duration, now: Timestamp) {
        self.abandon();
        self.lease = Some(token);
        self.attempts = self.attempts.saturating_add(1);
        self.wait(now, lease);
        self.revision += 1;
    }

    /// Ends the lease that `token` stands for.
    pub(super) fn settle(&mut self, token: u64, settlement: Settlement, now: Timestamp) -> Set {
        if self.lease != Some(token) && !matches!(settlement, Settlement::Delivered { .. }) {
            return Set::Lost;
        }
        let from = self.state;
        let told = settlement.attempt().map(|attempt| attempt.result);
        let mut recorded = true;
        self.lease = None;
        self.revision += 1;
        match settlement {
            Settlement::Delivered { lead_id, attempt, keep } => self.delivered(lead_id, attempt, keep, now),
            Settlement::Again { after, attempt } => {
                self.reason = Reason::Retrying;
                self.wait(now, after);
                self.record(now, Some(attempt));
            }
            Settlement::Dead { reason, attempt, keep } => self.end((State::Dead, reason), attempt, keep, now),
            Settlement::Held { reason, attempt, keep } => self.end((State::Held, reason), attempt, keep, now),
            Settlement::Postponed { after, attempt } => {
                self.take_back_attempt();
                self.wait(now, after);
                let was_gone = self.change_reason(Reason::SiteGone, Reason::SiteBack);
                // A paused site postpones for days: events that say nothing would push out those that do.
                recorded = attempt.is_some() || was_gone;
                if recorded {
                    self.record(now, attempt);
                }
            }
            Settlement::SiteGone { after } => {
                self.take_back_attempt();
                self.wait(now, after);
                recorded = self.reason != Reason::SiteGone;
                if recorded {
                    self.reason = Reason::SiteGone;
                    self.record(now, None);
                }
            }
        }
        self.done(from, told, recorded, now)
    }

    /// Changes the entry as an operator wants; `Lost` leaves it as it is.
    pub(super) fn amend(&mut self, revision: u64, change: &Change, now: Timestamp) -> Set {
        let leased = self.lease.is_some() && self.due_at.is_some_and(|until| until > now);
        if self.revision != revision || leased || !self.permits(change) {
            return Set::Lost;
        }
        let from = self.state;
        self.abandon();
        match change {
            Change::Retry { .. } => self.queue(Reason::Retried, now),
            Change::Amend { .. } => self.queue(Reason::Amended, now),
            Change::Hold { reason, .. } => {
                self.state = State::Held;
                self.reason = *reason;
            }
            Change::Drop { keep } => self.rest(State::Dead, Reason::Dropped, later(now, *keep)),
            // Which site an entry belongs to is no part of its standing.
            Change::Assign { .. } => {}
            Change::SiteBack => {
                self.state = State::Queued;
                self.reason = Reason::SiteBack;
                self.expires_at = None;
                self.wait(now, Duration::ZERO);
            }
        }
        self.revision += 1;
        self.record(now, None);
        self.done(from, None, true, now)
    }

    /// Makes an entry's head of this and of what a store keeps beside it.
    pub(super) fn into_head(self, beside: Beside) -> Head {
        let Self { state, reason, revision, due_at, expires_at, attempts, lead_id, history, .. } = self;
        let Beside { id, site, form, accepted_at, seen, traceparent, reading } = beside;
        Head {
            id,
            site,
            form,
            state,
            reason,
            revision,
            accepted_at,
            due_at,
            expires_at,
            attempts,
            seen,
            lead_id,
            history,
            traceparent,
            reading,
        }
    }

    /// Takes the lease from a holder that is known to be gone: due since the lease began. Tells whether there was one.
    pub(super) fn release(&mut self) -> bool {
        if self.lease.is_none() {
            return false;
        }
        let began = self.waits_from;
        self.abandon();
        self.wait(began, Duration::ZERO);
        self.revision += 1;
        true
    }

    /// Tells when it will be due, where it waits for that and nobody holds it.
    pub(super) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.due_at.filter(|due_at| self.lease.is_none() && *due_at > now)
    }

    /// Ends the wait.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        self.wait(now, Duration::ZERO);
    }

    /// Begins a wait anew that seems to have begun in the future: the clock went back.
    pub(super) fn rewind(&mut self, now: Timestamp) {
        if let Some(due_at) = self.due_at
            && self.waits_from > now
        {
            let wait = Duration::try_from(due_at.duration_since(self.waits_from)).unwrap_or_default();
            self.wait(now, wait);
        }
    }

    /// Records an attempt whose end nobody told, as of when its lease began: the lead may have arrived.
    fn abandon(&mut self) {
        if self.lease.take().is_some() {
            let words = Some(UNSETTLED.to_owned());
            let attempt =
                Attempt { result: AttemptResult::Ambiguous, status: None, duration_ms: 0, words, confirmed: None };
            self.record(self.waits_from, Some(attempt));
        }
    }

    fn delivered(&mut self, lead_id: Option<String>, attempt: Attempt, keep: Duration, now: Timestamp) {
        if self.state == State::Delivered {
            self.lead_id = self.lead_id.take().or(lead_id);
        } else {
            if attempt.confirmed.is_some() {
                self.take_back_attempt();
            }
            self.lead_id = lead_id.or(self.lead_id.take());
            self.rest(State::Delivered, Reason::Delivered, later(now, keep));
        }
        self.record(now, Some(attempt));
    }

    /// Ends the way of an entry that isn't delivered.
    fn end(&mut self, (state, reason): (State, Reason), attempt: Option<Attempt>, keep: Duration, now: Timestamp) {
        if attempt.is_none() {
            self.take_back_attempt();
        }
        self.rest(state, reason, later(now, keep));
        self.record(now, attempt);
    }

    /// Tells what a change did that has just been made.
    fn done(&self, from: State, attempt: Option<AttemptResult>, recorded: bool, now: Timestamp) -> Set {
        let to = self.state;
        let reason = self.reason;
        let at = whole_millisecond(now);
        Set::Done(Transition { from, to, reason, attempt, recorded, at })
    }

    fn permits(&self, change: &Change) -> bool {
        match change {
            Change::Retry { .. } => true,
            Change::Amend { .. } => matches!(self.state, State::Held | State::Dead),
            Change::Hold { .. } => self.state != State::Queued,
            Change::Assign { .. } => self.state == State::Held,
            Change::Drop { .. } => matches!(self.state, State::Held | State::Queued),
            Change::SiteBack => self.state == State::Held && self.reason == Reason::SiteGone,
        }
    }

    fn queue(&mut self, reason: Reason, now: Timestamp) {
        self.state = State::Queued;
        self.reason = reason;
        self.attempts = 0;
        self.expires_at = None;
        self.wait(now, Duration::ZERO);
    }

    fn change_reason(&mut self, from: Reason, to: Reason) -> bool {
        let is_from = self.reason == from;
        if is_from {
            self.reason = to;
        }
        is_from
    }

    fn wait(&mut self, now: Timestamp, wait: Duration) {
        self.waits_from = now;
        self.due_at = Some(later(now, wait));
    }

    fn rest(&mut self, state: State, reason: Reason, expires_at: Timestamp) {
        self.state = state;
        self.reason = reason;
        self.due_at = None;
        self.expires_at = Some(expires_at);
    }

    fn take_back_attempt(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    fn record(&mut self, at: Timestamp, attempt: Option<Attempt>) {
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(HISTORY_FIRST);
        }
        self.history.push(Event { at, state: self.state, reason: self.reason, attempt });
    }
}

/// Notices when time goes back between claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    latest: Option<Timestamp>,
}

impl Clock {
    /// Tells whether waits may lie in the future, so that they must be looked through: after a jump, and at the first
    /// claim, since nobody knows what the clock did before.
    pub(super) fn went_back(&mut self, now: Timestamp) -> bool {
        let back = self.latest.is_none_or(|latest| later(now, CLOCK_TOLERANCE) < latest);
        self.latest = if back { Some(now) } else { self.latest.max(Some(now)) };
        back
    }
}

/// Cuts a time to what the stores keep.
pub(super) fn whole_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Adds a duration to a time; at the end of time it stays there.
pub(super) fn later(time: Timestamp, duration: Duration) -> Timestamp {
    whole_millisecond(time.checked_add(duration).unwrap_or(Timestamp::MAX))
}

/// Tells whether a key first seen at `first` is still fresh; an order that the threads mixed up counts too.
pub(super) fn is_duplicate(first: Timestamp, now: Timestamp, window: Duration) -> bool {
    now.duration_since(first).unsigned_abs() < window
}

/// Until when keys may be forgotten: a window longer than they count, for a clock that goes back a little.
pub(super) fn forget_until(now: Timestamp, window: Duration) -> Timestamp {
    now.checked_sub(window.saturating_mul(2)).unwrap_or(Timestamp::MIN)
}

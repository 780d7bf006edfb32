//! How far a lane has got, and how it does: what outlives the process.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::later;
use crate::notify::sink::SinkFailure;
use crate::queue::{InvalidNote, Merge, Note, NoteChange, NoteKind, NumbersMerge, TextMerge};

/// The wait after the first failure; it doubles with each that follows.
const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// The longest wait, also where a sink asks for more.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);
/// How long an event is tried: then it is given up, so that those after it have their turn.
pub(super) const TRIED_FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// A sink that has failed for so long is told of at the others.
pub(super) const FAILING_AFTER: Duration = Duration::from_secs(15 * 60);

/// A lane's state; its note holds it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneState {
    /// The last event that was dealt with: sent, given up, or of no interest.
    pub(super) cursor: u64,
    /// What it sends to, as a digest: a sink that was changed begins anew.
    pub(super) target: String,
    /// Events that were taken.
    #[serde(default)]
    pub(super) sent: u64,
    /// Events that were given up, and those that were gone before they could be sent.
    #[serde(default)]
    pub(super) lost: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failing: Option<Failing>,
    /// It answered 410 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone_at: Option<Timestamp>,
}

/// Why nothing gets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failing {
    pub(super) since: Timestamp,
    pub(super) times: u32,
    pub(super) why: String,
    pub(super) retry_at: Timestamp,
}

impl LaneState {
    /// A lane that begins behind an event.
    pub(super) fn begin(cursor: u64, target: String) -> Self {
        Self { cursor, target, ..Self::default() }
    }

    /// Reads a lane's note; none where it isn't one.
    pub(super) fn read(note: &Note) -> Option<Self> {
        serde_json::from_str(note.text.as_deref()?).ok()
    }

    /// The same on the way to another target: where it got stuck is no matter any more.
    pub(super) fn towards(self, target: String) -> Self {
        let is_same = self.target == target;
        let (failing, gone_at) = if is_same { (self.failing, self.gone_at) } else { (None, None) };
        Self { target, failing, gone_at, ..self }
    }

    /// Makes the change that keeps it.
    pub(super) fn change(&self, key: &str) -> Result<NoteChange, InvalidNote> {
        let text = serde_json::to_string(self).unwrap_or_default();
        NoteChange::new(NoteKind::Sink, key, Merge { text: TextMerge::Latest(text), numbers: NumbersMerge::Keep })
    }

    /// Notes that events were taken.
    pub(super) fn took(&mut self, events: usize, now: Timestamp) {
        self.sent += events as u64;
        self.sent_at = Some(now);
        self.failing = None;
    }

    /// Notes that it failed; `jitter` is between 0 and 1.
    pub(super) fn failed(&mut self, failure: &SinkFailure, jitter: f64, now: Timestamp) {
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        let times = self.failing.as_ref().map_or(0, |failing| failing.times).saturating_add(1);
        let doubled = BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(times.min(16) - 1).unwrap_or(u32::MAX));
        // Half of it at least: a sink that is down must not be met in a burst by all who wait for it.
        let backoff = doubled.min(BACKOFF_MAX).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        let wait = failure.retry_after.unwrap_or_default().max(backoff).min(BACKOFF_MAX);
        self.failing = Some(Failing { since, times, why: failure.why.clone(), retry_at: later(now, wait) });
    }

    /// Tells since when it is so bad that others should know: disabled, or failing for long.
    pub(super) fn is_bad(&self, now: Timestamp) -> bool {
        let is_failing = |failing: &Failing| now >= later(failing.since, FAILING_AFTER);
        self.gone_at.is_some() || self.failing.as_ref().is_some_and(is_failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn failure(retry_after: Option<u64>) -> SinkFailure {
        SinkFailure {
            why: "503 Service Unavailable".to_owned(),
            retry_after: retry_after.map(Duration::from_secs),
            is_overload: true,
            is_refused: false,
        }
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_is_never_shorter_than_asked() {
        let mut lane = LaneState::default();
        let mut waits = Vec::new();
        for _ in 0..14 {
            lane.failed(&failure(None), 1.0, at(1_000));
            waits.push(lane.failing.as_ref().map_or(0, |failing| failing.retry_at.as_second() - 1_000));
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]);
        let mut lane = LaneState::default();
        lane.failed(&failure(Some(30)), 0.0, at(1_000));
        assert_eq!(lane.failing.as_ref().map(|failing| failing.retry_at), Some(at(1_030)));
        lane.failed(&failure(Some(9_999)), 0.0, at(1_030));
        assert_eq!(lane.failing.as_ref().map(|failing| failing.retry_at), Some(at(4_630)));
    }

    #[test]
    fn a_lane_is_bad_once_it_has_failed_for_a_quarter_of_an_hour_or_is_gone() {
        let mut lane = LaneState::default();
        lane.failed(&failure(None), 0.5, at(1_000));
        assert!(!lane.is_bad(at(1_899)));
        lane.failed(&failure(None), 0.5, at(1_899));
        assert!(lane.is_bad(at(1_900)));
        lane.took(1, at(1_901));
        assert!(!lane.is_bad(at(9_000)));
        lane.gone_at = Some(at(9_000));
        assert!(lane.is_bad(at(9_000)));
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_a_new_target_begins_without_its_failures() {
        let mut lane = LaneState::begin(7, "ab".to_owned());
        lane.took(2, at(1));
        lane.failed(&failure(None), 0.5, at(2));
        assert!(lane.change("ops").is_ok());
        let text = serde_json::to_string(&lane).expect("JSON");
        let note = |text: &str| Note {
            key: crate::queue::Key::parse("ops").expect("a key"),
            first_at: at(0),
            last_at: at(0),
            text: Some(text.to_owned()),
            numbers: Vec::new(),
        };
        assert_eq!(LaneState::read(&note(&text)), Some(lane.clone()));
        assert_eq!(LaneState::read(&note("{")), None);
        assert_eq!(lane.clone().towards("ab".to_owned()), lane);
        let moved = lane.towards("cd".to_owned());
        assert_eq!((moved.cursor, moved.sent, moved.failing), (7, 2, None));
    }
}

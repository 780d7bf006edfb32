//! Whether a lead that may have arrived did arrive: told from the rows of KaiCalls' widget.
//!
//! It did where the widget shows more rows of its name, within its attempt's time, than this store knows to have been put
//! there, and nothing else can have put one there. Wherever that cannot be told it is posted again: a double is better
//! than a loss. So everything here errs to one side: of rows too few are counted, of what explains them too much.
//!
//! What cannot be seen from here: a lead of the same name that another program (KaiCalls' own plugin, another gateway, a
//! site with other keys of the same business) sent within the same seconds, and entries that were erased.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::history::{self, CONFIRM_AFTER};
use crate::clock::later;
use crate::config::Keep;
use crate::kaicalls::Widget;
use crate::lead::EntryId;
use crate::queue::{Attempt, AttemptResult, Event, HISTORY_MAX, Head, State};

/// Clocks are set and drift between an attempt and the question: what explains a row may be off by this.
const SLACK: Duration = Duration::from_secs(5);
/// `Date` and the rows are cut to seconds, each by up to one.
const CUT: Duration = Duration::from_secs(1);

/// What explains a row must be kept for so much longer than since then.
const KEPT_TO_SPARE: Duration = Duration::from_secs(5 * 60);

/// What was found out about a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::send) enum Finding {
    /// It is there.
    Confirmed,
    /// No row is left that could be it.
    NotShown,
    /// It can't be told.
    Unknown,
}

/// From when to when, by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    fn meets(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    fn widened(self, by: Duration) -> Self {
        Self { from: earlier(self.from, by), to: later(self.to, by) }
    }
}

/// What the widget showed, by our clock.
pub(super) struct Shown {
    asked_at: Timestamp,
    /// How long each row's span is.
    precision: Duration,
    rows: HashMap<String, Vec<Span>>,
}

impl Shown {
    /// Reads a widget that was asked for and came within `asked`; `date` is its sender's clock.
    pub(super) fn read(widget: &Widget, asked: (Timestamp, Timestamp), date: Timestamp) -> Self {
        let (asked_at, came_at) = asked;
        let taken = Duration::try_from(came_at.duration_since(asked_at)).unwrap_or_default();
        // The clocks are apart by at least this, and at most `taken` and a cut second more.
        let apart = asked_at.duration_since(later(date, CUT));
        let precision = taken + CUT + CUT;
        let mut rows: HashMap<String, Vec<Span>> = HashMap::new();
        for row in &widget.recent_leads {
            let created_at = row.created_at.parse::<Timestamp>().ok();
            let Some(from) = created_at.and_then(|at| at.checked_add(apart).ok()) else { continue };
            rows.entry(row.name.clone()).or_default().push(Span { from, to: later(from, precision) });
        }
        Self { asked_at, precision, rows }
    }

    /// Tells whether it shows any row of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.rows.contains_key(name)
    }

    /// Judges a lead by what is shown and what is known to explain it.
    pub(super) fn judge(&self, head: &Head, name: &str, known: &Known, timeout: Duration) -> Finding {
        let of_name = self.rows.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut finding = Finding::NotShown;
        // What is younger may not be listed yet, nor be known to be there.
        let newest = earlier(self.asked_at, CONFIRM_AFTER);
        for (event, attempt) in history::ambiguous(head).filter(|(event, _)| event.at <= newest) {
            let suspect = span(event, attempt, timeout);
            let suspect = Span { to: suspect.to.min(newest), ..suspect };
            let rows = of_name.iter().filter(|row| row.meets(suspect)).count();
            if rows == 0 {
                continue;
            }
            match known.explained(head.id, name, suspect.widened(self.precision + SLACK)) {
                None => finding = Finding::Unknown,
                Some(explained) if rows > explained => return Finding::Confirmed,
                Some(_) => {}
            }
        }
        finding
    }
}

/// What an attempt may have left in the widget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Row,
    Perhaps,
}

/// An attempt that left, or may have left, a row.
struct Trace {
    id: EntryId,
    span: Span,
    left: Left,
    /// It was made for the entry as it is, so that what it may have left is what the entry's own question is about.
    is_suspect: bool,
}

/// What the store knows of the site's attempts, for the names that matter.
pub(super) struct Known {
    timeout: Duration,
    of_name: HashMap<String, Vec<Trace>>,
    /// Made before an operator's retry, perhaps under another name.
    of_any_name: Vec<Trace>,
    /// Entries by name whose attempts are not all known, or that have one under way or an ambiguous one to be settled.
    open: HashMap<String, Vec<EntryId>>,
}

impl Known {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, of_name: HashMap::new(), of_any_name: Vec::new(), open: HashMap::new() }
    }

    /// Takes in what an entry's history tells, if its name is one of those that are shown.
    pub(super) fn add(&mut self, head: &Head, shown: &Shown) {
        let Some(lead) = &head.reading.lead else { return };
        let queued = head.last_retried().unwrap_or_default();
        let is_shown = shown.has(lead.name());
        for (index, event) in head.history.iter().enumerate() {
            let Some((attempt, left)) = event.attempt.as_ref().and_then(|attempt| Some((attempt, left_by(attempt)?)))
            else {
                continue;
            };
            let span = span(event, attempt, self.timeout);
            let trace = |left, is_suspect| Trace { id: head.id, span, left, is_suspect };
            if index < queued {
                self.of_any_name.push(trace(Left::Perhaps, false));
            } else if is_shown {
                let is_suspect = attempt.result == AttemptResult::Ambiguous;
                self.of_name.entry(lead.name().to_owned()).or_default().push(trace(left, is_suspect));
            }
        }
        let is_open = head.state == State::Queued && (history::ambiguous(head).next().is_some() || head.is_under_way());
        if is_shown && (is_open || head.history.len() >= HISTORY_MAX) {
            self.open.entry(lead.name().to_owned()).or_default().push(head.id);
        }
    }

    /// Counts the rows of a name that others explain within a time; none where that can't be told.
    fn explained(&self, id: EntryId, name: &str, within: Span) -> Option<usize> {
        if self.open.get(name).is_some_and(|open| open.iter().any(|other| *other != id)) {
            return None;
        }
        let of_name = self.of_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let traces = of_name.iter().chain(&self.of_any_name);
        let mut rows = 0;
        for trace in traces.filter(|trace| trace.span.meets(within)) {
            match trace.left {
                Left::Row => rows += 1,
                Left::Perhaps if trace.is_suspect && trace.id == id => {}
                Left::Perhaps => return None,
            }
        }
        Some(rows)
    }
}

/// Tells whether everything that can explain a row of the entry's attempts is still in the store.
pub(super) fn is_all_kept(head: &Head, keep: Keep, now: Timestamp) -> bool {
    let shortest = keep.delivered.min(keep.held).min(keep.dead);
    let first = history::ambiguous(head).map(|(event, attempt)| span(event, attempt, Duration::ZERO).from).min();
    let since = earlier(now, shortest.saturating_sub(KEPT_TO_SPARE));
    first.is_some_and(|first| since < first && first <= now)
}

/// Returns what an attempt has left; none where it certainly left nothing.
fn left_by(attempt: &Attempt) -> Option<Left> {
    match (attempt.result, attempt.status) {
        _ if attempt.confirmed.is_some() => None,
        (AttemptResult::Delivered, _) => Some(Left::Row),
        (AttemptResult::Ambiguous, _) => Some(Left::Perhaps),
        // The API says no; who knows what it did before it failed.
        (AttemptResult::Failed, Some(200..=299 | 500..)) => Some(Left::Perhaps),
        (AttemptResult::Failed | AttemptResult::KeyRefused | AttemptResult::LeadRefused, _) => None,
    }
}

/// Returns when an attempt was made. One that nobody settled has no duration, and began when it says.
fn span(event: &Event, attempt: &Attempt, timeout: Duration) -> Span {
    let lasted = Duration::from_millis(attempt.duration_ms);
    let to = if lasted.is_zero() && attempt.status.is_none() { later(event.at, timeout) } else { event.at };
    Span { from: earlier(event.at, lasted), to }
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

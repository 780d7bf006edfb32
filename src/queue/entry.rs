//! An entry of the store and what happens to it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, AttemptResult};
use super::reading::Reading;
use crate::lead::{EntryId, FormId, SiteId};
use crate::received::{self, Received};

/// Where an entry is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Held,
    Delivered,
    Dead,
}

/// Why an entry is in its state: a closed set, fit for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A valid lead, on its way.
    Accepted,
    /// The body cannot be decoded.
    Undecodable,
    /// No valid lead in it.
    Invalid,
    /// A `[[hold]]` rule of the mapping.
    HoldRule,
    /// Over the site's limit with `over = "hold"`.
    OverLimit,
    /// The site has `deliver = false`.
    DeliverOff,
    /// The form is unknown and the site says `unknown_forms = "hold"`.
    UnknownForm,
    /// What auto found is less sure than the form's `auto.min` asks.
    Uncertain,
    /// It says of itself that it is a test: kept for a day.
    Test,
    /// The form's honeypot is filled in: a program did that.
    Spam,
    /// The post names a host that is not one of the site's.
    OtherHost,
    /// Several sites share the key pair that it came with, and it names none of them.
    Ambiguous,
    /// The site has left the configuration. Its leads stay queued for [`SITE_GONE_MAX`], then are held.
    SiteGone,
    /// The site is back in the configuration.
    SiteBack,
    /// Sending it failed inside this program, again and again.
    Poison,
    /// KaiCalls took it.
    Delivered,
    /// KaiCalls refused the lead for good.
    Refused,
    /// The last attempt failed; it is tried again.
    Retrying,
    /// Its time or its attempts ran out.
    GaveUp,
    /// An operator sent it again.
    Retried,
    /// An operator corrected it, and so sent it again.
    Amended,
    /// An operator dropped it.
    Dropped,
    /// It was salvaged from a damaged store, but not what had become of it: it may have been delivered.
    Salvaged,
    /// It was queued in a copy that was restored: it may have been delivered since the copy was made.
    Restored,
}

impl State {
    /// Returns the state as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl Reason {
    /// Returns the reason as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Undecodable => "undecodable",
            Self::Invalid => "invalid",
            Self::HoldRule => "hold_rule",
            Self::OverLimit => "over_limit",
            Self::DeliverOff => "deliver_off",
            Self::UnknownForm => "unknown_form",
            Self::Uncertain => "uncertain",
            Self::Test => "test",
            Self::Spam => "spam",
            Self::OtherHost => "other_host",
            Self::Ambiguous => "ambiguous",
            Self::SiteGone => "site_gone",
            Self::SiteBack => "site_back",
            Self::Poison => "poison",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Retrying => "retrying",
            Self::GaveUp => "gave_up",
            Self::Retried => "retried",
            Self::Amended => "amended",
            Self::Dropped => "dropped",
            Self::Salvaged => "salvaged",
            Self::Restored => "restored",
        }
    }
}

/// An entry to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub id: EntryId,
    pub site: SiteId,
    pub form: FormId,
    /// `Queued` or `Held`.
    pub state: State,
    pub reason: Reason,
    pub accepted_at: Timestamp,
    /// How long a held entry is kept before it may be removed; none: for ever. A queued one never expires.
    pub keep: Option<Duration>,
    pub reading: Reading,
    pub received: Received,
}

/// An entry whole: given by [`Store::get`](super::Store::get) alone, since what was received may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub head: Head,
    pub received: Received,
}

/// All of an entry but what was received: what claims, lists, counts and confirmation need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub id: EntryId,
    pub site: SiteId,
    pub form: FormId,
    pub state: State,
    pub reason: Reason,
    /// Goes up by one with each change; what `amend` compares.
    pub revision: u64,
    pub accepted_at: Timestamp,
    /// When it is next due; only for `Queued`. While it is leased: when the lease runs out.
    pub due_at: Option<Timestamp>,
    /// When it may be removed; never for `Queued`.
    pub expires_at: Option<Timestamp>,
    /// Attempts begun, but for those taken back because nothing was sent.
    pub attempts: u32,
    /// How often the same was posted again within the dedupe window.
    pub seen: u32,
    /// What KaiCalls calls the lead.
    pub lead_id: Option<String>,
    /// Each change of state and each attempt, oldest first; at most [`HISTORY_MAX`], the middle is left out.
    pub history: Vec<Event>,
    /// As it was received: it is sent with the lead.
    pub traceparent: Option<String>,
    pub reading: Reading,
}

impl Head {
    /// Returns the id of the trace it is part of.
    pub fn trace_id(&self) -> Option<&str> {
        received::trace_id(self.traceparent.as_deref()?)
    }

    /// Returns since when a queued entry's site is known to be gone from the configuration.
    pub fn site_gone_since(&self) -> Option<Timestamp> {
        if self.state != State::Queued || self.reason != Reason::SiteGone {
            return None;
        }
        self.history.iter().rev().find(|event| event.reason == Reason::SiteGone).map(|event| event.at)
    }

    /// Returns the newest attempt that is written down.
    pub fn last_attempt(&self) -> Option<&Attempt> {
        self.history.iter().rev().find_map(|event| event.attempt.as_ref())
    }

    /// Returns where in the history an operator sent the entry again last.
    pub fn last_retried(&self) -> Option<usize> {
        self.history.iter().rposition(Event::begins_anew)
    }

    /// Returns the attempts since the entry was last queued, newest first, and when they ended.
    pub fn attempts_since_queued(&self) -> impl Iterator<Item = (Timestamp, &Attempt)> {
        let since = self.history.iter().skip(self.last_retried().unwrap_or_default()).rev();
        since.filter_map(|event| Some((event.at, event.attempt.as_ref()?)))
    }

    /// Tells whether a claim is out for the entry: it counted an attempt that is not written down yet. Where the middle
    /// of the history is left out, that can't be told, and this says yes.
    pub fn is_under_way(&self) -> bool {
        // One that told of a refused key was taken back.
        let counted = self.attempts_since_queued().filter(|(_, attempt)| attempt.result != AttemptResult::KeyRefused);
        usize::try_from(self.attempts).unwrap_or(usize::MAX) > counted.count()
    }
}

/// How long the leads of a site that has left the configuration stay queued.
pub const SITE_GONE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Events at the beginning of a history that are never left out.
pub const HISTORY_FIRST: usize = 10;
/// Most events kept with an entry; the first [`HISTORY_FIRST`] and the newest stay.
pub const HISTORY_MAX: usize = 60;

/// Something that happened to an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    /// The state it was left in.
    pub state: State,
    pub reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

impl Event {
    /// Tells whether an operator sent the entry then: attempts before it count no more.
    pub fn begins_anew(&self) -> bool {
        matches!(self.reason, Reason::Retried | Reason::Amended) && self.attempt.is_none()
    }
}

/// A claimed entry: whoever holds it may send it until the lease runs out.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub head: Head,
    /// Tells this claim from any other of the same entry.
    pub token: u64,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    Delivered {
        lead_id: Option<String>,
        attempt: Attempt,
        keep: Duration,
    },
    /// Failed; due again after the wait.
    Again {
        after: Duration,
        attempt: Attempt,
    },
    Dead {
        reason: Reason,
        attempt: Option<Attempt>,
        keep: Duration,
    },
    /// Needs a person. With an attempt where one led to that; otherwise no attempt is counted.
    Held {
        reason: Reason,
        attempt: Option<Attempt>,
        keep: Duration,
    },
    /// Stays queued although its site is not in the configuration; counts no attempt. The first of several in a row
    /// leaves an event: its time is the one from which [`SITE_GONE_MAX`] counts, also after a restart.
    SiteGone {
        after: Duration,
    },
    /// Could not be tried now; counts no attempt. With an attempt where one told so (a refused key).
    Postponed {
        after: Duration,
        attempt: Option<Attempt>,
    },
}

impl Settlement {
    /// Returns the attempt that led to it.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Delivered { attempt, .. } | Self::Again { attempt, .. } => Some(attempt),
            Self::Dead { attempt, .. } | Self::Held { attempt, .. } | Self::Postponed { attempt, .. } => {
                attempt.as_ref()
            }
            Self::SiteGone { .. } => None,
        }
    }

    /// Returns how long the entry waits until it is due again; none where it isn't queued any more.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Again { after, .. } | Self::SiteGone { after } | Self::Postponed { after, .. } => Some(*after),
            Self::Delivered { .. } | Self::Dead { .. } | Self::Held { .. } => None,
        }
    }
}

/// A change by an operator. None changes what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// From any state to queued, read again, due at once; attempts begin anew.
    Retry { reading: Box<Reading> },
    /// From held or dead to queued with what an operator corrected, due at once; attempts begin anew.
    Amend { reading: Box<Reading> },
    /// Held again, read again: still no lead. From any state but queued; it is kept as long as before.
    Hold { reason: Reason, reading: Box<Reading> },
    /// Held or queued to dead.
    Drop { keep: Duration },
    /// Filed under another site, and held as before.
    Assign { site: SiteId },
    /// Held because its site was gone, to queued as it is: the site is back.
    SiteBack,
}

/// What a change of an entry did, for whoever has to tell others of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    /// The same as `from` where only the reason changed, or not even that.
    pub to: State,
    /// Why it is in `to`.
    pub reason: Reason,
    /// How the attempt ended that led to it.
    pub attempt: Option<AttemptResult>,
    /// Whether the entry's history tells of it, and so an event does: a wait that only goes on is not worth one.
    pub recorded: bool,
    pub at: Timestamp,
}

/// Whether a compare-and-set held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Set {
    Done(Transition),
    /// Somebody else changed it first (or the lease ran out); nothing was written.
    Lost,
}

impl Set {
    /// Tells whether it held.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Which entries to list; an empty filter is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub site: Option<SiteId>,
    pub form: Option<FormId>,
    pub state: Option<State>,
    pub reason: Option<Reason>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
}

/// In which order entries are listed: ids begin with the time at which they were accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Oldest,
    Newest,
}

/// Some entries' heads, and from where to read on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub heads: Vec<Head>,
    /// Those that would be on it but can't be read.
    pub unreadable: Vec<EntryId>,
    /// None at the end.
    pub next: Option<EntryId>,
}

/// How many entries of a site are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub site: SiteId,
    pub state: State,
    pub entries: u64,
    /// When the first of them was accepted; told of what is queued alone.
    pub oldest: Option<Timestamp>,
}

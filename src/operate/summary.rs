//! An entry in a line, and the cause of its state in words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lead_view::LeadView;
use super::waiting::{Situation, WaitStatus, WaitsFor};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{Confirmed, DETAIL_MAX, Head, Reason, State};

/// Longest cause, in characters.
const CAUSE_MAX: usize = DETAIL_MAX;
/// Said of an end that no attempt of the history led to.
const NO_ATTEMPT: &str = "no attempt is recorded";

/// What a list shows of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub id: EntryId,
    pub site: SiteId,
    pub form: FormId,
    pub state: State,
    pub reason: Reason,
    /// Why it is in its state, for people; the same words for the same cause.
    pub cause: String,
    /// What a queued one waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    pub accepted_at: Timestamp,
    /// When it is tried next, where that is known; never in the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub attempts: u32,
    /// How often the same was posted again.
    pub seen: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<LeadView>,
    /// Its addresses and numbers are hidden.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

impl Summary {
    pub(super) fn of(head: &Head, situation: &Situation) -> Self {
        let waiting = (head.state == State::Queued).then(|| WaitStatus::of(head, situation));
        Self {
            id: head.id,
            site: head.site.clone(),
            form: head.form.clone(),
            state: head.state,
            reason: head.reason,
            cause: cause(head, situation),
            waits_for: waiting.as_ref().map(|waiting| waiting.waits_for),
            accepted_at: head.accepted_at,
            due_at: waiting.and_then(|waiting| waiting.next_try),
            expires_at: head.expires_at,
            attempts: head.attempts,
            seen: head.seen,
            lead_id: head.lead_id.clone(),
            mapping: head.reading.mapping.clone(),
            lead: head.reading.lead.as_ref().map(LeadView::from),
            masked: false,
        }
    }
}

/// Says why an entry is in its state. No value of the submission is in it.
pub(super) fn cause(head: &Head, situation: &Situation) -> String {
    let words = match head.state {
        State::Queued => WaitStatus::of(head, situation).cause,
        State::Held | State::Delivered | State::Dead => settled(head),
    };
    short(&words)
}

fn short(words: &str) -> String {
    let cut: String = words.chars().take(CAUSE_MAX).collect();
    // Whoever asks for a cause in these words may not be able to write a space at their end.
    cut.trim_end().to_owned()
}

/// Says why an entry that isn't queued is in its state.
pub(super) fn settled(head: &Head) -> String {
    match head.reason {
        Reason::Delivered => delivered(head).to_owned(),
        reason => of_reason(reason, &head.detail()),
    }
}

/// Says the same by the reason, and by what that leaves open.
pub(super) fn of_reason(reason: Reason, detail: &str) -> String {
    let or = |otherwise: &'static str| if detail.is_empty() { otherwise } else { detail };
    let behind = |what: &str| if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") };
    let words = match reason {
        Reason::Accepted | Reason::Retried | Reason::Amended | Reason::Retrying | Reason::SiteBack => {
            "queued".to_owned()
        }
        Reason::Undecodable => behind("can't be decoded"),
        Reason::Invalid => format!("no valid lead: {detail}"),
        Reason::HoldRule => format!("hold rule: {}", or("no reason given")),
        Reason::OverLimit => "over the site's limit".to_owned(),
        Reason::DeliverOff => "the site has deliver = false".to_owned(),
        Reason::UnknownForm => "unknown form".to_owned(),
        Reason::Uncertain => behind("confidence below auto.min"),
        Reason::Test => "it says that it is a test".to_owned(),
        Reason::Spam => "spam: the form's honeypot is filled in".to_owned(),
        Reason::OtherHost => "posted from a host that isn't in the site's `hosts`".to_owned(),
        Reason::Ambiguous => "several sites share its key pair, and it doesn't say which it is for".to_owned(),
        Reason::SiteGone => "the site is not in the configuration".to_owned(),
        Reason::Poison => "formgate failed each time it sent the lead: report the panic that the log shows".to_owned(),
        Reason::Delivered => "delivered".to_owned(),
        Reason::Refused => format!("KaiCalls refused the lead: {}", or(NO_ATTEMPT)),
        Reason::GaveUp => format!("gave up: {}", or(NO_ATTEMPT)),
        Reason::Dropped => "dropped by an operator".to_owned(),
        Reason::Restored => "restored from a backup: it may have been delivered since".to_owned(),
        Reason::Salvaged => "salvaged from a damaged store: it may have been delivered".to_owned(),
    };
    short(&words)
}

/// Says how it is known.
fn delivered(head: &Head) -> &'static str {
    match head.last_attempt().and_then(|attempt| attempt.confirmed) {
        Some(Confirmed::Widget) => "delivered: it is in KaiCalls' list of recent leads",
        None => "delivered",
    }
}

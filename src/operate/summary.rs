//! An entry in a line, and the cause of its state in words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lead::{EntryId, FieldError, FormId, Lead, LeadField, SiteId};
use crate::queue::{Attempt, AttemptResult, Confirmed, Entry, Reason, State};

/// Longest cause, in characters: it stands in a table.
const CAUSE_MAX: usize = 200;

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
    pub accepted_at: Timestamp,
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
    pub lead: Option<Lead>,
}

impl Summary {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            site: entry.site.clone(),
            form: entry.form.clone(),
            state: entry.state,
            reason: entry.reason,
            cause: cause(entry),
            accepted_at: entry.accepted_at,
            due_at: entry.due_at,
            expires_at: entry.expires_at,
            attempts: entry.attempts,
            seen: entry.seen,
            lead_id: entry.lead_id.clone(),
            mapping: entry.content.mapping.clone(),
            lead: entry.content.lead.clone(),
        }
    }
}

/// Says why an entry is in its state. No value of the submission is in it.
pub(super) fn cause(entry: &Entry) -> String {
    let words = match entry.reason {
        Reason::Accepted | Reason::Retried | Reason::Amended | Reason::Retrying => waiting(entry),
        Reason::Undecodable => with_detail("can't be decoded", &entry.content.errors),
        Reason::Invalid => invalid(&entry.content.errors),
        Reason::HoldRule => format!("hold rule: {}", entry.content.hold_rule.as_deref().unwrap_or("no reason given")),
        Reason::OverLimit => "over the site's limit".to_owned(),
        Reason::DeliverOff => "the site has deliver = false".to_owned(),
        Reason::UnknownForm => "unknown form".to_owned(),
        Reason::OtherHost => "posted from another host than the site's".to_owned(),
        Reason::Ambiguous => "several sites share its key pair, and it names none of them".to_owned(),
        Reason::SiteGone => "the site is not in the configuration".to_owned(),
        Reason::Delivered => delivered(entry).to_owned(),
        Reason::Refused => format!("KaiCalls refused the lead: {}", last_words(entry)),
        Reason::GaveUp => format!("gave up: {}", last_words(entry)),
        Reason::Dropped => "dropped by an operator".to_owned(),
        Reason::Restored => "restored from a backup: it may have been delivered since".to_owned(),
        Reason::Salvaged => "salvaged from a damaged store: it may have been delivered".to_owned(),
    };
    words.chars().take(CAUSE_MAX).collect()
}

/// Returns the newest attempt.
pub(super) fn last_attempt(entry: &Entry) -> Option<&Attempt> {
    entry.history.iter().rev().find_map(|event| event.attempt.as_ref())
}

/// Says how it is known.
fn delivered(entry: &Entry) -> &'static str {
    match last_attempt(entry).and_then(|attempt| attempt.confirmed) {
        Some(Confirmed::Widget) => "delivered, as KaiCalls' dashboard widget shows",
        None => "delivered",
    }
}

fn waiting(entry: &Entry) -> String {
    let since = entry.history.iter().rev().take_while(|event| !event.begins_anew());
    let Some(attempt) = since.filter_map(|event| event.attempt.as_ref()).next() else {
        return if entry.reason == Reason::Retried { "sent again by an operator" } else { "on its way" }.to_owned();
    };
    match attempt.result {
        AttemptResult::KeyRefused => format!("key refused: {}", attempt.in_words()),
        AttemptResult::LeadRefused => format!("refused once, tried again: {}", attempt.in_words()),
        _ => format!("tried again: {}", attempt.in_words()),
    }
}

fn last_words(entry: &Entry) -> String {
    last_attempt(entry).map_or_else(|| "no attempt is recorded".to_owned(), Attempt::in_words)
}

fn invalid(errors: &[FieldError]) -> String {
    let word = |error: &FieldError| match error.field.map(LeadField::as_str) {
        Some(field) => format!("{field} {}", error.code.as_str()),
        None => error.code.as_str().to_owned(),
    };
    let words: Vec<_> = errors.iter().map(word).collect();
    format!("no valid lead: {}", words.join(", "))
}

/// Details of errors never repeat a value.
fn with_detail(what: &str, errors: &[FieldError]) -> String {
    errors.first().map_or_else(|| what.to_owned(), |error| format!("{what}: {}", error.detail))
}

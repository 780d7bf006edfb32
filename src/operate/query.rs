//! Which entries are meant: as an operator asks, and as it is understood.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::SearchText;
use super::when;
use crate::lead::{FormId, SiteId};
use crate::queue::{Filter, Reason, State};

/// Longest text that is searched for, in bytes.
const TEXT_MAX: usize = 256;

const STATES: [State; 4] = [State::Queued, State::Held, State::Delivered, State::Dead];
/// Every reason that a filter may name.
pub const REASONS: &[Reason] = &[
    Reason::Accepted,
    Reason::Undecodable,
    Reason::Invalid,
    Reason::HoldRule,
    Reason::OverLimit,
    Reason::DeliverOff,
    Reason::UnknownForm,
    Reason::Uncertain,
    Reason::Test,
    Reason::Spam,
    Reason::OtherHost,
    Reason::Ambiguous,
    Reason::SiteGone,
    Reason::SiteBack,
    Reason::Poison,
    Reason::Delivered,
    Reason::Refused,
    Reason::Retrying,
    Reason::GaveUp,
    Reason::Retried,
    Reason::Amended,
    Reason::Dropped,
    Reason::Salvaged,
    Reason::Restored,
];

/// A filter as it is asked for, nothing of it checked. No `Debug`: the text may be somebody's name.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterAsked {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The cause of what is held or dead, in the very words of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Accepted at or after: RFC 3339, a day, or how long ago (`2h`, `7d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Accepted before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Stands in the lead or in what was posted: case and accents don't count, nor how a telephone number is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Which entries are meant; an empty one is all. No `Debug`, as above.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub filter: Filter,
    /// What is held or dead for this cause.
    pub cause: Option<String>,
    pub text: Option<SearchText>,
}

/// What in a filter makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    #[error("`{0}` can't be the id of a {1}: use 1 to 64 characters of a-z, 0-9, - and _")]
    Name(String, &'static str),
    #[error("no such {what}: `{given}`; use {}", known.join(", "))]
    Word { what: &'static str, given: String, known: Vec<&'static str> },
    #[error("`{0}` isn't a time: write 2026-11-20T08:00:00Z, 2026-11-20, or an age such as 2h or 7d")]
    Time(String),
    #[error("the text to search for is empty or longer than {TEXT_MAX} bytes")]
    Text,
    #[error("`{0}` isn't a cursor: copy it from `next`")]
    Cursor(String),
}

impl FilterAsked {
    /// Tells whether nothing is asked for, which means everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Understands what is asked for.
    pub fn read(&self, now: Timestamp) -> Result<Query, BadQuery> {
        let site = self.site.as_deref().map(|text| SiteId::parse(text).map_err(|_slug| name(text, "site")));
        let form = self.form.as_deref().map(|text| FormId::parse(text).map_err(|_slug| name(text, "form")));
        let time = |text: &Option<String>| {
            text.as_deref().map(|text| when::read(text, now).ok_or_else(|| BadQuery::Time(short(text)))).transpose()
        };
        let text = self.text.as_deref().map(str::trim);
        if text.is_some_and(|text| text.is_empty() || text.len() > TEXT_MAX) {
            return Err(BadQuery::Text);
        }
        let state = self.state.as_deref().map(|text| word("state", text, &STATES, State::as_str));
        let reason = self.reason.as_deref().map(|text| word("reason", text, REASONS, Reason::as_str));
        let filter = Filter {
            site: site.transpose()?,
            form: form.transpose()?,
            state: state.transpose()?,
            reason: reason.transpose()?,
            since: time(&self.since)?,
            until: time(&self.until)?,
        };
        Ok(Query { filter, cause: self.cause.clone(), text: text.map(SearchText::new) })
    }
}

impl Query {
    /// Says what is asked for, for the audit: names and times, never the text.
    pub(super) fn words(&self) -> String {
        let Filter { site, form, state, reason, since, until } = &self.filter;
        let words = [
            site.as_ref().map(|site| format!("site={site}")),
            form.as_ref().map(|form| format!("form={form}")),
            state.map(|state| format!("state={}", state.as_str())),
            reason.map(|reason| format!("reason={}", reason.as_str())),
            since.map(|since| format!("since={since}")),
            until.map(|until| format!("until={until}")),
            self.cause.as_ref().map(|_words| "cause=…".to_owned()),
            self.text.as_ref().map(|_text| "text=…".to_owned()),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        if words.is_empty() { "all".to_owned() } else { words.join(" ") }
    }
}

fn name(text: &str, what: &'static str) -> BadQuery {
    BadQuery::Name(short(text), what)
}

fn word<T: Copy>(what: &'static str, given: &str, all: &[T], as_str: fn(T) -> &'static str) -> Result<T, BadQuery> {
    let known = || all.iter().map(|one| as_str(*one)).collect();
    all.iter().copied().find(|one| as_str(*one) == given).ok_or_else(|| BadQuery::Word {
        what,
        given: short(given),
        known: known(),
    })
}

/// What was given, short enough for a message.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_understood_or_told_how_to_be_asked() {
        let some = |text: &str| Some(text.to_owned());
        let asked = FilterAsked {
            site: some("acme"),
            state: some("held"),
            reason: some("hold_rule"),
            since: some("1h"),
            text: some(" Ännie "),
            ..FilterAsked::default()
        };
        let now = Timestamp::from_second(7_200).expect("a time");
        let query = asked.read(now).unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(query.filter.since, Timestamp::from_second(3_600).ok());
        assert_eq!(query.filter.reason, Some(Reason::HoldRule));
        assert!(query.text == Some(SearchText::new("annie")));
        assert_eq!(query.words(), "site=acme state=held reason=hold_rule since=1970-01-01T01:00:00Z text=…");
        let bad = |asked: FilterAsked| asked.read(now).err().map(|bad| bad.to_string()).unwrap_or_default();
        let wrong = FilterAsked { state: some("held,dead"), ..FilterAsked::default() };
        assert_eq!(bad(wrong), "no such state: `held,dead`; use queued, held, delivered, dead");
        assert!(bad(FilterAsked { since: some("soon"), ..FilterAsked::default() }).contains("2h or 7d"));
        assert!(bad(FilterAsked { site: some("Acme"), ..FilterAsked::default() }).contains("the id of a site"));
        assert!(!bad(FilterAsked { text: some(" "), ..FilterAsked::default() }).is_empty());
    }
}

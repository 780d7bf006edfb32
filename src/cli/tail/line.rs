//! An event as a line for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::cli::console::Paint;
use crate::cli::leads::{ID_SHORT, duration};
use crate::cli::shown;

/// Columns of a site and its form; longer ones push the rest aside.
const PLACE: usize = 22;
/// Longest words, and longest message, in characters.
const WORDS_MAX: usize = 100;
const MESSAGE_MAX: usize = 200;

/// An event as the gateway sends it: what another version lacks is left out.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct ShownEvent {
    at: Timestamp,
    site: Option<String>,
    form: Option<String>,
    id: Option<String>,
    what: String,
    result: String,
    mistake: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
    number: Option<u32>,
    state: String,
    confirmed: Option<String>,
    next_try_at: Option<Timestamp>,
    duration_ms: u64,
    lead: Option<ShownLead>,
}

/// The lead of an event, where it was asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ShownLead {
    name: String,
    email: String,
    phone: Option<String>,
    message: String,
}

impl Default for ShownEvent {
    fn default() -> Self {
        Self {
            at: Timestamp::UNIX_EPOCH,
            site: None,
            form: None,
            id: None,
            what: String::new(),
            result: String::new(),
            mistake: None,
            reason: None,
            status: None,
            number: None,
            state: String::new(),
            confirmed: None,
            next_try_at: None,
            duration_ms: 0,
            lead: None,
        }
    }
}

impl ShownEvent {
    /// Writes the event, and under it the lead.
    pub(super) fn lines(&self, zone: &TimeZone, paint: Paint) -> Vec<String> {
        let at = self.at.to_zoned(zone.clone()).strftime("%H:%M:%S");
        let place = match (&self.site, &self.form) {
            (Some(site), Some(form)) => format!("{site}/{form}"),
            (Some(site), None) => site.clone(),
            (None, _) => "-".to_owned(),
        };
        let place = shown::line(&place);
        let id = self.id.as_deref().map_or_else(|| "-".to_owned(), |id| shown::line(id.get(..ID_SHORT).unwrap_or(id)));
        let took = duration(i64::try_from(self.duration_ms).unwrap_or(i64::MAX));
        let result = self.painted(&format!("{:<12}", shown::line(&self.result)), paint);
        let what = shown::line(&self.what);
        let more = self.more();
        let line = format!("{at}  {place:<PLACE$}  {what:<7}  {result}  {id:<ID_SHORT$}  {took:>7}  {more}");
        let lead = self.lead.iter().flat_map(ShownLead::lines);
        std::iter::once(line.trim_end().to_owned()).chain(lead).collect()
    }

    /// Says why, and what comes next.
    fn more(&self) -> String {
        let why = self.mistake.as_deref().or(self.reason.as_deref());
        let status = self.status.map(|status| status.to_string());
        let said: Vec<&str> = [status.as_deref(), why].into_iter().flatten().collect();
        let said = shown::short(&said.join(" "), WORDS_MAX);
        let number = self.number.map(|number| format!("attempt {number}"));
        let confirmed = self.confirmed.as_ref().map(|_how| "it had arrived before".to_owned());
        let next = match (self.next_try_at, self.state.as_str()) {
            (Some(next), _) => {
                let wait = next.as_millisecond().saturating_sub(self.at.as_millisecond()).max(0);
                Some(format!("next in {}", duration(wait)))
            }
            (None, state @ ("dead" | "held")) => Some(format!("now {state}")),
            (None, _) => None,
        };
        let parts = [Some(said).filter(|said| !said.is_empty()), number, confirmed, next];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn painted(&self, text: &str, paint: Paint) -> String {
        match (self.result.as_str(), self.state.as_str()) {
            (_, "dead") | ("refused" | "key_refused" | "lead_refused" | "panicked", _) => paint.red(text),
            ("delivered", _) => paint.green(text),
            ("held" | "rejected" | "failed" | "ambiguous" | "aborted", _) => paint.yellow(text),
            ("duplicate" | "answered" | "spam", _) => paint.dim(text),
            _ => text.to_owned(),
        }
    }
}

impl ShownLead {
    fn lines(&self) -> [String; 2] {
        let phone = self.phone.as_deref().map_or_else(String::new, |phone| format!("  {phone}"));
        let person = format!("{} <{}>{phone}", self.name, self.email);
        [
            format!("          {}", shown::short(&person, MESSAGE_MAX)),
            format!("          {}", shown::short(&self.message, MESSAGE_MAX)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: serde_json::Value) -> String {
        let event: ShownEvent = serde_json::from_value(json).expect("an event");
        event.lines(&TimeZone::UTC, Paint::default()).join("\n")
    }

    #[test]
    fn each_end_is_a_line_that_says_why_and_what_comes_next() {
        let id = "0198c0de-1234-7abc-8def-000000000000";
        let shown = [
            serde_json::json!({
                "at": "2026-11-30T14:03:07.120Z", "site": "acme", "form": "contact", "id": id, "what": "request",
                "result": "held", "reason": "invalid", "status": 200, "duration_ms": 4,
            }),
            serde_json::json!({
                "at": "2026-11-30T14:03:08Z", "what": "request", "result": "refused", "mistake": "unknown_token",
                "status": 401, "duration_ms": 0,
            }),
            serde_json::json!({
                "at": "2026-11-30T14:03:09Z", "site": "acme", "form": "contact", "id": id, "what": "attempt",
                "result": "failed", "state": "queued", "status": 503, "reason": "Service \u{1b}Unavailable",
                "number": 2, "next_try_at": "2026-11-30T14:03:21Z", "duration_ms": 212,
                "lead": { "name": "Jane Doe", "email": "jane@example.com", "phone": "+15551234567", "message": "Hi\nthere" },
            }),
            serde_json::json!({
                "at": "2026-11-30T14:03:10Z", "site": "acme", "form": "contact", "id": id, "what": "attempt",
                "result": "lead_refused", "state": "dead", "status": 400, "reason": "Bad phone", "number": 2,
                "duration_ms": 90, "of_the_future": [1],
            }),
        ];
        insta::assert_snapshot!("tail", shown.map(lines).join("\n"));
    }
}

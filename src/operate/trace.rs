//! `trace`: an entry's life as a line of moments, and what comes next.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::summary::settled;
use super::waiting::{Situation, WaitStatus};
use super::{OperateError, find};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{AttemptResult, Confirmed, Event, Head, State, Store};

/// An entry's moments, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub id: EntryId,
    pub site: SiteId,
    pub form: FormId,
    pub state: State,
    /// It was posted so often again within the dedupe window.
    pub seen: u32,
    pub steps: Vec<Step>,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: Timestamp,
    /// Milliseconds since the step before.
    pub after_ms: i64,
    /// The state from then on; none of what is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Traces the entry of an id, or of an id's beginning.
pub async fn trace(store: &dyn Store, situation: &Situation, id: &str) -> Result<Trace, OperateError> {
    Ok(Trace::of(&find(store, id).await??.head, situation))
}

impl Trace {
    fn of(head: &Head, situation: &Situation) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let mut number = 0;
        for event in &head.history {
            // What was only looked for was not sent.
            number += u32::from(event.attempt.as_ref().is_some_and(|attempt| attempt.confirmed.is_none()));
            let duration_ms = event.attempt.as_ref().map(|attempt| attempt.duration_ms);
            let before = steps.last().map_or(event.at, |step| step.at);
            let at = event.at;
            let what = words(event, head, number, steps.is_empty());
            steps.push(Step { at, after_ms: since(before, at), state: Some(event.state), what, duration_ms });
        }
        let last = steps.last().map_or(head.accepted_at, |step| step.at);
        let next_try = || WaitStatus::of(head, situation).next_try;
        let next_try = (head.state == State::Queued).then(next_try).flatten();
        let next = [(next_try, "next attempt"), (head.expires_at, "will be removed")];
        let next = next.into_iter().filter_map(|(at, what)| Some((at?, what)));
        steps.extend(next.map(|(at, what)| Step {
            at,
            after_ms: since(last, at),
            state: None,
            what: what.to_owned(),
            duration_ms: None,
        }));
        let Head { id, site, form, state, seen, .. } = head;
        Self { id: *id, site: site.clone(), form: form.clone(), state: *state, seen: *seen, steps }
    }
}

fn since(before: Timestamp, at: Timestamp) -> i64 {
    i64::try_from(at.duration_since(before).as_millis()).unwrap_or(i64::MAX)
}

fn words(event: &Event, head: &Head, number: u32, is_first: bool) -> String {
    let Some(attempt) = &event.attempt else {
        let what = event.reason.as_str();
        return match (is_first, event.state) {
            (true, State::Queued) => "accepted, queued".to_owned(),
            // Only of the last change the cause is known.
            (true, State::Held) if head.history.len() == 1 => format!("accepted, held: {}", settled(head)),
            (true, _) => format!("accepted, {}: {what}", event.state.as_str()),
            (false, _) => format!("{}: {what}", event.state.as_str()),
        };
    };
    if let Some(by) = attempt.confirmed {
        return confirmed(by).to_owned();
    }
    let result = match attempt.result {
        AttemptResult::Delivered => "delivered",
        AttemptResult::KeyRefused => "key refused",
        AttemptResult::LeadRefused => "lead refused",
        AttemptResult::Failed => "failed",
        AttemptResult::Ambiguous => "may have arrived",
    };
    format!("attempt {number}: {result}, {}", attempt.in_words())
}

fn confirmed(by: Confirmed) -> &'static str {
    match by {
        Confirmed::Widget => "delivered: it is in KaiCalls' list of recent leads",
    }
}

//! What the sandbox's intake does wrong, on demand.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest delay.
const DELAY_MAX_MS: u64 = 600_000;
/// Longest header value of a fault, in bytes.
const HEADER_MAX: usize = 256;

/// One fault of intake, as JSON: `{"status":503,"times":3}`. There is one at a time; without any, intake behaves.
///
/// With `status` or `body` that is the answer and no lead is taken, whoever asks. With only a delay, or with
/// `drop_after_commit`, intake does its work: late, or without saying so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// The status of the answer, 200 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body of the answer; else the API's envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The `Content-Type` of the answer; else JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The `Retry-After` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Waits so long before anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Takes the lead, then closes the connection without an answer.
    pub drop_after_commit: bool,
    /// Is over after so many requests; else it stays until it is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<NonZeroU32>,
    /// Meets so many of a hundred requests, by chance; else all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// Why a fault makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    #[error("status must be 200 to 599")]
    Status,
    #[error("percent must be 1 to 100")]
    Percent,
    #[error("delay_ms must be at most {DELAY_MAX_MS}")]
    Delay,
    #[error("content_type and retry_after must be one line of visible characters, at most {HEADER_MAX}")]
    Header,
    #[error(
        "drop_after_commit sends no answer, so it can't be combined with status, body, content_type or retry_after"
    )]
    DropAnswers,
    #[error("it does nothing: set status, body, delay_ms or drop_after_commit")]
    Nothing,
}

impl Fault {
    /// Checks a fault; only a checked one is set.
    pub(super) fn check(&self) -> Result<(), InvalidFault> {
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(InvalidFault::Status);
        }
        if self.percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            return Err(InvalidFault::Percent);
        }
        if self.delay_ms.is_some_and(|delay| delay > DELAY_MAX_MS) {
            return Err(InvalidFault::Delay);
        }
        let is_plain = |text: &String| text.len() <= HEADER_MAX && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        if !self.content_type.iter().chain(&self.retry_after).all(is_plain) {
            return Err(InvalidFault::Header);
        }
        let has_headers = self.content_type.is_some() || self.retry_after.is_some();
        if self.drop_after_commit && (self.is_answer() || has_headers) {
            return Err(InvalidFault::DropAnswers);
        }
        let does_something = self.is_answer() || self.drop_after_commit || self.delay_ms.is_some();
        does_something.then_some(()).ok_or(InvalidFault::Nothing)
    }

    /// Tells whether the fault is an answer of its own.
    pub(super) fn is_answer(&self) -> bool {
        self.status.is_some() || self.body.is_some()
    }

    pub(super) fn delay(&self) -> Option<Duration> {
        self.delay_ms.map(Duration::from_millis)
    }
}

/// Returns the fault that meets a request, and counts it.
pub(super) fn draw(current: &mut Option<Fault>, random: u32) -> Option<Fault> {
    let fault = current.as_mut()?;
    if random % 100 >= u32::from(fault.percent.unwrap_or(100)) {
        return None;
    }
    let met = fault.clone();
    if let Some(times) = fault.times {
        match NonZeroU32::new(times.get() - 1) {
            Some(left) => fault.times = Some(left),
            None => *current = None,
        }
    }
    Some(met)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).expect("a fault")
    }

    #[test]
    fn a_fault_is_over_after_its_times() {
        let mut current = Some(fault(r#"{"status":503,"times":2}"#));
        assert!(draw(&mut current, 99).is_some());
        assert_eq!(current, Some(fault(r#"{"status":503,"times":1}"#)));
        assert!(draw(&mut current, 0).is_some());
        assert!(draw(&mut current, 0).is_none() && current.is_none());
        let mut lasting = Some(fault(r#"{"status":503}"#));
        assert!((0..1_000).all(|random| draw(&mut lasting, random).is_some()));
    }

    #[test]
    fn a_percentage_meets_its_share_and_counts_only_those() {
        let mut current = Some(fault(r#"{"delay_ms":1,"percent":10,"times":11}"#));
        let met = (0..100).filter(|random| draw(&mut current, *random).is_some()).count();
        assert_eq!((met, current.and_then(|fault| fault.times)), (10, NonZeroU32::new(1)));
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused() {
        let refused = |json| fault(json).check().expect_err("refused");
        assert_eq!(refused(r#"{"status":101}"#), InvalidFault::Status);
        assert_eq!(refused(r#"{"status":600}"#), InvalidFault::Status);
        assert_eq!(refused(r#"{"status":500,"percent":0}"#), InvalidFault::Percent);
        assert_eq!(refused(r#"{"delay_ms":600001}"#), InvalidFault::Delay);
        assert_eq!(refused(r#"{"status":503,"retry_after":"1\r\nx: y"}"#), InvalidFault::Header);
        assert_eq!(refused(r#"{"status":503,"drop_after_commit":true}"#), InvalidFault::DropAnswers);
        assert_eq!(refused("{}"), InvalidFault::Nothing);
        assert_eq!(fault(r#"{"body":"<html>","content_type":"text/html"}"#).check(), Ok(()));
        assert!(serde_json::from_str::<Fault>(r#"{"stauts":500}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"status":500,"times":0}"#).is_err());
    }
}

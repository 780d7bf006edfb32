//! What an endpoint of the sandbox does wrong, on demand.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;

/// Longest delay.
const DELAY_MAX_MS: u64 = 600_000;
/// Longest header value of a fault, in bytes.
const HEADER_MAX: usize = 256;
/// Longest name of a site (`public_key`, `site_url`), in bytes.
const SITE_MAX: usize = 2_048;

/// One fault of one endpoint, as JSON: `{"endpoint":"keys","status":429,"retry_after":"2","percent":5}`.
///
/// With `status` or `body` that is the answer, and nothing is done, whoever asks. With only a delay, or with
/// `drop_after_commit`, the endpoint does its work: late, or without saying so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// The endpoint that misbehaves; else intake.
    pub endpoint: Endpoint,
    /// Meets only requests with this public key, valid or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Meets only requests of this site: of the connection that was minted for it; for `keys`, that ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_url: Option<String>,
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
    /// Does the work (takes the lead, mints the pair), then closes the connection without an answer.
    pub drop_after_commit: bool,
    /// Ends after meeting so many requests; else it stays until it is taken back.
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
    #[error("name a site by public_key or by site_url, not by both")]
    TwoNames,
    #[error("a request that mints keys has no public_key; name the site by site_url")]
    KeysHaveNoPublicKey,
    #[error("public_key and site_url must have 1 to {SITE_MAX} bytes")]
    SiteLength,
    #[error(
        "there are {} faults, or {} bytes of bodies, already; clear some",
        super::faults::FAULTS_MAX,
        super::faults::BODIES_MAX
    )]
    TooMany,
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
        self.check_site()?;
        let has_headers = self.content_type.is_some() || self.retry_after.is_some();
        if self.drop_after_commit && (self.is_answer() || has_headers) {
            return Err(InvalidFault::DropAnswers);
        }
        let does_something = self.is_answer() || self.drop_after_commit || self.delay_ms.is_some();
        does_something.then_some(()).ok_or(InvalidFault::Nothing)
    }

    fn check_site(&self) -> Result<(), InvalidFault> {
        if self.public_key.is_some() && self.site_url.is_some() {
            return Err(InvalidFault::TwoNames);
        }
        if self.public_key.is_some() && self.endpoint == Endpoint::Keys {
            return Err(InvalidFault::KeysHaveNoPublicKey);
        }
        let fits = |name: &String| (1..=SITE_MAX).contains(&name.len());
        self.public_key.iter().chain(&self.site_url).all(fits).then_some(()).ok_or(InvalidFault::SiteLength)
    }

    /// Tells whether the fault is an answer of its own.
    pub(super) fn is_answer(&self) -> bool {
        self.status.is_some() || self.body.is_some()
    }

    pub(super) fn delay(&self) -> Option<Duration> {
        self.delay_ms.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).expect("a fault")
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
        assert_eq!(refused(r#"{"status":500,"public_key":"a","site_url":"b"}"#), InvalidFault::TwoNames);
        assert_eq!(refused(r#"{"status":500,"endpoint":"keys","public_key":"a"}"#), InvalidFault::KeysHaveNoPublicKey);
        assert_eq!(refused(r#"{"status":500,"site_url":""}"#), InvalidFault::SiteLength);
        assert_eq!(fault(r#"{"body":"<html>","content_type":"text/html"}"#).check(), Ok(()));
        assert!(serde_json::from_str::<Fault>(r#"{"stauts":500}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"status":500,"times":0}"#).is_err());
    }
}

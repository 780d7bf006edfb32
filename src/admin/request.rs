//! What a request to the API asks for: its query's parameters, its JSON body. Both bounded.

use std::time::Duration;

use http::header;
use pingora::protocols::http::ServerSession;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::fault::ApiError;
use crate::http::expects_continue;
use crate::operate::{Cursor, FilterAsked};
use crate::queue::Order;

/// Longest body, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// For the whole body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Entries of a page, unless another number is asked for, and at most.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;

/// The parameters of a list, a grouping or an export.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) filter: FilterAsked,
    /// Only of a list.
    pub(super) order: Option<Order>,
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: Option<usize>,
    pub(super) format: Option<String>,
    /// Show leads whole where they are masked.
    pub(super) reveal: bool,
}

impl Parameters {
    /// Reads a query; one that is not known, or comes twice, is a mistake.
    pub(super) fn read(query: &str) -> Result<Self, ApiError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
            .map_err(|_bad| ApiError::Request("the query string is malformed".to_owned()))?;
        let mut read = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs {
            if seen.contains(&name) {
                return Err(ApiError::Request(format!("`{name}` is given twice")));
            }
            read.set(&name, value)?;
            seen.push(name);
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        let filter = &mut self.filter;
        let place = match name {
            "site" => &mut filter.site,
            "form" => &mut filter.form,
            "state" => &mut filter.state,
            "reason" => &mut filter.reason,
            "cause" => &mut filter.cause,
            "since" => &mut filter.since,
            "until" => &mut filter.until,
            "text" => &mut filter.text,
            "format" => &mut self.format,
            "order" => {
                self.order = Some(order(&value)?);
                return Ok(());
            }
            "reveal" => {
                let no_flag = |_bad| ApiError::Request("`reveal` must be true or false".to_owned());
                self.reveal = value.parse().map_err(no_flag)?;
                return Ok(());
            }
            "cursor" => {
                let no_cursor = |_bad| ApiError::Request("`cursor` must be copied from `next`".to_owned());
                self.cursor = Some(value.parse().map_err(no_cursor)?);
                return Ok(());
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = Some(limit.ok_or_else(|| ApiError::Request(format!("`limit` must be 1 to {LIMIT_MAX}")))?);
                return Ok(());
            }
            _ => {
                let known =
                    "site, form, state, reason, cause, since, until, text, order, cursor, limit, format, reveal";
                return Err(ApiError::Request(format!("no such parameter; use {known}")));
            }
        };
        *place = Some(value);
        Ok(())
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }
}

fn order(text: &str) -> Result<Order, ApiError> {
    match text {
        "newest" => Ok(Order::Newest),
        "oldest" => Ok(Order::Oldest),
        _ => Err(ApiError::Request("`order` must be newest or oldest".to_owned())),
    }
}

/// Reads a JSON body. Its depth is that of what it is read into: unknown keys end the reading.
pub(super) async fn json<T: DeserializeOwned>(session: &mut ServerSession) -> Result<T, ApiError> {
    json_up_to(session, BODY_MAX).await
}

/// Reads a JSON body of another length.
pub(super) async fn json_up_to<T: DeserializeOwned>(session: &mut ServerSession, max: usize) -> Result<T, ApiError> {
    let bytes = typed(session, "application/json", max).await?;
    // The message names keys and places, and of values at most a number or a word that is no text of a person.
    serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let words = match error.classify() {
            serde_json::error::Category::Data => error.to_string(),
            _ => format!("the body isn't valid JSON at {place}"),
        };
        ApiError::Request(words)
    })
}

/// Reads the fields of a page's form, in order.
pub(super) async fn form(session: &mut ServerSession, max: usize) -> Result<Vec<(String, String)>, ApiError> {
    let bytes = typed(session, "application/x-www-form-urlencoded", max).await?;
    serde_urlencoded::from_bytes(&bytes).map_err(|_bad| ApiError::Request("the form is malformed".to_owned()))
}

/// Reads the body of a request that says it is of a media type.
async fn typed(session: &mut ServerSession, wanted: &str, max: usize) -> Result<Vec<u8>, ApiError> {
    let head = session.req_header();
    let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(wanted) {
        return Err(ApiError::Media);
    }
    let waits = expects_continue(&head.headers);
    let declared = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > max as u64) {
        return Err(ApiError::TooLarge(max / 1024));
    }
    timeout(BODY_TIME, body(session, waits, max)).await.unwrap_or(Err(ApiError::TooSlow))
}

async fn body(session: &mut ServerSession, waits: bool, max: usize) -> Result<Vec<u8>, ApiError> {
    let broken = || ApiError::Request("the body is incomplete".to_owned());
    if waits {
        session.write_continue_response().await.map_err(|_gone| broken())?;
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = session.read_request_body().await.map_err(|_broken| broken())? {
        if bytes.len() + chunk.len() > max {
            return Err(ApiError::TooLarge(max / 1024));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

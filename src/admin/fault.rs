//! From what went wrong to the problem that is answered: the API's statuses in one place.

use http::{StatusCode, header};

use super::reply::ApiReply;
use crate::operate::{BadAmend, BadToken, NotFound, OperateError};
use crate::queue::StoreError;

/// Why an API request failed.
pub(super) enum ApiError {
    Unauthorized,
    /// Too many requests to the API are under way.
    Busy,
    /// As many streams are open as may be.
    Streams,
    NoSuchPath,
    Method(&'static str),
    /// Invalid request; in words.
    Request(String),
    /// Larger than so many KiB.
    TooLarge(usize),
    TooSlow,
    /// It is no JSON, or its type does not say so.
    Media,
    Operate(OperateError),
}

impl<E: Into<OperateError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::Operate(error.into())
    }
}

impl ApiError {
    pub(super) fn reply(self) -> ApiReply {
        match self {
            Self::Unauthorized => {
                ApiReply::problem(StatusCode::UNAUTHORIZED, "unauthorized", "The admin token is missing or wrong")
                    .with(header::WWW_AUTHENTICATE, "Bearer realm=\"formgate admin\"")
            }
            Self::Busy => ApiReply::problem(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many requests in progress")
                .with(header::RETRY_AFTER, "1"),
            Self::Streams => ApiReply::problem(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many streams are open")
                .with(header::RETRY_AFTER, "10"),
            Self::NoSuchPath => ApiReply::problem(StatusCode::NOT_FOUND, "not-found", "No such path"),
            Self::Method(allowed) => {
                ApiReply::problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
                    .with(header::ALLOW, allowed)
            }
            Self::Request(words) => {
                ApiReply::problem_with(StatusCode::BAD_REQUEST, "bad-request", "Invalid request", words)
            }
            Self::TooLarge(kib) => {
                let detail = format!("The body is larger than {kib} KiB");
                ApiReply::problem_with(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", detail)
            }
            Self::TooSlow => {
                ApiReply::problem(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "The body didn't arrive in time")
            }
            Self::Media => ApiReply::problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Send Content-Type: application/json",
            ),
            Self::Operate(error) => operate(&error),
        }
    }
}

fn operate(error: &OperateError) -> ApiReply {
    let words = told(error);
    match error {
        OperateError::Store(StoreError::Corrupt(_) | StoreError::Newer { .. }) => {
            ApiReply::problem_with(StatusCode::INTERNAL_SERVER_ERROR, "store", "The store can't be read", words)
        }
        OperateError::Store(_) | OperateError::NoFile(_) => {
            ApiReply::problem_with(StatusCode::SERVICE_UNAVAILABLE, "store", "The store can't do this now", words)
        }
        OperateError::Audit(_) => {
            ApiReply::problem_with(StatusCode::INTERNAL_SERVER_ERROR, "audit", "The audit log can't be written", words)
        }
        OperateError::NotFound(NotFound::Gone(_)) => {
            ApiReply::problem_with(StatusCode::NOT_FOUND, "no-such-entry", "No such lead", words)
        }
        OperateError::NoSuchSite(_) => {
            ApiReply::problem_with(StatusCode::NOT_FOUND, "no-such-site", "No such site", words)
        }
        OperateError::NotFound(NotFound::Ambiguous(_)) => {
            ApiReply::problem_with(StatusCode::CONFLICT, "ambiguous-id", "More than one lead", words)
        }
        OperateError::BadAmend(bad) => bad_amend(bad, words),
        OperateError::BadToken(error) => bad_token(error, words),
        OperateError::NotFound(NotFound::NoId)
        | OperateError::BadChoice(_)
        | OperateError::BadErase(_)
        | OperateError::BadQuery(_)
        | OperateError::BadExplain(_) => ApiError::Request(words).reply(),
    }
}

fn bad_amend(bad: &BadAmend, words: String) -> ApiReply {
    match bad {
        BadAmend::Invalid(errors) => {
            let invalid =
                ApiReply::problem_with(StatusCode::UNPROCESSABLE_ENTITY, "invalid-lead", "No valid lead", words);
            invalid.with_errors(errors.clone())
        }
        BadAmend::Queued
        | BadAmend::Delivered
        | BadAmend::Ambiguous
        | BadAmend::NoSite(_)
        | BadAmend::NotCorrected(_)
        | BadAmend::Busy => {
            ApiReply::problem_with(StatusCode::CONFLICT, "not-amendable", "The lead can't be amended now", words)
        }
        BadAmend::Nothing | BadAmend::Both(_) | BadAmend::Masked(_) => ApiError::Request(words).reply(),
    }
}

fn bad_token(error: &BadToken, words: String) -> ApiReply {
    match error {
        BadToken::Expired | BadToken::Note => ApiError::Request(words).reply(),
        BadToken::NoSite(_) => ApiReply::problem_with(StatusCode::NOT_FOUND, "no-such-site", "No such site", words),
        BadToken::LastGood { .. } | BadToken::Changed(_) | BadToken::File { .. } => {
            ApiReply::problem_with(StatusCode::CONFLICT, "site-file", "The site's file can't be changed now", words)
        }
        BadToken::Panicked(_) => {
            ApiReply::problem_with(StatusCode::INTERNAL_SERVER_ERROR, "internal", "No token was added", words)
        }
    }
}

/// Writes an error with what led to it. None of these holds a value of a submission.
fn told(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

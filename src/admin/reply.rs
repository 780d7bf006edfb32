//! Answers of the admin listener, and the only place that writes them to the wire.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use rand::Rng as _;
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::lead::FieldError;
use crate::operate::Export;
use crate::queue::Store;

/// For the client to take an answer, or a piece of it.
const TAKE_TIME: Duration = Duration::from_secs(10);
/// Longest request id taken over from the client.
const REQUEST_ID_MAX: usize = 64;

/// What a request's problem and log line are called by.
pub(super) struct RequestId(String);

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    media_type: &'static str,
    body: Body,
    more: Vec<(HeaderName, String)>,
    /// Its place among the API's requests, given back when all is written.
    place: Option<OwnedSemaphorePermit>,
}

enum Body {
    Whole(Vec<u8>),
    /// RFC 9457; the request's id is put in when it is written.
    Problem {
        kind: &'static str,
        title: &'static str,
        detail: String,
        /// Why there is no valid lead.
        errors: Vec<FieldError>,
    },
    /// Written piece by piece.
    Export(Box<Export>),
}

impl RequestId {
    /// Takes the client's `X-Request-Id` over where it is plain and short, else makes one.
    pub(super) fn of(headers: Option<&HeaderMap>) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let given = headers.and_then(|headers| headers.get("x-request-id")?.to_str().ok());
        let given = given.filter(|text| (1..=REQUEST_ID_MAX).contains(&text.len()) && text.bytes().all(plain));
        Self(given.map_or_else(|| format!("{:032x}", rand::rng().random::<u128>()), str::to_owned))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reply {
    pub(super) fn text(text: &str) -> Self {
        let body = format!("{text}\n").into_bytes();
        Self::whole(StatusCode::OK, "text/plain; charset=utf-8", body)
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::whole(status, "application/json", body),
            Err(_unserialisable) => {
                Self::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The answer cannot be written")
            }
        }
    }

    pub(super) fn whole(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, media_type, body: Body::Whole(body), more: Vec::new(), place: None }
    }

    pub(super) fn problem(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self::problem_with(status, kind, title, title.to_owned())
    }

    pub(super) fn problem_with(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        let body = Body::Problem { kind, title, detail, errors: Vec::new() };
        Self { status, media_type: "application/problem+json", body, more: Vec::new(), place: None }
    }

    /// Says of a problem what is wrong with each field.
    pub(super) fn with_errors(mut self, told: Vec<FieldError>) -> Self {
        if let Body::Problem { errors, .. } = &mut self.body {
            *errors = told;
        }
        self
    }

    pub(super) fn export(export: Export, media_type: &'static str) -> Self {
        let body = Body::Export(Box::new(export));
        Self { status: StatusCode::OK, media_type, body, more: Vec::new(), place: None }
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    pub(super) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Writes the answer, within the time that a client may take for it.
    pub(super) async fn send(self, mut session: ServerSession, id: &RequestId, store: &dyn Store) {
        let Self { status, media_type, body, mut more, place: _place } = self;
        more.push((HeaderName::from_static("x-request-id"), id.as_str().to_owned()));
        let head = |length: Option<usize>| {
            let mut head = ResponseHeader::build(status, Some(6))?;
            head.insert_header(header::CONTENT_TYPE, media_type)?;
            head.insert_header(header::CACHE_CONTROL, "no-store")?;
            match length {
                Some(length) => head.insert_header(header::CONTENT_LENGTH, length.to_string())?,
                None => head.insert_header(header::TRANSFER_ENCODING, "chunked")?,
            }
            for (name, value) in &more {
                head.insert_header(name, value)?;
            }
            Ok::<_, Box<pingora::Error>>(head)
        };
        let bytes = match body {
            Body::Whole(bytes) => bytes,
            Body::Problem { kind, title, detail, errors } => problem(status, (kind, title), &detail, &errors, id),
            Body::Export(export) => {
                let Ok(head) = head(None) else { return };
                return send_export(session, head, *export, store).await;
            }
        };
        let Ok(head) = head(Some(bytes.len())) else { return };
        let written = async {
            session.write_response_header(Box::new(head)).await?;
            session.write_response_body(Bytes::from(bytes), true).await?;
            session.finish().await.map(drop)
        };
        drop(timeout(TAKE_TIME, written).await);
    }
}

fn problem(
    status: StatusCode,
    (kind, title): (&str, &str),
    detail: &str,
    errors: &[FieldError],
    id: &RequestId,
) -> Vec<u8> {
    let mut problem = json!({
        "type": format!("urn:formgate:problem:{kind}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "request_id": id.as_str(),
    });
    if !errors.is_empty()
        && let Some(members) = problem.as_object_mut()
    {
        members.insert("errors".to_owned(), json!(errors));
    }
    problem.to_string().into_bytes()
}

/// Writes pieces until all are written. Where one can't be had the connection ends without the last chunk, so that the
/// client knows that something is missing.
async fn send_export(mut session: ServerSession, head: ResponseHeader, mut export: Export, store: &dyn Store) {
    if !matches!(timeout(TAKE_TIME, session.write_response_header(Box::new(head))).await, Ok(Ok(()))) {
        return;
    }
    loop {
        match export.next(store, Timestamp::now()).await {
            Ok(Some(piece)) if piece.is_empty() => {}
            Ok(Some(piece)) => {
                let written = timeout(TAKE_TIME, session.write_response_body(Bytes::from(piece), false)).await;
                if !matches!(written, Ok(Ok(()))) {
                    tracing::warn!(entries = export.entries(), "admin.export_cut: the client went away");
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "admin.export_failed");
                return;
            }
        }
    }
    let ended = async {
        session.write_response_body(Bytes::new(), true).await?;
        session.finish().await.map(drop)
    };
    drop(timeout(TAKE_TIME, ended).await);
}

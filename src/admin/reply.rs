//! Answers of the admin listener, and the only place that writes them to the wire.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::stream::Stream;
use crate::http::{Problem, RequestId, response, write};
use crate::lead::FieldError;
use crate::operate::Export;
use crate::queue::Store;

/// For the client to take an answer, or a piece of it.
pub(super) const TAKE_TIME: Duration = Duration::from_secs(10);

/// The reply to an API request.
pub(super) struct ApiReply {
    pub(super) status: StatusCode,
    media_type: &'static str,
    body: ApiBody,
    more: Vec<(HeaderName, HeaderValue)>,
    /// Its place among the API's requests, given back when all is written.
    place: Option<OwnedSemaphorePermit>,
}

/// The body of a reply.
enum ApiBody {
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
    /// Written as it happens.
    Stream(Box<Stream>),
}

impl ApiReply {
    pub(super) fn text(text: &str) -> Self {
        let body = format!("{text}\n").into_bytes();
        Self::whole(StatusCode::OK, "text/plain; charset=utf-8", body)
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::whole(status, "application/json", body),
            Err(_unserialisable) => {
                Self::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The answer can't be written")
            }
        }
    }

    pub(super) fn whole(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, media_type, body: ApiBody::Whole(body), more: Vec::new(), place: None }
    }

    pub(super) fn problem(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self::problem_with(status, kind, title, title.to_owned())
    }

    pub(super) fn problem_with(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        let body = ApiBody::Problem { kind, title, detail, errors: Vec::new() };
        Self { status, media_type: "application/problem+json", body, more: Vec::new(), place: None }
    }

    /// Says of a problem what is wrong with each field.
    pub(super) fn with_errors(mut self, told: Vec<FieldError>) -> Self {
        if let ApiBody::Problem { errors, .. } = &mut self.body {
            *errors = told;
        }
        self
    }

    pub(super) fn export(export: Export, media_type: &'static str) -> Self {
        let body = ApiBody::Export(Box::new(export));
        Self { status: StatusCode::OK, media_type, body, more: Vec::new(), place: None }
    }

    pub(super) fn stream(stream: Stream) -> Self {
        let body = ApiBody::Stream(Box::new(stream));
        let reply =
            Self { status: StatusCode::OK, media_type: "text/event-stream", body, more: Vec::new(), place: None };
        // nginx would keep the events back until it has a buffer full.
        reply.with(HeaderName::from_static("x-accel-buffering"), "no")
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn with(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    /// The same with a value that was made while the program runs.
    pub(super) fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more.push((name, value));
        self
    }

    /// Says what another answer says in its headers: which methods there are, how long to wait.
    pub(super) fn with_headers_of(mut self, other: &Self) -> Self {
        self.more.extend(other.more.iter().cloned());
        self
    }

    /// Returns title and detail of a problem.
    pub(super) fn problem_words(&self) -> Option<(&'static str, &str)> {
        match &self.body {
            ApiBody::Problem { title, detail, .. } => Some((title, detail)),
            ApiBody::Whole(_) | ApiBody::Export(_) | ApiBody::Stream(_) => None,
        }
    }

    pub(super) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Writes the answer, within the time that a client may take for it.
    pub(super) async fn send(self, mut session: ServerSession, id: &RequestId, store: &dyn Store) {
        let Self { status, media_type, body, more, place: _place } = self;
        let mut answer = match body {
            ApiBody::Whole(bytes) => response(status, media_type, Bytes::from(bytes)),
            ApiBody::Problem { kind, title, detail, errors } => {
                let problem = Problem { kind, title, status, detail: &detail, request_id: id, errors: &errors };
                problem.response()
            }
            ApiBody::Export(export) => {
                return send_export(session, chunked(status, media_type, &more, id), *export, store).await;
            }
            ApiBody::Stream(stream) => {
                return stream.send(session, chunked(status, media_type, &more, id), store).await;
            }
        };
        add_headers(answer.headers_mut(), &more, id);
        let written = async {
            // In HTTP/1.1 pingora leaves the body out for a `HEAD`.
            write(&mut session, answer, false).await?;
            session.finish().await.map(drop)
        };
        drop(timeout(TAKE_TIME, written).await);
    }
}

/// Makes the head of an answer whose length nobody knows yet.
fn chunked(
    status: StatusCode,
    media_type: &'static str,
    more: &[(HeaderName, HeaderValue)],
    id: &RequestId,
) -> ResponseHeader {
    let mut answer = response(status, media_type, ());
    add_headers(answer.headers_mut(), more, id);
    answer.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    answer.into_parts().0.into()
}

fn add_headers(headers: &mut HeaderMap, more: &[(HeaderName, HeaderValue)], id: &RequestId) {
    headers.insert(RequestId::HEADER, id.into());
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
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
                    tracing::warn!(entries = export.entries(), "admin.export_cut: the client closed the connection");
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

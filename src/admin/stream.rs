//! `GET /api/v1/stream`: what happens, as server-sent events, for as long as somebody reads.
//!
//! ```text
//! event: request      a request to the gateway has ended
//! event: attempt      an attempt to deliver a lead has ended
//! event: missed       {"what": "missed", "events": n}: the client is slower than they come
//! event: end          {"what": "end", "reason": "stopping" | "upgraded" | "renew" | "logged_out"}: the last one
//! ```
//!
//! Streams have places of their own, so that they take none of the API's. A client that reads nothing for [`TAKE_TIME`] is
//! cut off, and one that has left gives its place back at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::AdminApp;
use super::console::LoggedIn;
use super::fault::ApiError;
use super::reply::{ApiReply, TAKE_TIME};
use crate::lead::{FormId, Lead, SiteId};
use crate::operate::{FilterAsked, WatchedLeads};
use crate::queue::Store;
use crate::queue::live::{LiveEvent, LiveSeen, LiveWatcher};
use crate::telemetry::Metrics;

/// Most streams at one time.
pub(super) const STREAMS_AT_ONCE: usize = 16;
/// A comment is sent where nothing else was for so long, so that both sides notice that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// So long a stream lasts; a client that wants to go on begins another.
const STREAM_TIME: Duration = Duration::from_secs(60 * 60);
/// For reading a lead; without it the event is sent all the same.
const LEAD_TIME: Duration = Duration::from_millis(300);
/// For the client to take the last event: a gateway that stops waits no longer.
const END_TIME: Duration = Duration::from_millis(300);
/// What is sent first: a browser waits so many milliseconds before it connects again.
const PREAMBLE: &[u8] = b"retry: 2000\n\n";
const COMMENT: &[u8] = b": still here\n\n";

/// A stream that is about to be sent.
pub(super) struct Stream {
    watcher: LiveWatcher,
    filter: StreamFilter,
    /// None where they are not asked for.
    leads: Option<WatchedLeads>,
    /// Whoever watches by a console session sees nothing more once that has ended.
    session: Option<(AdminApp, LoggedIn)>,
    open: OpenStream,
}

/// Which events are sent.
struct StreamFilter {
    site: Option<SiteId>,
    form: Option<FormId>,
}

/// A stream's place, which is counted while it is taken.
struct OpenStream {
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

/// An event as it is sent.
#[derive(Serialize)]
struct SentEvent<'a> {
    #[serde(flatten)]
    event: &'a LiveEvent,
    /// None where it is not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    lead: Option<Option<Lead>>,
}

/// The client reads no more.
struct Gone;

impl AdminApp {
    /// Answers `GET /stream?site=&form=&leads=1` to whoever may use the API.
    pub(super) async fn stream(&self, query: &str, session: Option<LoggedIn>) -> ApiReply {
        self.open_stream(query, session).await.unwrap_or_else(ApiError::reply)
    }

    async fn open_stream(&self, query: &str, session: Option<LoggedIn>) -> Result<ApiReply, ApiError> {
        let StreamAsked { filter, leads } = StreamAsked::read(query)?;
        let now = Timestamp::now();
        let query = filter.read(now)?;
        let fitting = StreamFilter { site: query.filter.site.clone(), form: query.filter.form.clone() };
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_full| ApiError::Streams)?;
        let leads = match leads {
            true => Some(WatchedLeads::begin(&self.audit, query, self.by(), now).await?),
            false => None,
        };
        let open = OpenStream::new(Arc::clone(&self.metrics), place);
        let session = session.map(|session| (self.clone(), session));
        let stream = Stream { watcher: self.live.watch(), filter: fitting, leads, session, open };
        Ok(ApiReply::stream(stream))
    }
}

/// What a query asks for.
#[derive(Default)]
struct StreamAsked {
    filter: FilterAsked,
    leads: bool,
}

impl StreamAsked {
    fn read(query: &str) -> Result<Self, ApiError> {
        let malformed = |_bad| ApiError::Request("the query string is malformed".to_owned());
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(malformed)?;
        let mut asked = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &pairs {
            if seen.contains(&name.as_str()) {
                return Err(ApiError::Request(format!("`{name}` is given twice")));
            }
            match (name.as_str(), value.as_str()) {
                ("site", site) => asked.filter.site = Some(site.to_owned()),
                ("form", form) => asked.filter.form = Some(form.to_owned()),
                ("leads", "1" | "true") => asked.leads = true,
                ("leads", "0" | "false") => {}
                ("leads", _) => return Err(ApiError::Request("`leads` must be 1 or 0".to_owned())),
                _ => return Err(ApiError::Request("no such parameter; use site, form, leads".to_owned())),
            }
            seen.push(name);
        }
        Ok(asked)
    }
}

impl Stream {
    /// Sends what happens until the client leaves, the gateway stops, or its time is over.
    pub(super) async fn send(mut self, mut session: ServerSession, head: ResponseHeader, store: &dyn Store) {
        if self.events(&mut session, head, store).await.is_ok() {
            let ended = async {
                session.write_response_body(Bytes::new(), true).await?;
                session.finish().await.map(drop)
            };
            drop(timeout(END_TIME, ended).await);
        }
        let Self { leads, open, .. } = self;
        drop(open);
        if let Some(leads) = leads
            && let Err(error) = leads.end(Timestamp::now()).await
        {
            tracing::error!(%error, "admin.stream_unaudited: the audit log lacks the end of a stream with leads");
        }
    }

    async fn events(
        &mut self,
        session: &mut ServerSession,
        head: ResponseHeader,
        store: &dyn Store,
    ) -> Result<(), Gone> {
        taken(TAKE_TIME, session.write_response_header(Box::new(head))).await?;
        taken(TAKE_TIME, session.write_response_body(Bytes::from_static(PREAMBLE), false)).await?;
        let until = Instant::now() + STREAM_TIME;
        let mut written_at = Instant::now();
        loop {
            let seen = tokio::select! {
                biased;
                // It has nothing to say any more: whatever comes is its end.
                _gone = session.read_body_or_idle(true) => return Err(Gone),
                seen = timeout_at(until.min(written_at + KEEP_ALIVE), self.watcher.next()) => seen,
            };
            if self.session.as_ref().is_some_and(|(app, session)| !app.is_open(session)) {
                return last(session, &"logged_out").await;
            }
            let piece = match seen {
                Ok(LiveSeen::Event(event)) if !self.filter.fits(&event) => continue,
                Ok(LiveSeen::Event(event)) => self.event(&event, store).await,
                Ok(LiveSeen::Missed(events)) => frame("missed", &json!({ "what": "missed", "events": events })),
                Ok(LiveSeen::Ended(end)) => return last(session, &end).await,
                Err(_elapsed) if Instant::now() >= until => return last(session, &"renew").await,
                Err(_elapsed) => Bytes::from_static(COMMENT),
            };
            tokio::select! {
                biased;
                written = taken(TAKE_TIME, session.write_response_body(piece, false)) => written?,
                // Half an event is written: nothing can follow it.
                _end = self.watcher.ended() => return Err(Gone),
            }
            written_at = Instant::now();
        }
    }

    /// Writes an event, with its lead where that is asked for.
    async fn event(&mut self, event: &LiveEvent, store: &dyn Store) -> Bytes {
        let lead = match (&mut self.leads, event.id) {
            (None, _) => None,
            (Some(_), None) => Some(None),
            (Some(leads), Some(id)) => {
                let read = timeout(LEAD_TIME, leads.read(store, id)).await;
                Some(read.ok().and_then(Result::ok).flatten())
            }
        };
        frame(event.what.as_str(), &SentEvent { event, lead })
    }
}

impl StreamFilter {
    fn fits(&self, event: &LiveEvent) -> bool {
        let is_site = self.site.as_ref().is_none_or(|site| event.site.as_ref() == Some(site));
        let is_form = self.form.as_ref().is_none_or(|form| event.form.as_ref() == Some(form));
        is_site && is_form
    }
}

impl OpenStream {
    fn new(metrics: Arc<Metrics>, place: OwnedSemaphorePermit) -> Self {
        metrics.stream_opened();
        Self { metrics, _place: place }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.metrics.stream_closed();
    }
}

/// Sends the last event.
async fn last(session: &mut ServerSession, reason: &impl Serialize) -> Result<(), Gone> {
    let end = frame("end", &json!({ "what": "end", "reason": reason }));
    taken(END_TIME, session.write_response_body(end, false)).await
}

/// Waits until the client has taken a piece.
async fn taken(time: Duration, written: impl Future<Output = pingora::Result<()>>) -> Result<(), Gone> {
    match timeout(time, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// Writes a server-sent event. JSON has no line break in it.
fn frame(name: &str, data: &impl Serialize) -> Bytes {
    // Plain values under string keys always serialise.
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> String {
        match StreamAsked::read(query) {
            Ok(StreamAsked { filter: FilterAsked { site, form, .. }, leads }) => format!("{site:?} {form:?} {leads}"),
            Err(ApiError::Request(words)) => words,
            Err(_) => String::new(),
        }
    }

    #[test]
    fn a_query_is_understood_or_told_how_to_be_asked() {
        assert_eq!(words(""), "None None false");
        assert_eq!(words("leads=1&site=acme&form=contact"), r#"Some("acme") Some("contact") true"#);
        assert_eq!(words("site=a&site=b"), "`site` is given twice");
        assert_eq!(words("leads=yes"), "`leads` must be 1 or 0");
        assert_eq!(words("state=held"), "no such parameter; use site, form, leads");
    }

    #[test]
    fn an_event_is_one_frame_whatever_stands_in_it() {
        let framed = frame("attempt", &json!({ "reason": "a\nb\r\n\ndata: c" }));
        assert_eq!(framed, "event: attempt\ndata: {\"reason\":\"a\\nb\\r\\n\\ndata: c\"}\n\n");
    }
}

//! `capture`: a stored request as a fixture, the bytes that would be posted and what they must become.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::again::explain_as;
use super::audit::{Act, Actor, Audit};
use super::choice::Choice;
use super::{OperateError, find};
use crate::config::Config;
use crate::lead::overlay::Overlay;
use crate::lead::{EntryId, FieldError, FormId, Lead, LeadField};
use crate::pipeline::End;
use crate::queue::{Entry, Reading, Store, StoreError};
use crate::received::Received;
use crate::telemetry;

/// So much of an id tells a case from all others of its form.
const ID_SHORT: usize = 18;
/// Where what no mapping could read goes.
const UNMAPPED: &str = "undecodable";

/// A fixture. Its `Debug` shows no value.
#[derive(Clone, Serialize, Deserialize)]
pub struct Captured {
    pub id: EntryId,
    /// The mapping's name: the folder it belongs into.
    pub folder: String,
    pub case: String,
    /// The request's bytes, in base64.
    request: String,
    /// What it becomes by the rules of now, as far as the form says: nothing that an operator corrected.
    pub lead: Option<Lead>,
    /// Why it becomes no lead.
    pub errors: Vec<FieldError>,
    /// What is to be known of it.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Captured").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Captured {
    /// Returns the request's bytes; none where another program wrote something else.
    pub fn request(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.request).ok()
    }

    /// Returns the text of the `.json` that belongs beside the request: what it must become.
    pub fn expectation(&self) -> Vec<u8> {
        let mut file = match &self.lead {
            Some(lead) => json!({ "expect": lead }),
            None => {
                let mut reasons: Vec<_> = self.errors.iter().map(|error| (error.field, error.code.as_str())).collect();
                reasons.sort_unstable();
                let reason = |(field, code): (Option<LeadField>, &str)| match field {
                    Some(field) => json!({ "field": field, "code": code }),
                    None => json!({ "code": code }),
                };
                json!({ "reject": reasons.into_iter().map(reason).collect::<Vec<_>>() })
            }
        };
        if !self.notes.is_empty()
            && let Some(file) = file.as_object_mut()
        {
            file.insert("notes".to_owned(), json!(self.notes));
        }
        format!("{file:#}\n").into_bytes()
    }

    fn of(config: &Config, entry: &Entry) -> Self {
        let mut plain = entry.clone();
        plain.head.reading.overlay = Overlay::default();
        // Whoever posts the fixture posts what is left of its files.
        plain.received.cut = false;
        let Entry { head, received } = entry;
        let site = config.sites.get(&head.site).map(Arc::as_ref);
        let (explained, named) = explain_as(config, site, &plain);
        let (lead, errors) = match explained.processed.end {
            End::Lead { lead, .. } => (Some(lead), Vec::new()),
            End::Held { lead, errors, .. } => (lead, errors),
        };
        let id: String = head.id.to_string().chars().take(ID_SHORT).collect();
        Self {
            id: head.id,
            folder: explained.processed.mapping.unwrap_or_else(|| UNMAPPED.to_owned()),
            case: format!("{}-{id}", head.form),
            request: BASE64_STANDARD.encode(request(entry, named.as_ref())),
            notes: notes(&head.reading, received, lead.as_ref()),
            lead,
            errors,
        }
    }
}

fn notes(reading: &Reading, received: &Received, lead: Option<&Lead>) -> Vec<String> {
    let cut = received.cut.then_some("the contents of uploads aren't stored, so these parts are empty");
    let is_amended = !reading.overlay.is_empty();
    let amended = is_amended.then_some("an operator corrected this lead; the test case has what the form sent");
    let is_other = !is_amended && reading.lead.is_some() && reading.lead.as_ref() != lead;
    let other = is_other.then_some("the current configuration maps it differently than before");
    [cut, amended, other].into_iter().flatten().map(str::to_owned).collect()
}

/// Writes the request as it would come over the wire, without a credential.
fn request(entry: &Entry, form: Option<&FormId>) -> Vec<u8> {
    let Received { method, query, headers, body, .. } = &entry.received;
    let form = form.map(|form| format!("/{form}")).unwrap_or_default();
    let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let mut head = format!("{method} /hooks/{}{form}{query} HTTP/1.1\r\nHost: gateway.example\r\n", entry.head.site);
    for (name, value) in headers {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        head.push_str(&format!("{}: {value}\r\n", title_case(name)));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Writes a header's name as most programs do: `Content-Type`.
fn title_case(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// Captures the entry of an id. It takes a visitor's data out, so it is written down first.
pub async fn capture(
    store: &dyn Store,
    config: &Arc<Config>,
    audit: &Audit,
    id: &str,
    by: Actor,
    now: Timestamp,
) -> Result<Captured, OperateError> {
    let entry = find(store, id).await??;
    let choice = Choice::Ids(vec![entry.head.id.to_string()]);
    let begun = audit.begin(Act::of("capture", by, &choice), now).await?;
    let config = Arc::clone(config);
    // Decoding a large body takes a while; requests must not wait for it.
    let captured = telemetry::blocking(move || Captured::of(&config, &entry)).await;
    begun.end(usize::from(captured.is_ok()), captured.is_ok(), now).await?;
    Ok(captured.map_err(|error| StoreError::Corrupt(error.into()))?)
}

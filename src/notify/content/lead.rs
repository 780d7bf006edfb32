//! `lead.*`: what is told of a lead, with its content only where the sink may have it.

use crate::config::{Config, Sink};
use crate::lead::EntryId;
use crate::notify::content::{Reader, named};
use crate::notify::notice::{Data, LeadContent, LeadData, LeadFacts, SentField, UnreadableLead};
use crate::notify::routing::Routed;
use crate::operate::{OperateError, ShownField, show};
use crate::queue::{Entry, Head, Reason, State, StoreError};

/// Most fields that are told of a submission that makes no lead.
const FIELDS_MAX: usize = 100;

/// Reads a lead; none where the event names none.
pub(super) async fn data(
    reader: &Reader,
    config: &Config,
    routed: &Routed,
    sink: &Sink,
) -> Result<Option<Data>, StoreError> {
    let (Some(id), Some(site)) = (routed.entry, &routed.site) else { return Ok(None) };
    let found = reader.store.get(id).await?;
    let erased = found.is_none();
    // One that was filed under another site since is that site's alone.
    let entry = found.filter(|entry| entry.head.site == *site);
    let lead = match entry {
        Some(entry) => {
            let content = if sink.leads { content(reader, &entry).await? } else { None };
            known(routed, entry.head, content)
        }
        None => LeadFacts { erased, ..unknown(id, routed) },
    };
    Ok(Some(Data::Lead(Box::new(LeadData { site: named(config, site), form: routed.form.clone(), lead }))))
}

fn known(routed: &Routed, head: Head, content: Option<LeadContent>) -> LeadFacts {
    let last_attempt = head.last_attempt();
    LeadFacts {
        accepted_at: Some(head.accepted_at),
        attempts: Some(head.attempts),
        last_attempt: last_attempt.map(|attempt| attempt.in_words()),
        lead_id: head.lead_id,
        delivered: head.state == State::Delivered,
        errors: if head.reading.lead.is_none() { head.reading.errors } else { Vec::new() },
        content,
        ..unknown(head.id, routed)
    }
}

/// What the event itself says.
fn unknown(id: EntryId, routed: &Routed) -> LeadFacts {
    // What is overdue is queued.
    let state = routed.moved.map_or(State::Queued, |(state, _)| state);
    LeadFacts {
        id,
        state,
        reason: routed.moved.map(|(_, reason): (State, Reason)| reason),
        erased: false,
        accepted_at: None,
        attempts: None,
        last_attempt: None,
        lead_id: None,
        delivered: state == State::Delivered,
        errors: Vec::new(),
        content: None,
    }
}

/// Reads what the visitor sent: the lead, else the fields as they were posted.
async fn content(reader: &Reader, entry: &Entry) -> Result<Option<LeadContent>, StoreError> {
    if let Some(lead) = &entry.head.reading.lead {
        return Ok(Some(LeadContent::Lead(lead.clone())));
    }
    let shown = match show(&*reader.store, &reader.situation(), &entry.head.id.to_string()).await {
        Ok(life) => life.fields,
        Err(OperateError::Store(error)) => return Err(error),
        // It was erased between the two.
        Err(_) => return Ok(None),
    };
    let field =
        |field: ShownField| SentField { label: field.label.unwrap_or(field.key), value: field.values.join(", ") };
    let fields: Vec<_> =
        shown.into_iter().take(FIELDS_MAX).map(field).filter(|field| !field.value.is_empty()).collect();
    Ok((!fields.is_empty()).then_some(LeadContent::Unreadable(UnreadableLead { fields })))
}

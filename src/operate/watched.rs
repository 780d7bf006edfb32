//! Leads shown to whoever watches what happens: read by their ids at the moment they are shown, and written down in the audit.

use jiff::Timestamp;

use super::OperateError;
use super::audit::{Act, Actor, Audit, AuditError, Begun};
use super::choice::Choice;
use super::query::Query;
use crate::lead::{EntryId, Lead};
use crate::queue::Store;

/// The leads that one watcher is shown. Its audit says how many; of one that is cut off there is only the beginning.
#[must_use]
pub struct WatchedLeads {
    begun: Begun,
    leads: usize,
}

impl WatchedLeads {
    /// Begins, once that is written down.
    pub async fn begin(audit: &Audit, query: Query, by: Actor, now: Timestamp) -> Result<Self, AuditError> {
        let begun = audit.begin(Act::of("stream", by, &Choice::Query(query)), now).await?;
        Ok(Self { begun, leads: 0 })
    }

    /// Reads the lead of an entry; none where it has none, or is gone.
    pub async fn read(&mut self, store: &dyn Store, id: EntryId) -> Result<Option<Lead>, OperateError> {
        let lead = store.get(id).await?.and_then(|entry| entry.head.reading.lead);
        self.leads += usize::from(lead.is_some());
        Ok(lead)
    }

    /// Writes down how many were shown.
    pub async fn end(self, now: Timestamp) -> Result<(), AuditError> {
        self.begun.end(self.leads, true, now).await
    }
}

//! `amend`: fields of a held or dead lead are corrected, and it is queued. What was received stays as it was.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::again::Remade;
use super::audit::{Act, Actor, Audit};
use super::choice::{Done, EntryOutcome};
use super::lead_view::LeadView;
use super::mask::is_masked;
use super::{OperateError, find};
use crate::config::{Config, Site};
use crate::lead::overlay::{Correction, Overlay};
use crate::lead::{FieldError, LeadField, SiteId};
use crate::queue::{Change, Entry, Head, Reading, Reason, State, Store, StoreError};
use crate::telemetry;

/// How often a change is made again where somebody else changed the entry at the same time.
const LOST_MAX: usize = 3;

/// What is asked for. No `Debug`: it holds what a visitor is called and how they are reached.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmendAsked {
    /// An id, or a beginning of it.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The whole message: no extras are added to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Fields whose correction is taken back.
    pub clear: Vec<LeadField>,
    /// Say what would be, and change nothing.
    pub dry_run: bool,
    /// Where the admin API masks: show a dry run's leads whole, and write that down.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reveal: bool,
}

/// Why a lead is not amended. No value is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAmend {
    #[error("name at least one field to correct or clear: name, email, phone or message")]
    Nothing,
    #[error("the {} can't be both corrected and cleared", .0.as_str())]
    Both(LeadField),
    /// It was copied from where it is hidden.
    #[error("the {} is masked; reveal the lead and correct what it really says", .0.as_str())]
    Masked(LeadField),
    #[error("the {} has no correction to clear", .0.as_str())]
    NotCorrected(LeadField),
    #[error("the lead is queued; drop it first (`formgate leads drop ID`), then amend it")]
    Queued,
    #[error("the lead was delivered; correct it in KaiCalls")]
    Delivered,
    #[error(
        "several sites share the lead's key pair; assign it to one first (`formgate leads retry ID --assign SITE`)"
    )]
    Ambiguous,
    #[error("the lead's site `{0}` is missing from the configuration or broken; fix that first")]
    NoSite(SiteId),
    #[error("the result isn't a valid lead: {}", reasons(.0))]
    Invalid(Vec<FieldError>),
    #[error("the lead is being changed by someone else; try again")]
    Busy,
}

fn reasons(errors: &[FieldError]) -> String {
    let reason = |error: &FieldError| match error.field {
        Some(field) => format!("{} {}: {}", field.as_str(), error.code.as_str(), error.detail),
        None => error.detail.clone(),
    };
    errors.iter().map(reason).collect::<Vec<_>>().join("; ")
}

impl AmendAsked {
    fn corrected(&self) -> impl Iterator<Item = (LeadField, &str)> {
        let value = |field| match field {
            LeadField::Name => self.name.as_deref(),
            LeadField::Email => self.email.as_deref(),
            LeadField::Phone => self.phone.as_deref(),
            LeadField::Message => self.message.as_deref(),
        };
        LeadField::ALL.into_iter().filter_map(move |field| Some((field, value(field)?)))
    }

    /// Returns the fields that are meant.
    fn fields(&self) -> Result<Vec<LeadField>, BadAmend> {
        let fields: Vec<LeadField> = self.corrected().map(|(field, _)| field).collect();
        if let Some(field) = fields.iter().find(|field| self.clear.contains(field)) {
            return Err(BadAmend::Both(*field));
        }
        if let Some((field, _)) = self.corrected().find(|(field, value)| is_masked(*field, value)) {
            return Err(BadAmend::Masked(field));
        }
        let fields: Vec<LeadField> = fields.into_iter().chain(self.clear.iter().copied()).collect();
        if fields.is_empty() { Err(BadAmend::Nothing) } else { Ok(fields) }
    }

    /// Returns an entry's corrections with these among them.
    fn overlay(&self, head: &Head, by: Actor, now: Timestamp) -> Result<Overlay, BadAmend> {
        let mut overlay = head.reading.overlay.clone();
        if let Some(field) = self.clear.iter().find(|field| !overlay.clear(**field)) {
            return Err(BadAmend::NotCorrected(*field));
        }
        let by = by.to_string();
        let set = self.corrected().map(|(field, value)| {
            overlay.set(field, Correction { value: value.to_owned(), at: now, by: by.clone() }).err()
        });
        let errors: Vec<FieldError> = set.flatten().collect();
        if errors.is_empty() { Ok(overlay) } else { Err(BadAmend::Invalid(errors)) }
    }
}

/// Corrects fields of a held or dead lead, and queues it.
///
/// The corrections stay with it and go before whatever a mapping finds at each later retry. A rule that held it, an
/// unknown form or another host hold it no more: somebody has looked at it.
pub async fn amend(
    store: &dyn Store,
    config: &Arc<Config>,
    audit: &Audit,
    asked: &AmendAsked,
    by: Actor,
    now: Timestamp,
) -> Result<Done, OperateError> {
    let fields = asked.fields()?;
    let entry = find(store, &asked.id).await??;
    let amend = Amend { store, config, asked, by, now };
    let planned = amend.plan(&entry).await?;
    if asked.dry_run {
        let before = entry.head.reading.lead.as_ref().map(LeadView::from);
        let after = planned.reading().lead.as_ref().map(LeadView::from);
        return Ok(Done { before, after, ..planned.done(&entry.head) });
    }
    let begun = audit.begin(Act::fields("amend", by, &fields), now).await?;
    let done = amend.set(entry, planned).await;
    begun.end(usize::from(done.is_ok()), done.is_ok(), now).await?;
    done
}

struct Amend<'a> {
    store: &'a dyn Store,
    config: &'a Arc<Config>,
    asked: &'a AmendAsked,
    by: Actor,
    now: Timestamp,
}

/// What is to become of a lead that is valid by now.
struct Planned {
    remade: Remade,
    /// Its site delivers nothing: the sender would hold it at once.
    is_held: bool,
}

impl Amend<'_> {
    async fn set(&self, mut entry: Entry, mut planned: Planned) -> Result<Done, OperateError> {
        for _ in 0..LOST_MAX {
            let done = planned.done(&entry.head);
            let id = entry.head.id;
            let revision = entry.head.revision;
            if self.store.amend(id, revision, planned.change(), self.now).await?.is_done() {
                return Ok(done);
            }
            entry = find(self.store, &id.to_string()).await??;
            planned = self.plan(&entry).await?;
        }
        Err(BadAmend::Busy.into())
    }

    async fn plan(&self, entry: &Entry) -> Result<Planned, OperateError> {
        let head = &entry.head;
        match head.state {
            // Its site is a guess, and so is whose keys it would be sent with.
            State::Held if head.reason == Reason::Ambiguous => return Err(BadAmend::Ambiguous.into()),
            State::Held | State::Dead => {}
            State::Queued => return Err(BadAmend::Queued.into()),
            State::Delivered => return Err(BadAmend::Delivered.into()),
        }
        let site = self.config.sites.get(&head.site).ok_or_else(|| BadAmend::NoSite(head.site.clone()))?;
        let mut amended = entry.clone();
        amended.head.reading.overlay = self.asked.overlay(head, self.by, self.now)?;
        let remade = remade(self.config, site, amended).await?;
        if remade.reading.lead.is_none() {
            return Err(BadAmend::Invalid(remade.reading.errors).into());
        }
        Ok(Planned { remade, is_held: !site.deliver })
    }
}

/// Runs an entry through the pipeline, where that keeps no request waiting.
async fn remade(config: &Arc<Config>, site: &Arc<Site>, entry: Entry) -> Result<Remade, StoreError> {
    let config = Arc::clone(config);
    let site = Arc::clone(site);
    let remade = telemetry::blocking(move || Remade::of(&config, &site, &entry)).await;
    remade.map_err(|error| StoreError::Corrupt(error.into()))
}

impl Planned {
    fn reading(&self) -> &Reading {
        &self.remade.reading
    }

    fn done(&self, head: &Head) -> Done {
        match self.is_held {
            true => Done::of(head, EntryOutcome::Held, "its site has deliver = false"),
            false => Done::of(head, EntryOutcome::Queued, ""),
        }
    }

    fn change(&self) -> Change {
        let reading = Box::new(self.remade.reading.clone());
        match self.is_held {
            true => Change::Hold { reason: Reason::DeliverOff, reading },
            false => Change::Amend { reading },
        }
    }
}

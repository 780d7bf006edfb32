//! `erase`: entries are gone from the store, whatever their state, and so is every byte of what the visitor sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OperateError;
use super::audit::{Act, Actor, Audit};
use super::choice::{Choice, IDS_MAX};
use super::find::find;
use super::person::Person;
use super::query::Query;
use super::walk::{Cursor, Walk};
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{Head, State, Store, StoreError};
use crate::telemetry::{self, Panicked};

/// Most entries that one call looks at.
const LOOKED_AT_MAX: usize = 2_000;

/// What is asked for. No `Debug`: it holds somebody's address.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EraseAsked {
    pub ids: Vec<String>,
    /// Every entry that holds this address.
    pub email: Option<String>,
    /// Say what would be, and change nothing.
    pub dry_run: bool,
    pub cursor: Option<Cursor>,
}

/// What to erase makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadErase {
    #[error("name either ids or an e-mail address")]
    Neither,
    #[error("not an e-mail address")]
    Email,
    #[error("at most {IDS_MAX} ids at once")]
    TooMany,
}

/// An entry that was erased, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedEntry {
    pub id: EntryId,
    pub site: SiteId,
    pub form: FormId,
    pub state: State,
    pub accepted_at: Timestamp,
}

/// What came of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    pub entries: Vec<ErasedEntry>,
    /// Ids, as they were given, that no entry has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Entries that can't be read: whose they are, nobody knows. By its whole id such a one is erased like any other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<EntryId>,
    /// Where what was erased from the store may still be, such as a file that was set aside: somebody has to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remains: Option<String>,
    pub looked_at: usize,
    /// From where the next call goes on; none where all are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// The disk is full: the act's lines of the audit are written when there is room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit_waits: bool,
}

/// Erases entries by their ids, or all that hold an address, as far as one call goes.
pub async fn erase(
    store: &dyn Store,
    audit: &Audit,
    asked: &EraseAsked,
    by: Actor,
    now: Timestamp,
) -> Result<Erased, OperateError> {
    let (act, mut found) = match (asked.ids.len(), &asked.email) {
        (0, Some(email)) => {
            let person = Person::parse(email).ok_or(BadErase::Email)?;
            (Act::by_email("erase", by), by_email(store, &person, asked.cursor).await?)
        }
        (1..=IDS_MAX, None) => {
            let act = Act::of("erase", by, &Choice::Ids(asked.ids.clone()));
            (act, by_ids(store, &asked.ids).await?)
        }
        (0, None) | (_, Some(_)) => return Err(BadErase::Neither.into()),
        _ => return Err(BadErase::TooMany.into()),
    };
    // Of the pages in which nobody was found, the last is written down: that was looked for, and nothing is there.
    if asked.dry_run || (found.entries.is_empty() && found.next.is_some()) {
        return Ok(found);
    }
    let begun = audit.begin_even_if_full(act, now).await?;
    let mut ids: Vec<EntryId> = found.entries.iter().map(|found| found.id).collect();
    if asked.email.is_none() {
        ids.extend(&found.unreadable);
    }
    // A person of whom the store has nothing may still be in a file that was set aside: the store says so.
    let erased = if ids.is_empty() && asked.email.is_none() { Ok(0) } else { store.erase(&ids).await };
    let count = match &erased {
        Ok(count) => *count,
        Err(StoreError::Remains { erased, .. }) => *erased,
        Err(_) => 0,
    };
    begun.end(count, erased.is_ok(), now).await?;
    found.audit_waits = !audit.waiting().await.is_empty();
    match erased {
        // Of this person there may be more on the next page.
        Err(StoreError::Remains { places, .. }) => found.remains = Some(places.join("; ")),
        erased => drop(erased?),
    }
    Ok(found)
}

async fn by_ids(store: &dyn Store, ids: &[String]) -> Result<Erased, StoreError> {
    let mut erased = Erased::default();
    for id in ids {
        match (find(store, id).await, EntryId::parse(id)) {
            (Ok(Ok(entry)), _) => erased.entries.push(ErasedEntry::of(&entry.head)),
            (Ok(Err(_missing)), _) => erased.missing.push(id.clone()),
            (Err(StoreError::Corrupt(_)), Some(id)) => erased.unreadable.push(id),
            (Err(error), _) => return Err(error),
        }
        erased.looked_at += 1;
    }
    Ok(erased)
}

async fn by_email(store: &dyn Store, person: &Person, from: Option<Cursor>) -> Result<Erased, StoreError> {
    let mut walk = Walk::new(store, &Query::default(), &[None], from, LOOKED_AT_MAX);
    let mut erased = Erased::default();
    while let Some(head) = walk.next().await? {
        match is_in(store, person, &head).await {
            Ok(true) => erased.entries.push(ErasedEntry::of(&head)),
            Ok(false) => {}
            Err(StoreError::Corrupt(_)) => erased.unreadable.push(head.id),
            Err(error) => return Err(error),
        }
    }
    (erased.looked_at, erased.next) = (walk.looked_at, walk.cursor());
    erased.unreadable.extend(walk.unreadable());
    Ok(erased)
}

/// Tells whether an entry holds somebody's address. What was received is read only where the head doesn't say so.
async fn is_in(store: &dyn Store, person: &Person, head: &Head) -> Result<bool, StoreError> {
    // Decoding large bodies takes a while, and so do long messages; requests must not wait for it.
    let panicked = |error: Panicked| StoreError::Corrupt(error.into());
    let sought = person.clone();
    let subject = head.clone();
    if telemetry::blocking(move || sought.is_in_head(&subject)).await.map_err(panicked)? {
        return Ok(true);
    }
    // None: it was erased meanwhile.
    let Some(entry) = store.get(head.id).await? else { return Ok(false) };
    let sought = person.clone();
    telemetry::blocking(move || sought.is_in(&entry)).await.map_err(panicked)
}

impl ErasedEntry {
    fn of(head: &Head) -> Self {
        let site = head.site.clone();
        let form = head.form.clone();
        Self { id: head.id, site, form, state: head.state, accepted_at: head.accepted_at }
    }
}

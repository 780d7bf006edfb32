//! `drop`: held and queued entries are given up. They stay, as dead, until their retention period ends.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OperateError;
use super::audit::{Act, Actor, Audit};
use super::choice::{Choice, Done, EntryOutcome, Picker};
use super::query::FilterAsked;
use super::retry::Tried;
use super::walk::Cursor;
use crate::queue::{Change, Head, State, Store, StoreError};

/// How often a change is made again where somebody else changed the entry at the same time.
const LOST_MAX: usize = 3;
/// What a filter goes through where it names no state: what is queued is only dropped if that is said.
pub const DROPPED_STATES: &[Option<State>] = &[Some(State::Held)];

/// What is asked for. No `Debug`: a filter may hold somebody's name.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DropAsked {
    pub ids: Vec<String>,
    pub filter: Option<FilterAsked>,
    /// Say what would be, and change nothing.
    pub dry_run: bool,
    pub cursor: Option<Cursor>,
    pub limit: Option<usize>,
}

/// Drops chosen entries, as far as one call goes; they are kept for `keep`.
pub async fn drop_entries(
    store: &dyn Store,
    audit: &Audit,
    asked: &DropAsked,
    keep: Duration,
    by: Actor,
    now: Timestamp,
) -> Result<Tried, OperateError> {
    let choice = Choice::read(&asked.ids, asked.filter.as_ref(), now)?;
    let begun = match asked.dry_run {
        true => None,
        false => Some(audit.begin_even_if_full(Act::of("drop", by, &choice), now).await?),
    };
    let mut tried = Tried::default();
    let ended = all(store, &choice, asked, keep, now, &mut tried).await;
    if let Some(begun) = begun {
        let dropped = tried.results.iter().filter(|done| done.outcome == EntryOutcome::Dropped).count();
        begun.end(dropped, ended.is_ok(), now).await?;
        tried.audit_waits = !audit.waiting().await.is_empty();
    }
    ended?;
    Ok(tried)
}

async fn all(
    store: &dyn Store,
    choice: &Choice,
    asked: &DropAsked,
    keep: Duration,
    now: Timestamp,
    tried: &mut Tried,
) -> Result<(), StoreError> {
    let mut picker = Picker::new(store, choice, DROPPED_STATES, asked.cursor, asked.limit);
    while let Some(picked) = picker.next().await? {
        let done = match picked {
            Ok(head) if asked.dry_run => wanted(&head).unwrap_or_else(|| Done::of(&head, EntryOutcome::Dropped, "")),
            Ok(head) => one(store, head, keep, now).await?,
            Err(missing) => missing,
        };
        tried.results.push(done);
    }
    tried.results.extend(picker.passed_over());
    tried.next = picker.cursor();
    Ok(())
}

async fn one(store: &dyn Store, mut head: Head, keep: Duration, now: Timestamp) -> Result<Done, StoreError> {
    for _ in 0..LOST_MAX {
        if let Some(done) = wanted(&head) {
            return Ok(done);
        }
        if store.amend(head.id, head.revision, Change::Drop { keep }, now).await?.is_done() {
            return Ok(Done::of(&head, EntryOutcome::Dropped, ""));
        }
        match store.get(head.id).await? {
            Some(changed) => head = changed.head,
            None => return Ok(Done::erased(&head)),
        }
    }
    Ok(Done::of(&head, EntryOutcome::Busy, "it is being sent right now"))
}

/// Says what there is to say of an entry that can't be dropped.
fn wanted(head: &Head) -> Option<Done> {
    match head.state {
        State::Held | State::Queued => None,
        State::Dead => Some(Done::of(head, EntryOutcome::Unchanged, "it is already dead")),
        State::Delivered => Some(Done::of(head, EntryOutcome::Skipped, "it was delivered; only erase removes it")),
    }
}

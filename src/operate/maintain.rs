//! `backup`, `restore` and `salvage`: what a store can do that is a file on this machine, written down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OperateError;
use super::audit::{Act, Actor, Audit, AuditError};
use crate::queue::sqlite::{Options, Restoration, RestoreError, SqliteStore};
use crate::queue::{
    CLAIM_MAX, Claim, MAKE_DUE_MAX, NoFile, OpenStore, Reason, Salvaged, Settlement, State, Store, StoreError,
};

/// How long an entry of a store that nobody else has open is leased to be held.
const HOLD_LEASE: Duration = Duration::from_secs(600);

/// A copy of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub file: PathBuf,
    pub entries: u64,
    /// The disk is full: the act's lines of the audit are written when there is room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit_waits: bool,
}

/// Copies the store into a new file while it is in use; an error where it is no file itself.
pub async fn backup(
    store: &OpenStore,
    audit: &Audit,
    to: &Path,
    by: Actor,
    now: Timestamp,
) -> Result<BackedUp, OperateError> {
    let store = store.file()?;
    let begun = audit.begin_even_if_full(Act::plain("backup", by), now).await?;
    let copied = store.backup(to).await;
    begun.end(whole(*copied.as_ref().unwrap_or(&0)), copied.is_ok(), now).await?;
    let audit_waits = !audit.waiting().await.is_empty();
    Ok(BackedUp { file: to.to_owned(), entries: copied?, audit_waits })
}

/// What to put in the store's place, and how.
#[derive(Debug)]
pub struct RestoreAsked<'a> {
    pub store: &'a Path,
    pub copy: &'a Path,
    /// What is queued in the copy is held, and kept so long; none: it is sent again.
    pub hold: Option<Duration>,
    /// Also where leads of the store at hand would be missed.
    pub force: bool,
    pub options: Options,
}

/// A copy that took the store's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    pub entries: u64,
    /// What was queued in the copy and is held now.
    pub held: u64,
    /// What is queued and will be sent.
    pub queued: u64,
    /// Where the former store is; none where there was none.
    pub former: Option<PathBuf>,
}

/// Why a copy was not restored, or not entirely.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    #[error("queued or held leads of the current store would be lost: {leads}")]
    Missed { leads: u64 },
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("the copy can't be prepared; the store is unchanged")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Puts a copy in the store's place, while no process has that open.
pub async fn restore(
    asked: RestoreAsked<'_>,
    audit: &Audit,
    by: Actor,
    now: Timestamp,
) -> Result<Restored, NotRestored> {
    let restoration = Restoration::begin(asked.store, asked.copy)?;
    match restoration.waiting_in_store() {
        Some(leads) if leads > 0 && !asked.force => return Err(NotRestored::Missed { leads }),
        _ => {}
    }
    let begun = audit.begin(Act::plain("restore", by), now).await?;
    let entries = restoration.entries();
    let restored = replace(restoration, asked, now).await;
    begun.end(whole(entries), restored.is_ok(), now).await?;
    restored
}

async fn replace(restoration: Restoration, asked: RestoreAsked<'_>, now: Timestamp) -> Result<Restored, NotRestored> {
    let store = SqliteStore::open(&restoration.staged(), asked.options)?;
    let held = match asked.hold {
        Some(keep) => hold_all(&store, keep, now).await?,
        None => 0,
    };
    let counts = store.counts().await?;
    let queued = counts.iter().filter(|count| count.state == State::Queued).map(|count| count.entries).sum();
    let entries = restoration.entries();
    // Closed before its file is moved: its log goes into the database.
    drop(store);
    Ok(Restored { entries, held, queued, former: restoration.finish(now)? })
}

/// Holds everything that is queued in a store that nobody else has open.
async fn hold_all(store: &dyn Store, keep: Duration, now: Timestamp) -> Result<u64, StoreError> {
    for count in store.counts().await?.into_iter().filter(|count| count.state == State::Queued) {
        while store.make_due(&count.site, MAKE_DUE_MAX, now).await? > 0 {}
    }
    let mut held = 0;
    loop {
        let leases = store.claim(&Claim::new(CLAIM_MAX, HOLD_LEASE, now)).await?;
        if leases.is_empty() {
            return Ok(held);
        }
        for lease in leases {
            let settlement = Settlement::Held { reason: Reason::Restored, attempt: None, keep };
            if store.settle(&lease, settlement, now).await?.is_done() {
                held += 1;
            }
        }
    }
}

/// Merges back what can be read of the files that were set aside: of a store that is a file, or of its spool on this machine.
pub async fn salvage(store: &OpenStore, audit: &Audit, by: Actor, now: Timestamp) -> Result<Salvaged, OperateError> {
    let begun = audit.begin(Act::plain("salvage", by), now).await?;
    let salvaged = match (store.file(), store.spooling()) {
        (Ok(file), _) => file.salvage().await,
        (Err(NoFile), Some(spooling)) => spooling.salvage().await,
        (Err(NoFile), None) => Ok(Salvaged::default()),
    };
    begun.end(whole(salvaged.as_ref().map_or(0, |salvaged| salvaged.recovered)), salvaged.is_ok(), now).await?;
    Ok(salvaged?)
}

fn whole(entries: u64) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX)
}

//! `backup` and `salvage`: the store's own, written down.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::OperateError;
use super::audit::{Act, Audit, By};
use crate::queue::{Salvaged, Store};

/// A copy of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub file: PathBuf,
    pub entries: u64,
    /// The disk is full: the act's lines of the audit are written when there is room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit_waits: bool,
}

/// Copies the store into a new file while it is in use.
pub async fn backup(
    store: &dyn Store,
    audit: &Audit,
    to: &Path,
    by: By,
    now: Timestamp,
) -> Result<BackedUp, OperateError> {
    let begun = audit.begin_even_if_full(Act::plain("backup", by), now).await?;
    let copied = store.backup(to).await;
    begun.end(whole(*copied.as_ref().unwrap_or(&0)), copied.is_ok(), now).await?;
    let audit_waits = !audit.waiting().await.is_empty();
    Ok(BackedUp { file: to.to_owned(), entries: copied?, audit_waits })
}

/// Merges back what can be read of the files that were set aside.
pub async fn salvage(store: &dyn Store, audit: &Audit, by: By, now: Timestamp) -> Result<Salvaged, OperateError> {
    let begun = audit.begin(Act::plain("salvage", by), now).await?;
    let salvaged = store.salvage().await;
    begun.end(whole(salvaged.as_ref().map_or(0, |salvaged| salvaged.recovered)), salvaged.is_ok(), now).await?;
    Ok(salvaged?)
}

fn whole(entries: u64) -> usize {
    usize::try_from(entries).unwrap_or(usize::MAX)
}

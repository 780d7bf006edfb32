//! `list`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::query::Query;
use super::summary::Summary;
use super::waiting::Situation;
use super::walk::{Cursor, Walk};
use crate::lead::EntryId;
use crate::queue::{Order, Store, StoreError};

/// Most entries that one page is searched for in: what is found late comes on the next.
const LOOKED_AT_MAX: usize = 5_000;
/// How long one page is searched for.
pub(super) const SEARCH_TIME: Duration = Duration::from_secs(2);

/// A page of leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadPage {
    pub leads: Vec<Summary>,
    /// Those that can't be read: whether they are meant, nobody knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<EntryId>,
    /// From where to go on; none at the end. A page may be short, or empty, and have a next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Lists up to `limit` entries in an order, from where a page in the same order ended.
pub async fn list(
    store: &dyn Store,
    query: &Query,
    order: Order,
    cursor: Option<Cursor>,
    limit: usize,
    situation: &Situation,
) -> Result<LeadPage, StoreError> {
    let mut walk = Walk::new(store, query, &[None], cursor, LOOKED_AT_MAX).in_order(order).within(SEARCH_TIME);
    let mut leads = Vec::new();
    while leads.len() < limit.max(1) {
        let Some(head) = walk.next().await? else { break };
        leads.push(Summary::of(&head, situation));
    }
    Ok(LeadPage { leads, next: walk.cursor(), unreadable: walk.unreadable() })
}

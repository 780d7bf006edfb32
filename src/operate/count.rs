//! How many entries a filter means, as far as they are counted.

use super::query::Query;
use super::walk::Walk;
use crate::queue::{State, Store, StoreError};

/// Most entries that are counted: more are many.
pub const COUNTED_MAX: usize = 10_000;

/// Counts what a query means, going through some states where it names none; none where that is more than [`COUNTED_MAX`],
/// or a search would have to look at more.
pub async fn count(store: &dyn Store, query: &Query, stages: &[Option<State>]) -> Result<Option<u64>, StoreError> {
    let mut walk = Walk::new(store, query, stages, None, COUNTED_MAX).in_large_pages().within(super::list::SEARCH_TIME);
    let mut count = 0;
    while walk.next().await?.is_some() {
        count += 1;
    }
    Ok(walk.cursor().is_none().then_some(count))
}

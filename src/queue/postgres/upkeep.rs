//! What a store does beside what it is asked: counts are added up, events get their numbers, the room is looked at.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::failure::Failure;
use super::{Core, append, causes, events, indexes, list};
use crate::lead::EntryId;

/// From one turn to the next.
const EVERY: Duration = Duration::from_secs(5);

/// Looks after a store until it is dropped.
pub(super) async fn keep(core: Weak<Core>) {
    let mut told_upto = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(core) = core.upgrade() else { return };
        // A server that is away is told by whatever is asked of it.
        drop(look_at_room(&core).await);
        drop(list::add_up(&core).await);
        drop(append::forget_keys(&core).await);
        told_upto = tell_causes(&core, told_upto).await.unwrap_or(told_upto);
        // Whoever is registered may not be reading.
        drop(events::number_waiting(&core).await);
    }
}

async fn tell_causes(core: &Core, upto: Option<EntryId>) -> Result<Option<EntryId>, Failure> {
    match indexes::are_there(core).await? {
        true => causes::tell(core, upto).await,
        false => Ok(None),
    }
}

/// Looks whether there is room for more.
pub(super) async fn look_at_room(core: &Core) -> Result<(), Failure> {
    if let Some(max_size) = core.max_size {
        core.is_full.store(list::extent(core).await?.bytes >= max_size, Ordering::Relaxed);
    }
    Ok(())
}

//! What a gateway does while it sends no events: it has no sinks, or another that shares its store sends them. Then it still
//! notices what only it knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch as channel;
use tokio::time::{Instant, timeout};

use super::routing::wanted_moves;
use super::watch::Watch;
use super::{LOOK_EVERY, Notifier, RENEW_EVERY, lanes, name};
use crate::config::Config;
use crate::queue::{Key, MoveFilter, StoreError};

impl Notifier {
    /// Waits until there are sinks, or the gateway stops. Without any nothing is recorded, and nothing is paid.
    pub(super) async fn idle(&self, holder: &Key, mut stopping: channel::Receiver<bool>) -> Result<(), StoreError> {
        self.statuses.send_replace(Vec::new());
        self.metrics.sink_depths(&BTreeMap::new());
        let store = &*self.reader.store;
        store.record_moves(MoveFilter::NONE).await?;
        // A secret that is missing at a start may only be late: what waits for its sink is kept for as long as it is tried.
        let is_read = store.readers().await?.iter().any(|reader| reader.name == name());
        // Another gateway may have sinks that this one doesn't know yet.
        let is_alone = is_read && self.hold(holder).await?;
        if is_alone && !lanes::has_parked(store, self.reader.now()).await? {
            store.unregister(&name()).await?;
        }
        if is_alone {
            store.release(&name(), holder).await?;
        }
        while !self.has_sinks() {
            if timeout(LOOK_EVERY, stopping.wait_for(|stop| *stop)).await.is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// Notices what only this gateway knows, as long as another sends the events.
    pub(super) async fn notice(&self, holder: &Key, mut stopping: channel::Receiver<bool>) -> Result<(), StoreError> {
        let store = &*self.reader.store;
        let mut watch = Watch::begin(self.reader.clone(), Arc::clone(&self.metrics), self.activity.clone()).await?;
        let mut followed: Option<Arc<Config>> = None;
        let mut asked = Instant::now();
        while self.has_sinks() && !*stopping.borrow() {
            let config = self.reader.config.load_full();
            let is_followed = followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &config));
            if !is_followed && store.record_moves(wanted_moves(&config)).await.is_ok() {
                followed = Some(Arc::clone(&config));
            }
            watch.look_at_own(&config, false, self.reader.now()).await;
            // They can be sent by the other alone, which notices for itself what is of all.
            drop(watch.take_unstored());
            if asked.elapsed() >= RENEW_EVERY {
                // A store that is away is one of the things to notice: what was noticed is told once it is back.
                if matches!(self.hold(holder).await, Ok(true)) {
                    watch.tell_untold(self.reader.now()).await;
                    break;
                }
                asked = Instant::now();
            }
            drop(timeout(LOOK_EVERY, stopping.wait_for(|stop| *stop)).await);
        }
        Ok(())
    }
}

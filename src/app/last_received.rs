//! When each site last posted before this process began: as far as the store remembers.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::queue::{Filter, Order, Store};
use crate::telemetry::Metrics;

/// Looks for the newest entry of each site that has metrics of its own.
///
/// So a restart doesn't look like a site that never posted, nor like one that just did.
pub(super) async fn read(config: Arc<ArcSwap<Config>>, store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let config = config.load_full();
    for site in config.sites.keys().take(config.admin.site_metrics) {
        let filter = Filter { site: Some(site.clone()), ..Filter::default() };
        match store.scan(&filter, Order::Newest, None, 1).await {
            Ok(page) => {
                if let Some(head) = page.heads.first() {
                    metrics.site_received_before(site.as_str(), head.accepted_at.as_second());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "metrics.last_received_unknown: the store couldn't be asked when sites last \
                                        posted");
                return;
            }
        }
    }
}

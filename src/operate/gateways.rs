//! The gateways that share the store, as `status` shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::queue::SeenGateway;

/// A gateway of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    pub name: String,
    /// It is the one that tells this.
    pub this: bool,
    /// It runs, as far as can be told.
    pub live: bool,
    pub version: String,
    /// When it was started.
    pub since: Timestamp,
    /// The machine it runs on.
    pub host: String,
    /// How many sites it sends for, and how many of the 64 parts that sites belong to.
    pub sites: usize,
    pub partitions: u32,
    pub last_seen: Timestamp,
    /// Its configuration isn't that of the one that tells this; of another version nothing can be told.
    pub config_differs: bool,
}

/// Lists the gateways by name: those that run, and those that were seen within a day and haven't said that they stopped.
pub(super) fn gateways(seen: &[SeenGateway]) -> Vec<GatewayStatus> {
    let this = seen.iter().find(|gateway| gateway.is_this);
    let status = |gateway: &SeenGateway| GatewayStatus {
        name: gateway.name.to_string(),
        this: gateway.is_this,
        live: gateway.is_live,
        version: gateway.note.version.clone(),
        since: gateway.note.since,
        host: gateway.note.host.clone(),
        // One that doesn't run sends for none.
        sites: if gateway.is_live { gateway.note.sites } else { 0 },
        partitions: if gateway.is_live { gateway.note.partitions.len() } else { 0 },
        last_seen: gateway.last_seen,
        config_differs: gateway.is_live && this.is_some_and(|this| gateway.differs_from(this)),
    };
    seen.iter().map(status).collect()
}

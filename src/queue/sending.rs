//! What the sender holds back, and why: published by the sender, read by whoever shows leads.
//!
//! A lead that waits is often never claimed, so its entry can't say why it waits. This can, for all of them at once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::lead::SiteId;

/// How sending stands right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendingStatus {
    /// Attempts under way.
    pub in_flight: usize,
    /// KaiCalls fails for every site: nothing is sent but one probe a minute.
    pub upstream: Option<Holdup>,
    /// Sites whose leads keep failing: each is probed once a minute.
    pub failing_sites: BTreeMap<SiteId, Holdup>,
    /// Sites with keys that KaiCalls refuses: each pair of keys is probed every five minutes.
    pub paused_sites: BTreeMap<SiteId, Vec<PausedKeys>>,
    /// Sites that send as fast as `[limits].site` allows, and when a lead that came now would go.
    pub rate_limited_sites: BTreeMap<SiteId, Timestamp>,
    /// Set while `[kaicalls].rate` is used up: when the next lead of any site may go.
    pub rate_limited: Option<Timestamp>,
}

/// Why leads wait, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdup {
    pub since: Timestamp,
    /// How the last attempt failed, such as `503` or `connection refused`; no value of a lead is in it.
    pub why: String,
    /// When one lead is tried next. It may have passed: the probe is then waiting for its turn, or under way.
    pub next_probe: Timestamp,
}

/// One pair of keys that KaiCalls refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedKeys {
    /// A form with keys of its own isn't held back by its site's.
    pub public_key: String,
    pub holdup: Holdup,
}

//! What needs a person although submissions are taken: `/readyz` and `status` name it, a metric counts it.
//!
//! Whoever notices a degradation reports it, and reports its end too: nothing here expires by itself.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// Something that needs a person while the gateway goes on taking submissions: a closed set, fit for a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Degraded {
    /// A configuration file is broken or gone; the last good version of what it holds is in force.
    ConfigBroken,
    /// A site has no keys that can be read, as a new one: it takes submissions, and its leads wait.
    KeysMissing,
    /// A value was changed that takes effect at the next start.
    RestartNeeded,
    /// The copy of the last good configuration can't be written: a start that finds less has an older one, or none.
    CopyFailed,
    /// A reload was not carried out, because too many sites would have vanished with their files.
    ReloadRefused,
    /// `[kaicalls]` is unusable and no good version is known: submissions are queued, none is sent.
    DeliveryOff,
    /// `[admin]` is unusable and no good version is known: its defaults are in force.
    AdminBroken,
    /// The admin API has no socket: the command line needs the token, over TCP.
    AdminSocketMissing,
    /// KaiCalls refuses the keys of a site or more.
    SitesPaused,
    /// KaiCalls fails for all sites.
    UpstreamFailing,
    /// A background task ended by itself and was started again.
    TaskFailing,
    /// The store was corrupt and is set aside; `formgate store salvage` brings back what can be read.
    StoreSetAside,
    /// Part of the store can't be read.
    StoreDamaged,
    /// The store that gateways share is away: leads are taken into the spool on this machine.
    StoreAway,
    /// The last backup failed.
    BackupFailed,
    /// A certificate expires within 14 days, or has expired.
    CertificateExpiring,
    /// The gateways that share the store have other sites, or other rules for them.
    ConfigsDiffer,
}

impl Degraded {
    /// Every degradation there is.
    pub const ALL: [Self; 17] = [
        Self::ConfigBroken,
        Self::KeysMissing,
        Self::RestartNeeded,
        Self::CopyFailed,
        Self::ReloadRefused,
        Self::DeliveryOff,
        Self::AdminBroken,
        Self::AdminSocketMissing,
        Self::SitesPaused,
        Self::UpstreamFailing,
        Self::TaskFailing,
        Self::StoreSetAside,
        Self::StoreDamaged,
        Self::StoreAway,
        Self::BackupFailed,
        Self::CertificateExpiring,
        Self::ConfigsDiffer,
    ];

    /// Returns the reason as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigBroken => "config_broken",
            Self::KeysMissing => "keys_missing",
            Self::RestartNeeded => "restart_needed",
            Self::CopyFailed => "copy_failed",
            Self::ReloadRefused => "reload_refused",
            Self::DeliveryOff => "delivery_off",
            Self::AdminBroken => "admin_broken",
            Self::AdminSocketMissing => "admin_socket_missing",
            Self::SitesPaused => "sites_paused",
            Self::UpstreamFailing => "upstream_failing",
            Self::TaskFailing => "task_failing",
            Self::StoreSetAside => "store_set_aside",
            Self::StoreDamaged => "store_damaged",
            Self::StoreAway => "store_away",
            Self::BackupFailed => "backup_failed",
            Self::CertificateExpiring => "certificate_expiring",
            Self::ConfigsDiffer => "configs_differ",
        }
    }

    /// Says what it is and what to do about it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::ConfigBroken => {
                "a configuration file is broken or missing; its last-good version is in use: run `formgate check`"
            }
            Self::KeysMissing => {
                "a site's keys can't be read, so its leads wait: `formgate check` names the files to write them to"
            }
            Self::RestartNeeded => {
                "a changed value takes effect after a restart: `config.needs_restart` in the log names it"
            }
            Self::CopyFailed => "the last-good copy can't be written: see `config.copy_failed` in the log",
            Self::ReloadRefused => {
                "too many sites would vanish at once: restore their files, or run `formgate sites remove`"
            }
            Self::DeliveryOff => "[kaicalls] can't be used, so nothing is sent: run `formgate check`",
            Self::AdminBroken => "[admin] can't be used; its defaults are in use: run `formgate check`",
            Self::AdminSocketMissing => {
                "the admin socket can't be opened: see `admin.socket_missing` in the log; [admin].listen and the \
                 token still work"
            }
            Self::SitesPaused => "KaiCalls refuses a site's keys: put the right ones into its files",
            Self::UpstreamFailing => "KaiCalls fails for all sites: leads wait, and are sent when it is back",
            Self::TaskFailing => "a background task failed and was restarted: report the location that the log shows",
            Self::StoreSetAside => "the store was damaged and set aside: run `formgate store salvage`",
            Self::StoreDamaged => "part of the store can't be read: restart, so that it is checked",
            Self::StoreAway => {
                "the shared store can't be used, so leads are kept in the spool on this machine and not sent; bring the \
                 database back, and they are moved over"
            }
            Self::BackupFailed => "the last backup failed: see `backup.failed` in the log",
            Self::CertificateExpiring => "a certificate expires within 14 days, or has expired: renew it",
            Self::ConfigsDiffer => {
                "the gateways of this store have different sites: give all the same site and mapping files; `formgate \
                 status` shows which differ"
            }
        }
    }
}

/// The degradations in force.
#[derive(Debug, Default)]
pub(super) struct Degradations {
    current: Mutex<BTreeSet<Degraded>>,
}

impl Degradations {
    /// Sets or clears one; tells whether that changed anything, and logs it where it did.
    pub(super) fn set(&self, reason: Degraded, is_degraded: bool) -> bool {
        let mut current = self.current.lock();
        let changed = if is_degraded { current.insert(reason) } else { current.remove(&reason) };
        match (changed, is_degraded) {
            (true, true) => tracing::warn!(reason = reason.as_str(), "gateway.degraded: see `formgate status`"),
            (true, false) => tracing::info!(reason = reason.as_str(), "gateway.recovered"),
            (false, _) => {}
        }
        changed
    }

    pub(super) fn list(&self) -> Vec<Degraded> {
        self.current.lock().iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degradation_lasts_until_it_is_cleared() {
        let degradations = Degradations::default();
        assert!(degradations.set(Degraded::StoreSetAside, true));
        assert!(!degradations.set(Degraded::StoreSetAside, true));
        assert!(degradations.set(Degraded::ConfigBroken, true));
        assert_eq!(degradations.list(), [Degraded::ConfigBroken, Degraded::StoreSetAside]);
        assert!(degradations.set(Degraded::StoreSetAside, false));
        assert!(!degradations.set(Degraded::StoreSetAside, false));
        assert_eq!(degradations.list(), [Degraded::ConfigBroken]);
    }

    #[test]
    fn each_degradation_has_a_word_of_its_own() {
        let words: BTreeSet<_> = Degraded::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Degraded::ALL.len());
    }
}

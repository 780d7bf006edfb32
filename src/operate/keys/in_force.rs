//! Which pairs of a site are in use at this moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::lead::SiteId;
use crate::queue::KeysUnderWay;

/// The public keys of a site's pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysInForce {
    /// Those of the configuration in force: what is sent from now on goes with these.
    pub public_keys: Vec<String>,
    /// Those that leads are under way with, each with their number: one that was replaced is here until its last lead is
    /// settled.
    pub under_way: BTreeMap<String, usize>,
    /// This gateway has begun so lately that one before it, in an upgrade, may still be sending.
    #[serde(default)]
    pub is_new: bool,
}

impl KeysInForce {
    /// Tells whether nothing is sent with a pair any more, now that another is in force.
    pub fn have_replaced(&self, old: &str, new: &str) -> bool {
        let is_in_force = |key: &str| self.public_keys.iter().any(|known| known == key);
        is_in_force(new) && !is_in_force(old) && !self.under_way.contains_key(old) && !self.is_new
    }
}

/// How long a gateway may go on sending after another has taken its place.
const PREDECESSOR_MAX: Duration = Duration::from_secs(15);

/// Tells which keys of a site are in use; `taken_over` is how long ago this gateway took the place of another.
pub fn in_force(config: &Config, under_way: &KeysUnderWay, site: &SiteId, taken_over: Option<Duration>) -> KeysInForce {
    // What is under way is looked at last: a lead that began before the configuration changed is counted by then.
    let pairs = config.sites.get(site).map(|site| site.key_pairs().map(|(_, pair)| pair.public().to_owned()).collect());
    let is_new = taken_over.is_some_and(|age| age < PREDECESSOR_MAX);
    KeysInForce { public_keys: pairs.unwrap_or_default(), under_way: under_way.of_site(site), is_new }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_replaced_once_its_last_lead_is_settled() {
        let keys = |public: &[&str], under_way: &[&str]| KeysInForce {
            public_keys: public.iter().map(|key| (*key).to_owned()).collect(),
            under_way: under_way.iter().map(|key| ((*key).to_owned(), 1)).collect(),
            is_new: false,
        };
        for (now, replaced) in [
            (keys(&["old"], &[]), false),
            (keys(&["old", "new"], &["new"]), false),
            (keys(&["new"], &["old", "new"]), false),
            (keys(&[], &[]), false),
            (keys(&["new"], &["new"]), true),
        ] {
            assert_eq!(now.have_replaced("old", "new"), replaced, "{now:?}");
            let upgraded = KeysInForce { is_new: true, ..now };
            assert!(!upgraded.have_replaced("old", "new"), "{upgraded:?}");
        }
    }
}

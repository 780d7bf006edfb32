//! What is to be done for each row.

use std::collections::BTreeMap;

use crate::cli::error::Error;
use crate::cli::keys::unreadable;
use crate::cli::sites::add::is_same_url;
use crate::cli::sites::find::WrittenSites;
use crate::cli::sites::new_site::place;
use crate::config::{NewSitePlace, Site};
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::operate::keys::{WrittenPair, pair_of};
use crate::operate::onboard::RosterRow;
use crate::operate::sites_file::SiteFileError;

/// A row, and what it lacks of what is to be.
pub(super) struct Plan<'a> {
    pub(super) row: &'a RosterRow,
    /// None: it is to be written, with a token.
    pub(super) site: Option<&'a Site>,
    pub(super) pair: PairNeed,
    /// What is otherwise in the site's file, which is left so.
    pub(super) differences: Vec<&'static str>,
    /// Why nothing can be done for it.
    pub(super) refusal: Option<Error>,
}

/// Where a site's pair is to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairNeed {
    /// It has one, or is to have none.
    None,
    Mint,
    /// The row has it.
    Adopt,
}

impl<'a> Plan<'a> {
    /// Plans all rows by one look at the configuration.
    pub(super) fn of_all(rows: &'a [RosterRow], written: &'a WrittenSites, mints: bool) -> Vec<Self> {
        let sites: BTreeMap<&SiteId, &Site> = written.loaded.usable_sites().map(|site| (&site.id, site)).collect();
        let plan = |row: &'a RosterRow| {
            let mut plan = Plan::of(row, sites.get(&row.id).copied(), mints);
            plan.refusal = written.refusal(&row.id).or_else(|| plan.obstacle(written));
            plan
        };
        rows.iter().map(plan).collect()
    }

    fn of(row: &'a RosterRow, site: Option<&'a Site>, mints: bool) -> Self {
        let has_pair = site.is_some_and(|site| site.keys.is_some());
        let pair = match &row.keys {
            _ if has_pair => PairNeed::None,
            Some(_) => PairNeed::Adopt,
            None if mints => PairNeed::Mint,
            None => PairNeed::None,
        };
        let differences = site.map(|site| differences(row, site)).unwrap_or_default();
        Self { row, site, pair, differences, refusal: None }
    }

    /// Looks for what stands in the way: keys that only the gateway can read, and may be using, or another file.
    fn obstacle(&self, written: &WrittenSites) -> Option<Error> {
        match self.site {
            Some(_) if self.pair == PairNeed::None => None,
            Some(site) => match pair_of(site) {
                WrittenPair::Unreadable(why) => Some(unreadable(&site.id, &why)),
                WrittenPair::Read(_) | WrittenPair::None => None,
            },
            None => match place(&written.loaded, &self.row.id) {
                Ok(NewSitePlace::File(file)) if file.symlink_metadata().is_ok() => {
                    Some(SiteFileError::InTheWay(file).into())
                }
                Ok(_) => None,
                Err(nowhere) => Some(nowhere),
            },
        }
    }

    /// Tells whether there is nothing to do for it.
    pub(super) fn is_settled(&self) -> bool {
        self.refusal.is_some() || (self.site.is_some() && self.pair == PairNeed::None)
    }

    /// What is to be done, in words.
    pub(super) fn words(&self) -> String {
        let mut steps = Vec::new();
        steps.extend(self.site.is_none().then_some("write its file"));
        steps.extend(match self.pair {
            PairNeed::None => None,
            PairNeed::Mint => Some("mint a key pair"),
            PairNeed::Adopt => Some("verify its key pair"),
        });
        steps.extend(self.site.is_none().then_some("make a token"));
        steps.join(", ")
    }
}

/// Names what a site's file has otherwise than its row; what a row leaves open is not compared.
pub(super) fn differences(row: &RosterRow, site: &Site) -> Vec<&'static str> {
    let asked_public = row.keys.as_ref().map(KeyPair::public);
    let public = site.keys.as_ref().map(KeyPair::public);
    [
        ("url", !is_same_url(&row.url, site.url.as_deref())),
        ("name", row.name.is_some() && row.name != site.name),
        ("region", row.region.is_some() && row.region != site.rules.region),
        ("public_key", public.is_some() && asked_public.is_some() && public != asked_public),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}

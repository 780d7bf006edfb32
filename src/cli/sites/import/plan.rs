//! What is to be done for each row.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::sites::add::is_same_url;
use crate::config::{Loaded, Site};
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::operate::onboard::RosterRow;

/// A row, and what it lacks of what is to be.
pub(super) struct Plan<'a> {
    pub(super) row: &'a RosterRow,
    /// None: it is to be written.
    pub(super) site: Option<&'a Site>,
    pub(super) pair: PairNeed,
    pub(super) needs_token: bool,
    /// What is otherwise in the site's file, which is left so.
    pub(super) differences: Vec<&'static str>,
    /// The site is there, and broken.
    pub(super) broken: Option<PathBuf>,
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
    pub(super) fn of_all(rows: &'a [RosterRow], loaded: &'a Loaded, mints: bool) -> Vec<Self> {
        let sites: BTreeMap<&SiteId, &Site> = loaded.usable_sites().map(|site| (&site.id, site)).collect();
        let broken = loaded.broken_sites.iter().filter_map(|site| Some((site.id.as_ref()?, &site.file)));
        let broken: BTreeMap<&SiteId, &PathBuf> = broken.filter(|(id, _)| !sites.contains_key(id)).collect();
        let plan = |row: &'a RosterRow| Plan {
            broken: broken.get(&row.id).map(|file| PathBuf::clone(file)),
            ..Plan::of(row, sites.get(&row.id).copied(), mints)
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
        let needs_token = site.is_none_or(|site| site.tokens.is_empty() && site.wpforms_secrets.is_empty());
        let differences = site.map(|site| differences(row, site)).unwrap_or_default();
        Self { row, site, pair, needs_token, differences, broken: None }
    }

    /// Tells whether there is nothing to do for it.
    pub(super) fn is_settled(&self) -> bool {
        self.broken.is_some() || (self.site.is_some() && self.pair == PairNeed::None && !self.needs_token)
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
        steps.extend(self.needs_token.then_some("make a token"));
        steps.join(", ")
    }
}

/// Names what a site's file has otherwise than its row; what a row leaves open is not compared.
fn differences(row: &RosterRow, site: &Site) -> Vec<&'static str> {
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

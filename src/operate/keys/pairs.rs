//! The pairs of a site, and what KaiCalls says of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judge::Verification;
use super::written::{WrittenPair, pair_of};
use crate::config::Site;
use crate::destination::KeyPair;
use crate::lead::{FormId, SiteId};

/// One pair, the site's or a form's own, and how it is. Names and order of its keys are a promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairVerified {
    /// None: not even its id can be read.
    pub site: Option<SiteId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<FormId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    pub state: PairState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_id: Option<String>,
    /// Why it is refused, in KaiCalls' words, or can't be verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    Ok,
    Refused,
    /// KaiCalls can't be asked.
    Unreachable,
    /// Nobody has made it yet.
    Missing,
    /// It is written, and can't be read here; or its site's file is broken.
    Unreadable,
}

/// A pair that is to be verified, and what is known of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairAsked {
    row: PairVerified,
    /// None: there is nothing to ask about.
    pair: Option<KeyPair>,
}

/// What KaiCalls said of each pair. No `Debug`: a pair is known by both of its keys, as one of two with the same public key
/// may be wrong.
#[derive(Default)]
pub struct PairAnswers(BTreeMap<String, Verification>);

impl PairAsked {
    /// Gathers the site's own pair and those of its forms. Reads files where the own one is missing.
    pub fn of_site(site: &Site) -> Vec<Self> {
        let own = std::iter::once((None, site.keys.as_ref()));
        let forms = site.form_keys.iter().map(|(form, keys)| (Some(form), keys.as_ref()));
        let mut asked: Vec<Self> = own.chain(forms).map(|(form, pair)| Self::of(site, form, pair)).collect();
        if let (Some(first), WrittenPair::Unreadable(why)) = (asked.first_mut(), pair_of(site)) {
            first.row.state = PairState::Unreadable;
            first.row.why = Some(why);
        }
        asked
    }

    /// Stands for the pairs of a site that is broken.
    pub fn unreadable(site: Option<SiteId>, why: String) -> Self {
        let state = PairState::Unreadable;
        let row = PairVerified { site, form: None, public_key: None, state, business_id: None, why: Some(why) };
        Self { row, pair: None }
    }

    fn of(site: &Site, form: Option<&FormId>, pair: Option<&KeyPair>) -> Self {
        let row = PairVerified {
            site: Some(site.id.clone()),
            form: form.cloned(),
            public_key: pair.map(|pair| pair.public().to_owned()),
            state: PairState::Missing,
            business_id: None,
            why: None,
        };
        Self { row, pair: pair.cloned() }
    }

    pub fn site(&self) -> Option<&SiteId> {
        self.row.site.as_ref()
    }

    /// Says how the pair is, by what KaiCalls said of it.
    pub fn answered(self, answers: &PairAnswers) -> PairVerified {
        let Self { mut row, pair } = self;
        let Some(pair) = pair else { return row };
        match answers.0.get(&whole(&pair)) {
            None => row.state = PairState::Unreachable,
            Some(Verification::Valid { business_id }) => {
                row.state = PairState::Ok;
                row.business_id.clone_from(business_id);
            }
            Some(Verification::Refused(refused)) => {
                row.state = PairState::Refused;
                row.why = Some(match which_key(refused.words.as_deref()) {
                    Some(which) => format!("{refused}: {which}"),
                    None => refused.to_string(),
                });
            }
            Some(Verification::Unreachable(why)) => {
                row.state = PairState::Unreachable;
                row.why = Some(why.clone());
            }
        }
        row
    }
}

/// Returns each pair once: several sites may share one.
pub fn distinct_pairs(asked: &[PairAsked]) -> Vec<KeyPair> {
    let pairs = asked.iter().filter_map(|asked| asked.pair.as_ref());
    let distinct: BTreeMap<String, &KeyPair> = pairs.map(|pair| (whole(pair), pair)).collect();
    distinct.into_values().cloned().collect()
}

impl PairAnswers {
    pub fn add(&mut self, pair: &KeyPair, answer: Verification) {
        self.0.insert(whole(pair), answer);
    }

    /// Returns for how many pairs there is an answer.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl PairState {
    /// Returns the state as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

fn whole(pair: &KeyPair) -> String {
    pair.bearer().expose().to_owned()
}

/// Tells which key KaiCalls means: it calls the secret one “API Key”.
fn which_key(words: Option<&str>) -> Option<&'static str> {
    let words = words?.to_ascii_lowercase();
    match () {
        () if words.contains("public key") => Some("the public key"),
        () if words.contains("api key") => Some("the secret key"),
        () => None,
    }
}

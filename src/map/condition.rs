//! Conditions: what `[[detect]]`, `match` and `[[hold]]` ask of a submission.

use std::collections::BTreeMap;

use super::glob::Glob;
use super::mapping::{Condition, Mapping};
use super::view::texts;
use crate::decode::Submission;

/// What conditions are asked of.
pub struct Facts<'a> {
    pub headers: &'a BTreeMap<String, String>,
    pub submission: &'a Submission,
    /// What the body calls its form; only known once the mapping is.
    pub form_name: Option<&'a str>,
    /// The page the form stands on.
    pub page: Option<&'a str>,
}

impl Condition {
    /// Tells whether all that is asked holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let document = &facts.submission.document;
        let keys = || facts.submission.fields.iter().map(|field| field.key.as_str());
        self.header.iter().all(|(name, glob)| facts.headers.get(name).is_some_and(|value| glob.matches(value)))
            && self.keys.iter().all(|glob| keys().any(|key| glob.matches(key)))
            && self.exists.iter().all(|path| !path.nodes(document).is_empty())
            && self.equals.iter().all(|(path, wanted)| path.nodes(document).iter().any(|(_, node)| same(node, wanted)))
            && self.only.as_ref().is_none_or(|only| has_only(facts.submission, only))
            && matches(self.form_name.as_ref(), facts.form_name)
            && matches(self.page.as_ref(), facts.page)
    }

    /// How many things it asks: the more, the surer.
    pub fn weight(&self) -> usize {
        self.header.len()
            + self.keys.len()
            + self.exists.len()
            + self.equals.len()
            + usize::from(self.only.is_some())
            + usize::from(self.form_name.is_some())
            + usize::from(self.page.is_some())
    }
}

impl Mapping {
    /// Returns how sure the mapping is that it fits; none where it doesn't.
    pub fn fits(&self, facts: &Facts<'_>) -> Option<usize> {
        self.detect.iter().filter(|condition| condition.holds(facts)).map(Condition::weight).max()
    }
}

/// The same value, or the same text of it: forms know no numbers.
fn same(node: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    node == wanted || (texts(node) == texts(wanted) && !texts(node).is_empty())
}

/// No key besides these; at least one of them.
fn has_only(submission: &Submission, only: &[String]) -> bool {
    !submission.fields.is_empty() && submission.fields.iter().all(|field| only.contains(&field.key))
}

fn matches(glob: Option<&Glob>, text: Option<&str>) -> bool {
    glob.is_none_or(|glob| text.is_some_and(|text| glob.matches(text)))
}

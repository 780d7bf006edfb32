//! Conditions: what `[[detect]]`, `match` and `[[hold]]` ask of a submission.

use std::collections::BTreeMap;

use serde_json::Value;

use super::glob::Glob;
use super::mapping::Condition;
use super::selector::Path;
use super::texts::texts;
use crate::decode::{Content, NodeId, Submission};

/// What conditions are asked of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub headers: &'a BTreeMap<String, String>,
    pub submission: &'a Submission<'a>,
    /// What the body calls its form; only known once the mapping is.
    pub form_name: Option<&'a str>,
    /// The page the form stands on.
    pub page: Option<&'a str>,
}

impl Condition {
    /// Tells whether all that is asked holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let submission = facts.submission;
        let keys = || submission.fields.iter().map(|field| field.key);
        self.header.iter().all(|(name, glob)| facts.headers.get(name).is_some_and(|value| glob.matches(value)))
            && self.keys.iter().all(|glob| keys().any(|key| glob.matches(key)))
            && self.exists.iter().all(|path| path.finds(submission))
            && self.equals.iter().all(|(path, wanted)| gives(path, wanted, submission))
            && self.only.as_ref().is_none_or(|only| has_only(submission, only))
            && matches(self.form_name.as_ref(), facts.form_name)
            && matches(self.page.as_ref(), facts.page)
    }

    /// Returns names of members that the document must have.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let paths = self.exists.iter().chain(self.equals.iter().map(|(path, _)| path));
        paths.filter_map(Path::first_name)
    }

    /// Returns a byte that some field's key must begin with, in lower case.
    pub fn key_start(&self) -> Option<u8> {
        self.keys.iter().find_map(Glob::first_byte)
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

fn gives(path: &Path, wanted: &Value, submission: &Submission<'_>) -> bool {
    path.nodes(submission).into_iter().any(|node| is_same(submission, node, wanted))
}

/// The same value, or the same text of it: forms know no numbers.
fn is_same(submission: &Submission<'_>, node: NodeId, wanted: &Value) -> bool {
    let document = &submission.document;
    match (document.content(node), wanted) {
        (Content::Text(text), Value::String(wanted)) => text == wanted,
        (Content::List | Content::Record | Content::File(_), Value::Array(_) | Value::Object(_))
            if document.json(node) == *wanted =>
        {
            true
        }
        (Content::Null | Content::Bool(_) | Content::Number(_), _) if document.json(node) == *wanted => true,
        _ => {
            let texts = texts(submission, node);
            !texts.is_empty() && texts.iter().copied().eq(wanted_texts(wanted).iter())
        }
    }
}

/// Returns the texts of a wanted value, as those of a node are told.
fn wanted_texts(wanted: &Value) -> Vec<String> {
    match wanted {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(true) => vec!["true".to_owned()],
        Value::Array(items) => items.iter().flat_map(wanted_texts).collect(),
        Value::Object(members) => members.get("value").map(wanted_texts).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// No key besides these; at least one of them.
fn has_only(submission: &Submission<'_>, only: &[String]) -> bool {
    !submission.fields.is_empty() && submission.fields.iter().all(|field| only.iter().any(|key| key == field.key))
}

fn matches(glob: Option<&Glob>, text: Option<&str>) -> bool {
    glob.is_none_or(|glob| text.is_some_and(|text| glob.matches(text)))
}

//! A submission as its mapping sees it: the fields the plugin describes, and how selectors find values in them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::mapping::{FieldsRule, Mapping};
use super::selector::Selector;
use crate::decode::{Field, Submission};

/// Begins a selector that names a query parameter beside a body.
const QUERY_PREFIX: &str = "query.";

/// A field and whether it is the plugin's own remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormField {
    pub field: Field,
    /// Never a lead field by auto, never an extra.
    pub meta: bool,
}

/// A submission seen through a mapping.
pub(super) struct View<'a> {
    pub(super) submission: &'a Submission,
    pub(super) fields: Vec<FormField>,
}

/// A value a selector found, and the fields it came from.
pub(super) struct Found {
    pub(super) text: String,
    /// Indices into [`View::fields`].
    pub(super) from: BTreeSet<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(submission: &'a Submission, mapping: &Mapping) -> Self {
        let plain = submission.fields.iter().cloned();
        let mut fields: Vec<FormField> = plain.map(|field| FormField { field, meta: false }).collect();
        for rule in &mapping.fields {
            describe(submission, rule, &mut fields);
        }
        if let Some(mark) = mapping.values.split.as_deref() {
            for form_field in &mut fields {
                split(&mut form_field.field.values, mark);
            }
        }
        Self { submission, fields }
    }

    /// Returns the non-empty values a selector names, in order.
    pub(super) fn find(&self, selector: &Selector, split_mark: Option<&str>) -> Vec<Found> {
        match selector {
            Selector::Path(path) => {
                let nodes = path.nodes(&self.submission.document);
                nodes.into_iter().flat_map(|(path, node)| self.found_at(&path, node, split_mark)).collect()
            }
            Selector::Field(name) => self.find_field(name),
        }
    }

    fn found_at(&self, path: &str, node: &Value, split_mark: Option<&str>) -> Vec<Found> {
        let mut values = texts(node);
        if let Some(mark) = split_mark {
            split(&mut values, mark);
        }
        let holds = |(_, form_field): &(usize, &FormField)| within(path, &form_field.field.path);
        let from: BTreeSet<usize> = self.fields.iter().enumerate().filter(holds).map(|(index, _)| index).collect();
        values.into_iter().map(|text| Found { text, from: from.clone() }).collect()
    }

    fn find_field(&self, name: &str) -> Vec<Found> {
        if let Some(parameter) = name.strip_prefix(QUERY_PREFIX) {
            let pairs = self.submission.query.iter().filter(|(key, value)| key == parameter && !value.is_empty());
            return pairs.map(|(_, value)| Found { text: value.clone(), from: BTreeSet::new() }).collect();
        }
        let values = |index: usize| {
            let values = self.fields.get(index).map(|form_field| form_field.field.values.clone()).unwrap_or_default();
            values.into_iter().map(move |text| Found { text, from: BTreeSet::from([index]) })
        };
        self.named(name).into_iter().flat_map(values).collect()
    }

    /// Returns the fields of a name: by key, else by label, else by either with case, accents and punctuation aside.
    fn named(&self, name: &str) -> Vec<usize> {
        let loose = fold(name);
        let by_key = self.indices(|field| field.key == name);
        let by_label = || self.indices(|field| field.label.as_deref() == Some(name));
        let by_either = || {
            self.indices(|field| {
                !loose.is_empty()
                    && (fold(&field.key) == loose || field.label.as_deref().map(fold) == Some(loose.clone()))
            })
        };
        [by_key]
            .into_iter()
            .chain(std::iter::once_with(by_label))
            .chain(std::iter::once_with(by_either))
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }

    fn indices(&self, wanted: impl Fn(&Field) -> bool) -> Vec<usize> {
        let fields = self.fields.iter().enumerate();
        fields.filter(|(_, form_field)| wanted(&form_field.field)).map(|(index, _)| index).collect()
    }
}

/// Adds the fields a rule describes in the place of the plain ones that stand for the same part of the document.
fn describe(submission: &Submission, rule: &FieldsRule, fields: &mut Vec<FormField>) {
    let nodes = rule.each.nodes(&submission.document);
    let roots: BTreeSet<&str> = nodes.iter().map(|(path, _)| root(path)).collect();
    let covered = |form_field: &FormField| roots.iter().any(|root| within(&form_field.field.path, root));
    let place = fields.iter().position(covered).unwrap_or(fields.len());
    fields.retain(|form_field| !covered(form_field));
    let described = nodes.iter().map(|(path, node)| FormField { field: described(rule, path, node), meta: rule.meta });
    let place = place.min(fields.len());
    fields.splice(place..place, described.collect::<Vec<_>>());
}

fn described(rule: &FieldsRule, path: &str, node: &Value) -> Field {
    let member = |name: &Option<String>| name.as_deref().and_then(|name| node.get(name));
    let text = |name: &Option<String>| member(name).map(texts).and_then(|texts| texts.into_iter().next());
    let values = match (&rule.value, member(&rule.value)) {
        (None, _) => texts(node),
        (Some(_), value) => value.map(texts).unwrap_or_default(),
    };
    Field {
        key: text(&rule.key).unwrap_or_else(|| last_name(path)),
        label: text(&rule.label),
        kind: text(&rule.kind),
        values,
        path: path.to_owned(),
    }
}

/// Returns the texts of a node: null, "", [] and false are no value, an object gives its `value`, else nothing.
pub(super) fn texts(node: &Value) -> Vec<String> {
    match node {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(true) => vec!["true".to_owned()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.get("value").map(texts).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn split(values: &mut Vec<String>, mark: &str) {
    if values.iter().any(|value| value.contains(mark)) {
        let pieces = values.iter().flat_map(|value| value.split(mark)).map(|piece| piece.trim().to_owned());
        *values = pieces.filter(|piece| !piece.is_empty()).collect();
    }
}

/// Tells whether a normalized path is another or leads into it.
fn within(path: &str, container: &str) -> bool {
    path.strip_prefix(container).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// Returns the part of a normalized path up to its first step.
fn root(path: &str) -> &str {
    let end = step_ends(path).next().unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}

/// Returns the name or index of a normalized path's last step.
fn last_name(path: &str) -> String {
    let before = step_ends(path).rev().nth(1).unwrap_or(1);
    let step = path.get(before..).unwrap_or_default().trim_start_matches('[');
    let step = step.strip_suffix(']').unwrap_or(step);
    match step.strip_prefix('\'').and_then(|step| step.strip_suffix('\'')) {
        Some(name) => name.replace("\\'", "'").replace("\\\\", "\\"),
        None => step.to_owned(),
    }
}

/// Returns where each step of a normalized path ends.
fn step_ends(path: &str) -> impl DoubleEndedIterator<Item = usize> + '_ {
    let mut quoted = false;
    let mut escaped = false;
    let mut ends = Vec::new();
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '\'' => quoted = !quoted,
            ']' if !quoted => ends.push(at + 1),
            _ => {}
        }
    }
    ends.into_iter()
}

/// Folds a name for comparison: case, accents, spaces and punctuation aside.
///
/// Punctuation between digits counts, so that `1.3` is never `13`.
pub(super) fn fold(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    let chars: Vec<char> = name.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).collect();
    let mut folded = String::with_capacity(name.len());
    for (at, c) in chars.iter().enumerate() {
        let digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
        if c.is_alphanumeric() {
            folded.extend(c.to_lowercase());
        } else if digit(at.checked_sub(1)) && digit(Some(at + 1)) {
            folded.push(*c);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_but_never_across_numbers() {
        for (name, folded) in [
            ("Your E-Mail", "youremail"),
            ("Téléphone ", "telephone"),
            ("1.3", "1.3"),
            ("13", "13"),
            ("input_1.3", "input1.3"),
            ("ŁÓDŹ", "łodz"),
            ("?!", ""),
        ] {
            assert_eq!(fold(name), folded, "{name}");
        }
    }

    #[test]
    fn steps_of_a_path_are_told_apart() {
        assert_eq!(root("$['a'][0]['b']"), "$['a']");
        assert_eq!(root(r"$['a\']b'][0]"), r"$['a\']b']");
        assert_eq!(last_name(r"$['x']['it\'s']"), "it's");
        assert_eq!(last_name("$['x'][12]"), "12");
        assert!(within("$['a']['b']", "$['a']") && within("$['a']", "$['a']"));
        assert!(!within("$['ab']", "$['a']") && !within("$", "$['a']"));
    }
}

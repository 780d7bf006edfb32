//! A submission as its mapping sees it: the fields the plugin describes, and how selectors find values in them.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::combine::combine;
use super::form_field::FormField;
use super::mapping::{FieldsRule, Mapping, Told};
use super::selector::Selector;
use crate::decode::{Field, Submission};

/// Begins a selector that names a query parameter beside a body.
const QUERY_PREFIX: &str = "query.";

/// A submission seen through a mapping.
pub(super) struct View<'a> {
    pub(super) submission: &'a Submission,
    pub(super) fields: Vec<FormField>,
    /// Which fields stand for the part of the document at a path; made when it is first asked for.
    by_path: OnceCell<HashMap<String, Vec<usize>>>,
}

/// A value a selector found, and the fields it came from.
pub(super) struct Found {
    pub(super) text: String,
    /// Indices into [`View::fields`].
    pub(super) from: BTreeSet<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(submission: &'a Submission, mapping: &Mapping) -> Self {
        let mut fields: Vec<FormField> = submission.fields.iter().cloned().map(FormField::plain).collect();
        describe(submission, &mapping.fields, &mut fields);
        if let Some(mark) = mapping.values.split.as_deref() {
            for form_field in &mut fields {
                split(&mut form_field.field.values, mark);
            }
        }
        for rule in &mapping.combine {
            combine(rule, &mut fields);
        }
        Self { submission, fields, by_path: OnceCell::new() }
    }

    fn by_path(&self) -> &HashMap<String, Vec<usize>> {
        self.by_path.get_or_init(|| {
            let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
            for (index, form_field) in self.fields.iter().enumerate() {
                for field in form_field.names().filter(|field| !field.path.is_empty()) {
                    by_path.entry(field.path.clone()).or_default().push(index);
                }
            }
            by_path
        })
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
        let containers = step_ends(path).filter_map(|end| self.by_path().get(path.get(..end)?));
        let at: BTreeSet<usize> = containers.flatten().copied().collect();
        values.into_iter().map(|text| Found { from: self.holding(&at, &text), text }).collect()
    }

    /// Fields of one name share a place in the document: only those are meant that hold the value.
    fn holding(&self, at: &BTreeSet<usize>, text: &str) -> BTreeSet<usize> {
        let holds = |index: &&usize| {
            let mut names = self.fields.get(**index).into_iter().flat_map(FormField::names);
            names.any(|field| field.values.iter().any(|value| value == text))
        };
        let holding: BTreeSet<usize> = at.iter().filter(holds).copied().collect();
        if holding.is_empty() { at.clone() } else { holding }
    }

    fn find_field(&self, name: &str) -> Vec<Found> {
        if let Some(parameter) = name.strip_prefix(QUERY_PREFIX) {
            let pairs = self.submission.query.iter().filter(|(key, value)| key == parameter && !value.is_empty());
            return pairs.map(|(_, value)| Found { text: value.clone(), from: BTreeSet::new() }).collect();
        }
        let found = |(index, values): (usize, Vec<String>)| {
            values.into_iter().map(move |text| Found { text, from: BTreeSet::from([index]) })
        };
        self.named(name).into_iter().flat_map(found).collect()
    }

    /// Returns the fields of a name: by key, else by label, else by either with case, accents and punctuation aside.
    fn named(&self, name: &str) -> Vec<(usize, Vec<String>)> {
        let by_key = self.values_where(|field| field.key == name);
        if !by_key.is_empty() {
            return by_key;
        }
        let by_label = self.values_where(|field| field.label.as_deref() == Some(name));
        let loose = fold(name);
        if !by_label.is_empty() || loose.is_empty() {
            return by_label;
        }
        self.values_where(|field| {
            fold(&field.key) == loose || field.label.as_deref().is_some_and(|label| fold(label) == loose)
        })
    }

    fn values_where(&self, wanted: impl Fn(&Field) -> bool) -> Vec<(usize, Vec<String>)> {
        let fields = self.fields.iter().enumerate();
        let found = fields.filter_map(|(index, form_field)| {
            form_field.names().find(|field| wanted(field)).map(|field| (index, field.values.clone()))
        });
        found.collect()
    }
}

/// Puts the fields that rules describe in the place of the plain ones that stand for the same part of the document.
///
/// A node is described by the first rule that reaches it.
fn describe(submission: &Submission, rules: &[FieldsRule], fields: &mut Vec<FormField>) {
    let mut described: Vec<(Vec<usize>, FormField)> = Vec::new();
    let mut paths = HashSet::new();
    let mut order = DocumentOrder { document: &submission.document, positions: HashMap::new() };
    for rule in rules {
        for (path, node) in rule.each.nodes(&submission.document) {
            if paths.insert(path.clone()) {
                let order = order.of(&path);
                let form_field = FormField { meta: rule.meta, ..FormField::plain(describe_one(rule, &path, node)) };
                described.push((order, form_field));
            }
        }
    }
    described.sort_by(|(a, _), (b, _)| a.cmp(b));
    let roots: HashSet<String> =
        described.iter().map(|(_, form_field)| root(&form_field.field.path).to_owned()).collect();
    let covered = |form_field: &FormField| roots.contains(root(&form_field.field.path));
    let place = fields.iter().position(covered).unwrap_or(fields.len());
    fields.retain(|form_field| !covered(form_field));
    let place = place.min(fields.len());
    fields.splice(place..place, described.into_iter().map(|(_, form_field)| form_field));
}

fn describe_one(rule: &FieldsRule, path: &str, node: &Value) -> Field {
    let text = |name: &str| node.get(name).map(texts).and_then(|texts| texts.into_iter().next());
    let told = |told: &Option<Told>| match told {
        Some(Told::Member(name)) => text(name),
        Some(Told::Fixed(text)) => Some(text.clone()),
        None => None,
    };
    let values: Vec<String> = match rule.value.as_slice() {
        [] => texts(node),
        names => names.iter().filter_map(|name| node.get(name)).flat_map(texts).collect(),
    };
    let values = match &rule.with {
        Some(with) if !values.is_empty() => vec![values.join(with)],
        _ => values,
    };
    Field {
        key: rule.key.as_deref().and_then(text).unwrap_or_else(|| last_name(path)),
        label: told(&rule.label),
        kind: told(&rule.kind),
        values,
        path: path.to_owned(),
    }
}

/// Tells where nodes stand in a document, so that they sort as they came.
struct DocumentOrder<'a> {
    document: &'a Value,
    /// Of each record on the way, by its path: which member is the how-manieth. Looking that up each time would take
    /// the square of a large record's size.
    positions: HashMap<String, HashMap<&'a str, usize>>,
}

impl DocumentOrder<'_> {
    /// Returns where a node stands among the members of each of its containers.
    fn of(&mut self, path: &str) -> Vec<usize> {
        let mut order = Vec::new();
        let mut node = Some(self.document);
        let mut begin = 1;
        for end in step_ends(path) {
            let (container, step) = (path.get(..begin).unwrap_or_default(), path.get(begin..end).unwrap_or_default());
            let name = step_name(step);
            begin = end;
            let (position, next) = match node {
                Some(Value::Object(members)) => {
                    let positions = self.positions.entry(container.to_owned()).or_insert_with(|| {
                        members.keys().enumerate().map(|(position, key)| (key.as_str(), position)).collect()
                    });
                    (positions.get(name.as_str()).copied(), members.get(&name))
                }
                Some(Value::Array(items)) => {
                    let index: Option<usize> = name.parse().ok();
                    (index, index.and_then(|index| items.get(index)))
                }
                _ => (None, None),
            };
            order.push(position.unwrap_or(usize::MAX));
            node = next;
        }
        order
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

/// Returns the part of a normalized path up to its first step.
fn root(path: &str) -> &str {
    let end = step_ends(path).next().unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}

/// Returns the name or index of a normalized path's last step.
fn last_name(path: &str) -> String {
    let before = step_ends(path).rev().nth(1).unwrap_or(1);
    step_name(path.get(before..).unwrap_or_default())
}

/// Returns the name or index that a step holds.
fn step_name(step: &str) -> String {
    let step = step.strip_prefix('[').unwrap_or(step);
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
    let chars = name.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c));
    let mut folded = String::with_capacity(name.len());
    let (mut after_number, mut marks) = (false, String::new());
    for c in chars {
        if c.is_alphanumeric() {
            if after_number && c.is_numeric() {
                folded.push_str(&marks);
            }
            marks.clear();
            folded.extend(c.to_lowercase());
            after_number = c.is_numeric();
        } else if !c.is_whitespace() {
            marks.push(c);
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
            ("1. 3", "1.3"),
            ("1..3", "1..3"),
            ("1 3", "13"),
            ("١.٣", "١.٣"),
            ("input_1.3", "input1.3"),
            ("ŁÓDŹ", "łodz"),
            ("?!", ""),
        ] {
            assert_eq!(fold(name), folded, "{name}");
        }
    }

    #[test]
    fn nodes_sort_as_they_came() {
        let document = serde_json::json!({"b": [{"y": 1, "x": 2}], "a": 3});
        let mut order = DocumentOrder { document: &document, positions: HashMap::new() };
        assert_eq!(order.of("$['b'][0]['y']"), [0, 0, 0]);
        assert_eq!(order.of("$['b'][0]['x']"), [0, 0, 1]);
        assert_eq!(order.of("$['a']"), [1]);
        assert_eq!(order.of("$['none']"), [usize::MAX]);
    }

    #[test]
    fn steps_of_a_path_are_told_apart() {
        assert_eq!(root("$['a'][0]['b']"), "$['a']");
        assert_eq!(root(r"$['a\']b'][0]"), r"$['a\']b']");
        assert_eq!(last_name(r"$['x']['it\'s']"), "it's");
        assert_eq!(last_name("$['x'][12]"), "12");
    }
}

//! Selectors: how a mapping names a value, by JSONPath or by a field's key or label.

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector as Step};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use super::fold::{fold, folds_to};
use crate::decode::{Document, NodeId, Submission};

/// Longest selector, in bytes: evaluation takes time polynomial in it.
pub const SELECTOR_MAX: usize = 512;

/// A JSONPath (RFC 9535), parsed once.
///
/// Names, indices and `[*]` are walked on the document itself; from the first segment of another kind on it is jsonpath-rust's,
/// which wants the document as JSON.
#[derive(Clone, Debug)]
pub struct Path {
    source: String,
    query: JpQuery,
    /// The segments that can be walked, from the first on.
    walked: Vec<Walked>,
}

/// A segment that is walked on the document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Walked {
    Name(String),
    Index(usize),
    Every,
}

/// How a mapping names a value.
#[derive(Clone, Debug)]
pub enum Selector {
    /// Begins with `$`: the nodes of the document it gives.
    Path(Path),
    /// Anything else: a field by its key, or its label, or either with case, accents and punctuation aside.
    Field(FieldName),
}

/// The name of a field.
#[derive(Clone, Debug)]
pub struct FieldName {
    pub(super) name: String,
    /// The same with case, accents and punctuation aside.
    pub(super) folded: String,
}

/// Why text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {SELECTOR_MAX} bytes")]
    TooLong,
    #[error("has more than one `..`, which would take too long")]
    Descents,
    #[error("isn't a JSONPath: {message}")]
    Syntax {
        message: String,
        /// Where in the selector, in bytes, if known.
        offset: Option<usize>,
    },
}

impl Path {
    /// Parses a JSONPath of at most [`SELECTOR_MAX`] bytes and one `..`.
    pub fn parse(source: &str) -> Result<Self, SelectorError> {
        if source.len() > SELECTOR_MAX {
            return Err(SelectorError::TooLong);
        }
        let query = parse_json_path(source).map_err(|error| syntax_error(&error))?;
        if descents(&query) > 1 {
            return Err(SelectorError::Descents);
        }
        let walked = query.segments.iter().map_while(Walked::of).collect();
        Ok(Self { source: source.to_owned(), query, walked })
    }

    /// Returns the nodes it gives, in the order in which it gives them.
    pub(super) fn nodes(&self, submission: &Submission<'_>) -> Vec<NodeId> {
        let found = self.walk(&submission.document);
        if self.is_plain() || found.is_empty() { found } else { self.evaluate(submission) }
    }

    /// Tells whether it gives a node.
    pub(super) fn finds(&self, submission: &Submission<'_>) -> bool {
        match self.only(&submission.document) {
            Some(found) => found.is_some(),
            None => !self.nodes(submission).is_empty(),
        }
    }

    /// Returns the name of the root's member that must be there for it to give a node.
    pub(super) fn first_name(&self) -> Option<&str> {
        match self.walked.first() {
            Some(Walked::Name(name)) => Some(name),
            _ => None,
        }
    }

    fn is_plain(&self) -> bool {
        self.walked.len() == self.query.segments.len()
    }

    /// Returns the one node that a path of names and indices gives, if any; none where it is another path.
    pub(super) fn only(&self, document: &Document<'_>) -> Option<Option<NodeId>> {
        let is_single = self.is_plain() && !self.walked.contains(&Walked::Every);
        let mut steps = self.walked.iter();
        is_single.then(|| steps.try_fold(document.root(), |id, step| step.one(document, id)))
    }

    fn walk(&self, document: &Document<'_>) -> Vec<NodeId> {
        // Most selectors of a mapping lead nowhere in a submission, after a name or two.
        let mut singles = self.walked.iter().take_while(|step| **step != Walked::Every);
        let count = singles.clone().count();
        let Some(single) = singles.try_fold(document.root(), |id, step| step.one(document, id)) else {
            return Vec::new();
        };
        let mut found = vec![single];
        for step in self.walked.iter().skip(count) {
            let from = std::mem::take(&mut found);
            from.into_iter().for_each(|id| step.all(document, id, &mut found));
        }
        found
    }

    fn evaluate(&self, submission: &Submission<'_>) -> Vec<NodeId> {
        // An evaluation error can only mean that nothing was selected; its text holds the visitor's values.
        let Ok(found) = js_path_process(&self.query, submission.json()) else { return Vec::new() };
        let mut wanted: Vec<usize> = found.iter().map(|node| address(node.val)).collect();
        wanted.sort_unstable();
        let mut places = NodeSearch { wanted, found: Vec::new() };
        places.look(&submission.document, submission.document.root(), submission.json());
        places.found.sort_unstable();
        let at = |node: &Value| {
            let place = places.found.binary_search_by_key(&address(node), |(address, _)| *address).ok()?;
            places.found.get(place).map(|(_, id)| *id)
        };
        found.iter().filter_map(|node| at(node.val)).collect()
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl Selector {
    /// Parses a selector as it stands in TOML.
    pub fn parse(source: &str) -> Result<Self, SelectorError> {
        match source {
            "" => Err(SelectorError::Empty),
            _ if source.starts_with('$') => Path::parse(source).map(Self::Path),
            _ => Self::field(source),
        }
    }

    /// Names a field, whatever it begins with.
    pub fn field(name: &str) -> Result<Self, SelectorError> {
        match name.len() {
            0 => Err(SelectorError::Empty),
            1..=SELECTOR_MAX => Ok(Self::Field(FieldName { name: name.to_owned(), folded: fold(name).into_owned() })),
            _ => Err(SelectorError::TooLong),
        }
    }

    /// Tells whether it reads a field of the form that is called so, as far as its text tells.
    pub fn reads(&self, name: &str) -> bool {
        match self {
            Self::Path(path) => matches!(path.walked.first(), Some(Walked::Name(first)) if first == name),
            Self::Field(field) => field.name == name || folds_to(name, &field.folded),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path.as_str(),
            Self::Field(field) => &field.name,
        }
    }
}

impl Walked {
    fn of(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Selector(Step::Name(name)) => Some(Self::Name(name.clone())),
            Segment::Selector(Step::Index(index)) => usize::try_from(*index).ok().map(Self::Index),
            Segment::Selector(Step::Wildcard) => Some(Self::Every),
            _ => None,
        }
    }

    /// Returns the only node it can give from a node.
    fn one(&self, document: &Document<'_>, id: NodeId) -> Option<NodeId> {
        match self {
            // An item has no name.
            Self::Name(name) => document.member(id, name),
            Self::Index(index) => document.item(id, *index),
            Self::Every => None,
        }
    }

    /// Adds the nodes it gives from a node.
    fn all(&self, document: &Document<'_>, id: NodeId, found: &mut Vec<NodeId>) {
        match self {
            Self::Every => found.extend(document.children(id)),
            Self::Name(_) | Self::Index(_) => found.extend(self.one(document, id)),
        }
    }
}

/// Finds the nodes of a document that JSON values stand for.
struct NodeSearch {
    /// Their addresses, sorted.
    wanted: Vec<usize>,
    found: Vec<(usize, NodeId)>,
}

impl NodeSearch {
    /// The document and its JSON have the same members and items in the same order.
    fn look(&mut self, document: &Document<'_>, id: NodeId, value: &Value) {
        if self.wanted.binary_search(&address(value)).is_ok() {
            self.found.push((address(value), id));
        }
        match value {
            Value::Array(items) => self.look_all(document, id, items.iter()),
            Value::Object(members) => self.look_all(document, id, members.values()),
            _ => {}
        }
    }

    fn look_all<'v>(&mut self, document: &Document<'_>, id: NodeId, values: impl Iterator<Item = &'v Value>) {
        document.children(id).zip(values).for_each(|(child, value)| self.look(document, child, value));
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Counts descendant segments, those inside filters too: the printed query shows each as `..`.
fn descents(query: &JpQuery) -> usize {
    // A `..` inside a quoted name would count as well; such a name can be given as a field instead.
    query.to_string().matches("..").count()
}

fn syntax_error(error: &jsonpath_rust::parser::errors::JsonPathError) -> SelectorError {
    use jsonpath_rust::parser::errors::JsonPathError::PestError;
    match error {
        PestError(pest) => {
            let offset = match pest.location {
                pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
            };
            SelectorError::Syntax {
                message: format!("unexpected text at character {}", offset + 1),
                offset: Some(offset),
            }
        }
        other => SelectorError::Syntax { message: other.to_string(), offset: None },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{Arena, MemberKey, form, json};

    /// Returns the values that a path gives, and where each stands (RFC 9535 §2.7).
    fn given(submission: &Submission<'_>, path: &str) -> Vec<(String, Value)> {
        let document = &submission.document;
        let step = |id: NodeId| match document.key(id) {
            MemberKey::Index(index) => format!("[{index}]"),
            _ => format!("['{}']", document.name(id).replace('\\', "\\\\").replace('\'', "\\'")),
        };
        let place = |id: NodeId| {
            let mut steps: Vec<String> = document.way(id).map(step).collect();
            steps.reverse();
            format!("${}", steps.concat())
        };
        let path = Path::parse(path).expect("a path");
        let nodes = path.nodes(submission);
        assert_eq!(path.finds(submission), !nodes.is_empty());
        nodes.into_iter().map(|id| (place(id), document.json(id))).collect()
    }

    fn given_by_the_crate(submission: &Submission<'_>, path: &str) -> Vec<(String, Value)> {
        let query = parse_json_path(path).expect("a path");
        let nodes = js_path_process(&query, submission.json()).expect("it is evaluated");
        nodes.into_iter().map(|node| (node.path, node.val.clone())).collect()
    }

    fn document() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![Just(Value::Null), Just(Value::from(1)), "[a-c]{0,2}".prop_map(Value::from)];
        scalar.prop_recursive(4, 40, 4, |inner| {
            let members = proptest::collection::vec(("[a-c1]|1[.]3|value|it's|é|a\\\\b", inner.clone()), 0..5);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn path() -> impl Strategy<Value = String> {
        let walked = [
            ".a",
            ".b",
            ".c",
            "['1.3']",
            "['1']",
            "['value']",
            "[\"it's\"]",
            "['a\\\\b']",
            "['é']",
            "[0]",
            "[1]",
            "[3]",
            "[*]",
            ".*",
        ];
        let other = ["[-1]", "[0:2]", "['a','b']", "[?@.a]", "[?@.b == 1]", "[?$.a]", "..a", "..*"];
        let steps = |count| proptest::collection::vec(prop::sample::select(walked.to_vec()), count);
        let other = prop_oneof![3 => Just(""), 1 => prop::sample::select(other.to_vec())];
        let steps = (steps(0..4), other, steps(0..2));
        steps.prop_map(|(before, other, after)| format!("${}{other}{}", before.concat(), after.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_walked_is_what_the_crate_gives(document in document(), paths in proptest::collection::vec(path(), 4)) {
            let text = document.to_string();
            let arena = Arena::new();
            let submission = json(&text, &arena);
            for path in paths {
                prop_assert_eq!(given(&submission, &path), given_by_the_crate(&submission, &path), "{}", path);
            }
        }

        #[test]
        fn a_forms_tree_is_walked_as_its_json_is(
            names in proptest::collection::vec("[a-c](\\[[a-c01]?\\]){0,3}", 0..9),
            paths in proptest::collection::vec(path(), 4),
        ) {
            let body = names.iter().enumerate().map(|(value, name)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
            let arena = Arena::new();
            let submission = form(&body, &arena);
            for path in paths {
                prop_assert_eq!(given(&submission, &path), given_by_the_crate(&submission, &path), "{} of {}", path, body);
            }
        }
    }

    #[test]
    fn a_selector_is_bounded() {
        assert!(Path::parse("$..value").is_ok());
        assert_eq!(Path::parse("$..a..b").err(), Some(SelectorError::Descents));
        assert_eq!(Path::parse("$[?@..a][?@..b]").err(), Some(SelectorError::Descents));
        let long = format!("$.{}", "a".repeat(SELECTOR_MAX));
        assert_eq!(Path::parse(&long).err(), Some(SelectorError::TooLong));
        assert_eq!(Selector::parse("").err(), Some(SelectorError::Empty));
    }

    #[test]
    fn a_broken_path_says_where() {
        let error = Path::parse("$.a[").expect_err("no path");
        assert!(matches!(error, SelectorError::Syntax { offset: Some(3..=4), .. }), "{error:?}");
    }
}

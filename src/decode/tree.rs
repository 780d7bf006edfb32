//! The shape all encodings give: a tree that keeps order, repeated names and numbers as written.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value, json};

use super::Oddity;

/// A value as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(String),
    Text(String),
    File(File),
    List(Vec<Tree>),
    /// Members in order; a name may repeat.
    Record(Vec<(String, Tree)>),
}

/// A file of a form: its contents are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) kind: Option<String>,
    /// In bytes.
    pub(super) size: u64,
}

/// How an encoding writes the way to a nested value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `a[b]`: forms.
    Brackets,
    /// `a.b`: JSON.
    Dots,
}

impl Style {
    /// Names a member of a container.
    pub(super) fn child(self, parent: &str, name: &str) -> String {
        match (parent, self) {
            ("", _) => name.to_owned(),
            (_, Self::Brackets) => format!("{parent}[{name}]"),
            (_, Self::Dots) => format!("{parent}.{name}"),
        }
    }
}

impl Tree {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns the text of a value that is no container; none for null, false and empty text.
    pub(super) fn as_value(&self) -> Option<String> {
        match self {
            Self::Bool(true) => Some("true".to_owned()),
            Self::Number(digits) => Some(digits.clone()),
            Self::Text(text) if !text.is_empty() => Some(text.clone()),
            Self::File(file) if !file.name.is_empty() => Some(file.name.clone()),
            _ => None,
        }
    }

    /// Tells whether it holds other values.
    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Record(_))
    }

    /// Turns the tree into one JSON document.
    ///
    /// Repeated names become a list in forms and the last one in JSON, as the makers of either expect; the fields keep
    /// them all. A name that is both a value and a tree keeps its value as the tree's member "".
    pub(super) fn into_document(self, style: Style, odd: &mut BTreeSet<Oddity>) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Number(digits) => as_written(digits),
            Self::Text(text) => Value::String(text),
            Self::File(file) => json!({"name": file.name, "type": file.kind, "size": file.size}),
            Self::List(items) => items.into_iter().map(|item| item.into_document(style, odd)).collect(),
            Self::Record(members) => {
                let mut map = Map::new();
                for (name, member) in members {
                    let value = member.into_document(style, odd);
                    // In place: removing would put another member where this one stood.
                    match map.get_mut(&name) {
                        Some(earlier) => *earlier = merge(earlier.take(), value, style, odd),
                        None => drop(map.insert(name, value)),
                    }
                }
                Value::Object(map)
            }
        }
    }
}

/// A JSON number holds its digits, but writes an exponent its own way: such a one stands in the tree as text.
fn as_written(digits: String) -> Value {
    match digits.parse::<Number>() {
        Ok(number) if number.as_str() == digits => Value::Number(number),
        _ => Value::String(digits),
    }
}

fn merge(earlier: Value, later: Value, style: Style, odd: &mut BTreeSet<Oddity>) -> Value {
    odd.insert(Oddity::RepeatedKey);
    if style == Style::Dots {
        return later;
    }
    match (earlier, later) {
        (Value::Object(mut tree), scalar) | (scalar, Value::Object(mut tree)) if !scalar.is_object() => {
            odd.insert(Oddity::MixedKey);
            tree.insert(String::new(), scalar);
            Value::Object(tree)
        }
        (earlier, later) => Value::Array(items(earlier).into_iter().chain(items(later)).collect()),
    }
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        single => vec![single],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(members: Vec<(&str, Tree)>, style: Style) -> (Value, Vec<Oddity>) {
        let mut odd = BTreeSet::new();
        let tree = Tree::Record(members.into_iter().map(|(name, tree)| (name.to_owned(), tree)).collect());
        (tree.into_document(style, &mut odd), odd.into_iter().collect())
    }

    #[test]
    fn repeated_names_are_a_list_in_forms_and_the_last_in_json() {
        let members = || vec![("a", Tree::text("1")), ("a", Tree::text("2"))];
        assert_eq!(document(members(), Style::Brackets), (json!({"a": ["1", "2"]}), vec![Oddity::RepeatedKey]));
        assert_eq!(document(members(), Style::Dots), (json!({"a": "2"}), vec![Oddity::RepeatedKey]));
    }

    #[test]
    fn a_repeated_name_keeps_its_first_place() {
        let members = ["a", "b", "c", "a"].map(|name| (name, Tree::text(name)));
        for (style, expected) in
            [(Style::Brackets, r#"{"a":["a","a"],"b":"b","c":"c"}"#), (Style::Dots, r#"{"a":"a","b":"b","c":"c"}"#)]
        {
            assert_eq!(document(members.to_vec(), style).0.to_string(), expected);
        }
    }

    #[test]
    fn a_value_and_a_list_under_one_name_are_one_list() {
        let list = || ("a", Tree::List(vec![Tree::text("2")]));
        let (one, three) = (("a", Tree::text("1")), ("a", Tree::text("3")));
        assert_eq!(document(vec![one.clone(), list()], Style::Brackets).0, json!({"a": ["1", "2"]}));
        assert_eq!(document(vec![one, list(), three], Style::Brackets).0, json!({"a": ["1", "2", "3"]}));
    }

    #[test]
    fn a_value_and_a_tree_under_one_name_are_both_kept() {
        let tree = Tree::Record(vec![("b".to_owned(), Tree::text("2"))]);
        let (value, odd) = document(vec![("a", Tree::text("1")), ("a", tree)], Style::Brackets);
        assert_eq!(value, json!({"a": {"b": "2", "": "1"}}));
        assert!(odd.contains(&Oddity::MixedKey));
    }

    #[test]
    fn numbers_stay_as_written() {
        let (value, _) = document(vec![("id", Tree::Number("123456789012345678901.50".to_owned()))], Style::Dots);
        assert_eq!(value.to_string(), r#"{"id":123456789012345678901.50}"#);
        let (value, _) = document(vec![("id", Tree::Number("1E5".to_owned()))], Style::Dots);
        assert_eq!(value, json!({"id": "1E5"}));
    }
}

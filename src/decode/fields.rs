//! The fields of a tree: each top-level member, opened where it only holds others.

use super::tree::{Style, Tree};

/// One field of a form.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// What the form calls it: unique in most forms, not in all.
    pub key: String,
    /// What the visitor saw beside it, where the submission says so.
    pub label: Option<String>,
    /// What the form says it is (`email`, `tel`, …), where it does.
    pub kind: Option<String>,
    /// What was filled in; empty values are left out.
    pub values: Vec<String>,
    /// Where it stands in the document, as a normalized path (RFC 9535 §2.7).
    pub path: String,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Field").field("key", &self.key).field("values", &self.values.len()).finish_non_exhaustive()
    }
}

/// Names a record may give its parts by, where it describes a field.
const KEY_NAMES: [&str; 4] = ["id", "key", "name", "field"];
const LABEL_NAMES: [&str; 2] = ["label", "title"];

/// Collects the fields in order.
///
/// A record with a `value` is one field, and so is each record of a list where all have one; other records are opened.
pub(super) fn collect(tree: &Tree, style: Style) -> Vec<Field> {
    let mut fields = Vec::new();
    match tree {
        Tree::Record(_) => open(tree, "", "$", style, &mut fields),
        // Values alone are fields called by their place.
        Tree::List(items) if !items.iter().any(Tree::is_container) => open(tree, "", "$", style, &mut fields),
        Tree::List(_) => add(tree, String::new(), "$".to_owned(), style, &mut fields),
        _ => {}
    }
    fields
}

fn open(tree: &Tree, key: &str, path: &str, style: Style, fields: &mut Vec<Field>) {
    match tree {
        Tree::Record(members) => {
            for (name, member) in members {
                add(member, style.child(key, name), child_path(path, name), style, fields);
            }
        }
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add(item, style.child(key, &index.to_string()), format!("{path}[{index}]"), style, fields);
            }
        }
        _ => {}
    }
}

fn add(tree: &Tree, key: String, path: String, style: Style, fields: &mut Vec<Field>) {
    let field = |values: Vec<String>| Field { key: key.clone(), label: None, kind: None, values, path: path.clone() };
    match tree {
        Tree::List(items) if !items.iter().any(Tree::is_container) => {
            let files = items.iter().any(|item| matches!(item, Tree::File(_)));
            let kind = files.then(|| "file".to_owned());
            fields.push(Field { kind, ..field(items.iter().filter_map(Tree::as_value).collect()) });
        }
        Tree::List(items) if items.iter().all(|item| member(item, &["value"]).is_some()) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let own_key = member(item, &KEY_NAMES).and_then(Tree::as_value);
                fields.push(described(item, own_key.unwrap_or_else(|| style.child(&key, &index.to_string())), path));
            }
        }
        Tree::Record(_) if member(tree, &["value"]).is_some() => {
            fields.push(described(tree, key, path));
        }
        Tree::Record(_) | Tree::List(_) => open(tree, &key, &path, style, fields),
        scalar => {
            let kind = matches!(scalar, Tree::File(_)).then(|| "file".to_owned());
            fields.push(Field { kind, ..field(scalar.as_value().into_iter().collect()) });
        }
    }
}

/// Reads a record that describes a field. The path is that of the record: all of it is the field.
fn described(record: &Tree, key: String, path: String) -> Field {
    let text = |names: &[&str]| member(record, names).and_then(Tree::as_value);
    let values = match member(record, &["value"]) {
        Some(Tree::List(items)) => items.iter().filter_map(Tree::as_value).collect(),
        Some(scalar) => scalar.as_value().into_iter().collect(),
        None => Vec::new(),
    };
    Field { key, label: text(&LABEL_NAMES), kind: text(&["type"]), values, path }
}

/// Returns the first member of one of the names.
fn member<'a>(tree: &'a Tree, names: &[&str]) -> Option<&'a Tree> {
    let Tree::Record(members) = tree else { return None };
    names.iter().find_map(|wanted| members.iter().find(|(name, _)| name == wanted).map(|(_, member)| member))
}

/// Writes the normalized path of a member (RFC 9535 §2.7).
pub fn child_path(parent: &str, name: &str) -> String {
    let mut path = format!("{parent}['");
    for c in name.chars() {
        match c {
            '\'' => path.push_str("\\'"),
            '\\' => path.push_str("\\\\"),
            '\u{8}' => path.push_str("\\b"),
            '\t' => path.push_str("\\t"),
            '\n' => path.push_str("\\n"),
            '\u{c}' => path.push_str("\\f"),
            '\r' => path.push_str("\\r"),
            c if c < ' ' => path.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => path.push(c),
        }
    }
    path.push_str("']");
    path
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    fn kinds(tree: Tree) -> Vec<(String, Option<String>)> {
        let tree = Tree::Record(vec![("a".to_owned(), tree)]);
        collect(&tree, Style::Brackets).into_iter().map(|field| (field.key, field.kind)).collect()
    }

    #[test]
    fn values_without_names_are_called_by_their_place() {
        let list = Tree::List(vec![Tree::text("a"), Tree::text("b")]);
        let keys = |tree| collect(tree, Style::Dots).into_iter().map(|field| field.key).collect::<Vec<_>>();
        assert_eq!(keys(&list), ["0", "1"]);
        assert_eq!(keys(&Tree::List(Vec::new())), [""; 0]);
    }

    #[test]
    fn a_file_says_that_it_is_one() {
        let file = || Tree::File(File { name: "x.txt".to_owned(), kind: None, size: 1 });
        let expected = [("a".to_owned(), Some("file".to_owned()))];
        assert_eq!(kinds(file()), expected);
        assert_eq!(kinds(Tree::List(vec![file(), file()])), expected);
        assert_eq!(kinds(Tree::text("x.txt")), [("a".to_owned(), None)]);
    }
}

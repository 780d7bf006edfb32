//! The fields of a document: each top-level member, opened where it only holds others.

use super::LIMITS;
use super::document::{Arena, Content, Document, Key, NodeId};

/// How an encoding writes the way to a nested value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `a[b]`: forms.
    Brackets,
    /// `a.b`: JSON.
    Dots,
}

/// One field of a form: a view of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// What the form calls it: unique in most forms, not in all.
    pub key: &'a str,
    /// What the visitor saw beside it, where the submission says so.
    pub label: Option<&'a str>,
    /// What the form says it is (`email`, `tel`, …), where it does.
    pub kind: Option<&'a str>,
    /// What was filled in; empty values are left out.
    pub values: &'a [&'a str],
    /// Where it stands in the document; none where it was put together from others.
    pub node: Option<NodeId>,
}

impl std::fmt::Debug for Field<'_> {
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
pub(super) fn collect<'a>(document: &Document<'a>, style: Style, arena: &'a Arena) -> Vec<Field<'a>> {
    let root = document.root();
    let mut collector =
        Collector { document, style, arena, fields: Vec::with_capacity(document.children(root).count()) };
    match document.content(root) {
        Content::Record => collector.open(root, ""),
        // Values alone are fields called by their place.
        Content::List if !collector.holds_containers(root) => collector.open(root, ""),
        Content::List => collector.add(root, ""),
        _ => {}
    }
    collector.fields
}

struct Collector<'d, 'a> {
    document: &'d Document<'a>,
    style: Style,
    arena: &'a Arena,
    fields: Vec<Field<'a>>,
}

impl<'a> Collector<'_, 'a> {
    fn open(&mut self, container: NodeId, key: &'a str) {
        let document = self.document;
        for child in document.children(container) {
            self.add(child, self.child_key(key, child));
        }
    }

    fn add(&mut self, id: NodeId, key: &'a str) {
        let document = self.document;
        match document.content(id) {
            Content::List if !self.holds_containers(id) => {
                let is_file = |item| matches!(document.content(item), Content::File(_));
                let kind = document.children(id).any(is_file).then_some("file");
                let values = self.texts(id);
                self.fields.push(Field { key, label: None, kind, values, node: Some(id) });
            }
            Content::List if document.children(id).all(|item| self.member(item, &["value"]).is_some()) => {
                for item in document.children(id) {
                    let own_key = self.member(item, &KEY_NAMES).and_then(|member| document.text(member));
                    let key = own_key.unwrap_or_else(|| self.child_key(key, item));
                    self.describe(item, key);
                }
            }
            Content::Record if self.member(id, &["value"]).is_some() => self.describe(id, key),
            Content::Record | Content::List => self.open(id, key),
            content => {
                let kind = matches!(content, Content::File(_)).then_some("file");
                let values = self.one(document.text(id));
                self.fields.push(Field { key, label: None, kind, values, node: Some(id) });
            }
        }
    }

    /// Reads a record that describes a field: all of it is the field.
    fn describe(&mut self, record: NodeId, key: &'a str) {
        let document = self.document;
        let text = |names: &[&str]| self.member(record, names).and_then(|member| document.text(member));
        let values = match self.member(record, &["value"]) {
            Some(list) if document.content(list) == Content::List => self.texts(list),
            value => self.one(value.and_then(|value| document.text(value))),
        };
        let label = text(&LABEL_NAMES);
        let kind = text(&["type"]);
        self.fields.push(Field { key, label, kind, values, node: Some(record) });
    }

    fn holds_containers(&self, id: NodeId) -> bool {
        self.document.children(id).any(|item| self.document.is_container(item))
    }

    /// Returns the first member of one of the names.
    fn member(&self, record: NodeId, names: &[&str]) -> Option<NodeId> {
        let is_record = self.document.content(record) == Content::Record;
        is_record.then(|| names.iter().find_map(|name| self.document.member(record, name)))?
    }

    fn texts(&self, container: NodeId) -> &'a [&'a str] {
        let texts = self.document.children(container).filter_map(|item| self.document.text(item));
        bumpalo::collections::Vec::from_iter_in(texts, self.arena).into_bump_slice()
    }

    fn one(&self, text: Option<&'a str>) -> &'a [&'a str] {
        text.map_or(&[], |text| self.arena.alloc_slice_copy(&[text]))
    }

    /// Names a value as its encoding writes the way to it.
    fn child_key(&self, parent: &'a str, child: NodeId) -> &'a str {
        // It is refused once all are collected: until then nothing is made of it, or each child would copy it.
        if parent.len() > LIMITS.key_bytes {
            return parent;
        }
        let arena = self.arena;
        match (parent, self.document.key(child), self.style) {
            ("", Key::Name(name), _) => name,
            ("", Key::Index(index), _) => bumpalo::format!(in arena, "{}", index).into_bump_str(),
            (_, Key::Name(name), Style::Brackets) => joined(arena, [parent, "[", name, "]"]),
            (_, Key::Name(name), Style::Dots) => joined(arena, [parent, ".", name, ""]),
            (_, Key::Index(index), Style::Brackets) => {
                bumpalo::format!(in arena, "{}[{}]", parent, index).into_bump_str()
            }
            (_, Key::Index(index), Style::Dots) => bumpalo::format!(in arena, "{}.{}", parent, index).into_bump_str(),
            (_, Key::Root | Key::Next, _) => "",
        }
    }
}

/// Writes texts as one.
pub(super) fn joined<'a>(arena: &'a Arena, parts: [&str; 4]) -> &'a str {
    let mut text = bumpalo::collections::String::with_capacity_in(parts.iter().map(|part| part.len()).sum(), arena);
    parts.iter().for_each(|part| text.push_str(part));
    text.into_bump_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the keys and kinds of what is built under the root.
    fn read(style: Style, root: Content<'static>, build: impl FnOnce(&mut Document<'static>)) -> Vec<(String, String)> {
        let arena = Arena::new();
        let mut document = Document::record(0);
        document.set_content(document.root(), root);
        build(&mut document);
        let document: Document<'_> = document;
        let told = |field: Field<'_>| (field.key.to_owned(), field.kind.unwrap_or_default().to_owned());
        collect(&document, style, &arena).into_iter().map(told).collect()
    }

    #[test]
    fn values_without_names_are_called_by_their_place() {
        let keys = read(Style::Dots, Content::List, |document| {
            for index in 0..2 {
                document.push(Some(document.root()), Key::Index(index), Content::Text("a"));
            }
        });
        assert_eq!(keys, [("0".to_owned(), String::new()), ("1".to_owned(), String::new())]);
        assert_eq!(read(Style::Dots, Content::List, |_| {}), []);
    }

    #[test]
    fn a_file_says_that_it_is_one() {
        let add_file = |document: &mut Document<'static>, parent, key| {
            let file = document.push(Some(parent), key, Content::Record);
            document.set_file(file, "x.txt", None, "1");
        };
        let expected = [("a".to_owned(), "file".to_owned())];
        let alone = read(Style::Brackets, Content::Record, |document| {
            add_file(document, document.root(), Key::Name("a"));
        });
        assert_eq!(alone, expected);
        let listed = read(Style::Brackets, Content::Record, |document| {
            let list = document.push(Some(document.root()), Key::Name("a"), Content::List);
            (0..2).for_each(|index| add_file(document, list, Key::Index(index)));
        });
        assert_eq!(listed, expected);
        let text = read(Style::Brackets, Content::Record, |document| {
            document.push(Some(document.root()), Key::Name("a"), Content::Text("x.txt"));
        });
        assert_eq!(text, [("a".to_owned(), String::new())]);
    }
}

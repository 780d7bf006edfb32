//! The fields of a document: each top-level member, opened where it only holds others, described where a list says of each
//! field what it is.

mod columns;

mod definitions;

mod files;

mod lines;

mod rows;

use super::LIMITS;
use std::collections::HashSet;

use super::document::{Arena, ContainerKind, Content, Document, Hashing, MemberKey, NodeId};
use columns::{Columns, RecordContainer};
use definitions::Definitions;

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

/// What names a record whose members are the labels of those of another, or their types.
const LABEL_RECORDS: [&str; 6] = ["labels", "label", "titles", "questions", "field_labels", "fieldLabels"];
const TYPE_RECORDS: [&str; 4] = ["types", "field_types", "fieldTypes", "input_types"];
/// Most members of a record, and lines of a text, that are the parts of one answer.
const PARTS_MAX: usize = 12;

/// Collects the fields in order.
///
/// A record with a `value` is one field, and so is each record of a list that is made of such; other records are opened.
/// What only defines fields is none, and tells of those that are filled in elsewhere.
pub(super) fn collect<'a>(document: &Document<'a>, style: Style, arena: &'a Arena) -> Vec<Field<'a>> {
    let root = document.root();
    let fields = Vec::with_capacity(document.children(root).count());
    let has_address = has_plain_address(document);
    let mut collector = Collector { document, style, arena, fields, definitions: Definitions::default(), has_address };
    match document.held(root) {
        ContainerKind::Record => collector.open(root, ""),
        // Values alone are fields called by their place.
        ContainerKind::List if !collector.holds_containers(root) => collector.open(root, ""),
        ContainerKind::List => collector.add(root, ""),
        ContainerKind::Nothing => {}
    }
    collector.complete();
    collector.fields
}

struct Collector<'d, 'a> {
    document: &'d Document<'a>,
    style: Style,
    arena: &'a Arena,
    fields: Vec<Field<'a>>,
    definitions: Definitions<'a>,
    /// An address stands in the document itself: what is written in a text is what somebody typed.
    has_address: bool,
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
        if self.has_address && self.is_typed(id) {
            let values = self.one(document.text(id));
            return self.fields.push(Field { key, label: None, kind: None, values, node: Some(id) });
        }
        match document.held(id) {
            ContainerKind::List if !self.holds_containers(id) => {
                let is_file = |item| matches!(document.content(item), Content::File(_));
                let kind = document.children(id).any(is_file).then_some("file");
                let values = self.texts(id);
                self.fields.push(Field { key, label: None, kind, values, node: Some(id) });
            }
            ContainerKind::List | ContainerKind::Record => self.add_container(id, key),
            ContainerKind::Nothing => {
                if let Some(lines) = document.text(id).and_then(lines::read) {
                    for (word, text) in lines {
                        let key = joined(self.arena, [key, ".", word, ""]);
                        self.fields.push(Field {
                            key,
                            label: None,
                            kind: None,
                            values: self.one(Some(text)),
                            node: Some(id),
                        });
                    }
                    return;
                }
                let kind = matches!(document.content(id), Content::File(_)).then_some("file");
                let values = self.one(document.text(id));
                self.fields.push(Field { key, label: None, kind, values, node: Some(id) });
            }
        }
    }

    fn add_container(&mut self, id: NodeId, key: &'a str) {
        let document = self.document;
        if let Some(values) = files::read(document, id, self.arena) {
            return self.push(key, None, Some("file"), values, id);
        }
        if let Some(rows) = rows::read(document, id) {
            for row in rows {
                let values = self.arena.alloc_slice_copy(&row.values);
                self.push(row.label, Some(row.label), None, values, row.node);
            }
            return;
        }
        let is_field = |value| self.is_answer(value);
        if document.held(id) == ContainerKind::Record && document.member(id, "value").is_some_and(is_field) {
            return self.describe(id, key, &Columns::of_one(document, id));
        }
        match columns::read(document, id) {
            Some(RecordContainer::Fields(columns)) => self.add_list(id, key, &columns),
            Some(RecordContainer::Definition(columns)) => self.definitions.add(document, id, &columns),
            None if self.tells_of_others(id, &LABEL_RECORDS) => {
                self.texts_of(id).into_iter().for_each(|(id, label)| self.definitions.add_label(id, label));
            }
            None if self.tells_of_others(id, &TYPE_RECORDS) => {
                self.texts_of(id).into_iter().for_each(|(id, kind)| self.definitions.add_kind(id, kind));
            }
            // A table in a text is one answer; who writes it, makes it readable.
            None if document.held(id) == ContainerKind::List && document.text(id).is_some() => {
                self.push(key, None, None, self.one(document.text(id)), id);
            }
            None => self.open(id, key),
        }
    }

    fn push(
        &mut self,
        key: &'a str,
        label: Option<&'a str>,
        kind: Option<&'a str>,
        values: &'a [&'a str],
        node: NodeId,
    ) {
        self.fields.push(Field { key, label, kind, values, node: Some(node) });
    }

    fn add_list(&mut self, list: NodeId, key: &'a str, columns: &Columns<'a>) {
        let document = self.document;
        for record in document.children(list) {
            self.definitions.add_options(document, record);
            let own_key = columns.key.and_then(|key| document.text(key.of(document, record)?));
            let key = own_key.unwrap_or_else(|| self.child_key(key, record));
            self.describe(record, key, columns);
        }
    }

    /// Returns what the members of a record are called, and their texts.
    fn texts_of(&self, record: NodeId) -> Vec<(&'a str, &'a str)> {
        let document = self.document;
        let told = |member| match document.key(member) {
            MemberKey::Name(id) => Some((id, document.text(member)?)),
            _ => None,
        };
        document.children(record).filter_map(told).collect()
    }

    /// Tells whether a text that was opened may be a visitor's: a record, or pairs, that define nothing.
    fn is_typed(&self, id: NodeId) -> bool {
        let defines = |id| matches!(columns::read(self.document, id), Some(RecordContainer::Definition(_)));
        matches!(self.document.content(id), Content::Text(_))
            && self.document.held(id) == ContainerKind::Record
            && !defines(id)
            && !self.document.children(id).any(defines)
    }

    /// Tells whether a record of one of these names tells of the members of another one beside it.
    fn tells_of_others(&self, id: NodeId, names: &[&str]) -> bool {
        let document = self.document;
        let MemberKey::Name(name) = document.key(id) else { return false };
        let Some(parent) = document.parent(id).filter(|_| names.contains(&name)) else { return false };
        let name_of = |member| match document.key(member) {
            MemberKey::Name(name) => Some(name),
            _ => None,
        };
        let names: HashSet<&str, Hashing> = document.children(id).filter_map(name_of).collect();
        let is_beside = |other: NodeId| {
            let shared = document.children(other).filter_map(name_of).filter(|name| names.contains(name)).count();
            other != id && shared * 2 >= names.len() && shared > 0
        };
        document.held(id) == ContainerKind::Record && document.children(parent).take(PARTS_MAX).any(is_beside)
    }

    /// Reads a record that describes a field: all of it is the field.
    fn describe(&mut self, record: NodeId, key: &'a str, columns: &Columns<'a>) {
        let document = self.document;
        let text = |column: Option<columns::Column<'a>>| document.text(column?.of(document, record)?);
        let label = text(columns.label).filter(|label| !label.trim().is_empty());
        let kind = text(columns.kind);
        let value = columns.value_of(document, record);
        let value =
            value.or_else(|| columns::under_its_type(document, record, columns)).map(|value| self.inmost(value));
        let parts = value
            .filter(|value| document.held(*value) == ContainerKind::Record)
            .map(|value| self.parts(value))
            .unwrap_or_default();
        if parts.len() > 1 {
            for (name, part) in parts {
                let arena = self.arena;
                let label = label.map(|label| joined(arena, [label, " ", name, ""]));
                let field = Field {
                    key: joined(arena, [key, ".", name, ""]),
                    label,
                    kind: None,
                    values: self.one(Some(part)),
                    node: value,
                };
                self.fields.push(field);
            }
            return;
        }
        let values = match value.map(|value| (value, document.held(value))) {
            None => &[],
            Some((value, ContainerKind::Nothing)) => self.one(document.text(value)),
            Some((value, _)) => self.texts(value),
        };
        self.fields.push(Field { key, label, kind, values, node: Some(record) });
    }

    /// Tells whether a value can be what was filled in for one field: no tree of others.
    fn is_answer(&self, value: NodeId) -> bool {
        match self.document.held(value) {
            ContainerKind::Nothing => true,
            ContainerKind::List => !self.holds_containers(value),
            ContainerKind::Record => {
                !self.holds_containers(value) && self.document.children(value).count() <= PARTS_MAX
            }
        }
    }

    /// Goes into records that hold nothing but one value.
    fn inmost(&self, value: NodeId) -> NodeId {
        let document = self.document;
        let only = |id: &NodeId| {
            let mut children = document.children(*id).filter(|_| document.held(*id) == ContainerKind::Record);
            let first = children.next()?;
            let labelled = || ["label", "labels", "text", "value"].iter().find_map(|name| document.member(*id, name));
            if children.next().is_none() { Some(first) } else { labelled() }
        };
        std::iter::successors(Some(value), only).take(LIMITS.depth).last().unwrap_or(value)
    }

    /// Returns the texts that a record holds under names, where it holds nothing else.
    fn parts(&self, record: NodeId) -> Vec<(&'a str, &'a str)> {
        let document = self.document;
        let part = |member| match document.key(member) {
            MemberKey::Name(name) => Some((name, document.text(member)?)),
            _ => None,
        };
        let parts: Vec<_> = document.children(record).filter_map(part).take(PARTS_MAX + 1).collect();
        if parts.len() > PARTS_MAX { Vec::new() } else { parts }
    }

    /// Tells of each field what definitions know of it.
    fn complete(&mut self) {
        if self.definitions.is_empty() {
            return;
        }
        for field in &mut self.fields {
            let name = match field.node.map(|node| self.document.key(node)) {
                Some(MemberKey::Name(name)) if field.label.is_none() => name,
                _ => field.key,
            };
            let id = field.node.and_then(|node| self.document.text(self.document.member(node, "id")?));
            self.definitions.complete(field, [Some(name), id], self.arena);
        }
    }

    fn holds_containers(&self, id: NodeId) -> bool {
        self.document.children(id).any(|item| self.document.is_container(item))
    }

    /// Returns all texts that a container holds.
    fn texts(&self, container: NodeId) -> &'a [&'a str] {
        let mut texts = bumpalo::collections::Vec::new_in(self.arena);
        self.add_texts(container, &mut texts);
        texts.into_bump_slice()
    }

    fn add_texts(&self, container: NodeId, texts: &mut bumpalo::collections::Vec<'a, &'a str>) {
        for item in self.document.children(container) {
            match self.document.held(item) {
                ContainerKind::Nothing => texts.extend(self.document.text(item)),
                ContainerKind::List | ContainerKind::Record => self.add_texts(item, texts),
            }
        }
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
            ("", MemberKey::Name(name), _) => name,
            ("", MemberKey::Index(index), _) => bumpalo::format!(in arena, "{}", index).into_bump_str(),
            (_, MemberKey::Name(name), Style::Brackets) => joined(arena, [parent, "[", name, "]"]),
            (_, MemberKey::Name(name), Style::Dots) => joined(arena, [parent, ".", name, ""]),
            (_, MemberKey::Index(index), Style::Brackets) => {
                bumpalo::format!(in arena, "{}[{}]", parent, index).into_bump_str()
            }
            (_, MemberKey::Index(index), Style::Dots) => {
                bumpalo::format!(in arena, "{}.{}", parent, index).into_bump_str()
            }
            (_, MemberKey::Root | MemberKey::Next, _) => "",
        }
    }
}

/// Tells whether an address stands in a document, and not in a text that was opened.
fn has_plain_address(document: &Document<'_>) -> bool {
    let is_text = |id: &NodeId| matches!(document.content(*id), Content::Text(text) if looks_like_address(text));
    let is_plain =
        |id: NodeId| !document.way(id).skip(1).any(|outer| matches!(document.content(outer), Content::Text(_)));
    document.ids().filter(is_text).take(ADDRESSES_MAX).any(is_plain)
}

/// How many addresses are looked at.
const ADDRESSES_MAX: usize = 16;

/// Tells whether a text looks like an e-mail address: what tells a column of answers from one of labels.
fn looks_like_address(text: &str) -> bool {
    let halves = text.trim().split_once('@');
    let is_host = |host: &str| host.contains('.') && !host.contains('@') && !host.ends_with('.');
    halves.is_some_and(|(local, host)| !local.is_empty() && is_host(host)) && !text.trim().contains(char::is_whitespace)
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
                document.push(Some(document.root()), MemberKey::Index(index), Content::Text("a"));
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
            add_file(document, document.root(), MemberKey::Name("a"));
        });
        assert_eq!(alone, expected);
        let listed = read(Style::Brackets, Content::Record, |document| {
            let list = document.push(Some(document.root()), MemberKey::Name("a"), Content::List);
            (0..2).for_each(|index| add_file(document, list, MemberKey::Index(index)));
        });
        assert_eq!(listed, expected);
        let text = read(Style::Brackets, Content::Record, |document| {
            document.push(Some(document.root()), MemberKey::Name("a"), Content::Text("x.txt"));
        });
        assert_eq!(text, [("a".to_owned(), String::new())]);
    }
}

//! What a form's definition tells of fields that are filled in elsewhere: labels, types and the texts of options, by id.

use std::collections::HashMap;

use super::super::document::{ContainerKind, Document, Hashing, MemberKey, NodeId};
use super::Field;
use super::columns::Columns;

/// What members of a definition hold its options, and its parts.
const OPTIONS: [&str; 7] = ["options", "choices", "enum", "answerOptions", "items", "rows", "columns"];
const PARTS: [&str; 4] = ["inputs", "fields", "subfields", "children"];
const OPTION_IDS: [&str; 5] = ["id", "value", "key", "ref", "name"];
const OPTION_TEXTS: [&str; 5] = ["text", "label", "title", "name", "display"];

/// All that the definitions of a document tell, by the id of the field.
#[derive(Default)]
pub(super) struct Definitions<'a> {
    fields: HashMap<&'a str, FieldDefinition<'a>, Hashing>,
    /// The texts of options that are chosen by an id that nobody can read.
    options: HashMap<&'a str, &'a str, Hashing>,
}

/// Label and type of a field, from its definition.
#[derive(Clone, Copy, Default)]
struct FieldDefinition<'a> {
    label: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Definitions<'a> {
    /// Adds what a list of definitions tells.
    pub(super) fn add(&mut self, document: &Document<'a>, container: NodeId, columns: &Columns<'a>) {
        for record in document.children(container) {
            let text = |column: Option<super::columns::Column<'a>>| document.text(column?.of(document, record)?);
            let told = FieldDefinition { label: text(columns.label), kind: text(columns.kind) };
            let own_name = match document.key(record) {
                MemberKey::Name(name) => Some(name),
                _ => None,
            };
            for id in [text(columns.key), own_name, told.label].into_iter().flatten() {
                self.fields.entry(id).or_insert(told);
            }
            self.add_other_ids(document, record, told);
            self.add_options(document, record);
            for parts in PARTS.iter().filter_map(|name| document.member(record, name)) {
                self.add_parts(document, parts, told);
            }
        }
    }

    /// A field may be answered under another of its names.
    fn add_other_ids(&mut self, document: &Document<'a>, record: NodeId, told: FieldDefinition<'a>) {
        for name in ["id", "ref", "key", "name", "slug", "fieldName", "field_id"] {
            if let Some(id) = document.member(record, name).and_then(|member| document.text(member)) {
                self.fields.entry(id).or_insert(told);
            }
        }
    }

    fn add_parts(&mut self, document: &Document<'a>, parts: NodeId, whole: FieldDefinition<'a>) {
        for part in document.children(parts) {
            let text = |names: &[&str]| names.iter().find_map(|name| document.text(document.member(part, name)?));
            if let (Some(id), label) = (text(&["id", "key", "name"]), text(&["label", "title"])) {
                self.fields.entry(id).or_insert(FieldDefinition { label: label.or(whole.label), kind: None });
            }
        }
    }

    /// Adds the options that stand beside a field.
    pub(super) fn add_options(&mut self, document: &Document<'a>, record: NodeId) {
        let lists = OPTIONS.iter().filter_map(|name| document.member(record, name));
        for option in lists.flat_map(|list| document.children(list)) {
            if document.held(option) != ContainerKind::Record {
                continue;
            }
            let text = |names: &[&str]| names.iter().find_map(|name| document.text(document.member(option, name)?));
            if let (Some(id), Some(label)) = (text(&OPTION_IDS), text(&OPTION_TEXTS))
                && id != label
            {
                self.options.insert(id, label);
            }
        }
    }

    /// Adds labels that stand in a record of their own beside that of the values: `{"labels": {"f1": "Your name"}}`.
    pub(super) fn add_label(&mut self, id: &'a str, label: &'a str) {
        let told = self.fields.entry(id).or_default();
        told.label = told.label.or(Some(label));
    }

    /// Adds types that stand so: `{"field_types": {"f1": "textarea"}}`.
    pub(super) fn add_kind(&mut self, id: &'a str, kind: &'a str) {
        let told = self.fields.entry(id).or_default();
        told.kind = told.kind.or(Some(kind));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.options.is_empty()
    }

    /// Completes a field; `ids` are what it is called in its record, and by it.
    pub(super) fn complete(&self, field: &mut Field<'a>, ids: [Option<&str>; 2], arena: &'a super::super::Arena) {
        let of = |id: &str| self.fields.get(id);
        // What stands beside the answer may be the id, where nothing says so.
        let by_label = field.label.and_then(of).filter(|told| told.label.is_some());
        field.label = by_label.map_or(field.label, |told| told.label);
        if let Some(told) = ids.into_iter().flatten().find_map(of).or(by_label).or_else(|| of(field.key)) {
            field.label = field.label.or(told.label);
            field.kind = field.kind.or(told.kind);
        }
        if field.values.iter().any(|value| self.options.contains_key(value)) {
            let read = |value: &&'a str| self.options.get(value).copied().unwrap_or(value);
            field.values = arena.alloc_slice_fill_iter(field.values.iter().map(read));
        }
    }
}

//! A submission as its mapping sees it: the fields the plugin describes, and how selectors find values in them.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use bumpalo::collections::Vec as ArenaVec;

use super::combine::combine;
use super::describe::describe;
use super::fold::folds_to;
use super::form_field::FormField;
use super::mapping::Mapping;
use super::selector::{FieldName, Selector};
use super::texts::{split, split_choices, texts};
use crate::decode::{Field, Hashing, NodeId, Submission};

/// Begins a selector that names a query parameter beside a body.
const QUERY_PREFIX: &str = "query.";

/// A submission seen through a mapping.
pub(super) struct View<'a> {
    pub(super) submission: &'a Submission<'a>,
    pub(super) fields: Vec<FormField<'a>>,
    /// Which fields stand for which nodes, sorted; made when it is first asked for.
    by_node: OnceCell<Vec<(NodeId, usize)>>,
    /// The fields that were found last.
    last_at: Cell<&'a [usize]>,
}

/// A value that a selector found, and the fields it came from.
#[derive(Clone, Copy)]
pub(super) struct SelectedValue<'a> {
    pub(super) text: &'a str,
    /// Indices into [`View::fields`].
    pub(super) from: &'a [usize],
}

impl<'a> View<'a> {
    pub(super) fn new(submission: &'a Submission<'a>, mapping: &'a Mapping) -> Self {
        let mut fields: Vec<FormField<'a>> = submission.fields.iter().copied().map(FormField::plain).collect();
        describe(submission, &mapping.fields, &mut fields);
        let mark = mapping.values.split.as_deref();
        for form_field in fields.iter_mut().filter(|_| mark.is_none()) {
            form_field.field.values = split_choices(submission, form_field.field.values);
        }
        if let Some(mark) = mark {
            for form_field in &mut fields {
                form_field.field.values = split(submission, form_field.field.values, Some(mark));
            }
        }
        combine(&mapping.combine, submission, &mut fields);
        Self { submission, fields, by_node: OnceCell::new(), last_at: Cell::new(&[]) }
    }

    /// Returns the non-empty values a selector names, in order.
    pub(super) fn find(&self, selector: &Selector, split_mark: Option<&str>) -> &'a [SelectedValue<'a>] {
        match selector {
            Selector::Path(path) => {
                let mut found = ArenaVec::new_in(self.submission.arena);
                match path.only(&self.submission.document) {
                    Some(only) => only.into_iter().for_each(|node| self.found_at(node, split_mark, &mut found)),
                    None => {
                        let nodes = path.nodes(self.submission);
                        nodes.into_iter().for_each(|node| self.found_at(node, split_mark, &mut found));
                    }
                }
                found.into_bump_slice()
            }
            Selector::Field(name) => self.find_field(name),
        }
    }

    fn found_at(&self, node: NodeId, split_mark: Option<&str>, found: &mut ArenaVec<'a, SelectedValue<'a>>) {
        let values = split(self.submission, texts(self.submission, node), split_mark);
        if values.is_empty() {
            return;
        }
        let at = self.standing_at(node);
        let holding = Holding::new(self, at);
        found.extend(values.iter().map(|text| SelectedValue { text, from: holding.of(text) }));
    }

    /// Returns the fields that stand for a node or for what it stands in.
    fn standing_at(&self, node: NodeId) -> &'a [usize] {
        let document = &self.submission.document;
        let by_node = self.by_node.get_or_init(|| {
            let indexed = self.fields.iter().enumerate();
            let nodes =
                indexed.flat_map(|(index, form_field)| form_field.names().map(move |field| (field.node, index)));
            let mut by_node: Vec<(NodeId, usize)> =
                nodes.filter_map(|(node, index)| Some((document.standing(node?), index))).collect();
            by_node.sort_unstable();
            by_node
        });
        let mut at = Vec::new();
        for node in document.way(node) {
            let start = by_node.partition_point(|(other, _)| *other < node);
            at.extend(by_node.iter().skip(start).take_while(|(other, _)| *other == node).map(|(_, index)| *index));
        }
        at.sort_unstable();
        at.dedup();
        // The items of a list mostly stand at one place: what they have in common is kept once.
        if self.last_at.get() != at {
            self.last_at.set(self.submission.arena.alloc_slice_copy(&at));
        }
        self.last_at.get()
    }

    fn find_field(&self, name: &FieldName) -> &'a [SelectedValue<'a>] {
        let mut found = ArenaVec::new_in(self.submission.arena);
        if let Some(parameter) = name.name.strip_prefix(QUERY_PREFIX) {
            let pairs = self.submission.query.iter().filter(|(key, value)| *key == parameter && !value.is_empty());
            found.extend(pairs.map(|(_, text)| SelectedValue { text, from: &[] }));
            return found.into_bump_slice();
        }
        self.named(name, |index, field| {
            let from = self.submission.arena.alloc_slice_copy(&[index]);
            found.extend(field.values.iter().map(|text| SelectedValue { text, from }));
        });
        found.into_bump_slice()
    }

    /// Tells the fields of a name: by key, else by label, else by either with case, accents and punctuation aside.
    fn named(&self, FieldName { name, folded }: &FieldName, mut take: impl FnMut(usize, &Field<'a>)) {
        if self.take_where(|field| field.key == name, &mut take) {
            return;
        }
        if self.take_where(|field| field.label == Some(name.as_str()), &mut take) || folded.is_empty() {
            return;
        }
        let is_loosely =
            |field: &Field<'a>| folds_to(field.key, folded) || field.label.is_some_and(|label| folds_to(label, folded));
        self.take_where(is_loosely, take);
    }

    /// Returns what a field holds, under any of its names.
    fn texts_of(&self, index: usize) -> impl Iterator<Item = &'a str> {
        let names = self.fields.get(index).into_iter().flat_map(FormField::names);
        names.flat_map(|field| field.values.iter().copied())
    }

    /// Tells the fields that are wanted, by the first of their names; returns whether there is one.
    fn take_where(&self, wanted: impl Fn(&Field<'a>) -> bool, mut take: impl FnMut(usize, &Field<'a>)) -> bool {
        let mut is_any = false;
        for (index, form_field) in self.fields.iter().enumerate() {
            if let Some(field) = form_field.names().find(|field| wanted(field)) {
                take(index, field);
                is_any = true;
            }
        }
        is_any
    }
}

/// Fields of one name share a place in the document: of those only the ones are meant that hold a value.
struct Holding<'a> {
    submission: &'a Submission<'a>,
    at: &'a [usize],
    /// Which fields hold which text; where there is one field, nobody asks.
    by_text: HashMap<&'a str, Vec<usize>, Hashing>,
}

impl<'a> Holding<'a> {
    fn new(view: &View<'a>, at: &'a [usize]) -> Self {
        let mut by_text: HashMap<&'a str, Vec<usize>, Hashing> = HashMap::default();
        for &index in at.iter().filter(|_| at.len() > 1) {
            for text in view.texts_of(index) {
                by_text.entry(text).or_default().push(index);
            }
        }
        Self { submission: view.submission, at, by_text }
    }

    /// Returns the fields that hold a text; all of them where none does.
    fn of(&self, text: &str) -> &'a [usize] {
        self.by_text.get(text).map_or(self.at, |holding| self.submission.arena.alloc_slice_copy(holding))
    }
}

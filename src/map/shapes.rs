//! The forms that were seen lately, and what was found out about each: by its shape, once.

use std::collections::HashMap;
use std::sync::Arc;

use bumpalo::collections::Vec as ArenaVec;
use parking_lot::Mutex;

use super::form_field::FormField;
use super::senses::{KnownField, Senses, containers, own_key};
use super::words::Dictionary;
use crate::decode::{Arena, Hashing, Submission};

/// Names a shape: what a form's fields are called, labelled and typed, and where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape([u8; SHAPE_BYTES]);

/// Half of a SHA-256 tells more forms apart than there are.
const SHAPE_BYTES: usize = 16;

impl Shape {
    fn of(names: &[u8]) -> Self {
        use sha2::{Digest as _, Sha256};
        let mut shape = [0; SHAPE_BYTES];
        shape.iter_mut().zip(Sha256::digest(names)).for_each(|(place, byte)| *place = byte);
        Self(shape)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// End a name, a field, and stand for the records that the field before stands in too: no text holds these bytes.
const NAME_END: u8 = 0xff;
const FIELD_END: u8 = 0xfe;
const SAME_RECORD: u8 = 0xfd;

/// Writes down all that a shape is made of.
fn names<'a>(submission: &Submission<'_>, fields: &[FormField<'_>], arena: &'a Arena) -> ArenaVec<'a, u8> {
    let document = &submission.document;
    let mut names = ArenaVec::with_capacity_in(NAMES_ROOM * fields.len(), arena);
    let mut add = |text: &str, end: u8| {
        names.extend_from_slice_copy(text.as_bytes());
        names.push(end);
    };
    let mut before = None;
    for form_field in fields {
        let field = &form_field.field;
        for text in [Some(field.key), Some(own_key(submission, field)), field.label, field.kind] {
            add(text.unwrap_or_default(), NAME_END);
        }
        let record = field.node.and_then(|node| document.parent(node));
        match record {
            Some(_) if record == before => add("", SAME_RECORD),
            _ => containers(submission, field.node).for_each(|name| add(name, NAME_END)),
        }
        before = record;
        add("", FIELD_END);
    }
    names
}

/// How many bytes the names of a field mostly take.
const NAMES_ROOM: usize = 48;

/// What is known of the forms that were seen lately, by their shape.
#[derive(Debug, Default)]
pub struct Shapes {
    generations: Mutex<Generations>,
}

/// What was asked for since the last change, and before it: what nobody asks for is gone after two.
#[derive(Debug, Default)]
struct Generations {
    young: ByNames,
    old: ByNames,
    /// How many bytes the young have together.
    bytes: usize,
}

/// By all their names, since to make a digest of them takes longer than to compare them.
type ByNames = HashMap<Box<[u8]>, Seen, Hashing>;

type Seen = (Shape, Arc<Senses>);

/// How many bytes a generation holds: some thousands of forms.
const GENERATION: usize = 8 * 1024 * 1024;

impl Shapes {
    /// Returns what is known of a form's fields: found out once for each shape.
    pub(super) fn senses<'n>(
        &self,
        submission: &'n Submission<'n>,
        fields: &[FormField<'n>],
        dictionary: &Dictionary,
    ) -> (Shape, Arc<Senses>) {
        let names = names(submission, fields, submission.arena);
        if let Some(known) = self.generations.lock().known(&names) {
            return known;
        }
        let seen = (Shape::of(&names), Arc::new(Senses::of(submission, fields, dictionary)));
        self.generations.lock().keep(Box::from(&*names), seen.clone());
        seen
    }
}

impl Generations {
    fn known(&mut self, names: &[u8]) -> Option<Seen> {
        if let Some(seen) = self.young.get(names) {
            return Some(seen.clone());
        }
        let (names, seen) = self.old.remove_entry(names)?;
        self.keep(names, seen.clone());
        Some(seen)
    }

    fn keep(&mut self, names: Box<[u8]>, seen: Seen) {
        if self.bytes >= GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += names.len() + size_of::<Senses>() + seen.1.fields.len() * size_of::<KnownField>();
        self.young.insert(names, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::form;

    fn seen(shapes: &Shapes, body: &str) -> Seen {
        let arena = Arena::new();
        let submission = form(body, &arena);
        let fields: Vec<_> = submission.fields.iter().copied().map(FormField::plain).collect();
        shapes.senses(&submission, &fields, &Dictionary::default())
    }

    #[test]
    fn a_shape_is_told_by_names_and_places_and_not_by_values() {
        let shapes = Shapes::default();
        let (shape, senses) = seen(&shapes, "name=Ann&a[b]=1&a[c]=2");
        assert!(Arc::ptr_eq(&senses, &seen(&shapes, "name=&a[b]=x&a[c]=y").1));
        for other in ["name=Ann&a[b]=1&a[d]=2", "name=Ann&a[b]=1&c=2", "name=Ann&a[b]=1", "na=Ann&me=1&a[b]=1&a[c]=2"] {
            assert_ne!(seen(&shapes, other).0, shape, "{other}");
        }
        let text = shape.to_string();
        assert!(text.len() == 2 * SHAPE_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut generations = Generations::default();
        let names = |number: usize| format!("{number:0>60000}").into_bytes();
        let forms = 3 * GENERATION / names(0).len();
        for number in 0..forms {
            let seen = (Shape::of(&names(number)), Arc::default());
            generations.keep(Box::from(names(number)), seen);
            assert!(generations.known(&names(0)).is_some(), "what is asked for stays");
        }
        let kept = generations.young.len() + generations.old.len();
        assert!(kept < forms * 3 / 4, "{kept} of {forms}");
        assert!(generations.known(&names(1)).is_none());
    }
}

//! Finding the lead fields that no rule names: every field is weighed for every part it may play, and the parts that go best
//! together win.
//!
//! What is known without the values (labels, keys, types, places) is in `senses`; what the values look like in [`value`].
//! `email`, `phone`, `name` and `message` weigh; `assign` puts together.

mod assign;

mod email;

mod mail;

mod message;

mod name;

mod number;

mod parts;

mod phone;

mod score;

mod value;

use std::cell::OnceCell;

use bumpalo::collections::Vec as ArenaVec;

use super::copies::Copies;
use super::form_field::FormField;
use super::senses::{KnownField, Senses};
use super::view::View;
use super::words::{Dictionary, Owner, Role};
use crate::decode::{Document, NodeId, Submission};
use crate::lead::{LeadField, Region};
pub use score::{Score, ScoreReason};

/// What auto found for a field, and why.
///
/// `Debug` shows no value.
#[derive(Clone, Copy)]
pub struct Guess<'a> {
    pub(super) text: &'a str,
    /// Indices into the view's fields, sorted.
    pub(super) from: &'a [usize],
    pub(super) score: Score,
    /// How sure it is, 0 to 1.
    pub confidence: f32,
}

impl std::fmt::Debug for Guess<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guess").field("from", &self.from).field("score", &self.score.total()).finish_non_exhaustive()
    }
}

/// Something that may be a lead field, and how much speaks for it.
///
/// No `Debug`: it is personal data.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub text: &'a str,
    /// Indices into the view's fields, sorted.
    pub from: &'a [usize],
    pub score: Score,
}

/// The fields that auto found.
#[derive(Clone, Default)]
pub(super) struct AutoResult<'a> {
    pub(super) guesses: Vec<(LeadField, Guess<'a>)>,
    /// All that was weighed and isn't too light, the heaviest of each field first.
    pub(super) candidates: Vec<(LeadField, Candidate<'a>)>,
}

impl<'a> Candidate<'a> {
    fn guess(self, confidence: f32) -> Guess<'a> {
        Guess { text: self.text, from: self.from, score: self.score, confidence }
    }

    fn shares_a_field(&self, other: &Self) -> bool {
        self.from.iter().any(|index| other.from.contains(index))
    }
}

/// The fields that are still free, with all that is known of them.
struct Auto<'v, 'a> {
    submission: &'a Submission<'a>,
    dictionary: &'a Dictionary,
    region: Option<Region>,
    fields: &'v [FormField<'a>],
    senses: &'v Senses,
    copies: OnceCell<Copies<'a>>,
    /// The field of the e-mail, where a rule names it.
    email: Option<usize>,
    /// Indices of the fields that may be taken.
    free: Vec<usize>,
}

/// Finds the lead fields that are `open`. `is_closed` tells which form fields rules already used, or drop.
pub(super) fn find<'a>(
    view: &View<'a>,
    senses: &Senses,
    dictionary: &'a Dictionary,
    region: Option<Region>,
    open: impl Fn(LeadField) -> bool,
    is_closed: impl Fn(usize) -> bool,
    email: Option<usize>,
) -> AutoResult<'a> {
    let indexed = view.fields.iter().enumerate();
    let free = indexed.filter(|(index, field)| !field.meta && !is_closed(*index)).map(|(index, _)| index).collect();
    let auto = Auto {
        submission: view.submission,
        dictionary,
        region,
        fields: &view.fields,
        senses,
        copies: OnceCell::new(),
        email,
        free,
    };
    assign::assign(&auto, open)
}

impl<'v, 'a> Auto<'v, 'a> {
    /// Tells whether a text tells the whole form once more.
    fn is_copy(&self, text: &str) -> bool {
        text.contains('@') && self.copies.get_or_init(|| Copies::of(self.fields)).make(text)
    }

    fn free(&self) -> impl DoubleEndedIterator<Item = One<'_, 'a>> {
        self.free.iter().filter_map(|index| self.one(*index))
    }

    fn one(&self, index: usize) -> Option<One<'_, 'a>> {
        let form_field = self.fields.get(index)?;
        let known = *self.senses.fields.get(index)?;
        Some(One { index, form_field, known })
    }

    fn document(&self) -> &'a Document<'a> {
        &self.submission.document
    }

    /// Returns the record a field stands in.
    fn record(&self, index: usize) -> Option<NodeId> {
        self.document().container(self.fields.get(index)?.field.node?)
    }

    fn alone(&self, index: usize) -> &'a [usize] {
        self.submission.arena.alloc_slice_copy(&[index])
    }

    fn sorted(&self, from: impl IntoIterator<Item = usize>) -> &'a [usize] {
        let mut from = ArenaVec::from_iter_in(from, self.submission.arena);
        from.sort_unstable();
        from.into_bump_slice()
    }
}

/// Whom the lead is about, once an e-mail is chosen: fields of the same person go with it.
#[derive(Clone, Copy, Debug, Default)]
struct Whose {
    /// The field of the e-mail.
    email: Option<usize>,
    record: Option<NodeId>,
    stem: u32,
    /// The e-mail is said to be another's, and is the only one: then that person is the visitor.
    is_another: bool,
    /// There is no other address that a name could decide between.
    is_only: bool,
}

impl Whose {
    fn of(auto: &Auto<'_, '_>, email: Option<usize>, is_only: bool) -> Self {
        let one = email.and_then(|index| auto.one(index));
        let record = email.and_then(|index| auto.record(index));
        let sense = one.map(|one| one.known.sense).unwrap_or_default();
        Self { email, record, stem: sense.stem, is_another: sense.owner == Owner::Person, is_only }
    }

    /// Tells whether a field is said to be of the same person as the e-mail.
    fn is_same(&self, auto: &Auto<'_, '_>, one: &One<'_, '_>) -> bool {
        let is_whole = self.record == Some(auto.document().root());
        (self.stem > 1 && one.known.sense.stem == self.stem) || (!is_whole && self.is_in_record(auto, one))
    }

    fn is_in_record(&self, auto: &Auto<'_, '_>, one: &One<'_, '_>) -> bool {
        self.record.is_some() && auto.record(one.index) == self.record
    }

    /// Tells whether a field is somebody else's.
    fn is_of_another(&self, auto: &Auto<'_, '_>, one: &One<'_, '_>) -> bool {
        one.known.sense.owner == Owner::Person && !(self.is_another && self.is_same(auto, one))
    }
}

/// One free field.
#[derive(Clone, Copy)]
struct One<'v, 'a> {
    index: usize,
    form_field: &'v FormField<'a>,
    known: KnownField,
}

impl<'a> One<'_, 'a> {
    fn values(&self) -> &'a [&'a str] {
        self.form_field.field.values
    }

    fn single(&self) -> Option<&'a str> {
        match self.values() {
            [only] => Some(only),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.values().iter().all(|value| value.trim().is_empty())
    }

    fn role(&self) -> Role {
        self.known.sense.role
    }
}

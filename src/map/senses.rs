//! What is known of a form's fields before anything is filled in: by label, key, type and place.

use std::collections::{HashMap, HashSet};

use super::campaign::Tag;
use super::form_field::FormField;
use super::kind::FieldKind;
use super::shape;
use super::words::{About, Dictionary, Languages, Owner, Role, Sense, plain_words};
use crate::decode::{Field, Hashing, MemberKey, NodeId, Submission};

/// What is known about one field without its value.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownField {
    pub sense: Sense,
    pub(super) kind: FieldKind,
    /// The record it stands in belongs to the form, the page, the campaign.
    pub(super) is_of_a_system: bool,
    /// The record it stands in tells of a thing that may be the visitor's or not.
    pub(super) is_of_a_thing: bool,
    /// Its key, all of it, is one of a program's.
    pub(super) is_of_a_program: bool,
    /// How deep in the document it stands.
    pub(super) depth: u8,
    /// A label that a person reads stands beside it, or a key in words.
    pub(super) is_labelled: bool,
    pub(super) is_question: bool,
    /// Its own name begins as those do that programs hide.
    pub(super) is_hidden: bool,
    /// It is called `id`, and nothing else.
    pub(super) is_named_id: bool,
    /// Its own name is a digest.
    pub(super) is_named_by_hash: bool,
    /// Which tag of a campaign it is.
    pub(super) tag: Option<Tag>,
    /// Its key is made of words, though a program may have made it up.
    pub(super) is_worded: bool,
}

/// What is known of all fields of a form.
#[derive(Clone, Debug, Default)]
pub struct Senses {
    pub fields: Vec<KnownField>,
    /// The language of its labels.
    pub(super) languages: Languages,
}

impl Senses {
    pub(super) fn of<'n>(submission: &'n Submission<'n>, fields: &[FormField<'n>], dictionary: &Dictionary) -> Self {
        let mut votes = Vec::new();
        let mut before = None;
        for form_field in fields.iter().take(NAMES_MAX) {
            let field = &form_field.field;
            dictionary.vote(field.label.unwrap_or_else(|| own_key(submission, field)), &mut votes);
            // A part of a name is called `first`, and the name by the owner of the form.
            let record = containers(submission, field.node).next().filter(|_| field.label.is_none());
            if let Some(record) = record.filter(|record| before.replace(*record) != Some(record)) {
                dictionary.vote(record, &mut votes);
            }
        }
        let languages = dictionary.most(&votes);
        let mut labels = HashSet::<&str, Hashing>::default();
        let mut shared = HashSet::default();
        for label in fields.iter().filter_map(|form_field| form_field.field.label).map(str::trim) {
            if !labels.insert(label) {
                shared.insert(label);
            }
        }
        let mut reader =
            LabelReader { dictionary, languages, shared, abouts: HashMap::default(), senses: HashMap::default() };
        let fields = fields.iter().map(|form_field| known(submission, form_field, &mut reader)).collect();
        Self { fields, languages }
    }
}

/// Fewest bytes of a word in a key.
const WORD_MIN: usize = 3;
/// How many different names of a form are read: the fields of a hostile one have a thousand, of a sentence each.
const NAMES_MAX: usize = 400;
/// How many of the records around a value are looked at.
const CONTAINERS_MAX: usize = 8;

/// Reads each label and name once.
struct LabelReader<'d, 'n> {
    dictionary: &'d Dictionary,
    languages: Languages,
    /// Labels that more than one field has.
    shared: HashSet<&'n str, Hashing>,
    abouts: HashMap<&'n str, About, Hashing>,
    senses: HashMap<&'n str, Sense, Hashing>,
}

impl<'n> LabelReader<'_, 'n> {
    fn sense(&mut self, label: &'n str) -> Sense {
        if self.senses.len() >= NAMES_MAX {
            return self.senses.get(label).copied().unwrap_or_default();
        }
        *self.senses.entry(label).or_insert_with(|| self.dictionary.sense(label, self.languages))
    }

    fn about(&mut self, name: &'n str) -> About {
        if self.abouts.len() >= NAMES_MAX {
            return self.abouts.get(name).copied().unwrap_or_default();
        }
        *self.abouts.entry(name).or_insert_with(|| self.dictionary.about(name, self.languages))
    }
}

fn known<'n>(
    submission: &'n Submission<'n>,
    form_field: &FormField<'n>,
    reader: &mut LabelReader<'_, 'n>,
) -> KnownField {
    let field = &form_field.field;
    let label = field.label.map(str::trim).filter(|label| !label.is_empty());
    let own = own_key(submission, field);
    let NamedField { mut sense, is_by_label, is_made_text } = named(label, own, reader);
    let outer = || containers(submission, field.node).chain(outer_names(field.key));
    let mut around = Around::of(outer(), reader);
    around.own(&mut sense);
    if !is_by_label && let Some(outer) = outer().next() {
        around.is_of_a_thing |= join(own, &mut sense, reader.sense(outer));
    }
    let is_key = label.is_none() && !own.contains(char::is_whitespace);
    let is_of_a_program = is_key && sense.role == Role::Machine;
    if is_key && !is_made_text && sense.role == Role::Unknown && reader.about(own).is_of_a_system {
        sense.role = Role::Machine;
    }
    // `email_2` is another one, and so is "Name 2. Person".
    let number = own.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0_u8);
    let is_ordinal = |word: &str| word.strip_suffix('.').and_then(|digits| digits.parse().ok()).is_some_and(is_another);
    let is_told = (!is_by_label && is_another(number)) || label.unwrap_or(own).split_whitespace().any(is_ordinal);
    sense.is_second |= sense.role != Role::Unknown && is_told;
    let kind = kind_of(field, own, is_by_label, sense.role);
    let is_word = |word: &str| word.len() >= WORD_MIN;
    let name = own_name(field.key);
    KnownField {
        sense,
        kind,
        is_of_a_system: around.is_of_a_system,
        is_of_a_thing: around.is_of_a_thing,
        is_of_a_program,
        depth: around.depth,
        is_hidden: name.starts_with('_'),
        is_named_id: name == "id",
        is_named_by_hash: shape::is_hash(name),
        is_labelled: label.is_some() || own.contains(char::is_whitespace),
        is_worded: kind == FieldKind::Unsaid && !is_made_text && plain_words(own).split(' ').any(is_word),
        tag: Tag::of_field(form_field, containers(submission, field.node).next()),
        is_question: label.unwrap_or(own).trim_end_matches([' ', '*', ':']).ends_with(['?', '？', '؟']),
    }
}

fn is_another(number: u8) -> bool {
    (2..10).contains(&number)
}

/// What a field's label and key say.
struct NamedField {
    sense: Sense,
    /// The label says it, and not the key.
    is_by_label: bool,
    is_made_text: bool,
}

fn named<'n>(label: Option<&'n str>, own: &'n str, reader: &mut LabelReader<'_, 'n>) -> NamedField {
    let by_label = label.map(|label| reader.sense(label)).filter(|sense| sense.role != Role::Unknown);
    let by_key = reader.sense(own);
    // A label may say less of a key or password than its key does.
    let mut sense = by_label.filter(|_| by_key.role != Role::Secret).unwrap_or(by_key);
    // Two fields may be called "Name", and one of them `child_name`.
    let is_shared = label.is_some_and(|label| reader.shared.contains(label));
    if is_shared && sense.owner == Owner::Unsaid && by_key.role == sense.role {
        sense.owner = by_key.owner;
        sense.stem = sense.stem.max(by_key.stem);
    }
    let is_made_text = FieldKind::is_made_text(own);
    if by_label.is_none() && is_made_text {
        sense = Sense { owner: sense.owner, ..Sense::default() };
    }
    NamedField { sense, is_by_label: by_label.is_some(), is_made_text }
}

/// Returns the declared kind; where none is and the name says nothing else, the one that a builder made it of.
fn kind_of(field: &Field<'_>, own: &str, is_labelled: bool, role: Role) -> FieldKind {
    match FieldKind::of(field.kind.unwrap_or_default()) {
        FieldKind::Unsaid if matches!(role, Role::Unknown | Role::Name) && !is_labelled => FieldKind::of_made(own),
        kind => kind,
    }
}

/// What the records around a value say of it.
#[derive(Default)]
struct Around {
    depth: u8,
    is_of_a_system: bool,
    is_of_a_thing: bool,
    /// Whose they are, where they say so.
    owner: Option<Owner>,
}

impl Around {
    fn of<'n>(names: impl Iterator<Item = &'n str>, reader: &mut LabelReader<'_, 'n>) -> Self {
        let mut around = Self::default();
        let mut is_told = false;
        for name in names {
            around.depth = around.depth.saturating_add(1);
            let about = reader.about(name);
            // The nearest record that says so decides: `form.answers` holds answers, `data.meta` doesn't.
            if !is_told {
                around.is_of_a_system = about.is_of_a_system;
                around.is_of_a_thing = about.is_of_a_thing;
                is_told = about.is_of_a_system || about.is_of_a_thing || about.is_of_a_submission;
            }
            if matches!(about.owner, Owner::Person | Owner::Guardian | Owner::Attendee) {
                around.owner = Some(about.owner);
            }
        }
        around
    }

    /// Says whose a field is, unless its own name says that it is the visitor's.
    fn own(&self, sense: &mut Sense) {
        if let Some(owner) = self.owner.filter(|_| sense.owner != Owner::Visitor) {
            sense.owner = owner;
            sense.stem = sense.stem.max(1);
        }
    }
}

/// Joins what the name of a part says with what that of the whole does: `phone.full`, `address.name`, `company.email`.
/// Returns whether the part belongs to a thing rather than to the visitor, unless the visitor is in the same record.
fn join(own: &str, part: &mut Sense, whole: Sense) -> bool {
    // `phone.full` is a phone, and `number.full` is told by its value.
    if own == "full" && !matches!(whole.role, Role::Name | Role::FullName) {
        *part = Sense::default();
    }
    match (part.role, whole.role) {
        (Role::Unknown | Role::Name | Role::FullName, Role::Phone | Role::Email) => {
            *part = Sense { strength: 2, ..whole };
            false
        }
        (Role::Unknown, Role::Name | Role::FullName | Role::Message | Role::Company | Role::Consent | Role::Secret) => {
            *part = Sense { strength: 1, ..whole };
            false
        }
        (Role::Message | Role::Inquiry | Role::Subject, Role::Consent | Role::Secret) => {
            part.role = whole.role;
            false
        }
        (Role::Name | Role::FullName, Role::Company) => {
            part.role = Role::Company;
            false
        }
        (Role::Email | Role::Phone, Role::Company) => {
            part.owner = if part.owner == Owner::Unsaid { Owner::Company } else { part.owner };
            false
        }
        (Role::Name | Role::Email | Role::Phone, Role::Other) => true,
        _ => false,
    }
}

/// Returns what a field is called in its record: where its key is the way to it, the end of that. A number among others says
/// nothing, nor does what holds them.
pub(super) fn own_key<'a>(submission: &Submission<'a>, field: &Field<'a>) -> &'a str {
    let document = &submission.document;
    let Some(node) = field.node else { return own_name(field.key) };
    let is_one_of_many = || document.parent(node).is_some_and(|parent| document.children(parent).nth(1).is_some());
    match document.key(node) {
        MemberKey::Name(name) if is_number(name) && field.key.ends_with([']']) && is_one_of_many() => "",
        MemberKey::Name(name) if field.key.len() > name.len() && field.key.ends_with(name) => own_name(name),
        _ => own_name(field.key),
    }
}

/// Returns the names of the records that a value stands in.
pub(super) fn containers<'s>(submission: &'s Submission<'_>, node: Option<NodeId>) -> impl Iterator<Item = &'s str> {
    let document = &submission.document;
    let way = node.into_iter().flat_map(|node| document.way(node).skip(1).take(CONTAINERS_MAX));
    way.filter_map(|node| match document.key(node) {
        MemberKey::Name(name) => Some(name),
        _ => None,
    })
}

/// Returns the last name of a way: `email` of `form_fields[email]` and of `submission.inputs.email`.
pub(super) fn own_name(key: &str) -> &str {
    let mut names = names(key).filter(|name| !is_number(name));
    names.next_back().unwrap_or_default()
}

/// Returns the names before the last of a key that is itself a way.
fn outer_names(key: &str) -> impl Iterator<Item = &str> {
    let is_way = key.contains('.') && !key.contains('[');
    names(key).rev().skip(1).take(CONTAINERS_MAX).filter(move |_| is_way)
}

fn names(key: &str) -> impl DoubleEndedIterator<Item = &str> {
    // A label may hold dots and brackets too; a way holds no white space.
    let is_way = !key.contains(char::is_whitespace);
    key.split(move |c| is_way && matches!(c, '.' | '[' | ']')).filter(|name| !name.is_empty())
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_way_is_the_field_s_own() {
        for (key, own) in [
            ("email", "email"),
            ("form_fields[email]", "email"),
            ("names[first_name]", "first_name"),
            ("submission.user_inputs.names", "names"),
            ("fields.3", "fields"),
            ("1.3", ""),
            ("E-mail (e.g. you@example.com)", "E-mail (e.g. you@example.com)"),
        ] {
            assert_eq!(own_name(key), own, "{key}");
        }
    }
}

//! What a label says of its field: its words put together.

use super::concept::Concept;
use super::{LabelReading, spans};

/// The part a field plays by its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The label says nothing that is known.
    #[default]
    Unknown,
    Email,
    Phone,
    Name,
    FirstName,
    LastName,
    FullName,
    MiddleName,
    Salutation,
    Message,
    Inquiry,
    Subject,
    Company,
    Consent,
    Machine,
    /// Whether the submission is a test.
    Test,
    Secret,
    /// A fact of any other kind, or somebody who isn't the visitor.
    Other,
}

impl Role {
    /// Returns the role as `explain` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::FullName => "full_name",
            Self::MiddleName => "middle_name",
            Self::Salutation => "salutation",
            Self::Message => "message",
            Self::Inquiry => "inquiry",
            Self::Subject => "subject",
            Self::Company => "company",
            Self::Consent => "consent",
            Self::Machine => "machine",
            Self::Test => "test",
            Self::Secret => "secret",
            Self::Other => "other",
        }
    }
}

impl Role {
    /// Tells whether it is a name or one of the two parts that most forms ask for.
    pub fn is_of_a_name(self) -> bool {
        matches!(self, Self::Name | Self::FullName | Self::FirstName | Self::LastName)
    }
}

impl Owner {
    /// Returns the owner as `explain` writes it; none where the label doesn't say.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unsaid => None,
            Self::Visitor => Some("visitor"),
            Self::Company => Some("company"),
            Self::Guardian => Some("guardian"),
            Self::Attendee => Some("attendee"),
            Self::Person => Some("person"),
        }
    }
}

/// Whose a field is by its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Owner {
    #[default]
    Unsaid,
    Visitor,
    /// A company: mostly the visitor's own.
    Company,
    /// A parent or guardian: the visitor, where a child is told of too.
    Guardian,
    /// Whom the form is about, a patient or a participant: the visitor, unless somebody else fills it in.
    Attendee,
    /// Somebody else.
    Person,
}

impl Owner {
    /// Tells whether it is the visitor's for all that is said.
    pub fn is_the_visitor(self) -> bool {
        matches!(self, Self::Unsaid | Self::Visitor)
    }

    /// Tells whether a label names somebody at all.
    pub fn is_a_person(self) -> bool {
        matches!(self, Self::Person | Self::Guardian | Self::Attendee | Self::Visitor)
    }
}

/// What a label says of its field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sense {
    pub role: Role,
    /// How much of the label says so: 3 all of it, 2 most, 1 a part.
    pub strength: u8,
    pub owner: Owner,
    /// An e-mail or a phone: either may be filled in.
    pub is_either: bool,
    /// What is asked for a second time.
    pub is_confirmation: bool,
    /// Another one of the same.
    pub is_second: bool,
    /// A word for a fact stands beside what the field is.
    pub is_mixed: bool,
    /// It is called an id, a hash, a nonce.
    pub is_id: bool,
    /// What its words say besides the part it plays, as a number; 0: nothing. Fields of one person share it.
    pub stem: u32,
    /// A program adds such fields, and visitors fill them in as well.
    pub is_trace: bool,
}

/// Tells apart whose fields are: by the words that name no part of a lead.
fn stem(reading: &LabelReading, words: &str) -> u32 {
    use std::hash::{Hash as _, Hasher as _};
    let is_of_owner = |word: &std::ops::Range<usize>| {
        let mut over =
            reading.found.iter().filter(|(_, range)| range.start < word.end && word.start < range.end).peekable();
        over.peek().is_none()
            || over.all(|(concept, _)| {
                matches!(
                    concept,
                    Concept::Person
                        | Concept::Guardian
                        | Concept::Attendee
                        | Concept::Visitor
                        | Concept::Company
                        | Concept::Other
                )
            })
    };
    let mut hasher = std::hash::DefaultHasher::new();
    let mut is_any = false;
    for word in
        spans(words).filter(is_of_owner).filter_map(|range| words.get(range)).filter(|word| word.chars().count() > 2)
    {
        // Case endings differ: `Meglers`, `Megler`.
        word.chars().take(STEM_CHARS).collect::<String>().hash(&mut hasher);
        is_any = true;
    }
    if is_any { (hasher.finish() as u32).max(1) } else { 0 }
}

/// How many letters of a word tell whose it is.
const STEM_CHARS: usize = 5;
/// What programs end the names of ids with.
const IDS: [&str; 10] = ["id", "ids", "uid", "guid", "uuid", "gid", "hash", "nonce", "checksum", "key"];
/// Words with a meaning by which a name isn't a person's.
const NOT_A_NAME: [Concept; 2] = [Concept::Other, Concept::Subject];

const OTHERS: [Concept; 3] = [Concept::Person, Concept::Guardian, Concept::Attendee];

/// Puts the words of a label together.
pub(super) fn sense(reading: &LabelReading, words: &str) -> Sense {
    let concepts = reading.concepts;
    let has = |concept| concepts.has(concept);
    let owner = match () {
        () if has(Concept::Person) => Owner::Person,
        () if has(Concept::Guardian) => Owner::Guardian,
        () if has(Concept::Attendee) => Owner::Attendee,
        () if has(Concept::Visitor) => Owner::Visitor,
        () if has(Concept::Company) => Owner::Company,
        () => Owner::Unsaid,
    };
    let role = role(reading, words);
    Sense {
        role,
        strength: strength(reading, role, words),
        owner,
        is_either: has(Concept::Email) && has(Concept::Phone),
        is_confirmation: has(Concept::Confirm),
        is_second: has(Concept::Second),
        is_mixed: has(Concept::Other) || has(Concept::Choice),
        is_id: spans(words).last().and_then(|range| words.get(range)).is_some_and(|word| IDS.contains(&word)),
        is_trace: reading.is_trace,
        stem: stem(reading, words),
    }
}

fn role(reading: &LabelReading, words: &str) -> Role {
    let concepts = reading.concepts;
    let has = |concept| concepts.has(concept);
    let find = |roles: &[(Concept, Role)]| roles.iter().find(|(concept, _)| has(*concept)).map(|(_, role)| *role);
    let choice = if is_of_choice(reading) { Some(Role::Other) } else { None };
    let by_exclusion = find(&[(Concept::Secret, Role::Secret), (Concept::Test, Role::Test)])
        .or(choice)
        .or_else(|| find(&[(Concept::Consent, Role::Consent), (Concept::Machine, Role::Machine)]))
        .or_else(|| find(&[(Concept::Email, Role::Email), (Concept::Phone, Role::Phone), (Concept::Fax, Role::Other)]))
        .or_else(|| find(&[(Concept::Username, Role::Other), (Concept::Phonetic, Role::Other)]));
    if let Some(role) = by_exclusion {
        return role;
    }
    of_a_name(reading, words).or_else(|| of_a_text(reading)).unwrap_or_else(|| rest(reading))
}

/// A choice excludes all else, unless an e-mail or phone is asked for first: "Phone (with country code)".
fn is_of_choice(reading: &LabelReading) -> bool {
    let first = |wanted: &[Concept]| reading.found.iter().position(|(concept, _)| wanted.contains(concept));
    let is_one = !(reading.concepts.has(Concept::Email) && reading.concepts.has(Concept::Phone));
    match (first(&[Concept::Choice]), first(&[Concept::Email, Concept::Phone])) {
        (Some(choice), Some(contact)) => choice < contact || !is_one,
        (choice, _) => choice.is_some(),
    }
}

fn of_a_name(reading: &LabelReading, words: &str) -> Option<Role> {
    let concepts = reading.concepts;
    let has = |concept| concepts.has(concept);
    let is_named = concepts.has_any(&[Concept::Name, Concept::FirstName, Concept::LastName, Concept::FullName]);
    match () {
        () if has(Concept::Salutation) => Some(Role::Salutation),
        () if concepts.has_any(&NOT_A_NAME) && !has(Concept::FullName) => None,
        () if has(Concept::Company) && is_named => Some(Role::Company),
        // `name_1_first_name`: the part says the word itself.
        () if has(Concept::Name) && !has(Concept::FullName) && says_name(reading, words) => {
            reading.found.iter().rev().find_map(|(concept, _)| match concept {
                Concept::FirstName => Some(Role::FirstName),
                Concept::LastName => Some(Role::LastName),
                Concept::MiddleName => Some(Role::MiddleName),
                _ => None,
            })
        }
        () if has(Concept::FullName) || (has(Concept::FirstName) && has(Concept::LastName)) => Some(Role::FullName),
        () if has(Concept::Name) && concepts.has_any(&[Concept::FirstName, Concept::LastName]) => Some(Role::FullName),
        () if has(Concept::MiddleName) && has(Concept::Name) => Some(Role::FullName),
        () if has(Concept::MiddleName) => Some(Role::MiddleName),
        () if has(Concept::FirstName) => Some(Role::FirstName),
        () if has(Concept::LastName) => Some(Role::LastName),
        () if has(Concept::Name) => Some(Role::Name),
        () => None,
    }
}

/// Tells whether the one part of a name that a label names is a phrase: "first name", where "vorname" is a word.
fn says_name(reading: &LabelReading, words: &str) -> bool {
    let is_part = |concept| matches!(concept, Concept::FirstName | Concept::LastName | Concept::MiddleName);
    let mut parts = reading.found.iter().filter(|(concept, _)| is_part(*concept));
    let first = parts.next();
    parts.next().is_none()
        && first.and_then(|(_, range)| words.get(range.clone())).is_some_and(|phrase| phrase.contains(' '))
}

/// Of a text's words the first decides: a subject of the message, a message about the subject.
fn of_a_text(reading: &LabelReading) -> Option<Role> {
    let has = |concept| reading.concepts.has(concept);
    let first = reading.found.iter().find_map(|(concept, _)| match concept {
        Concept::Message => Some(Role::Message),
        Concept::Inquiry => Some(Role::Inquiry),
        Concept::Subject => Some(Role::Subject),
        _ => None,
    })?;
    match first {
        Role::Inquiry if has(Concept::Message) => Some(Role::Message),
        Role::Inquiry if has(Concept::Subject) => Some(Role::Subject),
        Role::Inquiry if has(Concept::Other) => Some(Role::Other),
        Role::Subject if has(Concept::Other) && !has(Concept::Message) => Some(Role::Other),
        role => Some(role),
    }
}

fn rest(reading: &LabelReading) -> Role {
    let concepts = reading.concepts;
    let has = |concept| concepts.has(concept);
    match () {
        () if has(Concept::Company) => Role::Company,
        () if has(Concept::Other) || reading.is_trace || concepts.has_any(&OTHERS) => Role::Other,
        () => Role::Unknown,
    }
}

fn strength(reading: &LabelReading, role: Role, words: &str) -> u8 {
    let own = match role {
        Role::Unknown => return 0,
        Role::Email => Concept::Email,
        Role::Phone => Concept::Phone,
        Role::Message => Concept::Message,
        Role::Name => Concept::Name,
        Role::FirstName => Concept::FirstName,
        Role::LastName => Concept::LastName,
        Role::FullName => Concept::FullName,
        _ => return 3,
    };
    let strange = |(concept, _): &&(Concept, std::ops::Range<usize>)| {
        let of_a_name = matches!(
            concept,
            Concept::Name | Concept::FirstName | Concept::LastName | Concept::FullName | Concept::MiddleName
        );
        let beside = matches!(
            concept,
            Concept::Stop | Concept::Visitor | Concept::Confirm | Concept::Second | Concept::Username
        );
        *concept != own && !beside && !(of_a_name && matches!(role, Role::FullName))
    };
    let strange = reading.found.iter().filter(strange).count() + reading.unknown;
    let all = spans(words).count();
    match strange {
        0 => 3,
        1 => 2,
        _ if strange * 2 <= all => 2,
        _ => 1,
    }
}

//! What a word of a label can mean.

/// What a word of a label or key means; each is a list of a word file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Concept {
    Email,
    Phone,
    Fax,
    /// The plain word for a name, which may be the given name where a family name stands beside it.
    Name,
    FirstName,
    LastName,
    FullName,
    MiddleName,
    /// The form of address: what a field for it is called.
    Salutation,
    /// How a name is read aloud.
    Phonetic,
    Username,
    Message,
    /// What heads a free text in one form and a choice in another.
    Inquiry,
    Subject,
    Company,
    Consent,
    /// What a program added.
    Machine,
    Secret,
    /// Whether it is a test.
    Test,
    /// What a program adds, and a visitor may fill in as well: a browser, a status.
    Trace,
    /// A fact of any other kind.
    Other,
    /// Makes a fact even of what an e-mail, a phone or a name is in.
    Choice,
    /// Somebody who isn't the visitor.
    Person,
    /// Who fills in a form for a child.
    Guardian,
    /// Whom a form is about: a patient, a participant, a pupil, a tenant.
    Attendee,
    Visitor,
    Confirm,
    Second,
    /// A record that tells of the form, the page or the campaign.
    System,
    /// A record that tells of something the visitor may have to do with.
    Thing,
    /// A record that holds what was filled in.
    Submission,
    /// No meaning of its own.
    Stop,
}

impl Concept {
    /// All of them, in the order of a word file.
    pub const ALL: [Self; 32] = [
        Self::Email,
        Self::Phone,
        Self::Fax,
        Self::Name,
        Self::FirstName,
        Self::LastName,
        Self::FullName,
        Self::MiddleName,
        Self::Salutation,
        Self::Phonetic,
        Self::Username,
        Self::Message,
        Self::Inquiry,
        Self::Subject,
        Self::Company,
        Self::Consent,
        Self::Machine,
        Self::Secret,
        Self::Test,
        Self::Trace,
        Self::Other,
        Self::Choice,
        Self::Person,
        Self::Guardian,
        Self::Attendee,
        Self::Visitor,
        Self::Confirm,
        Self::Second,
        Self::System,
        Self::Thing,
        Self::Submission,
        Self::Stop,
    ];

    /// Returns the concept's key in a word file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Fax => "fax",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::FullName => "full_name",
            Self::MiddleName => "middle_name",
            Self::Salutation => "salutation",
            Self::Phonetic => "phonetic",
            Self::Username => "username",
            Self::Message => "message",
            Self::Inquiry => "inquiry",
            Self::Subject => "subject",
            Self::Company => "company",
            Self::Consent => "consent",
            Self::Machine => "machine",
            Self::Secret => "secret",
            Self::Test => "test",
            Self::Trace => "trace",
            Self::Other => "other",
            Self::Choice => "choice",
            Self::Person => "person",
            Self::Guardian => "guardian",
            Self::Attendee => "attendee",
            Self::Visitor => "visitor",
            Self::Confirm => "confirm",
            Self::Second => "second",
            Self::System => "system",
            Self::Thing => "thing",
            Self::Submission => "submission",
            Self::Stop => "stop",
        }
    }
}

/// Some concepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Concepts(u32);

impl Concepts {
    pub(super) fn add(&mut self, concept: Concept) {
        self.0 |= 1 << concept as u32;
    }

    pub(super) fn has(self, concept: Concept) -> bool {
        self.0 & (1 << concept as u32) != 0
    }

    pub(super) fn has_any(self, concepts: &[Concept]) -> bool {
        concepts.iter().any(|concept| self.has(*concept))
    }
}

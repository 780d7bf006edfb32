//! What fields are called: words of many languages, what they mean, and what a label says that is made of them.

mod compile;

mod concept;

mod found;

mod plain;

mod sense;

mod values;

use std::borrow::Cow;
use std::ops::Range;

use fst::{Map, Set};

pub use compile::LanguageWords;
use compile::{Compiled, compile};
pub use concept::Concept;
use concept::Concepts;
use found::{Meaning, PhraseMatch};
use plain::plain;
pub use sense::{Owner, Role, Sense};

/// Fewest letters of a word that is looked for inside others.
const PIECE_MIN: usize = 3;
/// A language with this part of the votes of the first is likely too.
const LIKELY_SHARE: u32 = 3;
/// And one with less than this part of the votes of any is none that the form is in.
const NOISE_SHARE: u32 = 5;
/// Fewest letters of a word that means what it does in a language that isn't the form's.
const FOREIGN_MIN: usize = 5;

/// A language of a word file, by its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Language(u8);

/// The languages that a form may be in: one, and those that nearly as much speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Languages {
    pub first: Option<Language>,
    /// A bit for each.
    likely: u128,
}

impl Languages {
    fn has(self, language: Language) -> bool {
        self.likely.checked_shr(u32::from(language.0)).unwrap_or_default() & 1 == 1
    }
}

/// The words of all languages, ready to be asked.
#[derive(Clone, Debug)]
pub struct Dictionary {
    languages: Vec<KnownLanguage>,
    phrases: Map<Bytes>,
    meanings: Bytes,
    salutations: Set<Bytes>,
    answers: Set<Bytes>,
    agreements: Set<Bytes>,
}

/// Of the program itself, or made while it runs.
type Bytes = Cow<'static, [u8]>;

/// A language of the dictionary.
#[derive(Clone, Debug)]
struct KnownLanguage {
    code: String,
    is_surname_first: bool,
}

/// What a label consists of.
#[derive(Clone, Debug, Default)]
struct LabelReading {
    /// What was found in it, in order.
    found: Vec<(Concept, Range<usize>)>,
    concepts: Concepts,
    /// Words that mean nothing known.
    unknown: usize,
    /// A program adds fields that are called so, and visitors fill them in as well.
    is_trace: bool,
}

impl Default for Dictionary {
    fn default() -> Self {
        // Nothing is compiled without a fault.
        Self::of(&[]).unwrap_or_else(|_| unreachable!("no word is no fault"))
    }
}

macro_rules! built {
    ($name:literal) => {
        Cow::Borrowed(&include_bytes!(concat!(env!("OUT_DIR"), "/words/", $name))[..])
    };
}

impl Dictionary {
    /// Returns the words that the program was built with.
    pub fn shipped() -> Self {
        let languages = include_str!(concat!(env!("OUT_DIR"), "/words/languages"));
        let phrases =
            [built!("phrases"), built!("meanings"), built!("salutations"), built!("answers"), built!("agreements")];
        Self::open(languages, phrases).unwrap_or_default()
    }

    /// Compiles words while the program runs.
    pub fn of(languages: &[LanguageWords]) -> Result<Self, fst::Error> {
        let Compiled { languages, phrases, meanings, salutations, answers, agreements } = compile(languages)?;
        Self::open(&languages, [phrases, meanings, salutations, answers, agreements].map(Cow::Owned))
    }

    fn open(languages: &str, parts: [Bytes; 5]) -> Result<Self, fst::Error> {
        let [phrases, meanings, salutations, answers, agreements] = parts;
        let known = |line: &str| {
            let (code, first) = line.split_once(' ')?;
            Some(KnownLanguage { code: code.to_owned(), is_surname_first: first == "1" })
        };
        Ok(Self {
            languages: languages.lines().filter_map(known).collect(),
            phrases: Map::new(phrases)?,
            meanings,
            salutations: Set::new(salutations)?,
            answers: Set::new(answers)?,
            agreements: Set::new(agreements)?,
        })
    }

    /// Returns what a label or key says of its field; in doubt a word means what it does in the form's language.
    pub fn sense(&self, label: &str, languages: Languages) -> Sense {
        let whole = self.sense_of(label, languages);
        // "Name (last)": what stands in brackets says which part.
        let is_name = matches!(whole.role, Role::FullName | Role::Name);
        let Some((outer, inner)) = label.split_once(['(', '（']).filter(|_| is_name) else { return whole };
        let outer = self.sense_of(outer, languages);
        let inner = self.sense_of(inner, languages);
        let is_part = matches!(inner.role, Role::FirstName | Role::LastName | Role::MiddleName | Role::Salutation);
        let is_whole = matches!(outer.role, Role::Name | Role::FullName);
        if is_part && is_whole { Sense { role: inner.role, ..outer } } else { whole }
    }

    fn sense_of(&self, label: &str, languages: Languages) -> Sense {
        let words = plain(label);
        let reading = self.read(&words, Of { languages, place: LabelOf::Field });
        sense::sense(&reading, &words)
    }

    /// Tells for which languages the words of a label speak, and how much.
    pub fn vote(&self, label: &str, votes: &mut Vec<u32>) {
        votes.resize(self.languages.len(), 0);
        let words = plain(label);
        for found in self.matches(&words) {
            // What programs call their fields is English in forms of any language.
            let is_said = |meaning: &Meaning| {
                found.fits(meaning, &words)
                    && !matches!(
                        meaning.concept,
                        Concept::Machine | Concept::Trace | Concept::System | Concept::Submission
                    )
            };
            let meanings = || found.meanings().filter(is_said);
            let mut languages: Vec<Language> = meanings().map(|meaning| meaning.language).collect();
            languages.sort_unstable();
            languages.dedup();
            // A word of one language says more than one of ten.
            let weight = 60 / u32::try_from(languages.len().max(1)).unwrap_or(60);
            for language in languages {
                votes.get_mut(usize::from(language.0)).into_iter().for_each(|vote| *vote += weight.max(1));
            }
        }
    }

    /// Returns the language that most speaks for, and those that nearly as much does.
    pub fn most(&self, votes: &[u32]) -> Languages {
        let indexed =
            || votes.iter().enumerate().filter_map(|(index, vote)| Some((Language(u8::try_from(index).ok()?), *vote)));
        // Keys are English in forms of any language: it counts where nothing else does.
        let is_other = |language: Language| self.code(language) != "en";
        let most = |is: &dyn Fn(Language) -> bool| {
            indexed().rev().filter(|(language, vote)| *vote > 0 && is(*language)).max_by_key(|(_, vote)| *vote)
        };
        let first = most(&|_| true);
        let of_others = most(&is_other).map_or(u32::MAX, |(_, vote)| vote / LIKELY_SHARE).max(1);
        // Some word of any language stands in every form.
        let least = of_others.max(first.map_or(0, |(_, vote)| vote / NOISE_SHARE));
        let likely = indexed()
            .filter(|(_, vote)| *vote >= least)
            .map(|(language, _)| 1_u128.checked_shl(u32::from(language.0)).unwrap_or_default());
        Languages { first: first.map(|(language, _)| language), likely: likely.fold(0, |all, bit| all | bit) }
    }

    pub fn code(&self, language: Language) -> &str {
        self.languages.get(usize::from(language.0)).map_or("", |known| known.code.as_str())
    }

    /// Tells whether names are written family name first in a language.
    pub fn is_surname_first(&self, language: Language) -> bool {
        self.languages.get(usize::from(language.0)).is_some_and(|known| known.is_surname_first)
    }

    fn read(&self, words: &str, of: Of) -> LabelReading {
        let mut found: Vec<_> = self.matches(words).collect();
        found.sort_by_key(|found| (std::cmp::Reverse(found.chars), found.range.start));
        let mut taken: Vec<(Concept, Range<usize>)> = Vec::new();
        let is_free = |taken: &[(Concept, Range<usize>)], range: &Range<usize>| {
            taken.iter().all(|(_, other)| range.end <= other.start || other.end <= range.start)
        };
        for found in found.iter().filter(|found| found.is_bounded) {
            if is_free(&taken, &found.range)
                && let Some(concept) = self.meaning(found, words, of)
            {
                taken.push((concept, found.range.clone()));
            }
        }
        let mut unknown = 0;
        for word in spans(words) {
            if taken.iter().any(|(_, range)| range.start < word.end && word.start < range.end) {
                continue;
            }
            match self.pieces(&found, &word, of) {
                Some(pieces) => taken.extend(pieces),
                None => unknown += usize::from(words.get(word).is_some_and(|word| word.chars().count() > 1)),
            }
        }
        taken.sort_by_key(|(_, range)| range.start);
        let mut concepts = Concepts::default();
        taken.iter().for_each(|(concept, _)| concepts.add(*concept));
        let is_trace = |found: &PhraseMatch<'_>| {
            let mut meanings = found.meanings();
            found.is_bounded && meanings.any(|meaning| meaning.concept == Concept::Trace && found.fits(&meaning, words))
        };
        let is_trace = found.iter().any(is_trace);
        LabelReading { found: taken, concepts, unknown, is_trace }
    }

    /// Takes a word apart into known ones: `emailaddress`, `clientphone`.
    fn pieces(&self, found: &[PhraseMatch<'_>], word: &Range<usize>, of: Of) -> Option<Vec<(Concept, Range<usize>)>> {
        let inside = |range: &Range<usize>| range.start >= word.start && range.end <= word.end;
        let mut pieces = Vec::new();
        let mut at = word.start;
        while at < word.end {
            let fits =
                |found: &&PhraseMatch<'_>| found.range.start == at && inside(&found.range) && found.chars >= PIECE_MIN;
            // They are sorted by length: the first is the longest.
            let piece = found.iter().find(fits)?;
            let concept = self.meaning_of(piece, of, |_| true)?;
            pieces.push((concept, piece.range.clone()));
            at = piece.range.end;
        }
        (pieces.len() > 1).then_some(pieces)
    }

    fn meaning(&self, found: &PhraseMatch<'_>, words: &str, of: Of) -> Option<Concept> {
        self.meaning_of(found, of, |meaning| found.fits(meaning, words))
    }

    /// Returns what a phrase means in the form's language, else in English, else in most.
    fn meaning_of(&self, found: &PhraseMatch<'_>, of: Of, fits: impl Fn(&Meaning) -> bool) -> Option<Concept> {
        let meanings = || found.meanings().filter(|meaning| of.place.takes(meaning.concept) && fits(meaning));
        let in_language = |language: Language| meanings().find(|meaning| meaning.language == language);
        let english = || meanings().find(|meaning| self.code(meaning.language) == "en");
        if let Some(meaning) = of.languages.first.and_then(in_language).or_else(english) {
            return Some(meaning.concept);
        }
        if let Some(meaning) = meanings().find(|meaning| of.languages.has(meaning.language)) {
            return Some(meaning.concept);
        }
        // In a form of a known language a short word of another means nothing, nor does a beginning.
        if of.languages.first.is_some() && found.chars < FOREIGN_MIN && !found.is_dense.0 {
            return None;
        }
        let is_closed = |meaning: &Meaning| of.languages.first.is_none() || found.is_word || !meaning.is_open();
        let meanings = || meanings().filter(is_closed);
        let count = |concept: Concept| meanings().filter(|meaning| meaning.concept == concept).count();
        let mut concepts: Vec<Concept> = meanings().map(|meaning| meaning.concept).collect();
        // Of those that as many languages mean, the first.
        concepts.reverse();
        concepts.into_iter().max_by_key(|concept| count(*concept))
    }
}

/// Where a text stands that is read.
#[derive(Clone, Copy)]
struct Of {
    languages: Languages,
    place: LabelOf,
}

/// What a label belongs to.
#[derive(Clone, Copy)]
enum LabelOf {
    /// It is the label or key of a field.
    Field,
    /// It names the record that fields stand in.
    Record,
}

impl LabelOf {
    /// Tells whether a word can mean this here.
    fn takes(self, concept: Concept) -> bool {
        let of_records = matches!(
            concept,
            Concept::System
                | Concept::Thing
                | Concept::Submission
                | Concept::Machine
                | Concept::Person
                | Concept::Guardian
                | Concept::Attendee
                | Concept::Visitor
                | Concept::Stop
        );
        match self {
            Self::Field => !matches!(concept, Concept::System | Concept::Thing | Concept::Submission | Concept::Trace),
            Self::Record => of_records,
        }
    }
}

/// Returns where the words of a text stand.
pub(super) fn spans(words: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    words.split(' ').map(move |word| {
        let range = start..start + word.len();
        start = range.end + 1;
        range
    })
}

/// Writes a text as its words are compared.
pub(super) fn plain_words(text: &str) -> String {
    plain(text)
}

/// What the name of a record says of what stands in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub(super) owner: Owner,
    pub(super) is_of_a_system: bool,
    pub(super) is_of_a_thing: bool,
    pub(super) is_of_a_submission: bool,
}

impl Dictionary {
    /// Returns what the name of a record says of what stands in it.
    pub(super) fn about(&self, name: &str, languages: Languages) -> About {
        let reading = self.read(&plain(name), Of { languages, place: LabelOf::Record });
        let has = |concept| reading.concepts.has(concept);
        let owner = match () {
            () if has(Concept::Person) => Owner::Person,
            () if has(Concept::Guardian) => Owner::Guardian,
            () if has(Concept::Attendee) => Owner::Attendee,
            () if has(Concept::Visitor) => Owner::Visitor,
            () => Owner::Unsaid,
        };
        let is_of_a_submission = has(Concept::Submission);
        let is_free = owner == Owner::Unsaid && !is_of_a_submission;
        let is_of_a_thing = is_free && has(Concept::Thing);
        // `ad` is an advertisement in a name of its own, and a name in Turkish.
        let is_system = |(concept, range): &(Concept, Range<usize>)| {
            let is_it = matches!(concept, Concept::System | Concept::Machine);
            is_it && (range.len() > PIECE_MIN || reading.unknown == 0)
        };
        let is_of_a_system = is_free && reading.found.iter().any(is_system);
        About { owner, is_of_a_system, is_of_a_thing, is_of_a_submission }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sense(label: &str) -> (Role, Owner) {
        let dictionary = Dictionary::shipped();
        let mut votes = Vec::new();
        dictionary.vote(label, &mut votes);
        let sense = dictionary.sense(label, dictionary.most(&votes));
        (sense.role, sense.owner)
    }

    #[test]
    fn a_label_tells_the_part_of_its_field() {
        for (label, role) in [
            ("E-Mail-Adresse *", Role::Email),
            ("yourEmail", Role::Email),
            ("emailaddress", Role::Email),
            ("Adresse e-mail (obligatoire)", Role::Email),
            ("メールアドレス", Role::Email),
            ("Rückrufnummer", Role::Phone),
            ("Phone (with country code)", Role::Phone),
            ("Номер телефона", Role::Phone),
            ("First name", Role::FirstName),
            ("name_1_first_name", Role::FirstName),
            ("name_1_middle_name", Role::MiddleName),
            ("Name (last)", Role::LastName),
            ("Nom et prénom", Role::FullName),
            ("Imię i nazwisko", Role::FullName),
            ("ФИО", Role::FullName),
            ("imya", Role::Name),
            ("sei", Role::LastName),
            ("Company name", Role::Company),
            ("Street name", Role::Other),
            ("Nombre de usuario", Role::Other),
            ("Preferred contact: e-mail or phone", Role::Other),
            ("How can we help?", Role::Message),
            ("Ihre Nachricht an uns", Role::Message),
            ("Question type", Role::Other),
            ("Betreff", Role::Subject),
            ("I agree to the <a href=\"/p\">privacy policy</a>", Role::Consent),
            ("form_name", Role::Machine),
            ("google_key", Role::Secret),
            ("field_1fac983", Role::Unknown),
        ] {
            assert_eq!(sense(label).0, role, "{label}");
        }
    }

    #[test]
    fn a_label_tells_whose_its_field_is() {
        for (label, owner) in [
            ("agent-email", Owner::Person),
            ("opposing-party-phone", Owner::Person),
            ("Name of your friend", Owner::Person),
            ("Nombre del alumno", Owner::Attendee),
            ("Parent's number", Owner::Guardian),
            ("Patient's e-mail", Owner::Attendee),
            ("Emergency contact of the patient", Owner::Person),
            ("client-email", Owner::Visitor),
            ("E-mail", Owner::Unsaid),
        ] {
            assert_eq!(sense(label).1, owner, "{label}");
        }
    }

    #[test]
    fn a_word_means_what_it_does_in_the_language_of_the_form() {
        let dictionary = Dictionary::shipped();
        let language = |labels: &[&str]| {
            let mut votes = Vec::new();
            labels.iter().for_each(|label| dictionary.vote(label, &mut votes));
            dictionary.most(&votes)
        };
        let polish = language(&["Imię", "Nazwisko", "Wiadomość", "Telefon"]);
        let english = language(&["Name", "Message", "Phone", "Where can we email you?"]);
        assert_eq!(polish.first.map(|first| dictionary.code(first)), Some("pl"));
        assert_eq!(english.first.map(|first| dictionary.code(first)), Some("en"));
        // `can` is a dog in Galician.
        assert_eq!(dictionary.sense("Where can we email you?", english).owner, Owner::Visitor);
    }

    #[test]
    fn an_answer_and_a_sentence_of_consent_are_known() {
        let dictionary = Dictionary::shipped();
        assert!(dictionary.is_salutation("Frau") && dictionary.is_salutation("Mr."));
        assert!(dictionary.is_answer("Yes") && !dictionary.is_answer("Ann Lee"));
        assert!(
            dictionary.is_agreement("I agree that my data is kept.") && !dictionary.is_agreement("I need a plumber.")
        );
        let none = Dictionary::default();
        assert_eq!(none.sense("E-mail", Languages::default()).role, Role::Unknown);
    }
}

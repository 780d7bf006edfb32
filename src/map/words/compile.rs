//! Words made ready to be asked: done when the program is built, since there are tens of thousands of them.
//!
//! Also compiled into `build.rs`: it uses nothing of the crate but its neighbours.

use std::collections::{BTreeMap, BTreeSet};

use super::concept::Concept;
use super::plain::{plain, transliterated};

/// The words of one language, as its file writes them.
#[derive(Clone, Debug, Default)]
pub struct LanguageWords {
    pub code: String,
    /// A name's parts are written family name first.
    pub is_surname_first: bool,
    pub phrases: Vec<(Concept, String)>,
    /// Values that address somebody: Mr, Frau.
    pub salutations: Vec<String>,
    /// Values of choices that nobody is called.
    pub answers: Vec<String>,
    /// How a sentence that agrees to something begins.
    pub agreements: Vec<String>,
}

/// What a phrase means in one language: three bytes, its language, its concept, and how it stands in a label.
pub(super) const MEANING: usize = 3;
/// It is all there is to a label.
pub(super) const WHOLE: u8 = 1;
/// A word may go on before it, and after it.
pub(super) const OPEN_START: u8 = 2;
pub(super) const OPEN_END: u8 = 4;
/// How many of the bits of a phrase's number tell how many meanings it has.
pub(super) const COUNT_BITS: u32 = 8;

/// Words as they are asked.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// Code and surname-first of each language, in the order of their numbers: `en 0` a line.
    pub languages: String,
    /// A finite state transducer from each phrase to where its meanings begin, and how many there are.
    pub phrases: Vec<u8>,
    pub meanings: Vec<u8>,
    /// Sets of values, each a transducer.
    pub salutations: Vec<u8>,
    pub answers: Vec<u8>,
    pub agreements: Vec<u8>,
}

/// Compiles the words of all languages.
pub(crate) fn compile(languages: &[LanguageWords]) -> Result<Compiled, fst::Error> {
    let mut compiled = Compiled::default();
    let mut phrases: BTreeMap<String, Vec<[u8; MEANING]>> = BTreeMap::new();
    let mut values = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for (number, words) in languages.iter().enumerate() {
        let number = u8::try_from(number).unwrap_or(u8::MAX);
        compiled.languages.push_str(&format!("{} {}\n", words.code, u8::from(words.is_surname_first)));
        for (concept, written) in &words.phrases {
            for spelling in [Some(written.clone()), transliterated(written)].into_iter().flatten() {
                let (text, meaning) = read(&spelling, number, *concept);
                if !text.is_empty() {
                    phrases.entry(text).or_default().push(meaning);
                }
            }
        }
        let [salutations, answers, agreements] = &mut values;
        salutations.extend(words.salutations.iter().map(|text| plain(text)));
        answers.extend(words.answers.iter().map(|text| plain(text)));
        agreements.extend(words.agreements.iter().map(|text| plain(text)));
    }
    let mut map = fst::MapBuilder::memory();
    for (text, meanings) in phrases {
        let start = compiled.meanings.len() as u64;
        let count = meanings.len().min((1 << COUNT_BITS) - 1);
        meanings.iter().take(count).for_each(|meaning| compiled.meanings.extend(meaning));
        map.insert(text, (start << COUNT_BITS) | count as u64)?;
    }
    compiled.phrases = map.into_inner()?;
    let [salutations, answers, agreements] = values;
    compiled.salutations = set(salutations)?;
    compiled.answers = set(answers)?;
    compiled.agreements = set(agreements)?;
    Ok(compiled)
}

fn set(texts: BTreeSet<String>) -> Result<Vec<u8>, fst::Error> {
    let mut set = fst::SetBuilder::memory();
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        set.insert(text)?;
    }
    set.into_inner()
}

/// Reads a phrase as a word file writes it: `=whole label`, `begin*`, `*end`.
fn read(written: &str, language: u8, concept: Concept) -> (String, [u8; MEANING]) {
    let (whole, text) = written.strip_prefix('=').map_or((0, written), |rest| (WHOLE, rest));
    let start = if text.starts_with('*') { OPEN_START } else { 0 };
    let end = if text.ends_with('*') { OPEN_END } else { 0 };
    (plain(text), [language, concept as u8, whole | start | end])
}

//! Phrases that stand in a label.

use std::ops::Range;

use super::compile::{COUNT_BITS, MEANING, OPEN_END, OPEN_START, WHOLE};
use super::concept::Concept;
use super::plain::{Plain, ascii_words, is_dense};
use super::{Bytes, Dictionary, Language, PIECE_MIN, spans};

/// How many matches of one label are looked at.
const MATCHES_MAX: usize = 400;

/// What a phrase means in one language.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) language: Language,
    pub(super) concept: Concept,
    how: u8,
}

impl Meaning {
    /// Tells whether a word may go on before the phrase, or after it.
    pub(super) fn is_open(&self) -> bool {
        self.how & (OPEN_START | OPEN_END) != 0
    }
}

impl Dictionary {
    /// Returns every phrase that stands in a text.
    pub(super) fn matches<'d>(&'d self, words: &'d str) -> impl Iterator<Item = PhraseMatch<'d>> {
        let alone = self.alone(words);
        let starts = words.char_indices().filter(|(_, c)| *c != ' ');
        let found = starts.flat_map(|(start, first)| {
            let rest = words.get(start..).unwrap_or_default();
            prefixes(self.phrases.as_fst(), rest.as_bytes()).map(move |(length, number)| (start, first, length, number))
        });
        found.take(MATCHES_MAX).filter_map(move |(start, first, length, number)| {
            let text = words.get(start..start + length)?;
            let ends = text.chars().next_back().is_some_and(is_dense);
            let is_dense = (is_dense(first), ends);
            let range = start..start + length;
            let mut found = PhraseMatch {
                dictionary: self,
                number,
                chars: text.chars().count(),
                is_dense,
                range,
                is_alone: false,
                is_word: false,
                is_bounded: false,
            };
            found.is_alone = start <= alone.start && start + length >= alone.end;
            let is_space = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
            let bytes = words.as_bytes();
            found.is_word =
                is_space(start.checked_sub(1).and_then(|at| bytes.get(at))) && is_space(bytes.get(start + length));
            found.is_bounded = found.meanings().any(|meaning| found.fits(&meaning, words));
            Some(found)
        })
    }

    /// Returns what of a label is left once the words without a meaning of their own are taken off its ends: what covers it is
    /// the whole of the label.
    fn alone(&self, words: &str) -> Range<usize> {
        let all: Vec<Range<usize>> = spans(words).collect();
        let is_filler =
            |range: &&Range<usize>| words.get(range.start..range.end).is_some_and(|word| self.is_filler(word));
        // Words of an end may themselves be the phrase: what is before the first of them decides.
        let start = all.iter().find(|range| !is_filler(range)).map_or(words.len(), |range| range.start);
        let end = all.iter().rev().find(|range| !is_filler(range)).map_or(0, |range| range.end);
        start..end
    }

    /// Tells whether a word may stand beside a phrase that is the whole of a label.
    pub(super) fn is_filler(&self, word: &str) -> bool {
        self.phrases.get(word).is_some_and(|number| self.means_nothing(number))
    }

    pub(super) fn means_nothing(&self, number: u64) -> bool {
        self.meanings(number).any(|meaning| matches!(meaning.concept, Concept::Stop | Concept::Visitor))
    }

    pub(super) fn meanings(&self, number: u64) -> impl Iterator<Item = Meaning> + Clone + '_ {
        let start = usize::try_from(number >> COUNT_BITS).unwrap_or(usize::MAX);
        let count = usize::try_from(number & ((1 << COUNT_BITS) - 1)).unwrap_or_default();
        let bytes = self.meanings.get(start..).unwrap_or_default();
        bytes.chunks_exact(MEANING).take(count).filter_map(|meaning| match meaning {
            [language, concept, how] => Some(Meaning {
                language: Language(*language),
                concept: *Concept::ALL.get(usize::from(*concept))?,
                how: *how,
            }),
            _ => None,
        })
    }
}

impl Plain<'_> {
    /// Returns the bytes of its words.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        let (ascii, written) = match self {
            Self::Ascii(text) => (*text, ""),
            Self::Written(words) => (&[][..], words.as_str()),
        };
        ascii_words(ascii).chain(written.bytes())
    }
}

/// Returns the number of a key of a transducer.
pub(super) fn number_of(fst: &fst::raw::Fst<Bytes>, key: impl Iterator<Item = u8>) -> Option<u64> {
    let mut node = fst.root();
    let mut number = fst::raw::Output::zero();
    for byte in key {
        let transition = node.transition(node.find_input(byte)?);
        number = number.cat(transition.out);
        node = fst.node(transition.addr);
    }
    node.is_final().then(|| number.cat(node.final_output()).value())
}

/// Whether a text begins with a key of a transducer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Yes,
    No,
    /// The text ends before a key does.
    Open,
}

impl Begins {
    pub(super) fn of(fst: &fst::raw::Fst<Bytes>, text: impl Iterator<Item = u8>) -> Self {
        let mut node = fst.root();
        for byte in text {
            if node.is_final() {
                return Self::Yes;
            }
            let Some(next) = node.find_input(byte) else { return Self::No };
            node = fst.node(node.transition(next).addr);
        }
        if node.is_final() { Self::Yes } else { Self::Open }
    }
}

/// Returns every key of a transducer that a text begins with: how long it is, and its number.
pub(super) fn prefixes<'f>(fst: &'f fst::raw::Fst<Bytes>, text: &'f [u8]) -> impl Iterator<Item = (usize, u64)> + 'f {
    let mut node = Some(fst.root());
    let mut number = fst::raw::Output::zero();
    let steps = text.iter().enumerate().map_while(move |(at, byte)| {
        let here = node.take()?;
        let transition = here.transition(here.find_input(*byte)?);
        let next = fst.node(transition.addr);
        number = number.cat(transition.out);
        let found = next.is_final().then(|| (at + 1, number.cat(next.final_output()).value()));
        node = Some(next);
        Some(found)
    });
    steps.flatten()
}

/// A phrase found in a label.
pub(super) struct PhraseMatch<'d> {
    dictionary: &'d Dictionary,
    /// Where its meanings are.
    number: u64,
    pub(super) chars: usize,
    /// It begins, or ends, with a letter of a script without spaces.
    pub(super) is_dense: (bool, bool),
    pub(super) range: Range<usize>,
    /// It is whole words.
    pub(super) is_word: bool,
    /// What stands beside it are words without a meaning of their own.
    is_alone: bool,
    /// It stands there as a word, in one of its meanings.
    pub(super) is_bounded: bool,
}

impl<'d> PhraseMatch<'d> {
    pub(super) fn meanings(&self) -> impl Iterator<Item = Meaning> + Clone + 'd {
        self.dictionary.meanings(self.number)
    }

    /// Tells whether the phrase stands there as it must to mean this.
    pub(super) fn fits(&self, meaning: &Meaning, words: &str) -> bool {
        let before = words.get(..self.range.start).unwrap_or_default();
        let after = words.get(self.range.end..).unwrap_or_default();
        let is = |how: u8| meaning.how & how != 0;
        if is(WHOLE) {
            let starts = before.is_empty() || before.ends_with(' ');
            let ends = after.is_empty() || after.starts_with(' ');
            return self.is_alone && starts && ends;
        }
        let begins = before.is_empty() || before.ends_with(' ') || is(OPEN_START) || self.is_dense.0;
        let is_end = |after: &str| after.is_empty() || after.starts_with(' ');
        // A plural, or a possessive.
        let is_plural = self.chars > PIECE_MIN && after.strip_prefix('s').is_some_and(is_end);
        let ends = is_end(after) || is_plural || is(OPEN_END) || self.is_dense.1;
        begins && ends
    }
}

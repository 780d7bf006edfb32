//! What a page shows: its pieces of configuration, and the few words in them that differ on the machine that tests.

use std::path::PathBuf;

use crate::docs::blocks;

/// Returns the blocks of a language on a page of docs/deploy, in their order.
pub(super) fn shown(page: &str, language: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(page);
    let found = blocks(&path).into_iter().filter(|block| block.language == language);
    found.map(|block| block.text).collect()
}

/// A piece of configuration whose addresses and paths become those of a test. Nothing else of it changes.
pub(super) struct Piece(String);

impl Piece {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Writes something else for words that the page must have.
    pub(super) fn put(&mut self, words: &str, here: &str) -> &mut Self {
        assert!(self.0.contains(words), "the page doesn't say `{words}` any more:\n{}", self.0);
        self.0 = self.0.replace(words, here);
        self
    }

    /// Puts a block where the page says it goes: from the line that begins with `from` to the one that is `to`.
    pub(super) fn put_block(&mut self, from: &str, to: &str, block: &str) -> &mut Self {
        let lines: Vec<&str> = self.0.lines().collect();
        let begin = lines.iter().position(|line| line.trim_start().starts_with(from)).expect("the block begins");
        let indent = lines[begin].len() - lines[begin].trim_start().len();
        let is_end = |line: &&str| line.trim_start().starts_with(to) && line.len() - line.trim_start().len() == indent;
        let end = begin + lines[begin..].iter().position(is_end).expect("the block ends");
        self.0 = format!("{}\n{block}{}\n", lines[..begin].join("\n"), lines[end + 1..].join("\n"));
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[test]
fn a_block_is_put_in_the_place_of_another() {
    let mut piece = Piece::new("a {\n  b {\n    c\n  }\n}\nd\n");
    piece.put_block("b {", "}", "  e\n").put("d", "f");
    assert_eq!(piece.text(), "a {\n  e\n}\nf\n");
}

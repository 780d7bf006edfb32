//! A source file as the rules see it: its code without comments and text, its room, and what it names.

use std::ops::Range;

/// One file below `src/`.
pub(crate) struct Source {
    /// Path below `src/`, with slashes.
    pub(crate) name: String,
    /// The text with comments and the insides of literals blanked; every offset is as in the file.
    pub(crate) code: String,
    /// What is compiled into the program: literals kept, comments and tests blanked.
    pub(crate) shipped: String,
    /// The code of what is compiled into the program.
    pub(crate) shipped_code: String,
    /// The lines of the file, comments too, without those of its tests.
    pub(crate) length: usize,
}

impl Source {
    pub(crate) fn new(name: String, text: &str) -> Self {
        let code = blanked(text, &[Kind::Comment, Kind::Literal]);
        let mut shipped = blanked(text, &[Kind::Comment]);
        let mut shipped_code = code.clone();
        let mut length = text.lines().count();
        let all_tests = name.ends_with("/tests.rs") || name.contains("/tests/");
        if all_tests {
            shipped.clear();
            shipped_code.clear();
            length = 0;
        }
        for range in tests_in(&code).filter(|_| !all_tests) {
            shipped.replace_range(range.clone(), &blank(&text[range.clone()]));
            shipped_code.replace_range(range.clone(), &blank(&text[range.clone()]));
            length -= text[range].lines().count();
        }
        Self { name, code, shipped, shipped_code, length }
    }

    /// Returns the room that the file is in: the first part of its path.
    pub(crate) fn room(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Tells whether the file is in a room, or in a part of one such as `queue/sqlite`.
    pub(crate) fn is_in(&self, place: &str) -> bool {
        let rest = self.name.strip_prefix(place);
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// Returns each room (or other name at the crate's root) that a path in the file leads to, with its line.
    pub(crate) fn rooms_used(&self) -> Vec<(usize, String)> {
        let mut used = Vec::new();
        for root in ["crate::", "formgate::"] {
            for at in self.words(root) {
                // `formgate` is a path's beginning only outside the library.
                if root == "crate::" || self.room() == "main" {
                    used.extend(self.names_at(at + root.len()));
                }
            }
        }
        for at in self.words("super::") {
            let rest = &self.code[at..];
            let continues = self.code[..at].ends_with("super::");
            let climbs = rest.split("::").take_while(|part| *part == "super").count();
            if !continues && climbs >= self.depth_at(at) {
                used.extend(self.names_at(at + climbs * "super::".len()));
            }
        }
        used.sort();
        used.dedup();
        used
    }

    /// Returns the lines in which a path begins with, or is, the name given.
    pub(crate) fn lines_using(&self, name: &str) -> Vec<usize> {
        let is_path = name.contains("::");
        let used = self.words(name).filter(|at| {
            let (before, after) = (&self.code[..*at], &self.code[at + name.len()..]);
            let imported = before.trim_end().ends_with("use") && after.trim_start().starts_with(';');
            is_path || imported || (after.starts_with("::") && !before.ends_with("::"))
        });
        used.map(|at| self.line(at)).collect()
    }

    fn words(&self, word: &str) -> impl Iterator<Item = usize> {
        let found = self.code.match_indices(word).map(|(at, _)| at);
        found.filter(|at| is_word_at(&self.code, *at, word.trim_end_matches(':').len()))
    }

    /// Reads the first names of the use tree at an offset: one, or one of each branch.
    fn names_at(&self, at: usize) -> Vec<(usize, String)> {
        let tree = self.code[at..].trim_start();
        let Some(group) = tree.strip_prefix('{') else {
            return vec![(self.line(at), first_name(tree))];
        };
        let start = self.code.len() - group.len();
        let mut depth = 0;
        let mut names = vec![(self.line(start), first_name(group))];
        for (offset, char) in group.char_indices() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let rest = &group[offset + 1..];
                    let blank = rest.len() - rest.trim_start().len();
                    names.push((self.line(start + offset + 1 + blank), first_name(rest)));
                }
                _ => {}
            }
        }
        names.retain(|(_, name)| !name.is_empty());
        names
    }

    /// Counts the modules that an offset is in: those of the file's path and those written out in it.
    fn depth_at(&self, at: usize) -> usize {
        let folders = self.name.matches('/').count();
        let of_file = if self.name.ends_with("/mod.rs") { folders } else { folders + 1 };
        let inline = blocks(&self.code, "mod ").filter(|range| range.contains(&at)).count();
        of_file + inline
    }

    fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

/// Tells whether what stands at an offset is a whole word (or path), not a part of a longer one.
pub(crate) fn is_word_at(text: &str, at: usize, len: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at + len..].chars().next();
    !before.is_some_and(is_name_char) && !after.is_some_and(is_name_char)
}

fn is_name_char(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn first_name(tree: &str) -> String {
    tree.trim_start().chars().take_while(|char| is_name_char(*char) || *char == '*').collect()
}

/// Finds the items under `#[cfg(test)]`.
fn tests_in(code: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut end = 0;
    let marks = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    marks.filter_map(move |at| {
        // One inside another is counted already.
        let range = (at >= end).then(|| at..item_end(code, at))?;
        end = range.end;
        Some(range)
    })
}

/// Finds the blocks of items that begin with a keyword.
fn blocks<'a>(code: &'a str, keyword: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let items = code.match_indices(keyword).map(|(at, _)| at).filter(|at| is_word_at(code, *at, keyword.len() - 1));
    items.map(|at| at..item_end(code, at))
}

/// Finds where the item that begins at an offset ends: at its semicolon, or where its braces close.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (offset, char) in code[at..].char_indices() {
        match char {
            ';' if depth == 0 => return at + offset + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + offset + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    Literal,
}

/// Replaces the kinds given by spaces; line ends and offsets stay.
fn blanked(text: &str, kinds: &[Kind]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let after_name = text[..text.len() - rest.len()].chars().next_back().is_some_and(is_name_char);
        let (kind, len) = match token(rest, after_name) {
            Some((kind, len)) => (Some(kind), len.min(rest.len())),
            None => (None, char.len_utf8()),
        };
        let (piece, following) = rest.split_at(len);
        if kind.is_some_and(|kind| kinds.contains(&kind)) {
            out.push_str(&blank(piece));
        } else {
            out.push_str(piece);
        }
        rest = following;
    }
    out
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Measures the comment or literal that a text begins with.
fn token(text: &str, after_name: bool) -> Option<(Kind, usize)> {
    if text.starts_with("//") {
        return Some((Kind::Comment, text.find('\n').unwrap_or(text.len())));
    }
    if text.starts_with("/*") {
        return Some((Kind::Comment, block_comment(text)));
    }
    if text.starts_with('"') {
        return Some((Kind::Literal, quoted(text, '"')));
    }
    if text.starts_with('\'') {
        let mut chars = text.chars().skip(1);
        // Else it is a lifetime.
        let is_char = match chars.next()? {
            '\\' => true,
            _ => chars.next() == Some('\''),
        };
        return is_char.then(|| (Kind::Literal, quoted(text, '\'')));
    }
    raw_string(text).filter(|_| !after_name).map(|len| (Kind::Literal, len))
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
            (true, _) => (depth, at) = (depth + 1, at + 2),
            (_, true) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if char == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = r###"a(); // "b"
/* c /* d */ " */ e("f \" // g", 'h', '"', '\'', r#"i " j"#, br"k\", b"l", x: &'m str); n() "###;
    let source = Source::new("lead/x.rs".to_owned(), text);
    let words: Vec<&str> = source.code.split(|char| !is_name_char(char)).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "e", "b", "x", "m", "str", "n"]);
    assert_eq!(source.code.len(), text.len());
    assert!(source.shipped.contains("f \\\" // g") && !source.shipped.contains('d'));
}

#[test]
fn every_branch_of_a_use_tree_is_seen_with_its_line() {
    let text = "use crate::{queue::{Store, Entry}, lead,\n    map::auto::{self, x}};\n\nfn f() -> crate::config::Config {}\npub(in crate::send) fn g() {}";
    let source = Source::new("accept/mod.rs".to_owned(), text);
    let expected = [(1, "lead"), (1, "queue"), (2, "map"), (4, "config"), (5, "send")];
    assert_eq!(source.rooms_used(), expected.map(|(line, name)| (line, name.to_owned())));
}

#[test]
fn super_that_leaves_the_room_is_seen() {
    let used = |name: &str, text: &str| {
        let used = Source::new(name.to_owned(), text).rooms_used();
        used.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(used("pipeline.rs", "use super::{queue::Store, lead};"), ["lead", "queue"]);
    assert_eq!(used("queue/mod.rs", "use super::config::Config;"), ["config"]);
    assert_eq!(used("queue/sqlite.rs", "use super::entry; use super::super::config;"), ["config"]);
    assert!(used("queue/sqlite/row.rs", "use super::super::entry;").is_empty());
    assert!(used("queue/mod.rs", "mod tests {\n use super::entry; }").is_empty());
    assert_eq!(used("queue/mod.rs", "mod tests { use super::super::send; }"), ["send"]);
    assert_eq!(used("queue/mod.rs", "mod tests { } use super::send;"), ["send"]);
}

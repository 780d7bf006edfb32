//! JSON (RFC 8259), with names in order, repeated names kept and numbers as written.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::document::{Arena, Content, Document, MemberKey, NodeId};
use super::{DecodeError, LIMITS};

/// What `serde_json` calls a number it hands over in digits: as written, but for its exponent (`1E5` comes as `1e+5`).
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// About how many bytes of JSON one value takes.
const BYTES_A_VALUE: usize = 24;

/// Why text is no JSON that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    Syntax,
    Limit(DecodeError),
}

/// The content of a file, which the document doesn't hold.
pub(super) struct FileContent<'a> {
    /// Where the name `content` ends in the text, its quote and all.
    pub(super) after_name: usize,
    pub(super) content: &'a str,
    /// A size stands beside it.
    pub(super) is_size_told: bool,
}

/// The result of reading a JSON text.
pub(super) struct ParsedJson<'a> {
    pub(super) document: Document<'a>,
    /// The contents of the files below the root, in the order in which they end.
    pub(super) files: Vec<FileContent<'a>>,
}

/// Parses one JSON text.
pub(super) fn parse<'a>(text: &'a str, arena: &'a Arena) -> Result<Document<'a>, JsonError> {
    read(text, arena).map(|read| read.document)
}

/// Parses one JSON text, and tells where the contents of its files stand.
pub(super) fn read<'a>(whole: &'a str, arena: &'a Arena) -> Result<ParsedJson<'a>, JsonError> {
    let text = whole.strip_prefix('\u{FEFF}').unwrap_or(whole);
    let mut parser = Parser {
        document: Document::with_capacity((text.len() / BYTES_A_VALUE).min(LIMITS.nodes)),
        arena,
        text: whole,
        position: whole.len() - text.len(),
        nodes: 0,
        passed: Cell::new(None),
        files: Vec::new(),
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let root = Seed { parser: &mut parser, parent: None, key: MemberKey::Root, depth: 0 };
    let read = root.deserialize(&mut deserializer).and_then(|_root| deserializer.end());
    match read {
        Ok(()) => Ok(ParsedJson { document: parser.document, files: parser.files }),
        Err(_syntax) => Err(parser.passed.get().map_or(JsonError::Syntax, JsonError::Limit)),
    }
}

/// What a text has been read into, and how far.
struct Parser<'a> {
    document: Document<'a>,
    arena: &'a Arena,
    text: &'a str,
    /// No number that wasn't read yet stands before it.
    position: usize,
    nodes: usize,
    passed: Cell<Option<DecodeError>>,
    files: Vec<FileContent<'a>>,
}

impl<'a> Parser<'a> {
    fn spend<E: Error>(&mut self, depth: usize) -> Result<(), E> {
        self.nodes += 1;
        let limits = [("depth", depth, LIMITS.depth), ("values", self.nodes, LIMITS.nodes)];
        match limits.into_iter().find(|(_, found, max)| found > max) {
            None => Ok(()),
            Some((limit, _, max)) => {
                self.passed.set(Some(DecodeError::Limit { limit, max }));
                Err(E::custom("limit"))
            }
        }
    }

    /// Goes past a string of the text: none of its figures is a number.
    fn pass(&mut self, slice: &str) {
        let start = slice.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        // Its closing quote too. What `serde_json` names itself lies elsewhere.
        let end = start.saturating_add(slice.len()).saturating_add(1);
        if start >= self.position && end <= self.text.len() {
            self.position = end;
        }
    }

    /// Returns the next number as written; none where it isn't the one that has these digits.
    fn written(&mut self, digits: &str) -> Option<&'a str> {
        let rest = self.text.get(self.position..)?;
        let start = number_start(rest);
        // What is passed isn't looked at again, or a hostile text would take the square of its length.
        self.position += start;
        let rest = rest.get(start..)?;
        let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let number = rest.get(..rest.bytes().take_while(is_of_number).count())?;
        let is_it = plain(number).eq(plain(digits));
        is_it.then(|| {
            self.position += number.len();
            number
        })
    }

    /// Returns the number as written; digits that stand nowhere as they came.
    fn number(&mut self, digits: &str) -> Content<'a> {
        Content::Number(self.written(digits).unwrap_or_else(|| self.arena.alloc_str(digits)))
    }
}

/// Returns a number's bytes but for what `serde_json` writes in its own way.
fn plain(number: &str) -> impl Iterator<Item = u8> + '_ {
    number.bytes().filter(|byte| *byte != b'+').map(|byte| byte.to_ascii_lowercase())
}

/// Returns where the next number of a JSON text begins, or its end.
fn number_start(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate();
    let mut in_string = false;
    while let Some((index, byte)) = bytes.next() {
        match (in_string, byte) {
            (true, b'\\') => drop(bytes.next()),
            (_, b'"') => in_string = !in_string,
            (false, b'-' | b'0'..=b'9') => return index,
            _ => {}
        }
    }
    text.len()
}

/// Reads one value into its container.
struct Seed<'p, 'a> {
    parser: &'p mut Parser<'a>,
    parent: Option<NodeId>,
    key: MemberKey<'a>,
    depth: usize,
}

impl<'a> Seed<'_, 'a> {
    fn push(self, content: Content<'a>) -> NodeId {
        self.parser.document.push(self.parent, self.key, content)
    }
}

impl<'a> DeserializeSeed<'a> for Seed<'_, 'a> {
    type Value = NodeId;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<NodeId, D::Error> {
        self.parser.spend(self.depth)?;
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'_, 'a> {
    type Value = NodeId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<NodeId, E> {
        Ok(self.push(Content::Null))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<NodeId, E> {
        Ok(self.push(Content::Bool(truth)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<NodeId, E> {
        let number = self.parser.number(&number.to_string());
        Ok(self.push(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<NodeId, E> {
        let number = self.parser.number(&number.to_string());
        Ok(self.push(number))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<NodeId, E> {
        self.parser.pass(text);
        Ok(self.push(Content::Text(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<NodeId, E> {
        let text = self.parser.arena.alloc_str(text);
        Ok(self.push(Content::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut access: A) -> Result<NodeId, A::Error> {
        let list = self.parser.document.push(self.parent, self.key, Content::List);
        let mut item = |index| {
            let key = MemberKey::Index(index);
            access.next_element_seed(Seed { parser: &mut *self.parser, parent: Some(list), key, depth: self.depth + 1 })
        };
        let mut index = 0;
        while item(index)?.is_some() {
            index += 1;
        }
        Ok(list)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut access: A) -> Result<NodeId, A::Error> {
        let record = self.parser.document.push(self.parent, self.key, Content::Record);
        let mut is_first = true;
        let mut after_content = None;
        while let Some(name) = access.next_key_seed(MemberName { parser: &mut *self.parser })? {
            if name == NUMBER_TOKEN && is_first {
                let digits: String = access.next_value()?;
                match self.parser.written(&digits) {
                    Some(number) => self.parser.document.set_content(record, Content::Number(number)),
                    // Somebody's text that uses the name.
                    None => {
                        let text = Content::Text(self.parser.arena.alloc_str(&digits));
                        self.parser.document.push(Some(record), MemberKey::Name(NUMBER_TOKEN), text);
                        is_first = false;
                        continue;
                    }
                }
                return Ok(record);
            }
            is_first = false;
            if name == "content" {
                after_content = after_content.or(Some(self.parser.position));
            }
            let parser = &mut *self.parser;
            let key = MemberKey::Name(name);
            access.next_value_seed(Seed { parser, parent: Some(record), key, depth: self.depth + 1 })?;
        }
        if let Some(after_name) = after_content {
            self.parser.file(record, after_name);
        }
        Ok(record)
    }
}

/// Reads the name of a member.
struct MemberName<'p, 'a> {
    parser: &'p mut Parser<'a>,
}

impl<'a> DeserializeSeed<'a> for MemberName<'_, 'a> {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<&'a str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for MemberName<'_, 'a> {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<&'a str, E> {
        self.parser.pass(name);
        Ok(name)
    }

    fn visit_str<E>(self, name: &str) -> Result<&'a str, E> {
        Ok(self.parser.arena.alloc_str(name))
    }
}

/// Most members of a `{filename, content}`, sizes not counted: with more it is something else.
const FILE_MEMBERS_MAX: usize = 4;

impl<'a> Parser<'a> {
    /// Reads `{filename, content}` as a file: plugins send uploads so, in base64. The size is told where the content was
    /// cut out.
    fn file(&mut self, record: NodeId, after_name: usize) {
        let document = &self.document;
        let text = |wanted: &str| {
            let member = document.member(record, wanted)?;
            match document.content(member) {
                Content::Text(text) => Some(text),
                _ => None,
            }
        };
        let (Some(name), Some(content)) = (text("filename"), text("content")) else { return };
        let kind = text("type");
        let sizes = || document.children(record).filter(|member| document.key(*member) == MemberKey::Name("size"));
        let told: Option<u64> = sizes().find_map(|size| document.text(size)?.parse().ok());
        if document.children(record).count() - sizes().count() > FILE_MEMBERS_MAX {
            return;
        }
        // Where the whole submission is such a record, it may as well be a form with these two fields.
        if record != document.root() {
            self.files.push(FileContent { after_name, content, is_size_told: told.is_some() });
        }
        let size = told.unwrap_or_else(|| base64_size(content));
        let size = bumpalo::format!(in self.arena, "{}", size).into_bump_str();
        self.document.set_file(record, name, kind, size);
    }
}

/// Returns how many bytes base64 holds.
fn base64_size(content: &str) -> u64 {
    let digits = content.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count() as u64;
    digits * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text, and writes each of its values as `key=content`.
    fn told(text: &str) -> Result<Vec<String>, JsonError> {
        let arena = Arena::new();
        let document = parse(text, &arena)?;
        let told = |id| {
            let (kind, text) = match document.content(id) {
                Content::Null => ("Null", ""),
                Content::Bool(truth) => ("Bool", if truth { "true" } else { "false" }),
                Content::Number(text) => ("Number", text),
                Content::Text(text) => ("Text", text),
                Content::File(text) => ("File", text),
                Content::List => ("List", ""),
                Content::Record => ("Record", ""),
            };
            format!("{}={kind} {text}", document.name(id)).trim_end().to_owned()
        };
        let mut told_all = Vec::new();
        let mut open = vec![document.root()];
        while let Some(id) = open.pop() {
            told_all.push(told(id));
            let children: Vec<_> = document.children(id).collect();
            open.extend(children.into_iter().rev());
        }
        Ok(told_all)
    }

    #[test]
    fn order_repeats_and_digits_are_kept() {
        let parsed = told("\u{FEFF} {\"b\":1.50,\"a\":[null,true,-7,12345678901234567890123],\"b\":\"\\u00e9\"} ");
        let expected = [
            "=Record",
            "b=Number 1.50",
            "a=List",
            "0=Null",
            "1=Bool true",
            "2=Number -7",
            "3=Number 12345678901234567890123",
            "b=Text é",
        ];
        assert_eq!(parsed, Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn exponents_are_as_written() {
        for number in ["1e5", "1E5", "1E+5", "1e-05", "-0.10e10", "1e400", "1e+0"] {
            let text = format!(r#"{{"1e9 \\\" 2":"3\"4","a":[5,{number} ],"x y 7":"8","b":6e7}}"#);
            let read = told(&text).expect("JSON").join(" ");
            assert!(read.contains(&format!("0=Number 5 1=Number {number}")), "{read}");
            assert!(read.contains("b=Number 6e7"), "{read}");
        }
    }

    #[test]
    fn a_text_that_imitates_a_number_stays_a_text() {
        let text = format!(r#"{{"a":{{"{NUMBER_TOKEN}":"x"}},"b":{{"{NUMBER_TOKEN}":"7"}},"c":8E1}}"#);
        let read = told(&text).expect("JSON").join(" ");
        let expected = format!("=Record a=Record {NUMBER_TOKEN}=Text x b=Record {NUMBER_TOKEN}=Text 7 c=Number 8E1");
        assert_eq!(read, expected);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(told(&nested(LIMITS.depth + 1)).is_ok());
        let limit = |limit, max| Err(JsonError::Limit(DecodeError::Limit { limit, max }));
        assert_eq!(told(&nested(LIMITS.depth + 2)), limit("depth", LIMITS.depth));
        assert_eq!(told(&nested(100_000)), limit("depth", LIMITS.depth));
        let many = format!("[{}1]", "1,".repeat(LIMITS.nodes));
        assert_eq!(told(&many), limit("values", LIMITS.nodes));
    }

    #[test]
    fn a_file_in_base64_is_known_by_name_and_size() {
        let parsed = told(r#"{"photo":{"filename":"a.txt","content":"aGVsbG8="}}"#);
        let expected = ["=Record", "photo=File a.txt", "name=Text a.txt", "type=Null", "size=Number 5"];
        assert_eq!(parsed, Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn broken_json_is_refused() {
        for text in ["", "{", "{\"a\":1,}", "{'a':1}", "{\"a\":01}", "[1] x", "\u{0}"] {
            assert_eq!(told(text), Err(JsonError::Syntax), "{text}");
        }
    }
}

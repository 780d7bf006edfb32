//! JSON (RFC 8259), with names in order, repeated names kept and numbers as written.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::tree::{File, Tree};
use super::{DecodeError, LIMITS};

/// What `serde_json` calls a number it hands over in digits: as written, but for its exponent (`1E5` comes as `1e+5`).
pub(super) const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Why text is no JSON that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    Syntax,
    Limit(DecodeError),
}

/// Parses one JSON text.
pub(super) fn parse(text: &str) -> Result<Tree, JsonError> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let (budget, numbers) = (Budget::default(), Numbers { rest: Cell::new(text) });
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Seed { depth: 0, budget: &budget, numbers: &numbers }.deserialize(&mut deserializer);
    let tree = tree.and_then(|tree| deserializer.end().map(|()| tree));
    tree.map_err(|_syntax| budget.passed.get().map_or(JsonError::Syntax, JsonError::Limit))
}

/// What is left to spend, and which limit was passed.
#[derive(Default)]
struct Budget {
    nodes: Cell<usize>,
    passed: Cell<Option<DecodeError>>,
}

impl Budget {
    fn spend<E: Error>(&self, depth: usize) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        let limits = [("depth", depth, LIMITS.depth), ("values", self.nodes.get(), LIMITS.nodes)];
        match limits.into_iter().find(|(_, found, max)| found > max) {
            None => Ok(()),
            Some((limit, _, max)) => {
                self.passed.set(Some(DecodeError::Limit { limit, max }));
                Err(E::custom("limit"))
            }
        }
    }
}

/// The numbers of a text, which are asked for in its order.
struct Numbers<'a> {
    rest: Cell<&'a str>,
}

impl Numbers<'_> {
    /// Returns the next number as written; none where it isn't the one that has these digits.
    fn written(&self, digits: &str) -> Option<String> {
        let rest = self.rest.get();
        let rest = rest.get(number_start(rest)..)?;
        // What is passed isn't looked at again, or a hostile text would take the square of its length.
        self.rest.set(rest);
        let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let (number, rest) = rest.split_at_checked(rest.bytes().take_while(is_of_number).count())?;
        let plain = |text: &str| text.replace('+', "").to_ascii_lowercase();
        let is_it = plain(number) == plain(digits);
        is_it.then(|| {
            self.rest.set(rest);
            number.to_owned()
        })
    }
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

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    budget: &'a Budget,
    numbers: &'a Numbers<'a>,
}

impl Seed<'_> {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        self.budget.spend(self.depth)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        let digits = number.to_string();
        Ok(Tree::Number(self.numbers.written(&digits).unwrap_or(digits)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        let digits = number.to_string();
        Ok(Tree::Number(self.numbers.written(&digits).unwrap_or(digits)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::text(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.deeper())? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members: Vec<(String, Tree)> = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            if name == NUMBER_TOKEN && members.is_empty() {
                let digits: String = access.next_value()?;
                match self.numbers.written(&digits) {
                    Some(number) => return Ok(Tree::Number(number)),
                    // Somebody's text that uses the name.
                    None => members.push((name, Tree::Text(digits))),
                }
                continue;
            }
            members.push((name, access.next_value_seed(self.deeper())?));
        }
        Ok(file(&members).unwrap_or(Tree::Record(members)))
    }
}

/// Most members of a `{filename, content}`, sizes not counted: with more it is something else.
const FILE_MEMBERS_MAX: usize = 4;

/// Reads `{filename, content}` as a file: plugins send uploads so, in base64. The size is told where the content was
/// cut out.
fn file(members: &[(String, Tree)]) -> Option<Tree> {
    let text = |wanted: &str| {
        members.iter().find(|(name, _)| name == wanted).and_then(|(_, member)| match member {
            Tree::Text(text) => Some(text.as_str()),
            _ => None,
        })
    };
    let (name, content) = (text("filename")?, text("content")?);
    let sizes = || members.iter().filter(|(name, _)| name == "size").map(|(_, size)| size);
    let told = sizes().find_map(|size| size.as_value()?.parse().ok());
    let size = told.unwrap_or_else(|| base64_size(content));
    let kind = text("type").map(str::to_owned);
    let is_file = members.len() - sizes().count() <= FILE_MEMBERS_MAX;
    is_file.then(|| Tree::File(File { name: name.to_owned(), kind, size }))
}

/// Returns how many bytes base64 holds.
pub(super) fn base64_size(content: &str) -> u64 {
    let digits = content.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count() as u64;
    digits * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(members: &[(&str, Tree)]) -> Tree {
        Tree::Record(members.iter().map(|(name, tree)| ((*name).to_owned(), tree.clone())).collect())
    }

    #[test]
    fn order_repeats_and_digits_are_kept() {
        let parsed = parse("\u{FEFF} {\"b\":1.50,\"a\":[null,true,-7,12345678901234567890123],\"b\":\"\\u00e9\"} ");
        let list = Tree::List(vec![
            Tree::Null,
            Tree::Bool(true),
            Tree::Number("-7".to_owned()),
            Tree::Number("12345678901234567890123".to_owned()),
        ]);
        let expected = record(&[("b", Tree::Number("1.50".to_owned())), ("a", list), ("b", Tree::text("é"))]);
        assert_eq!(parsed, Ok(expected));
    }

    #[test]
    fn exponents_are_as_written() {
        for number in ["1e5", "1E5", "1E+5", "1e-05", "-0.10e10", "1e400", "1e+0"] {
            let text = format!(r#"{{"1e9 \\\" 2":"3\"4","a":[5,{number} ],"b":6e7}}"#);
            let list = Tree::List(vec![Tree::Number("5".to_owned()), Tree::Number(number.to_owned())]);
            let expected =
                record(&[("1e9 \\\" 2", Tree::text("3\"4")), ("a", list), ("b", Tree::Number("6e7".to_owned()))]);
            assert_eq!(parse(&text), Ok(expected), "{number}");
        }
    }

    #[test]
    fn a_text_that_imitates_a_number_stays_a_text() {
        let text = format!(r#"{{"a":{{"{NUMBER_TOKEN}":"x"}},"b":{{"{NUMBER_TOKEN}":"7"}},"c":8E1}}"#);
        let imitated = |text: &str| record(&[(NUMBER_TOKEN, Tree::text(text))]);
        let number = Tree::Number("8E1".to_owned());
        assert_eq!(parse(&text), Ok(record(&[("a", imitated("x")), ("b", imitated("7")), ("c", number)])));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(LIMITS.depth + 1)).is_ok());
        let limit = |limit, max| Err(JsonError::Limit(DecodeError::Limit { limit, max }));
        assert_eq!(parse(&nested(LIMITS.depth + 2)), limit("depth", LIMITS.depth));
        assert_eq!(parse(&nested(100_000)), limit("depth", LIMITS.depth));
        let many = format!("[{}1]", "1,".repeat(LIMITS.nodes));
        assert_eq!(parse(&many), limit("values", LIMITS.nodes));
    }

    #[test]
    fn a_file_in_base64_is_known_by_name_and_size() {
        let parsed = parse(r#"{"photo":{"filename":"a.txt","content":"aGVsbG8="}}"#);
        let file = Tree::File(File { name: "a.txt".to_owned(), kind: None, size: 5 });
        assert_eq!(parsed, Ok(record(&[("photo", file)])));
    }

    #[test]
    fn broken_json_is_refused() {
        for text in ["", "{", "{\"a\":1,}", "{'a':1}", "{\"a\":01}", "[1] x", "\u{0}"] {
            assert_eq!(parse(text), Err(JsonError::Syntax), "{text}");
        }
    }
}

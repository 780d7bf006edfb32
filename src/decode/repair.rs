//! Broken JSON whose intent is plain: a template with the visitor's values pasted in, never escaped.
//!
//! Templates for a webhook's body do that: a line break or a quote in the message breaks the JSON. Here a
//! string ends where what follows can only be JSON again; everything before that is the value, as typed.

use std::collections::HashSet;

use bumpalo::collections::String as Text;

use super::document::{Arena, Content, Document, Hashing, MemberKey, NodeId};
use super::{DecodeError, DecodeLimits, LIMITS};

/// How far ahead of a quote is looked for the next name's colon, in bytes.
const NAME_LOOK_AHEAD: usize = 256;

/// Reads broken JSON; none where the intent isn't plain.
pub(super) fn parse<'a>(text: &'a str, arena: &'a Arena) -> Result<Option<Document<'a>>, DecodeError> {
    let rest = text.trim_start_matches('\u{FEFF}');
    let mut reader = JsonRepairer { rest, document: Document::default(), arena, nodes: 0 };
    let read = reader.value(None, MemberKey::Root, 0, JsonContext::Top)?;
    let is_whole = read.is_some() && reader.rest.trim().is_empty();
    let document = reader.document;
    let holds_a_value = |document: &Document<'_>| document.ids().any(|id| document.text(id).is_some());
    Ok(Some(document).filter(|document| is_whole && holds_a_value(document)))
}

/// Where a value is, which decides what may follow it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonContext {
    Top,
    Member,
    Item,
}

/// Reads text that begins like JSON.
struct JsonRepairer<'a> {
    rest: &'a str,
    document: Document<'a>,
    arena: &'a Arena,
    nodes: usize,
}

/// The repaired value; none if the intent isn't clear.
type Repaired = Result<Option<()>, DecodeError>;

impl<'a> JsonRepairer<'a> {
    fn value(&mut self, parent: Option<NodeId>, key: MemberKey<'a>, depth: usize, place: JsonContext) -> Repaired {
        self.nodes += 1;
        DecodeLimits::check("values", self.nodes, LIMITS.nodes)?;
        DecodeLimits::check("depth", depth, LIMITS.depth)?;
        self.space();
        let content = match self.rest.chars().next() {
            Some('{') => {
                let record = self.document.push(parent, key, Content::Record);
                return self.record(record, depth);
            }
            Some('[') => {
                let list = self.document.push(parent, key, Content::List);
                return self.list(list, depth);
            }
            Some('"') => self.string(place).map(Content::Text),
            Some(_) if place != JsonContext::Top => Some(self.bare()),
            _ => None,
        };
        let Some(content) = content else { return Ok(None) };
        self.document.push(parent, key, content);
        Ok(Some(()))
    }

    fn record(&mut self, record: NodeId, depth: usize) -> Repaired {
        self.skip("{");
        let mut names: HashSet<&str, Hashing> = HashSet::default();
        loop {
            self.space();
            if self.skip("}") {
                return Ok(Some(()));
            }
            let Some(name) = self.name() else { return Ok(None) };
            // A template names each member once: twice is another document, or something a visitor pasted.
            if !names.insert(name) {
                return Ok(None);
            }
            let Some(()) = self.value(Some(record), MemberKey::Name(name), depth + 1, JsonContext::Member)? else {
                return Ok(None);
            };
            self.space();
            if !self.skip(",") && !self.rest.starts_with('}') {
                return Ok(None);
            }
        }
    }

    fn list(&mut self, list: NodeId, depth: usize) -> Repaired {
        self.skip("[");
        for index in 0.. {
            self.space();
            if self.skip("]") {
                break;
            }
            let Some(()) = self.value(Some(list), MemberKey::Index(index), depth + 1, JsonContext::Item)? else {
                return Ok(None);
            };
            self.space();
            if !self.skip(",") && !self.rest.starts_with(']') {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Reads `"name" :`. Names come from the template, not from the visitor: they are well formed.
    fn name(&mut self) -> Option<&'a str> {
        let (name, rest) = self.rest.strip_prefix('"')?.split_once('"')?;
        self.rest = rest.trim_start().strip_prefix(':')?;
        Some(name)
    }

    /// Reads a string up to the quote after which JSON goes on.
    fn string(&mut self, place: JsonContext) -> Option<&'a str> {
        let inner = self.rest.strip_prefix('"')?;
        // A backslash before the quote may be the last sign that was typed: what follows decides here too.
        for (at, _) in inner.match_indices('"') {
            let (value, after) = inner.split_at_checked(at)?;
            let after = after.strip_prefix('"')?;
            if goes_on(after, place) {
                self.rest = after;
                return Some(unescape(value, self.arena));
            }
        }
        None
    }

    /// Reads a value without quotes, as written: a phone with its zero, a number, a tag that came out empty.
    fn bare(&mut self) -> Content<'a> {
        let end = self.rest.find([',', '}', ']', '\n']).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        match value.trim() {
            "" | "null" => Content::Null,
            "true" => Content::Bool(true),
            "false" => Content::Bool(false),
            other => Content::Text(other),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn skip(&mut self, sign: &str) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// Tells whether JSON can go on after a string's closing quote.
fn goes_on(after: &str, place: JsonContext) -> bool {
    let after = after.trim_start();
    match (after.chars().next(), place) {
        (None, JsonContext::Top) => true,
        (Some('}'), JsonContext::Member) | (Some(']'), JsonContext::Item) => closes(after),
        (Some(','), JsonContext::Member) => begins_name(after.trim_start_matches(',').trim_start()),
        (Some(','), JsonContext::Item) => begins_item(after.trim_start_matches(',').trim_start()),
        _ => false,
    }
}

/// After a closing bracket only other brackets, a comma or the end can stand.
fn closes(after: &str) -> bool {
    let rest = after.trim_start_matches(|c: char| matches!(c, '}' | ']') || c.is_whitespace());
    rest.is_empty() || rest.starts_with(',')
}

fn begins_name(text: &str) -> bool {
    if text.starts_with('}') {
        return closes(text);
    }
    let Some(name) = text.strip_prefix('"') else { return false };
    let near = name.char_indices().take_while(|(at, _)| *at < NAME_LOOK_AHEAD).find(|(_, c)| matches!(c, '"' | '\n'));
    let after = near.filter(|(_, c)| *c == '"').and_then(|(at, _)| name.get(at + 1..));
    after.is_some_and(|after| after.trim_start().starts_with(':'))
}

fn begins_item(text: &str) -> bool {
    text.starts_with(['"', '{', '[', '-', ']']) || text.starts_with(|c: char| c.is_ascii_digit())
}

/// Decodes the escapes that `json_encode` writes; any other backslash was typed.
fn unescape<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    if !text.contains('\\') {
        return text;
    }
    let mut out = Text::with_capacity_in(text.len(), arena);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        rest = match after.chars().next() {
            Some(c @ ('"' | '/' | '\\')) => {
                out.push(c);
                after.get(1..).unwrap_or_default()
            }
            Some('u') => unicode(after, &mut out),
            _ => {
                out.push('\\');
                after
            }
        };
    }
    out.push_str(rest);
    out.into_bump_str()
}

/// Decodes `u` and four hex digits, or a surrogate pair of them, at the head of `after`.
fn unicode<'t>(after: &'t str, out: &mut Text<'_>) -> &'t str {
    let unit =
        |text: &str| text.strip_prefix('u').and_then(|t| t.get(..4)).and_then(|h| u16::from_str_radix(h, 16).ok());
    let Some(first) = unit(after) else {
        out.push('\\');
        return after;
    };
    let rest = after.get(5..).unwrap_or_default();
    let second = rest.strip_prefix('\\').and_then(unit);
    match second.and_then(|second| char::decode_utf16([first, second]).next()?.ok().filter(|c| u32::from(*c) > 0xFFFF))
    {
        Some(pair) => {
            out.push(pair);
            rest.get(6..).unwrap_or_default()
        }
        None => {
            out.push(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(text: &str) -> Option<String> {
        let arena = Arena::new();
        let document = parse(text, &arena).expect("within limits")?;
        Some(document.json(document.root()).to_string())
    }

    #[test]
    fn values_pasted_into_a_template_are_recovered() {
        for (broken, mended) in [
            ("{\"a\":\"x\ny\",\"b\":[\"c\",\"d\"]}", r#"{"a":"x\ny","b":["c","d"]}"#),
            (r#"{"a":"say "hi", ok","b":"c"}"#, r#"{"a":"say \"hi\", ok","b":"c"}"#),
            (r#"{"a":"5\" pipe","b":"C:\temp\new"}"#, r#"{"a":"5\" pipe","b":"C:\\temp\\new"}"#),
            (r#"{"phone":0501234567,"n":,"x":"y"}"#, r#"{"phone":"0501234567","n":null,"x":"y"}"#),
            (r#"{"lead":{"a":"q"r"},"z":"u\u00e9\/ud83d"}"#, r#"{"lead":{"a":"q\"r"},"z":"ué/ud83d"}"#),
            ("{\"a\":\"\\ud83d\\ude00 \"x\"\",}", "{\"a\":\"😀 \\\"x\\\"\"}"),
            (r#"{"a":"ends with a backslash\","b":"c"}"#, r#"{"a":"ends with a backslash\\","b":"c"}"#),
            (r#"{"a":"escaped \"x\", \"y\": 1","b":"z"y"}"#, r#"{"a":"escaped \"x\", \"y\": 1","b":"z\"y"}"#),
            (r#"{"a":["say \"hi\"","\\"],"b":"z"y"}"#, r#"{"a":["say \"hi\"","\\"],"b":"z\"y"}"#),
        ] {
            assert_eq!(repaired(broken).as_deref(), Some(mended), "{broken}");
        }
    }

    #[test]
    fn what_is_not_plain_is_not_guessed() {
        let twice = r#"{"n":"Ann","e":"a@b.co"}{"n":"Bob","e":"b@b.co"}"#;
        for text in [
            twice,
            r#"{"a":"x "y","b":"1","b":"2"}"#,
            "{",
            "{\"a\"",
            "{\"a\":\"b",
            "{\"a\":\"b\"} trailing",
            "{}",
            "[]",
            "{a:b}",
            "{\"a\":\"\"}",
        ] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        let error = parse(&deep, &Arena::new()).err();
        assert_eq!(error, Some(DecodeError::Limit { limit: "depth", max: LIMITS.depth }));
    }
}

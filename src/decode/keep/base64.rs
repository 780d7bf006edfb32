//! JSON: the contents of `{filename, content}`, cut out of a text that stays byte for byte as it came around them.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::charset::{Declared, Kind};
use super::super::json::{self, NUMBER_TOKEN, base64_size};
use super::super::looks_like_json;

/// A content to cut out.
struct Cut {
    /// Where its string stands in the text, quotes and all.
    range: Range<usize>,
    /// What is told in its place; none where a size stands beside it.
    size: Option<u64>,
}

/// Cuts file contents out of a body; none where there are none, or where it is no strict JSON.
///
/// That the rest decodes to the same is checked, not argued.
pub(super) fn cut(body: &[u8], declared: Declared) -> Option<Vec<u8>> {
    if !matches!(declared.kind, Kind::Json | Kind::Text | Kind::Form) || !looks_like_json(body) {
        return None;
    }
    let text = declared.decode(body, &mut BTreeSet::new());
    // Names written with escapes aren't looked for: no plugin writes these two so.
    if !text.contains("\"filename\"") || !text.contains("\"content\"") {
        return None;
    }
    // Where the charset or broken bytes make it another text, its places aren't those of the body.
    let mark = body.strip_suffix(text.as_bytes())?;
    let tree = json::parse(&text).ok()?;
    let mut cuts = Vec::new();
    let finder = Finder { text: &text, depth: 0, cuts: &mut cuts };
    finder.deserialize(&mut serde_json::Deserializer::from_str(&text)).ok()?;
    // A record is cut after those within it, wherever they stand.
    cuts.sort_unstable_by_key(|cut| cut.range.start);
    let rest = without(&text, &cuts)?;
    let same = !cuts.is_empty() && json::parse(&rest).is_ok_and(|cut| cut == tree);
    same.then(|| [mark, rest.as_bytes()].concat())
}

fn without(text: &str, cuts: &[Cut]) -> Option<String> {
    let mut rest = String::new();
    let mut end = 0;
    for Cut { range, size } in cuts {
        rest.push_str(text.get(end..range.start)?);
        rest.push_str("\"\"");
        if let Some(size) = size {
            rest.push_str(&format!(",\"size\":{size}"));
        }
        end = range.end;
    }
    rest.push_str(text.get(end..)?);
    Some(rest)
}

/// Walks through a text that is known to be JSON within the limits.
struct Finder<'a, 'c> {
    text: &'a str,
    depth: usize,
    cuts: &'c mut Vec<Cut>,
}

/// What matters of a value here.
#[derive(Clone, Copy, Default)]
struct Seen {
    is_text: bool,
    /// What it says, read as a size.
    size: Option<u64>,
}

impl<'a> Finder<'a, '_> {
    fn deeper(&mut self) -> Finder<'a, '_> {
        Finder { text: self.text, depth: self.depth + 1, cuts: self.cuts }
    }

    /// Looks at a member called `content`, which may be cut where it is base64.
    fn content<E: Error>(&mut self, raw: &'a str) -> Result<Option<Cut>, E> {
        if !raw.starts_with('"') {
            let found = self.deeper().deserialize(&mut serde_json::Deserializer::from_str(raw));
            return found.map(|_seen| None).map_err(E::custom);
        }
        let content: String = serde_json::from_str(raw).map_err(E::custom)?;
        let start = raw.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let cut = || Cut { range: start..start + raw.len(), size: Some(base64_size(&content)) };
        Ok(is_base64(&content).then(cut))
    }
}

/// Tells whether a text is base64 as encoders write it: padded, perhaps in lines. Anything else is left alone, since a
/// short text may be what somebody typed.
fn is_base64(text: &str) -> bool {
    let digits = || text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let padding = digits().skip_while(|&byte| plain(byte));
    !text.is_empty()
        && digits().count() % 4 == 0
        && padding.clone().count() <= 2
        && padding.clone().all(|byte| byte == b'=')
}

impl<'a> DeserializeSeed<'a> for Finder<'a, '_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Finder<'a, '_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_bool<E>(self, _truth: bool) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
        Ok(Seen { is_text: false, size: Some(number) })
    }

    fn visit_i64<E>(self, _below_zero: i64) -> Result<Seen, E> {
        Ok(Seen::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
        Ok(Seen { is_text: true, size: text.parse().ok() })
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut access: A) -> Result<Seen, A::Error> {
        while access.next_element_seed(self.deeper())?.is_some() {}
        Ok(Seen::default())
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut access: A) -> Result<Seen, A::Error> {
        let (mut filename, mut size) = (None, None);
        let mut content = None;
        let mut is_first = true;
        while let Some(name) = access.next_key::<String>()? {
            if name == NUMBER_TOKEN && is_first {
                let digits: String = access.next_value()?;
                return Ok(Seen { is_text: false, size: digits.parse().ok() });
            }
            is_first = false;
            if name == "content" && content.is_none() {
                let raw: &RawValue = access.next_value()?;
                content = Some(self.content::<A::Error>(raw.get())?);
                continue;
            }
            let seen = access.next_value_seed(self.deeper())?;
            match name.as_str() {
                "filename" => filename = filename.or(Some(seen.is_text)),
                "size" => size = size.or(seen.size),
                _ => {}
            }
        }
        // Where the whole submission is such a record, it may as well be a form with these two fields.
        if let (Some(true), Some(Some(cut)), true) = (filename, content, self.depth > 0) {
            self.cuts.push(Cut { size: cut.size.filter(|_| size.is_none()), ..cut });
        }
        Ok(Seen::default())
    }
}

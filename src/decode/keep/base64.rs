//! JSON: the contents of `{filename, content}`, cut out of a text that stays byte for byte as it came around them.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memmem;

use super::super::charset::{BodyKind, Declared};
use super::super::document::Arena;
use super::super::json;
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
    if !matches!(declared.kind, BodyKind::Json | BodyKind::Text | BodyKind::Form) || !looks_like_json(body) {
        return None;
    }
    let arena = Arena::new();
    let text = declared.decode(body, &arena, &mut BTreeSet::new());
    // Names written with escapes aren't looked for: no plugin writes these two so.
    let has = |name: &str| memmem::find(text.as_bytes(), name.as_bytes()).is_some();
    if !has("\"filename\"") || !has("\"content\"") {
        return None;
    }
    // Where the charset or broken bytes make it another text, its places aren't those of the body.
    let mark = body.strip_suffix(text.as_bytes())?;
    let read = json::read(text, &arena).ok()?;
    let mut cuts: Vec<Cut> = read.files.iter().filter_map(|file| to_cut(text, file)).collect();
    // A record is told after those within it, wherever they stand.
    cuts.sort_unstable_by_key(|cut| cut.range.start);
    let rest = without(text, &cuts)?;
    let same = !cuts.is_empty() && json::parse(&rest, &arena).is_ok_and(|cut| cut.is_same(&read.document));
    same.then(|| [mark, rest.as_bytes()].concat())
}

/// Returns what to cut of a file; none where its content isn't base64.
fn to_cut(text: &str, file: &json::FileContent<'_>) -> Option<Cut> {
    let size = base64_size(file.content)?;
    Some(Cut { range: string_at(text, file.after_name)?, size: (!file.is_size_told).then_some(size) })
}

/// Returns where the string lies that is the value of a name, which ends at `after_name`.
fn string_at(text: &str, after_name: usize) -> Option<Range<usize>> {
    let rest = text.get(after_name..)?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let start = text.len() - value.len();
    let inner = value.strip_prefix('"')?;
    let mut end = 0;
    loop {
        let at = end + memchr::memchr2(b'"', b'\\', inner.as_bytes().get(end..)?)?;
        if inner.as_bytes().get(at) == Some(&b'"') {
            return Some(start..start + at + 2);
        }
        end = at + 2;
    }
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

/// Returns how many bytes a text holds that is base64 as encoders write it: padded, perhaps in lines. Anything else is left
/// alone, since a short text may be what somebody typed.
fn base64_size(text: &str) -> Option<u64> {
    let (mut digits, mut padding) = (0_u64, 0_u64);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'=' => padding += 1,
            _ if padding == 0 && (byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)) => digits += 1,
            _ => return None,
        }
    }
    let is_base64 = !text.is_empty() && (digits + padding).is_multiple_of(4) && padding <= 2;
    is_base64.then_some(digits * 3 / 4)
}

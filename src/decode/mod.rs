//! From what was received to a [`Submission`]: ordered fields, one JSON tree, and what was odd about the bytes.
//!
//! Pure: no I/O, clock or logger. Every limit has a name in [`Limits`]; past one of them the body can't be decoded.

mod charset;

mod delimiters;

mod disposition;

mod fields;

mod heads;

mod json;

mod keep;

mod multipart;

mod php_json;

mod repair;

mod tree;

mod urlencoded;

use std::collections::BTreeSet;

use serde_json::Value;

pub use fields::{Field, child_path};
pub use keep::{Keeper, Kept, TooMuchToKeep};
pub use php_json::php_json;

use crate::received::Received;
use charset::Declared;
use tree::{Style, Tree};

/// A decoded submission, the same whatever encoding it came in.
///
/// `Debug` shows keys only: values are personal data.
#[derive(Clone, Default)]
pub struct Submission {
    /// The form's fields in the order in which they came.
    pub fields: Vec<Field>,
    /// The same as one JSON tree; bracket names are nested.
    pub document: Value,
    /// Query parameters beside a body: no fields, but a selector can name them as `query.NAME`.
    pub query: Vec<(String, String)>,
    pub oddities: BTreeSet<Oddity>,
}

/// What was unusual about the bytes, though they could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Broken JSON was mended where the intent is plain.
    Repaired,
    /// A form body whose values were not percent-encoded at all.
    Unencoded,
    /// The body is of another kind than its `Content-Type` says.
    Mislabelled,
    /// Bytes that are no text in the declared charset were replaced.
    InvalidText,
    /// A key came more than once.
    RepeatedKey,
    /// A name came both as a value and as a tree.
    MixedKey,
}

/// Why a body can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the media type is no form and no text")]
    UnsupportedType,
    #[error("the text is neither JSON nor a form")]
    NotAForm,
    #[error("the multipart body has no boundary")]
    NoBoundary,
    #[error("the multipart body is cut short or broken")]
    BrokenMultipart,
    #[error("the {limit} limit of {max} is passed")]
    Limit { limit: &'static str, max: usize },
}

/// How much of anything a body may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields of a form, parts of a multipart body.
    pub fields: usize,
    /// Bytes of a field's key.
    pub key_bytes: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Values of a JSON tree, containers counted.
    pub nodes: usize,
    /// Bytes of one part's headers, and of what stands before the first part.
    pub part_header_bytes: usize,
    /// Bytes of a multipart body's text parts together.
    pub text_bytes: usize,
}

/// The limits in force.
pub const LIMITS: Limits = Limits {
    fields: 1_000,
    key_bytes: 1_024,
    depth: 32,
    nodes: 20_000,
    part_header_bytes: 16_384,
    text_bytes: 1 << 20,
};

impl Limits {
    fn check(limit: &'static str, found: usize, max: usize) -> Result<(), DecodeError> {
        (found <= max).then_some(()).ok_or(DecodeError::Limit { limit, max })
    }
}

/// Reads a text that is one JSON value, within the limits of a body: numbers as written, the last of repeated names.
pub fn json_value(text: &str) -> Option<Value> {
    json::parse(text).ok().map(|tree| tree.into_document(Style::Dots, &mut BTreeSet::new()))
}

/// Decodes a submission: the body's fields, or the query's where there is no body.
pub fn decode(received: &Received) -> Result<Submission, DecodeError> {
    let mut odd = BTreeSet::new();
    let query = received.query.as_deref().unwrap_or_default().as_bytes();
    if received.body.is_empty() {
        // A multipart body has a last boundary even without a part: this one was cut off.
        if query.is_empty() && Declared::read(received.content_type()).kind == charset::Kind::Multipart {
            return Err(DecodeError::BrokenMultipart);
        }
        let tree = urlencoded::parse(query, Declared::UTF_8, &mut odd)?;
        return finish(tree, Style::Brackets, Vec::new(), odd);
    }
    let (tree, style) = decode_body(received, &mut odd)?;
    let query = urlencoded::pairs(query, Declared::UTF_8, &mut BTreeSet::new())?;
    finish(tree, style, query, odd)
}

fn finish(
    tree: Tree,
    style: Style,
    query: Vec<(String, String)>,
    mut oddities: BTreeSet<Oddity>,
) -> Result<Submission, DecodeError> {
    let fields = fields::collect(&tree, style);
    Limits::check("fields", fields.len(), LIMITS.fields)?;
    for field in &fields {
        Limits::check("key length", field.key.len(), LIMITS.key_bytes)?;
    }
    let document = tree.into_document(style, &mut oddities);
    Ok(Submission { fields, document, query, oddities })
}

/// Tries what the type says first, and what the body looks like after that: both are wrong at times.
fn decode_body(received: &Received, odd: &mut BTreeSet<Oddity>) -> Result<(Tree, Style), DecodeError> {
    let declared = Declared::read(received.content_type());
    let body = received.body.as_ref();
    match declared.kind {
        charset::Kind::Multipart => {
            let read = match &received.parts {
                Some(_) => Vec::new(),
                None => multipart::index(received.content_type().unwrap_or_default(), &received.body, received.cut)?,
            };
            let parts = received.parts.as_deref().unwrap_or(&read);
            Ok((multipart::parse(parts, body, declared, odd)?, Style::Brackets))
        }
        charset::Kind::Form => decode_form(body, declared, odd),
        charset::Kind::Json => decode_json(body, declared, odd),
        charset::Kind::Text if looks_like_json(body) => decode_json(body, declared, odd),
        charset::Kind::Text => {
            odd.insert(Oddity::Mislabelled);
            decode_form(body, declared, odd)
        }
        charset::Kind::Other => Err(DecodeError::UnsupportedType),
    }
}

fn decode_form(body: &[u8], declared: Declared, odd: &mut BTreeSet<Oddity>) -> Result<(Tree, Style), DecodeError> {
    if looks_like_json(body)
        && let Some(read) = json_after_all(&declared.decode(body, odd), odd)
    {
        odd.insert(Oddity::Mislabelled);
        return Ok(read);
    }
    let declared_form = declared.kind == charset::Kind::Form;
    if !(if declared_form { urlencoded::can_be_form(body) } else { urlencoded::looks_like_form(body) }) {
        return Err(DecodeError::NotAForm);
    }
    Ok((urlencoded::parse(body, declared, odd)?, Style::Brackets))
}

/// Reads JSON that came as a form; what is broken only where it can't be the name of a field.
fn json_after_all(text: &str, odd: &mut BTreeSet<Oddity>) -> Option<(Tree, Style)> {
    if let Ok(tree) = json::parse(text) {
        return Some((tree, Style::Dots));
    }
    let names = text.trim_start_matches('\u{FEFF}').trim_start().strip_prefix('{')?.trim_start().starts_with('"');
    let tree = if names { repair::parse(text).ok()?? } else { return None };
    odd.insert(Oddity::Repaired);
    Some((tree, Style::Dots))
}

fn decode_json(body: &[u8], declared: Declared, odd: &mut BTreeSet<Oddity>) -> Result<(Tree, Style), DecodeError> {
    let text = declared.decode(body, odd);
    match json::parse(&text) {
        Ok(tree) => Ok((tree, Style::Dots)),
        Err(json::JsonError::Limit(error)) => Err(error),
        Err(json::JsonError::Syntax) if looks_like_json(body) => {
            let tree = repair::parse(&text)?.ok_or(DecodeError::NotAForm)?;
            odd.insert(Oddity::Repaired);
            Ok((tree, Style::Dots))
        }
        Err(json::JsonError::Syntax) if urlencoded::looks_like_form(body) => {
            odd.insert(Oddity::Mislabelled);
            Ok((urlencoded::parse(body, declared, odd)?, Style::Brackets))
        }
        Err(json::JsonError::Syntax) => Err(DecodeError::NotAForm),
    }
}

/// Tells whether the first sign of text opens an object or a list.
fn looks_like_json(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

impl Oddity {
    /// Returns the oddity as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Unencoded => "unencoded",
            Self::Mislabelled => "mislabelled",
            Self::InvalidText => "invalid_text",
            Self::RepeatedKey => "repeated_key",
            Self::MixedKey => "mixed_key",
        }
    }
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("keys", &self.fields.iter().map(|field| field.key.as_str()).collect::<Vec<_>>())
            .field("oddities", &self.oddities)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Result<(String, Vec<Oddity>), DecodeError> {
        let received = Received {
            method: "POST".to_owned(),
            headers: [("content-type".to_owned(), content_type.to_owned())].into(),
            body: body.to_owned().into(),
            ..Received::default()
        };
        decode(&received).map(|read| (read.document.to_string(), read.oddities.into_iter().collect()))
    }

    #[test]
    fn json_under_a_form_type_is_read_even_where_it_is_broken() {
        let form = "application/x-www-form-urlencoded";
        let read = |body: &str| read(form, body);
        assert_eq!(read(r#"{"a":1}"#), Ok((r#"{"a":1}"#.to_owned(), vec![Oddity::Mislabelled])));
        let broken = "{\"a\":\"x = y\nz & \"q\"\"}";
        let mended = r#"{"a":"x = y\nz & \"q\""}"#.to_owned();
        assert_eq!(read(broken), Ok((mended, vec![Oddity::Repaired, Oddity::Mislabelled])));
        assert_eq!(read("{a}=1"), Ok((r#"{"{a}":"1"}"#.to_owned(), vec![])));
    }
}

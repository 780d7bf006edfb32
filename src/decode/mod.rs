//! From what was received to a [`Submission`]: ordered fields, one document of values, and what was odd about the bytes.
//!
//! Pure: no I/O, clock or logger. Every limit has a name in [`DecodeLimits`]; past one of them the body can't be decoded.

mod charset;

mod delimiters;

mod disposition;

mod document;

mod embedded;

mod fields;

mod heads;

mod json;

mod keep;

mod multipart;

mod names;

mod php_json;

mod repair;

mod repeats;

mod urlencoded;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde_json::Value;

pub use document::{Arena, Content, Document, Hashing, MemberKey, NodeId, NodeOrder};
pub use fields::Field;
pub use keep::{Keeper, KeptBody, TooMuchToKeep};
pub use php_json::php_json;

use crate::received::Received;
use charset::{BodyKind, Declared};
use fields::Style;

/// A decoded submission, the same whatever encoding it came in.
///
/// `Debug` shows keys only: values are personal data.
pub struct Submission<'a> {
    /// The form's fields in the order in which they came.
    pub fields: Vec<Field<'a>>,
    /// The same as one tree; bracket names are nested.
    pub document: Document<'a>,
    /// Query parameters beside a body: no fields, but a selector can name them as `query.NAME`.
    pub query: Vec<(&'a str, &'a str)>,
    pub oddities: BTreeSet<Oddity>,
    /// Where texts go that are made of it.
    pub arena: &'a Arena,
    json: OnceCell<Value>,
}

impl<'a> Submission<'a> {
    /// Returns the document as JSON, made when it is first asked for.
    pub fn json(&self) -> &Value {
        self.json.get_or_init(|| self.document.json(self.document.root()))
    }

    /// Returns what a value is called, as text.
    pub fn name(&self, id: NodeId) -> &'a str {
        match self.document.key(id) {
            MemberKey::Name(name) => name,
            MemberKey::Index(_) => self.arena.alloc_str(&self.document.name(id)),
            MemberKey::Root | MemberKey::Next => "",
        }
    }
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
    /// A text that is itself an object, a list or a form's body.
    Embedded,
    /// An object whose names are ways: `fields[name][value]`.
    BracketKeys,
}

/// Why a body can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the media type is neither a form nor text")]
    UnsupportedType,
    #[error("the text is neither JSON nor a form")]
    NotAForm,
    #[error("the multipart body has no boundary")]
    NoBoundary,
    #[error("the multipart body is cut off or malformed")]
    BrokenMultipart,
    #[error("over the {limit} limit of {max}")]
    Limit { limit: &'static str, max: usize },
}

/// The limits of a body.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
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

/// How many times as many values a document may have once its names with brackets are trees.
const NESTED_SHARE: usize = 2;

/// The limits in force.
pub const LIMITS: DecodeLimits = DecodeLimits {
    fields: 1_000,
    key_bytes: 1_024,
    depth: 32,
    nodes: 20_000,
    part_header_bytes: 16_384,
    text_bytes: 1 << 20,
};

impl DecodeLimits {
    fn check(limit: &'static str, found: usize, max: usize) -> Result<(), DecodeError> {
        (found <= max).then_some(()).ok_or(DecodeError::Limit { limit, max })
    }
}

/// Reads a text that is one JSON value, within the limits of a body: numbers as written, the last of repeated names.
pub fn json_value(text: &str) -> Option<Value> {
    let arena = Arena::new();
    let mut document = json::parse(text, &arena).ok()?;
    repeats::merge(&mut document, Style::Dots, &mut BTreeSet::new());
    Some(document.json(document.root()))
}

/// Decodes a submission: the body's fields, or the query's where there is no body.
pub fn decode<'a>(received: &'a Received, arena: &'a Arena) -> Result<Submission<'a>, DecodeError> {
    let mut odd = BTreeSet::new();
    let query = received.query.as_deref().unwrap_or_default().as_bytes();
    let declared = Declared::read(received.content_type());
    if !received.body.is_empty() {
        let (document, style) = read_body(received, declared, arena, &mut odd)?;
        let query = urlencoded::pairs(query, Declared::UTF_8, arena, &mut BTreeSet::new())?;
        return finish(document, style, query, arena, odd);
    }
    // A multipart body has a last boundary even without a part: this one was cut off.
    if query.is_empty() && declared.kind == BodyKind::Multipart {
        return Err(DecodeError::BrokenMultipart);
    }
    let document = urlencoded::parse(query, Declared::UTF_8, arena, &mut odd)?;
    finish(document, Style::Brackets, Vec::new(), arena, odd)
}

/// Decodes a submission for one look at it.
pub fn read<T>(received: &Received, look: impl FnOnce(&Submission<'_>) -> T) -> Result<T, DecodeError> {
    let arena = Arena::new();
    decode(received, &arena).map(|submission| look(&submission))
}

/// Decodes a JSON text, for tests of what comes after.
#[cfg(test)]
pub fn json<'a>(text: &'a str, arena: &'a Arena) -> Submission<'a> {
    let document = json::parse(text, arena).expect("JSON");
    finish(document, Style::Dots, Vec::new(), arena, BTreeSet::new()).expect("within limits")
}

/// Decodes a form's text, for tests of what comes after.
#[cfg(test)]
pub fn form<'a>(text: &'a str, arena: &'a Arena) -> Submission<'a> {
    let mut odd = BTreeSet::new();
    let document = urlencoded::parse(text.as_bytes(), Declared::UTF_8, arena, &mut odd).expect("a form");
    finish(document, Style::Brackets, Vec::new(), arena, odd).expect("within limits")
}

fn finish<'a>(
    mut document: Document<'a>,
    style: Style,
    query: Vec<(&'a str, &'a str)>,
    arena: &'a Arena,
    mut oddities: BTreeSet<Oddity>,
) -> Result<Submission<'a>, DecodeError> {
    if style == Style::Dots {
        document = embedded::nest(document, arena, &mut oddities);
        DecodeLimits::check("values", document.len(), LIMITS.nodes.saturating_mul(NESTED_SHARE))?;
    }
    embedded::open(&mut document, arena, &mut oddities);
    let fields = fields::collect(&document, style, arena);
    DecodeLimits::check("fields", fields.len(), LIMITS.fields)?;
    for field in &fields {
        DecodeLimits::check("key length", field.key.len(), LIMITS.key_bytes)?;
    }
    repeats::merge(&mut document, style, &mut oddities);
    Ok(Submission { fields, document, query, oddities, arena, json: OnceCell::new() })
}

/// A way to read a body that isn't multipart.
#[derive(Clone, Copy)]
enum DecodeAttempt {
    /// JSON as it should be; past a limit it is refused.
    Json,
    /// The same, where a form may come after it.
    JsonOfAForm,
    /// Broken JSON whose intent is plain.
    Mended,
    /// The same, where a form may come after it: what begins as the name of a field isn't mended.
    MendedOfAForm,
    Form,
}

/// Decides once, by the declared type and the first sign of the body, in which ways it is read: both are wrong at times.
fn read_body<'a>(
    received: &'a Received,
    declared: Declared,
    arena: &'a Arena,
    odd: &mut BTreeSet<Oddity>,
) -> Decoded<'a> {
    use DecodeAttempt::{Form, Json, JsonOfAForm, Mended, MendedOfAForm};
    let attempts: &[DecodeAttempt] = match (declared.kind, looks_like_json(&received.body)) {
        (BodyKind::Multipart, _) => return multipart::parse(received, declared, arena, odd).map(in_brackets),
        (BodyKind::Other, _) => return Err(DecodeError::UnsupportedType),
        (BodyKind::Json | BodyKind::Text, true) => &[Json, Mended],
        (BodyKind::Json, false) => &[Json, Form],
        (BodyKind::Form, true) => &[JsonOfAForm, MendedOfAForm, Form],
        (BodyKind::Form | BodyKind::Text, false) => &[Form],
    };
    let mut source = BodySource { body: &received.body, declared, arena, odd, text: None };
    let read = attempts.iter().find_map(|attempt| source.read(*attempt).transpose());
    read.unwrap_or(Err(DecodeError::NotAForm))
}

type Decoded<'a> = Result<(Document<'a>, Style), DecodeError>;

fn in_brackets(document: Document<'_>) -> (Document<'_>, Style) {
    (document, Style::Brackets)
}

/// A body on its way to becoming a document.
struct BodySource<'o, 'a> {
    body: &'a [u8],
    declared: Declared,
    arena: &'a Arena,
    odd: &'o mut BTreeSet<Oddity>,
    text: Option<&'a str>,
}

impl<'a> BodySource<'_, 'a> {
    /// Reads the body in one way; none where it isn't written so.
    fn read(&mut self, attempt: DecodeAttempt) -> Result<Option<(Document<'a>, Style)>, DecodeError> {
        let is_form = self.declared.kind == BodyKind::Form;
        if matches!(attempt, DecodeAttempt::Form) {
            return self.form(is_form);
        }
        let text = self.text();
        let arena = self.arena;
        let found = match attempt {
            DecodeAttempt::Json => json_or_limit(json::parse(text, arena))?,
            DecodeAttempt::JsonOfAForm => json::parse(text, arena).ok(),
            DecodeAttempt::Mended => self.mended(repair::parse(text, arena)?),
            DecodeAttempt::MendedOfAForm if opens_a_name(text) => {
                self.mended(repair::parse(text, arena).ok().flatten())
            }
            DecodeAttempt::MendedOfAForm | DecodeAttempt::Form => None,
        };
        if is_form && found.is_some() {
            self.odd.insert(Oddity::Mislabelled);
        }
        Ok(found.map(|document| (document, Style::Dots)))
    }

    /// Returns the whole body as text, decoded once.
    fn text(&mut self) -> &'a str {
        self.text.get_or_insert_with(|| self.declared.decode(self.body, self.arena, self.odd))
    }

    fn mended(&mut self, document: Option<Document<'a>>) -> Option<Document<'a>> {
        if document.is_some() {
            self.odd.insert(Oddity::Repaired);
        }
        document
    }

    fn form(&mut self, is_declared: bool) -> Result<Option<(Document<'a>, Style)>, DecodeError> {
        let is_form = if is_declared { urlencoded::can_be_form } else { urlencoded::looks_like_form };
        if !is_form(self.body) {
            return Ok(None);
        }
        if !is_declared {
            self.odd.insert(Oddity::Mislabelled);
        }
        urlencoded::parse(self.body, self.declared, self.arena, self.odd).map(in_brackets).map(Some)
    }
}

fn json_or_limit(read: Result<Document<'_>, json::JsonError>) -> Result<Option<Document<'_>>, DecodeError> {
    match read {
        Ok(document) => Ok(Some(document)),
        Err(json::JsonError::Syntax) => Ok(None),
        Err(json::JsonError::Limit(error)) => Err(error),
    }
}

/// Tells whether a text opens an object and its first name.
fn opens_a_name(text: &str) -> bool {
    let object = text.trim_start_matches('\u{FEFF}').trim_start().strip_prefix('{');
    object.is_some_and(|members| members.trim_start().starts_with('"'))
}

/// Tells whether the first sign of text opens an object or a list.
fn looks_like_json(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    // A whole body in quotes is JSON twice.
    let text = text.trim_ascii_start();
    let inner = text.strip_prefix(b"\"").map(<[u8]>::trim_ascii_start);
    matches!(inner.unwrap_or(text).first(), Some(b'{' | b'['))
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
            Self::Embedded => "embedded",
            Self::BracketKeys => "bracket_keys",
        }
    }
}

impl std::fmt::Debug for Submission<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("keys", &self.fields.iter().map(|field| field.key).collect::<Vec<_>>())
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
        let arena = Arena::new();
        decode(&received, &arena).map(|read| (read.json().to_string(), read.oddities.into_iter().collect()))
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

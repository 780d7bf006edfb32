//! What a `Content-Type` declares: the kind of body and its charset.

use std::borrow::Cow;
use std::collections::BTreeSet;

use encoding_rs::{Encoding, UTF_8};

use super::Oddity;
use super::document::Arena;
use super::urlencoded::kept;

/// The kind of body that a media type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    Form,
    Multipart,
    Json,
    /// Text of some sort, or no type at all: the body itself says what it is.
    Text,
    Other,
}

/// A declared media type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub(super) kind: BodyKind,
    encoding: &'static Encoding,
}

impl Declared {
    pub(super) const UTF_8: Self = Self { kind: BodyKind::Form, encoding: UTF_8 };

    /// Reads a `Content-Type`; a charset nobody knows is taken for UTF-8.
    pub(super) fn read(content_type: Option<&str>) -> Self {
        let content_type = content_type.unwrap_or_default();
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let encoding = parameters.split(';').find_map(charset).unwrap_or(UTF_8);
        Self { kind: kind(essence.trim()), encoding }
    }

    /// Decodes a whole text; bytes that are none are replaced and flagged. A byte order mark goes.
    pub(super) fn decode<'a>(&self, bytes: &'a [u8], arena: &'a Arena, odd: &mut BTreeSet<Oddity>) -> &'a str {
        let (text, malformed) = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0xEF, 0xBB, 0xBF, ..] => {
                let (text, _, malformed) = self.encoding.decode(bytes);
                (text, malformed)
            }
            _ => self.text(bytes),
        };
        if malformed {
            odd.insert(Oddity::InvalidText);
        }
        kept(text, arena)
    }

    /// Decodes one value of a form: what looks like a byte order mark was typed.
    pub(super) fn decode_value<'a>(&self, bytes: &'a [u8], arena: &'a Arena, odd: &mut BTreeSet<Oddity>) -> &'a str {
        let (text, malformed) = self.text(bytes);
        if malformed {
            odd.insert(Oddity::InvalidText);
        }
        kept(text, arena)
    }

    /// Decodes a text, and tells whether bytes that are none were replaced.
    pub(super) fn text<'b>(&self, bytes: &'b [u8]) -> (Cow<'b, str>, bool) {
        self.encoding.decode_without_bom_handling(bytes)
    }

    /// Returns the charset of a name.
    pub(super) fn named(charset: &str) -> Option<Self> {
        Some(Self { kind: BodyKind::Other, encoding: Encoding::for_label(charset.as_bytes())? })
    }

    pub(super) fn is_utf8(&self) -> bool {
        self.encoding == UTF_8
    }
}

fn charset(parameter: &str) -> Option<&'static Encoding> {
    let (name, value) = parameter.split_once('=')?;
    let value = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("charset").then(|| Encoding::for_label(value.as_bytes())).flatten()
}

fn kind(essence: &str) -> BodyKind {
    let is = |kind: &str| essence.eq_ignore_ascii_case(kind);
    let begins = |kind: &str| essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    let ends = |kind: &str| {
        let start = essence.len().checked_sub(kind.len());
        start.and_then(|start| essence.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(kind))
    };
    match essence {
        "" => BodyKind::Text,
        _ if is("application/x-www-form-urlencoded") => BodyKind::Form,
        _ if is("multipart/form-data") => BodyKind::Multipart,
        _ if is("application/json") || is("text/json") || ends("+json") => BodyKind::Json,
        _ if begins("text/") => BodyKind::Text,
        _ => BodyKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_names_a_kind_and_a_charset() {
        for (content_type, kind) in [
            ("application/json; charset=UTF-8", BodyKind::Json),
            ("APPLICATION/X-WWW-FORM-URLENCODED", BodyKind::Form),
            ("application/vnd.api+json", BodyKind::Json),
            ("multipart/form-data; boundary=x", BodyKind::Multipart),
            ("text/plain", BodyKind::Text),
            ("", BodyKind::Text),
            ("image/png", BodyKind::Other),
            ("multipart/mixed", BodyKind::Other),
        ] {
            assert_eq!(Declared::read(Some(content_type)).kind, kind, "{content_type}");
        }
        let arena = Arena::new();
        let mut odd = BTreeSet::new();
        let latin = Declared::read(Some("text/plain; x=y; charset=\"iso-8859-1\""));
        assert_eq!(latin.decode(b"caf\xe9", &arena, &mut odd), "café");
        assert!(odd.is_empty());
        let unknown = Declared::read(Some("text/plain; charset=klingon"));
        assert_eq!(unknown.decode(b"caf\xe9", &arena, &mut odd), "caf\u{FFFD}");
        assert!(odd.contains(&Oddity::InvalidText));
    }

    #[test]
    fn a_byte_order_mark_begins_a_text_and_not_a_value() {
        let arena = Arena::new();
        let mut odd = BTreeSet::new();
        let json = Declared::read(Some("application/json"));
        assert_eq!(json.decode(b"\xEF\xBB\xBF{}", &arena, &mut odd), "{}");
        assert_eq!(json.decode(b"\xFF\xFE{\0}\0", &arena, &mut odd), "{}");
        assert_eq!(json.decode_value(b"\xEF\xBB\xBFJane", &arena, &mut odd), "\u{FEFF}Jane");
        assert!(odd.is_empty());
    }
}

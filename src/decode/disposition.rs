//! The headers of `multipart/form-data`: its boundary, and what a part's `Content-Disposition` says.
//!
//! Browsers write a `"` in a name as `%22` and leave a `\` alone; others write `\"`, old ones a bare `"`. So a quote ends a
//! value only where the header ends or another parameter begins. Nothing else is decoded: names are as on the wire.

use std::borrow::Cow;

use super::DecodeError;
use super::charset::Declared;

/// Longest boundary, in bytes; RFC 2046 §5.1.1 allows 70.
const BOUNDARY_MAX: usize = 256;

/// What a part says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) name: Option<String>,
    /// The last piece of the path, where some browsers send one; empty: no file was chosen.
    pub(super) file_name: Option<String>,
}

impl Disposition {
    /// Reads a `Content-Disposition`; bytes that are no text are replaced.
    pub(super) fn read(header: &[u8]) -> Self {
        let text = String::from_utf8_lossy(header);
        let (_, rest) = text.split_once(';').unwrap_or_default();
        let mut read = Self::default();
        let mut file_name = None;
        let mut extended = None;
        for (name, value) in parameters(rest) {
            if name.eq_ignore_ascii_case("name") {
                read.name = read.name.or_else(|| Some(value.into_owned()));
            } else if name.eq_ignore_ascii_case("filename") {
                file_name = file_name.or(Some(value));
            } else if name.eq_ignore_ascii_case("filename*") {
                extended = extended.or_else(|| decode_extended(&value));
            }
        }
        read.file_name = file_name.or(extended.map(Cow::Owned)).map(|path| last_piece(&path).to_owned());
        read
    }
}

/// Returns the boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Result<String, DecodeError> {
    let (_, rest) = content_type.split_once(';').ok_or(DecodeError::NoBoundary)?;
    let found = parameters(rest).find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let fits = |boundary: &Cow<'_, str>| {
        (1..=BOUNDARY_MAX).contains(&boundary.len()) && boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    found.map(|(_, value)| value).filter(fits).map(Cow::into_owned).ok_or(DecodeError::NoBoundary)
}

/// Splits `name="value"; name=value`; a piece without `=` is none.
fn parameters(mut text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    std::iter::from_fn(move || {
        let (name, rest) = text.split_once('=')?;
        // Pieces without a value may stand before the name.
        let name = name.rsplit(';').next().unwrap_or_default().trim();
        let (value, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let (value, after) = rest.split_once(';').unwrap_or((rest, ""));
                (Cow::Borrowed(value.trim()), after)
            }
        };
        text = after;
        Some((name, value))
    })
}

/// Reads up to the quote that ends the value; returns what follows as well.
fn quoted_value(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = Cow::Borrowed("");
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        value += before;
        if ends_value(after) {
            return (value, after);
        }
        let value = value.to_mut();
        if value.ends_with('\\') {
            value.pop();
        }
        value.push('"');
        rest = after;
    }
    value += rest;
    (value, "")
}

/// Tells whether nothing or another parameter follows a quote.
fn ends_value(after: &str) -> bool {
    let after = after.trim_start();
    let Some(next) = after.strip_prefix(';') else { return after.is_empty() };
    let next = next.trim_start();
    let name = next.split_once('=').map(|(name, _)| name.trim_end());
    next.is_empty() || name.is_some_and(|name| !name.is_empty() && name.bytes().all(is_token_byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'_')
}

/// Decodes `UTF-8''na%C3%AFve.txt` (RFC 5987), which RFC 7578 forbids and some clients send all the same.
fn decode_extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(encoded).collect();
    Some(Declared::named(charset)?.text(&bytes).0.into_owned())
}

fn last_piece(path: &str) -> &str {
    path.rsplit(['/', '\\']).find(|piece| !piece.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> (Option<String>, Option<String>) {
        let Disposition { name, file_name } = Disposition::read(header.as_bytes());
        (name, file_name)
    }

    #[test]
    fn a_quote_ends_a_value_only_where_a_parameter_may_follow() {
        for (header, name, file) in [
            (r#"form-data; name="a""#, Some("a"), None),
            (r#"FORM-DATA; NAME="a""#, Some("a"), None),
            ("form-data; name=a b ; filename=c.txt", Some("a b"), Some("c.txt")),
            (r#"form-data; filename="x; y=z.txt"; name="a""#, Some("a"), Some("x; y=z.txt")),
            (r#"form-data; name="a \"b\" c"; filename="d \"e\"""#, Some("a \"b\" c"), Some("d \"e\"")),
            (r#"form-data; name="ends with \"; filename="""#, Some(r"ends with \"), Some("")),
            (r#"form-data; name="a"; filename="say "hi" ; 5.txt""#, Some("a"), Some("say \"hi\" ; 5.txt")),
            (r#"form-data; name="a%22b""#, Some("a%22b"), None),
            (r#"form-data; name="never ends"#, Some("never ends"), None),
            (r#"form-data; name="1st"; name="2nd""#, Some("1st"), None),
            ("form-data", None, None),
            ("form-data; filename=\"x\"", None, Some("x")),
        ] {
            assert_eq!(read(header), (name.map(str::to_owned), file.map(str::to_owned)), "{header}");
        }
    }

    #[test]
    fn a_file_is_called_by_the_last_piece_of_its_path() {
        let file = |header: &str| read(header).1;
        assert_eq!(file(r#"form-data; name="f"; filename="C:\files\a.dat""#).as_deref(), Some("a.dat"));
        assert_eq!(file(r#"form-data; name="f"; filename="/tmp/a.dat""#).as_deref(), Some("a.dat"));
        assert_eq!(file(r#"form-data; name="f"; filename="/""#).as_deref(), Some("/"));
        assert_eq!(file("form-data; name=f; filename*=UTF-8''na%C3%AFve.txt").as_deref(), Some("naïve.txt"));
        assert_eq!(file("form-data; name=f; filename*=iso-8859-1'en'caf%E9.txt").as_deref(), Some("café.txt"));
        assert_eq!(file("form-data; name=f; filename*=klingon''x; filename=y").as_deref(), Some("y"));
    }

    #[test]
    fn bytes_that_are_no_text_hide_no_name() {
        let header = b"form-data; name=\"caf\xe9\"; filename=\"\xff.txt\"";
        let expected = Disposition { name: Some("caf\u{FFFD}".to_owned()), file_name: Some("\u{FFFD}.txt".to_owned()) };
        assert_eq!(Disposition::read(header), expected);
    }

    #[test]
    fn a_boundary_is_whatever_text_the_type_names() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=XX", Some("XX")),
            ("multipart/form-data; charset=utf-8; BOUNDARY=\"a b\"", Some("a b")),
            ("multipart/form-data; boundary=----=test; charset=utf-8", Some("----=test")),
            (r"multipart/form-data; boundary=\/\/", Some(r"\/\/")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"\"", None),
            ("multipart/form-data; boundary=caf\u{e9}", None),
        ] {
            assert_eq!(boundary(content_type).ok().as_deref(), expected, "{content_type}");
        }
        assert!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(BOUNDARY_MAX + 1))).is_err());
    }
}

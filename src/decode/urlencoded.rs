//! `application/x-www-form-urlencoded`, and what plugins make of it.
//!
//! Pairs are read by the rule of the URL Standard (<https://url.spec.whatwg.org/#urlencoded-parsing>). Unlike in PHP, names
//! keep their dots and spaces, and a repeated name keeps all its values.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode;
use serde::Deserialize;

use super::charset::Declared;
use super::document::{Arena, Content, Document};
use super::names::Builder;
use super::{DecodeError, DecodeLimits, LIMITS, Oddity};

/// Longest name that an unencoded body's `&` is taken to begin, in bytes.
const PLAIN_NAME_MAX: usize = 64;
/// Fewest digits of an international phone number.
const PHONE_DIGITS_MIN: usize = 7;

/// A name and a value.
pub(super) type Pair<'a> = (&'a str, &'a str);

/// Reads a body or a query as a document.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    declared: Declared,
    arena: &'a Arena,
    odd: &mut BTreeSet<Oddity>,
) -> Result<Document<'a>, DecodeError> {
    let pairs = pairs(bytes, declared, arena, odd)?;
    let mut builder = Builder::new(arena, pairs.len());
    for (name, value) in pairs {
        builder.insert(name, Content::Text(value))?;
    }
    Ok(builder.finish())
}

/// A pair as serde_urlencoded reads it: borrowed where nothing is encoded.
#[derive(Deserialize)]
struct RawPair<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

/// Reads the pairs in order.
pub(super) fn pairs<'a>(
    bytes: &'a [u8],
    declared: Declared,
    arena: &'a Arena,
    odd: &mut BTreeSet<Oddity>,
) -> Result<Vec<Pair<'a>>, DecodeError> {
    let bytes = bytes.trim_ascii();
    let count = || bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).count();
    if memchr::memchr_iter(b'&', bytes).count() >= LIMITS.fields {
        DecodeLimits::check("fields", count(), LIMITS.fields)?;
    }
    if memchr::memchr3(b' ', b'\n', b'\r', bytes).is_some() {
        odd.insert(Oddity::Unencoded);
        return Ok(unencoded(declared.decode(bytes, arena, odd), arena));
    }
    if declared.is_utf8() {
        let read: Vec<RawPair<'a>> =
            serde_urlencoded::from_bytes(bytes).map_err(|_never_for_pairs| DecodeError::NotAForm)?;
        let mut pairs: Vec<Pair<'a>> = Vec::with_capacity(read.len());
        pairs.extend(read.into_iter().map(|RawPair(name, value)| (kept(name, arena), kept(value, arena))));
        restore_typed_plus(bytes, &mut pairs, odd);
        if pairs.iter().any(|(name, value)| replaced(name) || replaced(value)) && !sends_replacement(bytes) {
            odd.insert(Oddity::InvalidText);
        }
        return Ok(pairs);
    }
    Ok(in_charset(bytes, declared, arena, odd))
}

/// Keeps a text as long as the arena.
pub(super) fn kept<'a>(text: Cow<'a, str>, arena: &'a Arena) -> &'a str {
    match text {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => arena.alloc_str(&text),
    }
}

/// Gives back a `+` that was pasted as such into a body where nothing is encoded: in an address, or before a phone.
///
/// An encoder writes both `+` and `@` as escapes, so a value with neither escaped was never through one. Any other `+`
/// is left to be a space: people who write a body by hand mean it so.
fn restore_typed_plus<'a>(bytes: &'a [u8], pairs: &mut [Pair<'a>], odd: &mut BTreeSet<Oddity>) {
    if memchr::memchr(b'%', bytes).is_some() || memchr::memchr(b'+', bytes).is_none() {
        return;
    }
    let raw = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    for ((_, value), pair) in pairs.iter_mut().zip(raw) {
        let typed = pair.splitn(2, |&byte| byte == b'=').nth(1).and_then(|typed| std::str::from_utf8(typed).ok());
        if let Some(typed) =
            typed.filter(|typed| typed.contains('+') && (is_typed_email(typed) || is_typed_phone(typed)))
        {
            *value = typed;
            odd.insert(Oddity::Unencoded);
        }
    }
}

fn is_typed_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_sign = |c: char| c.is_ascii_alphanumeric() || ".!#$'*+/?^_`{|}~-".contains(c);
    let domain_sign = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    local.starts_with(|c: char| c.is_ascii_alphanumeric())
        && local.chars().all(local_sign)
        && domain.contains('.')
        && domain.chars().all(domain_sign)
}

/// A phone in international form; one without its country would not begin with 1 to 9.
fn is_typed_phone(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('+').filter(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c))) else {
        return false;
    };
    rest.bytes().all(|byte| byte.is_ascii_digit() || b"()-./".contains(&byte))
        && rest.bytes().filter(u8::is_ascii_digit).count() >= PHONE_DIGITS_MIN
}

/// Tells whether bytes that are not declared a form can be read as one: they begin with a name and `=`.
pub(super) fn looks_like_form(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty() || (can_be_form(body) && body.contains(&b'=') && !body.starts_with(b"="))
}

/// Tells whether bytes that are declared a form can be one: text, and more than a word.
pub(super) fn can_be_form(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let name = body.split(|&byte| byte == b'=').next().unwrap_or_default();
    let text = !name.iter().any(u8::is_ascii_control);
    body.is_empty() || (text && body.iter().any(|byte| matches!(byte, b'=' | b'&')))
}

fn replaced(text: &str) -> bool {
    text.contains('\u{FFFD}')
}

/// Tells whether U+FFFD was sent as such.
fn sends_replacement(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).to_ascii_uppercase().contains("%EF%BF%BD")
}

fn in_charset<'a>(bytes: &'a [u8], declared: Declared, arena: &'a Arena, odd: &mut BTreeSet<Oddity>) -> Vec<Pair<'a>> {
    let mut text = |bytes: &[u8]| {
        let spaced: Vec<u8> = bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        let decoded: Cow<'_, [u8]> = percent_decode(&spaced).into();
        declared.decode_value(arena.alloc_slice_copy(&decoded), arena, odd)
    };
    let pairs = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            (text(halves.next().unwrap_or_default()), text(halves.next().unwrap_or_default()))
        })
        .collect()
}

/// Splits a body that was never encoded: a template's values pasted between `&name=`.
///
/// An `&` begins a pair only before a plain name and `=`; any other belongs to the value.
fn unencoded<'a>(text: &'a str, arena: &'a Arena) -> Vec<Pair<'a>> {
    let mut pairs: Vec<(&'a str, Cow<'a, str>)> = Vec::new();
    for piece in text.split('&') {
        match piece.split_once('=').filter(|(name, _)| is_plain_name(name)) {
            Some((name, value)) => pairs.push((name, Cow::Borrowed(value))),
            None => match pairs.last_mut() {
                Some((_, value)) => {
                    let value = value.to_mut();
                    value.push('&');
                    value.push_str(piece);
                }
                None => pairs.push((piece, Cow::Borrowed(""))),
            },
        }
    }
    pairs.into_iter().map(|(name, value)| (name, kept(value, arena))).collect()
}

/// A single letter was typed rather than put into a template: `a=b&c=d`.
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    (2..=PLAIN_NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(body: &str) -> (String, Vec<Oddity>) {
        let arena = Arena::new();
        let mut odd = BTreeSet::new();
        let document = parse(body.as_bytes(), Declared::UTF_8, &arena, &mut odd).expect("within limits");
        (document.json(document.root()).to_string(), odd.into_iter().collect())
    }

    #[test]
    fn names_nest_as_in_php_and_keep_their_signs() {
        for (body, expected) in [
            ("a[b][]=1&a[b][]=2&a[c]=3", r#"{"a":{"b":["1","2"],"c":"3"}}"#),
            ("a[]=1&a[]=2", r#"{"a":["1","2"]}"#),
            ("a[0]=x&a[1]=y", r#"{"a":["x","y"]}"#),
            ("a[2]=x", r#"{"a":{"2":"x"}}"#),
            ("a[][b]=1&a[][b]=2", r#"{"a":[{"b":"1"},{"b":"2"}]}"#),
            ("1.3=Jane&Which+rooms%3F=Bath&+x+=1", r#"{"1.3":"Jane","Which rooms?":"Bath"," x ":"1"}"#),
            ("a+%5Bc%5D%3Dd%26e=1&b%5B=2&%5Bc%5D=3", r#"{"a [c]=d&e":"1","b[":"2","[c]":"3"}"#),
            ("p=50%25+%zz+%4", r#"{"p":"50% %zz %4"}"#),
            ("&&a&b=", r#"{"a":"","b":""}"#),
        ] {
            assert_eq!(document(body).0, expected, "{body}");
        }
    }

    #[test]
    fn a_form_is_told_from_text() {
        for (body, declared, undeclared) in [
            ("a=1", true, true),
            ("a b=1", true, true),
            ("", true, true),
            ("=1&b=2", true, false),
            ("a&b", true, false),
            ("hello", false, false),
            ("Hello,\nx=1", false, false),
            ("\0=1", false, false),
        ] {
            assert_eq!(can_be_form(body.as_bytes()), declared, "{body:?} declared");
            assert_eq!(looks_like_form(body.as_bytes()), undeclared, "{body:?} undeclared");
        }
    }

    #[test]
    fn a_body_that_was_never_encoded_is_read_as_typed() {
        let (read, odd) = document("name=A & B=C&phone=+1 (503)&msg=50%25 off\r\na=b&c=d&to=z&q");
        assert_eq!(read, r#"{"name":"A & B=C","phone":"+1 (503)","msg":"50%25 off\r\na=b&c=d","to":"z&q"}"#);
        assert_eq!(odd, [Oddity::Unencoded]);
    }

    #[test]
    fn a_plus_that_was_typed_into_an_unencoded_body_stays() {
        let (read, odd) = document("n=A+B&e=jane+x@example.com&p=+44(20)7946-0958&m=1+@+2&q=+5");
        assert_eq!(read, r#"{"n":"A B","e":"jane+x@example.com","p":"+44(20)7946-0958","m":"1 @ 2","q":" 5"}"#);
        assert_eq!(odd, [Oddity::Unencoded]);
        let (read, odd) = document("e=jane+x%40example.com&p=+442079460958");
        assert_eq!((read.as_str(), odd), (r#"{"e":"jane x@example.com","p":" 442079460958"}"#, vec![]));
    }

    #[test]
    fn a_declared_charset_is_decoded_and_bad_utf8_is_replaced() {
        let mut odd = BTreeSet::new();
        let latin = Declared::read(Some("application/x-www-form-urlencoded; charset=windows-1252"));
        assert_eq!(pairs(b"n=caf%E9+x", latin, &Arena::new(), &mut odd), Ok(vec![("n", "café x")]));
        assert!(odd.is_empty());
        assert_eq!(document("n=caf%E9"), ("{\"n\":\"caf\u{FFFD}\"}".to_owned(), vec![Oddity::InvalidText]));
        assert_eq!(document("n=%EF%BF%BD").1, []);
    }

    #[test]
    fn limits_have_names() {
        let read = |body: String| parse(body.as_bytes(), Declared::UTF_8, &Arena::new(), &mut BTreeSet::new()).err();
        let many = "a=1&".repeat(LIMITS.fields + 1);
        assert_eq!(read(many), Some(DecodeError::Limit { limit: "fields", max: LIMITS.fields }));
        let long = format!("{}=1", "k".repeat(LIMITS.key_bytes + 1));
        assert_eq!(read(long), Some(DecodeError::Limit { limit: "key length", max: LIMITS.key_bytes }));
        let deep = format!("a{}=1", "[b]".repeat(LIMITS.depth + 1));
        assert_eq!(read(deep), Some(DecodeError::Limit { limit: "depth", max: LIMITS.depth }));
    }
}

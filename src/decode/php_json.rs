//! What PHP's `json_encode` wrote of an array that came as a form: some senders sign that text, and post the form.
//!
//! A form has lost the types. Of what PHP may have held, those are tried that senders are known to post.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Oddity;
use super::charset::Declared;
use super::document::{Arena, Content, Document, MemberKey, NodeId};
use super::urlencoded;

/// The member of a date that holds it in seconds, as a number.
const SECONDS: &str = "unix";

/// How the values of a form were held.
#[derive(Clone, Copy)]
enum Types {
    Text,
    /// Text, but for a date's seconds.
    Seconds,
}

/// Returns the texts that the array behind a form may have been written as; none where the bytes are no form of UTF-8.
pub fn php_json(form: &[u8]) -> Vec<String> {
    let arena = Arena::new();
    let mut odd = BTreeSet::new();
    let Ok(document) = urlencoded::parse(form, Declared::UTF_8, &arena, &mut odd) else { return Vec::new() };
    if odd.contains(&Oddity::InvalidText) || odd.contains(&Oddity::Unencoded) {
        return Vec::new();
    }
    let mut texts: Vec<String> = [Types::Text, Types::Seconds].map(|types| written(&document, types)).into();
    texts.dedup();
    texts
}

fn written(document: &Document<'_>, types: Types) -> String {
    let mut text = String::new();
    write_value(document, document.root(), types, &mut text);
    text
}

/// Writes a value; its depth is what the form's reader allows.
fn write_value(document: &Document<'_>, id: NodeId, types: Types, out: &mut String) {
    match (document.content(id), document.key(id)) {
        (Content::Record, _) if !is_counted(document, id) => {
            write_items('{', document, id, out, |member, out| {
                write_text(&document.name(member), out);
                out.push(':');
                write_value(document, member, types, out);
            });
            out.push('}');
        }
        (Content::Record | Content::List, _) => {
            write_items('[', document, id, out, |item, out| write_value(document, item, types, out));
            out.push(']');
        }
        (Content::Text(value), MemberKey::Name(SECONDS)) if matches!(types, Types::Seconds) && is_integer(value) => {
            out.push_str(value);
        }
        (Content::Text(value), _) => write_text(value, out),
        // A form has no other values.
        (Content::Null | Content::Bool(_) | Content::Number(_) | Content::File(_), _) => out.push_str("null"),
    }
}

fn write_items(
    open: char,
    document: &Document<'_>,
    container: NodeId,
    out: &mut String,
    write: impl Fn(NodeId, &mut String),
) {
    out.push(open);
    for (index, item) in document.children(container).enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
}

/// PHP writes an array whose keys count up from 0 as a list, the empty one too.
fn is_counted(document: &Document<'_>, record: NodeId) -> bool {
    document.children(record).enumerate().all(|(index, member)| document.name(member) == index.to_string())
}

fn is_integer(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// Writes a string as PHP does where it is given no flags: slashes and all that is not ASCII are escaped.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='\u{7f}' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a String cannot fail");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(form: &str) -> String {
        let mut texts = php_json(form.as_bytes());
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.remove(0)
    }

    #[test]
    fn text_is_escaped_as_php_does() {
        assert_eq!(one("a=https%3A%2F%2Fx%2F%22q%22%5C"), r#"{"a":"https:\/\/x\/\"q\"\\"}"#);
        assert_eq!(one("a=%0D%0A%09%08%0C%01%7F"), "{\"a\":\"\\r\\n\\t\\b\\f\\u0001\x7f\"}");
        assert_eq!(one("%C3%89=%C5%81+%F0%9F%9A%BF+%3C%26%27%3E"), r#"{"\u00c9":"\u0141 \ud83d\udebf <&'>"}"#);
    }

    #[test]
    fn members_nest_in_the_order_in_which_they_came() {
        assert_eq!(one("b=1&a%5Bx%5D=2&a%5By%5D%5B0%5D=3&c="), r#"{"b":"1","a":{"x":"2","y":["3"]},"c":""}"#);
        assert_eq!(one("f%5B0%5D=x&f%5B1%5D=y"), r#"{"f":["x","y"]}"#);
        assert_eq!(one("0=x&1=y"), r#"["x","y"]"#);
        assert_eq!(one("1=x&0=y"), r#"{"1":"x","0":"y"}"#);
        assert_eq!(one(""), "[]");
    }

    #[test]
    fn the_seconds_of_a_date_may_have_been_a_number() {
        let texts = |form: &str| php_json(form.as_bytes());
        assert_eq!(texts("d%5Bunix%5D=17&n=3"), [r#"{"d":{"unix":"17"},"n":"3"}"#, r#"{"d":{"unix":17},"n":"3"}"#]);
        for text in ["", "017", "1.5", "+1", "x", "99999999999999999999"] {
            assert_eq!(texts(&format!("d%5Bunix%5D={text}")).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_no_form_gives_nothing() {
        assert_eq!(php_json(b"a=%E9"), Vec::<String>::new());
        assert_eq!(php_json(b"a=1 2"), Vec::<String>::new());
        assert_eq!(php_json("a=1&".repeat(super::super::LIMITS.fields + 1).as_bytes()), Vec::<String>::new());
    }
}

//! `application/x-www-form-urlencoded`, with PHP's bracket names and what plugins make of it.
//!
//! Pairs are read by the rule of the URL Standard (<https://url.spec.whatwg.org/#urlencoded-parsing>); names nest as in PHP:
//! `a[b]`, `a[]`, `a[2]`. Unlike PHP, names keep their dots and spaces and a repeated name keeps all its values.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode;

use super::charset::Declared;
use super::tree::{File, Tree};
use super::{DecodeError, LIMITS, Limits, Oddity};

/// Longest name that an unencoded body's `&` is taken to begin, in bytes.
const PLAIN_NAME_MAX: usize = 64;
/// Fewest digits of an international phone number.
const PHONE_DIGITS_MIN: usize = 7;

/// Reads a body or a query as a tree.
pub(super) fn parse(bytes: &[u8], declared: Declared, odd: &mut BTreeSet<Oddity>) -> Result<Tree, DecodeError> {
    let mut builder = Builder::default();
    for (name, value) in pairs(bytes, declared, odd)? {
        builder.insert(&name, Tree::Text(value))?;
    }
    Ok(builder.finish())
}

/// Reads the pairs in order.
pub(super) fn pairs(
    bytes: &[u8],
    declared: Declared,
    odd: &mut BTreeSet<Oddity>,
) -> Result<Vec<(String, String)>, DecodeError> {
    let bytes = bytes.trim_ascii();
    let count = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).count();
    Limits::check("fields", count, LIMITS.fields)?;
    if bytes.iter().any(|byte| matches!(byte, b' ' | b'\n' | b'\r')) {
        odd.insert(Oddity::Unencoded);
        let text = declared.decode(bytes, odd);
        return Ok(unencoded(&text));
    }
    if declared.is_utf8() {
        let mut pairs: Vec<(String, String)> =
            serde_urlencoded::from_bytes(bytes).map_err(|_never_for_pairs| DecodeError::NotAForm)?;
        restore_typed_plus(bytes, &mut pairs, odd);
        if pairs.iter().any(|(name, value)| replaced(name) || replaced(value)) && !sends_replacement(bytes) {
            odd.insert(Oddity::InvalidText);
        }
        return Ok(pairs);
    }
    Ok(in_charset(bytes, declared, odd))
}

/// Gives back a `+` that was pasted as such into a body where nothing is encoded: in an address, or before a phone.
///
/// An encoder writes both `+` and `@` as escapes, so a value with neither escaped was never through one. Any other `+`
/// is left to be a space: people who write a body by hand mean it so.
fn restore_typed_plus(bytes: &[u8], pairs: &mut [(String, String)], odd: &mut BTreeSet<Oddity>) {
    if bytes.contains(&b'%') || !bytes.contains(&b'+') {
        return;
    }
    let raw = bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    for ((_, value), pair) in pairs.iter_mut().zip(raw) {
        let typed = pair.splitn(2, |&byte| byte == b'=').nth(1).and_then(|typed| std::str::from_utf8(typed).ok());
        if let Some(typed) =
            typed.filter(|typed| typed.contains('+') && (is_typed_email(typed) || is_typed_phone(typed)))
        {
            typed.clone_into(value);
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

fn in_charset(bytes: &[u8], declared: Declared, odd: &mut BTreeSet<Oddity>) -> Vec<(String, String)> {
    let mut text = |bytes: &[u8]| {
        let spaced: Vec<u8> = bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        let decoded: Cow<'_, [u8]> = percent_decode(&spaced).into();
        declared.decode_value(&decoded, odd).into_owned()
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
fn unencoded(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in text.split('&') {
        match piece.split_once('=').filter(|(name, _)| is_plain_name(name)) {
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => match pairs.last_mut() {
                Some((_, value)) => {
                    value.push('&');
                    value.push_str(piece);
                }
                None => pairs.push((piece.to_owned(), String::new())),
            },
        }
    }
    pairs
}

/// A single letter was typed rather than put into a template: `a=b&c=d`.
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    (2..=PLAIN_NAME_MAX).contains(&name.len()) && name.chars().all(plain)
}

/// Builds a tree out of pairs with bracket names; also for the parts of a multipart body.
#[derive(Default)]
pub(super) struct Builder {
    root: Branch,
}

/// A container while it is built: members with a name, or none where it was `[]`.
#[derive(Default)]
struct Branch {
    members: Vec<(Option<String>, Node)>,
}

enum Node {
    Leaf(Tree),
    Branch(Branch),
}

impl Builder {
    /// Adds a value under its wire name.
    pub(super) fn insert(&mut self, name: &str, value: Tree) -> Result<(), DecodeError> {
        Limits::check("key length", name.len(), LIMITS.key_bytes)?;
        match split_name(name) {
            None => self.root.members.push((Some(name.to_owned()), Node::Leaf(value))),
            Some((base, steps)) => {
                Limits::check("depth", steps.len(), LIMITS.depth)?;
                let mut steps = std::iter::once(base).chain(steps).peekable();
                let mut branch = &mut self.root;
                while let Some(step) = steps.next() {
                    let step = (!step.is_empty()).then_some(step);
                    if steps.peek().is_none() {
                        branch.members.push((step.map(str::to_owned), Node::Leaf(value)));
                        break;
                    }
                    branch = branch.descend(step);
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Tree {
        Tree::Record(self.root.named())
    }
}

impl Branch {
    /// Returns the container under a name, made where there is none yet; `[]` always makes a new one.
    fn descend(&mut self, step: Option<&str>) -> &mut Self {
        let found = step.and_then(|name| {
            let is_it = |(member, node): &(Option<String>, Node)| {
                member.as_deref() == Some(name) && matches!(node, Node::Branch(_))
            };
            self.members.iter().position(is_it)
        });
        let index = found.unwrap_or_else(|| {
            self.members.push((step.map(str::to_owned), Node::Branch(Self::default())));
            self.members.len() - 1
        });
        match self.members.get_mut(index) {
            Some((_, Node::Branch(branch))) => branch,
            _ => unreachable!("the index is that of a branch"),
        }
    }

    fn named(self) -> Vec<(String, Tree)> {
        let mut next = 0;
        let members = self.members.into_iter().map(|(name, node)| {
            let name = name.unwrap_or_else(|| next.to_string());
            if let Ok(index) = name.parse::<u64>() {
                next = next.max(index.saturating_add(1));
            }
            let tree = match node {
                Node::Leaf(tree) => tree,
                Node::Branch(branch) => branch.finish(),
            };
            (name, tree)
        });
        members.collect()
    }

    /// A container whose names count up from 0 is a list, any other a record.
    fn finish(self) -> Tree {
        let members = self.named();
        let counted = members.iter().enumerate().all(|(index, (name, _))| *name == index.to_string());
        if counted { Tree::List(members.into_iter().map(|(_, tree)| tree).collect()) } else { Tree::Record(members) }
    }
}

/// Splits `base[a][][b]`; none where the brackets don't end the name, since labels hold brackets too.
fn split_name(name: &str) -> Option<(&str, Vec<&str>)> {
    let (base, rest) = name.split_once('[')?;
    let inner = rest.strip_suffix(']')?;
    let steps: Vec<&str> = inner.split("][").collect();
    let clean = !base.is_empty() && !steps.iter().any(|step| step.contains(['[', ']']));
    clean.then_some((base, steps))
}

/// A file part as a value: no file was chosen where it has no name.
pub(super) fn file_value(name: String, kind: Option<String>, size: u64) -> Tree {
    if name.is_empty() { Tree::text("") } else { Tree::File(File { name, kind, size }) }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Style;
    use super::*;

    fn document(body: &str) -> (String, Vec<Oddity>) {
        let mut odd = BTreeSet::new();
        let tree = parse(body.as_bytes(), Declared::UTF_8, &mut odd).expect("within limits");
        let document = tree.into_document(Style::Brackets, &mut odd).to_string();
        (document, odd.into_iter().collect())
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
        assert_eq!(pairs(b"n=caf%E9+x", latin, &mut odd), Ok(vec![("n".to_owned(), "café x".to_owned())]));
        assert!(odd.is_empty());
        assert_eq!(document("n=caf%E9"), ("{\"n\":\"caf\u{FFFD}\"}".to_owned(), vec![Oddity::InvalidText]));
        assert_eq!(document("n=%EF%BF%BD").1, []);
    }

    #[test]
    fn limits_have_names() {
        let read = |body: String| parse(body.as_bytes(), Declared::UTF_8, &mut BTreeSet::new()).err();
        let many = "a=1&".repeat(LIMITS.fields + 1);
        assert_eq!(read(many), Some(DecodeError::Limit { limit: "fields", max: LIMITS.fields }));
        let long = format!("{}=1", "k".repeat(LIMITS.key_bytes + 1));
        assert_eq!(read(long), Some(DecodeError::Limit { limit: "key length", max: LIMITS.key_bytes }));
        let deep = format!("a{}=1", "[b]".repeat(LIMITS.depth + 1));
        assert_eq!(read(deep), Some(DecodeError::Limit { limit: "depth", max: LIMITS.depth }));
    }
}

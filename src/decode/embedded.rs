//! JSON or a form inside a text, and names with brackets inside JSON: automations and form services wrap what they relay.
//!
//! Such a text holds what it says as its children; a rule that names it still gets the text.

use std::collections::BTreeSet;

use super::charset::Declared;
use super::document::{Arena, Content, Document, MemberKey, NodeId};
use super::names::Builder;
use super::{LIMITS, Oddity, json, urlencoded};

/// How often text is opened inside text.
const LEVELS_MAX: usize = 3;
/// Fewest pairs of a form in a text.
const PAIRS_MIN: usize = 2;
/// Longest text that is looked into, in bytes.
const TEXT_MAX: usize = 256 << 10;

/// Opens every text that is JSON, or a form's body.
pub(super) fn open<'a>(document: &mut Document<'a>, arena: &'a Arena, odd: &mut BTreeSet<Oddity>) {
    let mut start = 0;
    for _ in 0..LEVELS_MAX {
        let ids = document.ids().skip(start);
        let texts: Vec<(NodeId, &'a str)> = ids.filter_map(|id| text_of_others(document, id)).collect();
        start = document.len();
        for (id, text) in texts {
            let Some(inner) = read(text, arena) else { continue };
            if document.len() + inner.len() > LIMITS.nodes || inner.children(inner.root()).next().is_none() {
                continue;
            }
            graft(document, id, &inner);
            odd.insert(Oddity::Embedded);
        }
        if document.len() == start {
            return;
        }
    }
}

/// Returns a text that may hold others, judged by its punctuation.
fn text_of_others<'a>(document: &Document<'a>, id: NodeId) -> Option<(NodeId, &'a str)> {
    let Content::Text(text) = document.content(id) else { return None };
    let inner = text.trim();
    let is_it = match (inner.as_bytes().first(), inner.as_bytes().last()) {
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) => true,
        // A whole body is a form where it is one at all.
        _ => id != document.root() && is_form(inner),
    };
    (is_it && text.len() <= TEXT_MAX && document.first_child(id).is_none()).then_some((id, inner))
}

/// Tells whether a text is the body of a form: pairs without white space, of which one is encoded. An address of a page
/// isn't one.
fn is_form(text: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"%+&=._*-[]~()!'".contains(&byte);
    text.contains('%')
        && text.bytes().all(is_sign)
        && text.split('&').count() >= PAIRS_MIN
        && text.split('&').all(|pair| pair.split_once('=').is_some_and(|(name, _)| !name.is_empty()))
}

fn read<'a>(text: &'a str, arena: &'a Arena) -> Option<Document<'a>> {
    if text.starts_with(['{', '[']) {
        return json::parse(text, arena).ok();
    }
    urlencoded::parse(text.as_bytes(), Declared::UTF_8, arena, &mut BTreeSet::new()).ok()
}

/// Hangs what another document holds under a value; a text that is the whole document is what it holds.
fn graft<'a>(document: &mut Document<'a>, at: NodeId, inner: &Document<'a>) {
    if at == document.root() {
        document.set_content(at, inner.content(inner.root()));
    }
    let mut pairs: Vec<(NodeId, NodeId)> = vec![(at, inner.root())];
    while let Some((ours, theirs)) = pairs.pop() {
        for child in inner.children(theirs) {
            let copy = document.push(Some(ours), inner.key(child), inner.content(child));
            pairs.push((copy, child));
        }
    }
}

/// Makes trees of names with brackets in the objects of a JSON document.
pub(super) fn nest<'a>(document: Document<'a>, arena: &'a Arena, odd: &mut BTreeSet<Oddity>) -> Document<'a> {
    let has_bracket = |id: &NodeId| document.children(*id).any(|child| is_way(document.key(child)));
    let records: Vec<NodeId> = document.ids().filter(has_bracket).collect();
    if records.is_empty() {
        return document;
    }
    odd.insert(Oddity::BracketKeys);
    let mut builder = Builder::of(document, arena);
    records.into_iter().for_each(|record| builder.nest(record));
    builder.finish()
}

fn is_way(key: MemberKey<'_>) -> bool {
    // A label may hold brackets; what programs write has no white space.
    matches!(key, MemberKey::Name(name) if name.ends_with(']') && !name.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::json as read;
    use super::*;

    #[test]
    fn json_in_a_text_is_a_subtree_and_the_text_stays() {
        let arena = Arena::new();
        let submission =
            read(r#"{"raw":"{\"name\":{\"first\":\"Ann\"},\"rooms\":[\"a\",\"b\"]}","note":"[urgent] call"}"#, &arena);
        let keys: Vec<_> = submission.fields.iter().map(|field| (field.key, field.values.join("+"))).collect();
        let expected = [("raw.name.first", "Ann"), ("raw.rooms", "a+b"), ("note", "[urgent] call")];
        assert_eq!(keys, expected.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(submission.json()["raw"], json!({ "name": { "first": "Ann" }, "rooms": ["a", "b"] }));
        assert!(submission.oddities.contains(&Oddity::Embedded));
    }

    #[test]
    fn brackets_in_the_names_of_an_object_are_a_tree() {
        let arena = Arena::new();
        let submission = read(r#"{"fields[a][value]":"1","fields[b][value]":{"x":2},"Rooms [max]":"3"}"#, &arena);
        assert_eq!(submission.json(), &json!({"fields":{"a":{"value":"1"},"b":{"value":{"x":2}}},"Rooms [max]":"3"}));
        assert!(submission.oddities.contains(&Oddity::BracketKeys));
    }
}

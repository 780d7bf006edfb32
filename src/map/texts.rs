//! The texts of a value: what a selector gives of a node.

use bumpalo::collections::Vec;

use crate::decode::{Content, Document, NodeId, Submission};

/// Returns the texts of a node: null, "", [] and false are no value, an object gives its `value`, else nothing.
pub(super) fn texts<'a>(submission: &Submission<'a>, node: NodeId) -> &'a [&'a str] {
    let mut texts = Vec::new_in(submission.arena);
    collect(&submission.document, node, &mut texts);
    texts.into_bump_slice()
}

fn collect<'a>(document: &Document<'a>, node: NodeId, texts: &mut Vec<'a, &'a str>) {
    match document.content(node) {
        Content::List => document.children(node).for_each(|item| collect(document, item, texts)),
        Content::Record | Content::File(_) => {
            document.member(node, "value").into_iter().for_each(|value| collect(document, value, texts));
        }
        _ => texts.extend(document.text(node)),
    }
}

/// Takes values apart at a mark; pieces are trimmed, empty ones go.
pub(super) fn split<'a>(submission: &Submission<'a>, values: &'a [&'a str], mark: Option<&str>) -> &'a [&'a str] {
    let Some(mark) = mark.filter(|mark| values.iter().any(|value| value.contains(mark))) else { return values };
    let pieces = values.iter().flat_map(|value| value.split(mark)).map(str::trim).filter(|piece| !piece.is_empty());
    Vec::from_iter_in(pieces, submission.arena).into_bump_slice()
}

/// What several plugins write between what was chosen.
const CHOICES: &str = "||";

/// Takes values apart where choices stand one beside the other; what a visitor typed has spaces there.
pub(super) fn split_choices<'a>(submission: &Submission<'a>, values: &'a [&'a str]) -> &'a [&'a str] {
    let [only] = values else { return values };
    let is_choice = |piece: &str| !piece.is_empty() && piece.trim() == piece;
    let has_mark = only.contains('|') && only.contains(CHOICES);
    if has_mark && only.split(CHOICES).all(is_choice) { split(submission, values, Some(CHOICES)) } else { values }
}

/// Joins texts into one.
pub(super) fn join<'a>(submission: &Submission<'a>, texts: &[&'a str], with: &str) -> &'a str {
    if let [only] = texts {
        return only;
    }
    let mut joined = bumpalo::collections::String::new_in(submission.arena);
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            joined.push_str(with);
        }
        joined.push_str(text);
    }
    joined.into_bump_str()
}

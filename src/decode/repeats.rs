//! Names that come more than once in a container: what stands in the document then.
//!
//! A form's become a list and JSON's the last one, as the makers of either expect; the fields keep them all. A name that is
//! both a value and a tree keeps its value as the tree's member "".

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Oddity;
use super::document::{Content, Document, Hashing, MemberKey, NodeId};
use super::fields::Style;

/// Up to this many members are compared with each other; more are looked up.
const PAIRWISE_MAX: usize = 12;

/// Makes every name of a document one node.
pub(super) fn merge(document: &mut Document<'_>, style: Style, odd: &mut BTreeSet<Oddity>) {
    // What a container holds comes after it: the innermost are merged first.
    for id in document.ids().rev() {
        if document.content(id) == Content::Record && has_repeats(document, id) {
            odd.insert(Oddity::RepeatedKey);
            merge_members(document, id, style, odd);
        }
    }
}

fn has_repeats(document: &Document<'_>, record: NodeId) -> bool {
    let mut names = document.children(record).filter_map(|member| name_of(&document.key(member)));
    let mut few = [""; PAIRWISE_MAX];
    for (count, name) in names.by_ref().take(PAIRWISE_MAX).enumerate() {
        if few.iter().take(count).any(|seen| *seen == name) {
            return true;
        }
        few.get_mut(count).into_iter().for_each(|place| *place = name);
    }
    let Some(next) = names.next() else { return false };
    let mut seen: HashSet<&str, Hashing> = few.into_iter().collect();
    !seen.insert(next) || names.any(|name| !seen.insert(name))
}

fn name_of<'a>(key: &MemberKey<'a>) -> Option<&'a str> {
    match key {
        MemberKey::Name(name) => Some(name),
        _ => None,
    }
}

/// A repeated name keeps its first place.
fn merge_members<'a>(document: &mut Document<'a>, record: NodeId, style: Style, odd: &mut BTreeSet<Oddity>) {
    let members: Vec<NodeId> = document.children(record).collect();
    let mut kept: Vec<Vec<NodeId>> = Vec::with_capacity(members.len());
    let mut places: HashMap<&str, usize, Hashing> = HashMap::default();
    for member in members {
        let name = name_of(&document.key(member)).unwrap_or_default();
        let place = *places.entry(name).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(same) => same.push(member),
            None => kept.push(vec![member]),
        }
    }
    document.clear(record);
    for mut same in kept {
        let Some(mut member) = same.pop() else { continue };
        match style {
            Style::Dots => replace(document, &same, member),
            Style::Brackets => {
                same.push(member);
                let merged = same.into_iter().reduce(|earlier, later| merge_two(document, earlier, later, odd));
                member = merged.unwrap_or(member);
            }
        }
        document.append(record, member);
    }
}

/// The last one stands where the earlier ones did, and each of its members where theirs of the name did.
fn replace(document: &mut Document<'_>, earlier: &[NodeId], last: NodeId) {
    earlier.iter().for_each(|id| document.stand_in(*id, last));
    let members: Vec<NodeId> = earlier.iter().flat_map(|id| document.children(*id)).collect();
    if members.is_empty() {
        return;
    }
    let by_key: HashMap<MemberKey<'_>, NodeId, Hashing> =
        document.children(last).map(|member| (document.key(member), member)).collect();
    let mut by_successor: HashMap<NodeId, Vec<NodeId>, Hashing> = HashMap::default();
    for member in members {
        if let Some(successor) = by_key.get(&document.key(member)) {
            by_successor.entry(*successor).or_default().push(member);
        }
    }
    by_successor.into_iter().for_each(|(successor, members)| replace(document, &members, successor));
}

/// Returns what stands for two values that a form sent under one name.
fn merge_two(document: &mut Document<'_>, earlier: NodeId, later: NodeId, odd: &mut BTreeSet<Oddity>) -> NodeId {
    let is_tree = |id| matches!(document.content(id), Content::Record | Content::File(_));
    match (is_tree(earlier), is_tree(later)) {
        (true, false) => mix(document, earlier, later, odd),
        (false, true) => mix(document, later, earlier, odd),
        _ => list(document, earlier, later),
    }
}

fn mix(document: &mut Document<'_>, tree: NodeId, value: NodeId, odd: &mut BTreeSet<Oddity>) -> NodeId {
    odd.insert(Oddity::MixedKey);
    let content = document.content(value);
    let items: Vec<NodeId> = document.children(value).collect();
    let unnamed = match document.member(tree, "") {
        Some(unnamed) => {
            document.clear(unnamed);
            document.set_content(unnamed, content);
            unnamed
        }
        None => document.push(Some(tree), MemberKey::Name(""), content),
    };
    items.into_iter().for_each(|item| document.append(unnamed, item));
    document.stand_in(value, tree);
    tree
}

/// Puts two values, or the items of those that are lists, into one list.
fn list(document: &mut Document<'_>, earlier: NodeId, later: NodeId) -> NodeId {
    let is_list = document.content(earlier) == Content::List;
    let list = if is_list { earlier } else { document.push(None, document.key(earlier), Content::List) };
    if !is_list {
        add(document, list, earlier);
    }
    add(document, list, later);
    list
}

/// Adds a value, or its items where it is a list; what was at its place is at the list's.
fn add(document: &mut Document<'_>, list: NodeId, value: NodeId) {
    let items = match document.content(value) {
        Content::List => document.children(value).collect(),
        content => {
            // A copy: the value itself is what the list stands for.
            let copy = document.push(None, MemberKey::Next, content);
            let members: Vec<NodeId> = document.children(value).collect();
            members.into_iter().for_each(|member| document.append(copy, member));
            vec![copy]
        }
    };
    let next = match document.last_child(list).map(|last| document.key(last)) {
        Some(MemberKey::Index(last)) => last + 1,
        _ => 0,
    };
    for (index, item) in (next..).zip(items) {
        document.set_key(item, MemberKey::Index(index));
        document.append(list, item);
    }
    document.stand_in(value, list);
}

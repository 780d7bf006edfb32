//! The fields that a plugin describes: which values tell a field, and what of them is its key, label, type and values.

use std::collections::HashSet;

use bumpalo::collections::Vec as ArenaVec;

use super::form_field::FormField;
use super::mapping::{FieldsRule, LabelSource};
use super::texts::{join, texts};
use crate::decode::{Content, Field, Hashing, NodeId, Submission};

/// Puts the fields that rules describe in the place of the plain ones that stand for the same part of the document.
///
/// A node is described by the first rule that reaches it.
pub(super) fn describe<'a>(submission: &'a Submission<'a>, rules: &'a [FieldsRule], fields: &mut Vec<FormField<'a>>) {
    let document = &submission.document;
    let mut described: Vec<(NodeId, FormField<'a>)> = Vec::new();
    let mut reached: HashSet<NodeId, Hashing> = HashSet::default();
    for rule in rules {
        let nodes = rule.each.nodes(submission);
        described.reserve(nodes.len());
        reached.reserve(nodes.len());
        for node in nodes {
            if has_value(rule, submission, node) && reached.insert(node) {
                let field = describe_one(rule, submission, node);
                described.push((node, FormField { meta: rule.meta, ..FormField::plain(field) }));
            }
        }
    }
    if described.is_empty() {
        return;
    }
    let order = document.order();
    described.sort_by_key(|(node, _)| order.of(*node));
    let nodes: HashSet<NodeId, Hashing> = described.iter().map(|(node, _)| *node).collect();
    let mut holders: HashSet<NodeId, Hashing> = HashSet::default();
    holders.extend(nodes.iter().flat_map(|node| document.way(*node).skip(1)));
    let is_covered = |form_field: &FormField<'a>| {
        let covers = |node: NodeId| document.way(node).any(|outer| nodes.contains(&outer)) || holders.contains(&node);
        form_field.field.node.is_some_and(|node| covers(document.standing(node)))
    };
    let place = fields.iter().position(is_covered).unwrap_or(fields.len());
    fields.retain(|form_field| !is_covered(form_field));
    let place = place.min(fields.len());
    fields.splice(place..place, described.into_iter().map(|(_, form_field)| form_field));
}

/// A rule that asks for a member which isn't there describes something else: the plain field stays.
fn has_value(rule: &FieldsRule, submission: &Submission<'_>, node: NodeId) -> bool {
    rule.value.is_empty() || rule.value.iter().any(|name| submission.document.member(node, name).is_some())
}

/// Returns the texts of a value; a file tells its name.
fn named_files<'a>(submission: &'a Submission<'a>, node: NodeId) -> &'a [&'a str] {
    let document = &submission.document;
    let file = |node| match document.content(node) {
        Content::File(name) => Some(name),
        _ => None,
    };
    let files = std::iter::once(node).chain(document.children(node)).filter_map(file);
    let files = ArenaVec::from_iter_in(files, submission.arena).into_bump_slice();
    if files.is_empty() { texts(submission, node) } else { files }
}

fn describe_one<'a>(rule: &'a FieldsRule, submission: &'a Submission<'a>, node: NodeId) -> Field<'a> {
    let document = &submission.document;
    let arena = submission.arena;
    let member = |name: &String| document.member(node, name).map(|member| texts(submission, member));
    let text = |name: &String| member(name).and_then(|texts| texts.first().copied());
    let told = |told: &'a Option<LabelSource>| match told {
        Some(LabelSource::Member(name)) => text(name),
        Some(LabelSource::Fixed(text)) => Some(text.as_str()),
        None => None,
    };
    let mut values = match rule.value.as_slice() {
        [] => match document.content(node) {
            Content::List | Content::File(_) => named_files(submission, node),
            _ => texts(submission, node),
        },
        [name] => member(name).unwrap_or_default(),
        names => {
            let values = names.iter().filter_map(member).flatten().copied();
            ArenaVec::from_iter_in(values, arena).into_bump_slice()
        }
    };
    if let Some(with) = &rule.with
        && values.len() > 1
    {
        values = arena.alloc_slice_copy(&[join(submission, values, with)]);
    }
    Field {
        key: rule.key.as_ref().and_then(text).unwrap_or_else(|| submission.name(node)),
        label: told(&rule.label),
        kind: told(&rule.kind),
        values,
        node: Some(node),
    }
}

#[cfg(test)]
mod tests {
    use super::super::selector::Path;
    use super::*;
    use crate::decode::{Arena, form};

    #[test]
    fn fields_stand_as_they_came_in_the_place_of_the_plain_ones() {
        let arena = Arena::new();
        let submission = form("first=0&b[y][n]=1&a=2&b[x][n]=3&last=4", &arena);
        let rule = |each: &str| FieldsRule {
            each: Path::parse(each).expect("a path"),
            key: None,
            label: None,
            kind: None,
            value: vec!["n".to_owned()],
            with: None,
            meta: false,
        };
        let rules = [rule("$.b.x"), rule("$.b[*]"), rule("$.none[*]")];
        let mut fields: Vec<_> = submission.fields.iter().copied().map(FormField::plain).collect();
        describe(&submission, &rules, &mut fields);
        let shown: Vec<_> = fields.iter().map(|it| (it.field.key, it.field.values.join(","))).collect();
        let expected = [("first", "0"), ("y", "1"), ("x", "3"), ("a", "2"), ("last", "4")];
        assert_eq!(shown, expected.map(|(key, value)| (key, value.to_owned())));
    }
}

//! Lists of fields: records that are made alike, of which one member names, one labels and one holds what was filled in.

use std::collections::HashSet;

use super::super::document::{ContainerKind, Content, Document, Hashing, MemberKey, NodeId};

/// How many records of a list, and members of a record, are looked at.
const RECORDS_MAX: usize = 64;
const MEMBERS_MAX: usize = 24;

/// How many values are looked at for the names of keys, and how many of those make a definition.
const NODES_MAX: usize = 2_000;
const ANSWERED_MIN: usize = 2;

/// What senders call what was filled in, the likelier first; case, `-` and `_` aside.
const VALUES: [&str; 24] = [
    "value",
    "values",
    "stringvalue",
    "fieldvalue",
    "answer",
    "answers",
    "answertext",
    "answervalue",
    "response",
    "responses",
    "reply",
    "input",
    "uservalue",
    "submittedvalue",
    "inputvalue",
    "val",
    "rawvalue",
    "content",
    "answerdetails",
    "respuesta",
    "antwort",
    "reponse",
    "risposta",
    "resposta",
];
/// What they call what the visitor saw beside it.
const LABELS: [&str; 17] = [
    "label",
    "title",
    "question",
    "questiontext",
    "questiontitle",
    "columnname",
    "fieldlabel",
    "fieldtitle",
    "adminlabel",
    "prompt",
    "caption",
    "heading",
    "displayname",
    "fieldname",
    "text",
    "q",
    "pregunta",
];
/// What they call its key.
const KEYS: [&str; 15] = [
    "key",
    "id",
    "name",
    "fieldid",
    "fieldkey",
    "ref",
    "slug",
    "columnid",
    "questionid",
    "handle",
    "field",
    "customkey",
    "code",
    "fieldname",
    "qid",
];
const TYPES: [&str; 7] = ["type", "fieldtype", "kind", "inputtype", "controltype", "basictype", "widget"];
/// Records beside the answer that tell of its field.
const ABOUT: [&str; 5] = ["field", "question", "column", "element", "input"];
/// Which members of the records hold the key, the label, the type and the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns<'a> {
    pub(super) key: Option<Column<'a>>,
    pub(super) label: Option<Column<'a>>,
    pub(super) kind: Option<Column<'a>>,
    /// None: the answer stands under the name of its type, or there is none.
    pub(super) value: Option<Column<'a>>,
}

/// The name of a member, and that of the record it stands in, where that is one of the field's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column<'a> {
    outer: Option<&'a str>,
    name: &'a str,
}

impl<'a> Column<'a> {
    pub(super) fn of(self, document: &Document<'a>, record: NodeId) -> Option<NodeId> {
        let record = match self.outer {
            Some(outer) => document.member(record, outer)?,
            None => record,
        };
        document.member(record, self.name)
    }
}

impl<'a> Columns<'a> {
    /// Returns the answer of a record: under the name that most have it under, else under another of those for answers.
    pub(super) fn value_of(&self, document: &Document<'a>, record: NodeId) -> Option<NodeId> {
        let usual = self.value?.of(document, record);
        let other = || {
            let is_value = |member: &NodeId| match document.key(*member) {
                MemberKey::Name(name) => VALUES.contains(&plain(name).as_str()),
                _ => false,
            };
            document.children(record).take(MEMBERS_MAX).find(is_value)
        };
        usual.or_else(other)
    }

    /// Reads what a record that stands alone tells of itself.
    pub(super) fn of_one(document: &Document<'a>, record: NodeId) -> Self {
        let records = [record];
        let members = members(document, &records);
        let pick = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| members.iter().map(|(column, _)| *column).find(|column| plain(column.name) == *name))
        };
        Self { key: None, label: pick(&LABELS), kind: pick(&TYPES), value: pick(&VALUES) }
    }
}

/// The meaning of a container of records.
pub(super) enum RecordContainer<'a> {
    /// Each is a field that was filled in.
    Fields(Columns<'a>),
    /// Each tells of a field that is filled in elsewhere.
    Definition(Columns<'a>),
}

/// Finds out what the records of a container are; none: no fields.
pub(super) fn read<'a>(document: &Document<'a>, container: NodeId) -> Option<RecordContainer<'a>> {
    let records: Vec<NodeId> = document.children(container).take(RECORDS_MAX).collect();
    if records.is_empty() || records.iter().any(|record| document.held(*record) != ContainerKind::Record) {
        return None;
    }
    let mut members: Vec<(String, Column<'a>)> =
        members(document, &records).into_iter().map(|(column, _)| (plain(column.name), column)).collect();
    without_prefix(&mut members);
    let list = List { document, records, members };
    let columns = list.columns();
    let is_of_types = columns.value.is_none()
        && columns.kind.is_some()
        && list.records.iter().all(|record| under_its_type(document, *record, &columns).is_some());
    let is_named =
        columns.key.is_some() || columns.label.is_some() || document.held(container) == ContainerKind::Record;
    match () {
        () if (columns.value.is_some() || is_of_types) && is_named => Some(RecordContainer::Fields(columns)),
        () if list.is_definition(&columns) => Some(RecordContainer::Definition(columns)),
        () => by_variety(document, &list.records, &list.members).map(RecordContainer::Fields),
    }
}

/// What the names of the members of a field may all begin with: `controlid`, `controlname`, `controlvalue`.
const PREFIXES: [&str; 6] = ["control", "field", "question", "input", "element", "component"];

/// Takes off what all names of the members begin with, where none is known with it.
fn without_prefix(members: &mut [(String, Column<'_>)]) {
    let is_known = members.iter().any(|(name, _)| VALUES.contains(&name.as_str()));
    let is_shared =
        |prefix: &&str| members.iter().all(|(name, _)| name.len() > prefix.len() && name.starts_with(*prefix));
    let Some(prefix) = PREFIXES.into_iter().find(is_shared).filter(|_| !is_known && members.len() > 1) else { return };
    for (name, _) in members {
        name.drain(..prefix.len());
    }
}

/// Records that are made alike, and what their members are called.
struct List<'d, 'a> {
    document: &'d Document<'a>,
    records: Vec<NodeId>,
    /// By their plain names, those of the records first.
    members: Vec<(String, Column<'a>)>,
}

impl<'a> List<'_, 'a> {
    fn columns(&self) -> Columns<'a> {
        let of_record = |column: &Column<'a>| column.outer.is_none();
        let is_answered = |column: &Column<'a>| self.nodes(*column).all(|node| is_answer(self.document, node));
        let value = self.pick(&VALUES, of_record).filter(|column| self.is_in_most(*column) && is_answered(column));
        let is_free = |taken: &[Option<Column<'a>>], column: &Column<'a>| !taken.contains(&Some(*column));
        let kinds = self.pick(&TYPES, |column| is_free(&[value], column));
        let is_text =
            |column: &Column<'a>| !self.is_type(kinds, *column) && is_text(self.document, &self.records, *column);
        let label = self.pick(&LABELS, |column| is_free(&[value], column));
        let label = label.filter(|column| self.is_in_most(*column) && is_text(column));
        let key = self.pick(&KEYS, |column| is_free(&[value, label], column)).filter(|column| self.is_in_most(*column));
        let kind = self.pick(&TYPES, |column| is_free(&[value, label, key], column));
        let name = self.pick(&["name", "fieldname"], |column| is_free(&[value, key, label], column));
        Columns { key, label: label.or(name), kind, value }
    }

    /// Returns the member of the first name that may be taken.
    fn pick(&self, names: &[&str], may: impl Fn(&Column<'a>) -> bool) -> Option<Column<'a>> {
        let of_name = |name: &&str| self.members.iter().find(|(plain, column)| plain == name && may(column));
        names.iter().find_map(of_name).map(|(_, column)| *column)
    }

    fn nodes(&self, column: Column<'a>) -> impl Iterator<Item = NodeId> {
        self.records.iter().filter_map(move |record| column.of(self.document, *record))
    }

    fn is_in_most(&self, column: Column<'a>) -> bool {
        self.nodes(column).count() * 2 >= self.records.len()
    }

    /// Tells whether a member is called as the type of some record: then it is the answer.
    fn is_type(&self, kinds: Option<Column<'a>>, column: Column<'a>) -> bool {
        let name = plain(column.name);
        let mut kinds =
            kinds.into_iter().flat_map(|kinds| self.nodes(kinds)).filter_map(|node| self.document.text(node));
        kinds.any(|kind| plain(kind) == name)
    }

    /// Tells whether the records tell of fields that are answered elsewhere, and hold no answer.
    fn is_definition(&self, columns: &Columns<'a>) -> bool {
        let has = |names: &[&str]| {
            self.members.iter().any(|(plain, column)| column.outer.is_none() && names.contains(&plain.as_str()))
        };
        let is_file = has(&["url", "mime", "size", "filename"]);
        columns.label.is_some() && !has(&VALUES) && !is_file && is_answered(self.document, &self.records, columns)
    }
}

/// Tells whether a value can be what was filled in for one field: a text, several, or records around one, but no list of more.
fn is_answer(document: &Document<'_>, value: NodeId) -> bool {
    let children = || document.children(value);
    let is_of_containers = children().any(|child| document.is_container(child));
    match document.held(value) {
        ContainerKind::Nothing => true,
        ContainerKind::List => !is_of_containers,
        // A table of choices: rows, and what was ticked in each.
        ContainerKind::Record => {
            children().nth(1).is_none()
                || children().all(|child| !document.children(child).any(|cell| document.is_container(cell)))
        }
    }
}

/// Tells whether the keys of a list are names of other values.
fn is_answered(document: &Document<'_>, records: &[NodeId], columns: &Columns<'_>) -> bool {
    let keys: Vec<&str> =
        records.iter().filter_map(|record| document.text(columns.key?.of(document, *record)?)).collect();
    let own: HashSet<NodeId, Hashing> = records.iter().copied().collect();
    let is_own = |id: NodeId| document.way(id).any(|outer| own.contains(&outer));
    let is_answer = |id: &NodeId| {
        let is_name = matches!(document.key(*id), MemberKey::Name(name) if keys.contains(&name));
        (is_name || document.text(*id).is_some_and(|text| keys.contains(&text))) && !is_own(*id)
    };
    let answered = document.ids().take(NODES_MAX).filter(is_answer).take(ANSWERED_MIN).count();
    keys.len() == records.len() && answered == ANSWERED_MIN
}

/// Returns the members that the records have, with how many have it; the outer ones first.
fn members<'a>(document: &Document<'a>, records: &[NodeId]) -> Vec<(Column<'a>, usize)> {
    let mut members: Vec<(Column<'a>, usize)> = Vec::new();
    let mut add = |column: Column<'a>| match members.iter_mut().find(|(known, _)| *known == column) {
        Some((_, count)) => *count += 1,
        None => members.push((column, 1)),
    };
    for record in records {
        for member in document.children(*record).take(MEMBERS_MAX) {
            let MemberKey::Name(name) = document.key(member) else { continue };
            add(Column { outer: None, name });
        }
        for member in document.children(*record).take(MEMBERS_MAX) {
            let MemberKey::Name(outer) = document.key(member) else { continue };
            if ABOUT.contains(&plain(outer).as_str()) && document.held(member) == ContainerKind::Record {
                for inner in document.children(member).take(MEMBERS_MAX) {
                    if let MemberKey::Name(name) = document.key(inner) {
                        add(Column { outer: Some(outer), name });
                    }
                }
            }
        }
    }
    members
}

/// A list whose members are called in no known way: one of two tells addresses apart from what they are called.
fn by_variety<'a>(
    document: &Document<'a>,
    records: &[NodeId],
    members: &[(String, Column<'a>)],
) -> Option<Columns<'a>> {
    if records.len() < 2 {
        return None;
    }
    let texts =
        |column: Column<'a>| records.iter().filter_map(move |record| document.text(column.of(document, *record)?));
    let has_address =
        |column: Column<'a>| texts(column).any(|text| text.contains('@') && super::looks_like_address(text));
    let is_varied = |column: Column<'a>| {
        let mut all: Vec<&str> = texts(column).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        count == records.len()
            && all.len() == count
            && all.iter().all(|text| text.len() <= 200 && text.chars().any(char::is_alphabetic))
    };
    let mut scalars = members
        .iter()
        .map(|(_, column)| *column)
        .filter(|column| column.outer.is_none() && texts(*column).next().is_some());
    let first = scalars.next()?;
    let second = scalars.next()?;
    if scalars.next().is_some() {
        return None;
    }
    let (label, value) = match (has_address(first), has_address(second)) {
        (false, true) => (first, second),
        (true, false) => (second, first),
        _ => return None,
    };
    is_varied(label).then_some(Columns { label: Some(label), value: Some(value), ..Columns::default() })
}

fn is_text(document: &Document<'_>, records: &[NodeId], column: Column<'_>) -> bool {
    let mut nodes = records.iter().filter_map(|record| column.of(document, *record));
    nodes.all(|node| matches!(document.content(node), Content::Text(_) | Content::Null))
}

/// Returns the answer that stands under the name of its type: `{"type": "email", "email": "…"}`.
pub(super) fn under_its_type<'a>(document: &Document<'a>, record: NodeId, columns: &Columns<'a>) -> Option<NodeId> {
    let kind = plain(document.text(columns.kind?.of(document, record)?)?);
    let mut members = document
        .children(record)
        .filter(|member| Some(*member) != columns.kind.and_then(|kind| kind.of(document, record)));
    members.find(|member| match document.key(*member) {
        MemberKey::Name(name) => plain(name) == kind,
        _ => false,
    })
}

/// Writes a name without case, `-` and `_`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

//! The one flat arena that every encoding is read into: a document's values, in the order in which they came.
//!
//! A value's text is a slice of the body where nothing had to be decoded, else of the memory that is freed with the whole
//! submission. A field is a view of a node, and where a value stands is its node's id.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

/// The memory a submission's decoded texts lie in.
pub use bumpalo::Bump as Arena;

/// How names of a submission are hashed: seeded, so that nobody can send names that all fall together, and in a fraction of
/// the standard library's time.
pub type Hashing = foldhash::fast::RandomState;

/// A value of a [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// A value's name or index in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberKey<'a> {
    /// It is the whole document.
    Root,
    Name(&'a str),
    Index(u32),
    /// The next free number of its container, as PHP's `[]` counts; only while a form is read.
    Next,
}

/// A value as it came.
///
/// No `Debug`: it is personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    Null,
    Bool(bool),
    /// The digits as written.
    Number(&'a str),
    Text(&'a str),
    /// A file of this name; its contents are not kept. It holds its name, type and size as members.
    File(&'a str),
    List,
    Record,
}

/// Whether a value contains others, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    Nothing,
    List,
    Record,
}

#[derive(Clone, Copy)]
struct Node<'a> {
    parent: NodeId,
    key: MemberKey<'a>,
    content: Content<'a>,
    first: Option<NodeId>,
    last: Option<NodeId>,
    next: Option<NodeId>,
}

/// What an id of another document stands for.
const NOTHING: Node<'static> =
    Node { parent: ROOT, key: MemberKey::Root, content: Content::Null, first: None, last: None, next: None };

const ROOT: NodeId = NodeId(0);

/// A tree of values, flat in memory.
///
/// `Debug` shows no value: it is personal data.
#[derive(Default)]
pub struct Document<'a> {
    nodes: Vec<Node<'a>>,
    /// Which node stands in the document for one that was sent under a repeated name.
    stand_ins: HashMap<NodeId, NodeId, Hashing>,
}

impl std::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl<'a> Document<'a> {
    /// Begins a document that will hold about so many values.
    pub(super) fn with_capacity(nodes: usize) -> Self {
        Self { nodes: Vec::with_capacity(nodes), ..Self::default() }
    }

    /// Begins a document that is one record.
    pub(super) fn record(nodes: usize) -> Self {
        let mut document = Self::with_capacity(nodes + 1);
        document.push(None, MemberKey::Root, Content::Record);
        document
    }

    /// Adds a value as the last of a container, or as the root.
    pub(super) fn push(&mut self, parent: Option<NodeId>, key: MemberKey<'a>, content: Content<'a>) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { parent: parent.unwrap_or(ROOT), key, content, ..NOTHING });
        if let Some(parent) = parent {
            self.append(parent, id);
        }
        id
    }

    /// Makes a value that stands nowhere the last of a container.
    pub(super) fn append(&mut self, parent: NodeId, id: NodeId) {
        let before = self.node_mut(parent).and_then(|node| {
            node.first = node.first.or(Some(id));
            node.last.replace(id)
        });
        if let Some(before) = before.and_then(|before| self.node_mut(before)) {
            before.next = Some(id);
        }
        if let Some(node) = self.node_mut(id) {
            node.parent = parent;
            node.next = None;
        }
    }

    /// Takes all values out of a container.
    pub(super) fn clear(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.first = None;
            node.last = None;
        }
    }

    pub(super) fn set_key(&mut self, id: NodeId, key: MemberKey<'a>) {
        if let Some(node) = self.node_mut(id) {
            node.key = key;
        }
    }

    pub(super) fn set_content(&mut self, id: NodeId, content: Content<'a>) {
        if let Some(node) = self.node_mut(id) {
            node.content = content;
        }
    }

    /// Makes a container a list of what it holds.
    pub(super) fn make_list(&mut self, id: NodeId) {
        self.set_content(id, Content::List);
        let mut index = 0;
        let mut item = self.first_child(id);
        while let Some(id) = item {
            self.set_key(id, MemberKey::Index(index));
            index += 1;
            item = self.next_sibling(id);
        }
    }

    /// Makes the container that was added last a file: its members are told anew.
    pub(super) fn set_file(&mut self, id: NodeId, name: &'a str, kind: Option<&'a str>, size: &'a str) {
        self.nodes.truncate((id.0 as usize).saturating_add(1));
        self.set_content(id, Content::File(name));
        self.clear(id);
        self.push(Some(id), MemberKey::Name("name"), Content::Text(name));
        self.push(Some(id), MemberKey::Name("type"), kind.map_or(Content::Null, Content::Text));
        self.push(Some(id), MemberKey::Name("size"), Content::Number(size));
    }

    /// Says which node stands in another's place.
    pub(super) fn stand_in(&mut self, of: NodeId, by: NodeId) {
        self.stand_ins.insert(of, by);
    }

    fn node(&self, id: NodeId) -> &Node<'a> {
        self.nodes.get(id.0 as usize).unwrap_or(&NOTHING)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node<'a>> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// Returns the whole document.
    pub fn root(&self) -> NodeId {
        ROOT
    }

    /// Returns how many values it holds.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns all nodes there are, containers before what they hold.
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    pub fn content(&self, id: NodeId) -> Content<'a> {
        self.node(id).content
    }

    pub fn key(&self, id: NodeId) -> MemberKey<'a> {
        self.node(id).key
    }

    /// Returns the container of a value; none of the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        (id != ROOT).then(|| self.node(id).parent)
    }

    /// Returns what a container holds, in order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(self.node(id).first, |child| self.node(*child).next)
    }

    pub(super) fn first_child(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).first
    }

    pub(super) fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).next
    }

    pub(super) fn last_child(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).last
    }

    /// Returns the first member of a name.
    pub fn member(&self, id: NodeId, name: &str) -> Option<NodeId> {
        self.children(id).find(|child| self.key(*child) == MemberKey::Name(name))
    }

    /// Returns the item of a list at an index.
    pub fn item(&self, id: NodeId, index: usize) -> Option<NodeId> {
        (self.held(id) == ContainerKind::List).then(|| self.children(id).nth(index))?
    }

    /// Returns the node that stands in the document where this one was sent.
    pub fn standing(&self, id: NodeId) -> NodeId {
        // Almost no document repeats a name.
        if self.stand_ins.is_empty() {
            return id;
        }
        std::iter::successors(Some(id), |id| self.stand_ins.get(id).copied()).last().unwrap_or(id)
    }

    /// Returns the container that a value was sent in.
    pub fn container(&self, id: NodeId) -> Option<NodeId> {
        self.parent(self.standing(id))
    }

    /// Returns the member of the root that a value is, or stands in.
    pub fn top(&self, id: NodeId) -> NodeId {
        let way = std::iter::successors(Some(id), |id| self.container(*id).filter(|id| *id != ROOT));
        self.standing(way.last().unwrap_or(id))
    }

    /// Returns a value, and the containers it stands in up to the root, which is left out.
    pub fn way(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(Some(id), |id| self.parent(*id)).filter(|id| *id != ROOT)
    }

    /// Returns the place of each node in the order of the document, by its number.
    pub fn order(&self) -> NodeOrder {
        let mut places = vec![u32::MAX; self.nodes.len()];
        let mut place = 0;
        let mut next = Some(ROOT);
        while let Some(id) = next {
            if let Some(slot) = places.get_mut(id.0 as usize) {
                *slot = place;
            }
            place += 1;
            let onwards = || std::iter::successors(Some(id), |id| self.parent(*id)).find_map(|id| self.node(id).next);
            next = self.node(id).first.or_else(onwards);
        }
        NodeOrder(places)
    }

    /// Returns the text of a value that is no container; none for null, false and empty text.
    pub fn text(&self, id: NodeId) -> Option<&'a str> {
        match self.content(id) {
            Content::Bool(true) => Some("true"),
            Content::Number(text) | Content::Text(text) | Content::File(text) => Some(text).filter(|t| !t.is_empty()),
            _ => None,
        }
    }

    /// Returns how a value holds others: a text that is itself JSON does too.
    pub fn held(&self, id: NodeId) -> ContainerKind {
        match self.content(id) {
            Content::List => ContainerKind::List,
            Content::Record => ContainerKind::Record,
            Content::Text(_) => match self.node(id).first.map(|child| self.key(child)) {
                None => ContainerKind::Nothing,
                Some(MemberKey::Index(_)) => ContainerKind::List,
                Some(_) => ContainerKind::Record,
            },
            _ => ContainerKind::Nothing,
        }
    }

    pub(super) fn is_container(&self, id: NodeId) -> bool {
        self.held(id) != ContainerKind::Nothing
    }

    /// Writes a value as JSON. Each name comes once in a document: its nodes and those of the JSON are the same, in the same
    /// order.
    pub fn json(&self, id: NodeId) -> Value {
        match self.content(id) {
            Content::Null => Value::Null,
            Content::Bool(truth) => Value::Bool(truth),
            Content::Number(digits) => as_written(digits),
            Content::Text(text) => match self.held(id) {
                ContainerKind::Nothing => Value::String(text.to_owned()),
                ContainerKind::List => self.children(id).map(|item| self.json(item)).collect(),
                ContainerKind::Record => self.members_as_json(id),
            },
            Content::List => self.children(id).map(|item| self.json(item)).collect(),
            Content::File(_) | Content::Record => self.members_as_json(id),
        }
    }

    fn members_as_json(&self, id: NodeId) -> Value {
        let members = self.children(id).map(|member| (self.name(member), self.json(member)));
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// Tells whether two documents hold the same values in the same order.
    pub(super) fn is_same(&self, other: &Document<'_>) -> bool {
        let mut pairs = vec![(self.root(), other.root())];
        while let Some((ours, theirs)) = pairs.pop() {
            let same = self.key(ours) == other.key(theirs) && self.content(ours) == other.content(theirs);
            if !same || self.children(ours).count() != other.children(theirs).count() {
                return false;
            }
            pairs.extend(self.children(ours).zip(other.children(theirs)));
        }
        true
    }

    /// Returns what a value is called, as text.
    pub fn name(&self, id: NodeId) -> String {
        match self.key(id) {
            MemberKey::Name(name) => name.to_owned(),
            MemberKey::Index(index) => index.to_string(),
            MemberKey::Root | MemberKey::Next => String::new(),
        }
    }
}

/// The position of each node in its document.
pub struct NodeOrder(Vec<u32>);

impl NodeOrder {
    /// Returns a node's place; one that isn't in the document comes last.
    pub fn of(&self, id: NodeId) -> u32 {
        self.0.get(id.0 as usize).copied().unwrap_or(u32::MAX)
    }
}

/// A JSON number holds its digits, but writes an exponent its own way: such a one is a text in the JSON.
fn as_written(digits: &str) -> Value {
    match digits.parse::<Number>() {
        Ok(number) if number.as_str() == digits => Value::Number(number),
        _ => Value::String(digits.to_owned()),
    }
}

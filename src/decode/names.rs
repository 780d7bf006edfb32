//! Names with brackets, nested as PHP does: `a[b]`, `a[]`, `a[2]`.

use std::collections::HashMap;

use super::document::{Arena, Content, Document, Hashing, MemberKey, NodeId};
use super::{DecodeError, DecodeLimits, LIMITS};

/// Builds a document out of pairs; also for the parts of a multipart body.
pub(super) struct Builder<'a> {
    document: Document<'a>,
    /// The containers that names with brackets made.
    branches: Vec<NodeId>,
    arena: &'a Arena,
}

impl<'a> Builder<'a> {
    /// Begins a document of about so many values.
    pub(super) fn new(arena: &'a Arena, values: usize) -> Self {
        Self { document: Document::record(values), branches: Vec::new(), arena }
    }

    /// Goes on with a document that is there already.
    pub(super) fn of(document: Document<'a>, arena: &'a Arena) -> Self {
        Self { document, branches: Vec::new(), arena }
    }

    /// Puts the members of a record whose names are ways to where those lead.
    pub(super) fn nest(&mut self, record: NodeId) {
        let members: Vec<NodeId> = self.document.children(record).collect();
        self.document.clear(record);
        let mut known: HashMap<(NodeId, MemberKey<'a>), NodeId, Hashing> = HashMap::default();
        for member in members {
            let way = match self.document.key(member) {
                MemberKey::Name(name) if !name.contains(char::is_whitespace) => split_name(name),
                _ => None,
            };
            let Some((base, inner)) = way.filter(|(_, inner)| inner.matches("][").count() < LIMITS.depth) else {
                self.document.append(record, member);
                continue;
            };
            let mut branch = self.descend_known(&mut known, record, MemberKey::Name(base));
            let mut steps = inner.split("][").peekable();
            while let Some(step) = steps.next() {
                let key = if step.is_empty() { MemberKey::Next } else { MemberKey::Name(step) };
                if steps.peek().is_some() {
                    branch = self.descend_known(&mut known, branch, key);
                    continue;
                }
                self.document.set_key(member, key);
                self.document.append(branch, member);
            }
        }
    }

    /// Adds a value under its wire name, and returns where.
    pub(super) fn insert(&mut self, name: &'a str, value: Content<'a>) -> Result<NodeId, DecodeError> {
        DecodeLimits::check("key length", name.len(), LIMITS.key_bytes)?;
        let root = self.document.root();
        let Some((base, inner)) = split_name(name) else {
            return Ok(self.document.push(Some(root), MemberKey::Name(name), value));
        };
        DecodeLimits::check("depth", inner.matches("][").count() + 1, LIMITS.depth)?;
        let mut branch = self.descend(root, MemberKey::Name(base));
        let mut steps = inner.split("][").peekable();
        while let Some(step) = steps.next() {
            let key = if step.is_empty() { MemberKey::Next } else { MemberKey::Name(step) };
            if steps.peek().is_none() {
                return Ok(self.document.push(Some(branch), key, value));
            }
            branch = self.descend(branch, key);
        }
        Ok(branch)
    }

    /// Does what [`Self::descend`] does, where there may be thousands side by side.
    fn descend_known(
        &mut self,
        known: &mut HashMap<(NodeId, MemberKey<'a>), NodeId, Hashing>,
        parent: NodeId,
        key: MemberKey<'a>,
    ) -> NodeId {
        let mut make = || {
            let branch = self.document.push(Some(parent), key, Content::Record);
            self.branches.push(branch);
            branch
        };
        match key {
            MemberKey::Next => make(),
            _ => *known.entry((parent, key)).or_insert_with(make),
        }
    }

    /// Returns the container under a name, made where there is none yet; `[]` always makes a new one.
    fn descend(&mut self, parent: NodeId, key: MemberKey<'a>) -> NodeId {
        let document = &self.document;
        let is_it = |id: &NodeId| document.key(*id) == key && document.content(*id) == Content::Record;
        // Mostly names of one container come one after the other.
        let last = document.last_child(parent).filter(is_it);
        let found = last.or_else(|| document.children(parent).find(is_it)).filter(|_| key != MemberKey::Next);
        found.unwrap_or_else(|| {
            let branch = self.document.push(Some(parent), key, Content::Record);
            self.branches.push(branch);
            branch
        })
    }

    /// Adds a file under its wire name.
    pub(super) fn insert_file(
        &mut self,
        name: &'a str,
        file: &'a str,
        kind: Option<&'a str>,
        size: &'a str,
    ) -> Result<(), DecodeError> {
        let id = self.insert(name, Content::Null)?;
        self.document.set_file(id, file, kind, size);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Document<'a> {
        for branch in std::mem::take(&mut self.branches) {
            self.number(branch);
        }
        self.document
    }

    /// Numbers what came without a name. A container whose names count up from 0 is a list, any other a record.
    fn number(&mut self, branch: NodeId) {
        let document = &mut self.document;
        let mut next = 0_u64;
        let mut counted = true;
        let mut place = 0_u64;
        let mut member = document.first_child(branch);
        while let Some(id) = member {
            let number = match document.key(id) {
                MemberKey::Name(name) => {
                    let number = name.parse::<u64>().ok();
                    counted &= number == Some(place) && is_canonical(name);
                    number
                }
                _ => {
                    counted &= next == place;
                    let name = bumpalo::format!(in self.arena, "{}", next).into_bump_str();
                    document.set_key(id, MemberKey::Name(name));
                    Some(next)
                }
            };
            next = number.map_or(next, |number| next.max(number.saturating_add(1)));
            place += 1;
            member = document.next_sibling(id);
        }
        if counted {
            document.make_list(branch);
        }
    }
}

/// Tells whether a number is written as a list's index is: `+1` and `01` are names.
fn is_canonical(digits: &str) -> bool {
    digits == "0" || digits.starts_with(|c: char| ('1'..='9').contains(&c))
}

/// Splits `base[a][][b]` into `base` and `a][][b`; none where the brackets don't end the name, since labels hold brackets
/// too.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let (base, rest) = name.split_once('[')?;
    let inner = rest.strip_suffix(']')?;
    let clean = !base.is_empty() && !inner.split("][").any(|step| step.contains(['[', ']']));
    clean.then_some((base, inner))
}

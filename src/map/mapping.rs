//! The mapping language, compiled: what a `mappings/<name>.toml` says, ready to run.
//!
//! `config` reads the TOML and builds these; every value in them is already checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::combine::CombineRules;
use super::glob::{Glob, Globs};
use super::selector::{Path, Selector};
use super::setup::SetupStep;
use crate::lead::LeadField;

/// One mapping.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// The file's name without `.toml`.
    pub name: String,
    pub title: Option<String>,
    /// What to do in the plugin so that its forms post here.
    pub setup: Vec<SetupStep>,
    /// Written by the operator; goes before the shipped ones.
    pub own: bool,
    /// What a form without a lead is answered with, where the form itself doesn't say.
    pub on_invalid: Option<OnInvalid>,
    /// Alternatives; the mapping fits where one of them holds. None: it is only used by name.
    pub detect: Vec<Condition>,
    /// Where the plugin describes its fields; none: each top-level member is a field.
    pub fields: Vec<FieldsRule>,
    pub combine: CombineRules,
    pub values: ValuesRule,
    pub form: FormRule,
    pub lead: LeadRules,
    pub extras: ExtrasRule,
    pub hold: Vec<HoldRule>,
    pub examples: Vec<Example>,
}

/// What is answered where no lead can be made of a submission (it is stored as held either way).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInvalid {
    /// 200, status `held`.
    #[default]
    Hold,
    /// 422.
    Reject,
}

/// Conditions on a request that all hold together.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Kept headers by name in lower case.
    pub header: BTreeMap<String, Glob>,
    /// Each matches the key of some field.
    pub keys: Vec<Glob>,
    /// Each gives a node.
    pub exists: Vec<Path>,
    /// Each gives a node equal to the value.
    pub equals: Vec<(Path, Value)>,
    /// These keys and none besides.
    pub only: Option<Vec<String>>,
    /// Only in a form's `match`: the form's name as the body says it.
    pub form_name: Option<Glob>,
    /// Only in a form's `match`: the page the form stands on, as the body or the referer says it.
    pub page: Option<Glob>,
}

/// Where a plugin describes its fields: each node of `each` is one; the others are names of its members.
#[derive(Clone, Debug)]
pub struct FieldsRule {
    pub each: Path,
    /// None: the name of the node in its parent.
    pub key: Option<String>,
    pub label: Option<LabelSource>,
    pub kind: Option<LabelSource>,
    /// Names of members; none: the node itself, or its `value`.
    pub value: Vec<String>,
    /// Several members are one value, joined with this; none: each is a value.
    pub with: Option<String>,
    /// Facts about the submission, written by the plugin: never a lead field by auto, never an extra.
    pub meta: bool,
}

/// Where a label or type comes from: a member of the record, or a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelSource {
    Member(String),
    Fixed(String),
}

/// Fields whose keys have one stem and belong together: the parts of a name, of an address, the boxes of a list.
///
/// Where a plugin's convention is a pattern of keys and not a name.
#[derive(Clone, Debug)]
pub struct CombineRule {
    /// The parts, in the order in which they are joined.
    pub keys: Vec<KeyPattern>,
    /// Each must be there, filled or not.
    pub needs: Vec<KeyPattern>,
    /// None of these may be there.
    pub unless: Vec<KeyPattern>,
    /// Values that must match.
    pub when: Vec<(KeyPattern, Glob)>,
    /// None: each part is a value.
    pub with: Option<String>,
    pub label: Option<String>,
    pub kind: Option<String>,
    /// The parts are no fields at all.
    pub drop: bool,
}

/// A key with a stem: `input_{n}.3`. What follows the stem is a glob.
#[derive(Clone, Debug)]
pub struct KeyPattern {
    pub(super) before: String,
    pub(super) after: Glob,
}

/// Text without `{n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must contain {{n}} once: the part that keys which belong together share")]
pub struct InvalidKeyPattern;

/// How values are read.
#[derive(Clone, Debug, Default)]
pub struct ValuesRule {
    /// Text that holds it is a list.
    pub split: Option<String>,
}

/// What to call the form, and what makes two posts the same: of each the first selector that gives a value.
#[derive(Clone, Debug, Default)]
pub struct FormRule {
    pub id: Vec<Selector>,
    pub name: Vec<Selector>,
    pub entry: Vec<Selector>,
    pub page: Vec<Selector>,
}

/// A rule for each of the four fields that the mapping names.
#[derive(Clone, Debug, Default)]
pub struct LeadRules {
    pub name: Option<LeadRule>,
    pub email: Option<LeadRule>,
    pub phone: Option<LeadRule>,
    pub message: Option<LeadRule>,
}

impl LeadRules {
    /// Returns the first lead field that is made of the form's field of this name, if any.
    pub fn reader_of(&self, name: &str) -> Option<LeadField> {
        LeadField::ALL.into_iter().find(|field| self.get(*field).is_some_and(|rule| rule.source.reads(name)))
    }
}

impl Source {
    fn reads(&self, name: &str) -> bool {
        match self {
            Self::Auto => false,
            Self::First(selectors) | Self::Join { parts: selectors, .. } => {
                selectors.iter().any(|selector| selector.reads(name))
            }
            Self::Template(template) => template.lines.iter().flatten().any(|piece| match piece {
                TemplatePiece::Value(selector) => selector.reads(name),
                TemplatePiece::Text(_) => false,
            }),
        }
    }
}

/// How one lead field is made.
#[derive(Clone, Debug, Default)]
pub struct LeadRule {
    pub source: Source,
    /// Where the source gives nothing, auto looks as if nothing were named.
    pub auto: bool,
    /// Taken where the source gives nothing.
    pub default: Option<String>,
}

/// Where a lead field's value comes from.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// Nothing is named: only a default was given, auto looks first.
    #[default]
    Auto,
    /// The first that gives a value; for e-mail and phone the first valid one.
    First(Vec<Selector>),
    /// All that give a value, joined.
    Join {
        parts: Vec<Selector>,
        with: String,
    },
    Template(Template),
}

/// Text with placeholders, line by line.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) lines: Vec<Vec<TemplatePiece>>,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum TemplatePiece {
    Text(String),
    Value(Selector),
}

/// What becomes of the fields that are none of the four.
#[derive(Clone, Debug, Default)]
pub struct ExtrasRule {
    /// Where those that aren't dropped go; the first rule that says so is followed.
    pub to: Option<ExtrasTo>,
    /// Globs on key or label.
    pub drop: Globs,
    /// More of them, where the document has all of some paths.
    pub drop_where: Vec<DropRule>,
    /// Labels by glob on the key; keys under one label are joined.
    pub labels: Vec<(Glob, String)>,
    /// Prefixes taken off labels.
    pub strip: Vec<String>,
}

/// Where extras go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtrasTo {
    Message,
    /// Nowhere: what was received still has them.
    Drop,
}

/// Fields that are the plugin's only where something else is there too.
#[derive(Clone, Debug)]
pub struct DropRule {
    pub exists: Vec<Path>,
    /// None of these may be there.
    pub missing: Vec<Path>,
    /// Globs on key or label.
    pub fields: Globs,
    /// Globs of those that are the visitor's all the same.
    pub except: Globs,
}

/// Submissions that are stored and not sent.
#[derive(Clone, Debug)]
pub struct HoldRule {
    pub condition: Condition,
    pub reason: String,
}

/// A submission and the lead it must become; run at each load.
#[derive(Clone, Debug)]
pub struct Example {
    pub content_type: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub expect: Expect,
}

/// What an example must become; a field not named is not compared, `phone = ""` says there is none.
#[derive(Clone, Debug)]
pub enum Expect {
    Lead(BTreeMap<LeadField, String>),
    Reject(Vec<(Option<LeadField>, crate::lead::Code)>),
}

impl LeadRules {
    /// Returns the rule for a field.
    pub fn get(&self, field: LeadField) -> Option<&LeadRule> {
        match field {
            LeadField::Name => self.name.as_ref(),
            LeadField::Email => self.email.as_ref(),
            LeadField::Phone => self.phone.as_ref(),
            LeadField::Message => self.message.as_ref(),
        }
    }

    /// Sets the rule for a field.
    pub fn set(&mut self, field: LeadField, rule: LeadRule) {
        let place = match field {
            LeadField::Name => &mut self.name,
            LeadField::Email => &mut self.email,
            LeadField::Phone => &mut self.phone,
            LeadField::Message => &mut self.message,
        };
        *place = Some(rule);
    }
}

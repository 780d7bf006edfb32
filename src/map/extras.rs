//! The fields that are none of the four: which are kept, under which label, in which words.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::dictionary::{Dictionary, Role};
use super::fate::Fate;
use super::form_field::FormField;
use super::glob::Glob;
use super::mapping::{DropRule, ExtrasRule, ExtrasTo};
use super::readable::readable;
use super::view::View;
use crate::lead::{Extra, LeadField};

/// Fewest lines of a value that is a copy of the whole form: each of the lead's fields, with a label or a blank line.
const COPY_LINES: usize = 5;

/// The extras of a submission, and the keys of what was left out on purpose.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) extras: Vec<Extra>,
    pub(super) dropped: Vec<String>,
    /// What became of each field, in order.
    pub(super) fates: Vec<Fate>,
}

/// What the lead already says, so that no extra says it again.
#[derive(Default)]
pub(super) struct Said {
    /// Indices of the fields that were used.
    pub(super) fields: BTreeSet<usize>,
    /// Which of them each lead field was made of.
    pub(super) sources: BTreeMap<LeadField, BTreeSet<usize>>,
    /// Values that lead fields were made of.
    pub(super) texts: BTreeSet<String>,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) message: Option<String>,
}

/// Sorts the fields that no lead field used. The form's rule goes before the mapping's.
pub(super) fn sort(view: &View<'_>, rules: &[&ExtrasRule], said: &Said, dictionary: &Dictionary) -> Sorted {
    let dropped = dropped(view, rules);
    let drop_all = rules.iter().find_map(|rule| rule.to) == Some(ExtrasTo::Drop);
    let mut sorted = Sorted::default();
    let mut lines = Lines::default();
    let heard = Heard::new(said);
    for (index, form_field) in view.fields.iter().enumerate() {
        let field = &form_field.field;
        if said.fields.contains(&index) {
            sorted.fates.push(said.fate(index));
            continue;
        }
        if dropped.contains(&index) || drop_all {
            sorted.dropped.push(field.key.clone());
            sorted.fates.push(if form_field.meta { Fate::Meta } else { Fate::Dropped });
            continue;
        }
        let value = field.values.iter().map(|value| readable(value)).collect::<Vec<_>>().join(", ");
        let value = value.trim();
        sorted.fates.push(match value {
            "" => Fate::Empty,
            _ if heard.says(value, || dictionary.role(field)) => Fate::Repeated,
            _ => Fate::Extra(lines.add(label(form_field, rules), value)),
        });
    }
    sorted.extras = lines.extras;
    sorted
}

impl Said {
    /// Tells what became of a field that was used. Blank text may come to nothing all the same.
    fn fate(&self, index: usize) -> Fate {
        let made_of = |(field, sources): (&LeadField, &BTreeSet<usize>)| sources.contains(&index).then_some(*field);
        let fields: Vec<LeadField> = self.sources.iter().filter_map(made_of).collect();
        if fields.is_empty() { Fate::Empty } else { Fate::Lead(fields) }
    }
}

/// [`Said`], made ready to be compared: once, since a message may be long and the fields many.
struct Heard {
    texts: HashSet<String>,
    name: Option<String>,
    email: Option<String>,
    message: Option<String>,
}

impl Heard {
    fn new(said: &Said) -> Self {
        let part = |text: &Option<String>| text.as_deref().map(plain).filter(|text| !text.is_empty());
        Self {
            texts: said.texts.iter().map(|text| plain(text)).collect(),
            name: part(&said.name),
            email: part(&said.email),
            message: part(&said.message),
        }
    }

    /// Tells whether the lead says a value already: as such, as a part of the name, or in a copy of the whole form.
    fn says(&self, value: &str, role: impl Fn() -> Option<Role>) -> bool {
        let value = plain(value);
        let holds = |text: &Option<String>| text.as_deref().is_some_and(|text| value.contains(text));
        let in_name = || self.name.as_deref().is_some_and(|name| name.contains(&value));
        self.texts.contains(&value)
            || (in_name() && matches!(role(), Some(Role::FirstName | Role::LastName)))
            || (value.lines().count() >= COPY_LINES && holds(&self.email) && holds(&self.name) && holds(&self.message))
    }
}

fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").replace("&amp;", "&").trim().to_lowercase()
}

/// Returns which fields are no extras, whatever was filled in, and not looked at by auto.
pub(super) fn dropped(view: &View<'_>, rules: &[&ExtrasRule]) -> BTreeSet<usize> {
    let document = &view.submission.document;
    let there = |rule: &&DropRule| rule.exists.iter().all(|path| !path.nodes(document).is_empty());
    let conditional: Vec<&DropRule> = rules.iter().flat_map(|rule| &rule.drop_where).filter(there).collect();
    let is_dropped = |(_, form_field): &(usize, &FormField)| {
        let field = &form_field.field;
        let named = |globs: &[Glob]| {
            let on = |text: &str| globs.iter().any(|glob| glob.matches(text));
            on(&field.key) || field.label.as_deref().is_some_and(on)
        };
        form_field.meta
            || rules.iter().any(|rule| named(&rule.drop))
            || conditional.iter().any(|rule| named(&rule.fields) && !named(&rule.except))
    };
    view.fields.iter().enumerate().filter(is_dropped).map(|(index, _)| index).collect()
}

/// The extras as they come together: keys under one label are one line.
#[derive(Default)]
struct Lines {
    extras: Vec<Extra>,
    by_label: HashMap<String, usize>,
}

impl Lines {
    /// Adds a value and returns the index of its line.
    fn add(&mut self, label: String, value: &str) -> usize {
        let index = *self.by_label.entry(label.clone()).or_insert(self.extras.len());
        match self.extras.get_mut(index) {
            Some(extra) => {
                extra.value.push_str(", ");
                extra.value.push_str(value);
            }
            None => self.extras.push(Extra { label, value: value.to_owned() }),
        }
        index
    }
}

fn label(form_field: &FormField, rules: &[&ExtrasRule]) -> String {
    let field = &form_field.field;
    let given = rules.iter().flat_map(|rule| &rule.labels).find(|(glob, _)| glob.matches(&field.key));
    if let Some((_, label)) = given {
        return label.clone();
    }
    let mut name = field.label.as_deref().filter(|label| !label.trim().is_empty()).unwrap_or(&field.key);
    let strips = || rules.iter().flat_map(|rule| &rule.strip);
    if let Some(rest) = strips().find_map(|prefix| name.strip_prefix(prefix.as_str())).filter(|rest| !rest.is_empty()) {
        name = rest;
    }
    if field.label.is_some() { name.trim().to_owned() } else { spoken(name) }
}

/// Writes a key as a label: `service_type` becomes `Service type`; a figure alone becomes `Field 13`.
fn spoken(key: &str) -> String {
    if key.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return format!("Field {key}");
    }
    if key.contains(char::is_whitespace) {
        return key.trim().to_owned();
    }
    let words: Vec<&str> = key.split(['_', '-', '.', '[', ']']).filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_spoken() {
        for (key, label) in [
            ("service_type", "Service type"),
            ("lead.company", "Lead company"),
            ("fields[tel]", "Fields tel"),
            ("13", "Field 13"),
            ("5.1", "Field 5.1"),
            ("Which rooms?", "Which rooms?"),
            ("", "Field "),
            ("联系", "联系"),
        ] {
            assert_eq!(spoken(key), label, "{key}");
        }
    }
}

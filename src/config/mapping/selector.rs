//! Selectors and templates, with errors that point into the string.

use toml::de::DeValue;

use super::super::diagnostic::Severity;
use super::super::reader::{Key, KeyShape, KnownKeys, NamedValue, Value};
use crate::map::{Path, Selector, SelectorError, Template, TemplateError};

pub(in super::super) const FIELD: KnownKeys = KnownKeys {
    table: "a selector",
    about: "A selector that is written as a table.",
    keys: &[
        Key::new("field", KeyShape::Text("field name"), "The name of a field, also if it begins with `$`.").required()
    ],
};

const FIELD_HINT: &str = "write a field whose name begins with `$` as { field = \"$ Name\" }";

/// Reads a selector: `"$.path"`, `"Field"`, or `{ field = "$ Field" }`.
pub(super) fn compile(value: &Value<'_>) -> Option<Selector> {
    match value.inner() {
        DeValue::String(text) => Selector::parse(text).map_err(|error| report(value, &error, Some(FIELD_HINT))).ok(),
        DeValue::Table(_) => value.table(FIELD)?.need("field", named_field),
        _ => {
            value.error(&format!("`{}` must be a selector: a string, or {{ field = \"…\" }}", value.key()), None);
            None
        }
    }
}

/// Reads the name of a field, whatever it begins with.
pub(super) fn named_field(value: &Value<'_>) -> Option<Selector> {
    Selector::field(value.text()?).map_err(|error| report(value, &error, None)).ok()
}

/// Reads a JSONPath.
pub(super) fn path(value: &Value<'_>) -> Option<Path> {
    let text = value.text()?;
    if !text.starts_with('$') {
        let hint = format!("a path begins with `$`: \"$['{text}']\"");
        value.error(&format!("`{}` must be a JSONPath", value.key()), Some(&hint));
        return None;
    }
    Path::parse(text).map_err(|error| report(value, &error, None)).ok()
}

/// Reads a template.
pub(super) fn template(value: &Value<'_>) -> Option<Template> {
    let text = value.text()?;
    let error = match Template::parse(text) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    let (message, offset) = match &error {
        TemplateError::Unclosed { offset } => (format!("`{}` {error}", value.key()), *offset),
        TemplateError::Selector { offset, source } => {
            (format!("a placeholder of `{}` {source}", value.key()), inside_placeholder(text, *offset, source))
        }
    };
    value.file().report(Severity::Error, value.span_at(Some(offset)), &message, None);
    None
}

/// Returns where in a template the selector of the placeholder at `offset` goes wrong; else where that begins.
fn inside_placeholder(template: &str, offset: usize, error: &SelectorError) -> usize {
    let SelectorError::Syntax { offset: Some(inner), .. } = error else { return offset };
    let rest = template.get(offset + 2..).unwrap_or_default();
    offset + 2 + (rest.len() - rest.trim_start().len()) + inner
}

fn report(value: &Value<'_>, error: &SelectorError, hint: Option<&str>) {
    let offset = match error {
        SelectorError::Syntax { offset, .. } => *offset,
        _ => None,
    };
    let hint = hint.filter(|_| matches!(error, SelectorError::Syntax { .. }));
    value.file().report(Severity::Error, value.span_at(offset), &format!("`{}` {error}", value.key()), hint);
}

/// Reads a JSONPath that stands as a key.
pub(super) fn path_key(entry: &NamedValue<'_>) -> Option<Path> {
    let problem = match entry.name.starts_with('$').then(|| Path::parse(entry.name)) {
        Some(Ok(path)) => return Some(path),
        Some(Err(error)) => format!("`{}` {error}", entry.name),
        None => format!("`{}` must be a JSONPath, in quotes: \"$.name\"", entry.name),
    };
    entry.value.file().error(entry.key_span.clone(), &problem);
    None
}

//! The explanation for people: what came in, what became of each field, the lead, and why.

use super::Subject;
use super::report::{errors, lead};
use crate::cli::console::Paint;
use crate::cli::{shown, table};
use crate::decode::Oddity;
use crate::lead::{Code, Extra, FieldError, Lead, LeadField};
use crate::map::{FormField, Mapped};
use crate::pipeline::{DECODER_PANICKED, End, Hold};

/// How much of a key, a label and a value is shown, in characters.
const KEY_MAX: usize = 32;
const LABEL_MAX: usize = 28;
const VALUE_MAX: usize = 48;

/// Writes the explanation.
pub(super) fn text(subject: &Subject<'_>, paint: Paint) -> String {
    let explained = subject.explained;
    let mut sections = vec![request(subject, paint)];
    if let Some(mapped) = &explained.mapped {
        sections.push(fields(mapped, &explained.extras, paint));
    }
    sections.push(end(subject, paint));
    sections.extend(oddities(&explained.processed.oddities, paint));
    sections.join("\n\n")
}

fn request(subject: &Subject<'_>, paint: Paint) -> String {
    let Subject { received, explained, plugin } = subject;
    let size = match (received.body.len(), &received.query) {
        (0, Some(query)) => format!("{} bytes in the query", query.len()),
        (size, _) => format!("{size} bytes"),
    };
    let content_type = received.content_type().map_or_else(|| "no type".to_owned(), |kind| shown::short(kind, 80));
    let mapping = explained.processed.mapping.as_deref();
    let recognised = match (plugin, mapping) {
        (Some(plugin), Some(mapping)) if *plugin == mapping => format!("recognised as {}", paint.bold(plugin)),
        (Some(plugin), Some(mapping)) => {
            format!("recognised as {}, mapped by {}", paint.bold(plugin), paint.bold(mapping))
        }
        (None, Some(mapping)) => format!("no plugin recognised, mapped by {}", paint.bold(mapping)),
        (_, None) => "not decoded".to_owned(),
    };
    let form = paint.bold(explained.processed.form.as_str());
    format!("{} {content_type}, {size}\n{recognised}, form {form}", paint.bold(&received.method))
}

fn fields(mapped: &Mapped, extras: &[Extra], paint: Paint) -> String {
    if mapped.fields.is_empty() {
        return format!("{}\n  none", paint.bold("Fields"));
    }
    let has_labels = mapped.fields.iter().any(|form_field| form_field.field.label.is_some());
    let rows: Vec<Vec<String>> = mapped
        .fields
        .iter()
        .map(|form_field| {
            let field = &form_field.field;
            let label = field.label.as_deref().map(|label| shown::short(label, LABEL_MAX)).unwrap_or_default();
            let mut row = vec![format!("  {}", shown::short(&field.key, KEY_MAX))];
            row.extend(has_labels.then_some(label));
            row.push(shown::short(&field.values.join(" | "), VALUE_MAX));
            row.push(format!("→ {}", fate(form_field, mapped, extras)));
            row
        })
        .collect();
    format!("{}\n{}", paint.bold("Fields"), table::aligned(&rows).join("\n"))
}

/// Says what became of a field.
fn fate(form_field: &FormField, mapped: &Mapped, extras: &[Extra]) -> String {
    let field = &form_field.field;
    let used: Vec<&str> = LeadField::ALL
        .into_iter()
        .filter(|lead_field| is_used(form_field, mapped, *lead_field))
        .map(LeadField::as_str)
        .collect();
    let text = field.values.join(", ");
    let extra = extras.iter().find(|extra| extra.value.contains(text.trim()));
    match (used.is_empty(), extra) {
        (false, _) => used.join(", "),
        _ if form_field.meta => "meta".to_owned(),
        _ if mapped.dropped.contains(&field.key) => "dropped".to_owned(),
        _ if field.values.is_empty() => "empty".to_owned(),
        (true, Some(extra)) => format!("extra \"{}\"", shown::short(&extra.label, LABEL_MAX)),
        (true, None) if is_copy(&text, mapped) => "a copy of what the lead holds".to_owned(),
        // Serialised values are written otherwise than they came.
        (true, None) => "extra, written readably".to_owned(),
    }
}

/// Tells whether a lead field was made of this one, by what auto says or by the value itself.
fn is_used(form_field: &FormField, mapped: &Mapped, lead_field: LeadField) -> bool {
    let Some(by) = mapped.found_by.get(&lead_field) else { return false };
    let field = &form_field.field;
    if let Some((_, keys)) = by.strip_prefix("auto by ").and_then(|by| by.split_once(": ")) {
        return keys == field.key || keys.split(" + ").any(|key| key == field.key);
    }
    if by == "default" || form_field.meta {
        return false;
    }
    let value = drafted(mapped, lead_field).unwrap_or_default();
    let mut texts = field.values.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    by == &field.key || texts.any(|text| value.trim() == text || words_of(value, text))
}

/// Tells whether a text stands in a value as whole words.
fn words_of(value: &str, text: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    value.match_indices(text).any(|(at, _)| {
        let before = value.get(..at).and_then(|before| before.chars().next_back());
        let behind = value.get(at + text.len()..).and_then(|behind| behind.chars().next());
        !is_word(before) && !is_word(behind)
    })
}

fn drafted(mapped: &Mapped, field: LeadField) -> Option<&str> {
    let draft = &mapped.draft;
    match field {
        LeadField::Name => draft.name.as_deref(),
        LeadField::Email => draft.email.as_deref(),
        LeadField::Phone => draft.phone.as_deref(),
        LeadField::Message => draft.message.as_deref(),
    }
}

fn is_copy(text: &str, mapped: &Mapped) -> bool {
    LeadField::ALL.into_iter().filter_map(|field| drafted(mapped, field)).any(|value| value.trim() == text.trim())
}

fn end(subject: &Subject<'_>, paint: Paint) -> String {
    let end = &subject.explained.processed.end;
    let mapped = subject.explained.mapped.as_ref();
    match (lead(end), end) {
        (Some(lead), End::Lead { .. }) => {
            format!("{}\n{}", paint.bold(&paint.green("Lead")), rows(lead, mapped, paint))
        }
        (Some(lead), End::Held { hold, reason, .. }) => {
            let why = paint.yellow(&held(*hold, reason.as_deref()));
            format!("{}\n{}", paint.bold(&format!("Lead, {why}")), rows(lead, mapped, paint))
        }
        (None, _) => no_lead(errors(end), subject, paint),
    }
}

fn held(hold: Hold, reason: Option<&str>) -> String {
    match hold {
        Hold::Rule => format!("held by the mapping's rule: {}", shown::line(reason.unwrap_or("no reason given"))),
        Hold::UnknownForm => "held: the site says unknown_forms = \"hold\" and no [forms.*] is this one".to_owned(),
        Hold::Undecodable | Hold::UnsupportedType | Hold::Invalid | Hold::Panicked => "held".to_owned(),
    }
}

fn rows(lead: &Lead, mapped: Option<&Mapped>, paint: Paint) -> String {
    let value = |field| match field {
        LeadField::Name => Some(lead.name()),
        LeadField::Email => Some(lead.email()),
        LeadField::Phone => lead.phone(),
        LeadField::Message => Some(lead.message()),
    };
    let row = |field: LeadField| {
        let by = mapped.and_then(|mapped| mapped.found_by.get(&field)).map(|by| shown::short(by, 80));
        let label = format!("  {:<9}", field.as_str());
        let Some(text) = value(field) else {
            let why = by.map_or_else(|| "no field gives one".to_owned(), |by| format!("found by {by}, but no phone"));
            return format!("{label}{}", paint.dim(&format!("not sent: {why}")));
        };
        let by = by.unwrap_or_else(|| fallback(field).to_owned());
        let mut lines = shown::lines(text);
        let first = format!("{label}{}  {}", lines.next().unwrap_or_default(), paint.dim(&format!("← {by}")));
        let rest = lines.map(|line| format!("           {line}").trim_end().to_owned());
        std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n")
    };
    LeadField::ALL.map(row).join("\n")
}

/// Says where a value comes from that no rule found.
fn fallback(field: LeadField) -> &'static str {
    match field {
        LeadField::Name => "the local part of the e-mail",
        LeadField::Email | LeadField::Phone => "nothing",
        LeadField::Message => "nothing the visitor wrote: extras and the form's name",
    }
}

fn no_lead(errors: &[FieldError], subject: &Subject<'_>, paint: Paint) -> String {
    let form = subject.explained.processed.form.as_str();
    let mut lines = vec![paint.bold(&paint.red("No lead"))];
    for error in errors {
        let field = error.field.map_or("", LeadField::as_str);
        lines.push(format!("  {:<9}{}: {}", field, error.code.as_str(), shown::line(&error.detail)));
        lines.push(format!("           {}", paint.dim(&format!("help: {}", cure(error, form)))));
        let by = subject.explained.mapped.as_ref().and_then(|mapped| mapped.found_by.get(&error.field?));
        lines.extend(by.map(|by| format!("           {}", paint.dim(&format!("found by {}", shown::short(by, 80))))));
    }
    lines.join("\n")
}

fn cure(error: &FieldError, form: &str) -> String {
    match (error.field, error.code) {
        (Some(field), Code::Missing | Code::Uncertain) => {
            format!("name it in the site's file: [forms.{form}.lead] {} = \"FIELD\"", field.as_str())
        }
        (Some(LeadField::Email), Code::Invalid | Code::TooLong) => {
            format!(
                "if another field is the e-mail: [forms.{form}.lead] email = \"FIELD\"; else the visitor mistyped it"
            )
        }
        (Some(field), _) => {
            format!("if another field is meant: [forms.{form}.lead] {} = \"FIELD\"", field.as_str())
        }
        (None, Code::NoFields) => "the plugin sent an empty form: look at its field mapping".to_owned(),
        (None, _) => "send urlencoded, multipart or JSON with the Content-Type that says so".to_owned(),
    }
}

fn oddities(oddities: &[String], paint: Paint) -> Option<String> {
    if oddities.is_empty() {
        return None;
    }
    let rows: Vec<_> = oddities.iter().map(|name| vec![format!("  {name}"), meaning(name).to_owned()]).collect();
    Some(format!("{}\n{}", paint.bold(&paint.yellow("Oddities")), table::aligned(&rows).join("\n")))
}

fn meaning(name: &str) -> &'static str {
    if name == DECODER_PANICKED {
        return "a bug of formgate stopped the decoding; the submission is kept as it came";
    }
    const ALL: [(Oddity, &str); 6] = [
        (Oddity::Repaired, "the JSON was broken and is mended where the intent is plain"),
        (Oddity::Unencoded, "the form's values were not percent-encoded"),
        (Oddity::Mislabelled, "the body is of another kind than its Content-Type says"),
        (Oddity::InvalidText, "bytes that are no text in the declared charset were replaced"),
        (Oddity::RepeatedKey, "a key came more than once"),
        (Oddity::MixedKey, "a name came both as a value and as a tree"),
    ];
    ALL.iter().find(|(oddity, _)| oddity.as_str() == name).map_or("", |(_, meaning)| meaning)
}

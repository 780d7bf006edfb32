//! The explanation for people: what came in, what became of each field, the lead, and why.

use super::Subject;
use crate::cli::console::Paint;
use crate::cli::{shown, table};
use crate::decode::Oddity;
use crate::lead::{Code, Extra, FieldError, Lead, LeadField};
use crate::map::Fate;
use crate::operate::{errors_of, lead_of};
use crate::pipeline::{DECODER_PANICKED, End, ExplainedCandidate, ExplainedField, Explanation, FELL_BACK, HoldReason};

/// How much of a key, a label and a value is shown, in characters.
const KEY_MAX: usize = 32;
const LABEL_MAX: usize = 28;
const VALUE_MAX: usize = 48;
/// How much of a rule and its fields is shown, in characters.
const FOUND_BY_MAX: usize = 80;

/// Writes the explanation.
pub(super) fn text(subject: &Subject<'_>, paint: Paint) -> String {
    let explained = subject.explained;
    let mut sections = vec![request(subject, paint)];
    if let Some(explanation) = &explained.explanation {
        sections.push(fields(explanation, &explained.extras, paint));
    }
    sections.push(end(subject, paint));
    sections.extend(explained.explanation.as_ref().and_then(|explanation| weighed(explanation, paint)));
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
        (None, Some(mapping)) => format!("plugin not recognised, mapped by {}", paint.bold(mapping)),
        (_, None) => "not decoded".to_owned(),
    };
    let form = paint.bold(explained.processed.form.as_str());
    format!("{} {content_type}, {size}\n{recognised}, form {form}", paint.bold(&received.method))
}

fn fields(explanation: &Explanation, extras: &[Extra<'_>], paint: Paint) -> String {
    if explanation.fields.is_empty() {
        return format!("{}\n  none", paint.bold("Fields"));
    }
    let has_labels = explanation.fields.iter().any(|field| field.label.is_some());
    let rows: Vec<Vec<String>> = explanation
        .fields
        .iter()
        .map(|field| {
            let label = field.label.as_deref().map(|label| shown::short(label, LABEL_MAX)).unwrap_or_default();
            let mut row = vec![format!("  {}", shown::short(&field.key, KEY_MAX))];
            row.extend(has_labels.then_some(label));
            row.push(shown::short(&field.values.join(" | "), VALUE_MAX));
            row.push(format!("→ {}", fate(field.fate, extras)));
            row
        })
        .collect();
    format!("{}\n{}", paint.bold("Fields"), table::aligned(&rows).join("\n"))
}

/// Says what became of a field.
fn fate(fate: Fate, extras: &[Extra<'_>]) -> String {
    match fate {
        Fate::Lead(fields) => fields.iter().map(|field| field.as_str()).collect::<Vec<_>>().join(", "),
        Fate::Extra(index) => {
            let label = extras.get(index).map_or("", |extra| &*extra.label);
            format!("extra \"{}\"", shown::short(label, LABEL_MAX))
        }
        Fate::Repeated => "already in the lead".to_owned(),
        Fate::Dropped => "dropped".to_owned(),
        Fate::Meta => "meta".to_owned(),
        Fate::Secret => "secret, not sent".to_owned(),
        Fate::Empty => "empty".to_owned(),
    }
}

/// Says by which rule a lead field was found and, where the rule doesn't name it, from which fields.
fn found_by(explanation: &Explanation, lead_field: LeadField) -> Option<String> {
    let by = explanation.found_by.get(&lead_field)?;
    let is_source =
        |field: &&ExplainedField| matches!(field.fate, Fate::Lead(fields) if fields.iter().any(|it| it == lead_field));
    let keys: Vec<&str> = explanation.fields.iter().filter(is_source).map(|field| field.key.as_str()).collect();
    let named = by.starts_with("auto by ") || keys.as_slice() == [by.as_str()];
    let from = if named || keys.is_empty() { String::new() } else { format!(", from {}", keys.join(" + ")) };
    Some(shown::short(&format!("{by}{from}"), FOUND_BY_MAX))
}

fn end(subject: &Subject<'_>, paint: Paint) -> String {
    let end = &subject.explained.processed.end;
    let explanation = subject.explained.explanation.as_ref();
    match (lead_of(end), end) {
        (Some(lead), End::Lead { .. }) => {
            format!("{}\n{}", paint.bold(&paint.green("Lead")), rows(lead, explanation, paint))
        }
        (Some(lead), End::Held { hold, reason, .. }) => {
            let why = paint.yellow(&held(*hold, reason.as_deref()));
            format!("{}\n{}", paint.bold(&format!("Lead, {why}")), rows(lead, explanation, paint))
        }
        (None, _) => no_lead(errors_of(end), subject, paint),
    }
}

fn held(hold: HoldReason, reason: Option<&str>) -> String {
    match hold {
        HoldReason::Rule => {
            format!("held by a rule of the mapping: {}", shown::line(reason.unwrap_or("no reason given")))
        }
        HoldReason::UnknownForm => {
            "held: the site has unknown_forms = \"hold\", and no [forms.*] table matches".to_owned()
        }
        HoldReason::Uncertain => "held: the confidence is below the form's auto.min".to_owned(),
        HoldReason::Test => "held: the submission says that it is a test".to_owned(),
        HoldReason::Spam => "held: the form's honeypot is filled in".to_owned(),
        HoldReason::Undecodable | HoldReason::UnsupportedType | HoldReason::Invalid | HoldReason::Panicked => {
            "held".to_owned()
        }
    }
}

/// Shows what auto weighed for each field, where it had a choice or wasn't sure.
fn weighed(explanation: &Explanation, paint: Paint) -> Option<String> {
    let is_doubtful = |field: LeadField| {
        let count = explanation.candidates.iter().filter(|candidate| candidate.field == field).count();
        count > 1 || explanation.confidence.get(&field).is_some_and(|sure| *sure < SURE)
    };
    let shown = explanation.candidates.iter().filter(|candidate| is_doubtful(candidate.field));
    let row = |candidate: &ExplainedCandidate| {
        let reasons = candidate.reasons.iter().map(|(reason, weight)| format!("{} {weight:+}", reason.as_str()));
        let keys = shown::short(&candidate.keys.join(" + "), KEY_MAX);
        vec![
            format!("  {}", candidate.field.as_str()),
            candidate.score.to_string(),
            keys,
            reasons.collect::<Vec<_>>().join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = shown.map(row).collect();
    (!rows.is_empty()).then(|| format!("{}\n{}", paint.bold("Weighed"), table::aligned(&rows).join("\n")))
}

/// From this confidence on nobody asks what else was weighed.
const SURE: f32 = 0.8;

fn rows(lead: &Lead, explanation: Option<&Explanation>, paint: Paint) -> String {
    let value = |field| match field {
        LeadField::Name => Some(lead.name()),
        LeadField::Email => Some(lead.email()),
        LeadField::Phone => lead.phone(),
        LeadField::Message => Some(lead.message()),
    };
    let row = |field: LeadField| {
        let by = explanation.and_then(|explanation| found_by(explanation, field));
        let label = format!("  {:<9}", field.as_str());
        let Some(text) = value(field) else {
            let why =
                by.map_or_else(|| "no field has one".to_owned(), |by| format!("found by {by}, but not a phone number"));
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
        LeadField::Message => "no message from the visitor: extras and the form's name",
    }
}

fn no_lead(errors: &[FieldError], subject: &Subject<'_>, paint: Paint) -> String {
    let form = subject.explained.processed.form.as_str();
    let mut lines = vec![paint.bold(&paint.red("No lead"))];
    for error in errors {
        let field = error.field.map_or("", LeadField::as_str);
        lines.push(format!("  {:<9}{}: {}", field, error.code.as_str(), shown::line(&error.detail)));
        lines.push(format!("           {}", paint.dim(&format!("help: {}", cure(error, form)))));
        let by = subject.explained.explanation.as_ref().and_then(|explanation| found_by(explanation, error.field?));
        lines.extend(by.map(|by| format!("           {}", paint.dim(&format!("found by {by}")))));
    }
    lines.join("\n")
}

fn cure(error: &FieldError, form: &str) -> String {
    match (error.field, error.code) {
        (Some(field), Code::Missing | Code::Uncertain) => {
            format!("name the field in the site's file: [forms.{form}.lead] {} = \"FIELD\"", field.as_str())
        }
        (Some(LeadField::Email), Code::Invalid | Code::TooLong) => {
            format!(
                "if another field has the e-mail: [forms.{form}.lead] email = \"FIELD\"; else the visitor mistyped it"
            )
        }
        (Some(field), _) => {
            format!("if it should be another field: [forms.{form}.lead] {} = \"FIELD\"", field.as_str())
        }
        (None, Code::NoFields) => "the plugin sent an empty form: check its field mapping".to_owned(),
        (None, _) => "send urlencoded, multipart or JSON, with the matching Content-Type".to_owned(),
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
        return "a bug in formgate stopped the decoding; the submission is kept unchanged";
    }
    if name == FELL_BACK {
        return "the recognised mapping found no e-mail, so the generic one was used";
    }
    const ALL: [(Oddity, &str); 8] = [
        (Oddity::Repaired, "the JSON was broken and has been repaired"),
        (Oddity::Unencoded, "the values weren't percent-encoded"),
        (Oddity::Mislabelled, "the body doesn't match its Content-Type"),
        (Oddity::InvalidText, "bytes that are invalid in the declared charset were replaced"),
        (Oddity::RepeatedKey, "a key appeared more than once"),
        (Oddity::MixedKey, "a name is both a value and the start of nested names"),
        (Oddity::Embedded, "a value was itself JSON or a form body, and was decoded"),
        (Oddity::BracketKeys, "bracketed names, such as `fields[name][value]`, were nested"),
    ];
    ALL.iter().find(|(oddity, _)| oddity.as_str() == name).map_or("", |(_, meaning)| meaning)
}

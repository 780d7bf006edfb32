//! Whether a lead is what a sensible person reads in a request.

use std::collections::BTreeMap;

use formgate::lead::{Lead, LeadField};
use formgate::pipeline::{End, Explained};
use serde_json::Value;

use super::corpora::Case;

/// What was found for a lead field, held against what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Found, and right.
    Right,
    /// Found, and not what is there, or nothing is.
    Wrong,
    /// There, and not found.
    Missed,
    /// Neither there nor found.
    Absent,
    /// Nothing is asked.
    Free,
}

/// What became of a case.
pub(crate) struct Judged {
    verdicts: BTreeMap<LeadField, Verdict>,
    /// A valid lead was not sent.
    pub(crate) is_held_in_vain: bool,
    /// In words; none: all is right.
    pub(crate) faults: Vec<String>,
}

impl Judged {
    pub(crate) fn verdict(&self, field: LeadField) -> Verdict {
        self.verdicts.get(&field).copied().unwrap_or(Verdict::Free)
    }
}

/// Holds what was found against the label.
pub(crate) fn judge(case: &Case, explained: &Explained) -> Judged {
    let label = &case.label;
    let lead = match &explained.processed.end {
        End::Lead { lead, .. } => Some(lead),
        End::Held { .. } => None,
    };
    let found = |field| explained.explanation.as_ref().and_then(|told| told.found.get(&field)).map(String::as_str);
    let mut judged = Judged { verdicts: BTreeMap::new(), is_held_in_vain: false, faults: Vec::new() };
    let is_sent = label.get("reject").is_none() && Email::of(label) == Email::Valid;
    if is_sent != lead.is_some() {
        judged.is_held_in_vain = is_sent;
        judged.faults.push(if is_sent { "held".to_owned() } else { "sent, and should be held".to_owned() });
    }
    for field in LeadField::ALL {
        let verdict = match (lead, is_sent, field) {
            (None, true, _) => Verdict::Missed,
            (_, false, LeadField::Email) => {
                if lead.is_some() {
                    Verdict::Wrong
                } else {
                    Verdict::Absent
                }
            }
            (_, false, _) => Verdict::Free,
            (Some(lead), true, _) => field_verdict(label, field, lead, found(field)),
        };
        if matches!(verdict, Verdict::Wrong | Verdict::Missed) && lead.is_some() {
            let value = lead.map(|lead| value(lead, field).to_owned()).unwrap_or_default();
            judged.faults.push(format!("{}: {value:?} for {}", field.as_str(), at(label, &["expect", field.as_str()])));
        }
        judged.verdicts.insert(field, verdict);
    }
    if let Some(lead) = lead {
        judge_message(label, lead, &mut judged.faults);
    }
    judged
}

/// Returns a member of a label; null where it isn't there.
fn at<'l>(label: &'l Value, way: &[&str]) -> &'l Value {
    way.iter().try_fold(label, |value, name| value.get(name)).unwrap_or(&Value::Null)
}

#[derive(PartialEq, Eq)]
enum Email {
    Valid,
    None,
}

impl Email {
    fn of(label: &Value) -> Self {
        let text = at(label, &["expect", "email"]).as_str();
        if text.is_some_and(formgate::lead::Email::is_valid) { Self::Valid } else { Self::None }
    }
}

fn value(lead: &Lead, field: LeadField) -> &str {
    match field {
        LeadField::Name => lead.name(),
        LeadField::Email => lead.email(),
        LeadField::Phone => lead.phone().unwrap_or_default(),
        LeadField::Message => lead.message(),
    }
}

fn field_verdict(label: &Value, field: LeadField, lead: &Lead, found: Option<&str>) -> Verdict {
    let expected = expected(label, field);
    let is_given = match field {
        LeadField::Name => found.is_some_and(|text| !text.trim().is_empty()),
        LeadField::Phone => lead.phone().is_some(),
        LeadField::Email | LeadField::Message => true,
    };
    let is_asked = match field {
        // Of a name or message that isn't there, nothing is asked.
        LeadField::Name | LeadField::Message => !expected.is_empty(),
        LeadField::Phone => at(label, &["expect"]).get("phone").is_some() || label.get("noise").is_some(),
        LeadField::Email => true,
    };
    if !is_asked {
        return Verdict::Free;
    }
    let value = value(lead, field);
    let right = expected.iter().any(|wanted| is_same(field, value, wanted));
    match (expected.is_empty(), is_given) {
        (true, false) => Verdict::Absent,
        (true, true) => Verdict::Wrong,
        (false, false) => Verdict::Missed,
        (false, true) if right => Verdict::Right,
        (false, true) => Verdict::Wrong,
    }
}

/// Everything that is right for a field.
fn expected(label: &Value, field: LeadField) -> Vec<String> {
    let key = field.as_str();
    let texts = |value: &Value| match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut all = texts(at(label, &["expect", key]));
    if !all.is_empty() {
        all.extend(texts(at(label, &["also_right", key])));
        all.extend(texts(at(label, &[&format!("expect_{key}_any")])));
    }
    all
}

fn is_same(field: LeadField, value: &str, wanted: &str) -> bool {
    match field {
        LeadField::Name => squash(value) == squash(wanted),
        LeadField::Email => value.to_lowercase() == ascii(&wanted.trim().to_lowercase()),
        LeadField::Phone => is_same_number(&digits(value), &digits(wanted)) || squash(value) == squash(wanted),
        LeadField::Message => lines(value).starts_with(&lines(wanted)),
    }
}

fn ascii(email: &str) -> String {
    formgate::lead::Email::parse(email).map_or_else(|_| email.to_owned(), |email| email.as_str().to_owned())
}

/// A national number against the international one: without the trunk prefix.
fn is_same_number(value: &str, wanted: &str) -> bool {
    let bare = wanted.trim_start_matches('0');
    value == wanted
        || (bare.len() >= 5 && value.ends_with(bare))
        || (bare.len() >= 8 && bare.get(1..).is_some_and(|bare| value.ends_with(bare)))
}

fn digits(text: &str) -> String {
    let number = text.split(['x', 'e', '#']).next().unwrap_or(text);
    let digit = |c: char| {
        let zeros = ['0', '٠', '۰', '०', '০', '０', '๐', '૦', '੦', '௦', '౦', '೦', '൦', '០', '၀'];
        zeros.iter().find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|digit| *digit < 10))
    };
    number.chars().filter_map(digit).filter_map(|digit| char::from_digit(digit, 10)).collect()
}

fn squash(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines(text: &str) -> String {
    text.trim().replace("\r\n", "\n").lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

fn judge_message(label: &Value, lead: &Lead, faults: &mut Vec<String>) {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let whole = format!("{}\n{}\n{}\n{}", lead.name(), lead.email(), lead.phone().unwrap_or_default(), lead.message());
    let holds = |text: &str, part: &str| squash(text).contains(&squash(part));
    let digits_in = |part: &str| {
        !digits(part).is_empty() && digits(&lead.message().replace(['x', 'e', '#'], " ")).contains(&digits(part))
    };
    for part in list(at(label, &["expect", "message_contains"]))
        .into_iter()
        .chain(list(at(label, &["expect_message_contains"])))
    {
        let is_number = part.chars().all(|c| c.is_ascii_digit());
        let is_there = holds(lead.message(), &part) || (is_number && digits_in(&part));
        if !is_there {
            faults.push(format!("the message misses {part:?}"));
        }
    }
    for part in list(at(label, &["lead_must_contain"])) {
        if !holds(&whole, &part) {
            faults.push(format!("the lead misses {part:?}"));
        }
    }
    for part in list(at(label, &["noise"])).into_iter().chain(list(at(label, &["message_must_not_contain"]))) {
        if whole.contains(&part) {
            faults.push(format!("the lead holds {part:?}"));
        }
    }
    for part in list(at(label, &["message_must_not_begin_with"])) {
        if lead.message().starts_with(&part) {
            faults.push(format!("the message begins with {part:?}"));
        }
    }
}

//! From a [`Draft`] to a [`Lead`]: validation is the constructor, so a `Lead` in hand is a valid one.
//!
//! Pure. The rules of each field and their sources stand in [`contact`] (e-mail, phone) and [`text`] (name, message).

mod area_code;
pub mod contact;
pub mod id;
pub mod overlay;
pub mod text;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use contact::ReadPhone;
pub use contact::{Email, InvalidEmail, InvalidRegion, Phone, Region};
pub use id::{EntryId, FormId, SiteId};
use text::InvalidName;
pub use text::{Message, Name};

/// The four values a mapping found, unchecked, and what else the visitor filled in.
///
/// `Debug` shows no value: a draft is personal data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Draft<'a> {
    pub name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub phone: Option<&'a str>,
    /// What the visitor wrote, or the mapping's default.
    pub message: Option<&'a str>,
    /// Every other field the visitor filled, in the form's order.
    pub extras: Vec<Extra<'a>>,
    /// What the form is called, for a submission that says nothing else.
    pub form_name: Option<&'a str>,
    /// Reads phone numbers written without `+`.
    pub region: Option<Region>,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("extras", &self.extras.len()).finish_non_exhaustive()
    }
}

/// A field that is none of the four: one `Label: value` line at the end of the message.
///
/// `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra<'a> {
    pub label: Cow<'a, str>,
    pub value: Cow<'a, str>,
}

impl Extra<'_> {
    /// Returns the same, of its own.
    pub fn into_owned(self) -> Extra<'static> {
        Extra { label: Cow::Owned(self.label.into_owned()), value: Cow::Owned(self.value.into_owned()) }
    }
}

impl std::fmt::Debug for Extra<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extra { .. }")
    }
}

/// A lead as KaiCalls takes it; can only be built valid.
///
/// `Debug` shows no value: a lead is personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    name: Name,
    email: Email,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<Phone>,
    message: Message,
}

/// The fields of a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeadField {
    Name,
    Email,
    Phone,
    Message,
}

/// Why a field, or the whole submission, makes no lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Missing,
    Invalid,
    TooLong,
    NoFields,
    Uncertain,
}

/// One reason. `detail` never repeats a value of the submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field at fault; none where the whole submission is.
    #[serde(default)]
    pub field: Option<LeadField>,
    pub code: Code,
    pub detail: String,
}

/// Every reason why a submission makes no lead; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("no valid lead (reasons: {})", errors.len())]
pub struct Rejection {
    pub errors: Vec<FieldError>,
}

/// A lead and what else came to light while it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<'a> {
    pub lead: Lead,
    /// The extras as they stand in the message: the draft's, and what found no room in a field.
    pub extras: Vec<Extra<'a>>,
}

impl Lead {
    /// Checks a draft; the only way to a lead. All reasons come at once.
    pub fn check(draft: Draft<'_>) -> Result<Checked<'_>, Rejection> {
        let mut errors = Vec::new();
        let mut extras = draft.extras;
        let email = check_email(draft.email, &mut errors);
        let name = check_name(draft.name, email.as_ref(), &mut errors);
        let phone = check_phone(draft.phone, draft.region, &mut extras);
        let message = Message::compose(draft.message, &extras, draft.form_name);
        match (name, email) {
            (Some(name), Some(email)) if errors.is_empty() => {
                Ok(Checked { lead: Self { name, email, phone, message }, extras })
            }
            _ => Err(Rejection { errors }),
        }
    }

    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub fn email(&self) -> &str {
        self.email.as_str()
    }

    pub fn phone(&self) -> Option<&str> {
        self.phone.as_ref().map(Phone::as_str)
    }

    pub fn message(&self) -> &str {
        self.message.as_str()
    }
}

impl std::fmt::Debug for Lead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lead { .. }")
    }
}

fn check_email(text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Email> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        errors.push(FieldError::new(LeadField::Email, Code::Missing, "no field of the form has an e-mail address"));
        return None;
    };
    Email::parse(text)
        .map_err(|invalid| {
            let code = match invalid {
                InvalidEmail::Malformed => Code::Invalid,
                InvalidEmail::TooLong => Code::TooLong,
            };
            errors.push(FieldError::new(LeadField::Email, code, format!("the e-mail field {invalid}")));
        })
        .ok()
}

/// A form without a name field still makes a lead: it is called by the local part of the e-mail.
fn check_name(text: Option<&str>, email: Option<&Email>, errors: &mut Vec<FieldError>) -> Option<Name> {
    match Name::parse(text.unwrap_or_default()) {
        Ok(name) => Some(name),
        Err(InvalidName::Empty) => email.and_then(|email| Name::parse_start(email.local_part()).ok()),
        Err(invalid @ InvalidName::TooLong) => {
            errors.push(FieldError::new(LeadField::Name, Code::TooLong, format!("the name field {invalid}")));
            None
        }
    }
}

/// A phone never rejects a lead: what no phone can hold goes with the extras.
fn check_phone(text: Option<&str>, region: Option<Region>, extras: &mut Vec<Extra<'_>>) -> Option<Phone> {
    let extra = |label, value| Extra { label: Cow::Borrowed(label), value: Cow::Owned(value) };
    match Phone::read(text.unwrap_or_default(), region) {
        ReadPhone::Phone(phone, extension) => {
            extras.extend(extension.map(|digits| extra("Phone extension", digits)));
            Some(phone)
        }
        ReadPhone::TooLong(line) => {
            extras.push(extra("Phone", line));
            None
        }
        ReadPhone::Empty => None,
    }
}

impl LeadField {
    /// All four, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Name, Self::Email, Self::Phone, Self::Message];

    /// Returns the field as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Message => "message",
        }
    }
}

impl Code {
    /// Returns the code as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::TooLong => "too_long",
            Self::NoFields => "no_fields",
            Self::Uncertain => "uncertain",
        }
    }
}

impl FieldError {
    /// Says what is wrong with one field.
    pub fn new(field: LeadField, code: Code, detail: impl Into<String>) -> Self {
        Self { field: Some(field), code, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft<'a>(name: &'a str, email: &'a str) -> Draft<'a> {
        Draft { name: Some(name), email: Some(email), ..Draft::default() }
    }

    fn codes(draft: Draft<'_>) -> Vec<(Option<LeadField>, Code)> {
        let errors = Lead::check(draft).expect_err("no lead").errors;
        errors.into_iter().map(|error| (error.field, error.code)).collect()
    }

    #[test]
    fn all_reasons_come_at_once() {
        let found = codes(draft(&"x".repeat(201), "nowhere"));
        assert_eq!(found, [(Some(LeadField::Email), Code::Invalid), (Some(LeadField::Name), Code::TooLong)]);
        assert_eq!(codes(draft("Jane", " ")), [(Some(LeadField::Email), Code::Missing)]);
    }

    #[test]
    fn a_lead_without_a_name_is_called_by_its_address() {
        let checked = Lead::check(draft("", "jane.doe@example.com")).expect("a lead");
        assert_eq!(checked.lead.name(), "jane.doe");
        let long = format!("{}@b.co", "x".repeat(210));
        assert_eq!(Lead::check(draft("", &long)).expect("a lead").lead.name(), "x".repeat(200));
    }

    #[test]
    fn a_phone_too_long_stays_with_the_message() {
        let mut draft = draft("Jane", "jane@example.com");
        let digits = "5".repeat(65);
        draft.phone = Some(&digits);
        let checked = Lead::check(draft).expect("a lead");
        assert_eq!(checked.lead.phone(), None);
        assert_eq!(checked.lead.message(), format!("Phone: {}", "5".repeat(65)));
    }

    #[test]
    fn a_lead_serialises_as_the_api_wants_and_shows_nothing_in_debug() {
        let checked = Lead::check(draft("Jane", "jane@example.com")).expect("a lead");
        let json = serde_json::to_string(&checked.lead).expect("json");
        assert_eq!(
            json,
            r#"{"name":"Jane","email":"jane@example.com","message":"Submitted through the website's form"}"#
        );
        assert!(!format!("{checked:?}").contains("jane@"));
        let mut draft = draft("Jane", "jane@example.com");
        draft.extras.push(Extra { label: "Budget".into(), value: "secret".into() });
        let shown = format!("{draft:?} {:?}", draft.extras);
        assert!(!shown.contains("jane@") && !shown.contains("secret"), "{shown}");
    }
}

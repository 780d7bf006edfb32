//! What intake takes: written from the API's document alone, not from what the gateway sends.

use serde_json::{Map, Value};

/// Longest e-mail address, in bytes.
const EMAIL_MAX: usize = 254;

/// The four fields of a lead.
pub(super) struct Fields {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) phone: Option<String>,
    pub(super) message: String,
}

/// Why intake refuses a lead, in the words of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IntakeRefusal {
    #[error("Invalid JSON body")]
    NotJson,
    #[error("Missing required fields: name, email and message")]
    Missing,
    #[error("Invalid email address")]
    Email,
    #[error("Invalid phone number")]
    Phone,
}

impl Fields {
    /// Reads a body; keys it does not know are left alone.
    pub(super) fn read(body: &[u8]) -> Result<Self, IntakeRefusal> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return Err(IntakeRefusal::NotJson);
        };
        let name = required(&body, "name")?;
        let email = required(&body, "email")?;
        let message = required(&body, "message")?;
        if !is_email(&email) {
            return Err(IntakeRefusal::Email);
        }
        let phone = match body.get("phone") {
            None | Some(Value::Null) => None,
            Some(Value::String(phone)) => Some(phone.clone()),
            Some(_) => return Err(IntakeRefusal::Phone),
        };
        Ok(Self { name, email, phone, message })
    }
}

fn required(body: &Map<String, Value>, key: &str) -> Result<String, IntakeRefusal> {
    let text = body.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    text.map(str::to_owned).ok_or(IntakeRefusal::Missing)
}

fn is_email(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let labels_are_filled = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    text.len() <= EMAIL_MAX
        && !local.is_empty()
        && labels_are_filled
        && text.chars().filter(|&c| !is_plain(c)).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Option<IntakeRefusal> {
        Fields::read(body.as_bytes()).err()
    }

    #[test]
    fn name_email_and_message_are_required_and_phone_is_not() {
        let full = r#"{"name":"Jane","email":"jane@example.com","phone":"+1","message":"Hi","source":"x"}"#;
        let read = Fields::read(full.as_bytes()).map(|fields| (fields.name, fields.phone, fields.message));
        assert_eq!(read, Ok(("Jane".to_owned(), Some("+1".to_owned()), "Hi".to_owned())));
        assert_eq!(refusal(r#"{"name":"J","email":"j@e.co","phone":null,"message":"m"}"#), None);
        for missing in [
            r#"{"email":"j@e.co","message":"m"}"#,
            r#"{"name":"J","message":"m"}"#,
            r#"{"name":"J","email":"j@e.co"}"#,
            r#"{"name":" ","email":"j@e.co","message":"m"}"#,
            r#"{"name":["J"],"email":"j@e.co","message":"m"}"#,
        ] {
            assert_eq!(refusal(missing), Some(IntakeRefusal::Missing), "{missing}");
        }
        assert_eq!(refusal(r#"{"name":"J","email":"j@e.co","phone":1,"message":"m"}"#), Some(IntakeRefusal::Phone));
        for other in ["", "[]", "name=J", "{"] {
            assert_eq!(refusal(other), Some(IntakeRefusal::NotJson), "{other}");
        }
    }

    #[test]
    fn an_invalid_email_is_refused() {
        for bad in ["jane", "@e.co", "j@", "j@e", "j@@e.co", "j@e..co", "j@e.co.", "j j@e.co", "j@e.co\n"] {
            assert!(!is_email(bad), "{bad:?}");
        }
        assert!(is_email("jane.o'neil+x@mail.example.com"));
        assert!(!is_email(&format!("{}@example.com", "x".repeat(EMAIL_MAX))));
    }
}

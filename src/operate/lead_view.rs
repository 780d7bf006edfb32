//! A lead as it is shown: whole, or masked.

use serde::{Deserialize, Serialize};

use crate::lead::{Lead, LeadField};

/// A lead as it is shown; written as a [`Lead`] is. A masked one is no lead any more, and nothing makes one of it. `Debug`
/// shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadView {
    pub(super) name: String,
    pub(super) email: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) phone: Option<String>,
    pub(super) message: String,
}

impl LeadView {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    pub fn phone(&self) -> Option<&str> {
        self.phone.as_deref()
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns a field's value; empty where there is no phone.
    pub fn field(&self, field: LeadField) -> &str {
        match field {
            LeadField::Name => &self.name,
            LeadField::Email => &self.email,
            LeadField::Phone => self.phone.as_deref().unwrap_or_default(),
            LeadField::Message => &self.message,
        }
    }
}

impl From<&Lead> for LeadView {
    fn from(lead: &Lead) -> Self {
        Self {
            name: lead.name().to_owned(),
            email: lead.email().to_owned(),
            phone: lead.phone().map(str::to_owned),
            message: lead.message().to_owned(),
        }
    }
}

impl std::fmt::Debug for LeadView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeadView { .. }")
    }
}

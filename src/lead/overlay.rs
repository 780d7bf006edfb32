//! What an operator put in the place of what a mapping found.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contact::{Phone, ReadPhone};
use super::text::{MESSAGE_MAX, is_longer};
use super::{Code, Draft, FieldError, LeadField};

/// Corrected fields of a lead. They go before what a mapping finds, whenever the lead is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overlay(BTreeMap<LeadField, Correction>);

/// A corrected field. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// Empty: the field is as if nobody had filled it in.
    pub value: String,
    pub at: Timestamp,
    /// Who corrected it, as the audit names them.
    pub by: String,
}

impl std::fmt::Debug for Correction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Correction").field("at", &self.at).field("by", &self.by).finish_non_exhaustive()
    }
}

impl Overlay {
    /// Corrects a field; a correction of before is replaced.
    ///
    /// What a form's submission may say at any length, an operator must not: nothing of it would be left out unseen. All
    /// else is checked when the lead is made.
    pub fn set(&mut self, field: LeadField, correction: Correction) -> Result<(), FieldError> {
        let is_too_long = match field {
            LeadField::Phone => matches!(Phone::read(&correction.value, None), ReadPhone::TooLong(_)),
            LeadField::Message => is_longer(&correction.value, MESSAGE_MAX),
            LeadField::Name | LeadField::Email => false,
        };
        if is_too_long {
            let detail = format!("the {} is too long for a lead", field.as_str());
            return Err(FieldError::new(field, Code::TooLong, detail));
        }
        self.0.insert(field, correction);
        Ok(())
    }

    /// Takes a correction back; tells whether there was one.
    pub fn clear(&mut self, field: LeadField) -> bool {
        self.0.remove(&field).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the corrected fields, in the order they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (LeadField, &Correction)> {
        self.0.iter().map(|(field, correction)| (*field, correction))
    }

    /// Puts the corrections into a draft. A corrected message is the whole message: no extras are added to it.
    pub fn apply<'a>(&'a self, mut draft: Draft<'a>) -> Draft<'a> {
        for (field, Correction { value, .. }) in self.iter() {
            let value = Some(value.as_str());
            match field {
                LeadField::Name => draft.name = value,
                LeadField::Email => draft.email = value,
                LeadField::Phone => draft.phone = value,
                LeadField::Message => {
                    draft.message = value;
                    draft.extras.clear();
                }
            }
        }
        draft
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Extra, Lead};
    use super::*;

    fn correction(value: &str) -> Correction {
        Correction { value: value.to_owned(), at: Timestamp::UNIX_EPOCH, by: "cli".to_owned() }
    }

    #[test]
    fn corrections_go_before_what_was_found_and_can_be_taken_back() {
        let extras = vec![Extra { label: "Budget".into(), value: "5".into() }];
        let draft = Draft { email: Some("nowhere"), message: Some("Hi"), extras, ..Draft::default() };
        let mut overlay = Overlay::default();
        overlay.set(LeadField::Email, correction("a@example.com")).expect("set");
        overlay.set(LeadField::Email, correction("jane@example.com")).expect("set again");
        let lead = Lead::check(overlay.apply(draft.clone())).expect("a lead").lead;
        assert_eq!((lead.email(), lead.message()), ("jane@example.com", "Hi\n\nBudget: 5"));
        overlay.set(LeadField::Message, correction("Call me")).expect("set");
        assert_eq!(Lead::check(overlay.apply(draft.clone())).expect("a lead").lead.message(), "Call me");
        assert!(overlay.clear(LeadField::Email) && !overlay.clear(LeadField::Email));
        assert!(Lead::check(overlay.apply(draft)).is_err());
        assert!(!format!("{overlay:?}").contains("Call me"));
    }

    #[test]
    fn nothing_of_a_correction_is_left_out_unseen() {
        let mut overlay = Overlay::default();
        for (field, length) in [(LeadField::Phone, 65), (LeadField::Message, 65_537)] {
            let error = overlay.set(field, correction(&"5".repeat(length))).expect_err("too long");
            assert_eq!((error.field, error.code), (Some(field), Code::TooLong));
        }
        assert!(overlay.is_empty());
    }
}

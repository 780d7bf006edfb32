//! What holds a submission that would be a lead.

use crate::lead::overlay::Overlay;
use crate::lead::{Code, FieldError, LeadField};
use crate::map::Mapped;

/// What can hold a valid lead.
#[derive(Clone, Copy)]
pub(super) struct HoldChecks<'a> {
    /// The words of a `[[hold]]` rule.
    pub(super) rule: Option<&'a str>,
    pub(super) is_unknown_form: bool,
    pub(super) auto_min: Option<f32>,
    /// The form's honeypot is filled in, and no operator has looked at it.
    pub(super) is_spam: bool,
}

impl HoldChecks<'_> {
    /// Returns the fields that were found by themselves and less surely than the form asks; none that an operator corrected.
    pub(super) fn uncertain(&self, mapped: &Mapped<'_>, overlay: &Overlay) -> Vec<FieldError> {
        let Some(min) = self.auto_min.filter(|_| overlay.is_empty()) else { return Vec::new() };
        let below = mapped.confidences().filter(|(_, confidence)| *confidence < min);
        let error = |(field, confidence): (LeadField, f32)| {
            let detail = format!("auto found it with a confidence of {confidence:.2}, below auto.min = {min}");
            FieldError::new(field, Code::Uncertain, detail)
        };
        below.map(error).collect()
    }
}

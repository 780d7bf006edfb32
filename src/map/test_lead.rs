//! Submissions that say of themselves that they are tests: what ad platforms and form services post when a webhook is saved.

use super::senses::Senses;
use super::view::View;
use super::words::Role;

/// How a box that is ticked is sent.
const TRUE: [&str; 4] = ["true", "1", "yes", "test"];
/// What Meta fills the fields of a test lead with
/// (<https://developers.facebook.com/docs/marketing-api/guides/lead-ads/testing-troubleshooting>).
const DUMMY: &str = "<test lead: dummy data for ";

/// Tells whether a submission says that it is a test.
pub(super) fn is_test(view: &View<'_>, senses: &Senses) -> bool {
    view.fields.iter().zip(&senses.fields).any(|(form_field, known)| {
        let mut values = form_field.field.values.iter().map(|value| value.trim());
        let is_flag = known.sense.role == Role::Test && !known.is_labelled;
        values.any(|value| {
            (is_flag && TRUE.iter().any(|word| value.eq_ignore_ascii_case(word))) || value.starts_with(DUMMY)
        })
    })
}

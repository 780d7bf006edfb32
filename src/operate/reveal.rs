//! `reveal`: leads are shown whole where the admin API masks them.

use jiff::Timestamp;

use super::audit::{Act, Actor, Audit, AuditError};
use super::choice::Choice;

/// Writes down that somebody asked to see leads whole: one line, before anything is shown. Where it can't be written, they
/// must stay masked.
pub async fn reveal(audit: &Audit, by: Actor, choice: &Choice, now: Timestamp) -> Result<(), AuditError> {
    audit.note(Act::showing("reveal", by, choice), now).await
}

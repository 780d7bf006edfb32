//! What was made of a submission.

use serde::{Deserialize, Serialize};

use crate::lead::overlay::Overlay;
use crate::lead::{FieldError, Lead};

/// What was made of a submission: the lead that is sent, or why there is none.
///
/// All of it can be made again of what was received and the overlay, and is, at each retry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which mapping was used; none where the body could not be decoded.
    #[serde(default)]
    pub mapping: Option<String>,
    /// The lead to send; none while it is held for want of one.
    #[serde(default)]
    pub lead: Option<Lead>,
    /// Why there is no lead.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// The words of the `[[hold]]` rule that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_rule: Option<String>,
    /// What was odd about the bytes, by name.
    #[serde(default)]
    pub oddities: Vec<String>,
    /// Names what the form's fields are called and typed: where it changes, the form has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// What an operator corrected: it goes before what the mapping finds, whenever the lead is made again.
    #[serde(default, skip_serializing_if = "Overlay::is_empty")]
    pub overlay: Overlay,
    /// What a post from a page took of the store; zero: it came with a credential. It stays as it is when all else is
    /// made again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub page_bytes: u64,
}

/// serde wants a reference.
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

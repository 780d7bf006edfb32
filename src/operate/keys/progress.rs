//! How far a site's new pair has come, as it is written down in the secrets folder. No secret is in it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A site's new pair on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MintProgress {
    pub(super) step: MintStep,
    pub(super) url: Option<String>,
    pub(super) asked_at: Timestamp,
    /// Set where a pair that was in use is rotated.
    pub(super) replaces: Option<Replaced>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MintStep {
    /// KaiCalls is being asked, and may have minted a pair by now.
    Asked,
    Minted(Minted),
}

/// A pair whose secret is in a file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Minted {
    pub(super) public_key: String,
    /// Its name in the folder.
    pub(super) secret_file: String,
    pub(super) business_id: Option<String>,
    pub(super) connection_id: Option<String>,
}

/// A pair that another takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    pub public_key: String,
    /// Its secret's name in the folder; none where it is elsewhere.
    pub secret_file: Option<String>,
}

/// What an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The new pair, where it is known to be there.
    pub public_key: Option<String>,
    pub replaces: Option<Replaced>,
}

impl Unfinished {
    pub(super) fn of(progress: MintProgress) -> Self {
        let public_key = match progress.step {
            MintStep::Asked => None,
            MintStep::Minted(minted) => Some(minted.public_key),
        };
        Self { public_key, replaces: progress.replaces }
    }
}

//! With `[kaicalls].confirm`: a lead that may have arrived is asked for before it is posted again (decision 0008).

mod evidence;

mod survey;

use std::time::Duration;

use crate::config::Config;

pub(super) use evidence::Finding;
pub(super) use survey::Confirmation;

/// Returns how much longer than a POST an attempt may take.
pub(super) fn longest(config: &Config) -> Duration {
    if config.upstream.confirm { survey::SURVEY_MAX } else { Duration::ZERO }
}

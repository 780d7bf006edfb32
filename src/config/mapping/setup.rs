//! `setup = […]`: what to do in the plugin, step by step, for whoever connects a site.

use crate::config::reader::Value;
use crate::map::{SETUP_WORDS, SetupStep};

/// Most steps, and the longest of them in characters: they are read on one screen.
const STEPS_MAX: usize = 12;
const STEP_CHARS_MAX: usize = 300;

pub(super) fn compile(value: &Value<'_>) -> Option<Vec<SetupStep>> {
    let steps = value.list_of(step)?;
    if steps.len() > STEPS_MAX {
        value.error(&format!("`setup` has more than {STEPS_MAX} steps"), None);
        return None;
    }
    Some(steps)
}

fn step(value: &Value<'_>) -> Option<SetupStep> {
    let text = value.filled()?;
    if text.chars().count() > STEP_CHARS_MAX || text.chars().any(char::is_control) {
        value.error(&format!("a step is one line of at most {STEP_CHARS_MAX} characters"), None);
        return None;
    }
    match SetupStep::parse(text) {
        Ok(step) => Some(step),
        Err(unknown) => {
            let hint = format!("known: {}", SETUP_WORDS.map(|word| format!("{{{word}}}")).join(", "));
            value.error(&unknown.to_string(), Some(&hint));
            None
        }
    }
}

//! The plugins whose steps are known, as people call them.

use std::sync::Arc;

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::config::{self, Loaded};
use crate::map::Mapping;
use crate::operate::onboard::{PluginSteps, plugins};
use crate::pipeline::Mappings;

/// The plugins whose steps are known.
pub(super) struct Plugins(Vec<Arc<Mapping>>);

impl Plugins {
    /// Gathers those of the configuration; where it can't be used, those that are shipped.
    pub(super) fn of(loaded: &Loaded) -> Self {
        match &loaded.config {
            Some(config) => Self::among(&config.mappings),
            None => Self::among(&config::shipped_mappings().0),
        }
    }

    fn among(mappings: &Mappings) -> Self {
        Self(plugins(mappings).cloned().collect())
    }

    /// Finds a plugin by its name, its title, the beginning of either, or its initials.
    pub(super) fn find(&self, given: &str) -> Result<&Mapping, Error> {
        let wanted = folded(given);
        type Fits = fn(&Mapping, &str) -> bool;
        let exactly: Fits = |mapping, wanted| names(mapping).any(|name| name == wanted);
        let begins: Fits = |mapping, wanted| names(mapping).any(|name| name.starts_with(wanted));
        let initials: Fits = |mapping, wanted| initials(&mapping.name) == wanted;
        for fits in [exactly, initials, begins] {
            let mut found = self.0.iter().filter(|mapping| !wanted.is_empty() && fits(mapping, &wanted));
            if let (Some(mapping), None) = (found.next(), found.next()) {
                return Ok(mapping);
            }
        }
        let error = Error::usage(anyhow!("no plugin `{}` is known", crate::cli::shown::short(given, 64)));
        Err(error.hint(format!("known: {}; any other is set up as `generic`", self.list())))
    }

    /// Names them all.
    pub(super) fn list(&self) -> String {
        self.0.iter().map(|mapping| mapping.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The lines of a plugin's steps.
pub(super) fn lines(of: &PluginSteps) -> impl Iterator<Item = String> {
    let steps = of.steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}", at + 1));
    std::iter::once(format!("{}:\n", of.title)).chain(steps)
}

/// Name and title as they are compared: case and what is no letter or digit don't count.
fn names(mapping: &Mapping) -> impl Iterator<Item = String> {
    [Some(&mapping.name), mapping.title.as_ref()].into_iter().flatten().map(|name| folded(name))
}

fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The first letter of each part of a name; a number stays whole.
fn initials(name: &str) -> String {
    let initial = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => part.to_owned(),
        false => part.chars().take(1).collect(),
    };
    name.split(['-', '_']).map(initial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_found_as_people_call_it() {
        let plugins = Plugins::among(&config::shipped_mappings().0);
        for (given, name) in [
            ("contact-form-7", "contact-form-7"),
            ("Contact Form 7", "contact-form-7"),
            ("CF7", "contact-form-7"),
            ("gravity", "gravity-forms"),
            ("gravityforms", "gravity-forms"),
            ("Elementor Pro", "elementor"),
            ("WPForms", "wpforms"),
        ] {
            assert_eq!(plugins.find(given).map(|found| found.name.as_str()).ok(), Some(name), "{given}");
        }
        for none in ["", "-", "forms", "ninja"] {
            let error = plugins.find(none).expect_err(none).render();
            assert!(error.contains("known: ") && error.contains("generic"), "{error}");
        }
    }
}

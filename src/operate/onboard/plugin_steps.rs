//! What to do in each plugin so that a site's forms post here: its own steps, from its mapping.

use serde::Serialize;

use crate::pipeline::{Mapping, Mappings, SetupValues};

/// A plugin's steps, with a site's values in them. No `Debug`: they may hold a token.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PluginSteps {
    /// The name of its mapping.
    pub name: String,
    pub title: String,
    pub steps: Vec<String>,
}

impl PluginSteps {
    /// Writes the steps of a mapping for a site.
    pub fn of(mapping: &Mapping, values: &SetupValues<'_>) -> Self {
        let title = mapping.title.clone().unwrap_or_else(|| mapping.name.clone());
        Self { name: mapping.name.clone(), title, steps: mapping.setup.iter().map(|step| step.show(values)).collect() }
    }
}

/// Gives the mappings that say how their plugin is connected, in the order of all.
pub fn plugins(mappings: &Mappings) -> impl Iterator<Item = &std::sync::Arc<Mapping>> {
    mappings.iter().filter(|mapping| !mapping.setup.is_empty())
}

/// Writes the steps of every plugin that is known, for a site.
pub fn plugin_steps(mappings: &Mappings, values: &SetupValues<'_>) -> Vec<PluginSteps> {
    plugins(mappings).map(|mapping| PluginSteps::of(mapping, values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn every_shipped_mapping_says_how_to_connect_its_plugin() {
        let (mappings, _) = config::shipped_mappings();
        let values = SetupValues { url: "URL", plain_url: "PLAIN", token: "TOKEN", gateway: "GATE" };
        let all = plugin_steps(&mappings, &values);
        assert_eq!(all.len(), mappings.iter().count());
        for PluginSteps { name, title, steps } in all {
            assert!(!steps.is_empty() && !title.is_empty(), "{name}");
            let says_where = steps.iter().any(|step| step.contains("URL") || step.contains("GATE"));
            assert!(says_where, "{name}: no step says where to post to");
        }
    }
}

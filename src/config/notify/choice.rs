//! `events` and `sites` of a sink: of what it is told.

use std::collections::BTreeSet;

use super::SinkSites;
use crate::config::reader::{Table, Value};
use crate::config::suggest::nearest;
use crate::event::{EventPattern, EventScope, EventType};
use crate::lead::SiteId;

/// Most patterns of one sink; there are fewer events than that.
const PATTERNS_MAX: usize = 40;
/// Most sites of one sink; `["*"]` is all.
const SITES_MAX: usize = 500;

/// Reads `events`.
pub(super) fn events(table: &Table<'_>, sites: Option<&SinkSites>) -> Option<Vec<EventPattern>> {
    let Some(value) = table.get("events") else {
        let default = EventPattern::DEFAULT.into_iter().map(EventPattern::parse);
        return Some(default.collect::<Result<_, _>>().expect("each default names an event"));
    };
    let patterns = value.list_of(|item| pattern(item, sites))?;
    if patterns.is_empty() || patterns.len() > PATTERNS_MAX {
        let hint = "\"*\" is every event; without `events` a sink gets what needs a person";
        value.error(&format!("`events` must have 1 to {PATTERNS_MAX} patterns"), Some(hint));
        return None;
    }
    Some(patterns)
}

fn pattern(value: &Value<'_>, sites: Option<&SinkSites>) -> Option<EventPattern> {
    let text = value.text()?;
    let Ok(pattern) = EventPattern::parse(text) else {
        let hint = near(text).map_or_else(
            || "write an event's name, such as \"lead.dead\", all of a kind, such as \"site.*\", or \"*\"".to_owned(),
            |known| format!("did you mean \"{known}\"?"),
        );
        value.error(&format!("there is no event `{text}`"), Some(&hint));
        return None;
    };
    let chosen = EventType::ALL.into_iter().filter(|event| pattern.matches(*event));
    let is_of_gateway = chosen.map(EventType::scope).all(|scope| scope == EventScope::Gateway);
    if is_of_gateway && matches!(sites, Some(SinkSites::Only(_))) {
        let hint = "they go to sinks for all sites: write this in a [[notify]] of config.toml without `sites`";
        value.warn("a sink of single sites is never told of the gateway", Some(hint));
    }
    Some(pattern)
}

/// Returns the event or kind of events that is nearest to a text.
fn near(text: &str) -> Option<String> {
    let names = EventType::ALL.into_iter().filter(|event| *event != EventType::NotifyTest).map(EventType::as_str);
    let names: Vec<&str> = names.collect();
    let kinds: BTreeSet<String> =
        names.iter().filter_map(|name| Some(format!("{}.*", name.split_once('.')?.0))).collect();
    nearest(text, names.iter().copied().chain(kinds.iter().map(String::as_str))).map(str::to_owned)
}

/// Reads `sites`: ids, or `"*"` alone.
pub(super) fn sites(value: &Value<'_>) -> Option<SinkSites> {
    let is_all = |item: &Value<'_>| item.inner().as_str() == Some("*");
    let items = value.items().unwrap_or_default();
    if let [only] = items.as_slice()
        && is_all(only)
    {
        return Some(SinkSites::All);
    }
    if let Some(all) = items.iter().find(|item| is_all(item)) {
        all.error("\"*\" is all sites, so it stands alone", Some("write sites = [\"*\"], or name each site"));
        return None;
    }
    let ids = value.list_of(|item| item.parse(SiteId::parse))?;
    if ids.is_empty() || ids.len() > SITES_MAX {
        value.error(&format!("`sites` must have 1 to {SITES_MAX} sites"), Some("[\"*\"] is all of them"));
        return None;
    }
    Some(SinkSites::Only(ids.into_iter().collect()))
}

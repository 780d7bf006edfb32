//! Sinks that are told of no site, or of more than is meant.

use std::collections::BTreeSet;

use toml::de::DeValue;

use crate::config::notify::SINK_KEYS;
use crate::config::reader::{Table, Value};
use crate::config::sites::CompiledSites;
use crate::config::suggest::nearest;
use crate::lead::SiteId;

/// Warns of what only shows beside the sites: names of none, and a mailbox that gets the leads of all.
pub(in crate::config) fn warn_of_sinks(root: &Table<'_>, sites: &CompiledSites) {
    let broken = sites.broken.iter().filter_map(|site| site.id.as_ref());
    let known: BTreeSet<&SiteId> = sites.usable.keys().chain(broken).collect();
    // One that can't be read may have any name.
    let all_are_known = sites.broken.iter().all(|site| site.id.is_some());
    for sink in root.get("notify").and_then(|list| list.items()).unwrap_or_default() {
        let DeValue::Table(entries) = sink.inner() else { continue };
        // Its keys were checked when it was compiled.
        let table = Table::unchecked(root.file(), entries, SINK_KEYS);
        let Some(chosen) = table.get("sites") else { continue };
        let items = chosen.items().unwrap_or_default();
        if all_are_known {
            items.iter().for_each(|item| warn_of_no_site(item, &known));
        }
        let is_all = items.iter().any(|item| item.inner().as_str() == Some("*"));
        let leads = table.get("leads").filter(|leads| leads.inner().as_bool() == Some(true));
        if let Some(leads) = leads.filter(|_| is_all && table.has("email") && known.len() > 1) {
            let message = format!("these mailboxes get the leads of all {} sites", known.len());
            leads.warn(&message, Some("a client's own mailbox belongs in a [[notify]] of the client's site"));
        }
    }
}

fn warn_of_no_site(item: &Value<'_>, known: &BTreeSet<&SiteId>) {
    let Some(id) = item.inner().as_str().and_then(|text| SiteId::parse(text).ok()) else { return };
    if known.contains(&id) {
        return;
    }
    let hint = nearest(id.as_str(), known.iter().map(|id| id.as_str()));
    let hint = hint.map_or_else(
        || "`formgate sites list` shows their ids".to_owned(),
        |known| format!("did you mean \"{known}\"?"),
    );
    item.warn(&format!("there is no site `{id}`, so this sink is never told of it"), Some(&hint));
}

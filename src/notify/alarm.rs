//! What was told and isn't over yet, so that it is told once, also across a restart: each a note of the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lead::SiteId;
use crate::queue::{
    GatewayName, Key, Merge, NOTES_MAX, NoteChange, NoteKind, NumbersMerge, Store, StoreError, TextMerge,
};
use crate::telemetry::Degraded;

/// The alarm of an upstream that is down.
pub(super) const UPSTREAM_KEY: &str = "upstream_down";

/// An alarm that is raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alarm {
    pub(super) since: Timestamp,
    /// Whatever the event tells of it, as JSON.
    pub(super) detail: serde_json::Value,
}

/// Why a site is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PausedAlarm {
    /// KaiCalls' words.
    pub(super) why: String,
    pub(super) public_keys: Vec<String>,
}

/// Why the upstream is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UpstreamAlarm {
    pub(super) why: String,
}

/// The alarms that are raised, by key.
#[derive(Default)]
pub(super) struct Alarms {
    raised: BTreeMap<String, Raised>,
}

/// An alarm, and whether this process has seen for itself that it is true.
struct Raised {
    alarm: Alarm,
    is_seen: bool,
}

/// Returns the key of the alarm of a site that is paused.
pub(super) fn paused_key(site: &SiteId) -> String {
    format!("{PAUSED}{site}")
}

/// What the keys of alarms of paused sites begin with.
pub(super) const PAUSED: &str = "paused/";

/// What the keys of alarms of degradations begin with: those of a gateway that shares its store have its name in them.
pub(super) fn degraded_prefix(gateway: Option<&GatewayName>) -> String {
    gateway.map_or_else(|| DEGRADED.to_owned(), |name| format!("{DEGRADED}{name}/"))
}

/// Reads what needs a person at a gateway that shares the store.
pub(super) async fn degradations(store: &dyn Store, gateway: &GatewayName) -> Result<Vec<Degraded>, StoreError> {
    let prefix = degraded_prefix(Some(gateway));
    let notes = store.notes(NoteKind::Alarm, &prefix, None, NOTES_MAX).await?;
    let raised = notes.iter().filter(|note| note.text.as_deref().is_some_and(|text| !text.is_empty()));
    let reasons = raised.filter_map(|note| note.key.as_str().strip_prefix(&*prefix));
    Ok(reasons.filter_map(|word| Degraded::ALL.into_iter().find(|known| known.as_str() == word)).collect())
}

/// What the keys of alarms of degradations begin with.
const DEGRADED: &str = "degraded/";

/// Reads what an alarm was raised with; none where it isn't raised.
pub(super) async fn detail<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<T>, StoreError> {
    let notes = store.notes(NoteKind::Alarm, key, None, 1).await?;
    let text = notes.first().filter(|note| note.key.as_str() == key).and_then(|note| note.text.as_deref());
    let alarm: Option<Alarm> = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(alarm.and_then(|alarm| serde_json::from_value(alarm.detail).ok()))
}

impl Alarms {
    /// Reads those that are raised.
    pub(super) async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut raised = BTreeMap::new();
        let mut after: Option<Key> = None;
        loop {
            let page = store.notes(NoteKind::Alarm, "", after.as_ref(), NOTES_MAX).await?;
            let Some(last) = page.last() else { return Ok(Self { raised }) };
            after = Some(last.key.clone());
            for note in page {
                let alarm = note.text.as_deref().and_then(|text| serde_json::from_str(text).ok());
                let alarm = alarm.map(|alarm| (note.key.as_str().to_owned(), Raised { alarm, is_seen: false }));
                raised.extend(alarm);
            }
        }
    }

    /// Takes in what other gateways have raised and cleared since. What this one has seen for itself stays.
    pub(super) async fn refresh(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let now = Self::read(store).await?;
        self.raised.retain(|key, raised| raised.is_seen || now.raised.contains_key(key));
        for (key, raised) in now.raised {
            self.raised.entry(key).or_insert(raised);
        }
        Ok(())
    }

    /// Forgets an alarm, which another gateway clears.
    pub(super) fn forget(&mut self, key: &str) {
        self.raised.remove(key);
    }

    /// Returns an alarm that is raised.
    pub(super) fn get(&self, key: &str) -> Option<&Alarm> {
        self.raised.get(key).map(|raised| &raised.alarm)
    }

    /// Notes that an alarm is true now; tells whether it already was raised.
    pub(super) fn see(&mut self, key: &str) -> bool {
        let Some(raised) = self.raised.get_mut(key) else { return false };
        raised.is_seen = true;
        true
    }

    /// Returns the keys of alarms that begin with a text, each with whether this process has seen it true.
    pub(super) fn keys(&self, prefix: &str) -> Vec<(String, bool)> {
        let from = self.raised.range(prefix.to_owned()..);
        let keys = from.take_while(|(key, _)| key.starts_with(prefix));
        keys.map(|(key, raised)| (key.clone(), raised.is_seen)).collect()
    }

    /// Raises an alarm, or changes what it tells; tells whether that could be written down. Else it is true of this process
    /// alone.
    pub(super) async fn raise(&mut self, store: &dyn Store, key: &str, alarm: Alarm, now: Timestamp) -> bool {
        let text = serde_json::to_string(&alarm).unwrap_or_default();
        self.raised.insert(key.to_owned(), Raised { alarm, is_seen: true });
        write(store, key, text, now).await
    }

    /// Clears an alarm.
    pub(super) async fn clear(&mut self, store: &dyn Store, key: &str, now: Timestamp) {
        if self.raised.remove(key).is_some() {
            write(store, key, String::new(), now).await;
        }
    }
}

/// Tells whether it is written. A note can't be removed: an empty text is an alarm that is over.
async fn write(store: &dyn Store, key: &str, text: String, now: Timestamp) -> bool {
    let merge = Merge { text: TextMerge::Latest(text), numbers: NumbersMerge::Keep };
    let written = match NoteChange::new(NoteKind::Alarm, key, merge) {
        Ok(change) => store.note(&change, now).await.map_err(|error| error.to_string()),
        Err(invalid) => Err(invalid.to_string()),
    };
    if let Err(error) = &written {
        tracing::warn!(
            key,
            error,
            "notify.alarm_unwritten: the alarm can't be saved; after a restart it may be sent again"
        );
    }
    written.is_ok()
}

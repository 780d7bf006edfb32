//! `form.silent`: a form that posts regularly, and hasn't for a while. Nothing else tells of a plugin that was switched off.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Watch;
use crate::clock::later;
use crate::config::{Config, Silence};
use crate::event::EventType;
use crate::lead::{FormId, SiteId};
use crate::notify::alarm::Alarm;
use crate::notify::routing;
use crate::queue::activity::form_of_key;
use crate::queue::{Emission, Key, NOTES_MAX, Note, NoteKind, StoreError};

/// What keys of these alarms begin with.
const PREFIX: &str = "silent/";
/// How often all forms are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);
/// After a start visitors get so long before a form counts as silent: the gateway may have been away itself.
const SETTLED_AFTER: Duration = Duration::from_secs(6 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A form posts regularly once it has posted so often, over so long.
const POSTS_MIN: u64 = 20;
const OVER_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// `auto`: so many times its usual gap without a post. By chance that happens in 1 of 3,000 gaps.
const GAPS: u32 = 8;
/// But not over a long weekend.
const SILENT_MIN: Duration = DAY.saturating_mul(3);

/// When forms were looked at last.
#[derive(Default)]
pub(super) struct LastLook(Option<Timestamp>);

impl Watch {
    /// Tells which forms are silent.
    pub(super) async fn look_at_forms(&mut self, config: &Config, now: Timestamp) -> Result<(), StoreError> {
        let is_due = self.forms.0.is_none_or(|at| now >= later(at, LOOK_EVERY) || now < at);
        let is_settled = now >= later(self.begun_at, SETTLED_AFTER);
        if !is_due || !is_settled || !routing::wants(config, EventType::FormSilent) {
            return Ok(());
        }
        self.forms.0 = Some(now);
        let mut silent = BTreeSet::new();
        let mut after: Option<Key> = None;
        loop {
            let page = self.reader.store.notes(NoteKind::Form, "", after.as_ref(), NOTES_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for note in &page {
                let Some((site, form)) = form_of_key(note.key.as_str()) else { continue };
                let Some(known) = config.sites.get(&site) else { continue };
                if is_silent(note, known.notify.silence_of(&form, &config.alerts), now) {
                    silent.insert((site, form, note.last_at));
                }
            }
        }
        self.tell_silent(silent, now).await;
        Ok(())
    }

    async fn tell_silent(&mut self, silent: BTreeSet<(SiteId, FormId, Timestamp)>, now: Timestamp) {
        let store = self.reader.store.clone();
        let mut current = BTreeSet::new();
        for (site, form, last_at) in silent {
            let key = format!("{PREFIX}{site}/{form}");
            if !self.alarms.see(&key) {
                let once = format!("{key}/{}", last_at.as_second());
                let emission = Emission { site: Some(site), form: Some(form), ..Emission::new(EventType::FormSilent) };
                self.emit(emission, &once, now).await;
                self.alarms.raise(&*store, &key, Alarm { since: last_at, detail: Value::Null }, now).await;
            }
            current.insert(key);
        }
        for (key, _) in self.alarms.keys(PREFIX) {
            if !current.contains(&key) {
                self.alarms.clear(&*store, &key, now).await;
            }
        }
    }
}

/// Tells whether a form hasn't posted for longer than it may.
fn is_silent(note: &Note, silence: Silence, now: Timestamp) -> bool {
    let since = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let silent_for = since(note.last_at, now);
    match silence {
        Silence::Off => false,
        Silence::After(longest) => silent_for >= longest,
        Silence::Auto => {
            let posts = note.numbers.first().copied().unwrap_or_default();
            let over = since(note.first_at, note.last_at);
            let gaps = u32::try_from(posts.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
            let is_regular = posts >= POSTS_MIN && over >= OVER_MIN;
            is_regular && silent_for >= (over / gaps).saturating_mul(GAPS).max(SILENT_MIN)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(posts: u64, days: i64) -> Note {
        Note {
            key: Key::parse("acme/contact").expect("a key"),
            first_at: Timestamp::UNIX_EPOCH,
            last_at: after(days, 0),
            text: None,
            numbers: vec![posts],
        }
    }

    fn after(days: i64, hours: i64) -> Timestamp {
        Timestamp::from_second((days * 24 + hours) * 3_600).expect("a time")
    }

    #[test]
    fn a_busy_form_is_silent_after_a_long_weekend_and_a_slow_one_after_eight_gaps() {
        let auto = |posts, days, now| is_silent(&note(posts, days), Silence::Auto, now);
        // Ten a day.
        assert!(!auto(301, 30, after(32, 23)));
        assert!(auto(301, 30, after(33, 0)));
        // One every two days.
        assert!(!auto(31, 60, after(75, 23)));
        assert!(auto(31, 60, after(76, 0)));
        assert!(!auto(19, 60, after(900, 0)), "too few to say");
        assert!(!auto(500, 6, after(900, 0)), "a campaign of some days");
    }

    #[test]
    fn silence_can_be_said_or_turned_off() {
        let after_a_day = Silence::After(DAY);
        assert!(!is_silent(&note(1, 0), after_a_day, after(0, 23)));
        assert!(is_silent(&note(1, 0), after_a_day, after(1, 0)));
        assert!(!is_silent(&note(301, 30), Silence::Off, after(900, 0)));
    }
}

//! Posts to a site that were refused: of each mistake how often, since when, and who made it.
//!
//! Memory has what happened since the last write. The store has a note a site, with a JSON text; whoever writes reads it first,
//! so that counts go on after a restart. Of the gateways that share a store one does that at a time; the daily figures are added
//! up by the store itself.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Mistake, Sender};
use crate::queue::{Note, NoteKind};

/// Most mistakes that the note of a site has; those that were made longest ago fall out.
pub const MISTAKES_MAX: usize = 12;
/// A mistake that wasn't made for so long begins anew: an old count says nothing about what is wrong today.
pub const EPISODE_GAP: SignedDuration = SignedDuration::from_hours(24);

/// A post that was refused.
#[derive(Clone, Copy)]
pub struct RefusedPost<'a> {
    pub mistake: Mistake,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Finds out who sent it: asked only where that isn't known yet, since most that is refused comes in floods.
    pub sender: &'a dyn Fn() -> Sender,
}

/// A mistake that was made at a site: what is known of its current episode, or of its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MistakeRecord {
    /// A word of a closed set, which a newer version may have more of.
    pub mistake: String,
    /// The HTTP status of the answer; none where an older version wrote it.
    pub status: Option<u16>,
    /// Posts since `first_at`.
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The website that the post says it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The program that the post says it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// The text of a note.
#[derive(Default, Serialize, Deserialize)]
struct NoteText {
    mistakes: Vec<MistakeRecord>,
}

/// What was refused of a site since the last write: an entry for each mistake, of which there are only so many.
#[derive(Default)]
pub(super) struct Refusals(Vec<Refused>);

struct Refused {
    mistake: Mistake,
    status: u16,
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    sender: Sender,
}

impl Refusals {
    pub(super) fn add(&mut self, post: &RefusedPost<'_>, now: Timestamp) {
        let Some(known) = self.0.iter_mut().find(|known| known.mistake == post.mistake) else {
            let RefusedPost { mistake, status, sender } = *post;
            self.0.push(Refused { mistake, status, count: 1, first_at: now, last_at: now, sender: sender() });
            return;
        };
        if now.duration_since(known.last_at) > EPISODE_GAP {
            known.count = 0;
            known.first_at = now;
        }
        known.count += 1;
        known.last_at = now;
        known.status = post.status;
        // A scanner that names no host must not hide the website whose plugin has the wrong URL.
        if known.sender.host().is_none() {
            let sender = (post.sender)();
            if sender.host().is_some() {
                known.sender = sender;
            }
        }
    }

    /// Returns how many posts they are, and when the last was; none where there were none.
    pub(super) fn total(&self) -> Option<(u64, Timestamp)> {
        let last_at = self.0.iter().map(|known| known.last_at).max()?;
        Some((self.0.iter().map(|known| known.count).sum(), last_at))
    }

    /// Returns the text of the note with these added to what it has.
    pub(super) fn text(&self, known: Option<&Note>) -> String {
        let mut records = known.map(mistakes).unwrap_or_default();
        for refused in &self.0 {
            match records.iter_mut().find(|record| record.mistake == refused.mistake.as_str()) {
                Some(record) => refused.merge_into(record),
                None => records.push(refused.record()),
            }
        }
        records.sort_by_key(|record| Reverse(record.last_at));
        records.truncate(MISTAKES_MAX);
        written(records)
    }
}

impl Refused {
    fn record(&self) -> MistakeRecord {
        MistakeRecord {
            mistake: self.mistake.as_str().to_owned(),
            status: Some(self.status),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            host: self.sender.host().map(str::to_owned),
            agent: self.sender.agent().map(str::to_owned),
        }
    }

    fn merge_into(&self, record: &mut MistakeRecord) {
        let new = self.record();
        if self.first_at.duration_since(record.last_at) > EPISODE_GAP {
            *record = new;
            return;
        }
        let names_none = new.host.is_none() && record.host.is_some();
        let (host, agent) = match names_none {
            true => (record.host.take(), record.agent.take()),
            false => (new.host, new.agent),
        };
        *record = MistakeRecord {
            count: record.count.saturating_add(self.count),
            first_at: record.first_at.min(self.first_at),
            last_at: record.last_at.max(self.last_at),
            host,
            agent,
            ..new
        };
    }
}

/// Reads the mistakes of a site's note, the last one first. What an older version wrote is one word: the last mistake.
pub fn mistakes(note: &Note) -> Vec<MistakeRecord> {
    let Some(text) = &note.text else { return Vec::new() };
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !is_word {
        return serde_json::from_str::<NoteText>(text).unwrap_or_default().mistakes;
    }
    vec![MistakeRecord {
        mistake: text.clone(),
        status: None,
        // It counted all mistakes together; of the last one is known that it was made.
        count: 1,
        first_at: note.last_at,
        last_at: note.last_at,
        host: None,
        agent: None,
    }]
}

/// Writes the text of a note; what is too much for it is left out from the end.
fn written(mut mistakes: Vec<MistakeRecord>) -> String {
    loop {
        let text = serde_json::to_string(&NoteText { mistakes: mistakes.clone() }).unwrap_or_default();
        if text.len() <= NoteKind::Refused.limits().text_max || mistakes.pop().is_none() {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::{AGENT_MAX, HOST_MAX};
    use super::*;
    use crate::queue::Key;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    fn note(text: &str, last_at: Timestamp) -> Note {
        let key = Key::parse("acme").expect("a key");
        Note { key, first_at: at(0), last_at, text: Some(text.to_owned()), numbers: vec![7] }
    }

    fn refused(posts: &[(Mistake, i64, Option<&str>)]) -> Refusals {
        let mut refusals = Refusals::default();
        for (mistake, seconds, host) in posts {
            let sender = || Sender::new(*host, Some("agent"));
            refusals.add(&RefusedPost { mistake: *mistake, status: 401, sender: &sender }, at(*seconds));
        }
        refusals
    }

    fn record(mistake: Mistake, count: u64, first: i64, last: i64, host: Option<&str>) -> MistakeRecord {
        MistakeRecord {
            mistake: mistake.as_str().to_owned(),
            status: Some(401),
            count,
            first_at: at(first),
            last_at: at(last),
            host: host.map(str::to_owned),
            agent: Some("agent".to_owned()),
        }
    }

    #[test]
    fn counts_go_on_from_what_the_note_has() {
        use Mistake::{ExpiredToken, UnknownToken};
        let before =
            refused(&[(UnknownToken, 0, None), (UnknownToken, 10, Some("acme.example")), (ExpiredToken, 20, None)]);
        let note = note(&before.text(None), at(20));
        let expected = [record(ExpiredToken, 1, 20, 20, None), record(UnknownToken, 2, 0, 10, Some("acme.example"))];
        assert_eq!(mistakes(&note), expected);
        let after = refused(&[(UnknownToken, 30, None)]).text(Some(&note));
        let after = super::mistakes(&Note { text: Some(after), ..note });
        // Who names no host hides nobody who did.
        assert_eq!(after[0], record(UnknownToken, 3, 0, 30, Some("acme.example")));
        assert_eq!(after[1], expected[0]);
    }

    #[test]
    fn a_flood_is_asked_once_who_sent_it() {
        let asked = Cell::new(0);
        let sender = || {
            asked.set(asked.get() + 1);
            Sender::new(Some("acme.example"), None)
        };
        let mut refusals = Refusals::default();
        for second in 0..1_000 {
            refusals.add(&RefusedPost { mistake: Mistake::UnknownToken, status: 401, sender: &sender }, at(second));
        }
        assert_eq!((asked.get(), refusals.total()), (1, Some((1_000, at(999)))));
    }

    #[test]
    fn after_a_day_without_it_a_mistake_begins_anew() {
        let day = EPISODE_GAP.as_secs();
        let known = note(&refused(&[(Mistake::UnknownToken, 0, None)]).text(None), at(0));
        for (seconds, count, first) in [(day, 2, 0), (day + 1, 1, day + 1)] {
            let text = refused(&[(Mistake::UnknownToken, seconds, None)]).text(Some(&known));
            let expected = record(Mistake::UnknownToken, count, first, seconds, None);
            assert_eq!(mistakes(&note(&text, at(seconds))), [expected], "after {seconds} s");
            let unwritten = refused(&[(Mistake::UnknownToken, 0, None), (Mistake::UnknownToken, seconds, None)]);
            assert_eq!(unwritten.total(), Some((count, at(seconds))), "in memory, after {seconds} s");
        }
    }

    #[test]
    fn what_an_older_version_wrote_is_read_and_gone_on_with() {
        let old = note("unknown_token", at(5));
        let known = MistakeRecord { status: None, agent: None, ..record(Mistake::UnknownToken, 1, 5, 5, None) };
        assert_eq!(mistakes(&old), [known]);
        let text = refused(&[(Mistake::UnknownToken, 8, None)]).text(Some(&old));
        assert_eq!(mistakes(&note(&text, at(8))), [record(Mistake::UnknownToken, 2, 5, 8, None)]);
        for unreadable in ["", "{", "{\"mistakes\":7}"] {
            assert_eq!(mistakes(&note(unreadable, at(5))), [], "{unreadable}");
        }
    }

    #[test]
    fn what_a_newer_version_wrote_stays() {
        let text = r#"{"mistakes":[{"mistake":"of_the_future","status":499,"count":3,"first_at":"2027-01-15T08:00:00Z",
            "last_at":"2027-01-15T08:00:00Z","more":1}]}"#;
        let text = refused(&[(Mistake::Busy, 9, None)]).text(Some(&note(text, at(0))));
        let words: Vec<_> = mistakes(&note(&text, at(9))).into_iter().map(|record| record.mistake).collect();
        assert_eq!(words, ["busy", "of_the_future"]);
    }

    /// Makes every mistake there is once, each a nanosecond after the one before.
    fn all_made(host: Option<&str>, agent: &str) -> Refusals {
        let mut refusals = Refusals::default();
        for (mistake, nanoseconds) in Mistake::ALL.into_iter().zip(0..) {
            let sender = || Sender::new(host, Some(agent));
            let now = Timestamp::from_nanosecond(1_800_000_000_123_456_789 + nanoseconds).expect("a time");
            refusals.add(&RefusedPost { mistake, status: 503, sender: &sender }, now);
        }
        refusals
    }

    #[test]
    fn the_longest_text_fits_a_note_and_the_oldest_mistakes_fall_out() {
        let host = format!("{}.example", "a".repeat(HOST_MAX - ".example".len()));
        let mut longest = all_made(Some(&host), &"\"".repeat(AGENT_MAX));
        longest.0.iter_mut().for_each(|refused| refused.count = u64::MAX);
        for refusals in [longest, all_made(None, "x")] {
            let text = refusals.text(None);
            assert!(text.len() <= NoteKind::Refused.limits().text_max, "{}", text.len());
            let kept = mistakes(&note(&text, at(0)));
            let newest = Mistake::ALL.into_iter().rev().take(MISTAKES_MAX).map(Mistake::as_str);
            assert!(kept.iter().map(|record| record.mistake.as_str()).eq(newest), "the newest stay: {kept:?}");
        }
    }
}

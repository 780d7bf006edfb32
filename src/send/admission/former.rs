//! Pauses from before this gateway sent for a site: what was refused is written in the leads that were sent.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Admission;
use crate::config::Site;
use crate::queue::{AttemptResult, Head, Holdup};

impl Admission {
    /// Takes up what a queued lead says of its keys: that they were refused. Tells whether it was news.
    pub(in crate::send) fn take_up_pause(&self, site: &Site, head: &Head, now: Timestamp) -> bool {
        let last = head.history.iter().rev().find_map(|event| Some((event.at, event.attempt.as_ref()?)));
        let refused = last.filter(|(_, attempt)| attempt.result == AttemptResult::KeyRefused);
        let Some(((since, attempt), keys)) = refused.zip(site.keys_of(&head.form)) else { return false };
        let holdup = Holdup { since: since.min(now), why: attempt.in_words(), next_probe: now };
        let is_news = self.pauses.take_up(&site.id, keys, holdup);
        if is_news {
            tracing::warn!(site = %site.id, "send.paused: KaiCalls refused the site's keys before the start; one lead is tried");
        }
        is_news
    }

    /// Tells whether the pauses are taken up that there were before this gateway began to send for its sites.
    pub(in crate::send) fn has_taken_up_pauses(&self) -> bool {
        self.has_taken_up_pauses.load(Ordering::SeqCst)
    }

    /// Notes that they are taken up.
    pub(in crate::send) fn pauses_taken_up(&self) {
        self.has_taken_up_pauses.store(true, Ordering::SeqCst);
    }
}

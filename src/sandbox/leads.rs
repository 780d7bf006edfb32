//! The leads the sandbox has received: the newest, within a number and a size.

use std::collections::VecDeque;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

/// Most leads that are kept.
const LEADS_MAX: usize = 100_000;
/// Most bytes of text that are kept.
const TEXT_MAX: usize = 256 << 20;

/// A lead as the API took it. `Debug` shows nobody.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedLead {
    pub id: String,
    pub name: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    pub message: String,
    /// The public key it was sent with.
    pub public_key: String,
    pub business_id: String,
    /// The request's `Idempotency-Key`, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    pub received_at: Timestamp,
}

impl fmt::Debug for ReceivedLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedLead").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ReceivedLead {
    fn text_len(&self) -> usize {
        let optional =
            self.phone.as_ref().map_or(0, String::len) + self.idempotency_key.as_ref().map_or(0, String::len);
        let named = self.name.len() + self.email.len() + self.message.len();
        named + optional + self.id.len() + self.public_key.len() + self.business_id.len()
    }
}

/// What was received; the oldest go first.
pub(super) struct Leads {
    kept: VecDeque<ReceivedLead>,
    text_len: usize,
    received: watch::Sender<u64>,
}

impl Default for Leads {
    fn default() -> Self {
        Self { kept: VecDeque::new(), text_len: 0, received: watch::Sender::new(0) }
    }
}

impl Leads {
    pub(super) fn push(&mut self, lead: ReceivedLead) {
        self.text_len += lead.text_len();
        self.kept.push_back(lead);
        while self.kept.len() > LEADS_MAX || self.text_len > TEXT_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.text_len -= oldest.text_len();
        }
        self.received.send_modify(|received| *received += 1);
    }

    /// Returns how many were received since the start, kept or not.
    pub(super) fn received(&self) -> u64 {
        *self.received.borrow()
    }

    /// Tells each new count.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.received.subscribe()
    }

    pub(super) fn all(&self) -> Vec<ReceivedLead> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn newest(&self) -> impl Iterator<Item = &ReceivedLead> {
        self.kept.iter().rev()
    }

    /// Counts a business' leads of the last seven days.
    pub(super) fn this_week(&self, business_id: &str, now: Timestamp) -> usize {
        let week = SignedDuration::from_hours(7 * 24);
        let recent = self.newest().take_while(|lead| now.duration_since(lead.received_at) < week);
        recent.filter(|lead| lead.business_id == business_id).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(id: usize, message: &str) -> ReceivedLead {
        ReceivedLead {
            id: format!("lead_{id}"),
            name: "Jane Doe".to_owned(),
            email: "jane@example.com".to_owned(),
            phone: None,
            message: message.to_owned(),
            public_key: "wp_pk_a".to_owned(),
            business_id: "biz_a".to_owned(),
            idempotency_key: None,
            received_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_newest_are_kept_within_number_and_size() {
        let mut leads = Leads::default();
        for id in 0..=LEADS_MAX {
            leads.push(lead(id, ""));
        }
        assert_eq!((leads.kept.len(), leads.received()), (LEADS_MAX, LEADS_MAX as u64 + 1));
        assert_eq!(leads.kept.front().map(|lead| lead.id.as_str()), Some("lead_1"));
        let long = "x".repeat(TEXT_MAX / 2);
        leads.push(lead(200_001, &long));
        leads.push(lead(200_002, &long));
        assert_eq!(leads.all().len(), 1);
        assert_eq!(leads.text_len, leads.kept.iter().map(ReceivedLead::text_len).sum::<usize>());
    }

    #[test]
    fn a_week_is_seven_days_of_one_business() {
        let mut leads = Leads::default();
        leads.push(lead(1, ""));
        leads.push(ReceivedLead { business_id: "biz_b".to_owned(), ..lead(2, "") });
        let day = |day: i64| Timestamp::from_second(day * 86_400).expect("a time");
        assert_eq!(leads.this_week("biz_a", day(6)), 1);
        assert_eq!(leads.this_week("biz_a", day(7)), 0);
    }

    #[test]
    fn debug_shows_nobody() {
        let shown = format!("{:?}", lead(1, "Hello"));
        assert!(!shown.contains("Jane") && !shown.contains("jane") && !shown.contains("Hello"), "{shown}");
    }
}

//! From what the outbox holds to events with names, and which of them anybody wants.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::config::{Config, Sink};
use crate::event::EventType;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{Emission, Happened, Move, MoveFilter, OutboxEvent, Reason, State};
use crate::telemetry::Degraded;

/// An event on its way to sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Routed {
    /// Its number in the outbox; none where the store couldn't take it.
    pub(super) number: Option<u64>,
    pub(super) at: Timestamp,
    pub(super) event: EventType,
    pub(super) site: Option<SiteId>,
    pub(super) form: Option<FormId>,
    pub(super) entry: Option<EntryId>,
    /// Where it left the entry, and why.
    pub(super) moved: Option<(State, Reason)>,
}

impl Routed {
    /// Names what happened; none where nobody is to be told.
    pub(super) fn of(event: &OutboxEvent) -> Option<Self> {
        let number = Some(event.number);
        match &event.happened {
            Happened::Moved(moved) => {
                let name = event_of(moved)?;
                let Move { entry, site, form, to, reason, .. } = moved.clone();
                Some(Self {
                    number,
                    at: event.at,
                    event: name,
                    site: Some(site),
                    form: Some(form),
                    entry: Some(entry),
                    moved: to.map(|to| (to, reason)),
                })
            }
            Happened::Emitted(emission) => Some(Self { number, ..Self::emitted(emission.clone(), event.at) }),
        }
    }

    /// An event that no change of an entry tells.
    pub(super) fn emitted(Emission { event, entry, site, form }: Emission, at: Timestamp) -> Self {
        Self { number: None, at, event, site, form, entry, moved: None }
    }

    /// Returns its id, the same however often it is sent and by whichever process.
    pub(super) fn id(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.number.unwrap_or_default().to_be_bytes());
        digest.update(self.at.as_millisecond().to_be_bytes());
        digest.update(self.event.as_str());
        digest.update(self.entry.as_ref().map(|entry| *entry.as_bytes()).unwrap_or_default());
        digest.update(self.site.as_ref().map_or("", SiteId::as_str));
        format!("evt_{}", hex::encode(digest.finalize().get(..16).unwrap_or_default()))
    }
}

/// Names a change of an entry. A program that filled a honeypot is no lead that needs a person, and could make events
/// without end.
fn event_of(moved: &Move) -> Option<EventType> {
    match moved.to.filter(|to| moved.from != Some(*to))? {
        State::Delivered => Some(EventType::LeadDelivered),
        State::Held if moved.reason == Reason::Spam => None,
        State::Held => Some(EventType::LeadHeld),
        State::Dead => Some(EventType::LeadDead),
        State::Queued => None,
    }
}

/// Returns which changes of entries any sink wants to know of.
pub(super) fn wanted_moves(config: &Config) -> MoveFilter {
    let is_wanted = |event| wants(config, event);
    MoveFilter {
        delivered: is_wanted(EventType::LeadDelivered),
        held: is_wanted(EventType::LeadHeld),
        dead: is_wanted(EventType::LeadDead),
        requeued: config.alerts.overdue.is_some() && is_wanted(EventType::LeadOverdue),
        others: false,
    }
}

/// Returns the event that tells of a degradation; none where another does in more words.
pub(super) fn degradation_event(degraded: Degraded) -> Option<EventType> {
    match degraded {
        Degraded::ConfigBroken
        | Degraded::CopyFailed
        | Degraded::ReloadRefused
        | Degraded::DeliveryOff
        | Degraded::AdminBroken => Some(EventType::GatewayConfigBroken),
        Degraded::StoreSetAside | Degraded::StoreDamaged | Degraded::StoreAway => Some(EventType::GatewayStoreDegraded),
        Degraded::BackupFailed => Some(EventType::GatewayBackupFailed),
        Degraded::CertificateExpiring => Some(EventType::GatewayCertificateExpiring),
        Degraded::KeysMissing
        | Degraded::RestartNeeded
        | Degraded::AdminSocketMissing
        | Degraded::TaskFailing
        | Degraded::ConfigsDiffer => Some(EventType::GatewayDegraded),
        // `site.paused` and `gateway.upstream_down`.
        Degraded::SitesPaused | Degraded::UpstreamFailing => None,
    }
}

/// Tells whether any sink wants an event.
pub(super) fn wants(config: &Config, event: EventType) -> bool {
    let is_chosen = |sink: &Sink| sink.events.iter().any(|pattern| pattern.matches(event));
    config.sinks.iter().any(|sink| is_chosen(sink))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(from: Option<State>, to: Option<State>, reason: Reason) -> OutboxEvent {
        let site = SiteId::parse("acme").expect("a site");
        let form = FormId::parse("contact").expect("a form");
        let entry = EntryId::new(7, &[1; 10]);
        let happened = Happened::Moved(Move { entry, site, form, from, to, reason, attempt: None });
        OutboxEvent { number: 3, at: Timestamp::UNIX_EPOCH, happened }
    }

    #[test]
    fn only_a_change_to_an_end_or_into_a_persons_hands_is_an_event() {
        use State::{Dead, Delivered, Held, Queued};
        let name = |from, to, reason| Routed::of(&moved(from, to, reason)).map(|routed| routed.event);
        assert_eq!(name(None, Some(Queued), Reason::Accepted), None);
        assert_eq!(name(None, Some(Held), Reason::Invalid), Some(EventType::LeadHeld));
        assert_eq!(name(None, Some(Held), Reason::Spam), None);
        assert_eq!(name(Some(Held), Some(Held), Reason::Test), None, "only the reason changed");
        assert_eq!(name(Some(Held), Some(Queued), Reason::Retried), None);
        assert_eq!(name(Some(Queued), Some(Queued), Reason::Retrying), None);
        assert_eq!(name(Some(Queued), Some(Delivered), Reason::Delivered), Some(EventType::LeadDelivered));
        assert_eq!(name(Some(Dead), Some(Delivered), Reason::Delivered), Some(EventType::LeadDelivered));
        assert_eq!(name(Some(Held), Some(Dead), Reason::Dropped), Some(EventType::LeadDead));
        assert_eq!(name(Some(Delivered), None, Reason::Delivered), None, "it expired");
    }

    #[test]
    fn an_event_keeps_its_id_and_shares_it_with_no_other() {
        let event = moved(None, Some(State::Held), Reason::Invalid);
        let id = |event: &OutboxEvent| Routed::of(event).expect("an event").id();
        assert_eq!(id(&event), id(&event.clone()));
        assert_eq!(id(&event).len(), "evt_".len() + 32);
        assert_ne!(id(&event), id(&OutboxEvent { number: 4, ..event.clone() }));
        // A new store counts from one again.
        assert_ne!(id(&event), id(&OutboxEvent { at: Timestamp::MAX, ..event }));
    }

    #[test]
    fn every_degradation_is_told_by_some_event() {
        let silent: Vec<_> =
            Degraded::ALL.into_iter().filter(|degraded| degradation_event(*degraded).is_none()).collect();
        assert_eq!(silent, [Degraded::SitesPaused, Degraded::UpstreamFailing], "these have events of their own");
    }
}

//! What formgate tells others: the name of each event, and the patterns that choose among them. A leaf, shared by the
//! configuration, the store and the notifier.

use std::fmt;

/// An event that leaves the gateway: a closed set. `docs/events.md` says what each one tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// KaiCalls took a lead.
    LeadDelivered,
    /// A lead needs a person.
    LeadHeld,
    /// A lead is given up.
    LeadDead,
    /// A lead has waited for longer than it should.
    LeadOverdue,
    /// KaiCalls refuses a site's keys.
    SitePaused,
    SiteResumed,
    /// Posts for a known site were refused: those are lost.
    SitePostsRefused,
    SiteTokenExpiring,
    /// A form that usually posts has not for a while.
    FormSilent,
    GatewayConfigBroken,
    GatewayStoreDegraded,
    GatewayUpstreamDown,
    GatewayUpstreamUp,
    GatewayCertificateExpiring,
    GatewayBackupFailed,
    /// Something else of the gateway needs a person.
    GatewayDegraded,
    /// A sink takes no events.
    GatewaySinkFailing,
    DigestDaily,
    DigestWeekly,
    /// What `notify test` sends.
    NotifyTest,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventScope {
    /// One lead, and so one site.
    Lead,
    /// One site.
    Site,
    /// The gateway, and so no site.
    Gateway,
    /// All sites of the sink it goes to.
    Digest,
    /// The sink itself.
    Sink,
}

impl EventType {
    /// Every event there is.
    pub const ALL: [Self; 20] = [
        Self::LeadDelivered,
        Self::LeadHeld,
        Self::LeadDead,
        Self::LeadOverdue,
        Self::SitePaused,
        Self::SiteResumed,
        Self::SitePostsRefused,
        Self::SiteTokenExpiring,
        Self::FormSilent,
        Self::GatewayConfigBroken,
        Self::GatewayStoreDegraded,
        Self::GatewayUpstreamDown,
        Self::GatewayUpstreamUp,
        Self::GatewayCertificateExpiring,
        Self::GatewayBackupFailed,
        Self::GatewayDegraded,
        Self::GatewaySinkFailing,
        Self::DigestDaily,
        Self::DigestWeekly,
        Self::NotifyTest,
    ];

    /// Returns the event's name as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeadDelivered => "lead.delivered",
            Self::LeadHeld => "lead.held",
            Self::LeadDead => "lead.dead",
            Self::LeadOverdue => "lead.overdue",
            Self::SitePaused => "site.paused",
            Self::SiteResumed => "site.resumed",
            Self::SitePostsRefused => "site.posts_refused",
            Self::SiteTokenExpiring => "site.token_expiring",
            Self::FormSilent => "form.silent",
            Self::GatewayConfigBroken => "gateway.config_broken",
            Self::GatewayStoreDegraded => "gateway.store_degraded",
            Self::GatewayUpstreamDown => "gateway.upstream_down",
            Self::GatewayUpstreamUp => "gateway.upstream_up",
            Self::GatewayCertificateExpiring => "gateway.certificate_expiring",
            Self::GatewayBackupFailed => "gateway.backup_failed",
            Self::GatewayDegraded => "gateway.degraded",
            Self::GatewaySinkFailing => "gateway.sink_failing",
            Self::DigestDaily => "digest.daily",
            Self::DigestWeekly => "digest.weekly",
            Self::NotifyTest => "notify.test",
        }
    }

    /// Returns what it is about.
    pub fn scope(self) -> EventScope {
        match self {
            Self::LeadDelivered | Self::LeadHeld | Self::LeadDead | Self::LeadOverdue => EventScope::Lead,
            Self::SitePaused
            | Self::SiteResumed
            | Self::SitePostsRefused
            | Self::SiteTokenExpiring
            | Self::FormSilent => EventScope::Site,
            Self::GatewayConfigBroken
            | Self::GatewayStoreDegraded
            | Self::GatewayUpstreamDown
            | Self::GatewayUpstreamUp
            | Self::GatewayCertificateExpiring
            | Self::GatewayBackupFailed
            | Self::GatewayDegraded
            | Self::GatewaySinkFailing => EventScope::Gateway,
            Self::DigestDaily | Self::DigestWeekly => EventScope::Digest,
            Self::NotifyTest => EventScope::Sink,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Chooses events by name: `lead.dead`, or all of a kind, `site.*`, or every one, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern(String);

/// A pattern that chooses no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no event: write one's name, such as \"lead.dead\", or all of a kind, such as \"site.*\"")]
pub struct NoSuchEvent;

impl EventPattern {
    /// What a sink gets that doesn't say otherwise.
    pub const DEFAULT: [&'static str; 5] = ["lead.dead", "lead.overdue", "site.*", "form.*", "gateway.*"];

    /// Reads a pattern; one that chooses nothing is a mistake.
    pub fn parse(text: &str) -> Result<Self, NoSuchEvent> {
        let pattern = Self(text.to_owned());
        if EventType::ALL.into_iter().any(|event| pattern.matches(event)) { Ok(pattern) } else { Err(NoSuchEvent) }
    }

    /// Tells whether it chooses an event. Digests are chosen by what names them alone: nobody asks for them with `*`.
    /// A test goes to every sink, so nobody has to choose it.
    pub fn matches(&self, event: EventType) -> bool {
        if event == EventType::NotifyTest {
            return false;
        }
        match self.0.strip_suffix('*') {
            Some("") => event.scope() != EventScope::Digest,
            Some(kind) => kind.ends_with('.') && event.as_str().starts_with(kind),
            None => self.0 == event.as_str(),
        }
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_event_has_a_name_of_its_own() {
        let names: BTreeSet<_> = EventType::ALL.iter().map(|event| event.as_str()).collect();
        assert_eq!(names.len(), EventType::ALL.len());
    }

    #[test]
    fn a_pattern_names_one_event_or_a_kind_of_them() {
        let chosen = |text: &str| {
            let pattern = EventPattern::parse(text).ok()?;
            Some(EventType::ALL.into_iter().filter(|event| pattern.matches(*event)).count())
        };
        assert_eq!(chosen("lead.dead"), Some(1));
        assert_eq!(chosen("site.*"), Some(4));
        assert_eq!(chosen("gateway.*"), Some(8));
        assert_eq!(chosen("*"), Some(17), "digests are asked for by name");
        assert_eq!(chosen("digest.*"), Some(2));
        for bad in ["", "lead", "lead.*d", "lead*", "lead.lost", "Lead.dead", "notify.test", "*.dead"] {
            assert_eq!(chosen(bad), None, "{bad}");
        }
        for pattern in EventPattern::DEFAULT {
            assert!(chosen(pattern).is_some(), "{pattern}");
        }
    }
}

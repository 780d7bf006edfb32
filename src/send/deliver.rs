//! The way of one lease, once it is decided: asked for, posted, judged, settled. Whatever happens, it is settled once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::admission::{Admission, Learned, Permit, Wait};
use super::confirm::{Confirmation, Finding};
use super::flight::End;
use super::outcome::{self, PANICS_MAX};
use super::publish::Publisher;
use super::settle::{make_due, settle};
use super::slots::HeldSlot;
use super::{attempt, history};
use crate::clock::Clock;
use crate::config::Config;
use crate::kaicalls::Client;
use crate::queue::activity::{Activity, LeadEnd};
use crate::queue::live::{Live, LiveEvent};
use crate::queue::{Head, Lease, MAKE_DUE_MAX, Reason, Settlement, Store};
use crate::telemetry::{ConfirmationEnd, DeliveryEnd, Metrics, Panicked, catch_async};

/// What it takes to send leads. Clones share it.
#[derive(Clone)]
pub(super) struct Deliverer {
    pub(super) store: Arc<dyn Store>,
    pub(super) client: Client,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) admission: Arc<Admission>,
    pub(super) confirmation: Arc<Confirmation>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) clock: Clock,
    pub(super) activity: Activity,
    pub(super) live: Live,
    /// Turns true when attempts under way are to be cut off.
    pub(super) cut: watch::Sender<bool>,
}

impl Deliverer {
    /// Sends one lead, unless it turns out to be there already, and settles its lease. The slot is free once the post has
    /// ended: its end is written down beside the next one's post.
    pub(super) async fn deliver(&self, config: &Config, lease: &Lease, permit: Permit, slot: HeldSlot) -> End {
        let head = &lease.head;
        let begun = Instant::now();
        let _until_settled = permit.under_way();
        match self.ask(config, head, &permit).await {
            Asked::Post => {}
            Asked::Cut => return self.give_back(lease).await,
            Asked::Confirmed => {
                drop(slot);
                return self.settle_confirmed(config, lease, permit, begun.elapsed()).await;
            }
        }
        let Some(lead) = &head.reading.lead else {
            return self.end(lease, outcome::of_hold(config, Reason::Invalid), self.clock.now()).await;
        };
        let ended = attempt::post(&self.client, permit.keys(), lead, head, &self.clock, self.cut.subscribe()).await;
        drop(slot);
        attempt::tell(&self.metrics, &self.activity, head, &ended);
        let in_force = self.config.load_full();
        let learned = ended.judged.as_ref().map(|judged| permit.report(&in_force, judged, &ended.attempt, ended.at));
        if !self.admission.held().has_site(&head.site) {
            self.admission.forget_others();
        }
        self.publisher.publish(&in_force, ended.at);
        let at = ended.at;
        let settlement = outcome::of_attempt(config, head, ended, learned.unwrap_or(Learned::Nothing));
        match settlement {
            Settlement::Again { .. } => self.metrics.retried(),
            Settlement::Dead { .. } => self.activity.settled(&head.site, &head.form, LeadEnd::Dead, at),
            _ => {}
        }
        self.settle(lease, settlement, at).await;
        match learned {
            None => End::Cut,
            Some(learned) => self.resume(head, learned).await,
        }
    }

    /// Asks whether a lead that may have arrived is there already, where that is wanted.
    async fn ask(&self, config: &Config, head: &Head, permit: &Permit) -> Asked {
        if !config.upstream.confirm || history::ambiguous(head).next().is_none() {
            return Asked::Post;
        }
        let mut cut = self.cut.subscribe();
        let finding = tokio::select! {
            finding = self.confirmation.find(config, permit.keys(), head) => finding,
            _ = cut.wait_for(|cut| *cut) => return Asked::Cut,
        };
        let found = match finding {
            Finding::Confirmed => ConfirmationEnd::Confirmed,
            Finding::NotShown => ConfirmationEnd::NotShown,
            Finding::Unknown => ConfirmationEnd::Unknown,
        };
        self.metrics.asked(found);
        tracing::info!(id = %head.id, site = %head.site, trace_id = head.trace_id(), found = found.as_str(), "send.confirm");
        match finding {
            Finding::Confirmed => Asked::Confirmed,
            Finding::NotShown | Finding::Unknown => Asked::Post,
        }
    }

    /// Settles the lease of a lead that turned out to be there.
    async fn settle_confirmed(&self, config: &Config, lease: &Lease, permit: Permit, took: Duration) -> End {
        let now = self.clock.now();
        attempt::count_delivered(&self.metrics, &self.activity, &lease.head, now);
        let learned = permit.report_confirmed();
        self.publisher.publish(config, now);
        let settlement = outcome::of_confirmed(config, attempt::confirmed(took));
        self.settle(lease, settlement, now).await;
        self.resume(&lease.head, learned).await
    }

    /// Ends the waits of a site's leads, where an attempt has shown that they need not wait.
    async fn resume(&self, head: &Head, learned: Learned) -> End {
        if learned == Learned::Resumed {
            make_due(&*self.store, &head.site, MAKE_DUE_MAX, self.clock.now()).await;
        }
        End::Settled
    }

    /// Settles the lease of a lead that has to wait, as was decided at a time.
    pub(super) async fn put_off(&self, lease: &Lease, wait: Wait, decided_at: Timestamp) -> End {
        self.settle(lease, outcome::of_wait(wait), decided_at).await;
        // Its site may have been resumed before this wait could be ended.
        let is_over = self.admission.resumptions() != wait.resumptions;
        self.resume(&lease.head, if is_over { Learned::Resumed } else { Learned::Nothing }).await
    }

    /// Settles a lease of which nothing was posted, since there is no time left for it.
    pub(super) async fn give_back(&self, lease: &Lease) -> End {
        let postponed = Settlement::Postponed { after: Duration::ZERO, attempt: None };
        self.settle(lease, postponed, self.clock.now()).await;
        End::Cut
    }

    /// Settles a lease.
    pub(super) async fn end(&self, lease: &Lease, settlement: Settlement, at: Timestamp) -> End {
        self.settle(lease, settlement, at).await;
        End::Settled
    }

    /// Writes a lease's end down, and then tells of the attempt whoever watches.
    async fn settle(&self, lease: &Lease, settlement: Settlement, at: Timestamp) {
        settle(&*self.store, lease, &settlement, at).await;
        self.live.tell(|| LiveEvent::of_attempt(&lease.head, &settlement, at));
    }

    /// Does what ends a lease, and settles it where that panics.
    pub(super) async fn guard(&self, lease: &Lease, work: impl Future<Output = End>) -> End {
        let begun = Instant::now();
        match catch_async(work).await {
            Ok(end) => end,
            Err(panicked) => self.end_panicked(lease, &panicked, begun.elapsed()).await,
        }
    }

    /// Settles a lease whose attempt panicked: the lead may have arrived.
    pub(super) async fn end_panicked(&self, lease: &Lease, panicked: &Panicked, took: Duration) -> End {
        let head = &lease.head;
        let now = self.clock.now();
        self.metrics.attempt(DeliveryEnd::Ambiguous, took);
        tracing::error!(
            id = %head.id,
            site = %head.site,
            form = %head.form,
            panics = history::panics(head) + 1,
            location = panicked.location,
            "send.panicked: a bug in formgate ended the attempt; the lead is tried again, and held after {PANICS_MAX} panics"
        );
        let settlement = outcome::of_panic(&self.config.load_full(), head, took);
        if matches!(settlement, Settlement::Again { .. }) {
            self.metrics.retried();
        }
        self.end(lease, settlement, now).await
    }
}

/// What became of asking for a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It isn't known to be there: it is posted.
    Post,
    Confirmed,
    /// It was cut off, and nothing was posted.
    Cut,
}

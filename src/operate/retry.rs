//! `retry`: entries made again by what is in force now, and sent, or held again with what is wrong with them now.
//!
//! It goes round dedupe: what an operator sends again is meant. Done twice it does nothing the second time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::OperateError;
use super::again::Remade;
use super::audit::{Act, Actor, Audit};
use super::choice::{BadChoice, Choice, Done, EntryOutcome, Picker};
use super::lead_view::LeadView;
use super::query::FilterAsked;
use super::summary::settled;
use super::walk::Cursor;
use crate::config::{Config, Site};
use crate::lead::SiteId;
use crate::queue::{Change, Entry, Filter, Head, Reason, Set, State, Store, StoreError};
use crate::telemetry;

/// Entries a second, unless another rate is asked for: neither the store's writer nor KaiCalls is flooded.
pub const RATE_DEFAULT: u32 = 20;
/// Most entries a second.
pub const RATE_MAX: u32 = 1_000;
/// Longest time that one call may take by its rate, in seconds.
const SECONDS_MAX: usize = 60;
/// How often a change is made again where somebody else changed the entry at the same time.
const LOST_MAX: usize = 3;
/// Most characters that are repeated of a site that there isn't.
const SITE_SHOWN_MAX: usize = 64;
/// What a filter goes through where it names no state.
pub const RETRIED_STATES: &[Option<State>] = &[Some(State::Held), Some(State::Dead)];

/// What is asked for. No `Debug`: a filter may hold somebody's name.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryAsked {
    pub ids: Vec<String>,
    pub filter: Option<FilterAsked>,
    /// Say what would be, and change nothing.
    pub dry_run: bool,
    /// Also what is queued (now, made anew) or was delivered (a second time); only by ids.
    pub again: bool,
    /// Also what a `[[hold]]` rule, an unknown form or another host holds.
    pub release: bool,
    /// The site that ambiguous leads belong to: they are filed under it and sent with its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assign: Option<String>,
    /// Where the admin API masks: show a dry run's leads whole, and write that down.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reveal: bool,
    /// Entries a second.
    pub rate: Option<u32>,
    pub cursor: Option<Cursor>,
    pub limit: Option<usize>,
}

/// What came of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub results: Vec<Done>,
    /// From where the next call goes on; none where all are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// The disk is full: the act's lines of the audit are written when there is room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audit_waits: bool,
}

/// What is to become of an entry.
enum Plan {
    Leave(EntryOutcome, &'static str),
    Send(Box<Remade>),
    Hold(Reason, Box<Remade>),
}

/// Sends chosen entries again, as far as one call goes.
pub async fn retry(
    store: &dyn Store,
    config: &Arc<Config>,
    audit: &Audit,
    asked: &RetryAsked,
    by: Actor,
    now: Timestamp,
) -> Result<Tried, OperateError> {
    let choice = Choice::read(&asked.ids, asked.filter.as_ref(), now)?;
    if asked.again && matches!(choice, Choice::Query(_)) {
        return Err(BadChoice::AgainByFilter.into());
    }
    let assign = asked.assign.as_deref().map(|name| known_site(config, name)).transpose()?;
    let rate = asked.rate.unwrap_or(RATE_DEFAULT);
    if !(1..=RATE_MAX).contains(&rate) {
        return Err(BadChoice::Rate.into());
    }
    if asked.ids.len() > rate as usize * SECONDS_MAX {
        return Err(BadChoice::TooSlow.into());
    }
    let begun = match asked.dry_run {
        true => None,
        false => Some(audit.begin(Act::of(if assign.is_some() { "assign" } else { "retry" }, by, &choice), now).await?),
    };
    let retry = RetryRun { store, config, asked, assign, choice: &choice, now, started: Instant::now() };
    let mut tried = Tried::default();
    let ended = retry.all(rate, &mut tried).await;
    if let Some(begun) = begun {
        let changed =
            tried.results.iter().filter(|done| matches!(done.outcome, EntryOutcome::Queued | EntryOutcome::Held));
        begun.end(changed.count(), ended.is_ok(), retry.now()).await?;
    }
    ended?;
    Ok(tried)
}

/// A retry in progress.
struct RetryRun<'a> {
    store: &'a dyn Store,
    config: &'a Arc<Config>,
    asked: &'a RetryAsked,
    assign: Option<SiteId>,
    choice: &'a Choice,
    now: Timestamp,
    started: Instant,
}

impl RetryRun<'_> {
    async fn all(&self, rate: u32, tried: &mut Tried) -> Result<(), StoreError> {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut picker = Picker::new(self.store, self.choice, RETRIED_STATES, self.asked.cursor, self.asked.limit);
        while let Some(picked) = picker.next_whole().await? {
            let done = match picked {
                Ok(entry) => self.one(entry, &mut pace).await?,
                Err(missing) => missing,
            };
            tried.results.push(done);
        }
        tried.results.extend(picker.passed_over());
        tried.next = picker.cursor();
        Ok(())
    }

    async fn one(&self, entry: Entry, pace: &mut Interval) -> Result<Done, StoreError> {
        let mut entry = match self.assigned(entry).await? {
            Ok(entry) => entry,
            Err(done) => return Ok(done),
        };
        for _ in 0..LOST_MAX {
            let plan = self.plan(&entry).await?;
            let (change, outcome, why) = match plan {
                Plan::Leave(outcome, why) => return Ok(Done::of(&entry.head, outcome, why)),
                Plan::Send(remade) => {
                    (Change::Retry { reading: Box::new(remade.reading) }, EntryOutcome::Queued, String::new())
                }
                Plan::Hold(reason, remade) => {
                    let why = settled(&Head { reason, reading: remade.reading.clone(), ..entry.head.clone() });
                    (Change::Hold { reason, reading: Box::new(remade.reading) }, EntryOutcome::Held, why)
                }
            };
            let head = &entry.head;
            if self.asked.dry_run {
                let (Change::Retry { reading } | Change::Hold { reading, .. }) = change else {
                    return Ok(Done::of(head, outcome, why));
                };
                let before = head.reading.lead.as_ref().map(LeadView::from);
                let after = reading.lead.as_ref().map(LeadView::from);
                return Ok(Done { before, after, ..Done::of(head, outcome, why) });
            }
            pace.tick().await;
            if self.store.amend(head.id, head.revision, change, self.now()).await?.is_done() {
                return Ok(Done::of(head, outcome, why));
            }
            match self.store.get(head.id).await? {
                Some(changed) => entry = changed,
                None => return Ok(Done::erased(head)),
            }
        }
        Ok(Done::of(&entry.head, EntryOutcome::Busy, "it is being sent right now"))
    }

    /// Files an ambiguous entry under the site that was named. What it is tells the next steps the rest: a crash between
    /// them leaves it held as before.
    async fn assigned(&self, mut entry: Entry) -> Result<Result<Entry, Done>, StoreError> {
        let Some(site) = &self.assign else { return Ok(Ok(entry)) };
        let head = &mut entry.head;
        if head.state != State::Held || head.reason != Reason::Ambiguous {
            return Ok(Err(Done::of(head, EntryOutcome::Skipped, "only leads held as ambiguous can be assigned")));
        }
        if head.site == *site {
            return Ok(Ok(entry));
        }
        if self.asked.dry_run {
            head.site = site.clone();
            return Ok(Ok(entry));
        }
        let assign = Change::Assign { site: site.clone() };
        if self.store.amend(head.id, head.revision, assign, self.now()).await? == Set::Lost {
            return Ok(Err(Done::of(head, EntryOutcome::Busy, "it changed at the same time; try again")));
        }
        let found = self.store.get(head.id).await?;
        Ok(found.ok_or_else(|| Done::erased(head)))
    }

    /// Decides; the pipeline runs where it keeps no request waiting.
    async fn plan(&self, entry: &Entry) -> Result<Plan, StoreError> {
        if let Some((outcome, why)) = self.not_for(&entry.head) {
            return Ok(Plan::Leave(outcome, why));
        }
        let Some(site) = self.config.sites.get(&entry.head.site) else {
            return Ok(Plan::Leave(EntryOutcome::Skipped, "its site is missing from the configuration or broken"));
        };
        let (config, site_of, subject) = (Arc::clone(self.config), Arc::clone(site), entry.clone());
        let remake = move || Remade::of(&config, &site_of, &subject);
        let remade = telemetry::blocking(remake).await.map_err(|error| StoreError::Corrupt(error.into()))?;
        Ok(self.judge(site, &entry.head, remade))
    }

    /// Says why an entry is none of those to be sent again, before it is read again.
    fn not_for(&self, head: &Head) -> Option<(EntryOutcome, &'static str)> {
        let asked_for = match self.choice {
            Choice::Ids(_) => None,
            Choice::Query(query) => Some(&query.filter),
        };
        let named = |reason| asked_for.is_none_or(|filter: &Filter| filter.reason == Some(reason));
        match head.state {
            State::Queued if !self.asked.again => Some((EntryOutcome::Unchanged, "it is already queued")),
            State::Delivered if !self.asked.again => {
                Some((EntryOutcome::Skipped, "it was delivered; its id with --again sends it a second time"))
            }
            State::Dead if head.reason == Reason::Dropped && !named(Reason::Dropped) => {
                Some((EntryOutcome::Skipped, "an operator dropped it; use its id or --reason dropped"))
            }
            State::Held if head.reason == Reason::Salvaged && !named(Reason::Salvaged) => {
                Some((EntryOutcome::Skipped, "it may have been delivered; use its id or --reason salvaged"))
            }
            State::Held if head.reason == Reason::Restored && !named(Reason::Restored) => {
                Some((EntryOutcome::Skipped, "it may have been delivered; use its id or --reason restored"))
            }
            _ => None,
        }
    }

    fn judge(&self, site: &Site, head: &Head, remade: Remade) -> Plan {
        let may_release = self.asked.release && remade.reading.lead.is_some();
        let is_unassigned = head.reason == Reason::Ambiguous && self.assign.is_none();
        let hold = match remade.hold {
            _ if is_unassigned => Some(Reason::Ambiguous),
            Some(Reason::HoldRule | Reason::UnknownForm | Reason::Uncertain | Reason::Test | Reason::Spam)
                if may_release =>
            {
                None
            }
            None if head.reason == Reason::OtherHost && !may_release => Some(Reason::OtherHost),
            hold => hold,
        };
        // The sender would hold it at once.
        let hold = hold.or((!site.deliver).then_some(Reason::DeliverOff));
        match hold {
            None if is_queued_so(head, &remade) => Plan::Leave(EntryOutcome::Unchanged, "it is already queued"),
            None => Plan::Send(Box::new(remade)),
            Some(_) if matches!(head.state, State::Queued | State::Delivered) => {
                Plan::Leave(EntryOutcome::Skipped, "it would be held now, so it stays as it is")
            }
            Some(reason) if head.state == State::Held && head.reason == reason && head.reading == remade.reading => {
                Plan::Leave(EntryOutcome::Unchanged, still(reason))
            }
            Some(reason) => Plan::Hold(reason, Box::new(remade)),
        }
    }

    /// The time now: that of the call, and what it took so far.
    fn now(&self) -> Timestamp {
        self.now.checked_add(self.started.elapsed()).unwrap_or(self.now)
    }
}

fn known_site(config: &Config, name: &str) -> Result<SiteId, BadChoice> {
    let site = SiteId::parse(name).ok().filter(|site| config.sites.contains_key(site));
    site.ok_or_else(|| BadChoice::UnknownSite(name.chars().take(SITE_SHOWN_MAX).collect()))
}

/// Tells whether an operator has queued it as it would be queued now, and nothing was tried since.
fn is_queued_so(head: &Head, remade: &Remade) -> bool {
    head.state == State::Queued
        && matches!(head.reason, Reason::Retried | Reason::Amended)
        && head.attempts == 0
        && head.reading == remade.reading
}

fn still(reason: Reason) -> &'static str {
    match reason {
        Reason::HoldRule => "a [[hold]] rule still holds it; --release sends it anyway",
        Reason::UnknownForm => "its form is still unknown; --release sends it anyway",
        Reason::Uncertain => "its confidence is still below auto.min; --release sends it anyway",
        Reason::Test => "it still says that it is a test; --release sends it anyway",
        Reason::Spam => "its honeypot is filled in; --release sends it anyway",
        Reason::OtherHost => "it came from a host that isn't in the site's `hosts`; --release sends it anyway",
        Reason::Ambiguous => "several sites share its key pair; --assign SITE moves it to one of them",
        Reason::DeliverOff => "its site has deliver = false",
        _ => "still not a valid lead; see `formgate leads show ID`",
    }
}

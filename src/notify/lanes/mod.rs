//! Each sink's events on their way: in order, at most so many a second, tried for three days, never in another's way.
//!
//! ```text
//! outbox ──▶ offered once to every lane that may want it ──▶ waiting (at most 1,000; the others stay in the outbox)
//!        ◀── trimmed up to what no lane needs any more   ◀── dealt with: sent, given up, or of no interest
//! ```
//!
//! How far a lane has got is a note of the store, written after each turn: a kill sends what was sent since again, under
//! the same id.

mod lane;
mod state;
mod turn;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use self::lane::{Lane, LaneTarget, WAITING_MAX};
use self::state::LaneState;
use self::turn::{Turn, TurnEnd};
use super::content::Reader;
use super::routing::Routed;
use super::sink::{Outlets, Sent};
use crate::clock::later;
use crate::config::{Config, SinkSites};
use crate::lead::SiteId;
use crate::operate::{SinkState, SinkStatus};
use crate::queue::{CHANGES_MAX, EVENTS_MAX, Key, NOTES_MAX, Note, NoteKind, Store, StoreError};
use crate::telemetry::{Metrics, SinkDepth};

/// Most sinks that are sent to at one time.
const TURNS_MAX: usize = 16;
/// Most mails of alerts in an hour, to all mailboxes; those over it are gathered into the next. Overdue leads don't count.
pub(super) const MAILS_AN_HOUR: usize = 300;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Events that the store couldn't take, and a lane waits with.
const UNSTORED_MAX: usize = 100;

/// Every sink's lanes.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    places: Places,
    /// The last event that was offered to all.
    seen: u64,
    turns: JoinSet<TurnEnd>,
    /// When the last mails of alerts were sent.
    mails: VecDeque<Timestamp>,
}

/// Where lanes are found.
#[derive(Default)]
struct Places {
    by_key: HashMap<String, usize>,
    /// Lanes of all sites and of the gateway, by place.
    of_all: Vec<usize>,
    by_site: HashMap<SiteId, Vec<usize>>,
}

/// A sink that takes nothing, and since when.
pub(super) struct BadSink {
    pub(super) name: String,
    pub(super) since: Timestamp,
}

impl Lanes {
    /// Begins behind an event; which lanes there are is for [`Lanes::follow`] to say.
    pub(super) fn begin(seen: u64) -> Self {
        Self { seen, ..Self::default() }
    }

    /// Takes over what the configuration says; what waits for a sink that is still there waits on.
    pub(super) async fn follow(&mut self, config: &Config, store: &dyn Store) -> Result<(), StoreError> {
        let notes = states(store).await?;
        let mut former: HashMap<String, Lane> = self.lanes.drain(..).map(|lane| (lane.key.clone(), lane)).collect();
        for sink in &config.sinks {
            for (key, target) in Lane::targets(sink) {
                let digest = target.digest();
                let lane = match former.remove(&key).filter(|lane| lane.state.target == digest) {
                    Some(lane) => lane.follow(Arc::clone(sink), target),
                    None => self.open(key, sink, target, &notes),
                };
                self.lanes.push(lane);
            }
        }
        self.places = Places::of(&self.lanes);
        Ok(())
    }

    /// Opens a lane that goes on where its note says, else begins with what happens from now on.
    fn open(
        &self,
        key: String,
        sink: &Arc<crate::config::Sink>,
        target: LaneTarget,
        notes: &HashMap<Key, Note>,
    ) -> Lane {
        let digest = target.digest();
        let noted = Key::parse(&key).ok().and_then(|key| LaneState::read(notes.get(&key)?, &digest));
        let is_new = noted.is_none();
        // One that was gone has a chance with each start.
        let state = noted.map(|state| LaneState { gone_at: None, ..state });
        let state = state.unwrap_or_else(|| LaneState::begin(self.seen, digest));
        let mut lane = Lane::new(key, Arc::clone(sink), target, state);
        lane.is_changed = is_new;
        lane
    }

    /// The last event that was offered to all.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Offers the events of a page of the outbox, which was read up to a number.
    pub(super) fn offer(&mut self, events: &[Routed], upto: u64) {
        for event in events {
            self.offer_one(event);
        }
        self.seen = self.seen.max(upto);
    }

    /// Offers what the store couldn't take.
    pub(super) fn offer_unstored(&mut self, event: &Routed) {
        self.offer_one(event);
        for lane in &mut self.lanes {
            let unstored = lane.waiting.iter().filter(|event| event.number.is_none()).count();
            if unstored > UNSTORED_MAX {
                lane.waiting.retain({
                    let mut left_over = unstored - UNSTORED_MAX;
                    move |event| {
                        let goes = event.number.is_none() && left_over > 0;
                        left_over -= usize::from(goes);
                        !goes
                    }
                });
            }
        }
    }

    fn offer_one(&mut self, event: &Routed) {
        let of_site = event.site.as_ref().and_then(|site| self.places.by_site.get(site));
        // A digest is of no site, and each sink has one of its own.
        let of_any_site = event.site.is_none().then(|| self.places.by_site.values().flatten());
        let mut places: Vec<usize> = self.places.of_all.clone();
        places.extend(of_site.into_iter().flatten().chain(of_any_site.into_iter().flatten()));
        places.sort_unstable();
        places.dedup();
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.offer(event);
            }
        }
    }

    /// Reads on for lanes that had more events than they hold.
    pub(super) async fn catch_up(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let seen = self.seen;
        for lane in &mut self.lanes {
            let Some(after) = lane.catches_up_from() else { continue };
            let page = store.events(after, EVENTS_MAX.min(WAITING_MAX)).await?;
            lane.behind = None;
            for event in page.events.iter().filter(|event| event.number <= seen).filter_map(Routed::of) {
                lane.offer(&event);
            }
            if lane.behind.is_none() && page.upto < seen {
                lane.behind = Some(page.upto);
            }
            lane.state.lost += page.missed;
        }
        Ok(())
    }

    /// Begins the turns that are due.
    pub(super) fn begin_turns(&mut self, reader: &Reader, outlets: &Outlets, now: Timestamp) {
        while self.mails.front().is_some_and(|at| now >= later(*at, HOUR)) {
            self.mails.pop_front();
        }
        for lane in &mut self.lanes {
            if self.turns.len() >= TURNS_MAX {
                return;
            }
            if !lane.is_due(now) {
                continue;
            }
            if matches!(lane.target, LaneTarget::Alerts(_)) {
                if self.mails.len() >= MAILS_AN_HOUR {
                    continue;
                }
                self.mails.push_back(now);
            }
            let events = lane.begin(now);
            let (key, target) = (lane.key.clone(), lane.target.clone());
            let turn = Turn { key, sink: Arc::clone(&lane.sink), target, events };
            self.turns.spawn(turn.run(reader.clone(), outlets.clone()));
        }
    }

    /// Waits for a turn to end; for ever while none is under way.
    pub(super) async fn turn_ended(&mut self) -> LaneEnd {
        match self.turns.join_next().await {
            Some(Ok(end)) => LaneEnd(Some(end)),
            Some(Err(_)) => LaneEnd(None),
            None => std::future::pending().await,
        }
    }

    /// Tells whether a turn is under way.
    pub(super) fn is_sending(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Notes how a turn ended.
    pub(super) fn note(&mut self, LaneEnd(end): LaneEnd, metrics: &Metrics, jitter: f64, now: Timestamp) {
        let Some(TurnEnd { key, dealt_with, taken, end }) = end else { return };
        let Some(lane) = self.places.by_key.get(&key).and_then(|place| self.lanes.get_mut(*place)) else { return };
        lane.is_sending = false;
        lane.dealt_with(dealt_with);
        let label = lane.label().to_owned();
        metrics.notified(&label, taken);
        match end {
            Sent::Taken => {
                if taken > 0 {
                    lane.tell_recovered();
                    lane.state.took(taken, now);
                    lane.adapt(false);
                }
            }
            Sent::Gone => lane.is_gone(now),
            Sent::Failed(failure) => {
                if taken > 0 {
                    lane.state.took(taken, now);
                }
                lane.tell_failing(&failure);
                lane.state.failed(&failure, jitter, now);
                if failure.is_overload {
                    lane.adapt(true);
                }
                let lost = lane.give_up_old(now);
                metrics.notify_lost(&label, lost);
            }
        }
    }

    /// Writes down what changed.
    pub(super) async fn keep(&mut self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let places = self.lanes.iter().enumerate().filter(|(_, lane)| lane.is_changed).map(|(place, _)| place);
        let places: Vec<_> = places.take(CHANGES_MAX).collect();
        let lanes = places.iter().filter_map(|place| self.lanes.get(*place));
        let changes: Vec<_> = lanes.filter_map(|lane| Some((lane.state.change(&lane.key).ok()?, now))).collect();
        if changes.is_empty() {
            return Ok(());
        }
        store.note_all(&changes).await?;
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.is_changed = false;
            }
        }
        Ok(())
    }

    /// Returns the last event that no lane needs any more.
    pub(super) fn dealt_with(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.needs_after(self.seen)).min().unwrap_or(self.seen)
    }

    /// Returns the sinks that others should be told of.
    pub(super) fn bad(&self, now: Timestamp) -> Vec<BadSink> {
        let mut bad: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for lane in self.lanes.iter().filter(|lane| lane.state.is_bad(now)) {
            let Some(since) = lane.state.gone_at.or_else(|| Some(lane.state.failing.as_ref()?.since)) else { continue };
            let at = bad.entry(&lane.sink.name).or_insert(since);
            *at = since.min(*at);
        }
        bad.into_iter().map(|(name, since)| BadSink { name: name.to_owned(), since }).collect()
    }

    /// Tells the metrics how every sink does.
    pub(super) fn tell(&self, metrics: &Metrics) {
        let mut depths: BTreeMap<String, SinkDepth> = BTreeMap::new();
        for lane in &self.lanes {
            let depth = depths.entry(lane.label().to_owned()).or_default();
            depth.backlog += lane.waiting.len() as u64;
            depth.is_failing |= lane.state.failing.is_some() || lane.state.gone_at.is_some();
        }
        metrics.sink_depths(&depths);
    }

    /// Tells how every sink does, in the configuration's order.
    pub(super) fn statuses(&self) -> Vec<SinkStatus> {
        let mut statuses: Vec<SinkStatus> = Vec::new();
        for lane in &self.lanes {
            match statuses.last_mut().filter(|status| status.name == lane.sink.name) {
                Some(status) => lane.add_to(status),
                None => {
                    let mut status = SinkStatus::of(&lane.sink);
                    lane.add_to(&mut status);
                    statuses.push(status);
                }
            }
        }
        statuses
    }
}

/// How a turn ended, for [`Lanes::note`].
pub(super) struct LaneEnd(Option<TurnEnd>);

impl Places {
    fn of(lanes: &[Lane]) -> Self {
        let mut places = Self::default();
        for (place, lane) in lanes.iter().enumerate() {
            places.by_key.insert(lane.key.clone(), place);
            match &lane.sink.sites {
                SinkSites::All => places.of_all.push(place),
                SinkSites::Only(sites) => {
                    for site in sites {
                        places.by_site.entry(site.clone()).or_default().push(place);
                    }
                }
            }
        }
        places
    }
}

impl Lane {
    /// The sink's name, for metrics: sites' own sinks are counted together, since there may be thousands.
    fn label(&self) -> &str {
        if self.sink.name.contains('/') { "sites" } else { &self.sink.name }
    }

    fn tell_recovered(&self) {
        if self.state.failing.is_some() {
            tracing::info!(sink = self.sink.name, "notify.recovered: the sink takes events again");
        }
    }

    fn tell_failing(&self, failure: &super::sink::SinkFailure) {
        if self.state.failing.is_none() {
            tracing::warn!(
                sink = self.sink.name,
                why = failure.why,
                "notify.failing: the sink takes no events; they are tried for 3 days; see `formgate notify list`"
            );
        }
    }

    /// Notes that it answered 410.
    fn is_gone(&mut self, now: Timestamp) {
        tracing::error!(
            sink = self.sink.name,
            "notify.gone: the sink answered 410, so nothing is sent to it until its table changes or formgate is restarted"
        );
        self.state.gone_at = Some(now);
        self.state.lost += self.waiting.len() as u64;
        let all = self.waiting.len();
        self.dealt_with(all);
        self.behind = None;
    }

    fn add_to(&self, status: &mut SinkStatus) {
        status.backlog += self.waiting.len() as u64;
        status.has_more |= self.behind.is_some();
        status.sent += self.state.sent;
        status.lost += self.state.lost;
        status.last_sent_at = status.last_sent_at.max(self.state.sent_at);
        let (state, since, why) = match (&self.state.gone_at, &self.state.failing) {
            (Some(at), _) => (SinkState::Disabled, Some(*at), Some("410 Gone".to_owned())),
            (None, Some(failing)) => (SinkState::Failing, Some(failing.since), Some(failing.why.clone())),
            (None, None) => return,
        };
        if state > status.state {
            status.state = state;
            status.since = since;
            status.error = why;
        }
    }
}

/// Reads the notes of all lanes.
async fn states(store: &dyn Store) -> Result<HashMap<Key, Note>, StoreError> {
    let mut notes = HashMap::new();
    let mut after: Option<Key> = None;
    loop {
        let page = store.notes(NoteKind::Sink, "", after.as_ref(), NOTES_MAX).await?;
        let Some(last) = page.last() else { return Ok(notes) };
        after = Some(last.key.clone());
        notes.extend(page.into_iter().map(|note| (note.key.clone(), note)));
    }
}

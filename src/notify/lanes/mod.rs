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
mod notes;
mod shown;
mod state;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use self::lane::{Lane, LaneTarget, WAITING_MAX};
pub(super) use self::notes::has_parked;
use self::notes::{parked, states};
pub(super) use self::shown::BadSink;
use self::state::LaneState;
use self::turn::{Turn, TurnEnd};
use super::content::Reader;
use super::routing::Routed;
use super::sink::{Outlets, Sent};
use crate::clock::later;
use crate::config::{Config, SinkSites};
use crate::lead::SiteId;
use crate::queue::{CHANGES_MAX, EVENTS_MAX, Key, Note, Store, StoreError};
use crate::telemetry::Metrics;

/// Most sinks that are sent to at one time.
const TURNS_MAX: usize = 16;
/// Of these, so many are kept for overdue leads.
const OVERDUE_TURNS: usize = 4;
/// Most mails of alerts in an hour, to all mailboxes; those over it are gathered into the next. Overdue leads don't count.
pub(super) const MAILS_AN_HOUR: usize = 300;
/// Of these, so many are kept for the sinks of config.toml: a thousand sites' owners must not silence the operator.
const OPERATORS_MAILS: usize = 60;
const HOUR: Duration = Duration::from_secs(60 * 60);

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
    /// Mails of alerts that are being sent.
    mailing: usize,
    /// Lanes that were opened so far.
    generations: u64,
    /// Where the next turns are looked for first.
    next: usize,
    /// How far sinks had got that are not in the configuration now, and until when they may come back.
    parked: Vec<(u64, Timestamp)>,
}

/// Where lanes are found.
#[derive(Default)]
struct Places {
    by_key: HashMap<String, usize>,
    /// Lanes of all sites and of the gateway, by place.
    of_all: Vec<usize>,
    by_site: HashMap<SiteId, Vec<usize>>,
}

impl Lanes {
    /// Begins behind an event; which lanes there are is for [`Lanes::follow`] to say.
    pub(super) fn begin(seen: u64) -> Self {
        Self { seen, ..Self::default() }
    }

    /// Takes over what the configuration says; what waits for a sink that is still there waits on.
    pub(super) async fn follow(
        &mut self,
        config: &Config,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let notes = states(store).await?;
        let mut former: HashMap<String, Lane> = self.lanes.drain(..).map(|lane| (lane.key.clone(), lane)).collect();
        let mut opened = Vec::new();
        for sink in &config.sinks {
            for (key, target) in Lane::targets(sink) {
                let digest = target.digest();
                match former.get(&key).is_some_and(|lane| lane.state.target == digest) {
                    true => self.lanes.extend(former.remove(&key).map(|lane| lane.follow(Arc::clone(sink), target))),
                    false => {
                        opened.push(self.lanes.len());
                        let lane = self.open(key, sink, target, &notes);
                        self.lanes.push(lane);
                    }
                }
            }
        }
        for place in opened {
            if let Some(lane) = self.lanes.get_mut(place)
                && let Some(heir) =
                    former.values().filter(|gone| gone.is_like(lane)).min_by_key(|gone| gone.state.cursor)
            {
                lane.take_over(heir);
            }
        }
        self.places = Places::of(&self.lanes);
        let is_here = |note: &&Note| self.places.by_key.contains_key(note.key.as_str());
        self.parked = parked(notes.values().filter(|note| !is_here(note)), now);
        Ok(())
    }

    /// Opens a lane that goes on where its note says, else begins with what happens from now on.
    fn open(
        &mut self,
        key: String,
        sink: &Arc<crate::config::Sink>,
        target: LaneTarget,
        notes: &HashMap<Key, Note>,
    ) -> Lane {
        let digest = target.digest();
        let noted = Key::parse(&key).ok().and_then(|key| LaneState::read(notes.get(&key)?));
        let is_new = noted.is_none();
        // One that was gone has a chance with each start.
        let state = noted.map(|state| LaneState { gone_at: None, ..state.towards(digest.clone()) });
        let state = state.unwrap_or_else(|| LaneState::begin(self.seen, digest));
        self.generations += 1;
        let mut lane = Lane::new(key, Arc::clone(sink), target, state, self.generations);
        lane.is_changed = is_new;
        // It comes back: what it missed may still be there.
        lane.behind = Some(lane.state.cursor).filter(|cursor| *cursor < self.seen);
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
    pub(super) async fn catch_up(&mut self, store: &dyn Store, trimmed: u64) -> Result<(), StoreError> {
        let seen = self.seen;
        for lane in &mut self.lanes {
            // What was trimmed no lane needed.
            let Some(after) = lane.catches_up_from().map(|after| after.max(trimmed)) else { continue };
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
        // One that lies ahead was sent before the clock was set back.
        while self.mails.front().is_some_and(|at| now >= later(*at, HOUR) || *at > now) {
            self.mails.pop_front();
        }
        let lanes = self.lanes.len();
        let first = self.next;
        for place in (0..lanes).map(|step| (first + step) % lanes) {
            if self.turns.len() >= TURNS_MAX {
                return;
            }
            let Some(lane) = self.lanes.get_mut(place).filter(|lane| lane.is_due(now)) else { continue };
            let is_overdue = matches!(lane.target, LaneTarget::Overdue(_));
            if !is_overdue && self.turns.len() >= TURNS_MAX - OVERDUE_TURNS {
                continue;
            }
            let kept = if lane.sink.is_of_site_file() { OPERATORS_MAILS } else { 0 };
            let is_alert_mail = lane.is_next_an_alert_mail();
            if is_alert_mail && self.mails.len() + self.mailing + kept >= MAILS_AN_HOUR {
                continue;
            }
            let turn = Turn {
                key: lane.key.clone(),
                generation: lane.generation,
                sink: Arc::clone(&lane.sink),
                target: lane.target.clone(),
                events: lane.begin(now),
                is_alert_mail,
            };
            self.mailing += usize::from(is_alert_mail);
            self.turns.spawn(turn.run(reader.clone(), outlets.clone()));
            // Whoever was served last waits longest.
            self.next = place + 1;
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
        let Some(TurnEnd { key, generation, is_alert_mail, dealt_with, taken, end }) = end else { return };
        if is_alert_mail {
            self.mailing = self.mailing.saturating_sub(1);
            self.mails.extend((taken > 0).then_some(now));
        }
        let lane = self.places.by_key.get(&key).and_then(|place| self.lanes.get_mut(*place));
        let Some(lane) = lane.filter(|lane| lane.generation == generation) else { return };
        lane.sending = None;
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
                let mut lost = 0;
                if failure.is_refused {
                    lost += lane.isolate_refused();
                } else if failure.is_overload {
                    lane.adapt(true);
                }
                lost += lane.give_up_old(now);
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

    /// Returns the last event that no lane needs any more, nor one that may come back.
    pub(super) fn dealt_with(&self, now: Timestamp) -> u64 {
        let parked = self.parked.iter().filter(|(_, until)| now < *until).map(|(cursor, _)| *cursor);
        let needed = self.lanes.iter().map(|lane| lane.needs_after(self.seen));
        needed.chain(parked).min().unwrap_or(self.seen)
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

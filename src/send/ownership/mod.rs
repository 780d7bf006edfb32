//! Which sites this gateway sends for, where several share a store: each site is sent for by one at a time, so that its pace,
//! circuit, pause and order hold.
//!
//! Sites belong to [partitions](Partition), and a gateway holds some of these in the store. What it can't renew in time it
//! loses by the clocks of its own machine, before another can take it: a gateway that was frozen, suspended, or cut off from
//! the store, sends nothing when it wakes. Each aims at an equal share; alone it holds all.
//!
//! ```text
//! held      what may be claimed from now, and what is under way of it       asked by the worker
//! balance   who holds what → what to ask for and what to give back          pure
//! presence  the gateways' notes → who runs
//! ```

mod balance;

mod held;

mod presence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::balance::{Balance, Moves, Spread};
pub(super) use self::held::{HeldPartitions, UnderWay};
use self::presence::Presence;
use super::chain::Chain;
use crate::clock::Clock;
use crate::config::Config;
use crate::queue::{
    GatewayName, GatewayNote, Key, Partition, Partitions, SeenGateway, Store, StoreError, gateway_notes,
};
use crate::telemetry::{Degraded, Metrics};

/// How long a partition is held without being renewed. With [`LIVE`](presence::LIVE) it says how soon others send for the
/// sites of a gateway that died: within 5 s.
const HOLD: Duration = Duration::from_millis(3_500);
/// So long before a hold ends nothing is claimed under it any more: a claim takes its time.
const MARGIN: Duration = Duration::from_millis(500);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often is looked who runs, and while partitions move.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOK_EVERY_MOVING: Duration = Duration::from_millis(250);
const LOOK_EVERY_STOPPING: Duration = Duration::from_millis(50);
/// How long the store may take to answer.
const STORE_TIME: Duration = Duration::from_secs(1);
/// Longer than the worker takes to end what is under way.
const STOP_TIME: Duration = Duration::from_secs(12);
/// Configurations differ for a while when a new one is rolled out.
const DIFFER_FOR: Duration = Duration::from_secs(60);

/// How this gateway is known to those that share its store.
#[derive(Clone, Debug)]
pub struct GatewayIdentity {
    pub name: GatewayName,
    /// The machine it runs on.
    pub host: String,
    pub version: &'static str,
    pub since: Timestamp,
}

/// Holds partitions for this gateway. Clones are the same.
#[derive(Clone)]
pub struct Ownership {
    identity: Arc<GatewayIdentity>,
    /// Tells this process from another of the same name.
    process: Arc<str>,
    store: Arc<dyn Store>,
    config: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    clock: Clock,
    held: HeldPartitions,
    digest: Arc<Mutex<Option<SitesDigest>>>,
    gateways: watch::Sender<Vec<SeenGateway>>,
    /// Another process has this one's name by now: that one tells the others what there is to tell.
    is_replaced: Arc<AtomicBool>,
}

/// The digest of a configuration's sites: made once, since it looks at all of them.
type SitesDigest = (Arc<Config>, String);

/// What is remembered from one look to the next.
struct Round {
    balance: Balance,
    presence: Presence,
    renewed_at: Option<Instant>,
    noted: Option<(Instant, (Partitions, bool))>,
    differ_since: Option<Instant>,
    /// That the store fails was said.
    is_failing: bool,
}

impl Ownership {
    pub(super) fn new(
        identity: GatewayIdentity,
        store: Arc<dyn Store>,
        (config, metrics): (Arc<ArcSwap<Config>>, Arc<Metrics>),
        (held, clock): (HeldPartitions, Clock),
    ) -> Self {
        held.share(clock.clone());
        let process = format!("{:016x}", rand::random::<u64>()).into();
        let gateways = watch::Sender::new(Vec::new());
        let identity = Arc::new(identity);
        let digest = Arc::default();
        let is_replaced = Arc::default();
        Self { identity, process, store, config, metrics, clock, held, digest, gateways, is_replaced }
    }

    /// Leaves this gateway's name to a process that has taken its place: to the others the gateway runs on.
    pub fn leave_name(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// Returns what this gateway is called.
    pub fn name(&self) -> &GatewayName {
        &self.identity.name
    }

    /// Returns the gateways of the store, as they were last seen.
    pub fn gateways(&self) -> watch::Receiver<Vec<SeenGateway>> {
        self.gateways.subscribe()
    }

    /// Holds partitions until `stopping` says true and nothing is under way; then others take over at once.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut round = self.begin();
        while !*stopping.borrow() {
            let wait = self.look(&mut round).await;
            drop(timeout(wait, stopping.wait_for(|stop| *stop)).await);
        }
        self.stop(&mut round).await;
    }

    /// Gives back what is held as soon as nothing is under way of it, and then tells the others that it has stopped.
    async fn stop(&self, round: &mut Round) {
        let begun = Instant::now();
        self.held.leave(Partitions::ALL);
        self.held.publish();
        // Where nobody handed over to it, the last note tells, if it is the other's.
        if in_time(self.has_other_process()).await.unwrap_or_default() {
            self.leave_name();
        }
        let config = self.config.load_full();
        while !self.held.all().is_empty() && begun.elapsed() < STOP_TIME {
            self.keep(round).await;
            // Where that fails, the others find out when it doesn't write any more.
            drop(self.note(round, &config, false).await);
            sleep(LOOK_EVERY_STOPPING).await;
        }
        self.release(self.held.all()).await;
        if !self.is_replaced()
            && let Err(error) = in_time(self.tell_stopped()).await
        {
            tracing::debug!(error = %Chain(&error), "send.stop_untold");
        }
    }

    fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Acquire)
    }

    /// Tells whether the last note under this gateway's name is another process'.
    async fn has_other_process(&self) -> Result<bool, StoreError> {
        let notes = gateway_notes(&*self.store).await?;
        let told = notes.iter().filter_map(GatewayNote::read).find(|(name, _)| *name == self.identity.name);
        Ok(told.is_some_and(|(_, note)| *note.process != *self.process))
    }

    fn begin(&self) -> Round {
        // Not from its name: those of one machine begin alike.
        let balance = Balance::new(rand::random());
        let presence = Presence::default();
        Round { balance, presence, renewed_at: None, noted: None, differ_since: None, is_failing: false }
    }

    /// Looks once: renews, gives back and takes; returns when to look again.
    async fn look(&self, round: &mut Round) -> Duration {
        self.keep(round).await;
        let looked = self.share(round).await;
        self.held.publish();
        match looked {
            Ok(is_moving) => {
                round.is_failing = false;
                if is_moving { LOOK_EVERY_MOVING } else { LOOK_EVERY }
            }
            Err(error) => {
                if !std::mem::replace(&mut round.is_failing, true) {
                    tracing::warn!(
                        error = %Chain(&error),
                        "send.partitions_failed: the store doesn't tell who sends for which sites; what can't be renewed is lost"
                    );
                }
                LOOK_EVERY
            }
        }
    }

    /// Renews what is held, where it is time, and gives back what is to be.
    async fn keep(&self, round: &mut Round) {
        let now = Instant::now();
        if round.renewed_at.is_none_or(|at| now.duration_since(at) >= RENEW_EVERY) {
            round.renewed_at = Some(now);
            self.ask(self.held.all()).await;
        }
        let overdue = self.held.lose_overdue();
        if !overdue.is_empty() {
            tracing::warn!(
                partitions = overdue.len(),
                "send.partitions_lost: the store didn't renew them in time; others may send for their sites"
            );
        }
        self.release(self.held.leaving() - self.held.busy()).await;
    }

    /// Takes and leaves partitions until each gateway has its share; tells whether some are on their way.
    async fn share(&self, round: &mut Round) -> Result<bool, StoreError> {
        let config = self.config.load_full();
        let sends = !config.missing.upstream;
        self.note(round, &config, sends).await?;
        let notes = in_time(gateway_notes(&*self.store)).await?;
        let seen = round.presence.look(&notes, &self.identity.name, Instant::now());
        let others = seen.iter().filter(|gateway| gateway.is_live && !gateway.is_this && gateway.note.sends);
        let others = others.map(|gateway| gateway.note.partitions).collect();
        self.judge(round, &seen);
        self.gateways.send_if_modified(|published| {
            let is_new = *published != seen;
            *published = seen;
            is_new
        });
        let all = self.held.all();
        let leaving = self.held.leaving();
        let spread = Spread { kept: all - leaving, leaving, busy: self.held.busy(), others };
        let moves = match sends {
            true => round.balance.moves(&spread, Instant::now()),
            false => Moves { leave: all, ..Moves::default() },
        };
        self.held.leave(moves.leave);
        self.release(self.held.leaving() - self.held.busy()).await;
        self.ask(moves.ask).await;
        self.held.publish();
        // The others see at once what has moved.
        self.note(round, &config, sends).await?;
        Ok(!(moves.ask | self.held.leaving()).is_empty())
    }

    /// Takes or renews partitions; what another holds is lost.
    async fn ask(&self, partitions: Partitions) {
        // Before it is sent: the hold ends no later for the store.
        let until = self.held.after(HOLD.saturating_sub(MARGIN));
        let mut asked = JoinSet::new();
        for partition in partitions.iter() {
            let store = Arc::clone(&self.store);
            let name = name(partition);
            let holder = self.holder();
            let now = self.clock.now();
            asked.spawn(async move { (partition, store.hold(&name, &holder, HOLD, now).await) });
        }
        let answered = async {
            while let Some(answer) = asked.join_next().await {
                match answer {
                    Ok((partition, Ok(true))) => self.held.hold(partition, until),
                    Ok((partition, Ok(false))) => self.held.lose(partition),
                    // It is held until it is overdue.
                    Ok((_, Err(_))) | Err(_) => {}
                }
            }
        };
        drop(timeout(STORE_TIME, answered).await);
    }

    /// Gives partitions back.
    async fn release(&self, partitions: Partitions) {
        let mut released = JoinSet::new();
        for partition in partitions.iter() {
            // First of all here: what is given back may be taken at once.
            self.held.lose(partition);
            let store = Arc::clone(&self.store);
            let name = name(partition);
            let holder = self.holder();
            released.spawn(async move { drop(store.release(&name, &holder).await) });
        }
        drop(timeout(STORE_TIME, async { while released.join_next().await.is_some() {} }).await);
    }

    /// Tells the others that it runs and what it holds, where it is time or has changed.
    async fn note(&self, round: &mut Round, config: &Arc<Config>, sends: bool) -> Result<(), StoreError> {
        let now = Instant::now();
        let partitions = self.held.all();
        let is_due =
            round.noted.is_none_or(|(at, noted)| now.duration_since(at) >= RENEW_EVERY || noted != (partitions, sends));
        if !is_due || self.is_replaced() {
            return Ok(());
        }
        let GatewayIdentity { name, host, version, since } = &*self.identity;
        let sites = config.sites.keys().filter(|site| partitions.has_site(site)).count();
        let note = GatewayNote {
            version: (*version).to_owned(),
            since: *since,
            host: host.clone(),
            process: self.process.to_string(),
            config: self.digest(config),
            partitions,
            sites,
            sends,
        };
        self.metrics.partitions_held(partitions.len());
        let change = note.change(name).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        in_time(self.store.note(&change, self.clock.now())).await?;
        round.noted = Some((now, (partitions, sends)));
        Ok(())
    }

    /// Returns the digest of the sites in force.
    fn digest(&self, config: &Arc<Config>) -> String {
        let mut digest = self.digest.lock();
        match &*digest {
            Some((of, digest)) if Arc::ptr_eq(of, config) => digest.clone(),
            _ => digest.insert((Arc::clone(config), config.sites_digest())).1.clone(),
        }
    }

    /// Tells when the gateways' configurations differ.
    fn judge(&self, round: &mut Round, seen: &[SeenGateway]) {
        self.metrics.gateways_seen(seen.iter().filter(|gateway| gateway.is_live).count());
        let this = seen.iter().find(|gateway| gateway.is_this);
        let differs = this.is_some_and(|this| seen.iter().any(|other| other.is_live && other.differs_from(this)));
        if !differs {
            round.differ_since = None;
            self.metrics.set_degraded(Degraded::ConfigsDiffer, false);
            return;
        }
        let since = *round.differ_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= DIFFER_FOR {
            self.metrics.set_degraded(Degraded::ConfigsDiffer, true);
        }
    }

    async fn tell_stopped(&self) -> Result<(), StoreError> {
        let stopped = GatewayNote::stopped(&self.identity.name);
        let stopped = stopped.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        self.store.note(&stopped, self.clock.now()).await
    }

    /// Returns as whom partitions are held: of two processes with one name each for itself.
    fn holder(&self) -> Key {
        let holder = format!("{}/{}", self.identity.name, self.process);
        Key::parse(&holder).expect("a name is short")
    }
}

/// Returns the name that a partition is held by in the store.
fn name(partition: Partition) -> Key {
    Key::parse(&format!("send/{:02}", partition.number())).expect("it is short")
}

/// Waits for the store, though not for long: what is held must be renewed.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(STORE_TIME, answer).await.unwrap_or_else(|elapsed| Err(StoreError::Unavailable(Box::new(elapsed))))
}

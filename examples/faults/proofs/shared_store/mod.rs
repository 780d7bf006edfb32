//! Several gateways on one PostgreSQL, behind a balancer.

mod failover;

mod full;

mod kill;

mod pause;

mod upgrade;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use formgate::config::{self, Sources};
use formgate::queue::{Head, State};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::balancer::Balancer;
use super::gateway::{Gateway, Place, Settings, read_all};
use super::load::Heard;
use super::postgres::pair::Pair;
use super::row::Row;
use super::upstream::{Mood, Upstream};

pub(crate) use failover::failover;

pub(crate) use full::full;

pub(crate) use kill::kill_gateway;

pub(crate) use pause::pause;

pub(crate) use upgrade::upgrade;

const GATEWAYS: usize = 3;
const CLIENTS: usize = 6;
/// What each client waits between two posts: this machine also runs the servers.
const PACE: Duration = Duration::from_millis(10);
const DATABASE: &str = "leads";
/// How long what is left may take to arrive in the store.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);
/// How long nothing may be delivered while something is queued: the rest waits for the lease of a gateway that is dead.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Longest time an answer may take while the store is away.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// Plans of fewer rounds are short forms, which share the machine with other tests: there times may be twice as long.
const WHOLE_ROUNDS: usize = 20;

/// Gateways on one store, an API, and a balancer before them.
struct Gateways {
    running: Vec<Gateway>,
    places: Vec<Place>,
    upstream: Upstream,
    balancer: Balancer,
    _folder: TempDir,
}

impl Gateways {
    async fn start(program: &Path, store_url: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let upstream = Upstream::start().await?;
        upstream.set(Mood { takes: Duration::from_millis(2), ..Mood::default() });
        let store_url = Some(store_url.to_owned());
        let settings = Settings { upstream: upstream.url(), store_url, ..Settings::default() };
        let mut places = Vec::new();
        let mut running = Vec::new();
        for number in 1..=GATEWAYS {
            let own = folder.path().join(format!("gateway-{number}"));
            std::fs::create_dir(&own)?;
            let place = Place::new(program, &own, &settings)?;
            running.push(place.start().await?);
            places.push(place);
        }
        let balancer = Balancer::start(places.iter().map(|place| place.address).collect()).await?;
        Ok(Self { running, places, upstream, balancer, _folder: folder })
    }

    /// Stops all, once everything that was answered 200 is in the store and nothing more is sent; judges what came of it.
    async fn end(mut self, row: &mut Row, heard: &Heard) -> anyhow::Result<()> {
        let entries = self.drained(heard).await?;
        for gateway in &mut self.running {
            let code = gateway.stop().await?;
            row.expect(code == Some(0), || format!("it ended with {code:?}: {}", gateway.last_words()));
        }
        row.tell(format!(
            "answers p99 {} ms, longest {} ms",
            heard.percentile(99).as_millis(),
            heard.percentile(100).as_millis()
        ));
        heard.judge(row, &entries, &self.upstream.taken());
        Ok(())
    }

    async fn drained(&self, heard: &Heard) -> anyhow::Result<HashMap<String, Head>> {
        let started = Instant::now();
        let mut progress = 0;
        let mut since = Instant::now();
        loop {
            let entries = self.entries().await?;
            let has_all = heard.ids.iter().all(|id| entries.contains_key(id));
            let queued = entries.values().filter(|entry| entry.state == State::Queued).count();
            let sent = entries.len() - queued;
            if sent != progress {
                (progress, since) = (sent, Instant::now());
            }
            let is_idle = queued == 0 || since.elapsed() > IDLE_MAX;
            if (has_all && is_idle) || started.elapsed() > ARRIVAL_MAX {
                return Ok(entries);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads everything that is in the store, as a gateway would.
    async fn entries(&self) -> anyhow::Result<HashMap<String, Head>> {
        let place = self.places.first().context("there are gateways")?;
        let today = jiff::Zoned::now().date();
        let loaded = config::load(&place.folder.join("config.toml"), &Sources::process(), today);
        let (config, _) = loaded.complete().map_err(|problems| anyhow::anyhow!(problems.render(false)))?;
        read_all(formgate::app::open_store(&config)?.store()).await
    }
}

/// Starts a primary with a synchronous standby and an empty database.
async fn start_servers() -> anyhow::Result<Pair> {
    let pair = Pair::start().await?;
    pair.primary.create_database(DATABASE).await?;
    Ok(pair)
}

/// Nobody may be refused.
fn check_refused(row: &mut Row, heard: &Heard) {
    let Heard { cut, turned_away, refused, .. } = heard;
    let failed = cut + turned_away + refused.values().sum::<usize>();
    row.expect(failed == 0, || format!("{cut} cut, {turned_away} turned away, answers {refused:?}"));
    row.tell(format!("refused {failed}"));
}

/// Nobody may wait longer than a plugin does.
fn check_waits(row: &mut Row, heard: &Heard, plan: &Plan) {
    let longest = heard.percentile(100);
    row.expect(longest < at_most(ANSWER_MAX, plan), || format!("an answer took {} ms", longest.as_millis()));
}

fn at_most(time: Duration, plan: &Plan) -> Duration {
    if plan.rounds < WHOLE_ROUNDS { time * 2 } else { time }
}

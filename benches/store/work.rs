//! What operators ask of a store with many entries: the list of work, the sites, retention.

use std::collections::BTreeSet;
use std::sync::Arc;

use formgate::config::{self, Config, Sources};
use formgate::lead::{Code, FieldError, LeadField, SiteId};
use formgate::operate::{self, Query, Situation};
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{
    CLAIM_MAX, Claim, DedupeKey, EXPIRE_MAX, Holdup, NewEntry, Reading, Reason, SendingStatus, Settlement, State,
    Store, StoreError,
};
use jiff::Timestamp;
use jiff::civil::date;
use tokio::time::Instant;

use crate::life::{KEEP, LEASE, append_all, whole_lives};
use crate::{Outcome, PRODUCERS, ROUNDS, entries, folder, milliseconds, open};

/// Entries of the SQLite store, besides two backlogs.
const ENTRIES: u64 = 1_000_000;
/// Of each thousand, as many as `fill.sql` has: delivered, and dead.
const DELIVERED: u64 = 970;
const DEAD: u64 = 1;
/// Of those that are left, which wait and are held in turn: so many of so many are held.
const HELD: (u64, u64) = (14, 29);
const BACKLOG: u64 = ENTRIES / 40;
const BACKLOGS: [&str; 2] = ["waiting", "backlog"];
const SITES: u64 = 200;
/// Entries that are taken their way at a time.
const PART: u64 = 20_000;

/// Prints how long it takes in SQLite, with entries such as `fill.sql` makes for PostgreSQL.
pub(crate) async fn sqlite() -> Outcome<()> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    fill(&store).await?;
    let last = entries::after(4 * ENTRIES)?;
    println!("\n### The store: what operators ask, with {ENTRIES} entries");
    all(&*store, &format!("{ENTRIES}, 97 % delivered"), last + 2 * KEEP).await
}

/// Prints how long it takes; in the end what has expired by then is removed, in parts.
pub(crate) async fn all(store: &impl Store, what: &str, expired: Timestamp) -> Outcome<()> {
    println!("\n| {what:<26} | first ms |   ms | goal |");
    println!("|{:-<28}|---------:|-----:|-----:|", "");
    let sites: BTreeSet<_> = store.counts().await?.into_iter().map(|count| count.site).collect();
    let every = Arc::new(configuration(&sites)?);
    let none = Arc::new(configuration(&BTreeSet::new())?);
    let now = entries::after(ENTRIES)?;
    let outage = Holdup { since: now, why: "503".to_owned(), next_probe: now };
    let up = SendingStatus::default();
    let down = SendingStatus { upstream: Some(outage), ..SendingStatus::default() };
    for (what, config, sending) in [
        ("groups, all on its way", &every, Some(&up)),
        ("groups, an outage", &every, Some(&down)),
        ("groups, no gateway", &every, None),
        ("groups, all sites gone", &none, Some(&up)),
    ] {
        let situation = Situation { config: Arc::clone(config), sending: sending.cloned(), now };
        let query = Query::default();
        row(what, "≤ 50", async || operate::groups(store, &query, &situation).await.map(drop)).await?;
    }
    let situation = Situation { config: every, sending: Some(up), now };
    row("sites", "–", async || operate::sites(store, &situation).await.map(drop)).await?;
    row("retention", "≤ 50", async || store.expire(expired, EXPIRE_MAX).await.map(drop)).await
}

/// Prints how long the first took, which reads from the disk, and the slowest of those that came after.
async fn row(what: &str, goal: &str, asked: impl AsyncFn() -> Result<(), StoreError>) -> Outcome<()> {
    let mut times = [0.0; ROUNDS];
    for time in &mut times {
        let begun = Instant::now();
        asked().await?;
        *time = milliseconds(begun.elapsed());
    }
    let [first, next @ ..] = times;
    let slowest = next.into_iter().fold(0.0, f64::max);
    println!("| {what:<26} | {first:>8.1} | {slowest:>4.1} | {goal:>4} |");
    Ok(())
}

/// Makes a configuration with these sites.
fn configuration(sites: &BTreeSet<SiteId>) -> Outcome<Config> {
    let folder = folder()?;
    let path = folder.path().join("config.toml");
    let table =
        |site| format!("[[site]]\nid = \"{site}\"\npublic_key = \"wp_pk_{site}\"\nsecret_key = \"wp_sk_{site}\"\n");
    std::fs::write(&path, format!("[server]\n{}", sites.iter().map(table).collect::<String>()))?;
    let loaded = config::load(&path, &Sources::process(), date(2026, 11, 30));
    let (config, _advice) = loaded.complete().map_err(|wrong| wrong.render(false))?;
    Ok(config)
}

async fn fill(store: &Arc<SqliteStore>) -> Outcome<()> {
    let delivered = ENTRIES / 1_000 * DELIVERED;
    for first in (0..delivered).step_by(usize::try_from(PART)?) {
        whole_lives(store, first, PART.min(delivered - first)).await?;
    }
    let dead = ENTRIES / 1_000 * DEAD;
    append_all(store, entries::some(delivered, dead)?, PRODUCERS).await?;
    let claim = Claim::new(CLAIM_MAX, LEASE, entries::after(delivered + dead)?);
    loop {
        let leases = store.claim(&claim).await?;
        if leases.is_empty() {
            break;
        }
        for lease in leases {
            let ended = Settlement::Dead { reason: Reason::Refused, attempt: None, keep: KEEP };
            let _set = store.settle(&lease, ended, claim.now).await?;
        }
    }
    let open = entries::some(delivered + dead, ENTRIES - delivered - dead)?;
    append_all(store, open.into_iter().zip(0..).map(held_or_queued).collect::<Outcome<_>>()?, PRODUCERS).await?;
    for (site, first) in BACKLOGS.into_iter().zip([2 * ENTRIES, 3 * ENTRIES]) {
        let of_site = |(entry, key)| Ok((NewEntry { site: SiteId::parse(site)?, ..entry }, key));
        let backlog = entries::some(first, BACKLOG)?.into_iter().map(of_site);
        append_all(store, backlog.collect::<Outcome<_>>()?, PRODUCERS).await?;
    }
    Ok(())
}

/// Returns one to ten errors: as many causes.
fn errors(number: u64) -> Vec<FieldError> {
    let count = usize::try_from(1 + number % 10).unwrap_or(1);
    vec![FieldError::new(LeadField::Email, Code::Missing, "it isn't there"); count]
}

/// Spreads entries over the sites, and has some of them held.
fn held_or_queued(((entry, key), number): ((NewEntry, DedupeKey), u64)) -> Outcome<(NewEntry, DedupeKey)> {
    let (held, of) = HELD;
    let site = SiteId::parse(&format!("site-{}", number / of % SITES))?;
    let entry = NewEntry { site, ..entry };
    let entry = match number % of < held {
        true => {
            let reading = Reading { lead: None, errors: errors(number), ..entry.reading };
            NewEntry { state: State::Held, reason: Reason::Invalid, keep: Some(KEEP), reading, ..entry }
        }
        false => entry,
    };
    Ok((entry, key))
}

//! How fast entries become durable, against the floor: the same bytes in the same batches, appended to a bare file.
//!
//! `cargo bench --bench store [ENTRIES] [PRODUCERS]`. Figures of one machine say little; the ratio says what the store costs
//! over its disk. `FORMGATE_BENCH_FOLDER` names a folder on the disk to be measured.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{
    Attempt, AttemptResult, CLAIM_MAX, Claim, DedupeKey, NewEntry, Reading, Reason, Settlement, State, Store,
};
use formgate::received::Received;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

const ENTRIES: u64 = 20_000;
const PRODUCERS: u64 = 64;
const SITES: u64 = 20;
const BODY: usize = 1_024;
const LEASE: Duration = Duration::from_secs(60);

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    // cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (entries, producers) = (numbers.next().unwrap_or(ENTRIES), numbers.next().unwrap_or(PRODUCERS).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{:<34} {:>9} {:>7} {:>10} {:>8}", "what", "per s", "batch", "bytes each", "of floor");
    for (count, producers) in [(entries, producers), (entries / 10, 1)] {
        runtime.block_on(run(count, producers))?;
    }
    Ok(())
}

/// Appends, claims and settles entries in a new store, and appends as many bytes to a bare file.
async fn run(entries: u64, producers: u64) -> Outcome<()> {
    let folder = match std::env::var_os("FORMGATE_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
    };
    let path = folder.path().join("store.db");
    let options =
        Options { dedupe_window: Duration::from_secs(600), max_size: Some(10 << 30), opened_at: Timestamp::UNIX_EPOCH };
    let store = Arc::new(SqliteStore::open(&path, options)?);

    let begun = Instant::now();
    append_all(&store, entries, producers).await?;
    let rate = per_second(entries, begun);
    let batch = as_f64(store.operations()) / as_f64(store.commits().max(1));
    let floor = floor(&folder.path().join("bare"), entries, batch.round() as usize)?;
    let begun = Instant::now();
    let settled = settle_all(&store).await?;
    let settle_rate = per_second(settled, begun);
    drop(store);
    let bytes = path.metadata()?.len() / entries.max(1);

    println!("{:<34} {floor:>9.0} {batch:>7.1} {BODY:>10} {:>8}", format!("bare file, {producers} at once"), "1.00");
    let ratio = rate / floor;
    println!("{:<34} {rate:>9.0} {batch:>7.1} {bytes:>10} {ratio:>8.2}", format!("append, {producers} at once"));
    println!("{:<34} {settle_rate:>9.0}", "claim and settle, one at a time");
    Ok(())
}

async fn append_all(store: &Arc<SqliteStore>, entries: u64, producers: u64) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for producer in 0..producers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in (producer..entries).step_by(usize::try_from(producers)?) {
                let (entry, key) = entry(number)?;
                let _appended = store.append(entry, Some(key)).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Claims as many as may be, and settles them one after the other as deliveries do.
async fn settle_all(store: &SqliteStore) -> Outcome<u64> {
    let now = Timestamp::from_second(1_760_001_000)?;
    let mut settled = 0;
    for _ in 0..4 {
        for lease in store.claim(&Claim::new(CLAIM_MAX, LEASE, now)).await? {
            let attempt = Attempt {
                result: AttemptResult::Delivered,
                status: Some(200),
                duration_ms: 20,
                words: None,
                confirmed: None,
            };
            let delivered = Settlement::Delivered { lead_id: Some("lead".to_owned()), attempt, keep: LEASE };
            let _set = store.settle(&lease, delivered, now).await?;
            settled += 1;
        }
    }
    Ok(settled)
}

/// Appends as many bytes in batches as large, each synced, and returns how many entries that is in a second.
fn floor(path: &Path, entries: u64, batch: usize) -> io::Result<f64> {
    let mut file = File::create(path)?;
    let bytes = vec![b'x'; BODY * batch.max(1)];
    let begun = Instant::now();
    let mut written = 0;
    while written < entries {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += batch.max(1) as u64;
    }
    Ok(per_second(written, begun))
}

fn entry(number: u64) -> Outcome<(NewEntry, DedupeKey)> {
    // Well spread, as digests are.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(4);
    let [key, random] = [spread.first_chunk::<32>().copied().unwrap_or_default(), [0; 32]];
    let mut id = [0; 10];
    id.iter_mut().zip(key.iter().chain(&random)).for_each(|(to, from)| *to = *from);
    let millisecond = 1_760_000_000_000 + number / 10;
    let message = format!("entry {number}: {}", "what a visitor wrote ".repeat(10));
    let draft = Draft { email: Some("jane@example.com"), message: Some(&message), ..Draft::default() };
    let mut body = format!("email=jane%40example.com&number={number}&message=").into_bytes();
    body.resize(BODY, b'x');
    let received = Received {
        method: "POST".to_owned(),
        headers: [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())].into(),
        body: Bytes::from(body),
        ..Received::default()
    };
    let lead = Lead::check(draft).map_err(|_invalid| "the lead is valid")?.lead;
    let entry = NewEntry {
        id: EntryId::new(millisecond, &id),
        site: SiteId::parse(&format!("site-{}", number % SITES))?,
        form: FormId::parse("contact")?,
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: Timestamp::from_millisecond(i64::try_from(millisecond)?)?,
        keep: None,
        reading: Reading { mapping: Some("generic".to_owned()), lead: Some(lead), ..Reading::default() },
        received,
    };
    Ok((entry, DedupeKey(key)))
}

fn per_second(count: u64, begun: Instant) -> f64 {
    as_f64(count) / begun.elapsed().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

//! What keeping entries costs, against two floors measured in the same run: the same bytes in the same batches appended to
//! a bare file, and SQLite with nothing of ours around it.
//!
//! `cargo bench --bench store [append|life|large|work|postgres|postgres-large]`; without a word all is measured but what takes a million entries, and
//! what takes a PostgreSQL server. Figures
//! of one machine say little; the ratios say what the store costs over its disk. `FORMGATE_BENCH_FOLDER` names a folder on the disk to be
//! measured.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod entries;

mod floor;

mod large;

mod life;

mod postgres;

mod work;

#[path = "../../examples/faults/proofs/mod.rs"]
#[allow(dead_code, reason = "the servers alone are needed")]
mod proofs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use formgate::queue::sqlite::{Options, SqliteStore};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::time::Instant;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a body.
const BODY: usize = 1_024;
/// Entries of a row.
const ENTRIES: u64 = 20_000;
/// What posts at once.
const PRODUCERS: usize = 64;
/// Times that each of two that are compared is measured, in turn; the middle counts.
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |row: &str| wanted.is_empty() || wanted.iter().any(|wanted| row.starts_with(wanted.as_str()));
    // One thread asks, as that of the gateway's listener does.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if is_wanted("append") {
        runtime.block_on(life::appends())?;
    }
    if is_wanted("life") {
        runtime.block_on(life::lives())?;
    }
    if wanted.iter().any(|wanted| wanted == "large") {
        runtime.block_on(large::all())?;
    }
    if wanted.iter().any(|wanted| wanted == "work" || wanted == "large") {
        runtime.block_on(work::sqlite())?;
    }
    if wanted.iter().any(|wanted| wanted.starts_with("postgres")) {
        runtime.block_on(postgres::all(wanted.iter().any(|wanted| wanted == "postgres-large")))?;
    }
    Ok(())
}

fn folder() -> std::io::Result<TempDir> {
    match std::env::var_os("FORMGATE_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")),
    }
}

fn open(path: &Path) -> Outcome<Arc<SqliteStore>> {
    let options = Options {
        dedupe_window: Duration::from_secs(600),
        max_size: Some(100 << 30),
        opened_at: Timestamp::UNIX_EPOCH,
    };
    Ok(Arc::new(SqliteStore::open(path, options)?))
}

/// Returns the middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn per_second(count: u64, begun: Instant) -> f64 {
    as_f64(count) / begun.elapsed().as_secs_f64()
}

/// Returns the processor's time that this process has taken, in microseconds.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    as_f64(time.tv_sec.unsigned_abs()) * 1e6 + as_f64(time.tv_nsec.unsigned_abs()) / 1e3
}

/// Returns the bytes that this process has handed to the system to be written.
fn written() -> Outcome<u64> {
    let told = std::fs::read_to_string("/proc/self/io")?;
    let line = told.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar in /proc/self/io")?;
    Ok(line.trim().parse()?)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

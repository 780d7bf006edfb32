//! The gateway as a whole, in real processes: what a lead costs over its whole life, how many are accepted and delivered, how
//! long a visitor waits, what it holds and how soon it is there. Beside it, in turn and in the same run, the floors (pingora answering
//! every post alike; the same with a synced file) and its peers.
//!
//! `cargo bench --bench gateway [cost|accepted|delivered|waiting|held|start|sites|gateways …]`; without a word all is measured but
//! `gateways`, which needs a PostgreSQL. The server has
//! one core for itself, load, upstream and clock the other, so two are needed, Linux and `taskset`. `FORMGATE` names another program to
//! be measured than the one built beside this, `FORMGATE_BENCH_FOLDER` a folder on the disk to be measured, `PEERS` the peers
//! (default: nginx-lua; "all": every one there is).

#![expect(clippy::print_stderr, reason = "a bench says what it leaves out")]

mod floor;

mod load;

mod process;

#[path = "../../examples/faults/proofs/mod.rs"]
#[allow(dead_code, reason = "the servers alone are needed")]
mod proofs;

mod rows;

mod setting;

mod stand;

#[path = "../table/mod.rs"]
mod table;

mod upstream;

mod wire;

use std::path::Path;

use stand::Stand;
use tokio::task::LocalSet;

/// As the program has it, for the floors.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [floor, address, file @ ..] = wanted.as_slice()
        && floor == stand::FLOOR
    {
        return floor::serve(address.parse()?, file.first().map(Path::new));
    }
    process::stay_off_the_servers_core()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let stand = Stand::new().await?;
        rows::measure(&stand, &wanted).await
    })
}

/// Returns the middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to print")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

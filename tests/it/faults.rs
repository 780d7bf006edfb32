//! A short form of each proof of `make faults`, on the program itself.

#[path = "../../examples/faults/proofs/mod.rs"]
#[allow(dead_code, reason = "the example runs them all; what it prints is not needed here")]
pub(crate) mod proofs;

use std::path::{Path, PathBuf};

use proofs::Plan;
use proofs::gateway::{Gateway, Place, Settings};
use proofs::hostile::{Target, bodies, polite_post, smuggling};
use proofs::row::{Row, table};

fn plan(rounds: usize) -> Plan {
    Plan { program: PathBuf::from(env!("CARGO_BIN_EXE_formgate")), rounds }
}

/// What could not be run here says why; the rest holds.
fn check(row: anyhow::Result<Row>) {
    let row = row.expect("it runs to its end");
    assert!(row.failed.is_empty(), "{}", table(&[row]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_answered_200() {
    check(proofs::kill::kill(&plan(4)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_where_the_api_commits_and_drops() {
    check(proofs::kill::commit_and_drop(&plan(2)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_and_passes_by_itself() {
    check(proofs::disk::full(&plan(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_its_size_is_503_until_there_is_room() {
    check(proofs::disk::max_size(&plan(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_harmed_takes_nothing_into_the_void() {
    check(proofs::gone::gone(&plan(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_corrupt_at_the_start_is_set_aside_and_merged_back() {
    check(proofs::corrupt::corrupt(&plan(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_signal_under_load_cuts_no_request() {
    check(proofs::stop::term(&plan(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_no_request() {
    check(proofs::upgrade::upgrade(&plan(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_shows_nobody_half_a_configuration() {
    check(proofs::reload::reload(&plan(4)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_two_ends_are_refused_and_the_next_good_one_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_gateway, target) = start(folder.path()).await;
    let mut ends = smuggling::all(target).await;
    for right in ["right", "closed"] {
        ends.remove(right);
    }
    assert!(ends.is_empty(), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_bomb_are_refused_and_the_next_good_one_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_gateway, target) = start(folder.path()).await;
    let mut ends = bodies::bombs(target).await;
    for right in ["400", "413", "closed"] {
        ends.remove(right);
    }
    assert!(ends.is_empty(), "{ends:?}");
    assert!(polite_post(target, 0).await);
}

async fn start(folder: &Path) -> (Gateway, Target) {
    let place = Place::new(&plan(1).program, folder, &Settings::default()).expect("set up");
    let gateway = place.start().await.expect("it starts");
    (gateway, Target { address: place.address })
}

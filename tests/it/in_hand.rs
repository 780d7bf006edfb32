//! Leads that were claimed and wait in hand for a slot: none is stranded, sent twice, or sent after it was erased.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use formgate::lead::EntryId;
use formgate::queue::memory::MemoryStore;
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{Claim, State, Store};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::scripted_api::{Recorded, Reply};
use crate::world::World;

const SITES: [&str; 4] = ["acme", "beta", "gamma", "delta"];
const SOON: Duration = Duration::from_secs(5);

fn in_flight(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

fn is_of(request: &Recorded, site: &str) -> bool {
    request.header("authorization").is_some_and(|value| value.contains(&format!("wp_pk_{site}:")))
}

async fn queue(world: &World, numbers: std::ops::Range<u8>) -> Vec<EntryId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(world.queue(SITES[usize::from(number) % 4], number).await);
    }
    ids
}

fn run(world: &World) -> (watch::Sender<bool>, JoinHandle<formgate::send::Stopped>) {
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    (stop, tokio::spawn(async move { sender.run(stopped).await }))
}

/// Waits until so many requests came; tells how many there are after a time.
async fn requests(world: &World, count: usize, within: Duration) -> usize {
    drop(tokio::time::timeout(within, world.api.wait_for(count)).await);
    world.api.requests().len()
}

/// One lead was just delivered, so that the next are claimed ahead; sixteen more are due, and eight of them are posted. Those
/// fail once they are told to.
struct Failing {
    world: World,
    told: Arc<Notify>,
    running: (watch::Sender<bool>, JoinHandle<formgate::send::Stopped>),
}

async fn failing() -> Failing {
    let world = World::new().await;
    let told = Arc::new(Notify::new());
    let held = Arc::clone(&told);
    world.api.on_intake(Reply::success("lead_1"));
    world.api.always(Reply::error(500, "Oops").when(&held));
    let first = world.queue("acme", 200).await;
    let running = run(&world);
    while world.state(first).await.0 != State::Delivered {
        tokio::task::yield_now().await;
    }
    queue(&world, 0..16).await;
    assert_eq!(requests(&world, 9, SOON).await, 9);
    Failing { world, told, running }
}

#[tokio::test]
async fn what_was_claimed_for_new_slots_goes_when_a_reload_leaves_none() {
    let world = World::new().await;
    let told = Arc::new(Notify::new());
    let held = Arc::clone(&told);
    world.api.rule(move |_| Some(Reply::success("lead").when(&held)));
    queue(&world, 0..16).await;
    let running = run(&world);
    assert_eq!(requests(&world, 8, SOON).await, 8);
    world.change(|config| config.upstream.max_in_flight = in_flight(1));
    world.sender.reloaded().await;
    world.api.rule(|_| None);
    told.notify_waiters();
    assert_eq!(requests(&world, 16, SOON).await, 16, "all that is due is sent");
    drop(running);
}

#[tokio::test]
async fn the_probe_of_the_upstream_goes_after_a_reload_to_one_in_flight() {
    let Failing { world, told, running } = failing().await;
    world.change(|config| config.upstream.max_in_flight = in_flight(1));
    world.sender.reloaded().await;
    told.notify_waiters();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 1"#);
    world.api.rule(|_| None);
    let sent = world.api.requests().len();
    let new = world.queue("acme", 100).await;
    for _ in 0..10 {
        world.pass(3600);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        world.api.requests().len() > sent,
        "10 hours later KaiCalls has been well all the time, and nothing was ever tried: {sent} requests, lead {:?}",
        world.state(new).await
    );
    drop(running);
}

#[tokio::test]
async fn nothing_but_a_probe_goes_through_the_upstreams_open_circuit() {
    let Failing { world, told, running } = failing().await;
    world.api.rule(|_| Some(Reply::error(500, "Oops")));
    told.notify_waiters();
    let sent = requests(&world, 17, Duration::from_secs(3)).await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 1"#);
    // Two failures of one site may come first, and make room for as many.
    assert!(sent <= 11, "{sent} posts: what was claimed ahead goes through the open circuit");
    drop(running);
}

#[tokio::test]
async fn a_lease_outlasts_the_wait_for_a_slot_and_the_post() {
    let world = World::with(|config| config.upstream.timeout = Duration::from_secs(120)).await;
    let round = Arc::new(Notify::new());
    let held = Arc::clone(&round);
    world.api.rule(move |_| Some(Reply::success("lead").when(&held)));
    queue(&world, 0..16).await;
    let running = run(&world);
    for sent in [8, 12] {
        assert!(requests(&world, sent, SOON).await >= sent);
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.pass(119);
        round.notify_waiters();
    }
    assert_eq!(requests(&world, 16, SOON).await, 16);
    // With places but no slots for them, the last four have been under way for 70 s of their 120.
    world.pass(70);
    let sent = requests(&world, 20, SOON).await;
    assert_eq!(sent, 16, "none is posted again while its first post is under way");
    drop(running);
}

#[tokio::test]
async fn a_reload_that_allows_more_in_flight_is_noticed_at_once() {
    let world = World::with(|config| config.upstream.max_in_flight = in_flight(1)).await;
    world.api.rule(|_| Some(Reply::silence()));
    queue(&world, 0..8).await;
    let running = run(&world);
    assert_eq!(requests(&world, 1, SOON).await, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.change(|config| config.upstream.max_in_flight = in_flight(8));
    world.sender.reloaded().await;
    assert_eq!(requests(&world, 8, SOON).await, 8);
    drop(running);
}

#[tokio::test]
async fn a_slow_site_keeps_another_waiting_for_one_post_and_not_for_two() {
    for max in [1, 2, 4] {
        let world = World::with(|config| config.upstream.max_in_flight = in_flight(max)).await;
        let told = Arc::new(Notify::new());
        let held = Arc::clone(&told);
        world.api.rule(move |_| Some(Reply::success("lead").when(&held)));
        for number in 0..20 {
            world.queue("acme", number).await;
        }
        let running = run(&world);
        let slots = max as usize;
        assert_eq!(requests(&world, slots, SOON).await, slots);
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.queue("beta", 100).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        told.notify_waiters();
        requests(&world, 2 * slots, SOON).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let of_beta = world.api.requests().iter().any(|request| is_of(request, "beta"));
        assert!(of_beta, "max_in_flight {max}: all slots were freed once, and beta's lead got none");
        drop(running);
    }
}

#[tokio::test]
async fn new_entries_are_claimed_oldest_first_by_both_stores() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::UNIX_EPOCH };
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("s.db"), options).expect("opened"));
    let mut first = Vec::new();
    for store in [Arc::new(MemoryStore::new(Duration::ZERO)) as Arc<dyn Store>, sqlite] {
        let world = World { store: Arc::clone(&store), ..World::new().await };
        for number in 0..200 {
            world.pass_ms(10);
            world.queue("acme", number).await;
        }
        let since = Timestamp::from_millisecond(crate::world::START).expect("a time");
        let claim = Claim { accepted_since: Some(since), ..Claim::new(2, Duration::from_secs(60), world.now()) };
        let leases = store.claim(&claim).await.expect("claimed");
        first.push(leases.iter().map(|lease| lease.head.id.to_string()).collect::<Vec<_>>());
        assert_eq!(leases.iter().filter(|lease| lease.head.state == State::Queued).count(), 2);
    }
    assert_eq!(first[0], first[1], "the store in memory is the model: of 200 new entries the oldest two");
}

#[tokio::test]
async fn an_erased_lead_is_not_posted_afterwards() {
    let world = World::with(|config| config.upstream.max_in_flight = in_flight(1)).await;
    let told = Arc::new(Notify::new());
    let held = Arc::clone(&told);
    world.api.rule(move |_| Some(Reply::success("lead").when(&held)));
    let ids = queue(&world, 0..2).await;
    let running = run(&world);
    assert_eq!(requests(&world, 1, SOON).await, 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let posted = world.sent();
    let mut waiting = None;
    for (number, id) in ids.iter().enumerate() {
        if posted != [format!("jane{number}")] {
            waiting = Some(*id);
        }
    }
    assert_eq!(world.store.erase(&[waiting.expect("one waits")]).await.expect("erased"), 1);
    told.notify_waiters();
    let sent = requests(&world, 2, Duration::from_secs(2)).await;
    assert_eq!(sent, 1, "what was erased before its post began is posted all the same");
    drop(running);
}

#[tokio::test]
async fn no_slot_stands_idle_while_a_lead_that_may_have_it_waits() {
    let world = World::new().await;
    let told = Arc::new(Notify::new());
    let held = Arc::clone(&told);
    world.api.rule(move |_| Some(Reply::success("lead").when(&held)));
    queue(&world, 0..16).await;
    let running = run(&world);
    assert_eq!(requests(&world, 8, SOON).await, 8);
    tokio::time::sleep(Duration::from_millis(200)).await;
    told.notify_waiters();
    let sent = requests(&world, 16, Duration::from_secs(3)).await;
    assert_eq!(sent, 16, "eight slots, eight leads that are due");
    drop(running);
}

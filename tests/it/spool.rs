//! Leads are taken while the shared store is away, and get into it once, in their order, when it is back.

mod left;

mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use formgate::lead::EntryId;
use formgate::queue::spool::{ANSWER_TIME, SpoolStatus, SpoolingStore};
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{
    Appended, Claim, DedupeKey, EVENTS_MAX, Filter, Happened, Holds as _, NewEntry, Order, Outbox, State, Store,
    StoreError,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::store_contract::{at, entry, head_of, held, id};
use remote::{Mood, Remote};

const WINDOW: Duration = Duration::from_secs(600);
const KEY: DedupeKey = DedupeKey([7; 32]);

/// A spooling store, and what it consists of.
struct Spooling {
    store: SpoolingStore,
    remote: Arc<Remote>,
    folder: TempDir,
}

fn spool_in(folder: &Path, max_size: Option<u64>) -> Arc<SqliteStore> {
    let options = Options { dedupe_window: WINDOW, max_size, opened_at: at(0) };
    Arc::new(SqliteStore::open(&folder.join("spool.db"), options).expect("the spool opens"))
}

impl Spooling {
    fn open() -> Self {
        Self::open_in(tempfile::tempdir().expect("a folder"), Remote::default(), None)
    }

    fn open_in(folder: TempDir, remote: Remote, max_size: Option<u64>) -> Self {
        let remote = Arc::new(remote);
        let store = SpoolingStore::new(Arc::<Remote>::clone(&remote), spool_in(folder.path(), max_size), at(0));
        Self { store, remote, folder }
    }

    /// One whose carrier has found the store to be there.
    async fn direct() -> (Self, Carrier) {
        let spooling = Self::open();
        let carrier = Carrier::start(&spooling.store);
        spooling.until_direct().await;
        (spooling, carrier)
    }

    /// Waits until the store answers and nothing is spooled.
    async fn until_direct(&self) {
        for _ in 0..10_000 {
            // Asked first, since the paused clock stands still while the spool's thread is at work for that.
            if self.status().await.is_none() && self.store.is_direct() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never got back");
    }

    async fn status(&self) -> Option<SpoolStatus> {
        self.store.status().await.expect("the spool can be read")
    }

    async fn append(&self, entry: NewEntry) {
        let id = entry.id;
        assert_eq!(self.store.append(entry, None).await.expect("appended"), Appended::New(id));
    }

    /// Returns what is in the store, in the order in which it came.
    async fn arrived(&self) -> Vec<EntryId> {
        let claim = Claim::new(200, Duration::from_secs(1), at(10_000));
        let leases = self.remote.inner.claim(&claim).await.expect("claimed");
        leases.into_iter().map(|lease| lease.head.id).collect()
    }
}

/// What carries, as the gateway runs it.
struct Carrier {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Carrier {
    fn start(store: &SpoolingStore) -> Self {
        let (stop, stopping) = watch::channel(false);
        let store = store.clone();
        Self { stop, task: tokio::spawn(async move { store.run(stopping).await }) }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.expect("it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_answers_nothing_is_spooled() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.append(entry(1, "acme")).await;
    assert_eq!(spooling.remote.inner.get(id(1)).await.expect("read").map(|entry| entry.head.id), Some(id(1)));
    assert_eq!(spooling.status().await, None);
    assert!(spooling.store.problems().await.expect("read").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_append_waits_two_seconds_for_a_silent_store_and_the_next_one_does_not() {
    let (spooling, carrier) = Spooling::direct().await;
    // Its waits would make the paused clock jump whenever the spool's thread is at work.
    carrier.stop().await;
    spooling.remote.be(Mood::Silent);
    let begun = Instant::now();
    spooling.append(entry(1, "acme")).await;
    assert_eq!(begun.elapsed(), ANSWER_TIME);
    let asked = spooling.remote.appends();
    for number in 2..9 {
        spooling.append(entry(number, "acme")).await;
    }
    assert_eq!(spooling.remote.appends(), asked, "nobody waits for it again");
    assert_eq!(begun.elapsed(), ANSWER_TIME);
    let status = spooling.status().await.expect("it is away");
    assert_eq!((status.entries, status.oldest, status.refused), (8, Some(at(1)), 0));
    assert!(status.away_since.is_some() && status.bytes > 0);
    assert_eq!(status.error.as_deref(), Some("the store is unavailable: it didn't answer within 2 s"));
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_says_the_lead_is_taken() {
    for mood in [Mood::Away, Mood::Full, Mood::DiskFull, Mood::Corrupt, Mood::Newer] {
        let (spooling, carrier) = Spooling::direct().await;
        carrier.stop().await;
        spooling.remote.be(mood);
        let begun = Instant::now();
        spooling.append(entry(1, "acme")).await;
        assert!(begun.elapsed().is_zero(), "{mood:?}");
        assert!(spooling.store.ready().await.is_ok(), "{mood:?}");
        let problems = spooling.store.problems().await.expect("read");
        assert!(matches!(&problems[..], [StoreError::Away(status)] if status.entries == 1), "{mood:?}: {problems:?}");
        spooling.remote.be(Mood::Sound);
        let _carrier = Carrier::start(&spooling.store);
        spooling.until_direct().await;
        assert_eq!(spooling.arrived().await, [id(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_spooled_gets_into_the_store_in_its_order() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Away);
    for number in [3, 1, 2] {
        spooling.append(entry(number, "acme")).await;
    }
    spooling.append(held(4, "acme")).await;
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, [1, 2, 3].map(id));
    assert_eq!(head_of(&spooling.remote.inner, id(4)).await.state, State::Held);
    assert_eq!(spooling.status().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_every_second_whether_it_is_back() {
    let (spooling, carrier) = Spooling::direct().await;
    carrier.stop().await;
    spooling.remote.be(Mood::Away);
    spooling.append(entry(1, "acme")).await;
    let _carrier = Carrier::start(&spooling.store);
    let asked = spooling.remote.probes();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = spooling.remote.probes() - asked;
    assert!((598..=606).contains(&asked), "{asked}");
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, [id(1)]);
}

#[tokio::test(start_paused = true)]
async fn an_append_whose_answer_was_lost_is_in_the_store_once() {
    for mood in [Mood::CommitsAndFails, Mood::CommitsAndIsSilent] {
        let (spooling, _carrier) = Spooling::direct().await;
        spooling.remote.be(mood);
        let appended = spooling.store.append(entry(1, "acme"), Some(KEY)).await.expect("appended");
        assert_eq!(appended, Appended::New(id(1)));
        spooling.remote.be(Mood::Sound);
        spooling.until_direct().await;
        assert_eq!(spooling.arrived().await, [id(1)], "{mood:?}");
        assert_eq!(head_of(&spooling.remote.inner, id(1)).await.seen, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_was_lost_is_in_the_store_once() {
    for mood in [Mood::CommitsAndFails, Mood::CommitsAndIsSilent] {
        let (spooling, _carrier) = Spooling::direct().await;
        spooling.remote.be(Mood::Away);
        for number in 1..=3 {
            spooling.append(entry(number, "acme")).await;
        }
        spooling.remote.be(mood);
        while spooling.remote.carried() == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(spooling.status().await.map(|status| status.entries), Some(3), "nothing is erased yet");
        spooling.remote.be(Mood::Sound);
        spooling.until_direct().await;
        assert_eq!(spooling.arrived().await, [1, 2, 3].map(id), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_has_seen_before_is_a_duplicate_there() {
    let (spooling, _carrier) = Spooling::direct().await;
    let first = spooling.store.append(entry(1, "acme"), Some(KEY)).await.expect("appended");
    assert_eq!(first, Appended::New(id(1)));
    spooling.remote.be(Mood::Away);
    // The spool can't know the first of them.
    for (number, expected) in [(2, Appended::New(id(2))), (3, Appended::Duplicate(id(2)))] {
        assert_eq!(spooling.store.append(entry(number, "acme"), Some(KEY)).await.expect("appended"), expected);
    }
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, [id(1)]);
    assert_eq!(head_of(&spooling.remote.inner, id(1)).await.seen, 2);
    // And what was spooled is known there from now on.
    let again = spooling.store.append(entry(4, "acme"), Some(KEY)).await.expect("appended");
    assert_eq!(again, Appended::Duplicate(id(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_while_entries_are_carried_goes_behind_them() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Away);
    spooling.append(entry(1, "acme")).await;
    spooling.remote.be(Mood::Slow);
    while spooling.remote.carrying() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = spooling.remote.appends();
    spooling.append(entry(2, "acme")).await;
    assert_eq!(spooling.remote.appends(), asked, "it went behind the first");
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, [1, 2].map(id));
}

#[tokio::test(start_paused = true)]
async fn of_what_many_append_while_the_store_comes_and_goes_nothing_is_lost_or_doubled() {
    let (spooling, carrier) = Spooling::direct().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u8 {
        let store = spooling.store.clone();
        tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(u64::from(number) * 25)).await;
            store.append(entry(number, "acme"), None).await.expect("appended")
        });
    }
    for mood in [Mood::Silent, Mood::Sound, Mood::CommitsAndFails, Mood::Sound, Mood::Away, Mood::CommitsAndIsSilent] {
        tokio::time::sleep(Duration::from_millis(700)).await;
        spooling.remote.be(mood);
    }
    let appended = tasks.join_all().await;
    assert!(appended.iter().all(|appended| matches!(appended, Appended::New(_))));
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    carrier.stop().await;
    let mut arrived = spooling.arrived().await;
    arrived.sort_unstable();
    assert_eq!(arrived, (0..200).map(id).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_the_spool_at_the_start_is_carried_first() {
    let (spooling, carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Away);
    spooling.append(entry(1, "acme")).await;
    carrier.stop().await;
    let Spooling { store, folder, .. } = spooling;
    drop(store);
    let after = Spooling::open_in(folder, Remote::default(), None);
    after.append(entry(2, "acme")).await;
    assert_eq!(after.status().await.map(|status| (status.entries, status.away_since)), Some((2, None)));
    let _carrier = Carrier::start(&after.store);
    after.until_direct().await;
    assert_eq!(after.arrived().await, [1, 2].map(id));
}

#[tokio::test(start_paused = true)]
async fn with_the_store_away_at_the_start_leads_are_taken_at_once() {
    let remote = Remote::default();
    remote.be(Mood::Silent);
    let spooling = Spooling::open_in(tempfile::tempdir().expect("a folder"), remote, None);
    let begun = Instant::now();
    spooling.append(entry(1, "acme")).await;
    assert!(begun.elapsed().is_zero());
    let _carrier = Carrier::start(&spooling.store);
    while spooling.status().await.is_none_or(|status| status.away_since.is_none()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    spooling.append(entry(2, "acme")).await;
    assert_eq!(spooling.remote.appends(), 0);
    assert!(spooling.store.ready().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_is_full_refuses_and_says_so() {
    let remote = Remote::default();
    remote.be(Mood::Away);
    let spooling = Spooling::open_in(tempfile::tempdir().expect("a folder"), remote, Some(1));
    let _carrier = Carrier::start(&spooling.store);
    while spooling.status().await.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(spooling.store.append(entry(1, "acme"), None).await, Err(StoreError::Full)));
    assert!(matches!(spooling.store.ready().await, Err(StoreError::Full)));
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert!(spooling.store.ready().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lead_that_the_store_refuses_keeps_none_of_the_others_from_it() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.refuse(Some(id(2)));
    spooling.remote.be(Mood::Away);
    for number in 1..=3 {
        spooling.append(entry(number, "acme")).await;
    }
    spooling.remote.be(Mood::Sound);
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if spooling.status().await.is_some_and(|status| status.refused == 1 && status.away_since.is_none()) {
            break;
        }
    }
    let status = spooling.status().await.expect("one is left");
    assert_eq!((status.entries, status.refused, status.oldest), (1, 1, Some(at(2))));
    assert_eq!(status.error.as_deref(), Some("the store is unavailable: this one not"));
    assert_eq!(spooling.arrived().await, [1, 3].map(id));
    let asked = spooling.remote.appends();
    spooling.append(entry(4, "acme")).await;
    assert_eq!(spooling.remote.appends(), asked + 1, "appends go to the store");
    assert_eq!(spooling.store.get(id(2)).await.expect("read").map(|entry| entry.head.id), Some(id(2)));
    // It is tried again and again.
    spooling.remote.refuse(None);
    spooling.until_direct().await;
    assert_eq!(spooling.remote.inner.get(id(2)).await.expect("read").map(|entry| entry.head.id), Some(id(2)));
}

#[tokio::test(start_paused = true)]
async fn what_is_spooled_can_be_read_and_erased() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.append(entry(1, "acme")).await;
    spooling.remote.be(Mood::Away);
    spooling.append(entry(2, "acme")).await;
    let found = spooling.store.get(id(2)).await.expect("read").expect("it is there");
    assert_eq!(found.head.id, id(2));
    assert!(spooling.store.get(id(3)).await.is_err(), "the store alone knows, and is away");
    assert!(spooling.store.erase(&[id(1), id(2)]).await.is_err(), "the first is there");
    assert_eq!(spooling.status().await.map(|status| status.entries), Some(0));
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, [id(1)]);
    assert_eq!(spooling.store.erase(&[id(1), id(2)]).await.expect("erased"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_erased_while_it_is_carried_does_not_come_back() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Away);
    spooling.append(entry(1, "acme")).await;
    spooling.remote.be(Mood::Slow);
    while spooling.remote.carrying() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(spooling.store.erase(&[id(1)]).await.expect("erased"), 1);
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    assert_eq!(spooling.arrived().await, []);
}

#[tokio::test(start_paused = true)]
async fn an_arrival_is_an_event_when_it_is_in_the_store() {
    let (spooling, _carrier) = Spooling::direct().await;
    let ops = formgate::queue::Key::parse("ops").expect("a key");
    assert!(spooling.store.register(&ops).await.expect("registered").is_some());
    spooling.remote.be(Mood::Away);
    spooling.append(held(1, "acme")).await;
    spooling.remote.be(Mood::Sound);
    spooling.until_direct().await;
    let events = spooling.store.events(0, EVENTS_MAX).await.expect("read").events;
    let held = events.iter().filter(|event| {
        matches!(&event.happened, Happened::Moved(moved) if moved.entry == id(1) && moved.to == Some(State::Held))
    });
    assert_eq!(held.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_is_known_to_be_silent() {
    let (spooling, carrier) = Spooling::direct().await;
    carrier.stop().await;
    spooling.remote.be(Mood::Silent);
    spooling.append(entry(1, "acme")).await;
    let begun = Instant::now();
    let store = &spooling.store;
    assert!(store.claim(&Claim::new(1, Duration::from_secs(1), at(1))).await.is_err());
    assert!(store.scan(&Filter::default(), Order::Oldest, None, 1).await.is_err());
    assert!(store.counts().await.is_err());
    let name = formgate::queue::Key::parse("acme").expect("a key");
    assert!(store.hold(&name, &name, Duration::from_secs(1), at(1)).await.is_err());
    assert!(store.ready().await.is_ok());
    assert_eq!(store.problems().await.expect("read").len(), 1);
    assert!(begun.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn leads_are_sent_again_as_soon_as_the_store_answers_though_the_spool_is_not_empty() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Silent);
    for number in 1..=3 {
        spooling.append(entry(number, "acme")).await;
    }
    spooling.remote.be(Mood::Slow);
    while spooling.remote.carrying() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(spooling.status().await.is_some_and(|status| status.entries > 0), "it was carried too fast to be seen");
    let claim = Claim::new(1, Duration::from_secs(1), at(1));
    assert!(spooling.store.claim(&claim).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_takes_nothing_keeps_no_lead_from_a_store_that_answers() {
    let remote = Remote::default();
    remote.be(Mood::Away);
    let spooling = Spooling::open_in(tempfile::tempdir().expect("a folder"), remote, Some(1));
    assert!(matches!(spooling.store.append(entry(1, "acme"), None).await, Err(StoreError::Full)));
    spooling.remote.be(Mood::Sound);
    // Nobody has found out yet that it is back.
    spooling.append(entry(1, "acme")).await;
    assert_eq!(spooling.arrived().await, [id(1)]);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_says_is_told_while_it_answers() {
    let (spooling, _carrier) = Spooling::direct().await;
    spooling.remote.be(Mood::Full);
    spooling.append(entry(1, "acme")).await;
    // A full store still gives leads to be sent.
    assert!(spooling.store.claim(&Claim::new(1, Duration::from_secs(1), at(1))).await.is_ok());
}

#[tokio::test]
async fn a_damaged_spool_is_set_aside_and_salvaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let remote = Remote::default();
    remote.be(Mood::Away);
    let spooling = Spooling::open_in(folder, remote, None);
    spooling.append(entry(1, "acme")).await;
    let Spooling { store, folder, .. } = spooling;
    drop(store);
    let file = folder.path().join("spool.db");
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[..100].fill(0x5a);
    std::fs::write(&file, bytes).expect("written");
    let after = Spooling::open_in(folder, Remote::default(), None);
    let problems = after.store.problems().await.expect("read");
    assert!(matches!(problems[..], [StoreError::SetAside { .. }]), "{problems:?}");
    let _carrier = Carrier::start(&after.store);
    after.until_direct().await;
    assert_eq!(after.store.salvage().await.expect("salvaged").recovered, 1);
    after.until_direct().await;
    assert_eq!(after.arrived().await, [id(1)]);
}

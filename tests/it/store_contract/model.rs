//! Both stores do the same, whatever happens to them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use formgate::event::EventType;
use formgate::lead::EntryId;
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{
    Appended, AttemptResult, Change, Claim, DedupeKey, Emission, Filter, Lease, Merge, NewEntry, NoteChange, NoteKind,
    NumbersMerge, Order, Outbox, Reason, Set, Settlement, State, Store, TextMerge,
};
use jiff::Timestamp;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, FileFailurePersistence};
use tempfile::TempDir;

use super::durability::{as_killed, folder};
use super::{
    KEEP, MemoryStore, WINDOW, again, at, attempt, delivered, erase, held, id, key, open, open_postgres, postponed,
    reading, site,
};

#[derive(Clone, Debug)]
enum Action {
    Append {
        number: u8,
        site: u8,
        held: bool,
        key: Option<u8>,
    },
    Claim {
        max: usize,
        lease: u8,
        /// Only what was accepted so many seconds before, or later.
        new: Option<u8>,
    },
    Hasten {
        site: u8,
        max: usize,
    },
    Settle {
        lease: usize,
        how: u8,
    },
    Amend {
        number: u8,
        stale: bool,
        how: u8,
    },
    Erase {
        number: u8,
    },
    Expire {
        days: u8,
    },
    Register {
        reader: u8,
        goes: bool,
    },
    Trim {
        reader: u8,
        upto: u8,
    },
    Emit {
        topic: bool,
        key: u8,
    },
    Note {
        key: u8,
        how: u8,
    },
    Hold {
        name: u8,
        holder: u8,
        release: bool,
    },
    /// Time goes on, or is set back from the latest for a while.
    Wait {
        seconds: i16,
    },
    /// The program is killed and started again.
    Kill,
    /// The power fails while something is being written, so that the end of the log is missing.
    Tear {
        during: Box<Action>,
        missing: u16,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => write(),
        4 => (-200_i16..400).prop_map(|seconds| Action::Wait { seconds }),
        2 => Just(Action::Kill),
        2 => (write(), any::<u16>()).prop_map(|(during, missing)| Action::Tear { during: Box::new(during), missing }),
    ]
}

/// What happens to a store that no process keeps to itself.
fn write_or_wait() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => write(),
        1 => (-200_i16..400).prop_map(|seconds| Action::Wait { seconds }),
    ]
}

fn write() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0_u8..40, 0_u8..3, any::<bool>(), prop::option::of(0_u8..3))
            .prop_map(|(number, site, held, key)| Action::Append { number, site, held, key }),
        5 => (0_usize..6, 1_u8..90, prop::option::of(0_u8..250))
            .prop_map(|(max, lease, new)| Action::Claim { max, lease, new }),
        1 => (0_u8..3, 0_usize..4).prop_map(|(site, max)| Action::Hasten { site, max }),
        6 => (any::<usize>(), 0_u8..7).prop_map(|(lease, how)| Action::Settle { lease, how }),
        3 => (0_u8..40, any::<bool>(), 0_u8..5).prop_map(|(number, stale, how)| Action::Amend { number, stale, how }),
        1 => (0_u8..40).prop_map(|number| Action::Erase { number }),
        1 => (0_u8..3).prop_map(|days| Action::Expire { days }),
        2 => (0_u8..2, prop::bool::weighted(0.2)).prop_map(|(reader, goes)| Action::Register { reader, goes }),
        1 => (0_u8..2, any::<u8>()).prop_map(|(reader, upto)| Action::Trim { reader, upto: upto % 40 }),
        1 => (any::<bool>(), 0_u8..3).prop_map(|(topic, key)| Action::Emit { topic, key }),
        1 => (0_u8..3, 0_u8..4).prop_map(|(key, how)| Action::Note { key, how }),
        1 => (0_u8..2, 0_u8..3, any::<bool>()).prop_map(|(name, holder, release)| Action::Hold { name, holder, release }),
    ]
}

/// Does one action; what it tells is compared.
async fn act(store: &dyn Store, action: &Action, now: Timestamp, leases: &mut Vec<Lease>) -> String {
    match action {
        Action::Append { number, site, held: is_held, key } => {
            let name = ["a", "b", "c"].get(usize::from(*site)).expect("three sites");
            let new = if *is_held { held(*number, name) } else { super::entry(*number, name) };
            let key = key.map(|key| DedupeKey([key; 32]));
            let appended: Option<Appended> = store.append(NewEntry { accepted_at: now, ..new }, key).await.ok();
            format!("{appended:?}")
        }
        Action::Claim { max, lease, new } => {
            let lease = Duration::from_secs(u64::from(*lease));
            let since = new.map(|seconds| now - jiff::SignedDuration::from_secs(i64::from(seconds)));
            let claim = Claim { accepted_since: since, ..Claim::new(*max, lease, now) };
            let claimed = store.claim(&claim).await.expect("claimed");
            // Tokens need only differ; each store counts its own.
            let told = format!("{:?}", claimed.iter().map(|lease| &lease.head).collect::<Vec<_>>());
            leases.extend(claimed);
            told
        }
        Action::Hasten { site, max } => {
            let name = ["a", "b", "c"].get(usize::from(*site)).expect("three sites");
            format!("{}", store.make_due(&super::site(name), *max, now).await.expect("made_due"))
        }
        Action::Settle { lease, how } => {
            let Some(lease) = leases.get(lease % leases.len().max(1)) else { return String::new() };
            let set: Set = store.settle(lease, settlement(*how), now).await.expect("settled");
            format!("{set:?}")
        }
        Action::Amend { number, stale, how } => {
            let revision = store.get(id(*number)).await.expect("read").map_or(0, |entry| entry.head.revision);
            let set = store.amend(id(*number), revision - u64::from(*stale && revision > 0), change(*how), now).await;
            format!("{:?}", set.expect("amended"))
        }
        Action::Erase { number } => format!("{}", erase(store, &[id(*number)]).await),
        Action::Expire { days } => {
            let then = now + KEEP * u32::from(*days);
            format!("{}", store.expire(then, 3).await.expect("expired"))
        }
        beside => act_beside(store, beside, now).await,
    }
}

/// The same for what has nothing to do with entries.
async fn act_beside(store: &dyn Store, action: &Action, now: Timestamp) -> String {
    let name = |number: &u8| key(&format!("name {number}"));
    match action {
        Action::Register { reader, goes: false } => {
            format!("{:?}", store.register(&name(reader)).await.expect("asked"))
        }
        Action::Register { reader, goes: true } => {
            format!("{}", store.unregister(&name(reader)).await.expect("removed"))
        }
        Action::Trim { reader, upto } => {
            format!("{}", store.trim(&name(reader), u64::from(*upto)).await.expect("trimmed"))
        }
        Action::Emit { topic, key } => {
            let topic = if *topic { EventType::LeadOverdue } else { EventType::SitePaused };
            let emission = Emission { site: Some(site("apart")), ..Emission::new(topic) };
            format!("{}", store.emit(&emission, &name(key), now).await.expect("emitted"))
        }
        Action::Note { key, how } => {
            let text = TextMerge::First(format!("{how}"));
            let merge = match how {
                0 => Merge { text, ..Merge::default() },
                1 => Merge { text: TextMerge::Latest(format!("{now}")), ..Merge::default() },
                2 => Merge { numbers: NumbersMerge::Add(vec![1, 2]), ..Merge::default() },
                _ => Merge { numbers: NumbersMerge::Max(vec![0, 5, 1]), text },
            };
            let change = NoteChange::new(NoteKind::Gateway, name(key).as_str(), merge).expect("within its bounds");
            format!("{:?}", store.note(&change, now).await.expect("noted"))
        }
        Action::Hold { name: held, holder, release: false } => {
            let ttl = Duration::from_secs(100);
            format!("{}", store.hold(&name(held), &name(holder), ttl, now).await.expect("asked"))
        }
        Action::Hold { name: held, holder, .. } => {
            format!("{}", store.release(&name(held), &name(holder)).await.expect("released"))
        }
        // Time and faults are for whoever has both stores.
        _ => String::new(),
    }
}

fn settlement(how: u8) -> Settlement {
    let told = attempt(AttemptResult::KeyRefused);
    match how {
        0 => delivered("lead"),
        1 => again(30),
        2 => postponed(10),
        3 => Settlement::Postponed { after: Duration::ZERO, attempt: Some(told) },
        4 => Settlement::Held { reason: Reason::SiteGone, attempt: None, keep: KEEP },
        5 => Settlement::SiteGone { after: Duration::from_secs(10) },
        _ => Settlement::Dead { reason: Reason::GaveUp, attempt: None, keep: KEEP },
    }
}

fn change(how: u8) -> Change {
    match how {
        0 => Change::Retry { reading: Box::new(reading("mended, and longer than it was before")) },
        1 => Change::Hold { reason: Reason::Invalid, reading: Box::new(reading("no")) },
        2 => Change::Assign { site: site("gamma") },
        3 => Change::SiteBack,
        _ => Change::Drop { keep: KEEP },
    }
}

/// Whether the time at which the oldest entry was accepted is compared. PostgreSQL takes that of the lowest id, which is the same
/// wherever ids are made as they are accepted, as they aren't here.
#[derive(Clone, Copy, PartialEq)]
enum Oldest {
    Told,
    Untold,
}

/// All that a store holds, as seen from outside.
async fn all(store: &dyn Store, oldest: Oldest) -> String {
    let mut pages = String::new();
    let mut cursor: Option<EntryId> = None;
    loop {
        let page = store.scan(&Filter::default(), Order::Oldest, cursor, 7).await.expect("scanned");
        pages += &format!("{:#?}\n", page.heads);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let queued = Filter { state: Some(State::Queued), ..Filter::default() };
    let queued = store.scan(&queued, Order::Oldest, None, 100).await.expect("scanned").heads.len();
    let mut counts = store.counts().await.expect("counted");
    let sites: Vec<_> = counts.iter().map(|count| count.site.clone()).collect();
    let first = store.scan_sites(&sites, &Filter::default(), 2).await.expect("scanned");
    pages += &format!("{first:#?}\n");
    if oldest == Oldest::Untold {
        counts.iter_mut().for_each(|count| count.oldest = None);
    }
    let events = store.events(0, 1_000).await.expect("read");
    let readers = store.readers().await.expect("listed");
    let notes = store.notes(NoteKind::Gateway, "", None, 1_000).await.expect("listed");
    format!("{pages}{queued} queued {counts:?}\n{events:#?}\n{readers:?}\n{notes:#?}")
}

/// Shows the first lines that differ, since all that two stores hold is pages long.
fn assert_same(found: &str, expected: &str) {
    let first = found.lines().zip(expected.lines()).position(|(one, other)| one != other);
    let shown = |text: &str| {
        let begin = first.unwrap_or_else(|| found.lines().count().min(expected.lines().count())).saturating_sub(40);
        text.lines().skip(begin).take(60).map(str::to_owned).collect::<Vec<_>>()
    };
    if found != expected {
        assert_eq!(shown(found), shown(expected));
    }
}

/// The store on disk and the model, to which the same is done.
struct Pair {
    folder: TempDir,
    sqlite: SqliteStore,
    model: MemoryStore,
    leases: Vec<Lease>,
    model_leases: Vec<Lease>,
}

impl Pair {
    fn new() -> Self {
        let folder = folder();
        let sqlite = open(folder.path());
        Self { folder, sqlite, model: MemoryStore::new(WINDOW), leases: Vec::new(), model_leases: Vec::new() }
    }

    async fn act(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Kill => self.start_again(as_killed(self.folder.path())),
            Action::Tear { during, missing } => self.tear(during, *missing, now).await,
            action => {
                let did = act(&self.sqlite, action, now, &mut self.leases).await;
                assert_eq!(did, act(&self.model, action, now, &mut self.model_leases).await, "{action:?}");
                assert_eq!(self.sqlite.events(0, 9).await.expect("read"), self.model.events(0, 9).await.expect("read"));
            }
        }
    }

    /// Goes on with what a kill or a power cut left; the files it left them in are given up as they are.
    fn start_again(&mut self, left: TempDir) {
        self.sqlite = open(left.path());
        self.folder = left;
        self.model.restart();
    }

    /// Does something only to the store on disk, takes the end of it away, and looks whether all of it is gone.
    async fn tear(&mut self, during: &Action, missing: u16, now: Timestamp) {
        let log = |folder: &TempDir| folder.path().join("store.db-wal");
        let before = used_bytes(&log(&self.folder));
        // Nobody was answered, so nobody holds what was leased.
        act(&self.sqlite, during, now, &mut Vec::new()).await;
        let written = used_bytes(&log(&self.folder)).saturating_sub(before);
        let left = as_killed(self.folder.path());
        if written == 0 {
            // Nothing was written, or the log was emptied: then it is done.
            act(&self.model, during, now, &mut Vec::new()).await;
        } else {
            let file = fs::OpenOptions::new().write(true).open(log(&left)).expect("opened");
            file.set_len(before + written - 1 - u64::from(missing) % written).expect("cut");
        }
        self.start_again(left);
    }
}

/// Returns how many bytes of a log belong to it. Behind them are those of the one before, or zeros that keep room.
fn used_bytes(log: &Path) -> u64 {
    const HEADER: usize = 32;
    const PAGE: usize = 24 + 4_096;
    let bytes = fs::read(log).expect("a log");
    // Made anew with each log, and in front of each of its pages.
    let Some(salt) = bytes.get(16..24) else { return 0 };
    let pages = bytes[HEADER..].chunks_exact(PAGE).take_while(|page| page[8..16] == *salt).count();
    (HEADER + pages * PAGE) as u64
}

#[test]
fn the_postgres_store_does_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let failures = FileFailurePersistence::Direct("tests/it/store_contract/model-postgres.proptest-regressions");
    let config = Config { cases: 16, failure_persistence: Some(Box::new(failures)), ..Config::default() };
    proptest::proptest!(config, |(actions in prop::collection::vec(write_or_wait(), 1..60))| {
        runtime.block_on(async {
            let store = open_postgres().await;
            let model = MemoryStore::new(WINDOW);
            let mut leases = Vec::new();
            let mut model_leases = Vec::new();
            let mut latest = at(0);
            let mut now = at(0);
            for action in &actions {
                if let Action::Wait { seconds } = action {
                    now = latest + jiff::SignedDuration::from_secs(i64::from(*seconds));
                    latest = latest.max(now);
                }
                let did = act(&store, action, now, &mut leases).await;
                assert_eq!(did, act(&model, action, now, &mut model_leases).await, "{action:?}");
                assert_eq!(store.events(0, 9).await.expect("read"), model.events(0, 9).await.expect("read"));
            }
            assert_same(&all(&store, Oldest::Untold).await, &all(&model, Oldest::Untold).await);
        });
    });
}

#[test]
fn the_sqlite_store_does_what_the_model_does_whenever_it_is_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // What once failed is tried first, for ever.
    let failures = FileFailurePersistence::Direct("tests/it/store_contract/model.proptest-regressions");
    let config = Config { cases: 64, failure_persistence: Some(Box::new(failures)), ..Config::default() };
    proptest::proptest!(config, |(actions in prop::collection::vec(action(), 1..60))| {
        runtime.block_on(async {
            let (mut pair, mut latest, mut now) = (Pair::new(), at(0), at(0));
            for action in &actions {
                if let Action::Wait { seconds } = action {
                    now = latest + jiff::SignedDuration::from_secs(i64::from(*seconds));
                    latest = latest.max(now);
                }
                pair.act(action, now).await;
            }
            assert_same(&all(&pair.sqlite, Oldest::Told).await, &all(&pair.model, Oldest::Told).await);
        });
    });
}

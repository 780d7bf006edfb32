//! Both stores do the same, whatever happens to them.

use std::time::Duration;

use formgate::lead::EntryId;
use formgate::queue::{
    Appended, AttemptResult, Change, DedupeKey, Filter, Lease, NewEntry, Reason, Set, Settlement, State, Store,
};
use jiff::Timestamp;
use proptest::prelude::{Strategy, any, prop, prop_oneof};
use proptest::test_runner::Config;

use super::{KEEP, MemoryStore, WINDOW, again, at, attempt, content, delivered, held, id, open, postponed};

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
    /// Time goes on, or is set back from the latest for a while.
    Wait {
        seconds: i16,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0_u8..40, 0_u8..3, any::<bool>(), prop::option::of(0_u8..3))
            .prop_map(|(number, site, held, key)| Action::Append { number, site, held, key }),
        5 => (0_usize..6, 1_u8..90, prop::option::of(0_u8..250))
            .prop_map(|(max, lease, new)| Action::Claim { max, lease, new }),
        1 => (0_u8..3, 0_usize..4).prop_map(|(site, max)| Action::Hasten { site, max }),
        6 => (any::<usize>(), 0_u8..6).prop_map(|(lease, how)| Action::Settle { lease, how }),
        3 => (0_u8..40, any::<bool>(), 0_u8..3).prop_map(|(number, stale, how)| Action::Amend { number, stale, how }),
        1 => (0_u8..40).prop_map(|number| Action::Erase { number }),
        1 => (0_u8..3).prop_map(|days| Action::Expire { days }),
        4 => (-200_i16..400).prop_map(|seconds| Action::Wait { seconds }),
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
            let claimed = store.claim(*max, lease, now, since).await.expect("claimed");
            // Tokens need only differ; each store counts its own.
            let told = format!("{:?}", claimed.iter().map(|lease| &lease.entry).collect::<Vec<_>>());
            leases.extend(claimed);
            told
        }
        Action::Hasten { site, max } => {
            let name = ["a", "b", "c"].get(usize::from(*site)).expect("three sites");
            format!("{}", store.hasten(&super::site(name), *max, now).await.expect("hastened"))
        }
        Action::Settle { lease, how } => {
            let Some(lease) = leases.get(lease % leases.len().max(1)) else { return String::new() };
            let set: Set = store.settle(lease, settlement(*how), now).await.expect("settled");
            format!("{set:?}")
        }
        Action::Amend { number, stale, how } => {
            let revision = store.get(id(*number)).await.expect("read").map_or(0, |entry| entry.revision);
            let set = store.amend(id(*number), revision - u64::from(*stale && revision > 0), change(*how), now).await;
            format!("{:?}", set.expect("amended"))
        }
        Action::Erase { number } => format!("{}", store.erase(&[id(*number)]).await.expect("erased")),
        Action::Expire { days } => {
            let then = now + KEEP * u32::from(*days);
            format!("{}", store.expire(then, 3).await.expect("expired"))
        }
        Action::Wait { .. } => String::new(),
    }
}

fn settlement(how: u8) -> Settlement {
    let told = attempt(AttemptResult::KeyRefused);
    match how {
        0 => delivered("lead"),
        1 => again(30),
        2 => postponed(10),
        3 => Settlement::Postponed { after: Duration::ZERO, attempt: Some(told) },
        4 => Settlement::Held { reason: Reason::SiteGone, keep: KEEP },
        _ => Settlement::Dead { reason: Reason::GaveUp, attempt: None, keep: KEEP },
    }
}

fn change(how: u8) -> Change {
    match how {
        0 => Change::Retry { content: Box::new(content("mended, and longer than it was before")) },
        1 => Change::Hold { reason: Reason::Invalid, content: Box::new(content("no")) },
        _ => Change::Drop { keep: KEEP },
    }
}

/// All that a store holds, as seen from outside.
async fn all(store: &dyn Store) -> String {
    let mut pages = String::new();
    let mut cursor: Option<EntryId> = None;
    loop {
        let page = store.scan(&Filter::default(), cursor, 7).await.expect("scanned");
        pages += &format!("{:#?}\n", page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let queued = Filter { state: Some(State::Queued), ..Filter::default() };
    let queued = store.scan(&queued, None, 100).await.expect("scanned").entries.len();
    format!("{pages}{queued} queued {:?}", store.counts().await.expect("counted"))
}

#[test]
fn the_sqlite_store_does_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    proptest::proptest!(config, |(actions in prop::collection::vec(action(), 1..60))| {
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let (sqlite, model) = (open(folder.path()), MemoryStore::new(WINDOW));
            let (mut leases, mut model_leases, mut latest, mut now) = (Vec::new(), Vec::new(), at(0), at(0));
            for action in &actions {
                if let Action::Wait { seconds } = action {
                    now = latest + jiff::SignedDuration::from_secs(i64::from(*seconds));
                    latest = latest.max(now);
                }
                let did = act(&sqlite, action, now, &mut leases).await;
                assert_eq!(did, act(&model, action, now, &mut model_leases).await, "{action:?}");
            }
            assert_eq!(all(&sqlite).await, all(&model).await);
        });
    });
}

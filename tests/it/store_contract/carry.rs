//! What a store promises to entries that leave it, and to those of another that come in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use formgate::event::EventType;
use formgate::lead::EntryId;
use formgate::queue::carry::CarryingStore;
use formgate::queue::{
    Appended, AttemptResult, CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, Carry, Change, DedupeKey,
    EVENTS_MAX, Emission, Happened, Merge, NewEntry, NoteChange, NoteKind, Notes, NumbersMerge, OnceKeys, Outbox, Set,
    State, Store, StoreError, TextMerge,
};

use super::outbox::events;
use super::{
    KEEP, MemoryStore, WINDOW, add, again, at, claim_one, delivered, entry, entry_of, erase, head_of, held, id, key,
    reading,
};

pub(super) type AnyStore = Arc<dyn CarryingStore>;

const KEY: DedupeKey = DedupeKey([7; 32]);

/// Puts an entry of each kind into a store: held and amended, leased, delivered, tried again, with a key and seen twice.
async fn fill(store: &dyn Store) {
    for new in [entry(2, "acme"), entry(3, "acme"), entry(4, "other")] {
        add(store, new).await;
    }
    add(store, held(1, "acme")).await;
    let reading = Box::new(reading("corrected"));
    let amended = store.amend(id(1), 1, Change::Amend { reading }, at(20)).await.expect("amended");
    assert!(matches!(amended, Set::Done(_)));
    assert_eq!(claim_one(store, 30).await.head.id, id(2), "it stays leased");
    // Sites take turns.
    let lease = claim_one(store, 31).await;
    assert_eq!(lease.head.id, id(4));
    assert!(store.settle(&lease, delivered("lead-4"), at(32)).await.expect("settled").is_done());
    let lease = claim_one(store, 33).await;
    assert_eq!(lease.head.id, id(3));
    assert!(store.settle(&lease, again(300), at(34)).await.expect("settled").is_done());
    for (number, expected) in [(5, Appended::New(id(5))), (6, Appended::Duplicate(id(5)))] {
        assert_eq!(store.append(entry(number, "acme"), Some(KEY)).await.expect("appended"), expected);
    }
    add(store, held(7, "acme")).await;
}

async fn all_of(store: &dyn Carry, limit: usize) -> Vec<Carried> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.carry_out(after, limit).await.expect("read");
        assert!(page.entries.len() <= limit && page.unreadable.is_empty());
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new(WINDOW);
    fill(&store).await;
    store
}

fn with_key(number: u8, seconds: i64) -> NewEntry {
    NewEntry { accepted_at: at(seconds), ..entry(number, "acme") }
}

/// Returns an entry with [`KEY`] as it leaves a store.
async fn keyed(new: NewEntry) -> Vec<Carried> {
    let store = MemoryStore::new(WINDOW);
    assert!(matches!(store.append(new, Some(KEY)).await, Ok(Appended::New(_))));
    all_of(&store, 1).await
}

pub(super) async fn entries_leave_whole_and_in_order(store: AnyStore) {
    fill(&*store).await;
    for limit in [1, 2, 3, CARRY_MAX] {
        let all = all_of(&*store, limit).await;
        assert_eq!(all.iter().map(Carried::id).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 7].map(id), "{limit}");
        for carried in all.into_iter().filter(|carried| carried.id() != id(2)) {
            let left = entry_of(&*store, carried.id()).await;
            assert_eq!(carried.into_entry(), left);
        }
    }
}

pub(super) async fn a_page_ends_after_so_many_bytes(store: AnyStore) {
    let body = "x".repeat(3 * 1_024 * 1_024);
    for number in 1..=3 {
        let mut new = entry(number, "acme");
        new.received.body = bytes::Bytes::from(body.clone());
        add(&*store, new).await;
    }
    let page = store.carry_out(None, CARRY_MAX).await.expect("read");
    assert_eq!((page.entries.len(), page.next), (2, Some(id(2))));
    let page = store.carry_out(page.next, CARRY_MAX).await.expect("read");
    assert_eq!((page.entries.len(), page.next), (1, None));
}

pub(super) async fn what_is_leased_leaves_as_abandoned_and_stays_leased(store: AnyStore) {
    fill(&*store).await;
    let before = head_of(&*store, id(2)).await;
    let leased = all_of(&*store, CARRY_MAX).await.into_iter().find(|carried| carried.id() == id(2)).expect("there");
    let head = leased.into_entry().head;
    assert_eq!((head.state, head.attempts, head.due_at), (State::Queued, 1, Some(at(30))));
    let ended = head.history.last().and_then(|event| event.attempt.as_ref()).map(|attempt| attempt.result);
    assert_eq!(ended, Some(AttemptResult::Ambiguous));
    assert_eq!(head_of(&*store, id(2)).await, before);
}

pub(super) async fn entries_come_in_as_they_left(store: AnyStore) {
    let source = filled().await;
    let all = all_of(&source, CARRY_MAX).await;
    let carried_in = store.carry_in(&all, CarriedAs::Copy).await.expect("carried");
    assert_eq!(carried_in, [CarriedIn::New; 6]);
    assert_eq!(all_of(&*store, CARRY_MAX).await, all);
    source.restart();
    for carried in &all {
        assert_eq!(entry_of(&*store, carried.id()).await, entry_of(&source, carried.id()).await);
    }
    assert_eq!(store.counts().await.expect("counted"), source.counts().await.expect("counted"));
    // And they go their way: what was leased is due, what waits waits.
    let claimed: BTreeSet<EntryId> = super::claim(&*store, 9, 100).await.iter().map(|lease| lease.head.id).collect();
    assert_eq!(claimed, [1, 2, 5].map(id).into());
    assert_eq!(store.expire(at(50) + 2 * KEEP, 9).await.expect("expired"), 2);
    assert_eq!(erase(&*store, &[id(1)]).await, 1);
}

pub(super) async fn what_comes_in_twice_stays_as_it_is(store: AnyStore) {
    let all = all_of(&filled().await, CARRY_MAX).await;
    for carried in all.chunks(2) {
        assert_eq!(store.carry_in(carried, CarriedAs::Copy).await.expect("carried"), [CarriedIn::New; 2]);
    }
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, delivered("lead"), at(101)).await.expect("settled").is_done());
    let before = all_of(&*store, CARRY_MAX).await;
    for carried_as in [CarriedAs::Copy, CarriedAs::Append] {
        assert_eq!(store.carry_in(&all, carried_as).await.expect("carried"), [CarriedIn::Present; 6]);
    }
    assert_eq!(all_of(&*store, CARRY_MAX).await, before);
}

pub(super) async fn a_digest_tells_every_entry_from_any_other(store: AnyStore) {
    let source = filled().await;
    let all = all_of(&source, CARRY_MAX).await;
    assert!(store.carry_in(&all, CarriedAs::Copy).await.is_ok());
    let digests = |all: &[Carried]| all.iter().map(|carried| carried.digest().expect("digested")).collect::<Vec<_>>();
    let before = digests(&all);
    assert_eq!(digests(&all_of(&*store, CARRY_MAX).await), before);
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), all.len());
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, again(300), at(101)).await.expect("settled").is_done());
    let after = digests(&all_of(&*store, CARRY_MAX).await);
    assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 1);
}

pub(super) async fn a_copy_keeps_what_has_one_key(store: AnyStore) {
    for (number, seconds) in [(1, 1), (2, 5)] {
        let carried = keyed(with_key(number, seconds)).await;
        assert_eq!(store.carry_in(&carried, CarriedAs::Copy).await.expect("carried"), [CarriedIn::New]);
    }
    let appended = store.append(with_key(3, 9), Some(KEY)).await.expect("appended");
    assert_eq!(appended, Appended::Duplicate(id(2)), "the one that had the key last");
}

pub(super) async fn an_append_that_comes_late_is_a_duplicate_within_the_window(store: AnyStore) {
    assert_eq!(store.append(with_key(1, 1_000), Some(KEY)).await.expect("appended"), Appended::New(id(1)));
    let late = keyed(with_key(2, 1_010)).await;
    assert_eq!(store.carry_in(&late, CarriedAs::Append).await.expect("carried"), [CarriedIn::Duplicate(id(1))]);
    assert_eq!(head_of(&*store, id(1)).await.seen, 1);
    assert_eq!(store.get(id(2)).await.expect("read"), None);
    // It came before the one that is there, but not by so much.
    let early = keyed(with_key(3, 900)).await;
    assert_eq!(store.carry_in(&early, CarriedAs::Append).await.expect("carried"), [CarriedIn::Duplicate(id(1))]);
    let older = keyed(with_key(4, 100)).await;
    assert_eq!(store.carry_in(&older, CarriedAs::Append).await.expect("carried"), [CarriedIn::New]);
    let appended = store.append(with_key(5, 1_020), Some(KEY)).await.expect("appended");
    assert_eq!(appended, Appended::Duplicate(id(1)), "what came since keeps the key");
}

pub(super) async fn what_was_seen_elsewhere_is_counted_too(store: AnyStore) {
    assert_eq!(store.append(with_key(1, 1_000), Some(KEY)).await.expect("appended"), Appended::New(id(1)));
    let source = MemoryStore::new(WINDOW);
    for number in 2..=4 {
        assert!(source.append(with_key(number, 1_001), Some(KEY)).await.is_ok());
    }
    let late = all_of(&source, CARRY_MAX).await;
    assert_eq!(store.carry_in(&late, CarriedAs::Append).await.expect("carried"), [CarriedIn::Duplicate(id(1))]);
    assert_eq!(head_of(&*store, id(1)).await.seen, 3);
}

pub(super) async fn only_an_append_that_comes_late_is_an_event(store: AnyStore) {
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(0));
    let source = MemoryStore::new(WINDOW);
    add(&source, held(1, "acme")).await;
    add(&source, entry(2, "acme")).await;
    let all = all_of(&source, CARRY_MAX).await;
    let (one, two) = all.split_at(1);
    assert_eq!(store.carry_in(two, CarriedAs::Copy).await.expect("carried"), [CarriedIn::New]);
    assert_eq!(store.carry_in(one, CarriedAs::Append).await.expect("carried"), [CarriedIn::New]);
    let told = events(&*store).await;
    let told: Vec<_> = told.iter().map(|event| (event.at, &event.happened)).collect();
    let [(when, Happened::Moved(moved))] = told[..] else { panic!("{told:?}") };
    assert_eq!((when, moved.entry, moved.from, moved.to), (at(1), id(1), None, Some(State::Held)));
}

pub(super) async fn too_many_at_once_are_refused(store: AnyStore) {
    let one = keyed(entry(1, "acme")).await.remove(0);
    let many = vec![one; CARRY_MAX + 1];
    assert!(matches!(store.carry_in(&many, CarriedAs::Copy).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.get(id(1)).await.expect("read"), None);
}

pub(super) async fn what_comes_in_wakes_who_waits(store: AnyStore) {
    let mut changed = store.changed();
    let carried = keyed(entry(1, "acme")).await;
    assert_eq!(store.carry_in(&carried, CarriedAs::Append).await.expect("carried"), [CarriedIn::New]);
    let woken = tokio::time::timeout(Duration::from_secs(60), changed.changed()).await;
    assert!(woken.is_ok_and(|woken| woken.is_ok()));
}

pub(super) async fn events_come_in_with_their_numbers_and_readers(store: AnyStore) {
    let source = MemoryStore::new(WINDOW);
    for reader in ["ops", "mail"] {
        assert_eq!(source.register(&key(reader)).await.expect("registered"), Some(0));
    }
    fill(&source).await;
    let emission = Emission { entry: Some(id(1)), ..Emission::new(EventType::LeadOverdue) };
    assert!(source.emit(&emission, &key("overdue:1"), at(60)).await.expect("emitted"));
    let last = source.events(0, EVENTS_MAX).await.expect("read").upto;
    for (reader, upto) in [("ops", last - 1), ("mail", 2)] {
        assert!(source.trim(&key(reader), upto).await.expect("trimmed"));
    }
    let carried = CarriedEvents {
        last,
        readers: vec![(key("ops"), last - 1), (key("mail"), 2)],
        events: events(&source).await,
        once: vec![key("overdue:1")],
    };
    for _ in 0..2 {
        store.carry_events_in(&carried).await.expect("carried");
        assert_eq!(events(&*store).await, events(&source).await);
        assert_eq!(store.readers().await.expect("listed"), source.readers().await.expect("listed"));
    }
    assert!(!store.emit(&emission, &key("overdue:1"), at(61)).await.expect("emitted"), "it was told before");
    add(&*store, entry(9, "acme")).await;
    assert_eq!(events(&*store).await.last().map(|event| event.number), Some(last + 1));
}

pub(super) async fn a_number_that_another_store_gave_is_not_given_again(store: AnyStore) {
    let carried = CarriedEvents { last: 41, ..CarriedEvents::default() };
    store.carry_events_in(&carried).await.expect("carried");
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(41));
    add(&*store, entry(1, "acme")).await;
    assert_eq!(events(&*store).await.first().map(|event| event.number), Some(42));
}

pub(super) async fn the_keys_of_what_was_emitted_leave_in_their_order(store: AnyStore) {
    assert_eq!(store.register(&key("ops")).await.expect("registered"), Some(0));
    for once in ["c", "a", "b"] {
        assert!(store.emit(&Emission::new(EventType::SitePaused), &key(once), at(1)).await.expect("emitted"));
    }
    let page = store.carry_once_out(0, 2).await.expect("read");
    assert_eq!(page.keys, [key("c"), key("a")]);
    let next = page.next.expect("there is more");
    assert_eq!(store.carry_once_out(next, 2).await.expect("read"), OnceKeys { keys: vec![key("b")], next: None });
}

pub(super) async fn notes_come_in_as_they_are_and_the_later_one_stays(store: AnyStore) {
    let source = MemoryStore::new(WINDOW);
    let change = |text: &str, number| {
        let text = TextMerge::Latest(text.to_owned());
        let merge = Merge { text, numbers: NumbersMerge::Add(vec![number, 2]) };
        NoteChange::new(NoteKind::Form, "acme/contact", merge).expect("within its bounds")
    };
    source.note(&change("one", 1), at(1)).await.expect("noted");
    source.note(&change("two", 1), at(5)).await.expect("noted");
    let notes = source.notes(NoteKind::Form, "", None, 9).await.expect("listed");
    for _ in 0..2 {
        store.carry_notes_in(NoteKind::Form, &notes).await.expect("carried");
        assert_eq!(store.notes(NoteKind::Form, "", None, 9).await.expect("listed"), notes);
    }
    store.note(&change("later", 9), at(6)).await.expect("noted");
    let later = store.notes(NoteKind::Form, "", None, 9).await.expect("listed");
    store.carry_notes_in(NoteKind::Form, &notes).await.expect("carried");
    assert_eq!(store.notes(NoteKind::Form, "", None, 9).await.expect("listed"), later);
}

//! What the trait promises of events, on any store.

use std::sync::Arc;
use std::time::Duration;

use formgate::event::EventType;
use formgate::queue::{
    Appended, AttemptResult, Change, DedupeKey, EVENTS_MAX, Emission, Happened, Move, MoveFilter, NewEntry, ONCE_MAX,
    OUTBOX_MAX, OUTBOX_STEP, OutboxEvent, READERS_MAX, Reason, Set, Settlement, State, Store,
};
use tokio::task::JoinSet;

use super::{
    KEEP, add, again, at, attempt, claim_one, delivered, entry, erase, head_of, held, id, key, postponed, reading, site,
};

type AnyStore = Arc<dyn Store>;

async fn register(store: &dyn Store, reader: &str) -> u64 {
    store.register(&key(reader)).await.expect("registered").expect("a place")
}

async fn emit(store: &dyn Store, topic: EventType, once: &str) -> bool {
    store.emit(&Emission::new(topic), &key(once), at(7)).await.expect("emitted")
}

/// Reads all that is kept.
pub(super) async fn events(store: &dyn Store) -> Vec<OutboxEvent> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = store.events(after, EVENTS_MAX).await.expect("read");
        if page.events.is_empty() {
            return all;
        }
        after = page.upto;
        all.extend(page.events);
    }
}

fn numbers(events: &[OutboxEvent]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}

/// What an event of an entry of acme says, with its number, its time and the entry's number.
fn moved(
    (number, seconds, entry_number): (u64, i64, u8),
    (from, to): (Option<State>, Option<State>),
    reason: Reason,
    attempt: Option<AttemptResult>,
) -> OutboxEvent {
    let form = entry(entry_number, "acme").form;
    let moved = Move { entry: id(entry_number), site: site("acme"), form, from, to, reason, attempt };
    OutboxEvent { number, at: at(seconds), happened: Happened::Moved(moved) }
}

pub(super) async fn nothing_is_recorded_while_nobody_reads(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    assert!(!emit(&*store, EventType::SitePaused, "once").await);
    assert_eq!(store.readers().await.expect("listed"), []);
    assert_eq!(register(&*store, "ops").await, 0);
    assert_eq!(events(&*store).await, []);
    assert!(emit(&*store, EventType::SitePaused, "once").await, "its key was left free");
    assert!(store.unregister(&key("ops")).await.expect("removed"));
    assert!(!store.unregister(&key("ops")).await.expect("removed"));
    add(&*store, entry(2, "acme")).await;
    let page = store.events(0, 9).await.expect("read");
    assert_eq!((page.events.len(), page.missed, page.upto), (0, 1, 1));
}

pub(super) async fn each_transition_is_an_event(store: AnyStore) {
    register(&*store, "ops").await;
    add(&*store, entry(1, "acme")).await;
    let settle = async |seconds, settlement| {
        let lease = claim_one(&*store, seconds).await;
        assert!(store.settle(&lease, settlement, at(seconds)).await.expect("settled").is_done());
        lease
    };
    settle(100, again(0)).await;
    let refused = attempt(AttemptResult::KeyRefused);
    settle(101, Settlement::Postponed { after: Duration::ZERO, attempt: Some(refused) }).await;
    settle(102, Settlement::SiteGone { after: Duration::ZERO }).await;
    settle(103, postponed(0)).await;
    let lease = settle(104, Settlement::Dead { reason: Reason::GaveUp, attempt: None, keep: KEEP }).await;
    assert!(store.settle(&lease, delivered("late"), at(105)).await.expect("settled").is_done());

    use Reason::{Accepted, Delivered, GaveUp, Retrying, SiteBack, SiteGone};
    let [queued, done, dead] = [State::Queued, State::Delivered, State::Dead].map(Some);
    assert_eq!(
        events(&*store).await,
        [
            moved((1, 1, 1), (None, queued), Accepted, None),
            moved((2, 100, 1), (queued, queued), Retrying, Some(AttemptResult::Failed)),
            moved((3, 101, 1), (queued, queued), Retrying, Some(AttemptResult::KeyRefused)),
            moved((4, 102, 1), (queued, queued), SiteGone, None),
            moved((5, 103, 1), (queued, queued), SiteBack, None),
            moved((6, 104, 1), (queued, dead), GaveUp, None),
            moved((7, 105, 1), (dead, done), Delivered, Some(AttemptResult::Delivered)),
        ]
    );
}

pub(super) async fn only_what_a_process_asks_for_is_recorded(store: AnyStore) {
    register(&*store, "ops").await;
    store.record_moves(MoveFilter { dead: true, requeued: true, ..MoveFilter::NONE }).await.expect("said");
    add(&*store, entry(1, "acme")).await;
    add(&*store, held(2, "acme")).await;
    let lease = claim_one(&*store, 100).await;
    let dead = Settlement::Dead { reason: Reason::GaveUp, attempt: None, keep: KEEP };
    assert!(store.settle(&lease, dead, at(101)).await.expect("settled").is_done());
    let revision = head_of(&*store, id(2)).await.revision;
    let retry = Change::Retry { reading: Box::new(reading("mended")) };
    assert!(store.amend(id(2), revision, retry, at(102)).await.expect("amended").is_done());
    let lease = claim_one(&*store, 103).await;
    assert!(store.settle(&lease, delivered("lead"), at(104)).await.expect("settled").is_done());
    assert!(emit(&*store, EventType::SitePaused, "once").await, "what is emitted is recorded always");
    let all = events(&*store).await;
    let [queued, gone, held] = [State::Queued, State::Dead, State::Held].map(Some);
    assert_eq!(all.first(), Some(&moved((1, 101, 1), (queued, gone), Reason::GaveUp, None)));
    assert_eq!(all.get(1), Some(&moved((2, 102, 2), (held, queued), Reason::Retried, None)));
    assert_eq!(all.len(), 3);
    store.record_moves(MoveFilter::ALL).await.expect("said");
    add(&*store, entry(3, "acme")).await;
    assert_eq!(events(&*store).await.len(), 4);
}

pub(super) async fn what_an_operator_changes_is_an_event(store: AnyStore) {
    register(&*store, "ops").await;
    add(&*store, held(1, "acme")).await;
    let amend = async |change, seconds| {
        let revision = head_of(&*store, id(1)).await.revision;
        assert!(store.amend(id(1), revision, change, at(seconds)).await.expect("amended").is_done());
    };
    amend(Change::Hold { reason: Reason::Test, reading: Box::new(reading("no")) }, 101).await;
    amend(Change::Retry { reading: Box::new(reading("mended")) }, 102).await;
    amend(Change::Drop { keep: KEEP }, 103).await;
    amend(Change::Hold { reason: Reason::Invalid, reading: Box::new(reading("no")) }, 104).await;

    use Reason::{Dropped, Invalid, Retried, Test};
    let [queued, is_held, dead] = [State::Queued, State::Held, State::Dead].map(Some);
    assert_eq!(
        events(&*store).await,
        [
            moved((1, 1, 1), (None, is_held), Invalid, None),
            moved((2, 101, 1), (is_held, is_held), Test, None),
            moved((3, 102, 1), (is_held, queued), Retried, None),
            moved((4, 103, 1), (queued, dead), Dropped, None),
            moved((5, 104, 1), (dead, is_held), Invalid, None),
        ]
    );
    // Under another site it is that site's event.
    amend(Change::Assign { site: site("beta") }, 105).await;
    let last = events(&*store).await.pop().expect("an event");
    assert!(matches!(last.happened, Happened::Moved(Move { site: to, .. }) if to == site("beta")));
}

pub(super) async fn what_changes_nothing_is_no_event(store: AnyStore) {
    register(&*store, "ops").await;
    let same = Some(DedupeKey([7; 32]));
    let append = async |number| {
        let new = NewEntry { accepted_at: at(1), ..entry(number, "acme") };
        store.append(new, same).await.expect("appended")
    };
    assert_eq!(append(1).await, Appended::New(id(1)));
    assert_eq!(append(2).await, Appended::Duplicate(id(1)));
    assert!(store.append(entry(1, "acme"), None).await.is_err());
    for seconds in [100, 101] {
        let lease = claim_one(&*store, seconds).await;
        assert!(store.settle(&lease, postponed(0), at(seconds)).await.expect("settled").is_done());
        assert_eq!(store.settle(&lease, again(0), at(seconds)).await.expect("settled"), Set::Lost);
    }
    for seconds in [102, 103] {
        let gone = Settlement::SiteGone { after: Duration::ZERO };
        let lease = claim_one(&*store, seconds).await;
        assert!(store.settle(&lease, gone, at(seconds)).await.expect("settled").is_done());
    }
    let lost = store.amend(id(1), 999, Change::Drop { keep: KEEP }, at(104)).await.expect("amended");
    assert_eq!(lost, Set::Lost);
    assert_eq!(store.make_due(&site("acme"), 9, at(50)).await.expect("made_due"), 1);
    let appended = moved((1, 1, 1), (None, Some(State::Queued)), Reason::Accepted, None);
    let gone = Reason::SiteGone;
    let gone = moved((2, 102, 1), (Some(State::Queued), Some(State::Queued)), gone, None);
    assert_eq!(events(&*store).await, [appended, gone]);
}

pub(super) async fn what_expires_is_an_event_and_what_is_erased_is_not(store: AnyStore) {
    register(&*store, "ops").await;
    for number in 1..=3 {
        add(&*store, held(number, "acme")).await;
    }
    assert_eq!(erase(&*store, &[id(3)]).await, 1);
    let seconds = i64::try_from(KEEP.as_secs()).expect("small") + 2;
    assert_eq!(store.expire(at(seconds), 9).await.expect("expired"), 2);
    let expired =
        |number, entry_number| moved((number, seconds, entry_number), (Some(State::Held), None), Reason::Invalid, None);
    assert_eq!(events(&*store).await.get(3..), Some(&[expired(4, 1), expired(5, 2)][..]));
}

pub(super) async fn numbers_rise_and_are_never_given_again(store: AnyStore) {
    assert_eq!(register(&*store, "ops").await, 0);
    add(&*store, entry(1, "acme")).await;
    add(&*store, entry(2, "acme")).await;
    assert_eq!(numbers(&events(&*store).await), [1, 2]);
    assert!(store.trim(&key("ops"), 2).await.expect("trimmed"));
    assert_eq!(events(&*store).await, []);
    add(&*store, entry(3, "acme")).await;
    assert_eq!(numbers(&events(&*store).await), [3]);
    assert!(store.unregister(&key("ops")).await.expect("removed"));
    assert_eq!(events(&*store).await, []);
    assert_eq!(register(&*store, "ops").await, 3);
    assert!(emit(&*store, EventType::FormSilent, "silent").await);
    assert_eq!(numbers(&events(&*store).await), [4]);
}

pub(super) async fn an_event_is_kept_until_every_reader_has_it(store: AnyStore) {
    register(&*store, "mail").await;
    for number in 1..=3 {
        add(&*store, entry(number, "acme")).await;
    }
    assert_eq!(register(&*store, "slack").await, 3);
    assert_eq!(register(&*store, "mail").await, 0, "it keeps its place");
    add(&*store, entry(4, "acme")).await;
    let trim = async |reader, upto| store.trim(&key(reader), upto).await.expect("trimmed");
    let left = async || numbers(&events(&*store).await);
    assert!(trim("slack", 4).await);
    assert_eq!(left().await, [1, 2, 3, 4]);
    assert!(trim("mail", 2).await);
    assert_eq!(left().await, [3, 4]);
    assert!(trim("mail", 1).await, "a lower one changes nothing");
    assert!(!trim("nobody", 4).await);
    assert_eq!(left().await, [3, 4]);
    let readers = store.readers().await.expect("listed");
    let readers: Vec<_> = readers.iter().map(|r| (r.name.as_str(), r.upto, r.behind)).collect();
    assert_eq!(readers, [("mail", 2, 2), ("slack", 4, 0)]);
    assert!(trim("mail", 999).await, "no further than what was recorded");
    add(&*store, entry(5, "acme")).await;
    assert_eq!(left().await, [5]);
}

pub(super) async fn a_reader_that_goes_keeps_nothing_back(store: AnyStore) {
    register(&*store, "mail").await;
    register(&*store, "slack").await;
    add(&*store, entry(1, "acme")).await;
    add(&*store, entry(2, "acme")).await;
    assert!(store.trim(&key("mail"), 1).await.expect("trimmed"));
    assert!(store.unregister(&key("slack")).await.expect("removed"));
    assert_eq!(numbers(&events(&*store).await), [2]);
    add(&*store, entry(3, "acme")).await;
    assert_eq!(numbers(&events(&*store).await), [2, 3], "the other still reads");
}

pub(super) async fn events_come_in_pages(store: AnyStore) {
    register(&*store, "ops").await;
    for number in 1..=5 {
        add(&*store, entry(number, "acme")).await;
    }
    let page = async |after, limit| {
        let page = store.events(after, limit).await.expect("read");
        (numbers(&page.events), page.missed, page.upto)
    };
    assert_eq!(page(0, 2).await, (vec![1, 2], 0, 2));
    assert_eq!(page(2, 3).await, (vec![3, 4, 5], 0, 5));
    assert_eq!(page(5, 3).await, (vec![], 0, 5));
    assert_eq!(page(0, 0).await, (vec![1], 0, 1), "at least one");
    assert_eq!(page(99, 3).await, (vec![], 0, 99));
    assert!(store.trim(&key("ops"), 3).await.expect("trimmed"));
    assert_eq!(page(1, 9).await, (vec![4, 5], 2, 5), "what is gone is counted");
}

pub(super) async fn an_event_is_emitted_once_for_a_key(store: AnyStore) {
    register(&*store, "ops").await;
    let form = entry(1, "acme").form;
    let overdue = Emission {
        entry: Some(id(1)),
        site: Some(site("acme")),
        form: Some(form),
        ..Emission::new(EventType::LeadOverdue)
    };
    let emit = async |once: &str| store.emit(&overdue, &key(once), at(9)).await.expect("emitted");
    assert!(emit("overdue 1").await);
    assert!(!emit("overdue 1").await);
    assert!(emit("overdue 2").await);
    assert!(store.trim(&key("ops"), 1).await.expect("trimmed"));
    assert!(!emit("overdue 1").await, "also when it was read");
    let expected = OutboxEvent { number: 2, at: at(9), happened: Happened::Emitted(overdue.clone()) };
    assert_eq!(events(&*store).await, [expected]);
}

/// Emits events whose keys are numbers; in which order is left open.
async fn emit_many(store: &AnyStore, topic: EventType, keys: std::ops::Range<u64>) {
    let mut emitting = JoinSet::new();
    for number in keys {
        let store = Arc::clone(store);
        emitting.spawn(async move { emit(&*store, topic, &number.to_string()).await });
        if emitting.len() >= 512 {
            assert_eq!(emitting.join_next().await.map(|done| done.expect("done")), Some(true));
        }
    }
    assert!(emitting.join_all().await.into_iter().all(|emitted| emitted));
}

pub(super) async fn what_nobody_reads_in_time_is_dropped_and_counted(store: AnyStore) {
    register(&*store, "ops").await;
    assert!(emit(&*store, EventType::LeadOverdue, "overdue").await);
    emit_many(&store, EventType::SitePaused, 1..OUTBOX_MAX + OUTBOX_STEP - 1).await;
    let page = store.events(0, 2).await.expect("read");
    assert_eq!((numbers(&page.events), page.missed), (vec![1, 2], 0));
    emit_many(&store, EventType::SitePaused, OUTBOX_MAX + OUTBOX_STEP..OUTBOX_MAX + OUTBOX_STEP + 1).await;
    // The overdue lead stays, whatever comes after it.
    let page = store.events(0, 2).await.expect("read");
    assert_eq!((numbers(&page.events), page.missed), (vec![1, OUTBOX_STEP + 1], OUTBOX_STEP - 1));
    assert_eq!(page.upto, OUTBOX_STEP + 1);
    let readers = store.readers().await.expect("listed");
    assert_eq!(readers.iter().map(|reader| reader.behind).collect::<Vec<_>>(), [OUTBOX_MAX + OUTBOX_STEP]);
    // And of so many keys the oldest are forgotten.
    assert!(!emit(&*store, EventType::SitePaused, &(OUTBOX_MAX + OUTBOX_STEP - ONCE_MAX + 600).to_string()).await);
    assert!(emit(&*store, EventType::LeadOverdue, "overdue").await);
}

pub(super) async fn there_are_only_so_many_readers(store: AnyStore) {
    for number in 0..READERS_MAX {
        register(&*store, &format!("reader {number}")).await;
    }
    assert_eq!(store.register(&key("one more")).await.expect("asked"), None);
    assert_eq!(register(&*store, "reader 1").await, 0, "it is there");
    assert!(store.unregister(&key("reader 2")).await.expect("removed"));
    register(&*store, "one more").await;
    assert_eq!(store.readers().await.expect("listed").len(), READERS_MAX);
}

pub(super) async fn changed_tells_of_an_event(store: AnyStore) {
    let mut changed = store.changed();
    register(&*store, "ops").await;
    assert!(!changed.has_changed().expect("open"));
    assert!(emit(&*store, EventType::GatewayUpstreamDown, "down").await);
    changed.changed().await.expect("open");
    assert!(!emit(&*store, EventType::GatewayUpstreamDown, "down").await);
    assert!(!changed.has_changed().expect("open"));
}

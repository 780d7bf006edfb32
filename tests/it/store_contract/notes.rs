//! What the trait promises of notes and holds, on any store.

use std::sync::Arc;
use std::time::Duration;

use formgate::queue::{HOLDS_MAX, Merge, Note, NoteChange, NoteKind, NumbersMerge, Store, TextMerge};
use tokio::task::JoinSet;

use super::{at, held, key};

type AnyStore = Arc<dyn Store>;

async fn note(store: &dyn Store, kind: NoteKind, key: &str, merge: Merge, seconds: i64) {
    let change = NoteChange::new(kind, key, merge).expect("within its bounds");
    store.note(&change, at(seconds)).await.expect("noted");
}

async fn notes(store: &dyn Store, kind: NoteKind, prefix: &str) -> Vec<Note> {
    store.notes(kind, prefix, None, 1_000).await.expect("listed")
}

fn keys(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.key.as_str()).collect()
}

fn text(text: TextMerge) -> Merge {
    Merge { text, ..Merge::default() }
}

fn add(numbers: &[u64]) -> Merge {
    Merge { numbers: NumbersMerge::Add(numbers.to_vec()), ..Merge::default() }
}

pub(super) async fn a_note_is_merged_as_it_is_told(store: AnyStore) {
    let kind = NoteKind::Shape;
    let first = |word: &str| TextMerge::First(word.to_owned());
    note(&*store, kind, "a", Merge { text: first("one"), numbers: NumbersMerge::Add(vec![1, 2]) }, 1).await;
    note(&*store, kind, "a", Merge { text: first("two"), numbers: NumbersMerge::Add(vec![1, 0, 5]) }, 2).await;
    let kept = |last, word: &str, numbers: &[u64]| Note {
        key: key("a"),
        first_at: at(1),
        last_at: at(last),
        text: Some(word.to_owned()),
        numbers: numbers.to_vec(),
    };
    assert_eq!(notes(&*store, kind, "").await, [kept(2, "one", &[2, 2, 5])]);
    note(&*store, kind, "a", text(TextMerge::Latest("three".to_owned())), 3).await;
    let max = Merge { numbers: NumbersMerge::Max(vec![1, 7]), ..Merge::default() };
    note(&*store, kind, "a", max, 4).await;
    assert_eq!(notes(&*store, kind, "").await, [kept(4, "three", &[2, 7, 5])]);
    note(&*store, kind, "a", Merge::default(), 5).await;
    assert_eq!(notes(&*store, kind, "").await, [kept(5, "three", &[2, 7, 5])]);
}

pub(super) async fn whoever_writes_last_is_the_latest(store: AnyStore) {
    let latest = |word: &str| text(TextMerge::Latest(word.to_owned()));
    note(&*store, NoteKind::Gateway, "a", latest("from the future"), 9_000).await;
    note(&*store, NoteKind::Gateway, "a", latest("now"), 10).await;
    let [found] = &*notes(&*store, NoteKind::Gateway, "").await else { unreachable!("one note") };
    assert_eq!((found.text.as_deref(), found.last_at), (Some("now"), at(10)));
}

pub(super) async fn notes_are_listed_by_kind_and_prefix(store: AnyStore) {
    for name in ["acme/b", "acme/a", "acme-two/a", "acme/%", "acme%", "b", "é"] {
        note(&*store, NoteKind::Form, name, add(&[1]), 1).await;
    }
    note(&*store, NoteKind::Token, "acme/token", add(&[1]), 1).await;
    let found = async |kind, prefix| {
        keys(&notes(&*store, kind, prefix).await).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found(NoteKind::Form, "acme/").await, ["acme/%", "acme/a", "acme/b"]);
    assert_eq!(found(NoteKind::Form, "acme%").await, ["acme%"]);
    assert_eq!(found(NoteKind::Form, "").await.len(), 7);
    assert_eq!(found(NoteKind::Form, "zzz").await, [""; 0]);
    assert_eq!(found(NoteKind::Token, "").await, ["acme/token"]);
    assert_eq!(found(NoteKind::Daily, "").await, [""; 0]);
    let page = store.notes(NoteKind::Form, "acme/", None, 2).await.expect("listed");
    assert_eq!(keys(&page), ["acme/%", "acme/a"]);
    let page = store.notes(NoteKind::Form, "acme/", Some(&key("acme/a")), 2).await.expect("listed");
    assert_eq!(keys(&page), ["acme/b"]);
    let page = store.notes(NoteKind::Form, "", Some(&key("b")), 0).await.expect("listed");
    assert_eq!(keys(&page), ["é"], "at least one");
}

pub(super) async fn of_too_many_notes_the_oldest_falls_out(store: AnyStore) {
    let most = i64::try_from(NoteKind::Gateway.limits().notes_max).expect("small");
    let name = |number: i64| format!("{number:05}");
    for number in 0..most {
        note(&*store, NoteKind::Gateway, &name(number), add(&[1]), number).await;
    }
    note(&*store, NoteKind::Form, "another kind", add(&[1]), 0).await;
    // The first is written to again, so the second is the oldest.
    note(&*store, NoteKind::Gateway, &name(0), add(&[1]), most).await;
    note(&*store, NoteKind::Gateway, &name(most), add(&[1]), most + 1).await;
    let found = notes(&*store, NoteKind::Gateway, "").await;
    assert_eq!(found.len() as i64, most);
    assert_eq!(keys(&found).get(..2), Some(&["00000", "00002"][..]));
    // Two of the same age: the one whose key comes first.
    note(&*store, NoteKind::Gateway, &name(3), add(&[1]), 2).await;
    note(&*store, NoteKind::Gateway, &name(most + 1), add(&[1]), most + 2).await;
    let found = notes(&*store, NoteKind::Gateway, "").await;
    assert_eq!(keys(&found).get(..2), Some(&["00000", "00003"][..]));
    assert_eq!(notes(&*store, NoteKind::Form, "").await.len(), 1);
}

pub(super) async fn a_note_is_removed_when_its_time_is_over(store: AnyStore) {
    let seconds = |kind: NoteKind| i64::try_from(kind.limits().keep.as_secs()).expect("small");
    for (number, name) in (1..).zip(["b", "c", "a"]) {
        note(&*store, NoteKind::Gateway, name, add(&[1]), number).await;
        note(&*store, NoteKind::Daily, name, add(&[1]), number).await;
    }
    super::add(&*store, held(1, "acme")).await;
    let day = seconds(NoteKind::Gateway);
    assert_eq!(store.expire(at(day), 9).await.expect("expired"), 0);
    assert_eq!(notes(&*store, NoteKind::Gateway, "").await.len(), 3);
    assert_eq!(store.expire(at(day + 2), 1).await.expect("expired"), 1, "the entry; notes are not counted");
    assert_eq!(keys(&notes(&*store, NoteKind::Gateway, "").await), ["a", "c"]);
    assert_eq!(store.expire(at(day + 3), 9).await.expect("expired"), 0);
    assert_eq!(notes(&*store, NoteKind::Gateway, "").await, []);
    assert_eq!(notes(&*store, NoteKind::Daily, "").await.len(), 3);
    // There is room again for as many as before.
    let most = i64::try_from(NoteKind::Gateway.limits().notes_max).expect("small");
    for number in 0..most {
        note(&*store, NoteKind::Gateway, &number.to_string(), add(&[1]), day + 4).await;
    }
    assert_eq!(notes(&*store, NoteKind::Gateway, "").await.len() as i64, most);
}

pub(super) async fn several_notes_are_written_each_as_of_its_own_time(store: AnyStore) {
    let change = |key, number| NoteChange::new(NoteKind::Daily, key, add(&[number])).expect("within its bounds");
    let changes = [(change("a", 1), at(1)), (change("b", 2), at(2)), (change("a", 4), at(3))];
    store.note_all(&changes).await.expect("noted");
    store.note_all(&[]).await.expect("nothing to note");
    let found = notes(&*store, NoteKind::Daily, "").await;
    let found: Vec<_> = found.iter().map(|note| (note.key.as_str(), note.last_at, note.numbers[0])).collect();
    assert_eq!(found, [("a", at(3), 5), ("b", at(2), 2)]);
}

pub(super) async fn what_many_add_at_once_adds_up(store: AnyStore) {
    let mut adding = JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        adding.spawn(async move { note(&*store, NoteKind::Daily, "2026-10-15/acme", add(&[1, number]), 1).await });
    }
    adding.join_all().await;
    let [found] = &*notes(&*store, NoteKind::Daily, "2026-10-15/").await else { unreachable!("one note") };
    assert_eq!(found.numbers, [200, 199 * 100]);
}

async fn hold(store: &dyn Store, name: &str, holder: &str, seconds: i64) -> bool {
    store.hold(&key(name), &key(holder), Duration::from_secs(10), at(seconds)).await.expect("asked")
}

pub(super) async fn one_holds_a_name_until_its_time_is_over(store: AnyStore) {
    assert!(hold(&*store, "acme", "one", 0).await);
    assert!(!hold(&*store, "acme", "two", 1).await);
    assert!(hold(&*store, "beta", "two", 1).await, "another name");
    assert!(hold(&*store, "acme", "one", 5).await, "renewed");
    assert!(!hold(&*store, "acme", "two", 14).await);
    assert!(hold(&*store, "acme", "two", 15).await, "it ran out");
    assert!(!hold(&*store, "acme", "one", 16).await);
    let release = async |holder| store.release(&key("acme"), &key(holder)).await.expect("released");
    assert!(!release("one").await, "it is not its own any more");
    assert!(!hold(&*store, "acme", "one", 17).await);
    assert!(release("two").await);
    assert!(!release("two").await);
    assert!(hold(&*store, "acme", "one", 18).await);
}

pub(super) async fn a_hold_from_the_future_is_as_short_as_any(store: AnyStore) {
    assert!(hold(&*store, "acme", "one", 9_000).await);
    assert!(!hold(&*store, "acme", "two", 0).await);
    assert!(!hold(&*store, "acme", "two", 9).await);
    assert!(hold(&*store, "acme", "two", 10).await);
}

pub(super) async fn whoever_asks_with_an_older_time_shortens_no_hold(store: AnyStore) {
    assert!(hold(&*store, "acme", "one", 100).await);
    assert!(!hold(&*store, "acme", "two", 95).await, "it waited for its turn");
    assert!(!hold(&*store, "acme", "two", 109).await);
    assert!(hold(&*store, "acme", "two", 110).await);
}

pub(super) async fn of_many_who_ask_at_once_one_holds(store: AnyStore) {
    let mut asking = JoinSet::new();
    for number in 0..50 {
        let store = Arc::clone(&store);
        asking.spawn(async move { hold(&*store, "acme", &format!("gateway {number}"), 1).await });
    }
    assert_eq!(asking.join_all().await.into_iter().filter(|holds| *holds).count(), 1);
}

pub(super) async fn only_so_many_names_are_held(store: AnyStore) {
    let mut asking = JoinSet::new();
    for number in 0..HOLDS_MAX {
        let store = Arc::clone(&store);
        asking.spawn(async move { hold(&*store, &number.to_string(), "one", i64::from(number == 0)).await });
    }
    assert!(asking.join_all().await.into_iter().all(|holds| holds));
    assert!(!hold(&*store, "one more", "one", 2).await);
    assert!(hold(&*store, "1", "one", 2).await, "it is renewed all the same");
    assert!(hold(&*store, "one more", "one", 10).await, "others ran out");
    assert!(!hold(&*store, "0", "two", 10).await, "but not all");
}

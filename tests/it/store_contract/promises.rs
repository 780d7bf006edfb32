//! What the trait promises, on any store.

use std::sync::Arc;
use std::time::Duration;

use formgate::lead::overlay::Correction;
use formgate::lead::{FormId, LeadField};
use formgate::queue::{
    Appended, Attempt, AttemptResult, Change, Claim, Confirmed, DedupeKey, Entry, Filter, HISTORY_MAX, Head, Lease,
    NewEntry, Order, Partition, Partitions, Quota, Reason, Set, Settlement, State, Store, Transition,
};
use formgate::received::Received;
use tokio::task::JoinSet;

use super::{
    KEEP, LEASE, TRACEPARENT, add, again, at, attempt, claim, claim_one, delivered, entry, entry_of, erase, head_of,
    held, id, postponed, reading, received, site, with_body,
};

type AnyStore = Arc<dyn Store>;

const KEY: DedupeKey = DedupeKey([7; 32]);

fn ids(leases: &[Lease]) -> Vec<formgate::lead::EntryId> {
    leases.iter().map(|lease| lease.head.id).collect()
}

pub(super) async fn what_was_appended_is_given_back_whole(store: AnyStore) {
    let new = held(1, "acme");
    add(&*store, new.clone()).await;
    let Entry { head: found, received } = entry_of(&*store, new.id).await;
    assert_eq!((found.id, &found.site, &found.form), (new.id, &new.site, &new.form));
    assert_eq!((found.state, found.reason), (State::Held, Reason::Invalid));
    assert_eq!((&found.reading, &received), (&new.reading, &new.received));
    assert_eq!(received.body, new.received.body);
    assert_eq!((found.accepted_at, found.due_at, found.expires_at), (at(1), None, Some(at(1) + KEEP)));
    assert_eq!((found.revision, found.attempts, found.seen, &found.lead_id), (1, 0, 0, &None));
    let [event] = &*found.history else { unreachable!("one event: {:?}", found.history) };
    assert_eq!((event.at, event.state, event.reason, &event.attempt), (at(1), State::Held, Reason::Invalid, &None));

    let queued = add(&*store, entry(2, "acme")).await;
    let queued = head_of(&*store, queued).await;
    assert_eq!((queued.due_at, queued.expires_at), (Some(at(2)), None));
    assert_eq!(store.get(id(9)).await.expect("read"), None);
}

pub(super) async fn a_repeated_id_is_refused_and_the_first_stays(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let again = with_body("other", entry(1, "acme"));
    assert!(store.append(again, None).await.is_err());
    assert_eq!(&*entry_of(&*store, id(1)).await.received.body, b"message=1");
}

pub(super) async fn a_key_is_a_duplicate_only_within_the_window(store: AnyStore) {
    let append = async |number: u8, seconds: i64| {
        let new = NewEntry { accepted_at: at(seconds), ..entry(number, "acme") };
        store.append(new, Some(KEY)).await.expect("appended")
    };
    assert_eq!(append(1, 0).await, Appended::New(id(1)));
    assert_eq!(append(2, 300).await, Appended::Duplicate(id(1)));
    assert_eq!(append(3, 599).await, Appended::Duplicate(id(1)));
    assert_eq!(head_of(&*store, id(1)).await.seen, 2);
    assert_eq!(store.get(id(2)).await.expect("read"), None);
    assert_eq!(append(4, 600).await, Appended::New(id(4)));
    assert_eq!(append(5, 601).await, Appended::Duplicate(id(4)));
    let other = store.append(entry(6, "acme"), Some(DedupeKey([8; 32]))).await.expect("appended");
    assert_eq!(other, Appended::New(id(6)));
}

pub(super) async fn of_many_appends_with_one_key_one_is_new(store: AnyStore) {
    let mut appends = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        appends.spawn(async move { store.append(entry(number, "acme"), Some(KEY)).await.expect("appended") });
    }
    let appended = appends.join_all().await;
    let mut new = appended.iter().filter(|appended| matches!(appended, Appended::New(_)));
    let Some(Appended::New(first)) = new.next() else { unreachable!("none is new") };
    assert_eq!(new.count(), 0);
    assert_eq!(appended.iter().filter(|appended| **appended == Appended::Duplicate(*first)).count(), 19);
    assert_eq!(head_of(&*store, *first).await.seen, 19);
}

pub(super) async fn a_key_of_an_erased_entry_is_new(store: AnyStore) {
    let append = async |number| store.append(entry(number, "acme"), Some(KEY)).await.expect("appended");
    assert_eq!(append(1).await, Appended::New(id(1)));
    assert_eq!(erase(&*store, &[id(1)]).await, 1);
    assert_eq!(append(2).await, Appended::New(id(2)));
    assert_eq!(append(3).await, Appended::Duplicate(id(2)));
}

pub(super) async fn a_claim_counts_the_attempt_and_takes_the_entry(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, 10).await;
    assert_eq!((lease.head.attempts, lease.head.due_at), (1, Some(at(10) + LEASE)));
    assert_eq!(lease.head, head_of(&*store, id(1)).await);
    assert_eq!(claim(&*store, 9, 10).await, []);
}

pub(super) async fn a_claim_takes_sites_in_turn_and_the_oldest_first(store: AnyStore) {
    for (number, site_name) in [(1, "big"), (2, "big"), (3, "big"), (4, "big"), (5, "small"), (6, "tiny"), (7, "small")]
    {
        add(&*store, entry(number, site_name)).await;
    }
    let first = claim(&*store, 5, 100).await;
    assert_eq!(ids(&first), [1, 5, 6, 2, 7].map(id));
    assert_eq!(ids(&claim(&*store, 5, 100).await), [3, 4].map(id));

    // One that failed and is due again is still older than the others.
    for lease in &first {
        let done = store.settle(lease, again(u64::from(lease.head.id == id(1))), at(200)).await;
        assert!(done.expect("settled").is_done());
    }
    assert_eq!(ids(&claim(&*store, 4, 300).await), [5, 6, 1, 7].map(id));
}

pub(super) async fn the_next_claim_goes_on_with_the_next_site(store: AnyStore) {
    for (number, site_name) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
        add(&*store, entry(number, site_name)).await;
    }
    for expected in [[1, 3], [5, 2], [4, 6]] {
        assert_eq!(ids(&claim(&*store, 2, 50).await), expected.map(id));
    }
}

pub(super) async fn a_claim_of_new_entries_passes_over_a_backlog(store: AnyStore) {
    for number in 1..=6 {
        add(&*store, entry(number, if number % 2 == 0 { "even" } else { "odd" })).await;
    }
    let new = async |max, now, since| {
        let claim = Claim { accepted_since: Some(at(since)), ..Claim::new(max, LEASE, at(now)) };
        store.claim(&claim).await.expect("claimed")
    };
    assert_eq!(ids(&new(9, 10, 7).await), []);
    assert_eq!(ids(&new(1, 10, 4).await), [id(4)]);
    assert_eq!(ids(&new(9, 10, 4).await), [5, 6].map(id));
    // Not due is not due, however new.
    assert_eq!(ids(&new(9, 11, 4).await), []);
    assert_eq!(ids(&claim(&*store, 9, 12).await), [2, 1, 3].map(id));
}

pub(super) async fn a_claim_of_new_entries_finds_them_behind_sites_with_a_backlog(store: AnyStore) {
    for (number, site_name) in (1..).zip(["a", "b", "c"]) {
        add(&*store, entry(number, site_name)).await;
    }
    add(&*store, entry(9, "d")).await;
    let new = Claim { accepted_since: Some(at(9)), ..Claim::new(1, LEASE, at(10)) };
    assert_eq!(ids(&store.claim(&new).await.expect("claimed")), [id(9)]);
}

pub(super) async fn sites_take_turns_apart_in_both_kinds_of_claim(store: AnyStore) {
    for (number, site_name) in (1..).zip(["a", "b", "a", "b", "a", "b"]) {
        add(&*store, entry(number, site_name)).await;
    }
    let since = Claim { accepted_since: Some(at(5)), ..Claim::new(1, LEASE, at(10)) };
    let new = async || store.claim(&since).await.expect("claimed");
    assert_eq!(ids(&claim(&*store, 1, 10).await), [id(1)]);
    assert_eq!(ids(&new().await), [id(5)]);
    assert_eq!(ids(&claim(&*store, 1, 10).await), [id(2)]);
    assert_eq!(ids(&new().await), [id(6)]);
    assert_eq!(ids(&claim(&*store, 1, 10).await), [id(3)]);
}

pub(super) async fn a_claim_takes_no_more_of_a_site_than_its_quota(store: AnyStore) {
    for (number, site_name) in (1..).zip(["a", "b", "c", "a", "b", "c", "a", "b", "c"]) {
        add(&*store, entry(number, site_name)).await;
    }
    let within = async |max, each, of: &[(&str, usize)], since: Option<i64>| {
        let of = of.iter().map(|(name, most)| (site(name), *most)).collect();
        let quota = Quota { each, of, ..Quota::default() };
        let claim = Claim { accepted_since: since.map(at), quota, ..Claim::new(max, LEASE, at(50)) };
        store.claim(&claim).await.expect("claimed")
    };
    assert_eq!(ids(&within(9, 0, &[], None).await), []);
    assert_eq!(ids(&within(2, 9, &[("b", 0)], None).await), [1, 3].map(id));
    assert_eq!(ids(&within(9, 0, &[("c", 5)], Some(9)).await), [id(9)]);
    assert_eq!(ids(&within(9, 1, &[("a", 0), ("gone", 4)], None).await), [2, 6].map(id));
    assert_eq!(head_of(&*store, id(4)).await.revision, 1, "it was not touched");
    assert_eq!(ids(&claim(&*store, 9, 50).await), [4, 5, 7, 8].map(id));
}

pub(super) async fn a_claim_takes_only_of_its_partitions(store: AnyStore) {
    // Each in a partition of its own.
    let names = ["acme", "beta", "a", "x"];
    for (number, site_name) in (1..).zip(names.into_iter().cycle().take(8)) {
        add(&*store, entry(number, site_name)).await;
    }
    let within = async |names: &[&str], each, since: Option<i64>| {
        let partitions = names.iter().map(|name| Partition::of(&site(name))).collect();
        let quota = Quota { each, of: [(site("beta"), 9)].into(), partitions };
        let claim = Claim { accepted_since: since.map(at), quota, ..Claim::new(9, LEASE, at(50)) };
        store.claim(&claim).await.expect("claimed")
    };
    assert_eq!(ids(&within(&[], 9, None).await), [], "of none nothing, though beta has a quota of its own");
    assert_eq!(ids(&within(&["gone"], 9, None).await), []);
    assert_eq!(ids(&within(&["x", "a"], 1, None).await), [3, 4].map(id));
    assert_eq!(ids(&within(&["acme"], 9, Some(5)).await), [id(5)]);
    assert_eq!(head_of(&*store, id(1)).await.revision, 1, "it was not touched");
    assert_eq!(ids(&within(&["beta", "acme"], 0, None).await), [2, 6].map(id));
    let rest =
        Claim { quota: Quota { partitions: Partitions::ALL, ..Quota::default() }, ..Claim::new(9, LEASE, at(50)) };
    let mut rest = ids(&store.claim(&rest).await.expect("claimed"));
    rest.sort_unstable();
    assert_eq!(rest, [1, 7, 8].map(id));
}

pub(super) async fn a_confirmed_delivery_counts_no_attempt(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let lease = claim(&*store, 1, 10).await.remove(0);
    assert!(store.settle(&lease, again(5), at(11)).await.expect("settled").is_done());
    let lease = claim(&*store, 1, 20).await.remove(0);
    let confirmed = Attempt { confirmed: Some(Confirmed::Widget), ..attempt(AttemptResult::Delivered) };
    let settlement = Settlement::Delivered { lead_id: None, attempt: confirmed.clone(), keep: KEEP };
    assert!(store.settle(&lease, settlement, at(21)).await.expect("settled").is_done());
    let entry = head_of(&*store, id(1)).await;
    assert_eq!((entry.state, entry.attempts), (State::Delivered, 1));
    assert_eq!(entry.history.last().and_then(|event| event.attempt.clone()), Some(confirmed));
}

pub(super) async fn a_sites_waits_can_be_ended_but_not_its_leases(store: AnyStore) {
    for number in 1..=4 {
        add(&*store, entry(number, if number == 4 { "other" } else { "acme" })).await;
    }
    let leases = claim(&*store, 9, 100).await;
    for (lease, seconds) in leases.iter().filter(|lease| lease.head.id != id(1)).zip([900, 800, 700]) {
        assert!(store.settle(lease, postponed(seconds), at(101)).await.expect("settled").is_done());
    }
    let acme = site("acme");
    let mut changed = store.changed();
    changed.borrow_and_update();
    let before = head_of(&*store, id(3)).await;
    assert_eq!(store.make_due(&acme, 1, at(102)).await.expect("made_due"), 1);
    changed.changed().await.expect("open");
    assert_eq!(claim(&*store, 9, 102).await.len(), 1);
    assert_eq!(store.make_due(&acme, 9, at(102)).await.expect("made_due"), 1);
    assert_eq!(store.make_due(&acme, 9, at(102)).await.expect("made_due"), 0);
    assert_eq!(claim(&*store, 9, 102).await.len(), 1);
    let after = head_of(&*store, id(3)).await;
    assert_eq!((after.attempts, after.history), (before.attempts + 1, before.history));
    assert!(head_of(&*store, id(1)).await.due_at > Some(at(102)), "a lease goes on");
}

pub(super) async fn held_entries_are_not_claimed(store: AnyStore) {
    add(&*store, held(1, "acme")).await;
    assert_eq!(claim(&*store, 9, 1_000_000).await, []);
}

pub(super) async fn a_lease_that_ran_out_is_claimed_again(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let first = claim_one(&*store, 100).await;
    assert_eq!(claim(&*store, 9, 159).await, []);
    let second = claim_one(&*store, 160).await;
    assert_eq!(second.head.attempts, 2);
    assert!(second.token != first.token);
    let unsettled = second.head.history.last().and_then(|event| event.attempt.as_ref()).expect("an attempt");
    assert_eq!(unsettled.result, AttemptResult::Ambiguous);

    assert_eq!(store.settle(&first, again(5), at(161)).await.expect("settled"), Set::Lost);
    assert_eq!(head_of(&*store, id(1)).await, second.head);
    assert!(store.settle(&second, again(5), at(162)).await.expect("settled").is_done());
}

pub(super) async fn a_late_delivery_is_recorded_and_the_first_lead_id_stays(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let first = claim_one(&*store, 100).await;
    let second = claim_one(&*store, 200).await;
    assert!(store.settle(&first, delivered("lead-1"), at(201)).await.expect("settled").is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!(
        (found.state, found.reason, found.lead_id.as_deref()),
        (State::Delivered, Reason::Delivered, Some("lead-1"))
    );
    assert_eq!((found.due_at, found.expires_at), (None, Some(at(201) + KEEP)));
    assert_eq!(store.settle(&second, again(5), at(202)).await.expect("settled"), Set::Lost);

    // It went out twice; both are on record.
    assert!(store.settle(&second, delivered("lead-2"), at(203)).await.expect("settled").is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!((found.lead_id.as_deref(), found.expires_at), (Some("lead-1"), Some(at(201) + KEEP)));
    let deliveries = found.history.iter().filter_map(|event| event.attempt.as_ref());
    assert_eq!(deliveries.filter(|attempt| attempt.result == AttemptResult::Delivered).count(), 2);
}

pub(super) async fn a_settled_lease_is_lost(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, again(0), at(101)).await.expect("settled").is_done());
    assert_eq!(store.settle(&lease, again(0), at(101)).await.expect("settled"), Set::Lost);
    assert_eq!(erase(&*store, &[id(1)]).await, 1);
    assert_eq!(store.settle(&lease, delivered("lead-1"), at(102)).await.expect("settled"), Set::Lost);
}

pub(super) async fn a_failed_entry_waits_and_is_tried_again(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, again(30), at(101)).await.expect("settled").is_done());
    let waiting = head_of(&*store, id(1)).await;
    assert_eq!((waiting.state, waiting.reason, waiting.attempts), (State::Queued, Reason::Retrying, 1));
    assert_eq!(waiting.history.last().and_then(|event| event.attempt.clone()), Some(attempt(AttemptResult::Failed)));
    assert!(waiting.revision > lease.head.revision);
    assert_eq!(claim(&*store, 9, 130).await, []);
    assert_eq!(claim_one(&*store, 131).await.head.attempts, 2);
}

pub(super) async fn a_postponed_entry_has_no_attempt_counted(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, postponed(300), at(101)).await.expect("settled").is_done());
    let waiting = head_of(&*store, id(1)).await;
    assert_eq!((waiting.attempts, waiting.reason, waiting.history.len()), (0, Reason::Accepted, 1));
    assert_eq!(claim(&*store, 9, 400).await, []);

    let lease = claim_one(&*store, 401).await;
    let refused = attempt(AttemptResult::KeyRefused);
    let told = Settlement::Postponed { after: Duration::ZERO, attempt: Some(refused.clone()) };
    assert!(store.settle(&lease, told, at(402)).await.expect("settled").is_done());
    let waiting = head_of(&*store, id(1)).await;
    assert_eq!(waiting.attempts, 0);
    assert_eq!(waiting.history.last().and_then(|event| event.attempt.clone()), Some(refused));
}

pub(super) async fn what_was_not_tried_has_no_attempt_counted(store: AnyStore) {
    let refused = Some(attempt(AttemptResult::LeadRefused));
    let settlements = [
        (Settlement::Held { reason: Reason::SiteGone, attempt: None, keep: KEEP }, State::Held, Reason::SiteGone, 0),
        (Settlement::Dead { reason: Reason::GaveUp, attempt: None, keep: KEEP }, State::Dead, Reason::GaveUp, 0),
        (Settlement::Dead { reason: Reason::Refused, attempt: refused, keep: KEEP }, State::Dead, Reason::Refused, 1),
    ];
    for (number, (settlement, state, reason, attempts)) in (1..).zip(settlements) {
        add(&*store, entry(number, "acme")).await;
        let lease = claim_one(&*store, 100).await;
        assert!(store.settle(&lease, settlement, at(101)).await.expect("settled").is_done());
        let found = head_of(&*store, id(number)).await;
        assert_eq!((found.state, found.reason, found.attempts), (state, reason, attempts));
        assert_eq!((found.due_at, found.expires_at), (None, Some(at(101) + KEEP)));
        assert_eq!(found.history.last().map(|event| (event.state, event.reason)), Some((state, reason)));
    }
}

pub(super) async fn a_history_keeps_its_beginning_and_its_end(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    for round in 1..=70 {
        let lease = claim_one(&*store, 100 * round).await;
        assert!(store.settle(&lease, again(0), at(100 * round + 1)).await.expect("settled").is_done());
    }
    let times: Vec<_> = head_of(&*store, id(1)).await.history.iter().map(|event| event.at).collect();
    let first = std::iter::once(at(1)).chain((1..10).map(|round| at(100 * round + 1)));
    let newest = (21..=70).map(|round| at(100 * round + 1));
    assert_eq!(times, first.chain(newest).collect::<Vec<_>>());
    assert_eq!(times.len(), HISTORY_MAX);
}

pub(super) async fn a_wait_begins_anew_when_the_clock_went_back(store: AnyStore) {
    let year = 365 * 86_400;
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, year).await;
    assert!(store.settle(&lease, again(30), at(year)).await.expect("settled").is_done());
    assert_eq!(claim(&*store, 9, 100).await, []);
    assert_eq!(head_of(&*store, id(1)).await.due_at, Some(at(130)));
    assert_eq!(ids(&claim(&*store, 9, 130).await), [id(1)]);
}

pub(super) async fn what_waits_for_a_clock_that_went_back_is_due_at_once(store: AnyStore) {
    let accepted = |number, name| NewEntry { accepted_at: at(200), ..entry(number, name) };
    add(&*store, accepted(1, "acme")).await;
    assert_eq!(ids(&claim(&*store, 1, 200).await), [id(1)]);
    add(&*store, accepted(2, "beta")).await;
    assert_eq!(ids(&claim(&*store, 1, 39).await), [id(2)]);
}

pub(super) async fn a_clock_set_forward_and_back_strands_no_lease_and_no_wait(store: AnyStore) {
    const DAY: i64 = 86_400;
    for number in 1..=3 {
        add(&*store, entry(number, "acme")).await;
    }
    // While it is a day ahead one is leased and stays so, one waits, one is postponed.
    let leases = claim(&*store, 3, DAY).await;
    assert!(store.settle(&leases[1], again(100), at(DAY)).await.expect("settled").is_done());
    assert!(store.settle(&leases[2], postponed(300), at(DAY)).await.expect("settled").is_done());
    assert_eq!(ids(&claim(&*store, 9, 20).await), []);
    assert_eq!(ids(&claim(&*store, 9, 20 + LEASE.as_secs() as i64).await), [id(1)]);
    assert_eq!(ids(&claim(&*store, 9, 119).await), []);
    assert_eq!(ids(&claim(&*store, 9, 120).await), [id(2)]);
    assert_eq!(ids(&claim(&*store, 9, 320).await), [1, 2, 3].map(id));
    assert_eq!(head_of(&*store, id(1)).await.state, State::Queued);
}

pub(super) async fn retry_needs_the_newest_revision_and_no_lease(store: AnyStore) {
    let retry = || Change::Retry { reading: Box::new(reading("mended")) };
    add(&*store, entry(1, "acme")).await;
    let lease = claim_one(&*store, 100).await;
    let revision = lease.head.revision;
    assert_eq!(store.amend(id(1), revision, retry(), at(101)).await.expect("amended"), Set::Lost);
    let dead = Settlement::Dead { reason: Reason::Refused, attempt: None, keep: KEEP };
    assert!(store.settle(&lease, dead, at(102)).await.expect("settled").is_done());
    assert_eq!(store.amend(id(1), revision, retry(), at(103)).await.expect("amended"), Set::Lost);
    assert_eq!(&*entry_of(&*store, id(1)).await.received.body, b"message=1");

    let revision = head_of(&*store, id(1)).await.revision;
    assert!(store.amend(id(1), revision, retry(), at(104)).await.expect("amended").is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!((found.state, found.reason, found.attempts), (State::Queued, Reason::Retried, 0));
    assert_eq!((found.due_at, found.expires_at), (Some(at(104)), None));
    assert_eq!(found.reading, reading("mended"));
    assert_eq!(claim_one(&*store, 104).await.head.reading, reading("mended"));
    assert_eq!(store.amend(id(9), 1, retry(), at(104)).await.expect("amended"), Set::Lost);

    // A lease that ran out holds nobody back.
    let revision = head_of(&*store, id(1)).await.revision;
    assert!(store.amend(id(1), revision, retry(), at(500)).await.expect("amended").is_done());
}

pub(super) async fn only_what_is_held_is_filed_under_another_site(store: AnyStore) {
    let assign = || Change::Assign { site: site("beta") };
    add(&*store, held(1, "acme")).await;
    add(&*store, entry(2, "acme")).await;
    let before = head_of(&*store, id(1)).await;
    assert!(store.amend(id(1), 1, assign(), at(10)).await.expect("amended").is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!((found.site.as_str(), found.state, found.reason), ("beta", State::Held, before.reason));
    assert_eq!((found.reading, found.expires_at), (before.reading, before.expires_at));
    assert_eq!(store.amend(id(1), 1, assign(), at(10)).await.expect("amended"), Set::Lost, "it has another revision");
    assert_eq!(store.amend(id(2), 1, assign(), at(10)).await.expect("amended"), Set::Lost, "it is queued");
    let counts = store.counts().await.expect("counted");
    let counts: Vec<_> = counts.iter().map(|one| (one.site.as_str(), one.state, one.entries)).collect();
    assert_eq!(counts, [("acme", State::Queued, 1), ("beta", State::Held, 1)]);

    let retry = Change::Retry { reading: Box::new(reading("mended")) };
    assert!(store.amend(id(1), found.revision, retry, at(20)).await.expect("amended").is_done());
    let claimed = claim(&*store, 9, 100).await;
    let sites: Vec<_> = claimed.iter().map(|lease| lease.head.site.as_str()).collect();
    assert_eq!(sites, ["acme", "beta"]);
}

pub(super) async fn hold_and_drop_keep_to_their_states(store: AnyStore) {
    let hold = || Change::Hold { reason: Reason::Undecodable, reading: Box::new(reading("still odd")) };
    let drop = || Change::Drop { keep: KEEP };
    add(&*store, held(1, "acme")).await;
    add(&*store, entry(2, "acme")).await;
    assert!(store.amend(id(1), 1, hold(), at(10)).await.expect("amended").is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!((found.state, found.reason, found.expires_at), (State::Held, Reason::Undecodable, Some(at(1) + KEEP)));
    assert_eq!(found.reading, reading("still odd"));
    assert_eq!(store.amend(id(2), 1, hold(), at(10)).await.expect("amended"), Set::Lost);

    for number in [1, 2] {
        let revision = head_of(&*store, id(number)).await.revision;
        assert!(store.amend(id(number), revision, drop(), at(20)).await.expect("amended").is_done());
        let found = head_of(&*store, id(number)).await;
        assert_eq!((found.state, found.reason, found.expires_at), (State::Dead, Reason::Dropped, Some(at(20) + KEEP)));
        assert_eq!(store.amend(id(number), found.revision, drop(), at(21)).await.expect("amended"), Set::Lost);
    }
    assert_eq!(claim(&*store, 9, 1_000).await, []);
}

pub(super) async fn amend_queues_what_is_held_or_dead_and_keeps_the_overlay(store: AnyStore) {
    let mut amended = reading("amended");
    let correction = Correction { value: "Jane".to_owned(), at: at(5), by: "cli".to_owned() };
    amended.overlay.set(LeadField::Name, correction).expect("set");
    let amend = async |number, revision| {
        let change = Change::Amend { reading: Box::new(amended.clone()) };
        store.amend(id(number), revision, change, at(50)).await.expect("amended")
    };
    add(&*store, held(1, "acme")).await;
    assert_eq!(amend(1, 9).await, Set::Lost, "another revision");
    assert!(amend(1, 1).await.is_done());
    let found = head_of(&*store, id(1)).await;
    assert_eq!((found.state, found.reason, found.expires_at), (State::Queued, Reason::Amended, None));
    assert_eq!((found.reading, found.due_at, found.attempts), (amended.clone(), Some(at(50)), 0));
    assert!(found.history.last().is_some_and(|event| event.reason == Reason::Amended && event.begins_anew()));
    assert_eq!(amend(1, 2).await, Set::Lost, "it is queued");
    let lease = claim_one(&*store, 60).await;
    assert_eq!((lease.head.id, &lease.head.reading), (id(1), &amended));
    assert!(store.settle(&lease, delivered("lead_1"), at(60)).await.expect("settled").is_done());
    let revision = head_of(&*store, id(1)).await.revision;
    assert_eq!(amend(1, revision).await, Set::Lost, "it is delivered");
}

pub(super) async fn scan_filters_and_goes_on_from_its_cursor(store: AnyStore) {
    for number in 0..12 {
        let site_name = if number % 2 == 0 { "even" } else { "odd" };
        let new = if number % 3 == 0 { held(number, site_name) } else { entry(number, site_name) };
        let form = FormId::parse(if number < 6 { "contact" } else { "quote" }).expect("a slug");
        add(&*store, NewEntry { form, ..new }).await;
    }
    let found = async |filter: Filter| {
        let page = store.scan(&filter, Order::Oldest, None, 100).await.expect("scanned");
        assert_eq!(page.next, None);
        page.heads.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    let all = Filter::default;
    assert_eq!(found(all()).await, (0..12).map(id).collect::<Vec<_>>());
    assert_eq!(found(Filter { site: Some(site("odd")), ..all() }).await, [1, 3, 5, 7, 9, 11].map(id));
    assert_eq!(found(Filter { state: Some(State::Held), ..all() }).await, [0, 3, 6, 9].map(id));
    assert_eq!(
        found(Filter { reason: Some(Reason::Invalid), site: Some(site("even")), ..all() }).await,
        [0, 6].map(id)
    );
    assert_eq!(
        found(Filter { form: FormId::parse("quote").ok(), state: Some(State::Held), ..all() }).await,
        [6, 9].map(id)
    );
    assert_eq!(found(Filter { since: Some(at(3)), until: Some(at(6)), ..all() }).await, [3, 4, 5].map(id));
    assert_eq!(found(Filter { state: Some(State::Dead), ..all() }).await, []);
    assert_eq!(found(Filter { site: Some(site("nobody")), ..all() }).await, []);

    let (mut cursor, mut sizes, mut seen) = (None, Vec::new(), Vec::new());
    loop {
        let page = store.scan(&all(), Order::Oldest, cursor, 5).await.expect("scanned");
        sizes.push(page.heads.len());
        seen.extend(page.heads.iter().map(|entry| entry.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [5, 5, 2]);
    assert_eq!(seen, (0..12).map(id).collect::<Vec<_>>());
}

pub(super) async fn scan_goes_either_way(store: AnyStore) {
    for number in 0..12 {
        let site_name = if number % 2 == 0 { "even" } else { "odd" };
        add(&*store, if number % 3 == 0 { held(number, site_name) } else { entry(number, site_name) }).await;
    }
    let all = Filter::default;
    let pages = async |filter: Filter, order, limit| {
        let (mut cursor, mut sizes, mut seen) = (None, Vec::new(), Vec::new());
        loop {
            let page = store.scan(&filter, order, cursor, limit).await.expect("scanned");
            sizes.push(page.heads.len());
            seen.extend(page.heads.iter().map(|entry| entry.id));
            cursor = page.next;
            if cursor.is_none() {
                return (sizes, seen);
            }
        }
    };
    let newest = pages(all(), Order::Newest, 5).await;
    assert_eq!(newest, (vec![5, 5, 2], (0..12).rev().map(id).collect::<Vec<_>>()));
    // A page that is full to the last entry has no next.
    assert_eq!(pages(all(), Order::Newest, 6).await.0, [6, 6]);
    let odd = Filter { site: Some(site("odd")), ..all() };
    assert_eq!(pages(odd, Order::Newest, 4).await, (vec![4, 2], [11, 9, 7, 5, 3, 1].map(id).to_vec()));
    let held = Filter { state: Some(State::Held), since: Some(at(1)), until: Some(at(9)), ..all() };
    assert_eq!(pages(held, Order::Newest, 1).await, (vec![1, 1], [6, 3].map(id).to_vec()));
    let back = store.scan(&all(), Order::Newest, Some(id(3)), 2).await.expect("scanned");
    let forth = store.scan(&all(), Order::Oldest, Some(id(3)), 2).await.expect("scanned");
    let ids = |heads: &[Head]| heads.iter().map(|head| head.id).collect::<Vec<_>>();
    assert_eq!((ids(&back.heads), ids(&forth.heads)), (vec![id(2), id(1)], vec![id(4), id(5)]));
}

pub(super) async fn a_scan_of_sites_gives_what_a_scan_of_each_gives(store: AnyStore) {
    for number in 0..12 {
        let site_name = ["even", "odd", "even", "few"][usize::from(number % 4)];
        let new = if number % 3 == 0 { held(number, site_name) } else { entry(number, site_name) };
        let form = FormId::parse(if number < 6 { "contact" } else { "quote" }).expect("a slug");
        add(&*store, NewEntry { form, ..new }).await;
    }
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, delivered("lead"), at(101)).await.expect("settled").is_done());
    let quote = FormId::parse("quote").ok();
    let all = Filter::default;
    let filters = [
        all(),
        Filter { state: Some(State::Queued), ..all() },
        Filter { state: Some(State::Held), form: quote.clone(), ..all() },
        Filter { state: Some(State::Delivered), ..all() },
        Filter { form: quote, since: Some(at(7)), ..all() },
        Filter { reason: Some(Reason::Invalid), until: Some(at(9)), ..all() },
        Filter { site: Some(site("odd")), ..all() },
    ];
    // In no order, and one of them twice.
    let sites = ["odd", "nobody", "even", "few", "odd"].map(site);
    for (filter, limit) in filters.iter().flat_map(|filter| [1, 2, 9].map(|limit| (filter, limit))) {
        let mut expected = Vec::new();
        for site in &sites {
            let of_site = Filter { site: Some(site.clone()), ..filter.clone() };
            expected.push(store.scan(&of_site, Order::Oldest, None, limit).await.expect("scanned"));
        }
        let found = store.scan_sites(&sites, filter, limit).await.expect("scanned");
        assert_eq!(found, expected, "{filter:?}, {limit}");
    }
    assert_eq!(store.scan_sites(&[], &all(), 9).await.expect("scanned"), []);
}

pub(super) async fn counts_follow_each_change(store: AnyStore) {
    let counts = async || {
        let counts = store.counts().await.expect("counted");
        counts.into_iter().map(|c| (c.site.to_string(), c.state, c.entries, c.oldest)).collect::<Vec<_>>()
    };
    assert_eq!(counts().await, []);
    add(&*store, entry(1, "b")).await;
    add(&*store, entry(2, "b")).await;
    add(&*store, held(3, "a")).await;
    let a_held = ("a".to_owned(), State::Held, 1, None);
    assert_eq!(counts().await, [a_held.clone(), ("b".to_owned(), State::Queued, 2, Some(at(1)))]);

    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, delivered("lead-1"), at(101)).await.expect("settled").is_done());
    let b_delivered = ("b".to_owned(), State::Delivered, 1, None);
    assert_eq!(counts().await, [a_held, ("b".to_owned(), State::Queued, 1, Some(at(2))), b_delivered.clone()]);

    assert_eq!(erase(&*store, &[id(2), id(3)]).await, 2);
    assert_eq!(counts().await, [b_delivered]);
}

pub(super) async fn each_settlement_tells_its_transition(store: AnyStore) {
    use AttemptResult::{Failed, KeyRefused, LeadRefused};
    let tried = |result| Some(attempt(result));
    let dead = Settlement::Dead { reason: Reason::Refused, attempt: tried(LeadRefused), keep: KEEP };
    let poison = Settlement::Held { reason: Reason::Poison, attempt: tried(LeadRefused), keep: KEEP };
    let key_refused = Settlement::Postponed { after: Duration::ZERO, attempt: tried(KeyRefused) };
    let gone = Settlement::SiteGone { after: Duration::from_secs(10) };
    let settlements = [
        (delivered("lead"), State::Delivered, Reason::Delivered, Some(AttemptResult::Delivered), true),
        (again(30), State::Queued, Reason::Retrying, Some(Failed), true),
        (dead, State::Dead, Reason::Refused, Some(LeadRefused), true),
        (poison, State::Held, Reason::Poison, Some(LeadRefused), true),
        (key_refused, State::Queued, Reason::Accepted, Some(KeyRefused), true),
        (gone, State::Queued, Reason::SiteGone, None, true),
        (postponed(10), State::Queued, Reason::Accepted, None, false),
    ];
    let now = at(500) + jiff::SignedDuration::from_micros(1_700);
    let whole = at(500) + jiff::SignedDuration::from_millis(1);
    for (number, (settlement, to, reason, attempt, recorded)) in (1..).zip(settlements) {
        add(&*store, entry(number, "acme")).await;
        let lease = claim_one(&*store, 100).await;
        let set = store.settle(&lease, settlement, now).await.expect("settled");
        let from = State::Queued;
        assert_eq!(set, Set::Done(Transition { from, to, reason, attempt, recorded, at: whole }), "{number}");
        let head = head_of(&*store, id(number)).await;
        assert_eq!((head.state, head.reason), (to, reason), "{number}");
        // A late one is from the state that the entry has by then, not from the one that it was claimed in.
        let late = store.settle(&lease, delivered("late"), at(501)).await.expect("settled");
        let to = State::Delivered;
        let reason = Reason::Delivered;
        let attempt = Some(AttemptResult::Delivered);
        let from = head.state;
        let expected = Transition { from, to, reason, attempt, recorded: true, at: at(501) };
        assert_eq!(late, Set::Done(expected), "{number}");
    }
}

pub(super) async fn each_change_tells_its_transition(store: AnyStore) {
    let reading = || Box::new(reading("mended"));
    let gone = || NewEntry { reason: Reason::SiteGone, ..held(4, "acme") };
    let changes = [
        (entry(1, "acme"), Change::Retry { reading: reading() }, State::Queued, Reason::Retried),
        (held(2, "acme"), Change::Amend { reading: reading() }, State::Queued, Reason::Amended),
        (held(3, "acme"), Change::Hold { reason: Reason::Test, reading: reading() }, State::Held, Reason::Test),
        (gone(), Change::SiteBack, State::Queued, Reason::SiteBack),
        (entry(5, "acme"), Change::Drop { keep: KEEP }, State::Dead, Reason::Dropped),
        (held(6, "acme"), Change::Assign { site: site("beta") }, State::Held, Reason::Invalid),
    ];
    let now = at(500) + jiff::SignedDuration::from_micros(1_700);
    let whole = at(500) + jiff::SignedDuration::from_millis(1);
    for (new, change, to, reason) in changes {
        let id = new.id;
        let from = new.state;
        add(&*store, new).await;
        let set = store.amend(id, 1, change, now).await.expect("amended");
        let expected = Transition { from, to, reason, attempt: None, recorded: true, at: whole };
        assert_eq!(set, Set::Done(expected), "{id}");
        let head = head_of(&*store, id).await;
        assert_eq!((head.state, head.reason), (to, reason), "{id}");
    }
}

pub(super) async fn claims_and_scans_give_the_head_that_get_gives(store: AnyStore) {
    for (number, new) in [(1, entry(1, "acme")), (2, held(2, "acme")), (3, entry(3, "beta"))] {
        add(&*store, with_body(&format!("a body of its own, {number}"), new)).await;
    }
    let refused = Settlement::Postponed { after: Duration::ZERO, attempt: Some(attempt(AttemptResult::KeyRefused)) };
    let lease = claim_one(&*store, 100).await;
    assert!(store.settle(&lease, refused, at(101)).await.expect("settled").is_done());
    for lease in claim(&*store, 9, 102).await {
        assert_eq!(lease.head, head_of(&*store, lease.head.id).await);
    }
    for order in [Order::Oldest, Order::Newest] {
        let page = store.scan(&Filter::default(), order, None, 9).await.expect("scanned");
        assert_eq!(page.heads.len(), 3);
        for head in page.heads {
            assert_eq!(head, head_of(&*store, head.id).await);
        }
    }
}

pub(super) async fn the_trace_goes_with_the_head(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    let untraced = Received { traceparent: None, ..received("untraced") };
    add(&*store, NewEntry { received: untraced, ..entry(2, "acme") }).await;
    let told = |head: &Head| (head.traceparent.clone(), head.trace_id().map(str::to_owned));
    let traced = (Some(TRACEPARENT.to_owned()), Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()));
    let expected = [traced, (None, None)];
    let page = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned");
    assert_eq!(page.heads.iter().map(told).collect::<Vec<_>>(), expected);
    let leases = claim(&*store, 9, 100).await;
    assert_eq!(leases.iter().map(|lease| told(&lease.head)).collect::<Vec<_>>(), expected);
    for (number, expected) in (1..).zip(&expected) {
        let Entry { head, received } = entry_of(&*store, id(number)).await;
        assert_eq!((&told(&head), received.traceparent), (expected, expected.0.clone()));
    }
}

pub(super) async fn no_change_touches_what_was_received(store: AnyStore) {
    let changes = [
        Change::Retry { reading: Box::new(reading("mended, and longer than it was before")) },
        Change::Amend { reading: Box::new(reading("amended")) },
        Change::Hold { reason: Reason::Invalid, reading: Box::new(reading("no")) },
        Change::Assign { site: site("beta") },
        Change::Drop { keep: KEEP },
    ];
    for (number, change) in (1..).zip(changes) {
        let new = with_body(&"x".repeat(9_000), held(number, "acme"));
        add(&*store, new.clone()).await;
        assert!(store.amend(new.id, 1, change, at(100)).await.expect("amended").is_done());
        assert_eq!(entry_of(&*store, new.id).await.received, new.received, "{number}");
    }
}

pub(super) async fn erased_entries_are_gone(store: AnyStore) {
    add(&*store, entry(1, "acme")).await;
    add(&*store, held(2, "acme")).await;
    add(&*store, held(3, "acme")).await;
    assert_eq!(erase(&*store, &[id(1), id(2), id(9)]).await, 2);
    assert_eq!(erase(&*store, &[id(1)]).await, 0);
    assert_eq!(store.get(id(1)).await.expect("read"), None);
    assert_eq!(claim(&*store, 9, 1_000).await, []);
    let rest = store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("scanned").heads;
    assert_eq!(rest.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id(3)]);
}

pub(super) async fn only_what_has_expired_is_removed(store: AnyStore) {
    for number in 1..=4 {
        add(&*store, held(number, "acme")).await;
    }
    add(&*store, NewEntry { keep: None, ..held(5, "acme") }).await;
    add(&*store, NewEntry { keep: Some(KEEP), ..entry(6, "acme") }).await;
    let keep = i64::try_from(KEEP.as_secs()).expect("small");
    assert_eq!(store.expire(at(keep), 9).await.expect("expired"), 0);
    assert_eq!(store.expire(at(keep + 3), 2).await.expect("expired"), 2);
    assert_eq!(store.get(id(2)).await.expect("read"), None);
    assert_eq!(head_of(&*store, id(3)).await.state, State::Held);
    assert_eq!(store.expire(at(keep + 3), 9).await.expect("expired"), 1);
    assert_eq!(store.expire(at(100 * keep), 9).await.expect("expired"), 1);
    assert_eq!(head_of(&*store, id(5)).await.expires_at, None);
    assert_eq!(head_of(&*store, id(6)).await.state, State::Queued);
}

pub(super) async fn changed_tells_of_what_may_be_due(store: AnyStore) {
    let mut changed = store.changed();
    assert!(!changed.has_changed().expect("open"));
    add(&*store, entry(1, "acme")).await;
    changed.changed().await.expect("open");

    let lease = claim_one(&*store, 100).await;
    assert!(!changed.has_changed().expect("open"));
    assert!(store.settle(&lease, again(0), at(101)).await.expect("settled").is_done());
    changed.changed().await.expect("open");

    let revision = head_of(&*store, id(1)).await.revision;
    let retry = Change::Retry { reading: Box::new(reading("mended")) };
    assert!(store.amend(id(1), revision, retry, at(102)).await.expect("amended").is_done());
    changed.changed().await.expect("open");
}

pub(super) async fn a_new_store_is_ready(store: AnyStore) {
    assert!(store.ready().await.is_ok());
    assert!(store.problems().await.expect("read").is_empty());
    let ended = tokio::time::timeout(std::time::Duration::ZERO, store.ended());
    assert!(ended.await.is_err(), "it goes on");
}

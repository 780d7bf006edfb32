//! What every store must do. Each promise is a function in [`promises`], [`outbox`], [`notes`] or [`carry`]; `on_each!` makes a
//! test of it for each store.

mod backup;

mod carry;

mod causes;

mod damage;

mod durability;

mod former;

mod indexes;

mod model;

mod notes;

mod outbox;

mod promises;

mod shared;

mod together;

use std::time::Duration;

use bytes::Bytes;
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::postgres_url::PostgresUrl;
use formgate::queue::memory::MemoryStore;
use formgate::queue::postgres::{Options as PostgresOptions, PostgresStore, StoreClock};
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{
    Appended, Attempt, AttemptResult, Claim, Entry, Head, Key, Lease, NewEntry, Reading, Reason, Settlement, State,
    Store, StoreError,
};
use formgate::received::Received;
use jiff::Timestamp;

use crate::postgres::fresh_database;

const WINDOW: Duration = Duration::from_secs(600);
const LEASE: Duration = Duration::from_secs(60);
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const KEEP: Duration = Duration::from_secs(86_400);

macro_rules! on_each {
    ($promises:ident as $memory:ident, $sqlite:ident, $postgres:ident: $($promise:ident)*) => {
        mod $memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promises::$promise(std::sync::Arc::new(super::MemoryStore::new(super::WINDOW))).await;
            })*
        }

        mod $sqlite {
            $(#[tokio::test]
            async fn $promise() {
                let folder = tempfile::tempdir().expect("a folder");
                super::$promises::$promise(std::sync::Arc::new(super::open(folder.path()))).await;
            })*
        }

        mod $postgres {
            $(#[tokio::test]
            async fn $promise() {
                super::$promises::$promise(std::sync::Arc::new(super::open_postgres().await)).await;
            })*
        }
    };
}

on_each! {
    promises as memory, sqlite, postgres:
    what_was_appended_is_given_back_whole
    a_repeated_id_is_refused_and_the_first_stays
    a_key_is_a_duplicate_only_within_the_window
    of_many_appends_with_one_key_one_is_new
    a_key_of_an_erased_entry_is_new
    a_claim_counts_the_attempt_and_takes_the_entry
    a_claim_takes_sites_in_turn_and_the_oldest_first
    the_next_claim_goes_on_with_the_next_site
    a_claim_of_new_entries_passes_over_a_backlog
    a_claim_of_new_entries_finds_them_behind_sites_with_a_backlog
    sites_take_turns_apart_in_both_kinds_of_claim
    a_claim_takes_no_more_of_a_site_than_its_quota
    a_claim_takes_only_of_its_partitions
    a_confirmed_delivery_counts_no_attempt
    held_entries_are_not_claimed
    a_lease_that_ran_out_is_claimed_again
    a_late_delivery_is_recorded_and_the_first_lead_id_stays
    a_settled_lease_is_lost
    a_failed_entry_waits_and_is_tried_again
    a_postponed_entry_has_no_attempt_counted
    what_was_not_tried_has_no_attempt_counted
    a_history_keeps_its_beginning_and_its_end
    a_sites_waits_can_be_ended_but_not_its_leases
    a_wait_begins_anew_when_the_clock_went_back
    what_waits_for_a_clock_that_went_back_is_due_at_once
    a_clock_set_forward_and_back_strands_no_lease_and_no_wait
    retry_needs_the_newest_revision_and_no_lease
    hold_and_drop_keep_to_their_states
    only_what_is_held_is_filed_under_another_site
    amend_queues_what_is_held_or_dead_and_keeps_the_overlay
    scan_filters_and_goes_on_from_its_cursor
    scan_goes_either_way
    a_scan_of_sites_gives_what_a_scan_of_each_gives
    counts_follow_each_change
    each_settlement_tells_its_transition
    each_change_tells_its_transition
    claims_and_scans_give_the_head_that_get_gives
    the_trace_goes_with_the_head
    no_change_touches_what_was_received
    erased_entries_are_gone
    only_what_has_expired_is_removed
    changed_tells_of_what_may_be_due
    a_new_store_is_ready
}

on_each! {
    outbox as outbox_in_memory, outbox_in_sqlite, outbox_in_postgres:
    nothing_is_recorded_while_nobody_reads
    each_transition_is_an_event
    only_what_a_process_asks_for_is_recorded
    what_an_operator_changes_is_an_event
    what_changes_nothing_is_no_event
    what_expires_is_an_event_and_what_is_erased_is_not
    numbers_rise_and_are_never_given_again
    an_event_is_kept_until_every_reader_has_it
    a_reader_that_goes_keeps_nothing_back
    events_come_in_pages
    an_event_is_emitted_once_for_a_key
    what_nobody_reads_in_time_is_dropped_and_counted
    there_are_only_so_many_readers
    changed_tells_of_an_event
}

on_each! {
    notes as notes_in_memory, notes_in_sqlite, notes_in_postgres:
    a_note_is_merged_as_it_is_told
    whoever_writes_last_is_the_latest
    notes_are_listed_by_kind_and_prefix
    of_too_many_notes_the_oldest_falls_out
    a_note_is_removed_when_its_time_is_over
    what_many_add_at_once_adds_up
    several_notes_are_written_each_as_of_its_own_time
    one_holds_a_name_until_its_time_is_over
    a_hold_from_the_future_is_as_short_as_any
    whoever_asks_with_an_older_time_shortens_no_hold
    of_many_who_ask_at_once_one_holds
    only_so_many_names_are_held
}

on_each! {
    carry as carry_in_memory, carry_in_sqlite, carry_in_postgres:
    entries_leave_whole_and_in_order
    a_page_ends_after_so_many_bytes
    what_is_leased_leaves_as_abandoned_and_stays_leased
    entries_come_in_as_they_left
    what_comes_in_twice_stays_as_it_is
    a_digest_tells_every_entry_from_any_other
    a_copy_keeps_what_has_one_key
    an_append_that_comes_late_is_a_duplicate_within_the_window
    what_was_seen_elsewhere_is_counted_too
    only_an_append_that_comes_late_is_an_event
    too_many_at_once_are_refused
    what_comes_in_wakes_who_waits
    events_come_in_with_their_numbers_and_readers
    a_number_that_another_store_gave_is_not_given_again
    the_keys_of_what_was_emitted_leave_in_their_order
    notes_come_in_as_they_are_and_the_later_one_stays
}

on_each! {
    causes as causes_in_memory, causes_in_sqlite, causes_in_postgres:
    what_needs_a_person_is_counted_by_its_cause
    no_more_is_counted_than_was_asked_for
    what_comes_from_another_store_is_counted_too
}

pub(crate) fn open(folder: &std::path::Path) -> SqliteStore {
    let options = Options { dedupe_window: WINDOW, max_size: None, opened_at: at(0) };
    SqliteStore::open(&folder.join("store.db"), options).expect("the store opens")
}

/// Opens a store in a database of its own. Its time is what the test says.
pub(crate) async fn open_postgres() -> PostgresStore {
    open_postgres_at(&fresh_database().await.url)
}

pub(crate) fn open_postgres_at(url: &str) -> PostgresStore {
    let url = PostgresUrl::parse(url).expect("a URL");
    let options = PostgresOptions { dedupe_window: WINDOW, max_size: None, clock: StoreClock::Caller };
    PostgresStore::open(&url, options).expect("the store opens")
}

/// Erases entries; returns how many there were, also where bytes remain of which the store says so.
async fn erase(store: &dyn Store, ids: &[EntryId]) -> usize {
    match store.erase(ids).await {
        Ok(erased) | Err(StoreError::Remains { erased, .. }) => erased,
        Err(error) => panic!("{error}"),
    }
}

/// Returns a time so many seconds after the tests' beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + seconds).expect("in range")
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn site(name: &str) -> SiteId {
    SiteId::parse(name).expect("a slug")
}

pub(crate) fn id(number: u8) -> EntryId {
    EntryId::new(1_760_000_000_000 + 1_000 * u64::from(number), &[number; 10])
}

/// Returns a queued entry, accepted `number` seconds after the beginning.
pub(crate) fn entry(number: u8, site_name: &str) -> NewEntry {
    NewEntry {
        id: id(number),
        site: site(site_name),
        form: FormId::parse("contact").expect("a slug"),
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: at(i64::from(number)),
        keep: None,
        reading: reading(&format!("message={number}")),
        received: received(&format!("message={number}")),
    }
}

pub(crate) fn held(number: u8, site_name: &str) -> NewEntry {
    NewEntry { state: State::Held, reason: Reason::Invalid, keep: Some(KEEP), ..entry(number, site_name) }
}

/// What comes with a body, which is as long as the lead's message.
fn with_body(body: &str, new: NewEntry) -> NewEntry {
    NewEntry { reading: reading(body), received: received(body), ..new }
}

fn reading(message: &str) -> Reading {
    let draft = Draft { email: Some("jane@example.com"), message: Some(message), ..Draft::default() };
    Reading {
        mapping: Some("generic".to_owned()),
        lead: Some(Lead::check(draft).expect("a lead").lead),
        oddities: vec!["odd".to_owned()],
        ..Reading::default()
    }
}

fn received(body: &str) -> Received {
    Received {
        method: "POST".to_owned(),
        query: Some("a=b".to_owned()),
        headers: [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())].into(),
        traceparent: Some(TRACEPARENT.to_owned()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        cut: false,
        parts: None,
    }
}

pub(crate) async fn add(store: &dyn Store, entry: NewEntry) -> EntryId {
    let id = entry.id;
    assert_eq!(store.append(entry, None).await.expect("appended"), Appended::New(id));
    id
}

async fn claim(store: &dyn Store, max: usize, now: i64) -> Vec<Lease> {
    store.claim(&Claim::new(max, LEASE, at(now))).await.expect("claimed")
}

pub(crate) async fn claim_one(store: &dyn Store, now: i64) -> Lease {
    let leases = claim(store, 1, now).await;
    leases.into_iter().next().expect("something is due")
}

pub(crate) async fn entry_of(store: &dyn Store, id: EntryId) -> Entry {
    store.get(id).await.expect("read").expect("there is such an entry")
}

pub(crate) async fn head_of(store: &dyn Store, id: EntryId) -> Head {
    entry_of(store, id).await.head
}

fn attempt(result: AttemptResult) -> Attempt {
    Attempt { result, status: Some(500), duration_ms: 12, words: Some("oops".to_owned()), confirmed: None }
}

pub(crate) fn delivered(lead_id: &str) -> Settlement {
    let attempt = attempt(AttemptResult::Delivered);
    Settlement::Delivered { lead_id: Some(lead_id.to_owned()), attempt, keep: KEEP }
}

pub(crate) fn again(seconds: u64) -> Settlement {
    Settlement::Again { after: Duration::from_secs(seconds), attempt: attempt(AttemptResult::Failed) }
}

fn postponed(seconds: u64) -> Settlement {
    Settlement::Postponed { after: Duration::from_secs(seconds), attempt: None }
}

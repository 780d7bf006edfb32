//! The operator's verbs on a store: what each does, to what, and what it leaves alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use formgate::config::{Config, shipped_mappings};
use formgate::lead::{EntryId, FormId, LeadField, SiteId};
use formgate::map::{ExtrasRule, LeadRule, LeadRules, Selector, Source};
use formgate::operate::{
    self, Actor, AmendAsked, Audit, BadAmend, Cursor, Done, DropAsked, EntryOutcome, EraseAsked, FilterAsked, Groups,
    NotFound, OperateError, RetryAsked, Situation, Tried,
};
use formgate::pipeline::{self, End, FormRules};
use formgate::queue::memory::MemoryStore;
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{
    Appended, Attempt, AttemptResult, Change, Claim, Confirmed, Entry, Head, NewEntry, Order, Reading, Reason,
    SendingStatus, Settlement, State, Store,
};
use formgate::received::Received;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::gateway;
use crate::world::site;

const KEEP: Duration = Duration::from_secs(3600);
const GOOD: &str = "name=Jane&email=jane%40example.com&message=Hello";
const BAD: &str = "name=Jane&email=nowhere&message=Hello";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn id(number: u8) -> EntryId {
    EntryId::new(1_000 * u64::from(number), &[number; 10])
}

/// A store, and the configuration of the moment.
struct Place {
    store: Arc<MemoryStore>,
    config: Arc<Config>,
    audit: Audit,
}

impl Place {
    fn new() -> Self {
        Self::with(|_config| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = gateway::config();
        config.mappings = Arc::new(shipped_mappings().0);
        change(&mut config);
        let audit = Audit::of(&config);
        Self { store: Arc::new(MemoryStore::default()), config: Arc::new(config), audit }
    }

    /// Appends what the gateway would have made of a body, then.
    async fn add(&self, number: u8, site: &str, body: &str, reason: Reason) -> EntryId {
        let received = Received {
            method: "POST".to_owned(),
            headers: BTreeMap::from([("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]),
            body: body.to_owned().into(),
            ..Received::default()
        };
        self.add_received(number, site, received, reason).await
    }

    async fn add_received(&self, number: u8, site: &str, received: Received, reason: Reason) -> EntryId {
        let form = FormId::parse("contact").expect("a form");
        let processed =
            pipeline::process(&shipped_mappings().0, &pipeline::SiteRules::default(), Some(&form), &received);
        let (lead, errors) = match processed.end {
            End::Lead { lead, .. } => (Some(lead), Vec::new()),
            End::Held { lead, errors, .. } => (lead, errors),
        };
        let reading =
            Reading { mapping: processed.mapping, lead, errors, shape: processed.shape, ..Reading::default() };
        let state = if reason == Reason::Accepted { State::Queued } else { State::Held };
        let site = SiteId::parse(site).expect("a site");
        let accepted_at = at(i64::from(number));
        let keep = (state == State::Held).then_some(KEEP);
        let entry = NewEntry { id: id(number), site, form, state, reason, accepted_at, keep, reading, received };
        assert_eq!(self.store.append(entry, None).await.expect("appended"), Appended::New(id(number)));
        id(number)
    }

    /// A gateway runs that holds nothing back, with some more sites.
    fn situation(&self) -> Situation {
        let mut config = gateway::config();
        config.mappings = Arc::clone(&self.config.mappings);
        config.sites = ["a", "b", "c", "d", "e", "f"].map(|name| site(name, "1")).into();
        config.sites.extend(self.config.sites.clone());
        Situation { config: Arc::new(config), sending: Some(SendingStatus::default()), now: at(1_000) }
    }

    /// Claims what is due, and ends it.
    async fn settle(&self, wanted: EntryId, settlement: Settlement) {
        self.settle_at(500, wanted, settlement).await;
    }

    async fn settle_at(&self, second: i64, wanted: EntryId, settlement: Settlement) {
        let leases = self.store.claim(&Claim::new(100, KEEP, at(second))).await.expect("claimed");
        for lease in leases {
            let settlement = match lease.head.id == wanted {
                true => settlement.clone(),
                false => Settlement::Postponed { after: Duration::ZERO, attempt: None },
            };
            assert!(self.store.settle(&lease, settlement, at(second)).await.expect("settled").is_done());
        }
    }

    async fn entry(&self, id: EntryId) -> Entry {
        self.store.get(id).await.expect("read").expect("it is there")
    }

    async fn head(&self, id: EntryId) -> Head {
        self.entry(id).await.head
    }

    async fn amend(&self, asked: AmendAsked) -> Result<Done, OperateError> {
        operate::amend(&*self.store, &self.config, &self.audit, &asked, Actor::Cli, at(1_000)).await
    }

    async fn try_retry(&self, asked: RetryAsked) -> Result<Tried, OperateError> {
        operate::retry(&*self.store, &self.config, &self.audit, &asked, Actor::Cli, at(1_000)).await
    }

    async fn retry(&self, asked: RetryAsked) -> Vec<EntryOutcome> {
        outcomes(&self.try_retry(asked).await.expect("done").results)
    }

    async fn groups(&self, asked: FilterAsked) -> Groups {
        operate::groups(&*self.store, &asked.read(at(1_000)).expect("a filter"), &self.situation())
            .await
            .expect("grouped")
    }
}

fn outcomes(results: &[Done]) -> Vec<EntryOutcome> {
    results.iter().map(|done| done.outcome).collect()
}

fn by_ids(ids: &[EntryId]) -> RetryAsked {
    RetryAsked { ids: ids.iter().map(EntryId::to_string).collect(), ..RetryAsked::default() }
}

fn by_filter() -> RetryAsked {
    RetryAsked { filter: Some(FilterAsked::default()), ..RetryAsked::default() }
}

fn attempt(result: AttemptResult, status: u16, words: &str) -> Attempt {
    Attempt { result, status: Some(status), duration_ms: 1, words: Some(words.to_owned()), confirmed: None }
}

fn refused() -> Settlement {
    let attempt = Some(attempt(AttemptResult::LeadRefused, 400, "Name is too odd"));
    Settlement::Dead { reason: Reason::Refused, attempt, keep: KEEP }
}

fn delivered() -> Settlement {
    let attempt = attempt(AttemptResult::Delivered, 200, "");
    Settlement::Delivered { lead_id: Some("lead_1".to_owned()), attempt, keep: KEEP }
}

#[tokio::test]
async fn a_retry_sends_what_is_a_lead_by_now_and_holds_what_is_still_none() {
    let place = Place::new();
    let good = place.add(1, "acme", GOOD, Reason::Undecodable).await;
    let bad = place.add(2, "acme", BAD, Reason::Undecodable).await;
    let dry = place.try_retry(RetryAsked { dry_run: true, ..by_filter() }).await.expect("done");
    assert_eq!(outcomes(&dry.results), [EntryOutcome::Queued, EntryOutcome::Held]);
    let after = dry.results[0].after.as_ref().expect("the lead it would be");
    assert_eq!(after.email(), "jane@example.com");
    assert_eq!(place.head(good).await.revision, 1, "nothing is changed by a dry run");

    assert_eq!(place.retry(by_filter()).await, [EntryOutcome::Queued, EntryOutcome::Held]);
    let good = place.head(good).await;
    let bad = place.head(bad).await;
    assert_eq!((good.state, good.reason, good.expires_at), (State::Queued, Reason::Retried, None));
    assert!(good.due_at.is_some_and(|due_at| due_at >= at(1_000) && due_at < at(1_010)), "{:?}", good.due_at);
    assert_eq!((bad.state, bad.reason, bad.expires_at), (State::Held, Reason::Invalid, Some(at(2) + KEEP)));

    assert_eq!(place.retry(by_filter()).await, [EntryOutcome::Unchanged], "what is queued is not gone through");
    assert_eq!(place.retry(by_ids(&[good.id, bad.id])).await, [EntryOutcome::Unchanged, EntryOutcome::Unchanged]);
    assert_eq!(place.retry(RetryAsked { again: true, ..by_ids(&[good.id]) }).await, [EntryOutcome::Unchanged]);
    assert_eq!(place.head(good.id).await.revision, good.revision);
    assert_eq!(place.head(bad.id).await.revision, bad.revision);
}

#[tokio::test]
async fn a_mended_form_rescues_what_it_held() {
    let body = "who=Jane&email=jane%40nowhere&other=jane%40example.com&text=Hello";
    let place = Place::with(|config| {
        let site = Arc::get_mut(config.sites.values_mut().next().expect("a site")).expect("not shared");
        let source = Source::First(vec![Selector::parse("other").expect("a selector")]);
        let lead = LeadRules { email: Some(LeadRule { source, ..LeadRule::default() }), ..LeadRules::default() };
        site.rules.forms = vec![FormRules {
            id: FormId::parse("contact").expect("a form"),
            matches: Vec::new(),
            mapping: None,
            on_invalid: None,
            region: None,
            lead,
            extras: ExtrasRule::default(),
            auto_min: None,
            honeypot: None,
        }];
    });
    let held = place.add(1, "acme", body, Reason::Invalid).await;
    assert!(place.head(held).await.reading.lead.is_none());
    assert_eq!(place.retry(by_ids(&[held])).await, [EntryOutcome::Queued]);
    let lead = place.head(held).await.reading.lead.expect("a lead");
    assert_eq!(lead.email(), "jane@example.com");
}

#[tokio::test]
async fn a_retry_leaves_alone_what_nobody_asked_for() {
    let place = Place::new();
    let dropped = place.add(1, "acme", GOOD, Reason::Invalid).await;
    let revision = place.head(dropped).await.revision;
    let set = place.store.amend(dropped, revision, Change::Drop { keep: KEEP }, at(10)).await;
    assert!(set.expect("dropped").is_done());
    let done = place.add(2, "acme", GOOD, Reason::Accepted).await;
    place.settle(done, delivered()).await;
    let waiting = place.add(3, "acme", GOOD, Reason::Accepted).await;
    let elsewhere = place.add(4, "acme", GOOD, Reason::OtherHost).await;
    let gone = place.add(5, "nobody", GOOD, Reason::Invalid).await;
    let salvaged = place.add(6, "acme", GOOD, Reason::Salvaged).await;

    let found = place.try_retry(by_filter()).await.expect("done").results;
    let told: Vec<_> = found.iter().map(|done| (done.id.clone(), done.outcome)).collect();
    let skipped = [gone, salvaged, dropped].map(|id| (id, EntryOutcome::Skipped));
    let expected = [(elsewhere, EntryOutcome::Unchanged), skipped[0], skipped[1], skipped[2]];
    assert_eq!(told, expected.map(|(id, outcome)| (id.to_string(), outcome)));
    assert!(found[0].why.contains("--release") && found[1].why.contains("configuration"));

    assert_eq!(place.retry(by_ids(&[done, waiting])).await, [EntryOutcome::Skipped, EntryOutcome::Unchanged]);
    let again = RetryAsked { again: true, ..by_ids(&[done, waiting]) };
    assert_eq!(place.retry(again).await, [EntryOutcome::Queued, EntryOutcome::Queued]);
    assert!(place.try_retry(RetryAsked { again: true, ..by_filter() }).await.is_err());
    assert_eq!(place.retry(RetryAsked { release: true, ..by_ids(&[elsewhere]) }).await, [EntryOutcome::Queued]);
    assert_eq!(place.retry(by_ids(&[dropped])).await, [EntryOutcome::Queued]);
    let unknown = RetryAsked { ids: vec!["0000aaaa".to_owned(), "nonsense".to_owned()], ..RetryAsked::default() };
    assert_eq!(place.retry(unknown).await, [EntryOutcome::Missing, EntryOutcome::Missing]);
}

#[tokio::test]
async fn an_ambiguous_lead_is_sent_only_as_that_of_the_site_an_operator_names() {
    let place = Place::with(|config| {
        let beta = formgate::config::Site { id: SiteId::parse("beta").expect("a slug"), ..gateway::acme() };
        config.sites.insert(beta.id.clone(), Arc::new(beta));
    });
    let ambiguous = place.add(1, "acme", GOOD, Reason::Ambiguous).await;
    let invalid = place.add(2, "acme", GOOD, Reason::Invalid).await;
    let release = RetryAsked { release: true, ..by_ids(&[ambiguous]) };
    assert_eq!(place.retry(release).await, [EntryOutcome::Unchanged], "nobody knows whose it is");
    let refused = place.amend(amend_email(ambiguous, "jane@example.com")).await.err();
    assert!(matches!(refused, Some(OperateError::BadAmend(BadAmend::Ambiguous))), "{refused:?}");
    assert_eq!(place.head(ambiguous).await.reason, Reason::Ambiguous);

    let assign = |to: &str| RetryAsked { assign: Some(to.to_owned()), ..by_ids(&[ambiguous, invalid]) };
    assert!(place.try_retry(assign("nobody")).await.is_err());
    let dry = RetryAsked { dry_run: true, ..assign("beta") };
    assert_eq!(place.retry(dry).await, [EntryOutcome::Queued, EntryOutcome::Skipped]);
    assert_eq!(place.head(ambiguous).await.site.as_str(), "acme");

    assert_eq!(place.retry(assign("beta")).await, [EntryOutcome::Queued, EntryOutcome::Skipped]);
    let entry = place.head(ambiguous).await;
    assert_eq!((entry.site.as_str(), entry.state, entry.reason), ("beta", State::Queued, Reason::Retried));
    assert_eq!(place.retry(assign("beta")).await, [EntryOutcome::Skipped, EntryOutcome::Skipped], "done twice");
}

#[tokio::test]
async fn what_was_salvaged_goes_out_only_where_it_is_named() {
    let place = Place::new();
    let salvaged = place.add(1, "acme", GOOD, Reason::Salvaged).await;
    let of_state = |state: &str, reason: Option<&str>| {
        let filter =
            FilterAsked { state: Some(state.to_owned()), reason: reason.map(str::to_owned), ..FilterAsked::default() };
        RetryAsked { filter: Some(filter), release: true, ..RetryAsked::default() }
    };
    assert_eq!(place.retry(of_state("held", None)).await, [EntryOutcome::Skipped]);
    assert_eq!(place.head(salvaged).await.state, State::Held);
    let dry = RetryAsked { dry_run: true, ..of_state("held", Some("salvaged")) };
    assert_eq!(place.retry(dry).await, [EntryOutcome::Queued]);
    assert_eq!(place.retry(of_state("held", Some("salvaged"))).await, [EntryOutcome::Queued]);
    let another = place.add(2, "acme", GOOD, Reason::Salvaged).await;
    let groups = place.groups(FilterAsked::default()).await.groups;
    assert_eq!(
        groups.iter().map(|group| (group.leads, group.reason, group.cause.as_str())).collect::<Vec<_>>(),
        [(1, Reason::Salvaged, "salvaged from a damaged store: it may have been delivered")]
    );
    assert_eq!(place.retry(by_ids(&[another])).await, [EntryOutcome::Queued]);
}

#[tokio::test]
async fn a_lead_that_was_found_at_kaicalls_is_said_to_be_found_there() {
    let place = Place::new();
    let lead = place.add(1, "acme", GOOD, Reason::Accepted).await;
    let cut = Attempt { status: None, ..attempt(AttemptResult::Ambiguous, 0, "answer timed out") };
    place.settle(lead, Settlement::Again { after: Duration::ZERO, attempt: cut }).await;
    let found = Attempt {
        result: AttemptResult::Delivered,
        status: None,
        duration_ms: 9,
        words: None,
        confirmed: Some(Confirmed::Widget),
    };
    place.settle(lead, Settlement::Delivered { lead_id: None, attempt: found, keep: KEEP }).await;
    let trace = operate::trace(&*place.store, &place.situation(), &lead.to_string()).await.expect("traced");
    let steps: Vec<_> = trace.steps.iter().map(|step| step.what.as_str()).collect();
    let expected = [
        "accepted, queued",
        "attempt 1: may have arrived, answer timed out",
        "delivered: it is in KaiCalls' list of recent leads",
        "will be removed",
    ];
    assert_eq!(steps, expected);
    let life = operate::show(&*place.store, &place.situation(), &lead.to_string()).await.expect("shown");
    assert_eq!(life.entry.cause, "delivered: it is in KaiCalls' list of recent leads");
    assert_eq!(serde_json::to_value(&life).expect("JSON")["history"][2]["attempt"]["confirmed"], "widget");
}

#[tokio::test]
async fn what_a_rule_or_the_site_holds_stays_held_until_it_is_released() {
    let place = Place::with(|config| {
        let site = Arc::get_mut(config.sites.values_mut().next().expect("a site")).expect("not shared");
        site.rules.hold_unknown_forms = true;
    });
    let unknown = place.add(1, "acme", GOOD, Reason::UnknownForm).await;
    assert_eq!(place.retry(by_ids(&[unknown])).await, [EntryOutcome::Unchanged]);
    assert_eq!(place.retry(RetryAsked { release: true, ..by_ids(&[unknown]) }).await, [EntryOutcome::Queued]);

    let place = Place::with(|config| {
        Arc::get_mut(config.sites.values_mut().next().expect("a site")).expect("not shared").deliver = false;
    });
    let tried_out = place.add(1, "acme", GOOD, Reason::DeliverOff).await;
    assert_eq!(place.retry(RetryAsked { release: true, ..by_ids(&[tried_out]) }).await, [EntryOutcome::Unchanged]);
    let undecodable = place.add(2, "acme", GOOD, Reason::Undecodable).await;
    assert_eq!(place.retry(by_ids(&[undecodable])).await, [EntryOutcome::Held]);
    assert_eq!(place.head(undecodable).await.reason, Reason::DeliverOff);
}

#[tokio::test]
async fn spam_stays_held_until_it_is_released_and_then_its_trap_is_left_out() {
    let body = "name=Jane&email=jane%40example.com&message=Hello&website2=https%3A%2F%2Fspam.example";
    let place = Place::with(|config| {
        let origins = "\"https://acme.example\"";
        let mut sites = crate::browser::sites(origins, "https://acme.example/thanks").sites;
        config.sites.append(&mut sites);
    });
    let spam = place.add(1, "acme", body, Reason::Spam).await;
    assert_eq!(place.retry(by_ids(&[spam])).await, [EntryOutcome::Held], "it is read again, and still spam");
    let shown = operate::show(&*place.store, &place.situation(), &spam.to_string()).await.expect("shown");
    assert_eq!(shown.entry.cause, "spam: the form's honeypot is filled in");
    assert_eq!(place.retry(by_ids(&[spam])).await, [EntryOutcome::Unchanged]);
    assert_eq!(place.retry(RetryAsked { release: true, ..by_ids(&[spam]) }).await, [EntryOutcome::Queued]);
    let lead = place.head(spam).await.reading.lead.expect("a lead");
    assert_eq!(lead.message(), "Hello");
}

#[tokio::test]
async fn what_is_being_sent_is_busy() {
    let place = Place::new();
    let sent = place.add(1, "acme", GOOD, Reason::Accepted).await;
    let lease = place.store.claim(&Claim::new(1, KEEP, at(999))).await.expect("claimed");
    assert_eq!(lease[0].head.id, sent);
    assert_eq!(place.retry(RetryAsked { again: true, ..by_ids(&[sent]) }).await, [EntryOutcome::Busy]);
    let asked = DropAsked { ids: vec![sent.to_string()], ..DropAsked::default() };
    let dropped = operate::drop_entries(&*place.store, &place.audit, &asked, KEEP, Actor::Cli, at(1_000)).await;
    assert_eq!(outcomes(&dropped.expect("done").results), [EntryOutcome::Busy]);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_retry_keeps_to_its_rate_and_goes_on_where_it_stopped() {
    let place = Place::new();
    for number in 1..=30 {
        place.add(number, "acme", GOOD, Reason::Undecodable).await;
    }
    let (started, mut done, mut calls, mut cursor) = (Instant::now(), 0, 0, None);
    loop {
        let asked = RetryAsked { rate: Some(2), cursor, ..by_filter() };
        let tried = place.try_retry(asked).await.expect("done");
        done += tried.results.len();
        calls += 1;
        cursor = tried.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(done, 30);
    assert!(calls >= 3, "{calls} calls, each of some seconds");
    assert!(started.elapsed() >= Duration::from_secs(12), "{:?}", started.elapsed());
    let queued = place.store.counts().await.expect("counts");
    assert_eq!((queued[0].state, queued[0].entries), (State::Queued, 30));
}

#[tokio::test]
async fn a_drop_by_filter_takes_what_is_held_and_says_so_first() {
    let place = Place::new();
    let held = place.add(1, "acme", BAD, Reason::Invalid).await;
    let queued = place.add(2, "acme", GOOD, Reason::Accepted).await;
    let dead = place.add(3, "acme", GOOD, Reason::Accepted).await;
    place.settle(dead, refused()).await;
    let drop = async |asked: DropAsked| {
        let dropped = operate::drop_entries(&*place.store, &place.audit, &asked, KEEP, Actor::Cli, at(1_000)).await;
        outcomes(&dropped.expect("done").results)
    };
    let all = DropAsked { filter: Some(FilterAsked::default()), ..DropAsked::default() };
    assert_eq!(drop(DropAsked { dry_run: true, ..all.clone() }).await, [EntryOutcome::Dropped]);
    assert_eq!(place.head(held).await.state, State::Held);
    assert_eq!(drop(all).await, [EntryOutcome::Dropped]);
    let entry = place.head(held).await;
    assert_eq!((entry.state, entry.reason, entry.expires_at), (State::Dead, Reason::Dropped, Some(at(1_000) + KEEP)));
    assert_eq!(place.head(queued).await.state, State::Queued);
    let named = DropAsked { ids: vec![queued.to_string(), dead.to_string()], ..DropAsked::default() };
    assert_eq!(drop(named).await, [EntryOutcome::Dropped, EntryOutcome::Unchanged]);
    assert_eq!(place.head(dead).await.reason, Reason::Refused);
}

#[tokio::test]
async fn what_needs_a_person_is_grouped_by_its_cause_over_all_sites() {
    let place = Place::new();
    for (number, site) in [(1, "a"), (2, "a"), (3, "b")] {
        place.add(number, site, BAD, Reason::Invalid).await;
    }
    let dead = place.add(4, "c", GOOD, Reason::Accepted).await;
    place.settle(dead, refused()).await;
    // Two sites whose keys are refused: of each, one lead was tried and the others wait.
    for (number, site) in [(5, "d"), (6, "d"), (7, "d"), (8, "e")] {
        place.add(number, site, GOOD, Reason::Accepted).await;
    }
    for tried in [5, 8] {
        let attempt = attempt(AttemptResult::KeyRefused, 401, "Unauthorized");
        place.settle(id(tried), Settlement::Postponed { after: KEEP, attempt: Some(attempt) }).await;
    }
    place.add(9, "f", GOOD, Reason::Accepted).await;
    let found = place.groups(FilterAsked::default()).await;
    let told: Vec<_> = found.groups.iter().map(|group| (group.leads, group.sites, group.cause.as_str())).collect();
    assert_eq!(
        told,
        [
            (4, 2, "key refused: 401 Unauthorized"),
            (3, 2, "no valid lead: email invalid"),
            (1, 1, "KaiCalls refused the lead: 400 Name is too odd"),
        ]
    );
    assert!(!found.has_more);
    let of_b = FilterAsked { site: Some("b".to_owned()), ..FilterAsked::default() };
    assert_eq!(place.groups(of_b).await.groups.len(), 1);
}

#[tokio::test]
async fn a_list_goes_on_where_it_stopped_and_finds_text_wherever_it_stands() {
    let place = Place::new();
    for number in 1..=120 {
        let body = if number % 40 == 0 { "name=J&email=j%40example.com&deep[er]=%C3%84nnie" } else { GOOD };
        place.add(number, "acme", body, Reason::Accepted).await;
    }
    let list_in = async |order, asked: FilterAsked, cursor: Option<Cursor>, limit| {
        let query = asked.read(at(1_000)).expect("a filter");
        operate::list(&*place.store, &query, order, cursor, limit, &place.situation()).await.expect("listed")
    };
    let all: Vec<EntryId> = (1..=120).map(id).collect();
    for (order, expected) in [(Order::Oldest, all.clone()), (Order::Newest, all.into_iter().rev().collect())] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = list_in(order, FilterAsked::default(), cursor, 7).await;
            assert!(page.leads.len() <= 7);
            seen.extend(page.leads.iter().map(|lead| lead.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected);
    }
    let list = async |asked, cursor, limit| list_in(Order::Oldest, asked, cursor, limit).await;
    let annie = list(FilterAsked { text: Some("äNNIE".to_owned()), ..FilterAsked::default() }, None, 50).await;
    assert_eq!(annie.leads.iter().map(|lead| lead.id).collect::<Vec<_>>(), [id(40), id(80), id(120)]);
    assert_eq!(annie.next, None);
    let first = list(FilterAsked { text: Some("ännie".to_owned()), ..FilterAsked::default() }, None, 1).await;
    let rest = list(FilterAsked { text: Some("ännie".to_owned()), ..FilterAsked::default() }, first.next, 9).await;
    assert_eq!(rest.leads.iter().map(|lead| lead.id).collect::<Vec<_>>(), [id(80), id(120)]);
    let between = FilterAsked {
        since: Some("1970-01-01T00:00:10Z".to_owned()),
        until: Some("1970-01-01T00:00:12Z".to_owned()),
        ..FilterAsked::default()
    };
    assert_eq!(list(between, None, 50).await.leads.len(), 2);
}

fn amend_email(id: EntryId, email: &str) -> AmendAsked {
    AmendAsked { id: id.to_string(), email: Some(email.to_owned()), ..AmendAsked::default() }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "the life of one lead, step by step")]
async fn an_amendment_makes_a_lead_and_outlives_every_retry() {
    let place = Place::new();
    let held = place.add(1, "acme", "name=Jane&email=nowhere&message=Hello&budget=5", Reason::Invalid).await;
    let dry = AmendAsked { dry_run: true, ..amend_email(held, " jane@example.com ") };
    let dry = place.amend(dry).await.expect("done");
    assert_eq!(
        (dry.outcome, dry.after.as_ref().map(|lead| lead.email())),
        (EntryOutcome::Queued, Some("jane@example.com"))
    );
    assert_eq!(place.head(held).await.revision, 1, "nothing is changed by a dry run");

    assert_eq!(place.amend(amend_email(held, "jane@example.com")).await.expect("done").outcome, EntryOutcome::Queued);
    let Entry { head: amended, received } = place.entry(held).await;
    assert_eq!((amended.state, amended.reason, amended.expires_at), (State::Queued, Reason::Amended, None));
    let lead = amended.reading.lead.as_ref().expect("a lead");
    assert_eq!((lead.name(), lead.email(), lead.message()), ("Jane", "jane@example.com", "Hello\n\nBudget: 5"));
    assert_eq!(&*received.body, b"name=Jane&email=nowhere&message=Hello&budget=5", "as it came");

    place.settle_at(2_000, held, refused()).await;
    // A second amendment leaves the first as it is, and both go before what is mapped again.
    let more = AmendAsked {
        id: held.to_string(),
        message: Some("Call me".to_owned()),
        phone: Some("+1 (503) 555-0142".to_owned()),
        ..AmendAsked::default()
    };
    assert_eq!(place.amend(more).await.expect("done").outcome, EntryOutcome::Queued);
    place.settle_at(2_000, held, refused()).await;
    let dry = place.try_retry(RetryAsked { dry_run: true, ..by_ids(&[held]) }).await.expect("done");
    assert_eq!(dry.results[0].after, dry.results[0].before);
    assert_eq!(place.retry(by_ids(&[held])).await, [EntryOutcome::Queued]);
    let lead = place.head(held).await.reading.lead.expect("a lead");
    assert_eq!((lead.email(), lead.phone(), lead.message()), ("jane@example.com", Some("+15035550142"), "Call me"));

    let life = operate::show(&*place.store, &place.situation(), &held.to_string()).await.expect("shown");
    let shown: Vec<_> = life.amended.iter().map(|it| (it.field, it.received.as_deref(), it.value.as_str())).collect();
    let expected = [
        (LeadField::Email, Some("nowhere"), "jane@example.com"),
        (LeadField::Phone, None, "+1 (503) 555-0142"),
        (LeadField::Message, Some("Hello"), "Call me"),
    ];
    assert_eq!(shown, expected);
    assert!(life.amended.iter().all(|it| it.at == at(1_000) && it.by == "cli") && life.today.same);
    let steps = operate::trace(&*place.store, &place.situation(), &held.to_string()).await.expect("traced").steps;
    assert_eq!(steps.iter().filter(|step| step.what == "queued: amended").count(), 2);
    for text in ["nowhere", "jane@example.com", "503 555 0142", "call me"] {
        let asked = FilterAsked { text: Some(text.to_owned()), ..FilterAsked::default() };
        let query = asked.read(at(1_000)).expect("a filter");
        let found =
            operate::list(&*place.store, &query, Order::Newest, None, 9, &place.situation()).await.expect("listed");
        assert_eq!(found.leads.len(), 1, "{text}");
    }

    place.settle_at(2_000, held, refused()).await;
    let clear = AmendAsked { id: held.to_string(), clear: vec![LeadField::Message], ..AmendAsked::default() };
    assert_eq!(place.amend(clear.clone()).await.expect("done").outcome, EntryOutcome::Queued);
    assert_eq!(place.head(held).await.reading.lead.expect("a lead").message(), "Hello\n\nBudget: 5");
    place.settle_at(2_000, held, refused()).await;
    assert!(matches!(
        place.amend(clear).await,
        Err(OperateError::BadAmend(BadAmend::NotCorrected(LeadField::Message)))
    ));
    let clear = AmendAsked { id: held.to_string(), clear: vec![LeadField::Email], ..AmendAsked::default() };
    assert!(
        matches!(place.amend(clear).await, Err(OperateError::BadAmend(BadAmend::Invalid(_)))),
        "invalid as it came"
    );
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_lead_once_it_is_amended() {
    let place = Place::new();
    let received = Received {
        method: "POST".to_owned(),
        headers: BTreeMap::from([("content-type".to_owned(), "image/png".to_owned())]),
        body: "jane?".into(),
        ..Received::default()
    };
    let odd = place.add_received(1, "acme", received, Reason::Undecodable).await;
    let empty = place.add(2, "acme", "", Reason::Invalid).await;
    let name = AmendAsked { id: odd.to_string(), name: Some("Jane".to_owned()), ..AmendAsked::default() };
    let error = place.amend(name).await.expect_err("no address");
    assert!(error.to_string().contains("email missing: "), "{error}");
    for id in [odd, empty] {
        let asked = AmendAsked { name: Some("Jane".to_owned()), ..amend_email(id, "jane@example.com") };
        assert_eq!(place.amend(asked).await.expect("done").outcome, EntryOutcome::Queued);
        let lead = place.head(id).await.reading.lead.expect("a lead");
        assert_eq!(
            (lead.name(), lead.email(), lead.message()),
            ("Jane", "jane@example.com", "Submitted through contact")
        );
        place.settle_at(2_000, id, refused()).await;
        assert_eq!(place.retry(by_ids(&[id])).await, [EntryOutcome::Queued], "without its message it is a lead too");
    }
}

#[tokio::test]
async fn only_what_is_held_or_dead_is_amended_and_only_validly() {
    let place = Place::new();
    let held = place.add(1, "acme", BAD, Reason::Invalid).await;
    let queued = place.add(2, "acme", GOOD, Reason::Accepted).await;
    let gone = place.add(3, "nobody", BAD, Reason::Invalid).await;
    let why = async |asked: AmendAsked| place.amend(asked).await.expect_err("refused").to_string();
    assert!(why(amend_email(queued, "a@example.com")).await.contains("the lead is queued; drop it first"));
    assert!(why(amend_email(gone, "a@example.com")).await.contains("site `nobody`"));
    assert!(
        why(AmendAsked { id: held.to_string(), ..AmendAsked::default() }).await.contains("name at least one field")
    );
    let both = AmendAsked { clear: vec![LeadField::Email], ..amend_email(held, "a@example.com") };
    assert!(why(both).await.contains("corrected and cleared"));
    let invalid = why(amend_email(held, "no such address")).await;
    assert!(invalid.contains("email invalid: ") && !invalid.contains("no such"), "{invalid}");
    let long = AmendAsked { phone: Some("5".repeat(65)), ..amend_email(held, "a@example.com") };
    assert!(why(long).await.contains("phone too_long: "));
    assert!(matches!(place.amend(amend_email(id(99), "a@example.com")).await, Err(OperateError::NotFound(_))));
    assert_eq!(place.head(held).await.revision, 1);
    place.settle(queued, delivered()).await;
    assert!(why(amend_email(queued, "a@example.com")).await.contains("was delivered"));
    let ruled = place.add(4, "acme", GOOD, Reason::HoldRule).await;
    assert_eq!(place.amend(amend_email(ruled, "a@example.com")).await.expect("done").outcome, EntryOutcome::Queued);

    let place = Place::with(|config| {
        Arc::get_mut(config.sites.values_mut().next().expect("a site")).expect("not shared").deliver = false;
    });
    let tried_out = place.add(1, "acme", BAD, Reason::DeliverOff).await;
    assert_eq!(place.amend(amend_email(tried_out, "a@example.com")).await.expect("done").outcome, EntryOutcome::Held);
    let entry = place.head(tried_out).await;
    assert_eq!((entry.state, entry.reading.lead.expect("a lead").email()), (State::Held, "a@example.com"));
}

#[tokio::test]
async fn an_erasure_finds_the_old_address_and_the_new() {
    let place = Place::new();
    for (number, email) in [(1, "old@example.com"), (2, "new@example.com")] {
        let amended = place.add(number, "acme", "name=J&email=old%40example.com&message=Hi", Reason::Invalid).await;
        assert!(place.amend(amend_email(amended, "new@example.com")).await.is_ok());
        let asked = EraseAsked { email: Some(email.to_owned()), ..EraseAsked::default() };
        let erased = operate::erase(&*place.store, &place.audit, &asked, Actor::Cli, at(1_000)).await.expect("erased");
        assert_eq!(erased.entries.len(), 1, "{email}");
        assert!(place.store.get(amended).await.expect("read").is_none());
    }
}

#[tokio::test]
async fn a_telephone_number_is_found_however_it_is_written() {
    let place = Place::new();
    let bodies = [
        "name=Jane&email=jane%40example.com&phone=%2B1+503+555+0142",
        "name=Ann&email=ann%40example.com&message=Call+%28503%29+555-0142%2C+please",
        "name=Bob&email=nowhere&phone=503.555.0142",
        "name=Eve&email=eve%40example.com&one=503&two=5550142&phone=503+555+0143",
    ];
    for (number, body) in (1..).zip(bodies) {
        place.add(number, "acme", body, Reason::Invalid).await;
    }
    // A body that can't be decoded is searched as it is.
    let received = Received {
        method: "POST".to_owned(),
        headers: BTreeMap::from([("content-type".to_owned(), "image/png".to_owned())]),
        body: "tel=%2B1%20(503)%20555%2D0142".into(),
        ..Received::default()
    };
    place.add_received(5, "acme", received, Reason::Undecodable).await;
    let found = async |text: &str| {
        let asked = FilterAsked { text: Some(text.to_owned()), ..FilterAsked::default() };
        let query = asked.read(at(1_000)).expect("a filter");
        let listed =
            operate::list(&*place.store, &query, Order::Oldest, None, 50, &place.situation()).await.expect("listed");
        listed.leads.iter().map(|lead| lead.id).collect::<Vec<_>>()
    };
    let all = [1, 2, 3, 5].map(id);
    for text in
        ["(503) 555-0142", "503.555.0142", "+1 503 555 0142", "5035550142", "00 1 503 555 0142", "５０３５５５０１４２"]
    {
        assert_eq!(found(text).await, all, "{text}");
    }
    assert_eq!(found("503").await.len(), 5, "as plain text");
    assert_eq!(found("503555").await, [id(1)], "as plain text, in the lead's own number");
    assert_eq!(found("jane 5035550142").await, []);
}

#[tokio::test]
async fn an_entry_is_found_by_a_beginning_of_its_id_that_no_other_shares() {
    let place = Place::new();
    let first = place.add(1, "acme", GOOD, Reason::Accepted).await;
    place.add(2, "acme", GOOD, Reason::Accepted).await;
    let whole = first.to_string();
    let find = async |text: &str| operate::find(&*place.store, text).await.expect("read").map(|entry| entry.head.id);
    assert_eq!(find(&whole).await, Ok(first));
    assert_eq!(find(&whole[..13]).await, Ok(first));
    assert_eq!(find(&whole[..8]).await, Err(NotFound::Ambiguous(whole[..8].to_owned())));
    assert_eq!(find("ffff").await, Err(NotFound::Gone("ffff".to_owned())));
    assert_eq!(find("jane@example.com").await, Err(NotFound::NoId));
}

#[tokio::test]
async fn a_life_is_told_from_the_first_byte_to_the_last_attempt() {
    let place = Place::new();
    let dead = place.add(1, "acme", GOOD, Reason::Accepted).await;
    place.settle(dead, refused()).await;
    let life = operate::show(&*place.store, &place.situation(), &dead.to_string()).await.expect("shown");
    assert_eq!((life.received.body.as_deref(), life.received.body_bytes), (Some(GOOD), GOOD.len()));
    assert_eq!(life.fields.iter().map(|field| field.key.as_str()).collect::<Vec<_>>(), ["name", "email", "message"]);
    assert!(life.rules.len() >= 3 && life.today.same && life.today.site_known, "{:?}", life.rules);
    assert_eq!(life.history.len(), 2);
    let trace = operate::trace(&*place.store, &place.situation(), &dead.to_string()).await.expect("traced");
    let steps: Vec<_> = trace.steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(steps, ["accepted, queued", "attempt 1: lead refused, 400 Name is too odd", "will be removed"]);
    assert_eq!(trace.steps[1].after_ms, 499_000);
    let error = operate::show(&*place.store, &place.situation(), "ffff").await.expect_err("not there");
    assert!(matches!(error, OperateError::NotFound(NotFound::Gone(_))));
}

#[tokio::test]
async fn on_a_full_disk_what_frees_room_is_done_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = Place::new();
    let ids = [1, 2].map(|number| id(number).to_string());
    for number in [1, 2] {
        place.add(number, "acme", GOOD, Reason::Undecodable).await;
    }
    // Every write into this one finds no room.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("audit.ndjson")).expect("linked");
    let mut config = gateway::config();
    config.queue.url = formgate::config::StoreUrl::Sqlite(folder.path().join("formgate.db"));
    place.audit = Audit::of(&config);
    let audit = &place.audit;
    let now = at(1_000);
    assert!(matches!(place.try_retry(by_ids(&[id(1)])).await, Err(OperateError::Audit(_))), "it frees nothing");
    let drop = DropAsked { ids: vec![ids[0].clone()], ..DropAsked::default() };
    let dropped = operate::drop_entries(&*place.store, audit, &drop, KEEP, Actor::Cli, now).await.expect("dropped");
    assert_eq!((outcomes(&dropped.results), dropped.audit_waits), (vec![EntryOutcome::Dropped], true));
    let erase = EraseAsked { ids: vec![ids[1].clone()], ..EraseAsked::default() };
    let erased = operate::erase(&*place.store, audit, &erase, Actor::Cli, now).await.expect("erased");
    assert_eq!((erased.entries.len(), erased.audit_waits), (1, true));
    let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: now };
    let store = SqliteStore::open(&folder.path().join("formgate.db"), options).expect("opened");
    let copy = folder.path().join("elsewhere.db");
    let copied = operate::backup(&Arc::new(store).into(), audit, &copy, Actor::Cli, now).await.expect("copied");
    assert!(copied.audit_waits && copy.exists());
    assert_eq!(audit.waiting().await.len(), 6, "a beginning and an end of each");
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = Place::new();
    let held = place.add(1, "acme", GOOD, Reason::Undecodable).await;
    // A folder stands where the audit should.
    std::fs::create_dir(folder.path().join("audit.ndjson")).expect("made");
    let mut config = gateway::config();
    config.queue.url = formgate::config::StoreUrl::Sqlite(folder.path().join("formgate.db"));
    place.audit = Audit::of(&config);
    let (store, audit, now) = (&*place.store, &place.audit, at(1_000));
    assert!(matches!(place.try_retry(by_ids(&[held])).await, Err(OperateError::Audit(_))));
    let drop = DropAsked { ids: vec![held.to_string()], ..DropAsked::default() };
    let dropped = operate::drop_entries(store, audit, &drop, KEEP, Actor::Cli, now).await;
    assert!(matches!(dropped, Err(OperateError::Audit(_))));
    for ids in [vec![held.to_string()], Vec::new()] {
        let email = ids.is_empty().then(|| "jane@example.com".to_owned());
        let asked = EraseAsked { ids, email, ..EraseAsked::default() };
        assert!(matches!(operate::erase(store, audit, &asked, Actor::Cli, now).await, Err(OperateError::Audit(_))));
    }
    let query = FilterAsked::default().read(now).expect("a filter");
    assert!(
        operate::Export::begin(
            audit,
            operate::Choice::Query(query),
            operate::ExportFormat::Csv,
            Actor::Cli,
            place.situation()
        )
        .await
        .is_err()
    );
    assert_eq!(place.head(held).await.revision, 1);
    let dry = place.try_retry(RetryAsked { dry_run: true, ..by_ids(&[held]) }).await;
    assert!(dry.is_ok(), "a dry run is no act");
}

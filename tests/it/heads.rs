//! Who reads what was received: it may be large or damaged, so only those who need it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::operate::{self, Actor, Audit, EntryOutcome, EraseAsked, FilterAsked, RetryAsked, Situation};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{
    Appended, Change, Claim, Counts, DedupeKey, Entry, Filter, Lease, NewEntry, Order, Page, Reading, Reason, Set,
    Settlement, State, Store, StoreError,
};
use formgate::received::Received;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{gateway, world};

use crate::passing_on::pass_on;

/// A store that counts how often an entry is read whole, and how often entries are listed.
struct Counting {
    inner: MemoryStore,
    gets: AtomicUsize,
    scans: AtomicUsize,
    /// What was received with this one can't be read.
    damaged: Option<EntryId>,
}

pass_on!(Counting);

#[async_trait]
impl Store for Counting {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        self.inner.append(entry, dedupe).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        self.inner.claim(claim).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        self.inner.settle(lease, settlement, now).await
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.inner.make_due(site, max, now).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        if self.damaged == Some(id) {
            return Err(StoreError::Corrupt("damaged".into()));
        }
        self.inner.get(id).await
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.inner.scan(filter, order, cursor, limit).await
    }

    async fn scan_sites(&self, sites: &[SiteId], filter: &Filter, limit: usize) -> Result<Vec<Page>, StoreError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.inner.scan_sites(sites, filter, limit).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        self.inner.amend(id, revision, change, now).await
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        self.inner.erase(ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.expire(now, limit).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.inner.counts().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }
}

fn empty() -> Counting {
    let [gets, scans] = [const { AtomicUsize::new(0) }; 2];
    Counting { inner: MemoryStore::new(Duration::ZERO), gets, scans, damaged: None }
}

/// A store with three leads, of which each has a budget that stands in the body alone.
async fn store() -> Counting {
    let store = empty();
    for (number, name) in (1_u8..).zip(["Ann", "Bea", "Cem"]) {
        let draft = Draft { name: Some(name), email: Some("jane@example.com"), ..Draft::default() };
        let headers = [("content-type", b"application/json".as_slice())];
        let body = format!(r#"{{"name":"{name}","email":"jane@example.com","budget":"{number}00"}}"#);
        let new = NewEntry {
            id: EntryId::new(u64::from(number), &[number; 10]),
            site: SiteId::parse("acme").expect("a slug"),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Held,
            reason: Reason::DeliverOff,
            accepted_at: Timestamp::UNIX_EPOCH,
            keep: None,
            reading: Reading { lead: Some(Lead::check(draft).expect("a lead").lead), ..Reading::default() },
            received: Received::from_parts("POST", None, headers, body.into()),
        };
        assert!(matches!(store.append(new, None).await, Ok(Appended::New(_))));
    }
    store
}

/// Lists what a text stands in; returns the names, and how many entries were read whole for that.
async fn search(store: &Counting, text: Option<&str>) -> (Vec<String>, usize) {
    let now = Timestamp::UNIX_EPOCH;
    let asked = FilterAsked { text: text.map(str::to_owned), ..FilterAsked::default() };
    let query = asked.read(now).unwrap_or_else(|bad| panic!("{bad}"));
    let situation = Situation { config: Arc::new(gateway::config()), sending: None, now };
    store.gets.store(0, Ordering::Relaxed);
    let listed = operate::list(store, &query, Order::Oldest, None, 9, &situation).await.expect("listed");
    let names = listed.leads.iter().map(|lead| lead.lead.as_ref().expect("a lead").name().to_owned());
    (names.collect(), store.gets.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_list_reads_a_body_only_to_find_a_text_that_no_lead_holds() {
    let store = store().await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(search(&store, None).await, (names(&["Ann", "Bea", "Cem"]), 0));
    assert_eq!(search(&store, Some("jane@example.com")).await, (names(&["Ann", "Bea", "Cem"]), 0));
    assert_eq!(search(&store, Some("bea")).await, (names(&["Bea"]), 2));
    assert_eq!(search(&store, Some("300")).await, (names(&["Cem"]), 3));
}

#[tokio::test]
async fn the_list_of_work_takes_few_looks_at_the_store() {
    let store = empty();
    for number in 0..600 {
        let site = SiteId::parse(&format!("site-{}", number % 60)).expect("a slug");
        let is_held = number % 2 == 0;
        let new = NewEntry {
            id: EntryId::new(number, &[0; 10]),
            site,
            form: FormId::parse("contact").expect("a slug"),
            state: if is_held { State::Held } else { State::Queued },
            reason: if is_held { Reason::Invalid } else { Reason::Accepted },
            accepted_at: Timestamp::UNIX_EPOCH,
            keep: None,
            reading: Reading::default(),
            received: Received::default(),
        };
        assert!(matches!(store.append(new, None).await, Ok(Appended::New(_))));
    }
    let mut config = gateway::config();
    let situation = |config| Situation { config: Arc::new(config), sending: None, now: Timestamp::UNIX_EPOCH };
    let looks = async |situation: Situation| {
        store.scans.store(0, Ordering::Relaxed);
        let groups = operate::groups(&store, &operate::Query::default(), &situation).await.expect("grouped").groups;
        let mut told: Vec<_> = groups.iter().map(|group| (group.state, group.leads, group.sites)).collect();
        told.sort();
        assert_eq!(told, [(State::Queued, 300, 30), (State::Held, 300, 30)]);
        store.scans.load(Ordering::Relaxed)
    };
    // Of the 300 that are held in two pages, of those that are dead, and at one of the sites that are gone.
    assert_eq!(looks(situation(gateway::config())).await, 4);
    // The first of each site have to be looked at.
    config.sites.extend((0..60).map(|number| world::site(&format!("site-{number}"), "1")));
    assert_eq!(looks(situation(config)).await, 4);
}

#[tokio::test]
async fn neither_the_list_of_work_nor_the_status_reads_a_body() {
    let store = store().await;
    let config = Arc::new(gateway::config());
    let now = Timestamp::UNIX_EPOCH;
    let situation = Situation { config: Arc::clone(&config), sending: None, now };
    let groups = operate::groups(&store, &operate::Query::default(), &situation).await.expect("grouped");
    assert_eq!(groups.groups.iter().map(|group| group.leads).sum::<u64>(), 3);
    let sending = formgate::queue::SendingStatus::default();
    let process = operate::Process {
        gateways: &[],
        version: "1",
        since: now,
        unready: None,
        unready_reason: None,
        degraded: Vec::new(),
        sending: &sending,
        brief: false,
    };
    assert_eq!(operate::status(&store, &config, process, now).await.leads.held, 3);
    assert_eq!(store.gets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_hides_its_lead_only_from_who_needs_it() {
    let mut store = store().await;
    let bea = EntryId::new(2, &[2; 10]);
    store.damaged = Some(bea);
    assert_eq!(search(&store, None).await.0.len(), 3);
    assert_eq!(search(&store, Some("bea")).await.0, ["Bea"]);
    let config = Arc::new(gateway::config());
    let now = Timestamp::UNIX_EPOCH;
    let situation = Situation { config: Arc::clone(&config), sending: None, now };
    let asked = FilterAsked { text: Some("00".to_owned()), ..FilterAsked::default() };
    let query = asked.read(now).unwrap_or_else(|bad| panic!("{bad}"));
    let listed = operate::list(&store, &query, Order::Oldest, None, 9, &situation).await.expect("listed");
    assert_eq!((listed.leads.len(), &*listed.unreadable), (2, &[bea][..]));

    let audit = Audit::of(&config);
    let asked = RetryAsked { filter: Some(FilterAsked::default()), dry_run: true, ..RetryAsked::default() };
    let tried = operate::retry(&store, &config, &audit, &asked, Actor::Cli, now).await.expect("tried");
    let unreadable = tried.results.iter().filter(|done| done.outcome == EntryOutcome::Unreadable);
    assert_eq!(unreadable.map(|done| done.id.clone()).collect::<Vec<_>>(), [bea.to_string()]);
    assert_eq!(tried.results.len(), 3);

    let erase = async |email: &str| {
        let asked = EraseAsked { email: Some(email.to_owned()), dry_run: true, ..EraseAsked::default() };
        let found = operate::erase(&store, &audit, &asked, Actor::Cli, now).await.expect("looked");
        (found.entries.len(), found.unreadable)
    };
    assert_eq!(erase("jane@example.com").await, (3, vec![]), "the lead says whose it is");
    assert_eq!(erase("joe@example.com").await, (0, vec![bea]));
    assert_eq!(operate::recheck_held(&store, &config).await.expect("looked").looked_at, 3);
}

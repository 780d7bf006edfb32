//! What a queued lead waits for, as `show`, `list` and `list --group reason` say it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use formgate::config::Site;
use formgate::lead::{EntryId, FormId, SiteId};
use formgate::operate::{self, Actor, Audit, EntryOutcome, Query, RetryAsked, Situation, WaitsFor};
use formgate::queue::{Change, Filter, Holdup, NewEntry, Order, PausedKeys, Reason, SendingStatus, State};
use jiff::Timestamp;

use crate::gateway;
use crate::scripted_api::Reply;
use crate::world::{START, World, limit, site};

/// What it waits for, why, and in how many seconds it is tried next.
async fn shown(world: &World, id: EntryId) -> (Option<WaitsFor>, String, Option<i64>) {
    let shown = world.show(id).await;
    let listed = operate::list(&*world.store, &Query::default(), Order::Oldest, None, 100, &world.situation())
        .await
        .expect("listed");
    assert_eq!(listed.leads.iter().find(|lead| lead.id == id), Some(&shown), "list and show agree");
    let wait = shown.due_at.map(|at| at.duration_since(world.now()));
    // Waits have jitter, so one may be shorter than a second.
    assert!(wait.is_none_or(|wait| wait.is_positive()), "the next try is not in the past: {wait:?}");
    (shown.waits_for, shown.cause, wait.map(|wait| wait.as_secs()))
}

fn slug(name: &str) -> SiteId {
    SiteId::parse(name).expect("a slug")
}

/// The moment as it is written.
fn minute(milliseconds: i64) -> String {
    let at = Timestamp::from_millisecond(milliseconds).expect("a time").to_zoned(jiff::tz::TimeZone::UTC);
    at.strftime("%H:%M UTC").to_string()
}

#[tokio::test]
async fn a_lead_of_a_paused_site_says_so_and_an_operators_retry_does_not_hide_it() {
    let world = World::new().await;
    world.api.always(Reply::error(401, "Unauthorized"));
    let tried = world.queue("acme", 1).await;
    world.step().await;
    let untried = world.queue("acme", 2).await;
    let other = world.queue("beta", 3).await;
    world.pass(60);
    let refused = (Some(WaitsFor::Keys), "key refused: 401 Unauthorized".to_owned(), Some(240));
    assert_eq!([shown(&world, tried).await, shown(&world, untried).await], [refused.clone(), refused.clone()]);
    assert_eq!(shown(&world, other).await, (Some(WaitsFor::Turn), "on its way".to_owned(), None));
    assert_eq!(world.work().await, [(2, 1, refused.1.clone())]);

    let again = RetryAsked { ids: vec![tried.to_string()], again: true, ..RetryAsked::default() };
    let audit = Audit::of(&world.config.load());
    let config = world.config.load_full();
    let done = operate::retry(&*world.store, &config, &audit, &again, Actor::Cli, world.now()).await.expect("done");
    assert_eq!(done.results[0].outcome, EntryOutcome::Queued);
    world.pass(60);
    assert_eq!(shown(&world, tried).await, (refused.0, refused.1.clone(), Some(180)));
    assert_eq!(world.work().await, [(2, 1, refused.1)]);
    // The probe is due, and has not been sent yet.
    world.pass(200);
    assert_eq!(shown(&world, untried).await.2, None);
}

#[tokio::test]
async fn an_outage_is_told_for_all_that_waits() {
    let world = World::new().await;
    world.api.go_away().await;
    for (number, site) in (1..).zip(["acme", "beta", "gamma"]) {
        world.queue(site, number).await;
    }
    world.step().await;
    let new = world.queue("delta", 4).await;
    world.pass(20);
    let why = format!(
        "KaiCalls can't be reached (connection refused, since {}); leads are sent when it is back",
        minute(START)
    );
    assert_eq!(shown(&world, new).await, (Some(WaitsFor::Upstream), why.clone(), Some(40)));
    assert_eq!(world.work().await, [(4, 4, why)]);
    world.api.come_back().await;
    world.pass(40);
    world.step().await;
    assert_eq!(world.work().await, []);
}

#[tokio::test]
async fn a_failing_site_is_told_apart_from_the_upstream() {
    let world = World::new().await;
    world.api.always(Reply::error(402, "Account closed"));
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    world.step().await;
    let (waiting, other) = (world.queue("acme", 4).await, world.queue("beta", 5).await);
    world.pass(10);
    let why = format!("the site's leads have failed since {}: 402 Account closed", minute(START));
    assert_eq!(shown(&world, waiting).await, (Some(WaitsFor::Site), why.clone(), Some(50)));
    assert_eq!(shown(&world, other).await.1, "on its way");
    assert_eq!(world.work().await, [(4, 1, why)]);
}

#[tokio::test]
async fn a_lead_in_line_says_that_its_rate_keeps_it() {
    let world = World::with(|config| config.limits.site = limit(6, 1)).await;
    let ids = [world.queue("acme", 1).await, world.queue("acme", 2).await, world.queue("acme", 3).await];
    world.step().await;
    let why = "over [limits].site: waits its turn".to_owned();
    assert_eq!(shown(&world, ids[1]).await, (Some(WaitsFor::Rate), why.clone(), Some(10)));
    assert_eq!(shown(&world, ids[2]).await, (Some(WaitsFor::Rate), why, Some(20)));
    assert_eq!(world.work().await, [], "it needs nobody");

    let world = World::with(|config| config.upstream.rate = Some(limit(1, 1).rate)).await;
    let ids = [world.queue("acme", 1).await, world.queue("beta", 2).await];
    world.step().await;
    world.pass(1);
    world.step().await;
    let (waits_for, why, wait) = shown(&world, ids[1]).await;
    assert_eq!((waits_for, wait), (Some(WaitsFor::Rate), Some(59)));
    assert_eq!(why, "over [kaicalls].rate: waits its turn");
}

#[tokio::test]
async fn a_lead_that_failed_waits_for_its_next_try_and_one_under_way_for_nothing() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(500, "Oops"));
    let id = world.queue("acme", 1).await;
    world.step().await;
    let (waits_for, why, wait) = shown(&world, id).await;
    assert_eq!((waits_for, why.as_str()), (Some(WaitsFor::Retry), "tried again: 500 Oops"));
    assert!(wait.is_some());

    let told = Arc::new(tokio::sync::Notify::new());
    let other = world.queue("beta", 2).await;
    world.api.on_intake(Reply::success("lead_1").when(&told));
    let sender = world.sender.clone();
    let sending = tokio::spawn(async move { sender.send_due().await });
    world.api.wait_for(2).await;
    assert_eq!(shown(&world, other).await, (Some(WaitsFor::Turn), "on its way".to_owned(), None));
    told.notify_one();
    sending.await.expect("sent");
}

/// Checks what these wait for, as `show`, `list` and the list of work say it, whether or not a gateway runs.
async fn wait_for(world: &World, ids: &[EntryId], waits_for: WaitsFor, why: &str) {
    for id in ids {
        assert_eq!(shown(world, *id).await, (Some(waits_for), why.to_owned(), None));
    }
    let offline = Situation { sending: None, ..world.situation() };
    for situation in [world.situation(), offline] {
        let life = operate::show(&*world.store, &situation, &ids[0].to_string()).await.expect("shown");
        assert_eq!((life.entry.waits_for, life.entry.cause.as_str()), (Some(waits_for), why));
        let groups = operate::groups(&*world.store, &Query::default(), &situation).await.expect("grouped").groups;
        let group = groups.iter().find(|group| group.waits_for == Some(waits_for)).expect("a group of its own");
        assert_eq!((group.leads, group.cause.as_str()), (ids.len() as u64, why));
    }
}

#[tokio::test]
async fn leads_of_a_site_whose_keys_cannot_be_read_say_so_and_go_once_they_can() {
    let why = "the site's keys can't be read: `formgate check` shows why";
    let own_keys = |site: &mut Site| site.keys = None;
    // A form with keys of its own never falls back on its site's.
    let keys_of_a_form = |site: &mut Site| {
        site.form_keys.insert(FormId::parse("contact").expect("a slug"), None);
    };
    for take in [own_keys, keys_of_a_form] {
        let world = World::new().await;
        let ids = [world.queue("acme", 1).await, world.queue("acme", 2).await];
        world.queue("beta", 3).await;
        world.change(|config| {
            let (id, whole) = site("acme", "1");
            let mut lacking = Arc::into_inner(whole).expect("not shared");
            take(&mut lacking);
            config.sites.insert(id, Arc::new(lacking));
        });
        wait_for(&world, &ids, WaitsFor::SecretKey, why).await;
        world.step().await;
        assert_eq!(world.sent(), ["jane3"]);
        wait_for(&world, &ids, WaitsFor::SecretKey, why).await;
        world.change(|config| config.sites.extend([site("acme", "1")]));
        world.pass(60);
        world.step().await;
        assert_eq!(world.sent(), ["jane3", "jane1", "jane2"]);
    }
}

#[tokio::test]
async fn a_form_with_keys_of_its_own_is_not_held_back_by_its_sites() {
    let world = World::new().await;
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    let other = FormId::parse("branch").expect("a slug");
    let of_other = NewEntry { form: other.clone(), ..world.entry("acme", 4, None) };
    let _appended = world.store.append(of_other, None).await.expect("appended");
    let holdup = Holdup { since: world.now(), why: "401 Unauthorized".to_owned(), next_probe: world.now() };
    let paused = PausedKeys { public_key: "wp_pk_acme".to_owned(), holdup };
    let sending = SendingStatus { paused_sites: [(slug("acme"), vec![paused])].into(), ..SendingStatus::default() };
    for (keys_of_forms, leads) in [(BTreeMap::new(), 4), (gateway::acme().form_keys, 3)] {
        world.change(|config| {
            let (id, whole) = site("acme", "1");
            let site = Arc::into_inner(whole).expect("not shared");
            config.sites.insert(id, Arc::new(Site { form_keys: keys_of_forms.clone(), ..site }));
        });
        let situation = Situation { sending: Some(sending.clone()), ..world.situation() };
        let groups = operate::groups(&*world.store, &Query::default(), &situation).await.expect("grouped").groups;
        let told: Vec<_> = groups.iter().map(|group| (group.leads, group.cause.as_str())).collect();
        assert_eq!(told, [(leads, "key refused: 401 Unauthorized")]);
    }
}

#[tokio::test]
async fn leads_of_several_sites_that_wait_for_the_same_are_one_group() {
    let world = World::new().await;
    let [begun, second] = [world.now(), world.now() + Duration::from_secs(1)];
    let mut ids = vec![world.queue("nowhere", 1).await];
    world.pass(1);
    ids.extend([world.queue("elsewhere", 2).await, world.queue("elsewhere", 3).await]);
    let grouped =
        async |query: Query| operate::groups(&*world.store, &query, &world.situation()).await.expect("grouped");
    let [group] = grouped(Query::default()).await.groups.try_into().expect("one group");
    assert_eq!((group.leads, group.sites, group.oldest, group.reason), (3, 2, begun, Reason::SiteGone));
    assert_eq!(group.site_names, ["elsewhere", "nowhere"].map(slug));
    assert!(ids.contains(&group.example));
    // Not all of a site is meant, so each is looked at.
    let since = Query { filter: Filter { since: Some(second), ..Filter::default() }, ..Query::default() };
    let [group] = grouped(since).await.groups.try_into().expect("one group");
    assert_eq!((group.leads, group.sites, group.oldest, group.example), (2, 1, second, ids[1]));
}

#[tokio::test]
async fn while_kaicalls_address_is_unknown_all_leads_say_so_and_none_is_sent() {
    let world = World::new().await;
    let ids = [world.queue("acme", 1).await, world.queue("beta", 2).await];
    world.change(|config| config.missing.upstream = true);
    let why = "[kaicalls] can't be used: nothing is sent until it is fixed";
    wait_for(&world, &ids, WaitsFor::Delivery, why).await;
    world.step().await;
    assert_eq!(world.sent(), [""; 0]);
    assert_eq!(world.work().await, [(2, 2, why.to_owned())]);
    world.change(|_config| {});
    world.step().await;
    assert_eq!(world.sent(), ["jane1", "jane2"]);
}

#[tokio::test]
async fn without_a_gateway_the_store_and_the_configuration_tell_what_they_know() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let (queued, gone) = (world.queue("beta", 2).await, world.queue("nowhere", 3).await);
    let offline = Situation { sending: None, ..world.situation() };
    let cause = async |id: EntryId| {
        let life = operate::show(&*world.store, &offline, &id.to_string()).await.expect("shown");
        (life.entry.cause, life.entry.due_at)
    };
    assert_eq!(cause(refused).await, ("key refused: 401 Unauthorized".to_owned(), None));
    assert_eq!(cause(queued).await, ("the gateway isn't running".to_owned(), None));
    assert_eq!(cause(gone).await, ("its site is not in the configuration; held in 24 h".to_owned(), None));
    let groups = operate::groups(&*world.store, &Query::default(), &offline).await.expect("grouped").groups;
    let mut causes: Vec<_> = groups.iter().map(|group| (group.leads, group.waits_for)).collect();
    causes.sort();
    assert_eq!(causes, [WaitsFor::Keys, WaitsFor::Configuration, WaitsFor::Gateway].map(|it| (1, Some(it))));
}

#[tokio::test]
async fn what_an_operator_dropped_is_no_work() {
    let world = World::new().await;
    let id = world.queue("acme", 1).await;
    let entry = world.head(id).await;
    let drop = Change::Drop { keep: Duration::from_secs(1_000) };
    assert!(world.store.amend(id, entry.revision, drop, world.now()).await.expect("dropped").is_done());
    assert_eq!(world.work().await, []);
    let query = Query {
        filter: formgate::queue::Filter { state: Some(State::Dead), ..Default::default() },
        ..Query::default()
    };
    let dead = operate::groups(&*world.store, &query, &world.situation()).await.expect("grouped");
    assert_eq!(dead.groups.len(), 1, "it is there for who asks");
}

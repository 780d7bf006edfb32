//! What an operator does at the console.

use std::time::Duration;

use formgate::queue::{Appended, Counts, State};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::stage::{self, Stage, Visitor};
use super::{logged_in, text};
use crate::chromium::driver::Browser;

/// A mapping with a rule that holds everything, and without it.
const BROKEN: &str = "title = \"Callback\"\n[[detect]]\nexists = [\"$.callback\"]\n[[hold]]\nexists = [\"$.callback\"]\nreason = \"spam\"\n";
const MENDED: &str = "title = \"Callback\"\n[[detect]]\nexists = [\"$.callback\"]\n";

async fn count(stage: &Stage, state: State) -> u64 {
    let counts = stage.store.store().counts().await.expect("counted");
    counts.iter().filter(|count: &&Counts| count.state == state).map(|count| count.entries).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lead_is_found_corrected_and_seen_delivered() {
    let stage = Stage::start().await;
    let body =
        r#"{"your-name":"Cora Lindt","your-email":"cora@lindt","your-message":"My landlord keeps the deposit."}"#;
    stage.post("birch-law/contact", body).await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    assert!(text(&mut tab, "h1").await.contains("1 lead needs attention"));
    tab.press("table.list a").await;
    assert!(text(&mut tab, "table.leads").await.contains("no valid lead: email invalid"));
    tab.press("a.main").await;
    assert!(text(&mut tab, ".errors").await.contains("E-mail: the e-mail field is not an e-mail address"));
    assert!(text(&mut tab, "table.fields").await.contains("cora@lindt"));
    let clear = "Promise.resolve(document.querySelector('[name=email]').value = '')";
    tab.run(clear).await;
    tab.write("[name=email]", "nobody@nowhere").await;
    tab.press(".correction button.primary").await;
    assert!(text(&mut tab, ".notice.bad").await.contains("email"), "still no address, and what was typed stays");
    tab.run(clear).await;
    tab.write("[name=email]", "nobody@nowhere.example").await;
    tab.press(".correction button.primary").await;
    assert!(text(&mut tab, ".notice.good").await.contains("Corrected"));
    stage.sandbox.wait_for(1).await;
    let lead = stage.sandbox.leads().remove(0);
    assert_eq!((lead.name.as_str(), lead.email.as_str()), ("Cora Lindt", "nobody@nowhere.example"));
    // The page sees by itself what becomes of it.
    tab.until("document.querySelector('h1 .delivered')").await;
    assert!(text(&mut tab, ".timeline").await.contains("attempt 1: delivered"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_retried_once_its_mapping_is_mended() {
    let stage = Stage::start().await;
    stage.change("mappings/callback.toml", BROKEN).await;
    for number in 0..55 {
        let body = format!(r#"{{"callback":"yes","who":"Visitor","reach":"visitor{number}@post.example"}}"#);
        stage.post("acme-dental/callback", &body).await;
    }
    assert_eq!(count(&stage, State::Held).await, 55);
    stage.change("mappings/callback.toml", MENDED).await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.open(&stage.url("/console/leads?state=held")).await;
    tab.press_here("[name=all]").await;
    tab.press("button[value=retry]").await;
    assert!(text(&mut tab, ".tally").await.contains("55 queued"), "{}", text(&mut tab, "main").await);
    assert_eq!(count(&stage, State::Held).await, 55, "a preview changes nothing");
    tab.press("button.primary").await;
    tab.until("document.querySelector('h1').textContent === 'Finished'").await;
    assert!(text(&mut tab, ".tally").await.contains("55 queued"));
    stage.sandbox.wait_for(55).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_leads_are_dropped_and_exported() {
    let stage = Stage::start().await;
    for number in 0..3 {
        let body = format!(r#"{{"your-name":"=cmd()","your-email":"v{number}@post.example","your-message":"Hi"}}"#);
        stage.post("cedar-homes/contact", &body).await;
    }
    stage.post("acme-dental/contact", r#"{"your-name":"Ann","your-email":"no","your-message":"Hi"}"#).await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.open(&stage.url("/console/leads?site=cedar-homes")).await;
    let buttons = "Promise.resolve(String(document.querySelector('button[value=drop]').disabled))";
    assert_eq!(tab.run(buttons).await, "true", "nothing is selected");
    tab.press_here("tbody tr:nth-child(1) [name=id]").await;
    tab.press_here("tbody tr:nth-child(2) [name=id]").await;
    assert_eq!(text(&mut tab, ".chosen").await, "2 selected");
    tab.press("button[value=drop]").await;
    assert!(text(&mut tab, ".tally").await.contains("2 dropped"));
    tab.press("button.primary").await;
    assert_eq!((count(&stage, State::Dead).await, count(&stage, State::Held).await), (2, 1));
    tab.press("main p a").await;
    assert!(tab.url().await.ends_with("/console/leads?site=cedar-homes"), "back to where it began");
    let exported = "fetch('/console/leads?site=cedar-homes').then(answer => answer.text()).then(html => {
        const page = new DOMParser().parseFromString(html, 'text/html');
        const ids = [...page.querySelectorAll('[name=id]')].slice(0, 2).map(box => ['id', box.value]);
        const csrf = page.querySelector('[name=csrf]').value;
        return fetch('/console/leads/export', { method: 'POST', body: new URLSearchParams([['csrf', csrf], ['verb', 'export'], ...ids]) });
    }).then(async answer => answer.headers.get('content-disposition') + '\\n' + await answer.text())";
    let file = tab.run(exported).await;
    assert!(file.starts_with("attachment; filename=\"leads.csv\"\nid,site,form"), "{file}");
    assert_eq!(file.lines().count(), 4, "{file}");
    assert!(file.contains(",'=cmd(),") && !file.contains(",=cmd()"), "no cell is a formula: {file}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_watch_what_happens() {
    let stage = Stage::start().await;
    let mut first = Browser::start();
    let mut second = Browser::start();
    let mut one = logged_in(&mut first, &stage, true).await;
    let mut other = logged_in(&mut second, &stage, true).await;
    one.open(&stage.url("/console/live")).await;
    other.open(&stage.url("/console/live?site=birch-law")).await;
    for tab in [&mut one, &mut other] {
        tab.until("document.querySelector('#status').textContent === 'Live'").await;
    }
    let body = r#"{"your-name":"Ann Lee","your-email":"ann@lee.example","your-message":"Hello"}"#;
    stage.post("acme-dental/contact", body).await;
    stage.post("birch-law/contact", body).await;
    stage.stranger("birch-law/contact").await;
    one.until("document.querySelectorAll('#stream .delivered').length === 2").await;
    other.until("document.querySelectorAll('#stream .delivered').length === 1").await;
    other.until("document.querySelector('#stream').innerText.includes('unknown token')").await;
    let shown = text(&mut other, "#stream").await;
    assert!(!shown.contains("acme-dental") && !shown.contains("ann@lee"), "{shown}");
    one.key("p").await;
    one.until("document.querySelector('#status').textContent === 'Paused'").await;
    stage.post("birch-law/contact", &body.replace("ann@", "bob@")).await;
    other.until("document.querySelectorAll('#stream .delivered').length === 2").await;
    one.until("document.querySelectorAll('#stream .delivered').length === 2").await;
    one.key("p").await;
    one.until("document.querySelectorAll('#stream .delivered').length === 3").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_leads_are_turned_over_and_searched() {
    let now = Timestamp::now();
    let stage = Stage::with("", |store| async move {
        let mut appending = JoinSet::new();
        for number in 0..10_000_u64 {
            let store = store.clone();
            appending.spawn(async move {
                let name = format!("Visitor {number}");
                let email = format!("visitor{number}@post.example");
                let visitor = Visitor { name: &name, email: &email, message: "Hello" };
                // Of a site whose keys are refused: they stay.
                let entry = stage::entry(number, "cedar-homes", &visitor, now - Duration::from_millis(number));
                store.store().append(entry, None).await.expect("appended")
            });
        }
        while let Some(appended) = appending.join_next().await {
            assert!(matches!(appended.expect("no panic"), Appended::New(_)));
        }
    })
    .await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.open(&stage.url("/console/leads")).await;
    assert!(text(&mut tab, "tbody").await.contains("Visitor 0"));
    tab.press("a[rel=next]").await;
    assert!(text(&mut tab, "tbody").await.contains("Visitor 50"));
    tab.open(&stage.url("/console/leads?order=oldest")).await;
    assert!(text(&mut tab, "tbody").await.contains("Visitor 9999"));
    tab.open(&stage.url("/console/leads")).await;
    tab.write("#search", "visitor77@").await;
    tab.press(".filter button").await;
    assert_eq!(tab.run("Promise.resolve(String(document.querySelectorAll('tbody tr').length))").await, "1");
    assert!(tab.url().await.contains("text=visitor77"), "the URL holds the view");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_gets_a_token_once_and_its_keys_are_verified() {
    let stage = Stage::start().await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.open(&stage.url("/console/sites")).await;
    tab.write("#search", "birch").await;
    tab.press(".filter button").await;
    tab.press("a.main").await;
    tab.write("[name=note]", "<b>Shop</b>").await;
    tab.press("form[action$=token] button").await;
    let url = text(&mut tab, "code.secret").await;
    let token = url.rsplit_once("token=").map(|(_, token)| token.to_owned()).expect("a token");
    let written = std::fs::read_to_string(stage.folder.path().join("sites/birch-law.toml")).expect("read");
    assert!(written.contains("<b>Shop</b>") && !written.contains(&token), "{written}");
    tab.open(&stage.url("/console/sites/birch-law")).await;
    assert!(!tab.html().await.contains(&token), "it isn't shown again");
    tab.press("form[action$=verify] button").await;
    assert!(text(&mut tab, ".notice.good").await.contains("valid"));
    tab.open(&stage.url("/console/sites/cedar-homes")).await;
    tab.press("form[action$=verify] button").await;
    assert!(text(&mut tab, ".notice.bad").await.contains("refused"));
    stage.stop().await;
}

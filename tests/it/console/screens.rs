//! How the console looks, and to whom: without scripts, by keys alone, on a small screen, read aloud; with what visitors type.

use std::path::PathBuf;

use super::stage::{ADMIN, Stage};
use super::{logged_in, scene, text};
use crate::chromium::driver::{Browser, Tab};

/// Every page that there is.
async fn pages(stage: &Stage) -> Vec<String> {
    let lead = scene::held_lead(stage).await;
    let paths = [
        "/console/".to_owned(),
        "/console/leads".to_owned(),
        format!("/console/leads/{lead}"),
        "/console/sites".to_owned(),
        "/console/sites/birch-law".to_owned(),
        "/console/live".to_owned(),
    ];
    paths.into_iter().map(|path| stage.url(&path)).collect()
}

async fn count_of(tab: &mut Tab<'_>, selector: &str) -> String {
    tab.run(&format!("Promise.resolve(String(document.querySelectorAll({selector:?}).length))")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_visitors_type_is_text_everywhere() {
    let stage = Stage::start().await;
    let name = "<img src=x onerror=alert(1)> \u{202e}مرحبا 😀";
    let message = "</textarea></title></svg><script>document.title='owned'</script>\\n{{7*7}} ${7*7} `x` \\\"'";
    let body =
        format!(r#"{{"your-name":"{name}","your-email":"no one","your-message":"{message}","<b>key</b>":"<i>v</i>"}}"#);
    stage.post("birch-law/contact", &body).await;
    let good = body.replace("no one", "rtl@post.example");
    stage.post("acme-dental/contact", &good).await;
    stage.sandbox.wait_for(1).await;
    stage.post_as("<b>agent</b>", "fg_of_nobody", "birch-law/contact", "{}").await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.look("light", (380, 800)).await;
    tab.open(&stage.url("/console/leads")).await;
    let listed = text(&mut tab, "tbody").await;
    assert!(
        listed.contains("<img src=x onerror=alert(1)>") && listed.contains('😀') && listed.contains("مرحبا"),
        "{listed}"
    );
    assert!(!listed.contains('\u{202e}'), "no sign that turns the line round");
    for page in pages(&stage).await {
        tab.open(&page).await;
        assert_eq!(count_of(&mut tab, "img, main script, main b, main i").await, "0", "{page}");
        assert!(!text(&mut tab, "title").await.contains("owned"), "{page}");
        let width = tab.run("Promise.resolve(String(document.scrollingElement.scrollWidth))").await;
        assert_eq!(width, "380", "{page}");
    }
    tab.open(&stage.url("/console/sites/birch-law")).await;
    assert!(text(&mut tab, "#refused").await.contains("<b>agent</b>"));
    tab.open(&stage.url(&format!("/console/leads/{}", scene::held_lead(&stage).await))).await;
    let shown = tab.run("Promise.resolve(document.querySelector('textarea').value)").await;
    assert!(shown.starts_with("</textarea></title></svg><script>"), "{shown}");
    assert!(text(&mut tab, "table.fields").await.contains("<b>key</b>"));
    assert!(text(&mut tab, "h1").await.contains("<img src=x"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_alone_do_it() {
    let stage = scene::set().await;
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-GB", true).await;
    tab.open(&stage.url("/console/login")).await;
    for key in ADMIN.chars() {
        tab.key(&key.to_string()).await;
    }
    tab.key("Enter").await;
    tab.until("location.pathname === '/console/' && document.readyState === 'complete'").await;
    tab.key("g").await;
    tab.key("l").await;
    tab.until("location.pathname === '/console/leads' && document.readyState === 'complete'").await;
    for key in ["j", "j", "k", "x"] {
        tab.key(key).await;
    }
    tab.until("document.querySelector('tbody tr:nth-child(1).here [name=id]').checked").await;
    tab.key("/").await;
    for key in "lindt".chars() {
        tab.key(&key.to_string()).await;
    }
    tab.key("Enter").await;
    tab.until("location.search.includes('text=lindt') && document.readyState === 'complete'").await;
    tab.key("j").await;
    tab.key("Enter").await;
    tab.until("location.pathname.length > 20 && document.querySelector('h1')?.innerText.includes('Cora Lindt')").await;
    correct_by_keys(&mut tab).await;
    stage.sandbox.wait_for(1).await;
    assert_eq!(stage.sandbox.leads()[0].email, "cora@lindt.example");
    tab.key("?").await;
    tab.until("document.querySelector('#keys').open").await;
    tab.press_here("[data-setting=keys]").await;
    tab.key("Escape").await;
    tab.until("!document.querySelector('#keys').open").await;
    tab.key("?").await;
    tab.key("g").await;
    tab.key("s").await;
    tab.until("!document.querySelector('#keys').open && location.pathname.length > 20").await;
    stage.stop().await;
}

/// Steps to the e-mail, writes the rest of it, and sends the form.
async fn correct_by_keys(tab: &mut Tab<'_>) {
    let focused = "Promise.resolve(document.activeElement.name ?? '')";
    while tab.run(focused).await != "email" {
        tab.key("Tab").await;
    }
    tab.key("End").await;
    for key in ".example".chars() {
        tab.key(&key.to_string()).await;
    }
    tab.key("Enter").await;
    tab.until("document.querySelector('.notice.good') && document.readyState === 'complete'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_renews_itself_keeps_the_readers_place() {
    let stage = scene::set().await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.open(&stage.url("/console/leads")).await;
    tab.key("j").await;
    tab.key("j").await;
    let marked = "document.querySelector('tr.here a.main').textContent";
    let before = tab.run(&format!("Promise.resolve({marked})")).await;
    let body = r#"{"your-name":"New Lead","your-email":"new@lead.example","your-message":"Hello"}"#;
    stage.post("acme-dental/contact", body).await;
    tab.until("document.querySelector('tbody').innerText.includes('New Lead')").await;
    assert_eq!(tab.run(&format!("Promise.resolve({marked})")).await, before, "the mark is on the same lead");
    tab.until("document.activeElement.closest('tr.here')").await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_scripts() {
    let stage = scene::set().await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, false).await;
    for page in pages(&stage).await {
        tab.open(&page).await;
        assert!(tab.html().await.contains("</h1>"), "{page}");
    }
    assert!(tab.html().await.contains("Live updates need JavaScript"));
    tab.open(&stage.url("/console/leads?reason=hold_rule")).await;
    tab.press_here("[name=id]").await;
    tab.press("button[value=release]").await;
    assert!(tab.html().await.contains("<strong>1</strong> queued to be sent"));
    tab.press("button.primary").await;
    assert!(tab.html().await.contains("Finished"));
    stage.sandbox.wait_for(1).await;
    assert_eq!(stage.sandbox.leads()[0].email, "vic@stone.example");
    tab.press("form.logout button").await;
    assert_eq!(tab.url().await, stage.url("/console/login"));
    tab.open(&stage.url("/console/leads?state=held")).await;
    assert_eq!(tab.url().await, stage.url("/console/login?next=%2Fconsole%2Fleads%3Fstate%3Dheld"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_of_380_pixels_shows_all_without_a_sideways_scroll() {
    let stage = scene::set().await;
    let mut browser = Browser::start();
    let mut tab = logged_in(&mut browser, &stage, true).await;
    tab.look("dark", (380, 800)).await;
    for page in pages(&stage).await {
        tab.open(&page).await;
        let width = tab.run("Promise.resolve(String(document.scrollingElement.scrollWidth))").await;
        assert_eq!(width, "380", "{page}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious() {
    let axe = std::fs::read_to_string(axe()).unwrap_or_else(|error| panic!("{error}: run scripts/setup --test"));
    let stage = scene::set().await;
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-GB", true).await;
    tab.open(&stage.url("/console/login")).await;
    no_violations(&mut tab, &axe, "login").await;
    drop(tab);
    let mut tab = logged_in(&mut browser, &stage, true).await;
    for (theme, size) in [("light", (1280, 860)), ("dark", (1280, 860)), ("light", (380, 800))] {
        tab.look(theme, size).await;
        for page in pages(&stage).await {
            tab.open(&page).await;
            tab.run("Promise.resolve(String(document.querySelectorAll('details').forEach(part => part.open = true)))")
                .await;
            no_violations(&mut tab, &axe, &page).await;
        }
    }
    tab.open(&stage.url("/console/leads?reason=hold_rule")).await;
    tab.press_here("[name=all]").await;
    for step in ["button[value=drop]", "button.primary"] {
        tab.press(step).await;
        no_violations(&mut tab, &axe, step).await;
    }
    tab.open(&stage.url("/console/sites/birch-law")).await;
    for act in ["form[action$=token] button", "form[action$=verify] button"] {
        tab.press(act).await;
        no_violations(&mut tab, &axe, act).await;
    }
    tab.key("?").await;
    no_violations(&mut tab, &axe, "the keys").await;
    stage.stop().await;
}

/// Where `scripts/setup --test` puts axe-core.
fn axe() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target).join("axe-core/axe.min.js")
}

async fn no_violations(tab: &mut Tab<'_>, axe: &str, page: &str) {
    tab.run(&format!("{axe};\nPromise.resolve('there')")).await;
    let found = tab
        .run(
            "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
                .then(found => JSON.stringify(found.violations.filter(one => ['serious', 'critical'].includes(one.impact))
                    .map(one => [one.id, one.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary)])))",
        )
        .await;
    assert_eq!(found, "[]", "{page}");
}

//! A page's own form in a real browser, with scripts and without: the page is on one origin, the gateway on another.
//!
//! A machine without Chromium fails here, and says how to get it: what a visitor meets is never left untested in silence.

pub(crate) mod driver;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use formgate::accept::Options;
use formgate::queue::{Reason, State};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::browser::sites;
use crate::gateway::{Running, start_with};
use driver::Browser;

/// Tells whether scripts run on a page.
const SCRIPTED: &str = "<title>plain</title><script>document.title = 'scripted'</script>";

/// Web pages of a site, at `localhost` and at `127.0.0.1`: to a browser two origins.
struct Pages {
    address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Pages {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let pages = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let shown = Arc::clone(&pages);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(show(stream, Arc::clone(&shown))));
            }
        }));
        Self { address, pages }
    }

    fn add(&self, path: &str, html: &str) {
        let page = format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">{SCRIPTED}{html}");
        self.pages.lock().insert(path.to_owned(), page);
    }

    /// A page of the site.
    fn own(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }

    /// The same page, of somebody else.
    fn foreign(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Starts the gateway that takes the forms of these pages.
    fn gateway(&self) -> Running {
        let origin = format!("\"{}\"", self.own(""));
        let loaded = sites(&origin, &self.own("/thanks"));
        start_with(Options::default(), |config| {
            (config.sites, config.mappings) = (loaded.sites, loaded.mappings);
        })
    }
}

/// Answers one request, for a page or for something there is none of.
async fn show(mut stream: TcpStream, pages: Arc<Mutex<BTreeMap<String, String>>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or_default() == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let page = pages.lock().get(path).cloned();
    let status = if page.is_some() { "200 OK" } else { "404 Not Found" };
    let page = page.unwrap_or_default();
    let length = page.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    );
    drop(stream.write_all(answer.as_bytes()).await);
}

/// A form with what a visitor typed.
fn form(action: &str, attributes: &str, email: &str, trap: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\" {attributes}>\
         <input name=\"name\" value=\"Jane Dœ\"><input name=\"email\" value=\"{email}\">\
         <textarea name=\"message\">Hello &amp; goodbye</textarea><input type=\"file\" name=\"cv\">\
         <input name=\"website2\" value=\"{trap}\" style=\"display:none\"><button id=\"send\">Send</button></form>"
    )
}

/// Adds every page that the tests open.
fn add_forms(pages: &Pages, gateway: &Running) {
    let to = |path: &str| format!("http://{}/hooks/acme/{path}", gateway.address);
    pages.add("/thanks", "<h1>The site's own thanks</h1>");
    pages.add("/plain", &form(&to("shop"), "", "plain@example.com", ""));
    pages.add("/parts", &form(&to("shop"), "enctype=\"multipart/form-data\"", "parts@example.com", ""));
    pages.add("/small", &form(&to("contact"), "", "small@example.com", ""));
    pages.add("/french", &form(&to("contact?lang=fr"), "", "french@example.com", ""));
    pages.add("/strict", &form(&to("strict"), "", "", ""));
    pages.add("/trap", &form(&to("shop"), "", "trap@example.com", "https://spam.example"));
    let hidden = form(&to("shop"), "", "hidden@example.com", "");
    pages.add("/hidden", &format!("<meta name=\"referrer\" content=\"no-referrer\">{hidden}"));
    let scripts = format!(
        "<script>
        const send = async (form, options) => {{
            try {{
                const answer = await fetch('{base}' + form, {{ method: 'POST', ...options }});
                const told = await answer.json();
                return [answer.status, told.status, answer.redirected, told.errors?.[0]?.field].join(' ');
            }} catch (error) {{ return error.name; }}
        }};
        const fields = email => ({{ name: 'Jane', email, message: 'Hello', website2: '' }});
        const json = (form, email) => send(form, {{ headers: {{ 'Content-Type': 'application/json' }}, body: JSON.stringify(fields(email)) }});
        const pairs = (form, email) => send(form, {{ body: new URLSearchParams(fields(email)) }});
        const parts = form => send(form, {{ body: new FormData(document.forms[0]) }});
        const withFile = form => {{
            const data = new FormData(document.forms[0]);
            data.set('cv', new File(['%PDF'], 'cv.pdf'));
            return send(form, {{ body: data }});
        }};
        </script>",
        base = to("")
    );
    pages.add("/scripts", &format!("{}{scripts}", form(&to("shop"), "", "formdata@example.com", "")));
}

/// The blocks of `html` that docs/browser-forms.md tells people to paste: a form, and a script for it.
fn pasted(gateway: &Running) -> [String; 2] {
    let document = include_str!("../../../docs/browser-forms.md");
    let blocks = document.split("```html\n").skip(1).filter_map(|rest| rest.split("```").next());
    let here = format!("http://{}", gateway.address);
    let blocks: Vec<String> = blocks.map(|block| block.replace("https://gate.agency.example", &here)).collect();
    blocks.try_into().unwrap_or_else(|blocks: Vec<_>| panic!("{} blocks", blocks.len()))
}

/// What became of the post with this address.
fn stored(gateway: &Running, email: &str) -> Option<(State, Reason)> {
    let entries = gateway.shelf.entries();
    let is_it = |body: &[u8]| String::from_utf8_lossy(body).replace("%40", "@").contains(email);
    let entry = entries.iter().find(|entry| is_it(&entry.received.body))?;
    Some((entry.state, entry.reason))
}

const QUEUED: Option<(State, Reason)> = Some((State::Queued, Reason::Accepted));

#[tokio::test]
async fn forms_are_posted_with_scripts_and_without() {
    let pages = Pages::start().await;
    let gateway = pages.gateway();
    add_forms(&pages, &gateway);
    let mut browser = Browser::start();
    for (scripts, title) in [(false, "<title>plain</title>"), (true, "<title>scripted</title>")] {
        let mut tab = browser.tab("de-AT,de", scripts).await;
        for (path, email) in [("/plain", "plain@example.com"), ("/parts", "parts@example.com")] {
            tab.open(&pages.own(path)).await;
            assert!(tab.html().await.contains(title), "scripts: {scripts}");
            tab.press("#send").await;
            assert_eq!(tab.url().await, pages.own("/thanks"), "{path}");
            assert!(tab.html().await.contains("The site's own thanks"), "{path}");
            assert_eq!(stored(&gateway, email), QUEUED, "{path}");
        }
        for (path, thanks) in [("/small", "<h1>Vielen Dank</h1>"), ("/french", "<h1>Merci</h1>")] {
            tab.open(&pages.own(path)).await;
            tab.press("#send").await;
            let page = tab.html().await;
            assert!(page.contains(thanks), "{path}: {page}");
        }
        // The link leads back to the website.
        tab.press("main a").await;
        assert_eq!(tab.url().await, pages.own("/"));
    }
    let entries = gateway.shelf.entries();
    assert_eq!(entries.len(), 4, "the second round repeats the first");
    let lead = entries[1].reading.lead.as_ref().expect("a lead");
    assert_eq!((lead.name(), lead.message()), ("Jane Dœ", "Hello & goodbye"));
}

#[tokio::test]
async fn what_is_wrong_is_shown_and_the_form_is_still_filled_in() {
    let pages = Pages::start().await;
    let gateway = pages.gateway();
    add_forms(&pages, &gateway);
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-US", false).await;
    tab.open(&pages.own("/strict")).await;
    tab.write("[name=email]", "nowhere").await;
    tab.press("#send").await;
    let page = tab.html().await;
    assert!(page.contains("<li>E-mail address: please check it</li>") && !page.contains("nowhere"), "{page}");
    tab.back().await;
    assert_eq!(tab.url().await, pages.own("/strict"));
    assert_eq!(tab.run("document.forms[0].email.value").await, "nowhere", "what was typed is still there");
    tab.open(&pages.own("/trap")).await;
    tab.press("#send").await;
    assert_eq!(tab.url().await, pages.own("/thanks"));
    assert_eq!(stored(&gateway, "trap@example.com"), Some((State::Held, Reason::Spam)));
    // Somebody else's page, and one that keeps to itself where it is.
    for url in [pages.foreign("/plain"), pages.own("/hidden")] {
        tab.open(&url).await;
        tab.press("#send").await;
        let page = tab.html().await;
        assert!(page.contains("urn:formgate:problem:unauthorized"), "{url}: {page}");
    }
    assert_eq!(stored(&gateway, "plain@example.com"), None);
    assert_eq!(stored(&gateway, "hidden@example.com"), None);
}

#[tokio::test]
async fn scripts_of_the_page_post_and_read_the_answer() {
    let pages = Pages::start().await;
    let gateway = pages.gateway();
    add_forms(&pages, &gateway);
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-US", true).await;
    tab.open(&pages.own("/scripts")).await;
    for (script, expected) in [
        ("pairs('shop', 'pairs@example.com')", "200 queued false "),
        ("pairs('shop', 'pairs@example.com')", "200 duplicate false "),
        ("parts('shop')", "200 queued false "),
        // A browser asks first whether it may.
        ("json('shop', 'json@example.com')", "200 queued false "),
        ("json('strict', 'nowhere')", "422 422 false email"),
        ("withFile('shop')", "415 415 false "),
        ("pairs('shop', 'x'.repeat(70000))", "413 413 false "),
        // No page may post here, so no page may read why.
        ("pairs('plain', 'none@example.com')", "TypeError"),
        ("json('plain', 'none@example.com')", "TypeError"),
    ] {
        assert_eq!(tab.run(script).await, expected, "{script}");
    }
    for email in ["pairs@example.com", "formdata@example.com", "json@example.com"] {
        assert_eq!(stored(&gateway, email), QUEUED, "{email}");
    }
    let before = gateway.shelf.entries().len();
    tab.open(&pages.foreign("/scripts")).await;
    for script in ["pairs('shop', 'evil@example.com')", "json('shop', 'evil@example.com')"] {
        assert_eq!(tab.run(script).await, "TypeError", "{script}");
    }
    assert_eq!(gateway.shelf.entries().len(), before);
}

#[tokio::test]
async fn the_small_page_keeps_to_its_own_policy() {
    let pages = Pages::start().await;
    let gateway = pages.gateway();
    add_forms(&pages, &gateway);
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-US", true).await;
    tab.open(&pages.own("/small")).await;
    tab.press("#send").await;
    assert_eq!(tab.run("document.title + ' ' + document.documentElement.lang").await, "Thank you en");
    assert_ne!(tab.run("getComputedStyle(document.body).maxWidth").await, "none", "its style is let through");
    let script = "(() => { const one = document.createElement('script'); one.textContent = 'document.title = \"run\"'; \
                  document.body.append(one); return document.title })()";
    assert_eq!(tab.run(script).await, "Thank you", "no script of anybody's is");
}

#[tokio::test]
async fn what_the_document_tells_to_paste_works() {
    let pages = Pages::start().await;
    let gateway = pages.gateway();
    let [form, script] = pasted(&gateway);
    pages.add("/form", &form);
    pages.add("/script", &(form + &script));
    let mut browser = Browser::start();
    let mut tab = browser.tab("en-US", true).await;
    for (path, email) in [("/form", "form@example.com"), ("/script", "script@example.com")] {
        tab.open(&pages.own(path)).await;
        for (field, text) in [("name", "Jane"), ("email", email), ("phone", "+1 503 555 0142"), ("message", "Hi")] {
            tab.write(&format!("[name={field}]"), text).await;
        }
        if path == "/form" {
            tab.press("button").await;
            assert!(tab.html().await.contains("<h1>Thank you</h1>"));
        } else {
            let thanks = "new Promise(done => { new MutationObserver(() => done(document.body.innerText.trim())) \
                          .observe(document.body, { childList: true, subtree: true }); \
                          document.querySelector('button').click() })";
            assert!(tab.run(thanks).await.ends_with("Thank you!"));
        }
        assert_eq!(stored(&gateway, email), QUEUED, "{path}");
    }
    let lead = gateway.shelf.entries()[1].reading.lead.clone().expect("a lead");
    assert_eq!((lead.name(), lead.phone(), lead.message()), ("Jane", Some("+15035550142"), "Hi"));
}

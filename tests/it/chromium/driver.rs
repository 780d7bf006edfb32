//! A headless Chromium, driven over the pipe that its DevTools protocol offers: JSON texts, each ended by a zero byte.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long the browser may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Chromium reads from descriptor 3 and writes to 4; a child of ours has only 0 to 2.
const WITH_PIPES: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";
const ARGUMENTS: [&str; 10] = [
    "--headless",
    // Only pages of this test are shown, and in many containers there is no other way.
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-extensions",
];

pub(crate) struct Browser {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    last_id: u64,
    /// What it told by itself and nobody has asked for yet.
    events: VecDeque<Value>,
    _child: Child,
    _profile: tempfile::TempDir,
}

/// A tab with cookies and a cache of its own.
pub(crate) struct Tab<'b> {
    browser: &'b mut Browser,
    session: String,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |name: &&&str| std::env::split_paths(&folders).any(|folder| folder.join(name).is_file());
        let program = NAMES.iter().find(is_there);
        let program =
            program.expect("no Chromium on this machine: run scripts/setup --test, or apt-get install chromium");
        let profile = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("sh")
            .args(["-c", WITH_PIPES, program])
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let requests = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { requests, answers, last_id: 0, events: VecDeque::new(), _child: child, _profile: profile }
    }

    /// Opens a tab whose visitor reads this language; without `scripts` no page can run any.
    pub(crate) async fn tab(&mut self, language: &str, scripts: bool) -> Tab<'_> {
        let version = self.call(None, "Browser.getVersion", json!({})).await;
        let context = self.call(None, "Target.createBrowserContext", json!({})).await;
        let place = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = self.call(None, "Target.createTarget", place).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let mut tab = Tab { browser: self, session };
        tab.call("Page.enable", json!({})).await;
        tab.call("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts })).await;
        let agent = json!({ "userAgent": version["userAgent"], "acceptLanguage": language });
        tab.call("Emulation.setUserAgentOverride", agent).await;
        tab
    }

    async fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let text = request.to_string() + "\0";
        self.requests.write_all(text.as_bytes()).await.expect("Chromium reads");
        loop {
            let told = self.read(method).await;
            if told["id"] == id {
                assert!(told.get("error").is_none(), "{method}: {}", told["error"]);
                return told["result"].clone();
            }
            self.events.push_back(told);
        }
    }

    async fn read(&mut self, waiting_for: &str) -> Value {
        let mut text = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.answers.read_until(0, &mut text)).await;
        let read = read.unwrap_or_else(|_elapsed| panic!("Chromium is silent: waiting for {waiting_for}"));
        assert!(read.expect("Chromium answers") > 0, "Chromium has ended: waiting for {waiting_for}");
        text.pop();
        serde_json::from_slice(&text).expect("JSON")
    }
}

impl Tab<'_> {
    async fn find(&mut self, selector: &str) -> Value {
        let root = self.call("DOM.getDocument", json!({})).await;
        let find = json!({ "nodeId": root["root"]["nodeId"], "selector": selector });
        self.call("DOM.querySelector", find).await["nodeId"].clone()
    }

    /// Types into a field.
    pub(crate) async fn write(&mut self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        self.call("DOM.focus", json!({ "nodeId": field })).await;
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Calls a method of the protocol for this tab.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let session = self.session.clone();
        self.browser.call(Some(&session), method, params).await
    }

    /// Waits until a page is loaded whole.
    async fn loaded(&mut self) {
        self.told("Page.loadEventFired").await;
    }

    async fn told(&mut self, event: &str) {
        let patience = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < patience, "Chromium doesn't tell of {event}");
            let told = match self.browser.events.pop_front() {
                Some(told) => told,
                None => self.browser.read(event).await,
            };
            if told["method"] == event && told["sessionId"] == *self.session {
                return;
            }
        }
    }

    pub(crate) async fn open(&mut self, url: &str) {
        self.browser.events.clear();
        let went = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(went.get("errorText").is_none(), "{url}: {went}");
        self.loaded().await;
    }

    /// Presses a button as a hand does, and waits for the page that it leads to.
    pub(crate) async fn press(&mut self, selector: &str) {
        self.browser.events.clear();
        self.press_here(selector).await;
        self.loaded().await;
    }

    /// Presses something that leads to no other page.
    pub(crate) async fn press_here(&mut self, selector: &str) {
        let found = self.find(selector).await;
        self.call("DOM.scrollIntoViewIfNeeded", json!({ "nodeId": found })).await;
        let bounds = self.call("DOM.getBoxModel", json!({ "nodeId": found })).await;
        let corner = |at: usize| bounds["model"]["content"][at].as_f64().expect("a number");
        let (x, y) = (f64::midpoint(corner(0), corner(4)), f64::midpoint(corner(1), corner(5)));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Runs a script in the page; gives what its promise comes to, as text.
    pub(crate) async fn run(&mut self, script: &str) -> String {
        let run = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let done = self.call("Runtime.evaluate", run).await;
        assert!(done.get("exceptionDetails").is_none(), "{script}: {done}");
        done["result"]["value"].as_str().unwrap_or_else(|| panic!("{script}: {done}")).to_owned()
    }

    /// Shows pages in a theme, `light` or `dark`, on a screen of so many pixels by so many.
    pub(crate) async fn look(&mut self, theme: &str, (width, height): (u32, u32)) {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
        // Telephones show none, and in a picture they would take room from the page.
        self.call("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// Presses a key where the focus is: a character, or `Enter`, `Escape`, `Tab`.
    pub(crate) async fn key(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { key };
        let is_character = key.chars().count() == 1 || key == "Enter";
        // What a browser does by itself, such as to close a dialog, it does by this number.
        let number = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            "End" => 35,
            _ => 0,
        };
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": number });
        if is_character {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", event).await;
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key })).await;
    }

    /// Waits until an expression holds in the page, which may be loaded anew meanwhile.
    pub(crate) async fn until(&mut self, expression: &str) {
        let patience = tokio::time::Instant::now() + PATIENCE;
        loop {
            let run = json!({ "expression": format!("Boolean({expression})"), "returnByValue": true });
            let done = self.call("Runtime.evaluate", run).await;
            if done["result"]["value"] == true {
                return;
            }
            assert!(tokio::time::Instant::now() < patience, "never: {expression}\n{}", self.html().await);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The page as it stands, read without a script.
    pub(crate) async fn html(&mut self) -> String {
        let root = self.call("DOM.getDocument", json!({})).await;
        let html = self.call("DOM.getOuterHTML", json!({ "nodeId": root["root"]["nodeId"] })).await;
        html["outerHTML"].as_str().expect("text").to_owned()
    }

    pub(crate) async fn url(&mut self) -> String {
        let history = self.call("Page.getNavigationHistory", json!({})).await;
        let at = history["currentIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).expect("a number");
        history["entries"][at]["url"].as_str().expect("a URL").to_owned()
    }

    /// Goes back to the page before, as the Back button does.
    pub(crate) async fn back(&mut self) {
        self.browser.events.clear();
        let history = self.call("Page.getNavigationHistory", json!({})).await;
        let at = history["currentIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).expect("a number");
        let before = json!({ "entryId": history["entries"][at - 1]["id"] });
        self.call("Page.navigateToHistoryEntry", before).await;
        // A page that was kept as it was is not loaded again.
        self.told("Page.frameNavigated").await;
    }
}

//! `/api/v1/stream` over real sockets: what happens, as it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::accept::{Bounded, Bounds, serve};
use formgate::admin::AdminApp;
use formgate::destination::{BaseUrl, Secret};
use formgate::lead::SiteId;
use formgate::queue::live::{Live, LiveEvent, LiveRequest, LiveWhat};
use formgate::queue::memory::MemoryStore;
use formgate::telemetry::{Metrics, RequestEnd};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

use crate::admin_api::{ADMIN, Api};
use crate::gateway::{self, TOKEN, header, json, lead_body, post, send, status};
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world;

/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who watches.
struct Watcher {
    stream: BufReader<TcpStream>,
    head: String,
    /// All that came after the head.
    read: String,
}

impl Watcher {
    async fn open(address: SocketAddr, query: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        Self::begin(stream, query).await
    }

    async fn begin(mut stream: TcpStream, query: &str) -> Self {
        let request =
            format!("GET /api/v1/stream{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.expect("a head") > 0, "{head}");
        }
        Self { stream, head, read: String::new() }
    }

    /// Returns the next chunk; none at the end.
    async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).await.expect("a size");
        let size = usize::from_str_radix(size.trim(), 16).expect(&size);
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await.expect("a chunk");
        chunk.truncate(size);
        let chunk = String::from_utf8(chunk).expect("text");
        self.read.push_str(&chunk);
        (size > 0).then_some(chunk)
    }

    /// Returns the next event.
    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                let chunk = self.chunk().await.expect("another event");
                let Some((name, data)) = chunk.split_once("\ndata: ") else { continue };
                let data: Value = serde_json::from_str(data).expect("JSON");
                assert_eq!(
                    (chunk.ends_with("\n\n"), name),
                    (true, format!("event: {}", data["what"].as_str()?).as_str())
                );
                return Some(data);
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("in time").expect("an event's name")
    }
}

/// A gateway whose KaiCalls is a script, and that tries again at once.
async fn start() -> (Api, ScriptedApi) {
    let kaicalls = ScriptedApi::start().await;
    let base_url = BaseUrl::parse(&kaicalls.base_url()).expect("a URL");
    let api = Api::with(Arc::new(MemoryStore::new(Duration::from_secs(600))), |config| {
        config.upstream.base_url = base_url;
        config.queue.retry.first = Duration::from_millis(20);
        config.sites.extend([world::site("beta", "1")]);
    });
    (api, kaicalls)
}

async fn submit(api: &Api, path: &str, body: &str) -> Value {
    json(&send(api.app.gateway()[0], post(path, &format!("Authorization: Bearer {TOKEN}\r\n"), body)).await)
}

#[tokio::test]
async fn requests_and_attempts_are_told_as_they_end_without_a_visitors_data() {
    let (api, kaicalls) = start().await;
    let told = Arc::new(Notify::new());
    kaicalls.on_intake(Reply::error(503, "no room for jane@example.com").when(&told));
    let mut watcher = Watcher::open(api.app.admin(), "").await;
    assert_eq!(status(&watcher.head), 200);
    assert_eq!(header(&watcher.head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&watcher.head, "cache-control"), Some("no-store"));

    let id = submit(&api, "/hooks/acme/contact", &lead_body("jane@example.com")).await["id"].clone();
    let queued = watcher.next().await;
    assert_eq!((&queued["what"], &queued["result"], &queued["id"]), (&json!("request"), &json!("queued"), &id));
    assert_eq!((&queued["site"], &queued["form"], &queued["status"]), (&json!("acme"), &json!("contact"), &json!(200)));
    told.notify_one();
    let failed = watcher.next().await;
    assert_eq!((&failed["what"], &failed["result"], &failed["id"]), (&json!("attempt"), &json!("failed"), &id));
    assert_eq!((&failed["number"], &failed["status"], &failed["state"]), (&json!(1), &json!(503), &json!("queued")));
    assert!(failed["next_try_at"].is_string() && failed["duration_ms"].as_u64() >= Some(1), "{failed}");
    let delivered = watcher.next().await;
    assert_eq!((&delivered["result"], &delivered["number"]), (&json!("delivered"), &json!(2)));
    assert_eq!((&delivered["state"], &delivered["next_try_at"]), (&json!("delivered"), &Value::Null));

    submit(&api, "/hooks/acme/contact", &lead_body("jane@example.com")).await;
    let duplicate = watcher.next().await;
    assert_eq!((&duplicate["result"], &duplicate["id"]), (&json!("duplicate"), &id));
    submit(&api, "/hooks/acme/contact", &lead_body("jane-at-home")).await;
    let held = watcher.next().await;
    assert_eq!((&held["result"], &held["reason"], &held["status"]), (&json!("held"), &json!("invalid"), &json!(200)));
    let read = watcher.read.to_lowercase();
    assert!(!read.contains("jane") && !read.contains("hello") && !read.contains(&TOKEN.to_lowercase()), "{read}");
}

#[tokio::test]
async fn a_refused_post_is_told_with_its_mistake() {
    let (api, _kaicalls) = start().await;
    let mut watcher = Watcher::open(api.app.admin(), "").await;
    let wrong = format!("Authorization: Bearer {}x\r\n", &TOKEN[..TOKEN.len() - 1]);
    let answer = send(api.app.gateway()[0], post("/hooks/acme", &wrong, &lead_body("jane@example.com"))).await;
    assert_eq!(status(&answer), 401);
    let refused = watcher.next().await;
    assert_eq!((&refused["result"], &refused["mistake"]), (&json!("refused"), &json!("unknown_token")));
    assert_eq!((&refused["site"], &refused["id"], &refused["status"]), (&json!("acme"), &Value::Null, &json!(401)));
    assert_eq!(refused["request_id"].as_str(), header(&answer, "x-request-id"));
    // What the sender names and isn't configured is the sender's text.
    send(api.app.gateway()[0], post("/hooks/jane-doe", &wrong, "{}")).await;
    let unknown = watcher.next().await;
    assert_eq!((&unknown["site"], &unknown["mistake"]), (&Value::Null, &json!("unknown_site")));
    assert!(!watcher.read.contains("jane") && !watcher.read.contains("fg_"), "{}", watcher.read);
}

#[tokio::test]
async fn leads_are_shown_to_who_asks_and_that_is_written_down() {
    let data = tempfile::tempdir().expect("a folder");
    let api = Api::with(Arc::new(MemoryStore::new(Duration::ZERO)), |config| {
        config.server.data = Some(data.path().to_owned());
    });
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(data.path().join("audit.ndjson")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let mut plain = Watcher::open(api.app.admin(), "?site=acme&leads=0").await;
    assert!(lines().is_empty(), "nobody asked for leads");
    let mut watcher = Watcher::open(api.app.admin(), "?site=acme&leads=1").await;
    let begun = lines();
    assert_eq!((&begun[0]["verb"], &begun[0]["by"]), (&json!("stream"), &json!("admin-api")));
    assert_eq!((&begun[0]["filter"], &begun[0]["outcome"]), (&json!("site=acme"), &json!("begun")));

    submit(&api, "/hooks/acme", &lead_body("jane@example.com")).await;
    let lead = json!({ "name": "Jane", "email": "jane@example.com", "message": "Hello" });
    assert_eq!(watcher.next().await["lead"], lead);
    submit(&api, "/hooks/acme", &lead_body("nowhere")).await;
    let held = async {
        loop {
            let event = watcher.next().await;
            if event["result"] == "held" {
                return event;
            }
        }
    };
    assert_eq!(held.await.get("lead"), Some(&Value::Null), "there is none");
    assert_eq!(plain.next().await.get("lead"), None);
    drop(watcher);
    let ended = async {
        while lines().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("its end is written down");
    let end = lines().pop().expect("a line");
    assert!(end["outcome"] == "done" && end["entries"].as_u64() >= Some(1), "{end}");
    assert!(!end.to_string().contains("jane"));
}

#[tokio::test]
async fn a_filter_leaves_out_what_it_does_not_name() {
    let (api, kaicalls) = start().await;
    kaicalls.always(Reply::silence());
    let mut form = Watcher::open(api.app.admin(), "?form=quote").await;
    let mut site = Watcher::open(api.app.admin(), "?site=beta").await;
    for path in ["/hooks/acme/contact", "/hooks/acme/quote", "/hooks/beta/contact", "/hooks/nobody/quote"] {
        submit(&api, path, &lead_body(&format!("{}@example.com", path.len()))).await;
    }
    assert_eq!(form.next().await["form"], "quote");
    assert_eq!(site.next().await["site"], "beta");
    let stopping = tokio::spawn(api.app.stop());
    assert_eq!((form.next().await, site.next().await), (stopped(), stopped()), "nothing more was for them");
    stopping.abort();
}

fn stopped() -> Value {
    json!({ "what": "end", "reason": "stopping" })
}

#[tokio::test]
async fn odd_questions_are_told_what_to_ask() {
    let api = Api::start();
    for (query, words) in [
        ("?site=Acme", "the id of a site"),
        ("?leads=yes", "`leads` must be 1 or 0"),
        ("?site=a&site=b", "given twice"),
        ("?state=held", "use site, form, leads"),
    ] {
        let (code, problem) = api.get(&format!("/api/v1/stream{query}")).await;
        assert!(code == 400 && problem["detail"].as_str().is_some_and(|it| it.contains(words)), "{query}: {problem}");
    }
    assert_eq!(status(&api.raw("POST", "/api/v1/stream", &bearer(), "").await), 405);
    assert_eq!(status(&api.raw("GET", "/api/v1/stream", "", "").await), 401);
    assert!(api.metrics().await.contains("\nformgate_streams 0\n"));
}

fn bearer() -> String {
    format!("Authorization: Bearer {ADMIN}\r\n")
}

#[tokio::test]
async fn one_more_than_may_watch_is_told_to_come_back_and_nobody_else_waits() {
    let api = Api::start();
    let mut watchers = Vec::new();
    for _ in 0..16 {
        watchers.push(Watcher::open(api.app.admin(), "").await);
    }
    assert!(watchers.iter().all(|watcher| status(&watcher.head) == 200));
    let full = api.raw("GET", "/api/v1/stream", &bearer(), "").await;
    assert_eq!((status(&full), header(&full, "retry-after")), (503, Some("10")));
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(&api.raw("GET", target, "", "").await), 200, "{target}");
    }
    assert_eq!(api.get("/api/v1/leads").await.0, 200);
    assert!(api.metrics().await.contains("\nformgate_streams 16\n"));
    watchers.pop();
    let taken = async { while status(&Watcher::open(api.app.admin(), "").await.head) != 200 {} };
    tokio::time::timeout(PATIENCE, taken).await.expect("who leaves gives the place back");
}

#[tokio::test]
async fn a_stream_ends_when_the_gateway_begins_to_stop() {
    let (api, kaicalls) = start().await;
    kaicalls.always(Reply::silence());
    let mut watcher = Watcher::open(api.app.admin(), "").await;
    submit(&api, "/hooks/acme", &lead_body("jane@example.com")).await;
    watcher.next().await;
    kaicalls.wait_for(1).await;
    let stopping = tokio::spawn(api.app.stop());
    assert_eq!(watcher.next().await, stopped());
    assert_eq!(watcher.chunk().await, None, "it is whole");
    assert!(!stopping.is_finished(), "an attempt is still under way");
    stopping.abort();
}

/// An admin listener whose events are a test's.
fn listen(live: &Live, metrics: &Arc<Metrics>) -> (SocketAddr, watch::Sender<bool>) {
    let mut config = gateway::config();
    config.admin.token = Some(Secret::new(ADMIN.to_owned()));
    let store = Arc::new(MemoryStore::new(Duration::ZERO));
    let config = Arc::new(ArcSwap::from_pointee(config));
    let admin = AdminApp::new(config, store, Arc::clone(metrics)).with_live(live.clone());
    let bounds = Bounds { connections: 64, head: PATIENCE, connection: Duration::from_secs(7_200) };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    drop(tokio::spawn(serve(listener, Bounded::new(admin, bounds, Arc::clone(metrics)), stopped)));
    (address, stop)
}

/// Many times what sockets hold.
const FLOOD: u64 = 4_000;

fn flood(live: &Live) {
    for number in 0..FLOOD {
        let request_id = "x".repeat(8_000);
        let request =
            LiveRequest { result: RequestEnd::Queued, mistake: None, reason: None, status: Some(200), request_id };
        let site = SiteId::parse("acme").ok();
        let what = LiveWhat::Request(request);
        let event = LiveEvent { at: Timestamp::UNIX_EPOCH, site, form: None, id: None, what, duration_ms: number };
        live.tell(|| Some(event));
    }
}

async fn slow_watcher(address: SocketAddr) -> Watcher {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("an option of every socket");
    Watcher::begin(socket.connect(address).await.expect("a connection"), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_reads_too_slowly_is_told_how_many_it_missed() {
    let live = Live::default();
    let (address, _stop) = listen(&live, &Arc::new(Metrics::new().expect("metrics")));
    let mut watcher = slow_watcher(address).await;
    // It doesn't read, and telling waits for nobody.
    flood(&live);
    let mut seen = 0;
    let mut missed = 0;
    while seen + missed < FLOOD {
        let event = watcher.next().await;
        match event["what"].as_str() {
            Some("missed") => missed += event["events"].as_u64().expect("a number"),
            _ => seen += 1,
        }
    }
    assert!(seen + missed == FLOOD && missed > 0, "{seen} seen, {missed} missed");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_reads_nothing_is_cut_off_and_a_silent_one_is_kept() {
    let live = Live::default();
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (address, _stop) = listen(&live, &metrics);
    let streams = || {
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        page.lines().find_map(|line| line.strip_prefix("formgate_streams ").map(str::to_owned)).expect("a gauge")
    };
    let mut watcher = Watcher::open(address, "?site=beta").await;
    let slow = slow_watcher(address).await;
    assert_eq!(streams(), "2");
    // The first sees nothing of it.
    flood(&live);
    let cut = async {
        while streams() != "1" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cut).await.expect("it is cut off");
    drop(slow);
    watcher.chunk().await.expect("what comes first");
    let comment = async {
        loop {
            let chunk = watcher.chunk().await.expect("the stream goes on");
            if chunk == ": still here\n\n" {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), comment).await.expect("it hears that the gateway is there");
}

//! A gateway with a fortnight behind it, before a sandbox of KaiCalls: what the console's tests and pictures look at.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use formgate::app::{self, Running};
use formgate::config::{self, Sources};
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::queue::activity::{Activity, LeadEnd, PostEnd, StoredPost};
use formgate::queue::{
    Appended, Attempt, AttemptResult, Claim, Filter, NewEntry, OpenStore, Order, Reading, Reason, Settlement, State,
};
use formgate::received::Received;
use formgate::sandbox::{self, Sandbox};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const ADMIN: &str = "fga_an_admin_token_for_the_console";
pub(crate) const TOKEN: &str = "fg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The sites, with their names and countries. Keys of `cedar-homes` are refused.
pub(crate) const SITES: [(&str, &str, &str); 6] = [
    ("acme-dental", "Acme Dental", "US"),
    ("birch-law", "Birch & Sons Law", "GB"),
    ("cedar-homes", "Cedar Homes", "US"),
    ("delta-fitness", "Delta Fitness", "DE"),
    ("elm-cafe", "Café Elm", "FR"),
    ("fir-travel", "Fir Travel", "US"),
];
/// A form whose criminal cases are held.
const CONSULTATION: &str = r#"
title = "Consultation"
[[detect]]
exists = ["$.case"]
[[hold]]
equals = { "$.case" = "criminal" }
reason = "we don't take criminal cases"
"#;
const KEPT: Duration = Duration::from_secs(30 * 86_400);

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) gateway: Running,
    pub(crate) store: OpenStore,
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    /// Starts with an empty store.
    pub(crate) async fn start() -> Self {
        Self::with("", |_store| async {}).await
    }

    /// Starts with lines added to `[admin]`, once `before` has filled the store.
    pub(crate) async fn with<F: Future<Output = ()>>(admin: &str, before: impl FnOnce(OpenStore) -> F) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys_dir = Some(folder.path().to_path_buf());
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sandbox =
            Sandbox::start(sandbox::Options { keys_dir, ..sandbox::Options::new(listen) }).expect("a sandbox");
        write_configuration(folder.path(), &sandbox.base_url(), admin);
        let path = folder.path().join("config.toml");
        let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let starting = config::start(&path, &Sources::process(), today);
        assert!(!starting.loaded.diagnostics.has_errors(), "{}", starting.loaded.diagnostics.render(false));
        let (config, origin) = starting.in_force.expect("it can be served");
        let store = app::open_store(&config).expect("a store");
        before(store.clone()).await;
        let gateway = app::start_following(config, origin, store.clone()).expect("started");
        Self { sandbox, gateway, store, folder }
    }

    /// Writes a file of the configuration, and waits until it is in force.
    pub(crate) async fn change(&self, file: &str, text: &str) {
        let reloads = || {
            let page = String::from_utf8(self.gateway.metrics().text().expect("a page")).expect("text");
            let count = page.lines().find_map(|line| line.strip_prefix("formgate_config_reload_total{result=\"ok\"} "));
            count.map_or(0, |count| count.parse::<u64>().expect("a number"))
        };
        let before = reloads();
        std::fs::write(self.folder.path().join(file), text).expect("written");
        self.gateway.reload();
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        while reloads() == before {
            assert!(tokio::time::Instant::now() < patience, "{file} doesn't come into force");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The console's address.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin())
    }

    /// Posts a submission as a plugin does, and returns the answer.
    pub(crate) async fn post(&self, target: &str, body: &str) -> String {
        self.post_with(TOKEN, target, body).await
    }

    /// Posts what is refused, with a token of nobody's.
    pub(crate) async fn stranger(&self, target: &str) -> String {
        self.post_with("fg_of_nobody", target, "{}").await
    }

    async fn post_with(&self, token: &str, target: &str, body: &str) -> String {
        self.post_as("WordPress/7.1; https://acme.example", token, target, body).await
    }

    /// Posts as another program.
    pub(crate) async fn post_as(&self, agent: &str, token: &str, target: &str, body: &str) -> String {
        let request = format!(
            "POST /hooks/{target} HTTP/1.1\r\nHost: gate.example\r\nUser-Agent: {agent}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        send(*self.gateway.gateway().first().expect("an address"), &request).await
    }

    /// Returns the id of what was stored last.
    pub(crate) async fn newest(&self) -> String {
        let page = self.store.store().scan(&Filter::default(), Order::Newest, None, 1).await.expect("read");
        page.heads.first().expect("an entry").id.to_string()
    }

    pub(crate) async fn stop(self) {
        let Self { sandbox, gateway, .. } = self;
        gateway.stop().await;
        sandbox.stop().await;
    }
}

async fn send(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

fn write_configuration(folder: &Path, upstream: &str, admin: &str) {
    let main = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://gate.agency.example\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN}\"\n{admin}\n\
         [kaicalls]\nbase_url = \"{upstream}\"\n[queue]\nurl = \"sqlite:data/formgate.db\"\n\
         [limits]\nsite = {{ rate = \"6000/min\", burst = 6000 }}\n[sites]\ninclude = [\"sites/*.toml\"]\n\
         [mappings]\ninclude = [\"mappings/*.toml\"]\n"
    );
    std::fs::create_dir(folder.join("mappings")).expect("made");
    std::fs::write(folder.join("mappings/consultation.toml"), CONSULTATION).expect("written");
    std::fs::create_dir(folder.join("sites")).expect("made");
    std::fs::write(folder.join("config.toml"), main).expect("written");
    let sha256 = hex::encode(Sha256::digest(TOKEN));
    for (id, name, region) in SITES {
        let keys = match id {
            "cedar-homes" => "public_key = \"wp_pk_revoked\"\nsecret_key = \"wp_sk_revoked\"",
            _ => "public_key = { file = \"../public_key\" }\nsecret_key = { file = \"../secret_key\" }",
        };
        let text = format!(
            "id = \"{id}\"\nname = \"{name}\"\nurl = \"https://{id}.example\"\nregion = \"{region}\"\n{keys}\n\
             tokens = [{{ sha256 = \"{sha256}\", note = \"webhook URLs\" }}]\n"
        );
        std::fs::write(folder.join(format!("sites/{id}.toml")), text).expect("written");
    }
}

/// Fills a store with a lead as it came at a time and was delivered soon after.
pub(crate) async fn delivered(store: &OpenStore, number: u64, site: &str, visitor: &Visitor<'_>, at: Timestamp) {
    let entry = entry(number, site, visitor, at);
    assert!(matches!(store.store().append(entry, None).await.expect("appended"), Appended::New(_)));
    let later = at + SignedDuration::from_millis(1_400);
    let claim = Claim::new(1, Duration::from_secs(60), later);
    for lease in store.store().claim(&claim).await.expect("claimed") {
        let attempt = Attempt {
            result: AttemptResult::Delivered,
            status: Some(200),
            duration_ms: 212,
            words: None,
            confirmed: None,
        };
        let lead_id = Some(format!("lead_{number:06}"));
        let settlement = Settlement::Delivered { lead_id, attempt, keep: KEPT };
        assert!(store.store().settle(&lease, settlement, later).await.expect("settled").is_done());
    }
}

/// Who filled in a form, and what they wrote.
#[derive(Clone, Copy)]
pub(crate) struct Visitor<'a> {
    pub(crate) name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) message: &'a str,
}

/// A lead that waits to be sent.
pub(crate) fn entry(number: u64, site: &str, visitor: &Visitor<'_>, at: Timestamp) -> NewEntry {
    let Visitor { name, email, message } = *visitor;
    let draft = Draft { name: Some(name), email: Some(email), message: Some(message), ..Draft::default() };
    let lead = Lead::check(draft).expect("a lead").lead;
    let body = serde_json::json!({ "your-name": name, "your-email": email, "your-message": message }).to_string();
    let headers = [("content-type", "application/json".as_bytes()), ("user-agent", "WordPress/7.1".as_bytes())];
    let millis = u64::try_from(at.as_millisecond()).expect("after 1970");
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    NewEntry {
        id: EntryId::new(millis, &random),
        site: SiteId::parse(site).expect("a site"),
        form: FormId::parse("contact").expect("a form"),
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: at,
        keep: None,
        reading: Reading { lead: Some(lead), mapping: Some("contact-form-7".to_owned()), ..Reading::default() },
        received: Received::from_parts("POST", None, headers, body.into()),
    }
}

/// Counts a fortnight of posts and deliveries, as a gateway would have.
pub(crate) async fn fortnight(store: &OpenStore, now: Timestamp) {
    let activity = Activity::default();
    let form = FormId::parse("contact").expect("a form");
    for hour in (1..14 * 24_i64).rev() {
        let at = now - SignedDuration::from_hours(hour);
        for (site_number, (id, ..)) in (0_i64..).zip(SITES.into_iter().take(4)) {
            let site = SiteId::parse(id).expect("a site");
            let of_day = at.as_second().div_euclid(3_600).rem_euclid(24);
            let is_day = (7..21).contains(&of_day);
            let count =
                if is_day { (hour * 7 + site_number * 5) % 6 + 1 } else { i64::from((hour + site_number) % 5 == 0) };
            for _ in 0..count {
                let mapping = Some("contact-form-7");
                activity.stored(&site, StoredPost { form: &form, mapping, token: None, end: PostEnd::Queued }, at);
                let took = Duration::from_millis(1_400);
                activity.settled(&site, &form, LeadEnd::Delivered { took }, at);
            }
        }
        // So many hours are told apart between two writes.
        if hour % 24 == 0 {
            activity.flush(&store.share()).await.expect("written");
        }
    }
    activity.flush(&store.share()).await.expect("written");
}

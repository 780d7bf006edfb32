//! The sender on a store on disk, in this process, with as many sites as wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use formgate::config::{Admin, Alerts, Config, KaiCallsConfig, Limits, Missing, OverLimit, Queue, Server, Site};
use formgate::destination::{BaseUrl, KeyPair, Secret};
use formgate::kaicalls::{Client, Options};
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::pipeline::{Mappings, SiteRules};
use formgate::queue::sqlite::{self, SqliteStore};
use formgate::queue::{NewEntry, Reading, Reason, State, Store};
use formgate::received::Received;
use formgate::send::{Sender, Stopped};
use formgate::telemetry::Metrics;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A store and a sender that runs.
pub(crate) struct Sending {
    pub(crate) store: Arc<dyn Store>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Stopped>,
}

impl Sending {
    /// Opens a store, and sends from it to an API for so many sites.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        base_url: &str,
        sites: usize,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let base_url = BaseUrl::parse(base_url)?;
        let upstream = KaiCallsConfig { base_url: base_url.clone(), timeout, ..KaiCallsConfig::default() };
        let config = Config {
            server: Server::default(),
            admin: Admin::default(),
            queue: Queue::default(),
            // What one site may send a minute is another matter.
            limits: Limits { over_site: OverLimit::Hold, ..Limits::default() },
            sites: (0..sites).map(site).collect::<anyhow::Result<_>>()?,
            mappings: Arc::new(Mappings::default()),
            upstream,
            backup: None,
            sinks: Vec::new(),
            mail: None,
            alerts: Alerts::default(),
            missing: Missing::default(),
            broken_sites: std::collections::BTreeSet::new(),
            needs_restart: Vec::new(),
        };
        let client = Client::new(Options { timeout, ..Options::new(base_url) })?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let sender = Sender::new(Arc::clone(&store), client, config, Arc::new(Metrics::new()?));
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(async move { sender.run(stopped).await });
        Ok(Self { store, stop, running })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.running.await?;
        Ok(())
    }
}

pub(crate) fn open(folder: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let options = sqlite::Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::now() };
    Ok(Arc::new(SqliteStore::open(&folder.join("store.db"), options)?))
}

/// Appends a lead of a site and returns its id.
pub(crate) async fn append(store: &dyn Store, number: usize, of_site: usize, at: Timestamp) -> anyhow::Result<EntryId> {
    let email = format!("jane{number}@example.com");
    let lead = Lead::check(Draft { email: Some(&email), message: Some("Hello"), ..Draft::default() });
    let lead = lead.ok().context("a lead")?.lead;
    let entry = NewEntry {
        id: EntryId::new(at.as_millisecond().unsigned_abs(), &rand::random()),
        site: site_id(of_site)?,
        form: FormId::parse("contact")?,
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: at,
        keep: None,
        reading: Reading { lead: Some(lead), ..Reading::default() },
        received: Received { body: vec![b'x'; 500].into(), ..Received::default() },
    };
    let id = entry.id;
    let _new = store.append(entry, None).await?;
    Ok(id)
}

fn site_id(number: usize) -> anyhow::Result<SiteId> {
    Ok(SiteId::parse(&format!("site-{number:03}"))?)
}

fn site(number: usize) -> anyhow::Result<(SiteId, Arc<Site>)> {
    let id = site_id(number)?;
    let keys = KeyPair::new(&format!("wp_pk_{number:03}"), &Secret::new("wp_sk_secret".to_owned()))?;
    let site = Site {
        id: id.clone(),
        name: None,
        url: None,
        keys: Some(keys),
        form_keys: BTreeMap::new(),
        page_forms: BTreeMap::new(),
        tokens: Vec::new(),
        wpforms_secrets: Vec::new(),
        lacks_signature_secret: false,
        deliver: true,
        hosts: Vec::new(),
        rules: SiteRules::default(),
        notify: formgate::config::SiteNotify::default(),
        file: PathBuf::new(),
    };
    Ok((id, Arc::new(site)))
}

//! The compiled configuration: immutable, checked, ready to run. A request loads it once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use jiff::civil::Date;

use super::notify::{Alerts, Mail, Sink, SiteNotify};
use super::page_origin::PageOrigin;
use super::secret::SecretSource;
use crate::destination::{BaseUrl, KeyPair, Secret};
use crate::lead::{FormId, SiteId};
use crate::pipeline::{Mappings, SiteRules};
use crate::postgres_url::PostgresUrl;

/// Everything the configuration says.
#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub upstream: KaiCallsConfig,
    pub queue: Queue,
    pub limits: Limits,
    pub backup: Option<Backup>,
    /// Every `[[notify]]` that can be used: those of `config.toml` in their order, then those of sites by their ids.
    pub sinks: Vec<Arc<Sink>>,
    /// None: no mail is sent.
    pub mail: Option<Mail>,
    pub alerts: Alerts,
    pub sites: BTreeMap<SiteId, Arc<Site>>,
    pub mappings: Arc<Mappings>,
    pub missing: Missing,
    /// Sites whose files are broken or gone: those in `sites` are of their last-good versions, the others have none.
    pub broken_sites: BTreeSet<SiteId>,
    /// Keys whose values in the files are others than those here, which only a start can change: `[queue].url`.
    pub needs_restart: Vec<&'static str>,
}

/// What neither the files nor their last good versions give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// There may be a site that `sites` doesn't know, or a site's secret for signatures isn't known: a credential that
    /// fits nothing may still be valid.
    pub credentials: bool,
    /// A site's keys aren't known: a key pair that fits nothing may still be valid.
    pub keys: bool,
    /// `[kaicalls]` isn't known: nothing may be sent.
    pub upstream: bool,
}

impl Config {
    /// Returns the folder for what the gateway keeps beside the store (admin token, socket, audit): `[server].data`,
    /// else the folder of the SQLite store, or `data` beside the configuration for PostgreSQL; none for a store in memory.
    pub fn data_folder(&self) -> Option<&Path> {
        self.server.data.as_deref().or_else(|| self.queue.url.folder())
    }
}

/// `[server]`: the gateway's listener. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Server {
    pub listen: Vec<Listen>,
    /// Where the gateway is reached from outside, without a slash at the end: URLs that are shown begin with it.
    pub public_url: Option<String>,
    /// None: see [`Config::data_folder`]. Always known where the store is a PostgreSQL.
    pub data: Option<PathBuf>,
    /// The header that names the client behind a trusted proxy, in lower case.
    pub client_address: Option<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub max_body: u64,
    pub max_upload: u64,
    pub max_reading: u64,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// Certificate chain and key, both PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    /// None: made at first start in the data folder.
    pub token: Option<Secret>,
    /// Names besides the listener's own that `Host` may give.
    pub hosts: Vec<String>,
    /// How many sites have metrics of their own, in the order of their ids; 0: none.
    pub site_metrics: usize,
    /// Over TCP e-mail addresses and telephone numbers are hidden from whoever has not asked for them.
    pub mask: bool,
}

/// `[kaicalls]`.
#[derive(Clone, Debug)]
pub struct KaiCallsConfig {
    pub base_url: BaseUrl,
    pub timeout: Duration,
    pub max_in_flight: NonZeroU32,
    pub rate: Option<Rate>,
    /// Where the operator's own key (`kc_live_…`) is, which mints key pairs. Not read until somebody does.
    pub api_key: Option<SecretSource>,
    /// Whether the widget is asked before a lead is posted again that may have arrived (decision 0008).
    pub confirm: bool,
}

/// `[backup]`: copies of the store, made while it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// From the end of one copy to the beginning of the next.
    pub every: Duration,
    /// The folder they are written to.
    pub to: PathBuf,
    /// How many copies are kept; the oldest go first.
    pub keep: NonZeroU32,
}

/// `[queue]`.
#[derive(Clone, Debug)]
pub struct Queue {
    pub url: StoreUrl,
    pub retry: Retry,
    pub keep: Keep,
    /// How long the same submission counts as the same; zero: always anew.
    pub dedupe: Duration,
    pub max_size: u64,
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:<path>`.
    Sqlite(PathBuf),
    /// `postgres://…`: several gateways may share it.
    Postgres(Box<PostgresUrl>),
    /// `memory:`, for trying out: nothing outlives the process.
    Memory,
}

impl StoreUrl {
    /// Returns the folder the store lies in; none where it is in no folder of this machine.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Memory | Self::Postgres(_) => None,
            Self::Sqlite(path) => {
                Some(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            }
        }
    }

    /// Tells whether the URL holds a password.
    pub(super) fn has_password(&self) -> bool {
        matches!(self, Self::Postgres(url) if url.config().get_password().is_some())
    }
}

/// When a failed lead is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub first: Duration,
    pub max: Duration,
    pub give_up_after: Duration,
}

/// How long entries that are not queued are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    pub delivered: Duration,
    pub held: Duration,
    pub dead: Duration,
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
}

/// A rate and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub rate: Rate,
    pub burst: NonZeroU32,
}

/// What happens over a site's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLimit {
    /// Queued, and sent at this rate.
    Slow,
    Hold,
    Reject,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub gateway: Limit,
    pub client: Limit,
    pub site: Limit,
    pub over_site: OverLimit,
    /// Each form that pages post by themselves.
    pub browser: Limit,
}

/// One site.
#[derive(Debug)]
pub struct Site {
    pub id: SiteId,
    pub name: Option<String>,
    pub url: Option<String>,
    /// None: they can't be read, and the site's leads wait until they can.
    pub keys: Option<KeyPair>,
    /// Forms whose branch has keys of its own; none of them where they can't be read.
    pub form_keys: BTreeMap<FormId, Option<KeyPair>>,
    pub tokens: Vec<Token>,
    /// Forms that pages post by themselves, without a token.
    pub page_forms: BTreeMap<FormId, PageForm>,
    /// Never empty strings.
    pub wpforms_secrets: Vec<Secret>,
    /// A secret of `wpforms_secret` can't be read: a signature that fits none may still be valid.
    pub lacks_signature_secret: bool,
    pub deliver: bool,
    /// Lower case; empty: any.
    pub hosts: Vec<String>,
    pub rules: SiteRules,
    pub notify: SiteNotify,
    /// The file it stands in, for messages.
    pub file: PathBuf,
}

impl Site {
    /// Every pair of keys that is known, with the form whose own it is.
    pub fn key_pairs(&self) -> impl Iterator<Item = (Option<&FormId>, &KeyPair)> {
        let own = self.keys.iter().map(|keys| (None, keys));
        own.chain(self.form_keys.iter().filter_map(|(form, keys)| Some((Some(form), keys.as_ref()?))))
    }

    /// Tells whether a pair of keys is the site's, or one of its forms'.
    pub fn has_keys(&self, keys: &KeyPair) -> bool {
        self.key_pairs().any(|(_, known)| known == keys)
    }

    /// Returns the keys that a form's leads are sent with; none where they can't be read. A form with keys of its own
    /// never falls back on the site's: its leads would reach another business.
    pub fn keys_of(&self, form: &FormId) -> Option<&KeyPair> {
        self.form_keys.get(form).map_or(self.keys.as_ref(), Option::as_ref)
    }

    /// Tells whether keys of the site or of a form can't be read.
    pub fn lacks_keys(&self) -> bool {
        self.keys.is_none() || self.form_keys.values().any(Option::is_none)
    }
}

/// `browser` of a form: which pages may post it without a token, and what their visitors see then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageForm {
    /// Never empty.
    pub origins: Vec<PageOrigin>,
    /// Where a browser is sent on to.
    pub thanks: Option<HeaderValue>,
    /// A field that people don't see: whoever fills it in is a program.
    pub honeypot: Option<String>,
}

/// A token that may post to a site: only its SHA-256 is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub sha256: [u8; 32],
    pub note: Option<String>,
    /// The last day (UTC) on which it is valid.
    pub expires: Option<Date>,
}

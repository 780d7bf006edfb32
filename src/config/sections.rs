//! The tables of `config.toml` that say how the gateway runs: each can be broken without harm to the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::notify::{self, Alerts, Sink, SinkContext, SinkOwner, WrittenMail, WrittenSink};
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::Sources;
use super::snapshot::{Admin, Backup, Config, KaiCallsConfig, Limits, Missing, Queue, Server, StoreUrl};
use super::{admin, backup, limits, queue, server, upstream};

/// Everything of `config.toml` but its sites and mappings; none where it can't be used.
#[derive(Clone, Default)]
pub(super) struct Sections {
    pub(super) server: Option<Server>,
    pub(super) admin: Option<Admin>,
    pub(super) upstream: Option<KaiCallsConfig>,
    pub(super) queue: Option<Queue>,
    pub(super) limits: Option<Limits>,
    /// Some(None) where there is no such table.
    pub(super) backup: Option<Option<Backup>>,
    /// Each table is sound or broken by itself. None where they can't even be told apart.
    pub(super) sinks: Option<Vec<WrittenSink>>,
    pub(super) mail: Option<WrittenMail>,
    pub(super) alerts: Option<Alerts>,
}

impl Sections {
    pub(super) fn compile(root: &Table<'_>, sources: &Sources, today: Date) -> Self {
        let mut sections = Self {
            server: sound(root, |root| {
                root.section("server", server::KEYS, |table| server::compile(table, sources, today))
            }),
            admin: sound(root, |root| root.section("admin", admin::KEYS, |table| admin::compile(table, sources))),
            upstream: sound(root, |root| root.section("kaicalls", upstream::KEYS, upstream::compile)),
            queue: sound(root, |root| {
                let beside = queue::default_beside(root.file().path());
                let read = |value: Value<'_>| queue::compile(&value.table(queue::KEYS)?, sources);
                root.get("queue").map_or(Some(beside), read)
            }),
            limits: sound(root, |root| root.section("limits", limits::KEYS, limits::compile)),
            backup: sound(root, |root| root.read("backup", |value| backup::compile(&value.table(backup::KEYS)?))),
            mail: sound(root, |root| notify::compile_mail(root, sources)),
            alerts: sound(root, |root| root.section("alerts", notify::ALERTS_KEYS, notify::compile_alerts)),
            sinks: None,
        };
        let context = SinkContext { owner: SinkOwner::Gateway, sources, has_mail: sections.may_mail() };
        sections.sinks = notify::compile_sinks(root, context);
        if let (Some(queue), Some(Some(_)), Some(place)) = (&sections.queue, &sections.backup, root.get("backup"))
            && !backup::check_store(&place, queue)
        {
            sections.backup = None;
        }
        sections.name_data_folder(root);
        if sections.listen_on_one_address() {
            let place = root.get("admin").or_else(|| root.get("server"));
            place.inspect(|place| place.error("[server] and [admin] listen on the same address", None));
            sections.admin = None;
        }
        sections
    }

    /// Counts a table as broken that seems to be written under a name that nobody knows: its defaults are not what was meant.
    /// One that was never there is only taken for mistyped where another store, address or destination would come of it.
    pub(super) fn distrust_absent(&mut self, root: &Table<'_>, was_there: impl Fn(&str) -> bool) {
        for (name, _) in self.states().into_iter().filter(|_| root.has_unknown()) {
            let is_mistyped = matches!(name, "server" | "queue" | "kaicalls") && root.is_misspelt(name);
            if is_mistyped || !root.has(name) && was_there(name) {
                self.forget(name);
            }
        }
    }

    fn forget(&mut self, name: &'static str) {
        match name {
            "server" => self.server = None,
            "admin" => self.admin = None,
            "kaicalls" => self.upstream = None,
            "queue" => self.queue = None,
            "limits" => self.limits = None,
            "backup" => self.backup = None,
            "notify" => self.sinks = None,
            "mail" => self.mail = None,
            "alerts" => self.alerts = None,
            _ => debug_assert!(false, "there is no section {name}"),
        }
    }

    /// A PostgreSQL store has no folder here, so what is kept beside it lies beside the configuration.
    fn name_data_folder(&mut self, root: &Table<'_>) {
        let is_elsewhere = self.queue.as_ref().is_some_and(|queue| matches!(queue.url, StoreUrl::Postgres(_)));
        if let Some(server) = self.server.as_mut().filter(|_| is_elsewhere) {
            server.data.get_or_insert_with(|| root.file().resolve(queue::DATA));
        }
    }

    pub(super) fn of(config: &Config) -> Self {
        Self {
            server: Some(config.server.clone()),
            admin: Some(config.admin.clone()),
            upstream: Some(config.upstream.clone()).filter(|_| !config.missing.upstream),
            queue: Some(config.queue.clone()),
            limits: Some(config.limits),
            backup: Some(config.backup.clone()),
            sinks: Some(
                config.sinks.iter().filter(|sink| !sink.is_of_site_file()).cloned().map(WrittenSink::Sound).collect(),
            ),
            mail: Some(config.mail.clone().map_or(WrittenMail::Absent, WrittenMail::Sound)),
            alerts: Some(config.alerts),
        }
    }

    /// Takes from others what is broken here.
    pub(super) fn or(self, others: &Self) -> Self {
        Self {
            server: self.server.or_else(|| others.server.clone()),
            admin: self.admin.or_else(|| others.admin.clone()),
            upstream: self.upstream.or_else(|| others.upstream.clone()),
            queue: self.queue.or_else(|| others.queue.clone()),
            limits: self.limits.or(others.limits),
            backup: self.backup.or_else(|| others.backup.clone()),
            sinks: self.sinks.or_else(|| others.sinks.clone()),
            mail: match (self.mail, &others.mail) {
                (None, others) => others.clone(),
                (Some(WrittenMail::Lacking), Some(sound @ WrittenMail::Sound(_))) => Some(sound.clone()),
                (written, _) => written,
            },
            alerts: self.alerts.or(others.alerts),
        }
    }

    /// Puts what is known of a sink's name in the place of one that can't be used as it is written.
    pub(super) fn replace_sinks(&mut self, known: &BTreeMap<String, Arc<Sink>>) {
        for written in self.sinks.iter_mut().flatten() {
            if let Some(sink) = written.missed_name().and_then(|name| known.get(name)) {
                *written = WrittenSink::Sound(Arc::clone(sink));
            }
        }
    }

    /// Names the tables, each with whether it can be used.
    pub(super) fn states(&self) -> [(&'static str, bool); 9] {
        [
            ("server", self.server.is_some()),
            ("admin", self.admin.is_some()),
            ("kaicalls", self.upstream.is_some()),
            ("queue", self.queue.is_some()),
            ("limits", self.limits.is_some()),
            ("backup", self.backup.is_some()),
            ("notify", self.sinks.as_ref().is_some_and(|sinks| !sinks.iter().any(WrittenSink::is_broken))),
            ("mail", self.mail.is_some()),
            ("alerts", self.alerts.is_some()),
        ]
    }

    /// Gives the configuration as far as it goes, without sites and mappings.
    ///
    /// None without `[server]`, `[queue]` or `[limits]`: none of them can be guessed, and another address or another
    /// store would be worse than a start that fails.
    pub(super) fn into_config(self) -> Option<Config> {
        let missing = Missing { upstream: self.upstream.is_none(), ..Missing::default() };
        Some(Config {
            server: self.server?,
            admin: self.admin.unwrap_or_default(),
            upstream: self.upstream.unwrap_or_default(),
            queue: self.queue?,
            limits: self.limits?,
            backup: self.backup.flatten(),
            sinks: self.sinks.iter().flatten().filter_map(WrittenSink::sound).cloned().collect(),
            mail: self.mail.and_then(WrittenMail::into_mail),
            alerts: self.alerts.unwrap_or_default(),
            sites: std::collections::BTreeMap::new(),
            mappings: std::sync::Arc::default(),
            missing,
            broken_sites: std::collections::BTreeSet::new(),
            needs_restart: Vec::new(),
        })
    }

    /// Tells whether mail can be sent, or could be if nothing was broken or missing.
    pub(super) fn may_mail(&self) -> bool {
        !matches!(self.mail, Some(WrittenMail::Absent))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.states().iter().all(|(_, is_sound)| *is_sound)
    }

    /// Port 0 is a different one each time.
    fn listen_on_one_address(&self) -> bool {
        let Some((server, admin)) = self.server.as_ref().zip(self.admin.as_ref()) else { return false };
        admin.listen.port() != 0 && server.listen.iter().any(|listen| listen.address == admin.listen)
    }
}

/// Reads a table; none where anything in it is wrong.
fn sound<'a, T>(root: &Table<'a>, read: impl FnOnce(&Table<'a>) -> Option<T>) -> Option<T> {
    let before = root.file().faults();
    let found = read(root);
    found.filter(|_| root.file().faults().since(before).own == 0)
}

/// The keys of a root whose tables are read by [`Sections`] and by what includes sites and mappings.
pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "the configuration",
    about: "What `config.toml` consists of. Every table can be left out.",
    keys: &[
        Key::new("server", KeyShape::Table("[server]"), "The listener that forms post to."),
        Key::new(
            "admin",
            KeyShape::Table("[admin]"),
            "The listener for health checks, metrics, the console and the admin API.",
        ),
        Key::new("kaicalls", KeyShape::Table("[kaicalls]"), "Where leads are delivered, and how."),
        Key::new(
            "queue",
            KeyShape::Table("[queue]"),
            "Where submissions are stored, for how long, and when a lead is tried again.",
        ),
        Key::new("limits", KeyShape::Table("[limits]"), "How many submissions are taken."),
        Key::new(
            "backup",
            KeyShape::Table("[backup]"),
            "Copies of a SQLite store, made while it is in use. Without this table none are made; with PostgreSQL \
             it is an error.",
        ),
        Key::new(
            "notify",
            KeyShape::Tables("[[notify]]"),
            "Where events go: a table for each URL or mailbox, at most 64.",
        ),
        Key::new(
            "mail",
            KeyShape::Table("[mail]"),
            "The server that mail is sent through. Needed by each `[[notify]]` with `email`.",
        ),
        Key::new("alerts", KeyShape::Table("[alerts]"), "When overdue leads and silent forms are told of."),
        Key::new("sites", KeyShape::Table("[sites]"), "Where the files of the sites are."),
        Key::new("mappings", KeyShape::Table("[mappings]"), "Where mappings of your own are."),
        Key::new("site", KeyShape::Tables("a site"), "A site that is written here instead of in a file of its own."),
    ],
};

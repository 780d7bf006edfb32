//! `[[notify]]`: a table for each sink, of `config.toml` or of a site.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Sink, SinkSites, SinkTarget, address, choice, webhook};
use crate::config::reader::{Key, KeyShape, KnownKeys, Table, Value};
use crate::config::secret::Sources;
use crate::event::EventPattern;
use crate::lead::SiteId;

pub(in crate::config) const KEYS: KnownKeys = KnownKeys {
    table: "[[notify]]",
    about: "A sink: a URL or mailboxes that events go to. In `config.toml`, or in a site's file, where it is told of that site alone.",
    keys: &[
        Key::new(
            "name",
            KeyShape::Text("name"),
            "What logs and `formgate notify` call it: a–z, 0–9, `-` and `_`. The name of a site's own sink begins \
             with the site's id and a slash.",
        )
        .words("`notify-1`, `notify-2`, … by position"),
        Key::new(
            "url",
            KeyShape::TextOr("string", "a secret"),
            "Where events are posted: `https://`, or `http://` to this machine; at most 2 KiB. Either `url` or \
             `email` must be set.",
        ),
        Key::new(
            "secret",
            KeyShape::TextsOr("string", "a secret"),
            "Signs what is posted (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64, or up to 4 of them \
             while one replaces another. Without it nothing is signed.",
        ),
        Key::new(
            "format",
            KeyShape::Choice(&["standard", "slack"]),
            "How an event is posted: `standard` as Standard Webhooks, `slack` as one line of text for a chat.",
        )
        .text("standard"),
        Key::new(
            "email",
            KeyShape::TextOrTexts("e-mail address", "e-mail addresses"),
            "Up to 20 addresses in place of `url`; each gets mails of its own. Needs `[mail]`.",
        ),
        Key::new(
            "events",
            KeyShape::Texts("events"),
            "What the sink is told: up to 40 names (`lead.dead`), kinds (`site.*`) or `*`.",
        )
        .texts(&EventPattern::DEFAULT),
        Key::new(
            "sites",
            KeyShape::Texts("site ids"),
            "The sites it is told of, up to 500; `*` is all. A sink of some sites is told nothing of the gateway. \
             Not in a site's file.",
        )
        .texts(&["*"]),
        Key::new("leads", KeyShape::Flag, "Adds what the visitor wrote. In `config.toml`, `sites` must be set then.")
            .flag(false),
        Key::new("allow_private", KeyShape::Flag, "Lets `url` lead to a private address.").flag(false),
    ],
};

/// Most sinks in `config.toml`: each has a lane of its own, with connections and a backlog.
const SINKS_MAX: usize = 64;
/// Most sinks of one site.
const SITE_SINKS_MAX: usize = 8;

/// Where `[[notify]]` tables stand.
#[derive(Clone, Copy)]
pub(in crate::config) enum SinkOwner<'a> {
    Gateway,
    /// A site's file, or its `[[site]]`: its sinks are told of it alone. None: its id can't be read.
    Site(Option<&'a SiteId>),
}

/// What sinks are compiled against.
#[derive(Clone, Copy)]
pub(in crate::config) struct SinkContext<'a> {
    pub(in crate::config) owner: SinkOwner<'a>,
    pub(in crate::config) sources: &'a Sources,
    /// There is a `[mail]`, or there was one that is broken now.
    pub(in crate::config) has_mail: bool,
}

/// One `[[notify]]` table, as far as it can be used as it is written.
#[derive(Clone)]
pub(in crate::config) enum WrittenSink {
    Sound(Arc<Sink>),
    /// It is written well, but its URL, a secret or `[mail]` can't be had.
    Lacking(String),
    /// Its name, where that can be read.
    Broken(Option<String>),
}

impl SinkOwner<'_> {
    fn sinks_max(self) -> usize {
        match self {
            Self::Gateway => SINKS_MAX,
            Self::Site(_) => SITE_SINKS_MAX,
        }
    }

    /// Returns the name that is unique in the configuration.
    fn full_name(self, name: &str) -> String {
        match self {
            Self::Site(Some(site)) => format!("{site}/{name}"),
            Self::Site(None) | Self::Gateway => name.to_owned(),
        }
    }
}

impl WrittenSink {
    pub(in crate::config) fn sound(&self) -> Option<&Arc<Sink>> {
        match self {
            Self::Sound(sink) => Some(sink),
            Self::Lacking(_) | Self::Broken(_) => None,
        }
    }

    pub(in crate::config) fn is_lacking(&self) -> bool {
        matches!(self, Self::Lacking(_))
    }

    pub(in crate::config) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// Returns the name of a sink that can't be used as it is written.
    pub(in crate::config) fn missed_name(&self) -> Option<&str> {
        match self {
            Self::Sound(_) => None,
            Self::Lacking(name) => Some(name),
            Self::Broken(name) => name.as_deref(),
        }
    }
}

/// Compiles the `[[notify]]` tables of a root or a site, in their order. None: they are no list of tables.
pub(in crate::config) fn list(table: &Table<'_>, context: SinkContext<'_>) -> Option<Vec<WrittenSink>> {
    let mut names = BTreeSet::new();
    let mut position = 0;
    table.sections("notify", KEYS, |sink| {
        position += 1;
        if position == context.owner.sinks_max() + 1 {
            let message = format!("there are more than {} [[notify]] tables here", context.owner.sinks_max());
            sink.error(&message, Some("one table can name several addresses, sites and events"));
        }
        if position > context.owner.sinks_max() {
            return Some(WrittenSink::Broken(None));
        }
        let name = name(sink, position);
        let written = compile(sink, &context.owner.full_name(name.as_deref().unwrap_or_default()), context);
        match name {
            Some(name) if names.insert(name.clone()) => Some(written),
            // What was last good of a name that isn't one's own would be another's.
            Some(name) => {
                report_same_name(sink, &name);
                Some(WrittenSink::Broken(None))
            }
            None => Some(WrittenSink::Broken(None)),
        }
    })
}

fn report_same_name(table: &Table<'_>, name: &str) {
    let message = format!("there is already a [[notify]] named `{name}`");
    let hint = Some("give each its own `name`; a table without one is named by its position, such as notify-2");
    table.get("name").map_or_else(|| table.error(&message, hint), |place| place.error(&message, hint));
}

fn name(table: &Table<'_>, position: usize) -> Option<String> {
    // By the rule of sites' names.
    let read = |value: Value<'_>| value.parse(SiteId::parse).map(String::from);
    table.get("name").map_or_else(|| Some(format!("notify-{position}")), read)
}

fn compile(table: &Table<'_>, name: &str, context: SinkContext<'_>) -> WrittenSink {
    let before = table.file().faults();
    let sink = read(table, name, context);
    let is_broken = table.file().faults().since(before).own > 0 || table.has_unknown();
    match sink {
        _ if is_broken => WrittenSink::Broken(Some(name.to_owned())),
        Some(sink) => WrittenSink::Sound(Arc::new(sink)),
        None => WrittenSink::Lacking(name.to_owned()),
    }
}

fn read(table: &Table<'_>, name: &str, context: SinkContext<'_>) -> Option<Sink> {
    let target = target(table, name, context);
    let leads = table.or("leads", false, Value::boolean);
    let sites = sites(table, context.owner, leads == Some(true));
    let events = choice::events(table, sites.as_ref());
    Some(Sink { name: name.to_owned(), target: target?, events: events?, sites: sites?, leads: leads? })
}

fn target(table: &Table<'_>, name: &str, context: SinkContext<'_>) -> Option<SinkTarget> {
    match (table.get("url"), table.get("email")) {
        (Some(url), None) => webhook::compile(table, name, &url, context.sources).map(SinkTarget::Webhook),
        (None, Some(email)) => {
            refuse_webhook_keys(table);
            let addresses = address::list(&email);
            if !context.has_mail {
                let hint =
                    "say which server sends mail: a [mail] table in config.toml with `smtp`, `password` and `from`";
                table.file().aside(|| email.error("there is no [mail] to send `email` with", Some(hint)));
            }
            addresses.filter(|_| context.has_mail).map(SinkTarget::Mail)
        }
        (Some(_), Some(email)) => {
            email.error("a [[notify]] has either `url` or `email`", Some("write a table for each"));
            None
        }
        (None, None) => {
            if !table.has_unknown() {
                let hint = "set `url` to post events to a webhook, or `email` to mail them";
                table.error("a [[notify]] needs `url` or `email`", Some(hint));
            }
            None
        }
    }
}

fn refuse_webhook_keys(table: &Table<'_>) {
    for key in ["secret", "format", "allow_private"] {
        if let Some(value) = table.get(key) {
            value.error(&format!("`{key}` is for webhooks, and this [[notify]] sends mail"), Some("remove it"));
        }
    }
}

/// Reads of which sites a sink is told. What holds visitors' data goes to nobody by a default.
fn sites(table: &Table<'_>, owner: SinkOwner<'_>, has_leads: bool) -> Option<SinkSites> {
    let written = table.get("sites");
    match (owner, written) {
        (SinkOwner::Gateway, Some(value)) => choice::sites(&value),
        (SinkOwner::Gateway, None) => {
            if let Some(leads) = table.get("leads").filter(|_| has_leads) {
                let hint = "name the sites whose leads it may have: sites = [\"acme\"], or [\"*\"] for all";
                leads.error("`leads = true` needs `sites`", Some(hint));
                return None;
            }
            Some(SinkSites::All)
        }
        (SinkOwner::Site(id), Some(value)) => {
            let site = id.map_or_else(String::new, |id| format!(" `{id}`"));
            let hint = "remove `sites`, or move the table to config.toml";
            value.error(&format!("this [[notify]] is bound to its site{site}"), Some(hint));
            None
        }
        (SinkOwner::Site(id), None) => id.map(|id| SinkSites::Only(BTreeSet::from([id.clone()]))),
    }
}

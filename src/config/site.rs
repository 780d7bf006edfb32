//! One site: a file of its own, or a `[[site]]` table.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::civil::Date;

use super::advice::{PlacedPair, warn_of_no_region, warn_of_no_token, warn_of_odd_key};
use super::browser::warn_of_other_hosts;
use super::form;
use super::notify::{SinkContext, SinkOwner, SiteNotify, WrittenSink, compile_sinks, silence};
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::{Sources, public, secret};
use super::snapshot::Site;
use super::source::SourceFile;
use super::token;
use crate::destination::{KeyPair, Secret};
use crate::lead::{FormId, Region, SiteId};
use crate::map::Mapping;
use crate::pipeline::SiteRules;

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "a site",
    about: "A site: a file that `[sites].include` finds, or a `[[site]]` table in `config.toml`.",
    keys: &[
        Key::new(
            "id",
            KeyShape::Text("id"),
            "Part of the site's URLs, `/hooks/ID`: a–z, 0–9, `-` and `_`, at most 64, not beginning with `-` or \
             `_`.",
        )
        .required(),
        Key::new("name", KeyShape::Text("string"), "What people see.").words("the id"),
        Key::new("url", KeyShape::Text("URL"), "The address of the website. Tells apart sites that share a key pair."),
        Key::new(
            "region",
            KeyShape::Text("country code"),
            "The country of phone numbers written without `+`, in two capitals: `US`. Without it such a number is \
             sent as the visitor typed it.",
        ),
        Key::new(
            "public_key",
            KeyShape::TextOr("string", "a secret"),
            "KaiCalls' Public Key, `wp_pk_…`. Until it can be read, the site's leads wait.",
        )
        .required(),
        Key::new(
            "secret_key",
            KeyShape::TextOr("string", "a secret"),
            "KaiCalls' Secret Key, `wp_sk_…`. Until it can be read, the site's leads wait.",
        )
        .required(),
        Key::new(
            "tokens",
            KeyShape::Tables("a token"),
            "Who may post: a table for each token. `formgate sites token` makes one.",
        )
        .texts(&[]),
        Key::new(
            "wpforms_secret",
            KeyShape::TextsOr("string", "a secret"),
            "The secret of webhooks that the plugin signs instead of sending a token. Each webhook may have its own.",
        ),
        Key::new("deliver", KeyShape::Flag, "`false` takes and holds every submission and sends nothing.").flag(true),
        Key::new(
            "hosts",
            KeyShape::Texts("host names"),
            "If any are named, submissions from other hosts, such as a staging copy, are held.",
        )
        .texts(&[]),
        Key::new(
            "unknown_forms",
            KeyShape::Choice(&["auto", "hold"]),
            "What is done with submissions of forms that have no table: `auto` takes them, `hold` holds them.",
        )
        .text("auto"),
        Key::new(
            "silence",
            KeyShape::DurationOr(&["auto", "off"]),
            "When a form of the site that stopped posting is told of.",
        )
        .words("that of `[alerts]`"),
        Key::new(
            "forms",
            KeyShape::Named("[forms.*]"),
            "Rules for a form, by its name in the URL. Most forms need none.",
        )
        .members(&[]),
        Key::new("notify", KeyShape::Tables("[[notify]]"), "Sinks that are told of this site alone, at most 8."),
    ],
};

/// What a site is compiled against.
pub(super) struct Context<'a> {
    pub(super) sources: &'a Sources,
    pub(super) today: Date,
    /// The name of every mapping there is, well written or not.
    pub(super) mappings: &'a BTreeSet<String>,
    /// Those without a fault.
    pub(super) sound: &'a [Mapping],
    /// There is a `[mail]`, or there was one that is broken now.
    pub(super) has_mail: bool,
}

/// A site as far as it could be read, and where its parts stand.
pub(super) struct CompiledSite<'a> {
    pub(super) file: &'a SourceFile,
    /// None: missing or malformed.
    pub(super) id: Option<(SiteId, Range<usize>)>,
    /// None: something in it is wrong.
    pub(super) site: Option<Site>,
    /// Keys, a secret or a mapping that it names can't be had.
    pub(super) lacks_something: bool,
    /// All that it lacks is files that are not there.
    pub(super) lacks_files_alone: bool,
    pub(super) tokens: Vec<token::PlacedToken>,
    /// The key pairs of the site and of its forms.
    pub(super) pairs: Vec<PlacedPair>,
}

impl<'a> CompiledSite<'a> {
    /// A site of which nothing could be read.
    pub(super) fn unread(file: &'a SourceFile) -> Self {
        Self {
            file,
            id: None,
            site: None,
            lacks_something: false,
            lacks_files_alone: false,
            tokens: Vec::new(),
            pairs: Vec::new(),
        }
    }
}

/// Compiles a site.
pub(super) fn compile<'a>(table: &Table<'a>, context: &Context<'_>) -> CompiledSite<'a> {
    let file = table.file();
    let before = file.faults();
    let id = table.need("id", |value| Some((value.parse(SiteId::parse)?, value.span())));
    let name = id.as_ref().map_or("SITE", |(id, _)| id.as_str());
    let tokens = table.or_empty("tokens", |value| token::list(value, name, context.today));
    let placed = tokens.clone().unwrap_or_default();
    let site = read_site(table, id.as_ref().map(|(id, _)| id), tokens, context);
    let lacks = file.faults().since(before);
    let sinks = sinks(table, id.as_ref().map(|(id, _)| id), context);
    let faults = file.faults().since(before);
    let site = site.zip(sinks).map(|(site, sinks)| with_sinks(site, &sinks));
    let site = site.filter(|_| faults.own == 0 && !table.has_unknown());
    let mut pairs = Vec::new();
    if let Some(site) = &site {
        warn_of_no_token(table, site);
        warn_of_no_region(table, site);
        warn_of_other_hosts(table, site);
        // Stand-ins are all the same.
        if !context.sources.has_stand_ins() {
            pairs = placed_pairs(table, site);
        }
    }
    let lacks_something = lacks.aside > 0;
    let lacks_files_alone = lacks.aside == lacks.absent;
    CompiledSite { file, id, site, lacks_something, lacks_files_alone, tokens: placed, pairs }
}

/// Compiles `[[notify]]`. A sink whose URL or secret can't be had is missing by itself: the site lacks nothing.
fn sinks(table: &Table<'_>, id: Option<&SiteId>, context: &Context<'_>) -> Option<Vec<WrittenSink>> {
    let Context { sources, has_mail, .. } = *context;
    compile_sinks(table, SinkContext { owner: SinkOwner::Site(id), sources, has_mail })
}

fn with_sinks(mut site: Site, sinks: &[WrittenSink]) -> Site {
    site.notify.sinks = sinks.iter().filter_map(WrittenSink::sound).cloned().collect();
    site.notify.lacking = sinks.iter().filter_map(WrittenSink::missed_name).map(str::to_owned).collect();
    site
}

fn placed_pairs(table: &Table<'_>, site: &Site) -> Vec<PlacedPair> {
    let span = |key| table.get(key).map_or_else(|| table.span(), |value| value.span());
    let place = |form: Option<&FormId>| span(if form.is_some() { "forms" } else { "public_key" });
    site.key_pairs().map(|(form, pair)| PlacedPair::new(pair, place(form))).collect()
}

fn read_site(
    table: &Table<'_>,
    id: Option<&SiteId>,
    tokens: Option<Vec<token::PlacedToken>>,
    context: &Context<'_>,
) -> Option<Site> {
    let name = table.read("name", |value| value.filled().map(str::to_owned));
    let url = table.read("url", web_address);
    let keys = keys(table, context.sources);
    let (wpforms_secrets, lacks_signature_secret) = signature_secrets(table, context.sources);
    let deliver = table.or("deliver", true, Value::boolean);
    let hosts = table.or_empty("hosts", |value| value.list_of(host));
    let region = table.read("region", region);
    let hold_unknown_forms = table.or("unknown_forms", false, |value| value.choice(&[("auto", false), ("hold", true)]));
    let silence = table.read("silence", silence);
    let forms = table.or_empty("forms", |value| form::list(value, context));
    let (mut rules, mut form_keys, mut page_forms) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut form_silence = BTreeMap::new();
    for form in forms? {
        form_keys.extend(form.keys.map(|keys| (form.rules.id.clone(), keys)));
        page_forms.extend(form.page.map(|page| (form.rules.id.clone(), page)));
        form_silence.extend(form.silence.map(|silence| (form.rules.id.clone(), silence)));
        rules.push(form.rules);
    }
    Some(Site {
        id: id?.clone(),
        name: name?,
        url: url?,
        keys,
        form_keys,
        page_forms,
        tokens: tokens?.into_iter().map(|placed| placed.token).collect(),
        wpforms_secrets,
        lacks_signature_secret,
        deliver: deliver?,
        hosts: hosts?,
        rules: SiteRules { region: region?, forms: rules, hold_unknown_forms: hold_unknown_forms? },
        notify: SiteNotify { silence: silence?, form_silence, ..SiteNotify::default() },
        file: table.file().path().to_owned(),
    })
}

/// Reads `wpforms_secret`, one or several: those that can be had, and whether one can't.
fn signature_secrets(table: &Table<'_>, sources: &Sources) -> (Vec<Secret>, bool) {
    let Some(value) = table.get("wpforms_secret") else { return (Vec::new(), false) };
    let items = value.items().unwrap_or_else(|| vec![value.clone()]);
    let read = table.file().aside(|| items.iter().map(|item| secret(item, sources)).collect::<Vec<_>>());
    let lacks_one = read.iter().any(Option::is_none);
    (read.into_iter().flatten().collect(), lacks_one)
}

/// Reads `public_key` and `secret_key`, both of which must be there. A site can take submissions without them.
pub(super) fn keys(table: &Table<'_>, sources: &Sources) -> Option<KeyPair> {
    table.file().aside(|| read_keys(table, sources))
}

fn read_keys(table: &Table<'_>, sources: &Sources) -> Option<KeyPair> {
    let public_key = table.need("public_key", |value| {
        let key = public(value, sources)?;
        if let Err(fault) = KeyPair::check_public(&key) {
            return report_key(value, &fault);
        }
        warn_of_odd_key(value, &key, "wp_pk_");
        Some(key)
    });
    let secret_key = table.need("secret_key", |value| {
        let key: Secret = secret(value, sources)?;
        if let Err(fault) = KeyPair::check_secret(&key) {
            return report_key(value, &fault);
        }
        warn_of_odd_key(value, key.expose(), "wp_sk_");
        Some(key)
    });
    KeyPair::new(&public_key?, &secret_key?).ok()
}

fn report_key<T>(value: &Value<'_>, fault: &crate::destination::InvalidKaiCallsKey) -> Option<T> {
    let hint = "a key pair has both: KaiCalls' Public Key (wp_pk_…) and Secret Key (wp_sk_…)";
    value.error(&format!("`{}` {fault}", value.key()), Some(hint));
    None
}

/// Reads a country code.
pub(super) fn region(value: &Value<'_>) -> Option<Region> {
    let text = value.text()?;
    let region = Region::parse(text).ok();
    if region.is_none() {
        let upper = text.to_uppercase();
        let hint = Region::parse(&upper).is_ok().then(|| format!("write it in capitals: \"{upper}\""));
        value.error(
            &format!("`{}` is not a two-letter country code such as \"US\" or \"DE\"", value.key()),
            hint.as_deref(),
        );
    }
    region
}

pub(super) fn web_address(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let uri: Option<http::Uri> = text.parse().ok();
    let is_web = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if !is_web {
        value.error(&format!("`{}` is not a web address such as \"https://acme.example\"", value.key()), None);
        return None;
    }
    Some(text.to_owned())
}

/// Reads the name of a host, without scheme, port or path; in lower case.
pub(super) fn host(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    let is_name = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if !is_address && !is_name {
        let hint = "write only the name: \"acme.example\", not a URL";
        value.error(&format!("`{}` contains something that is not a host name", value.key()), Some(hint));
        return None;
    }
    Some(text.to_lowercase())
}

//! `[forms.<id>]` of a site.

use super::browser;
use super::diagnostic::Severity;
use super::mapping::{self, condition, extras, lead};
use super::notify::{Silence, silence};
use super::reader::{Key, KeyShape, KnownKeys, NamedValue, Table, Value, all};
use super::recurring::{Recurring, RecurringKind};
use super::site::{Context, keys, region};
use super::snapshot::PageForm;
use super::suggest::nearest;
use crate::destination::KeyPair;
use crate::lead::FormId;
use crate::pipeline::{FormRules, honeypot};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[forms.*]",
    about: "Rules for one form of a site. What they don't name is found as without them.",
    keys: &[
        Key::new(
            "match",
            KeyShape::TableOrTables("match"),
            "Recognises the form if several post to one URL; of several tables one must fit.",
        )
        .words("only by its URL"),
        Key::new("mapping", KeyShape::Text("name"), "The mapping to use.").words("recognised from the request"),
        Key::new(
            "on_invalid",
            KeyShape::Choice(&["hold", "reject"]),
            "The answer if there is no valid lead: `hold` is 200, `reject` is 422. The submission is held either \
             way.",
        )
        .words("that of the mapping, else `hold`"),
        Key::new("region", KeyShape::Text("country code"), "The country of phone numbers written without `+`.")
            .words("that of the site"),
        Key::new(
            "public_key",
            KeyShape::TextOr("string", "a secret"),
            "The Public Key of a branch with a KaiCalls business of its own; with `secret_key` or not at all.",
        )
        .words("that of the site"),
        Key::new("secret_key", KeyShape::TextOr("string", "a secret"), "The Secret Key of that business.")
            .words("that of the site"),
        Key::new("lead", KeyShape::Table("[lead]"), "Rules that replace those of the mapping, field by field."),
        Key::new("extras", KeyShape::Table("[extras]"), "Rules that are added to those of the mapping."),
        Key::new("auto", KeyShape::Table("[forms.*.auto]"), "How sure formgate must be of what it finds by itself."),
        Key::new("browser", KeyShape::Table("[forms.*.browser]"), "Lets pages post this form without a token."),
        Key::new("silence", KeyShape::DurationOr(&["auto", "off"]), "When this form is told of if it stops posting.")
            .words("that of the site"),
    ],
};

/// `auto = { min = 0.8 }`.
pub(super) const AUTO: KnownKeys = KnownKeys {
    table: "[forms.*.auto]",
    about: "How sure formgate must be of what it finds by itself.",
    keys: &[Key::new(
        "min",
        KeyShape::Share,
        "Submissions with less confidence than this are held. Without it none is.",
    )],
};

/// A form, and its branch's keys where it has its own.
pub(super) struct CompiledForm {
    pub(super) rules: FormRules,
    pub(super) keys: Option<Option<KeyPair>>,
    /// Pages may post it without a token.
    pub(super) page: Option<PageForm>,
    /// Its own, where it has one.
    pub(super) silence: Option<Silence>,
}

/// Compiles a site's `forms`, in the file's order.
pub(super) fn list(value: &Value<'_>, context: &Context<'_>) -> Option<Vec<CompiledForm>> {
    all(value.named()?.into_iter().map(|entry| compile(&entry, context)))
}

fn compile(entry: &NamedValue<'_>, context: &Context<'_>) -> Option<CompiledForm> {
    let id = FormId::parse(entry.name)
        .map_err(|invalid| entry.value.file().error(entry.key_span.clone(), &format!("a form's name {invalid}")))
        .ok();
    let table = entry.value.table(KEYS)?;
    let matches = table
        .or_empty("match", |value| value.one_or_more(|item| condition::compile(&item.table(condition::MATCH_KEYS)?)));
    let mapping = table.read("mapping", |value| known_mapping(value, context));
    let on_invalid = table.read("on_invalid", mapping::on_invalid);
    let region = table.read("region", region);
    let keys = own_keys(&table, context);
    let lead = table.section("lead", lead::KEYS, lead::compile);
    let extras = table.section("extras", extras::KEYS, extras::compile);
    let auto_min = table.section("auto", AUTO, auto_min);
    let page = table.read("browser", browser::compile);
    let silence = table.read("silence", silence);
    let (page, mut extras) = (page?, extras?);
    let mapping = mapping?;
    let lead = lead?;
    let honeypot = page.as_ref().and_then(|page| page.honeypot.clone());
    if let (Some(place), Some(name)) = (table.get("browser"), &honeypot) {
        let of_mapping = context.sound.iter().find(|sound| mapping.as_ref() == Some(&sound.name));
        browser::check_honeypot(&place, name, [Some(&lead), of_mapping.map(|mapping| &mapping.lead)]);
    }
    // What a program wrote into it is no part of the lead, also where it is released.
    extras.drop.extend(honeypot.iter().flat_map(|name| honeypot::keys(name)));
    let rules = FormRules {
        id: id?,
        matches: matches?,
        mapping,
        on_invalid: on_invalid?,
        region: region?,
        lead,
        extras,
        auto_min: auto_min?,
        honeypot,
    };
    Some(CompiledForm { rules, keys, page, silence: silence? })
}

/// Reads the confidence below which a guess is held.
fn auto_min(table: &Table<'_>) -> Option<Option<f32>> {
    table.read("min", |value| value.share()).map(|share| share.map(|share| share as f32))
}

/// Reads the keys of a branch: both or none, since a pair is made together. Some(None) where they can't be had.
fn own_keys(table: &Table<'_>, context: &Context<'_>) -> Option<Option<KeyPair>> {
    let has_its_own = table.has("public_key") || table.has("secret_key");
    has_its_own.then(|| keys(table, context.sources))
}

/// Reads the name of a mapping. One that isn't there is reported and kept: its last good version may stand in.
fn known_mapping(value: &Value<'_>, context: &Context<'_>) -> Option<String> {
    let name = value.text()?;
    if context.mappings.contains(name) {
        return Some(name.to_owned());
    }
    let hint = nearest(name, context.mappings.iter().map(String::as_str)).map_or_else(
        || format!("known mappings: {}", context.mappings.iter().cloned().collect::<Vec<_>>().join(", ")),
        |known| format!("did you mean \"{known}\"?"),
    );
    let subject = value.file().path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let recurring = Recurring { kind: RecurringKind::NoMapping(name.to_owned()), subject };
    let message = format!("there is no mapping `{name}`");
    value.file().aside(|| {
        value.file().report_recurring(Severity::Error, Some(value.span()), recurring, &message, Some(&hint));
    });
    Some(name.to_owned())
}

//! `browser = { origins = […], thanks = "…", honeypot = "…" }` of a form: pages may post it without a token.

use http::HeaderValue;

use super::mappings;
use super::page_origin::PageOrigin;
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::site::web_address;
use super::snapshot::{PageForm, Site};
use crate::map::{LeadRules, Role};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[forms.*.browser]",
    about: "Which pages may post a form without a token.",
    keys: &[
        Key::new("origins", KeyShape::Texts("origins"), "The pages' origins, 1 to 100: scheme, host and perhaps port.")
            .required(),
        Key::new(
            "thanks",
            KeyShape::Text("URL"),
            "Where a visitor is sent after the post. Without it formgate shows a short page.",
        ),
        Key::new(
            "honeypot",
            KeyShape::Text("field name"),
            "A field that people don't see. A submission in which it is filled is held as spam.",
        ),
    ],
};

/// Most origins of one form.
const ORIGINS_MAX: usize = 100;
/// Longest name of a field that traps programs.
const HONEYPOT_MAX: usize = 100;

/// Compiles `browser`.
pub(super) fn compile(value: &Value<'_>) -> Option<PageForm> {
    let table = value.table(KEYS)?;
    let origins = table.need("origins", origins);
    let thanks = table.read("thanks", thanks);
    let honeypot = table.read("honeypot", honeypot);
    Some(PageForm { origins: origins?, thanks: thanks?, honeypot: honeypot? })
}

fn origins(value: &Value<'_>) -> Option<Vec<PageOrigin>> {
    let origins = value.list_of(origin)?;
    if origins.is_empty() || origins.len() > ORIGINS_MAX {
        value.error(&format!("`origins` must name 1 to {ORIGINS_MAX} origins"), None);
        return None;
    }
    Some(origins)
}

fn origin(value: &Value<'_>) -> Option<PageOrigin> {
    let text = value.text()?;
    match PageOrigin::parse(text) {
        Ok(origin) => {
            if origin.is_in_clear() {
                let hint = "use the https:// address if the site has one";
                value.warn(
                    &format!("pages of {} can be changed on their way to the visitor", origin.as_str()),
                    Some(hint),
                );
            }
            Some(origin)
        }
        Err(invalid) => {
            let whole = PageOrigin::of_url(text).map(|origin| format!("write \"{}\"", origin.as_str()));
            let hint = whole.unwrap_or_else(|| "list each origin, such as \"https://www.acme.example\"".to_owned());
            value.error(&format!("`origins` has an item that {invalid}"), Some(&hint));
            None
        }
    }
}

/// Reads where a browser is sent on to: it stands in a header.
fn thanks(value: &Value<'_>) -> Option<HeaderValue> {
    let text = web_address(value)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&text).ok().filter(|_| plain);
    if header.is_none() {
        value.error(
            "`thanks` has characters that a URL can't have",
            Some("write them percent-encoded, as %C3%BC for ü"),
        );
    }
    header
}

fn honeypot(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let is_plain = |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '*' | '"' | '\'');
    if text.len() > HONEYPOT_MAX || !text.chars().all(is_plain) {
        let hint = "write the `name` that the hidden field has in the page, such as \"website2\"";
        value.error("`honeypot` is not a field's name", Some(hint));
        return None;
    }
    Some(text.to_owned())
}

/// Refuses a honeypot that people fill in, since the lead is made of it; warns of one that looks as if it were.
pub(super) fn check_honeypot(value: &Value<'_>, name: &str, rules: [Option<&LeadRules>; 2]) {
    let hint = "name a field that only this is for, such as \"website2\"";
    if let Some(field) = rules.into_iter().flatten().find_map(|rules| rules.reader_of(name)) {
        let field = field.as_str();
        value.error(
            &format!("`{field}` of the lead is read from `{name}`, so every lead would be held as spam"),
            Some(hint),
        );
    } else if let Some(what) = taken_for(name) {
        value.warn(&format!("`{name}` looks like the field for {what}, which browsers and people fill in"), Some(hint));
    }
}

/// Returns what of a lead a field of this name seems to be.
fn taken_for(name: &str) -> Option<&'static str> {
    let dictionary = mappings::dictionary();
    let mut votes = Vec::new();
    dictionary.vote(name, &mut votes);
    match dictionary.sense(name, dictionary.most(&votes)).role {
        Role::Email => Some("the e-mail address"),
        Role::Phone => Some("the phone number"),
        Role::Name | Role::FirstName | Role::LastName | Role::FullName => Some("the name"),
        Role::Message => Some("the message"),
        _ => None,
    }
}

/// Warns where each post would be held: a page's origin names a host that isn't one of the site's.
pub(super) fn warn_of_other_hosts(table: &Table<'_>, site: &Site) {
    let Some(place) = table.get("hosts").filter(|_| !site.hosts.is_empty()) else { return };
    for (form, page) in &site.page_forms {
        let is_other = |origin: &&PageOrigin| !site.hosts.iter().any(|host| is_same_host(host, origin.host()));
        for origin in page.origins.iter().filter(is_other) {
            let host = origin.host();
            let message =
                format!("posts of form `{form}` from {} would be held: `hosts` doesn't name its host", origin.as_str());
            place.warn(&message, Some(&format!("add \"{host}\"")));
        }
    }
}

/// Compares as it is done when a submission comes: `www.` makes no other host.
fn is_same_host(listed: &str, host: &str) -> bool {
    let plain = |name: &str| {
        let ascii = idna::domain_to_ascii(name).unwrap_or_else(|_no_domain| name.to_owned());
        ascii.strip_prefix("www.").unwrap_or(&ascii).to_owned()
    };
    plain(listed) == plain(host.trim_matches(['[', ']']))
}

//! Every table and its keys, for editors and the reference; reading uses the same lists.

use super::mapping::{self, combine, condition, example, extras, fields, lead, selector};
use super::reader::KnownKeys;
use super::{
    admin, backup, browser, form, include, limits, notify, queue, secret, sections, server, site, token, upstream,
};

/// The tables of `config.toml` and of sites.
pub const CONFIG_KEYS: [KnownKeys; 30] = [
    sections::KEYS,
    server::KEYS,
    server::LISTEN,
    server::TLS,
    admin::KEYS,
    upstream::KEYS,
    queue::KEYS,
    queue::RETRY,
    queue::KEEP,
    limits::KEYS,
    limits::LIMIT,
    limits::SITE_LIMIT,
    backup::KEYS,
    notify::SINK_KEYS,
    notify::MAIL_KEYS,
    notify::ALERTS_KEYS,
    include::SITES,
    include::MAPPINGS,
    site::KEYS,
    secret::KEYS,
    token::KEYS,
    form::KEYS,
    form::AUTO,
    browser::KEYS,
    condition::MATCH_KEYS,
    lead::KEYS,
    lead::RULE,
    selector::FIELD,
    extras::KEYS,
    extras::DROP_WHERE,
];

/// The tables of a mapping.
pub const MAPPING_KEYS: [KnownKeys; 16] = [
    mapping::KEYS,
    condition::KEYS,
    fields::KEYS,
    fields::FIXED,
    combine::KEYS,
    mapping::VALUES,
    mapping::FORM,
    lead::KEYS,
    lead::RULE,
    selector::FIELD,
    extras::KEYS,
    extras::DROP_WHERE,
    condition::HOLD_KEYS,
    example::KEYS,
    example::LEAD,
    example::REJECT,
];

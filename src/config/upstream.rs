//! `[kaicalls]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::secret::secret_source;
use super::snapshot::KaiCallsConfig;
use crate::destination::BaseUrl;

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[kaicalls]",
    about: "Where leads are delivered, and how.",
    keys: &[
        Key::new(
            "base_url",
            KeyShape::Text("URL"),
            "Scheme, host and perhaps port of KaiCalls' API. `http://` only to this machine.",
        )
        .text("https://www.kaicalls.com"),
        Key::new("timeout", KeyShape::Duration, "How long one delivery attempt may take.").text("30s"),
        Key::new("max_in_flight", KeyShape::Number(1, IN_FLIGHT_MAX), "How many leads are delivered at one time.")
            .number(32),
        Key::new("rate", KeyShape::Rate, "The most delivery attempts in a time. Without it there is no limit."),
        Key::new(
            "api_key",
            KeyShape::TextOr("string", "a secret"),
            "A standard API key of KaiCalls (`kc_live_…`). Read only by commands that create key pairs, never by \
             `serve`.",
        ),
        Key::new(
            "confirm",
            KeyShape::Flag,
            "Asks KaiCalls whether a lead has arrived before an attempt without an answer is repeated.",
        )
        .flag(false),
    ],
};

/// Most deliveries at once; each holds a connection.
const IN_FLIGHT_MAX: u32 = 10_000;

impl Default for KaiCallsConfig {
    fn default() -> Self {
        Self {
            base_url: BaseUrl::parse("https://www.kaicalls.com").expect("the default is an origin"),
            timeout: Duration::from_secs(30),
            max_in_flight: NonZeroU32::new(32).expect("32 is not zero"),
            rate: None,
            api_key: None,
            confirm: false,
        }
    }
}

/// Compiles `[kaicalls]`.
pub(super) fn compile(table: &Table<'_>) -> Option<KaiCallsConfig> {
    let default = KaiCallsConfig::default();
    let base_url = table.or("base_url", default.base_url, |value| value.parse(BaseUrl::parse));
    let timeout = table.or("timeout", default.timeout, Value::some_time);
    let max_in_flight = table.or("max_in_flight", default.max_in_flight, |value| value.count(IN_FLIGHT_MAX));
    let rate = table.read("rate", Value::rate);
    // Only those who mint read it: a gateway starts without it.
    let api_key = table.read("api_key", secret_source);
    let confirm = table.or("confirm", default.confirm, Value::boolean);
    Some(KaiCallsConfig {
        base_url: base_url?,
        timeout: timeout?,
        max_in_flight: max_in_flight?,
        rate: rate?,
        api_key: api_key?,
        confirm: confirm?,
    })
}

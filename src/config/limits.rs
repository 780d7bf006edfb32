//! `[limits]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{Key, KeyDefault, KeyShape, KnownKeys, Table, Value};
use super::snapshot::{Limit, Limits, OverLimit, Rate};

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "[limits]",
    about: "How many submissions are taken.",
    keys: &[
        Key::new("gateway", KeyShape::Table("a limit"), "All submissions together. Over it: 429.")
            .members(&[("rate", KeyDefault::Text("6000/min")), ("burst", KeyDefault::Number(2000))]),
        Key::new(
            "client",
            KeyShape::Table("a limit"),
            "Requests without a valid credential from one address (IPv6: from one /64). Over it: 429.",
        )
        .members(&[("rate", KeyDefault::Text("60/min")), ("burst", KeyDefault::Number(30))]),
        Key::new("site", KeyShape::Table("[limits] site"), "The submissions of one site.").members(&[
            ("rate", KeyDefault::Text("60/min")),
            ("burst", KeyDefault::Number(60)),
            ("over", KeyDefault::Text("slow")),
        ]),
        Key::new(
            "browser",
            KeyShape::Table("a limit"),
            "Posts to one form from pages without a token. All such forms of a site together get half of `site`. \
             Over it: 429.",
        )
        .members(&[("rate", KeyDefault::Text("30/min")), ("burst", KeyDefault::Number(20))]),
    ],
};
pub(super) const LIMIT: KnownKeys = KnownKeys {
    table: "a limit",
    about: "A rate, and how many may come at once.",
    keys: &[
        Key::new("rate", KeyShape::Rate, "How many in a time, in the long run.").words("that of the limit"),
        Key::new("burst", KeyShape::Number(1, u32::MAX), "How many may come at once after a quiet time.")
            .words("that of the limit"),
    ],
};
pub(super) const SITE_LIMIT: KnownKeys = KnownKeys {
    table: "[limits] site",
    about: "The limit of one site, and what happens over it.",
    keys: &[
        Key::new("rate", KeyShape::Rate, "How many in a time, in the long run.").text("60/min"),
        Key::new("burst", KeyShape::Number(1, u32::MAX), "How many may come at once after a quiet time.").number(60),
        Key::new(
            "over",
            KeyShape::Choice(&["slow", "hold", "reject"]),
            "What happens over it: `slow` sends the leads at this rate, `hold` holds them, `reject` answers 429.",
        )
        .text("slow"),
    ],
};

const OVER: [(&str, OverLimit); 3] =
    [("slow", OverLimit::Slow), ("hold", OverLimit::Hold), ("reject", OverLimit::Reject)];

impl Default for Limits {
    fn default() -> Self {
        Self {
            gateway: per_minute(6000, 2000),
            client: per_minute(60, 30),
            site: per_minute(60, 60),
            over_site: OverLimit::Slow,
            browser: per_minute(30, 20),
        }
    }
}

fn per_minute(count: u32, burst: u32) -> Limit {
    let some = |number| NonZeroU32::new(number).expect("the defaults are not zero");
    Limit { rate: Rate { count: some(count), per: Duration::from_secs(60) }, burst: some(burst) }
}

/// Compiles `[limits]`.
pub(super) fn compile(table: &Table<'_>) -> Option<Limits> {
    let default = Limits::default();
    let gateway = table.or("gateway", default.gateway, |value| limit(&value.table(LIMIT)?, default.gateway));
    let client = table.or("client", default.client, |value| limit(&value.table(LIMIT)?, default.client));
    let site = table.or("site", (default.site, default.over_site), |value| {
        let table = value.table(SITE_LIMIT)?;
        let (limit, over) =
            (limit(&table, default.site), table.or("over", default.over_site, |word| word.choice(&OVER)));
        Some((limit?, over?))
    });
    let browser = table.or("browser", default.browser, |value| limit(&value.table(LIMIT)?, default.browser));
    let (gateway, client, (site, over_site)) = (gateway?, client?, site?);
    Some(Limits { gateway, client, site, over_site, browser: browser? })
}

fn limit(table: &Table<'_>, default: Limit) -> Option<Limit> {
    let rate = table.or("rate", default.rate, Value::rate);
    let burst = table.or("burst", default.burst, |value| value.count(u32::MAX));
    Some(Limit { rate: rate?, burst: burst? })
}

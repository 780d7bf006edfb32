//! `[limits]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{KnownKeys, Table, Value};
use super::snapshot::{Limit, Limits, OverLimit, Rate};

pub(super) const KEYS: KnownKeys = KnownKeys { table: "[limits]", keys: &["gateway", "client", "site", "browser"] };
pub(super) const LIMIT: KnownKeys = KnownKeys { table: "a limit", keys: &["rate", "burst"] };
pub(super) const SITE_LIMIT: KnownKeys = KnownKeys { table: "[limits] site", keys: &["rate", "burst", "over"] };

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

//! The gateways that share the store, a line each.

use super::super::console::Paint;
use super::super::leads::plural;
use super::super::shown;
use super::{ago, titled};
use crate::operate::{GatewayStatus, Status};

pub(super) fn lines(status: &Status, paint: Paint) -> Vec<String> {
    let width = status.gateways.iter().map(|gateway| gateway.name.len()).max().unwrap_or_default();
    let line = |gateway: &GatewayStatus| {
        let name = shown::line(&gateway.name);
        format!("  {name:width$}  {}", told(gateway, status, paint))
    };
    titled("gateways of this store", status.gateways.iter().map(line).collect())
}

fn told(gateway: &GatewayStatus, status: &Status, paint: Paint) -> String {
    if !gateway.live {
        return paint.yellow(&format!("not seen for {}", ago(gateway.last_seen, status.now)));
    }
    let sites = plural(u64::try_from(gateway.sites).unwrap_or(u64::MAX), "site");
    let up = ago(gateway.since, status.now);
    let this = if gateway.this { ", this one" } else { "" };
    let differs = if gateway.config_differs { paint.yellow(", another configuration") } else { String::new() };
    format!("formgate {}  up {up}  sends for {sites}{this}{differs}", shown::line(&gateway.version))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn each_gateway_has_a_line_and_this_one_is_marked() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
        let gateway = |name: &str, sites| GatewayStatus {
            name: name.to_owned(),
            this: false,
            live: true,
            version: "1.2.3".to_owned(),
            since: at(-7_300),
            host: "web".to_owned(),
            sites,
            partitions: 32,
            last_seen: at(-1),
            config_differs: false,
        };
        let gateways = vec![
            GatewayStatus { this: true, ..gateway("web-1-4f2a09", 1_667) },
            GatewayStatus { config_differs: true, ..gateway("web-2-77", 1) },
            GatewayStatus { live: false, last_seen: at(-900), ..gateway("web-3-0b", 0) },
        ];
        let status = Status { gateways, ..crate::cli::status::tests::healthy() };
        insta::assert_snapshot!(lines(&status, Paint::default()).join("\n"), @"

        gateways of this store
          web-1-4f2a09  formgate 1.2.3  up 2 h  sends for 1667 sites, this one
          web-2-77      formgate 1.2.3  up 2 h  sends for 1 site, another configuration
          web-3-0b      not seen for 15 min
        ");
    }
}

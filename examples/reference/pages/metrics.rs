//! docs/reference/metrics.md: every metric, as it is registered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use formgate::telemetry::{ConfirmationEnd, DeliveryEnd, Depth, MetricDescription, Metrics, RequestEnd, SinkDepth};

use super::markdown::{Page, code};

pub(super) fn page() -> anyhow::Result<String> {
    let metrics = Metrics::new()?;
    let (of_sites, others): (Vec<_>, Vec<_>) =
        metrics.described().iter().partition(|metric| metric.labels.iter().any(|label| label == "site"));
    let mut page = Page::new("Metrics reference");
    page.paragraph(
        "Every metric that `GET /metrics` of the admin listener gives, in Prometheus' text format. [Alerts](../operating.md#alerts) \
         says which to watch. Names end with their unit: `_seconds`, `_bytes`, `_timestamp_seconds` (seconds since 1970), \
         `_total` (a count since the start of the process). A metric with labels has a series from the first time that it is \
         counted; what `formgate_submissions_received_total` and `formgate_delivery_attempts_total` can count begins at 0. [Status and health checks](../operating.md#status-and-health-checks) says what to do for each `reason` of \
         `formgate_degraded`.",
    );
    page.heading(2, "The gateway");
    table(&mut page, &others);
    page.heading(2, "Each site");
    page.paragraph("For the first `[admin].site_metrics` sites, in the order of their ids.");
    table(&mut page, &of_sites);
    page.heading(2, "Buckets");
    page.paragraph("The upper bounds of the histograms' buckets, in seconds.");
    let histograms = metrics.described().iter().filter(|metric| !metric.buckets.is_empty());
    let rows = histograms.map(|metric| {
        let bounds: Vec<String> = metric.buckets.iter().map(f64::to_string).collect();
        [code(&metric.name), bounds.join(", ")]
    });
    page.table(["metric", "buckets"], &rows.collect::<Vec<_>>());
    page.heading(2, "Label values");
    page.paragraph(
        "`site`, `sink` and `listen` are as in the configuration; `task` is a background task. `fault`, `mistake`, and `reason` of \
         `formgate_refused_total` are words of closed sets: [troubleshooting](../troubleshooting.md#401-which-was-it) explains \
         them. The others:",
    );
    let values = label_values(&metrics)?;
    let rows = values.into_iter().map(|((metric, label), values)| {
        let values: Vec<String> = values.iter().map(|value| code(value)).collect();
        [code(&metric), code(&label), values.join(", ")]
    });
    page.table(["metric", "label", "values"], &rows.collect::<Vec<_>>());
    Ok(page.finish())
}

fn table(page: &mut Page, metrics: &[&MetricDescription]) {
    let rows = metrics.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        [code(&metric.name), metric.kind.to_owned(), labels.join(", "), metric.help.clone()]
    });
    page.table(["metric", "type", "labels", "what it is"], &rows.collect::<Vec<_>>());
}

/// Counts everything once that can be counted of a closed set, and reads from the metrics page which labels it has then.
fn label_values(metrics: &Metrics) -> anyhow::Result<BTreeMap<(String, String), BTreeSet<String>>> {
    RequestEnd::ALL.into_iter().for_each(|end| metrics.request(end, Duration::ZERO));
    DeliveryEnd::ALL.into_iter().for_each(|end| metrics.attempt(end, Duration::ZERO));
    ConfirmationEnd::ALL.into_iter().for_each(|end| metrics.asked(end));
    metrics.depth(Depth::default());
    metrics.config_loaded(Some(0));
    metrics.config_loaded(None);
    metrics.sink_depths(&BTreeMap::from([("ops".to_owned(), SinkDepth::default())]));
    metrics.set_sites(["acme"].into_iter(), 1);
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(metrics.text()?)?.lines().filter(|line| !line.starts_with('#')) {
        let Some((metric, rest)) = line.split_once('{') else { continue };
        let labels = rest.split_once('}').map(|(labels, _)| labels).unwrap_or_default();
        for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
            // Names of an operator's, and the bounds of buckets.
            if !["site", "sink", "version", "le"].contains(&label) {
                let values = found.entry((metric.to_owned(), label.to_owned())).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    Ok(found)
}

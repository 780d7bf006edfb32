//! Certificates and tokens end one day: metrics say when, and what is close to its end is `degraded`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::config::{Config, Site, Validity};
use crate::telemetry::{self, Degraded, Metrics};

/// How often certificates are read: they are renewed, and time passes.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Records what a configuration that is now in force holds.
pub(super) fn record(config: &Config, metrics: &Metrics) {
    metrics.sites(config.sites.len());
    let measured = config.sites.values().take(config.admin.site_metrics);
    metrics.token_expiries(measured.filter_map(|site| Some((site.id.as_str(), first_expiry(site)?.as_second()))));
}

/// Returns when the first of a site's tokens isn't valid any more: at the end of its last day.
fn first_expiry(site: &Site) -> Option<Timestamp> {
    let last = site.tokens.iter().filter_map(|token| token.expires).min()?;
    // The last day there is has no next.
    let end = last.tomorrow().unwrap_or(Date::MAX);
    end.to_zoned(TimeZone::UTC).ok().map(|end| end.timestamp())
}

/// Follows the certificates until `stopping` says true.
pub(super) async fn follow_certificates(
    config: Arc<ArcSwap<Config>>,
    metrics: Arc<Metrics>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut certificates = Certificates::default();
    loop {
        let config = config.load_full();
        let metrics = Arc::clone(&metrics);
        let look = move || {
            certificates.look(&config, &metrics, Timestamp::now());
            certificates
        };
        match telemetry::blocking(look).await {
            Ok(known) => certificates = known,
            Err(error) => {
                tracing::error!(%error, "tls.look_failed: the certificates' expiry can't be checked; trying again in \
                                         a minute");
                certificates = Certificates::default();
            }
        }
        if tokio::time::timeout(LOOK_EVERY, stopping.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

/// The certificates of the listeners, as they were when they could last be read.
#[derive(Default)]
struct Certificates {
    known: BTreeMap<SocketAddr, Validity>,
}

impl Certificates {
    /// Reads each listener's certificate. Where it can't be read, clients are shown the last good one, which goes on
    /// to count.
    fn look(&mut self, config: &Config, metrics: &Metrics, now: Timestamp) {
        for listen in &config.server.listen {
            let Some((certificate, _)) = &listen.tls else { continue };
            if let Some(validity) = Validity::read(certificate) {
                metrics.certificate_expires(&listen.address.to_string(), validity.ends.as_second());
                self.known.insert(listen.address, validity);
            }
        }
        let needs_renewal = self.known.values().any(|validity| validity.needs_renewal(now));
        metrics.set_degraded(Degraded::CertificateExpiring, needs_renewal);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Sources, load};

    const TODAY: Date = jiff::civil::date(2026, 11, 21);

    fn config(folder: &Path, text: &str) -> Config {
        std::fs::write(folder.join("config.toml"), text).expect("written");
        load(&folder.join("config.toml"), &Sources::with_environment([]), TODAY).config.expect("a configuration")
    }

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.text().expect("a page")).expect("text")
    }

    #[test]
    fn a_certificate_is_judged_anew_as_time_goes_by_and_when_it_is_renewed() {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name);
        let replace = |name: &str| std::fs::copy(tls(name), folder.path().join("chain.pem")).expect("copied");
        replace("expired.pem");
        std::fs::copy(tls("server.key"), folder.path().join("key.pem")).expect("copied");
        let config = config(
            folder.path(),
            "[server]\nlisten = \"127.0.0.1:1\"\ntls = { cert = \"chain.pem\", key = \"key.pem\" }\n",
        );
        let metrics = Metrics::new().expect("metrics");
        let mut certificates = Certificates::default();
        let mut degraded_at = |now: &str| {
            certificates.look(&config, &metrics, now.parse().expect("a time"));
            metrics.degraded() == [Degraded::CertificateExpiring]
        };
        // It is valid to the end of 2020.
        assert!(!degraded_at("2020-12-17T00:00:00Z"));
        assert!(degraded_at("2020-12-18T00:00:00Z"));
        assert!(degraded_at("2026-01-01T00:00:00Z"));
        std::fs::write(folder.path().join("chain.pem"), "half a fi").expect("written");
        assert!(degraded_at("2026-01-01T00:00:00Z"), "clients are still shown the expired one");
        let listed = "formgate_certificate_expiry_timestamp_seconds{listen=\"127.0.0.1:1\"} ";
        assert!(page(&metrics).contains(&format!("{listed}1609459200\n")), "{}", page(&metrics));
        replace("good.pem");
        assert!(!degraded_at("2026-01-01T00:00:00Z"));
        assert!(page(&metrics).contains(&format!("{listed}4733510400\n")), "{}", page(&metrics));
    }

    #[test]
    fn sites_are_counted_and_the_first_token_to_expire_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let site = |id: &str, tokens: &str| {
            format!(
                "[[site]]\nid = \"{id}\"\npublic_key = \"wp_pk_a\"\nsecret_key = \"wp_sk_a\"\ntokens = [{tokens}]\n"
            )
        };
        let token = |digit: &str, expires: &str| format!("{{ sha256 = \"{}\"{expires} }}", digit.repeat(64));
        let tokens =
            [token("1", ", expires = 2027-06-30"), token("2", ", expires = 2027-03-31"), token("3", "")].join(", ");
        let text = format!(
            "[admin]\nsite_metrics = 2\n{}{}{}",
            site("a", &tokens),
            site("b", &token("4", "")),
            site("c", &tokens)
        );
        let metrics = Metrics::new().expect("metrics");
        record(&config(folder.path(), &text), &metrics);
        let page = page(&metrics);
        assert!(page.contains("formgate_sites 3\n"), "{page}");
        // The day after the last one, 2027-04-01.
        assert!(page.contains("formgate_token_expiry_timestamp_seconds{site=\"a\"} 1806537600\n"), "{page}");
        assert_eq!(
            page.matches("token_expiry_timestamp_seconds{").count(),
            1,
            "b's never expires, c is over the bound"
        );
    }
}

//! When a certificate is valid, read from its PEM file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;

use super::reader::Value;

/// How long before its end a certificate is warned of, in days.
const EXPIRES_SOON_DAYS: i32 = 14;
/// Largest file with a chain, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// From when to when every certificate of a chain is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Validity {
    /// Reads a file with a chain in PEM; none where it holds none, which is said where the chain is used.
    pub fn read(path: &Path) -> Option<Self> {
        let mut pem = Vec::new();
        File::open(path).ok()?.take(FILE_MAX).read_to_end(&mut pem).ok()?;
        Self::of_chain(&pem)
    }

    /// Reads a chain in PEM; the first certificate of it to expire counts.
    fn of_chain(pem: &[u8]) -> Option<Self> {
        let mut whole: Option<Self> = None;
        for der in CertificateDer::pem_slice_iter(pem) {
            let one = Self::of_certificate(&der.ok()?)?;
            whole = Some(whole.map_or(one, |whole| whole.and(one)));
        }
        whole
    }

    /// Reads one certificate in DER.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let validity = certificate.validity();
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        Some(Self { begins: at(validity.not_before.timestamp()), ends: at(validity.not_after.timestamp()) })
    }

    fn and(self, other: Self) -> Self {
        Self { begins: self.begins.max(other.begins), ends: self.ends.min(other.ends) }
    }

    /// Tells whether it needs a person: it expires within 14 days, has expired, or isn't valid yet.
    pub fn needs_renewal(self, now: Timestamp) -> bool {
        let soon = i64::from(EXPIRES_SOON_DAYS) * 24 * 60 * 60;
        self.begins > now || self.ends.as_second().saturating_sub(now.as_second()) <= soon
    }
}

/// Warns of a certificate that has expired, soon will, or isn't valid yet.
pub(super) fn warn_of_expiry(value: &Value<'_>, path: &Path, today: Date) {
    let Some(validity) = Validity::read(path) else { return };
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let first = day(validity.begins);
    let last = day(validity.ends);
    let days = (last - today).get_days();
    let problem = match days {
        _ if last < today => format!("expired on {last}: clients refuse it"),
        _ if first > today => format!("is not valid before {first}: clients refuse it until then"),
        0 => "expires today".to_owned(),
        1 => "expires tomorrow".to_owned(),
        2..=EXPIRES_SOON_DAYS => format!("expires in {days} days, on {last}"),
        _ => return,
    };
    let message = format!("the certificate in {} {problem}", path.display());
    value.warn(&message, Some("renew it; a running gateway picks up the new file"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = include_bytes!("../../tests/it/tls/good.pem");
    const AUTHORITY: &[u8] = include_bytes!("../../tests/it/tls/ca.pem");

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_chain_is_valid_as_long_as_all_of_it_is() {
        let chain = [GOOD, AUTHORITY].concat();
        let validity = Validity::of_chain(&chain).expect("a chain");
        assert_eq!(validity, Validity { begins: at("2026-11-21T02:38:45Z"), ends: at("2120-01-01T00:00:00Z") });
        assert_eq!(Validity::of_chain(b"no certificate"), None);
        let cut = AUTHORITY.get(..AUTHORITY.len() / 2).expect("half a file");
        assert_eq!(Validity::of_chain(cut), None);
    }

    #[test]
    fn fourteen_days_before_its_end_a_certificate_needs_a_person() {
        let validity = Validity { begins: at("2026-01-01T00:00:00Z"), ends: at("2026-04-01T12:00:00Z") };
        for (now, needed) in [
            ("2025-12-31T23:59:59Z", true),
            ("2026-01-01T00:00:00Z", false),
            ("2026-03-18T11:59:59Z", false),
            ("2026-03-18T12:00:00Z", true),
            ("2027-01-01T00:00:00Z", true),
        ] {
            assert_eq!(validity.needs_renewal(at(now)), needed, "{now}");
        }
    }
}

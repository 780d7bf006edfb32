//! A sink with `url`: where it is, and how what is posted there is signed.
//!
//! A webhook's URL is often a secret in itself, so no message repeats it or a part of it.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use toml::de::DeValue;

use super::{SigningKey, WebhookFormat, WebhookTarget};
use crate::config::diagnostic::Severity;
use crate::config::reader::{Table, Value};
use crate::config::recurring::{Recurring, RecurringKind};
use crate::config::secret::{Sources, secret};
use crate::destination::{Secret, is_loopback, is_public};

/// Longest URL, in bytes.
const URL_MAX: usize = 2048;
/// Most signing secrets of one sink: while one replaces another there are two.
const SECRETS_MAX: usize = 4;
/// How a signing secret begins.
const SECRET_PREFIX: &str = "whsec_";
/// How many bytes a signing secret has (Standard Webhooks).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Standard base64, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// How to make a signing secret.
const MAKE_SECRET: &str = "make one with `openssl rand -base64 32` and write whsec_ before it";

/// Why a text is no URL to post to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidWebhookUrl {
    #[error("is not a URL such as \"https://hooks.example/formgate\"")]
    Malformed,
    #[error("is longer than {URL_MAX} bytes")]
    TooLong,
    #[error("must be https, so that what is told is encrypted (http is for 127.0.0.1, ::1 and localhost)")]
    Insecure,
    #[error("must not have a user or password: put a token in its path or query, or sign with `secret`")]
    HasUser,
    #[error("must not have a fragment (#…): it is never sent")]
    HasFragment,
    #[error("is on a private or reserved address")]
    Private,
}

/// Compiles what a sink with `url` says.
pub(super) fn compile(table: &Table<'_>, name: &str, url: &Value<'_>, sources: &Sources) -> Option<WebhookTarget> {
    let may_be_private = table.or("allow_private", false, Value::boolean);
    let address = from_elsewhere(url, || read_url(url, may_be_private == Some(true), sources));
    let format = table.or("format", WebhookFormat::Standard, |value| {
        value.choice(&[("standard", WebhookFormat::Standard), ("slack", WebhookFormat::Slack)])
    });
    let secrets = table.or_empty("secret", |value| secrets(value, sources));
    if format == Some(WebhookFormat::Standard) && !table.has("secret") {
        warn_of_no_secret(url, name);
    }
    let address = address?;
    Some(WebhookTarget {
        allow_private: may_be_private? || address.expose().starts_with("http:"),
        url: address,
        secrets: secrets?,
        format: format?,
    })
}

fn warn_of_no_secret(url: &Value<'_>, name: &str) {
    let recurring = Recurring { kind: RecurringKind::UnsignedWebhook, subject: name.to_owned() };
    let message = "this webhook isn't signed, so its receiver can't tell events of formgate from forged ones";
    let hint = format!("set `secret`: {MAKE_SECRET}");
    url.file().report_recurring(Severity::Warning, Some(url.span()), recurring, message, Some(&hint));
}

/// Reads a value. What is wrong with text is a fault of this file; what stands elsewhere is only referred to.
fn from_elsewhere<T>(value: &Value<'_>, read: impl FnOnce() -> T) -> T {
    if matches!(value.inner(), DeValue::String(_)) { read() } else { value.file().aside(read) }
}

fn read_url(value: &Value<'_>, may_be_private: bool, sources: &Sources) -> Option<Secret> {
    let text = secret(value, sources).filter(|text| !sources.is_stand_in(text))?;
    match check_url(text.expose(), may_be_private) {
        // A scheme in capitals is one all the same.
        Ok(scheme) => Some(Secret::new(format!("{scheme}{}", text.expose().get(scheme.len()..).unwrap_or_default()))),
        Err(invalid) => {
            let hint = (invalid == InvalidWebhookUrl::Private)
                .then_some("if it is meant to be inside your network, set allow_private = true");
            value.error(&format!("`{}` {invalid}", value.key()), hint);
            None
        }
    }
}

/// Checks a URL; returns its scheme in lower case. The address that a name leads to is judged when it is connected to.
fn check_url(text: &str, may_be_private: bool) -> Result<&'static str, InvalidWebhookUrl> {
    if text.len() > URL_MAX {
        return Err(InvalidWebhookUrl::TooLong);
    }
    if text.contains('#') {
        return Err(InvalidWebhookUrl::HasFragment);
    }
    let uri: http::Uri = text.parse().map_err(|_invalid| InvalidWebhookUrl::Malformed)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(InvalidWebhookUrl::Malformed)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(InvalidWebhookUrl::HasUser);
    }
    let address = literal(host)?;
    match uri.scheme_str() {
        Some("http") if is_loopback(host) => Ok("http"),
        Some("http") => Err(InvalidWebhookUrl::Insecure),
        Some("https") if may_be_private => Ok("https"),
        Some("https") if is_loopback(host) || address.is_some_and(|address| !is_public(address)) => {
            Err(InvalidWebhookUrl::Private)
        }
        Some("https") => Ok("https"),
        _ => Err(InvalidWebhookUrl::Malformed),
    }
}

/// Returns the address that a host is written as; none where it is a name.
///
/// A URL's parser reads `0x7f.1` and `2130706433` as 127.0.0.1, too: what ends in a number is no name.
fn literal(host: &str) -> Result<Option<IpAddr>, InvalidWebhookUrl> {
    if let Some(v6) = host.strip_prefix('[') {
        let address = v6.strip_suffix(']').and_then(|v6| v6.parse().ok());
        return address.map(Some).ok_or(InvalidWebhookUrl::Malformed);
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number && !last.starts_with("0x") && !last.starts_with("0X") {
        return Ok(None);
    }
    host.parse().map(|address: Ipv4Addr| Some(address.into())).map_err(|_no_address| InvalidWebhookUrl::Malformed)
}

/// Reads `secret`: one, or several while one replaces another.
fn secrets(value: &Value<'_>, sources: &Sources) -> Option<Vec<SigningKey>> {
    let secrets = value.one_or_more(|item| from_elsewhere(item, || signing_key(item, sources)))?;
    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
        value.error(&format!("`secret` must have 1 to {SECRETS_MAX} secrets"), Some(MAKE_SECRET));
        return None;
    }
    Some(secrets)
}

fn signing_key(value: &Value<'_>, sources: &Sources) -> Option<SigningKey> {
    let text = secret(value, sources).filter(|text| !sources.is_stand_in(text))?;
    let bytes = text.expose().strip_prefix(SECRET_PREFIX).and_then(|encoded| BASE64.decode(encoded).ok());
    let key = bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len())).map(SigningKey);
    if key.is_none() {
        let message = format!(
            "`{}` must be {SECRET_PREFIX} and {} to {} bytes in base64",
            value.key(),
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        );
        value.error(&message, Some(MAKE_SECRET));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_encrypted_and_on_the_internet() {
        use InvalidWebhookUrl::{HasFragment, HasUser, Insecure, Malformed, Private, TooLong};
        for (text, expected) in [
            ("https://hooks.example/T0/B0?token=x", Ok("https")),
            ("HTTPS://hooks.example", Ok("https")),
            ("https://8.8.8.8:8443/", Ok("https")),
            ("https://[2606:4700::1]/", Ok("https")),
            ("http://localhost:9000/a", Ok("http")),
            ("http://127.0.0.1", Ok("http")),
            ("http://[::1]:1/", Ok("http")),
            ("http://hooks.example", Err(Insecure)),
            ("http://10.0.0.1/", Err(Insecure)),
            ("http://127.0.0.1.example/", Err(Insecure)),
            ("https://10.0.0.1/", Err(Private)),
            ("https://169.254.169.254/latest", Err(Private)),
            ("https://[fd00::1]/", Err(Private)),
            ("https://[::ffff:10.0.0.1]/", Err(Private)),
            ("https://localhost/", Err(Private)),
            ("https://127.0.0.1/", Err(Private)),
            ("https://u:p@hooks.example/", Err(HasUser)),
            ("https://u@hooks.example/", Err(HasUser)),
            ("https://hooks.example/#x", Err(HasFragment)),
            // Each is 127.0.0.1 to the parser of a client.
            ("https://2130706433/", Err(Malformed)),
            ("https://0x7f000001/", Err(Malformed)),
            ("https://127.1/", Err(Malformed)),
            ("https://0177.0.0.1/", Err(Malformed)),
            ("https://127.0.0.1./", Err(Malformed)),
            ("ftp://hooks.example/", Err(Malformed)),
            ("hooks.example/x", Err(Malformed)),
            ("https:///x", Err(Malformed)),
            ("https://hooks.example/a b", Err(Malformed)),
        ] {
            assert_eq!(check_url(text, false), expected, "{text}");
        }
        let long = format!("https://hooks.example/{}", "x".repeat(URL_MAX));
        assert_eq!(check_url(&long, false), Err(TooLong));
    }

    #[test]
    fn a_private_address_must_be_allowed_and_stays_encrypted() {
        assert_eq!(check_url("https://10.0.0.1/", true), Ok("https"));
        assert_eq!(check_url("https://localhost/", true), Ok("https"));
        assert_eq!(check_url("http://10.0.0.1/", true), Err(InvalidWebhookUrl::Insecure));
    }
}

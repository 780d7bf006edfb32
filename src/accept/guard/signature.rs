//! The signature of WPForms' webhooks: `X-WPForms-Webhook-Signature: t=<unix seconds>,v=<hex>`.
//!
//! It is HMAC-SHA256, keyed with the webhook's secret, over `t`, a dot, and the JSON of what is sent. Where that is sent
//! as JSON, it is the body byte for byte; where as a form or in the query, it is what PHP would have written as JSON.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use jiff::Timestamp;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::destination::Secret;
use crate::pipeline::php_json;

const HEADER: &str = "x-wpforms-webhook-signature";
/// How far the sender's clock, and its queue, may be off.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest time in the header, in digits.
const TIME_DIGITS_MAX: usize = 12;
/// Stands in for the secret of a site that has none or doesn't exist: nothing fits, and that takes as long to find out.
const NO_SECRET: &[u8] = &[0; 32];

/// A signature that is well formed and of our time; not yet checked. No `Debug`: it is a credential.
pub(in crate::accept) struct Signature {
    /// As written: it is signed.
    time: String,
    mac: [u8; 32],
}

impl Signature {
    /// Tells whether a request shows one, well formed or not.
    pub(in crate::accept) fn is_shown(headers: &HeaderMap) -> bool {
        headers.contains_key(HEADER)
    }

    /// Reads the header; none where it is missing, malformed or too old to be worth a look at the body.
    pub(in crate::accept) fn of(headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        let (time, mac) = headers.get(HEADER)?.to_str().ok()?.split_once(',')?;
        let (time, mac) = (time.trim().strip_prefix("t=")?, mac.trim().strip_prefix("v=")?);
        let plain = (1..=TIME_DIGITS_MAX).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
        let signed_at = Timestamp::from_second(time.parse().ok().filter(|_| plain)?).ok()?;
        let is_near = now.duration_since(signed_at).unsigned_abs() <= AGE_MAX;
        let mut bytes = [0; 32];
        hex::decode_to_slice(mac, &mut bytes).ok()?;
        is_near.then(|| Self { time: time.to_owned(), mac: bytes })
    }

    /// Tells whether one of the secrets has signed what came: the body as it came, the form it is, or that of the
    /// query where there is no body.
    pub(in crate::accept) fn fits(&self, secrets: &[Secret], body: &[u8], query: Option<&str>) -> bool {
        let form = if body.is_empty() { query.unwrap_or_default().as_bytes() } else { body };
        let rebuilt = php_json(form);
        let keys: Vec<&[u8]> = secrets.iter().map(|secret| secret.expose().as_bytes()).collect();
        let keys = if keys.is_empty() { vec![NO_SECRET] } else { keys };
        let mut fits = Choice::from(0);
        for payload in std::iter::once(body).chain(rebuilt.iter().map(String::as_bytes)) {
            for key in &keys {
                fits |= self.is_by(key, payload);
            }
        }
        bool::from(fits & Choice::from(u8::from(!secrets.is_empty())))
    }

    fn is_by(&self, secret: &[u8], payload: &[u8]) -> Choice {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        for part in [self.time.as_bytes(), b".", payload] {
            mac.update(part);
        }
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        expected.ct_eq(&self.mac)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SECRET: &str = "Zk9!wpforms-webhook-secret-0123456789abcdefghijklmnopqrstuvwxyzAB";

    /// A captured request, as far as its signature is concerned.
    struct CapturedRequest {
        name: String,
        headers: HeaderMap,
        query: Option<String>,
        body: Vec<u8>,
        is_json: bool,
    }

    impl CapturedRequest {
        fn read(path: &Path) -> Option<Self> {
            let bytes = std::fs::read(path).expect("a capture");
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a head");
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut headers = HeaderMap::new();
            for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
                let name: http::HeaderName = name.parse().expect("a name");
                headers.append(name, value.parse().expect("a value"));
            }
            let target = head.split(' ').nth(1).expect("a target");
            let query = target.split_once('?').map(|(_, query)| query.to_owned());
            let is_json =
                headers.get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json; charset=utf-8"));
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            headers.contains_key(HEADER).then(|| Self {
                name,
                headers,
                query,
                body: bytes[end + 4..].to_vec(),
                is_json,
            })
        }

        fn all() -> Vec<Self> {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wpforms");
            let files = std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path());
            files
                .filter(|path| path.extension().is_some_and(|kind| kind == "http"))
                .filter_map(|p| Self::read(&p))
                .collect()
        }

        fn signed_at(&self) -> Timestamp {
            let text = self.headers[HEADER].to_str().expect("text");
            let time = text.split_once(',').expect("two parts").0.trim_start_matches("t=");
            Timestamp::from_second(time.parse().expect("seconds")).expect("a time")
        }

        fn fits(&self, secrets: &[&str], body: &[u8], query: Option<&str>) -> bool {
            let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new((*text).to_owned())).collect();
            let signature = Signature::of(&self.headers, self.signed_at()).expect("a signature");
            signature.fits(&secrets, body, query)
        }
    }

    #[test]
    fn every_captured_signature_fits_in_either_encoding() {
        let captured = CapturedRequest::all();
        let is_json = captured.iter().filter(|captured| captured.is_json).count();
        assert!(is_json >= 9 && captured.len() - is_json >= 9, "{is_json} of {}", captured.len());
        for one in captured {
            let CapturedRequest { name, body, query, .. } = &one;
            assert!(one.fits(&[SECRET], body, query.as_deref()), "{name}");
            assert!(one.fits(&["another", SECRET], body, query.as_deref()), "{name}: any of several secrets");
            assert!(!one.fits(&["another"], body, query.as_deref()), "{name}: another secret");
            assert!(!one.fits(&[], body, query.as_deref()), "{name}: no secret");
        }
    }

    #[test]
    fn a_changed_body_query_or_header_does_not_fit() {
        for one in CapturedRequest::all() {
            let CapturedRequest { name, body, query, .. } = &one;
            let changed: Vec<u8> = String::from_utf8_lossy(body).replacen("name", "nane", 1).into_bytes();
            let changed_query = query.as_ref().map(|query| query.replacen("name", "nane", 1));
            assert!(changed != *body || changed_query != *query, "{name}: nothing was changed");
            assert!(!one.fits(&[SECRET], &changed, changed_query.as_deref()), "{name}");
            let mut signature = Signature::of(&one.headers, one.signed_at()).expect("a signature");
            signature.time.push('0');
            let secrets = [Secret::new(SECRET.to_owned())];
            assert!(!signature.fits(&secrets, body, query.as_deref()), "{name}: another time");
            let mut signature = Signature::of(&one.headers, one.signed_at()).expect("a signature");
            signature.mac[31] ^= 1;
            assert!(!signature.fits(&secrets, body, query.as_deref()), "{name}: another code");
        }
    }

    #[test]
    fn a_signature_is_of_this_hour_and_well_formed() {
        let now = Timestamp::from_second(1_795_219_603).expect("a time");
        let at = |value: &str, now: Timestamp| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, value.parse().expect("a value"));
            Signature::of(&headers, now).is_some()
        };
        let mac = "0123456789abcdef".repeat(4);
        let good = format!("t=1795219603,v={mac}");
        let hour = jiff::SignedDuration::from_hours(1);
        let second = jiff::SignedDuration::from_secs(1);
        assert!(at(&good, now) && at(&good, now + hour) && at(&good, now - hour));
        assert!(!at(&good, now + hour + second) && !at(&good, now - hour - second));
        for bad in [
            "",
            "t=1795219603",
            "t=1795219603,v=",
            &format!("t=1795219603,v={mac}0"),
            &format!("t=1795219603,v={}", "é".repeat(32)),
            &format!("t=+1795219603,v={mac}"),
            &format!("t=,v={mac}"),
            &format!("t=0000001795219603,v={mac}"),
            &format!("v={mac},t=1795219603"),
        ] {
            assert!(!at(bad, now), "{bad}");
        }
        assert!(Signature::of(&HeaderMap::new(), now).is_none());
    }
}

//! Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::config::SigningKey;

/// Returns the value of `webhook-signature`: one signature a key, so that a receiver that knows only the old secret, or
/// only the new one, finds its own. None without keys.
///
/// Neither id nor time holds a dot, so what is signed can be divided in one way only.
pub(super) fn sign(keys: &[SigningKey], id: &str, time: Timestamp, body: &[u8]) -> Option<String> {
    let signatures: Vec<String> = keys.iter().map(|key| sign_with(key, id, time, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

fn sign_with(key: &SigningKey, id: &str, time: Timestamp, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{}.", time.as_second()).as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"type":"notify.test","timestamp":"2026-08-01T09:12:00Z","data":{}}"#;

    fn key(first: u8) -> SigningKey {
        SigningKey((0..24).map(|index| first + index).collect())
    }

    fn signed(keys: &[SigningKey], id: &str) -> Option<String> {
        sign(keys, id, "2026-08-01T09:12:00.999Z".parse().expect("a time"), BODY)
    }

    // The expected values are OpenSSL's: printf '%s.%s.%s' ID TIME BODY | openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary | base64
    #[test]
    fn id_time_and_body_are_signed() {
        assert_eq!(signed(&[key(0)], "evt_0198").as_deref(), Some("v1,hjlQVsy/hzwUwMvcYRAV8KPB8dQWPtwkrRDlAjAs9Xs="));
        assert_eq!(signed(&[key(0)], "evt_0199").as_deref(), Some("v1,9jm/syJeoeZ1QS/pqfMXJ0RsXees6xBdSk75LrtS7Uw="));
    }

    #[test]
    fn each_secret_signs_while_they_are_rotated() {
        let both = signed(&[key(100), key(0)], "evt_0198");
        assert_eq!(
            both.as_deref(),
            Some("v1,w/5zfhMdCOZpNzrHaW9jUI1/53AePjov+bSBJvOMBMo= v1,hjlQVsy/hzwUwMvcYRAV8KPB8dQWPtwkrRDlAjAs9Xs=")
        );
        assert_eq!(signed(&[], "evt_0198"), None);
    }
}

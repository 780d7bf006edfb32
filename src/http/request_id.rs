//! What a request's log line, its answer and its problem are called by.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use rand::Rng as _;
use uuid::Uuid;

/// Longest id taken over from the client.
const LENGTH_MAX: usize = 64;

/// A request's id, as it stands in the answer's header: plain ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// Takes the client's own id over, where it is plain and short.
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let value = headers.get(Self::HEADER)?;
        let is_plain = (1..=LENGTH_MAX).contains(&value.len()) && value.as_bytes().iter().all(plain);
        is_plain.then(|| Self(value.clone()))
    }

    /// Makes one.
    pub fn random() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::from_u128(rand::rng().random()).simple().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("hex digits are a header's value"))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only plain text is made an id")
    }
}

impl From<&RequestId> for HeaderValue {
    fn from(id: &RequestId) -> Self {
        id.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_when_plain() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RequestId::HEADER, value.parse().expect("a value"));
            RequestId::given(&headers)
        };
        assert_eq!(id("a-1_b.C").expect("a plain one").as_str(), "a-1_b.C");
        for odd in ["", "a b", "\"x\"", "é", &"x".repeat(65)] {
            assert_eq!(id(odd), None, "{odd}");
        }
        assert_eq!(RequestId::given(&HeaderMap::new()), None);
        let random = RequestId::random();
        assert!(random.as_str().len() == 32 && random != RequestId::random());
    }
}

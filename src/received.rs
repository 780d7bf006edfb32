//! What came over the wire, as it is stored: the one value from which everything else can be made again.
//!
//! A leaf: it knows no other room. Credentials never get this far, and file contents are cut to name and
//! size before it is built.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Header names that are kept. All others may hold secrets or say nothing about the visitor.
pub const KEPT_HEADERS: [&str; 5] = ["content-type", "user-agent", "origin", "referer", "x-wpforms-webhook-id"];

/// One request as it is stored.
///
/// `Debug` shows sizes only: the body is personal data.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The request method, upper case.
    pub method: String,
    /// The query as it came, without its `?` and without the `token` parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Headers of [`KEPT_HEADERS`], names in lower case; bytes that are not UTF-8 are replaced.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body as it came; where `cut` says so, without the contents of its files.
    #[serde(skip)]
    pub body: Bytes,
    /// File contents were taken out of the body, their sizes are written where they stood.
    #[serde(default)]
    pub cut: bool,
}

impl Received {
    /// Returns the value of a kept header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the `Content-Type` as it came.
    pub fn content_type(&self) -> Option<&str> {
        self.header("content-type")
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("method", &self.method)
            .field("content_type", &self.content_type())
            .field("query_len", &self.query.as_deref().map(str::len))
            .field("body_len", &self.body.len())
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

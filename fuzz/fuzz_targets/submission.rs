//! What every decoder's target does with its bytes: the whole pure path, and what must hold of its end.

use std::sync::LazyLock;

use formgate::config::shipped_mappings;
use formgate::decode::{self, LIMITS};
use formgate::pipeline::{self, End, Mappings, SiteRules};
use formgate::received::Received;
use serde_json::Value;

static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| shipped_mappings().0);

/// Decodes, maps and checks a body of a type.
pub fn run(content_type: &str, body: &[u8]) {
    let received = Received {
        method: "POST".to_owned(),
        headers: [("content-type".to_owned(), content_type.to_owned())].into(),
        body: body.to_vec().into(),
        ..Received::default()
    };
    let fields = decode::read(&received, |submission| submission.fields.len());
    assert!(fields.unwrap_or_default() <= LIMITS.fields, "more fields than the limit");
    if let End::Lead { lead, .. } = pipeline::process(&MAPPINGS, &SiteRules::default(), None, &received).end {
        let json = serde_json::to_value(&lead).expect("a lead serialises");
        let filled = |name: &str| json.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        assert!(filled("name") && filled("email") && filled("message"), "a lead is complete");
        assert!(json.get("phone").is_none() || filled("phone"), "a phone is there or is not");
    }
}

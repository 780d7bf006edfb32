//! Bodies made to break or to stall a decoder: what is too large to lie in `fixtures/hostile`, and how odd bodies are
//! marked. Whatever such a body costs is bounded by a limit with a name, so what is asserted is what came of it.

use bytes::Bytes;
use formgate::config::shipped_mappings;
use formgate::decode::{self, DecodeError, LIMITS, Oddity};
use formgate::lead::Lead;
use formgate::pipeline::{self, End, HoldReason, SiteRules};
use formgate::received::Received;

use crate::fixtures::{fixtures, received};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

fn request(content_type: &str, body: impl Into<Bytes>) -> Received {
    let headers = [("content-type".to_owned(), content_type.to_owned())].into();
    Received { method: "POST".to_owned(), headers, body: body.into(), ..Received::default() }
}

fn refused(content_type: &str, body: String) -> Option<DecodeError> {
    decode::read(&request(content_type, body), |_| ()).err()
}

fn lead(content_type: &str, body: String) -> Lead {
    let (mappings, _) = shipped_mappings();
    match pipeline::process(&mappings, &SiteRules::default(), None, &request(content_type, body)).end {
        End::Lead { lead, .. } => lead,
        End::Held { hold, errors, .. } => panic!("{hold:?}: {errors:?}"),
    }
}

fn repeated(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect()
}

#[test]
fn every_limit_is_named_when_it_is_passed() {
    let multipart = |name: usize, parts: usize| {
        let part = format!("--XX\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n\r\n", "k".repeat(name));
        format!("{}--XX--\r\n", part.repeat(parts))
    };
    let one_megabyte = "x".repeat(LIMITS.text_bytes + 1);
    for (content_type, body, limit, max) in [
        (FORM, "a=1&".repeat(LIMITS.fields + 1), "fields", LIMITS.fields),
        (FORM, format!("{}=1", "k".repeat(LIMITS.key_bytes + 1)), "key length", LIMITS.key_bytes),
        (FORM, format!("a{}=1", "[b]".repeat(LIMITS.depth + 1)), "depth", LIMITS.depth),
        (JSON, "[".repeat(500_000), "depth", LIMITS.depth),
        (JSON, format!("{{\"a\n\":{}", "[".repeat(500_000)), "depth", LIMITS.depth),
        (JSON, format!("[{}0]", "0,".repeat(LIMITS.nodes)), "values", LIMITS.nodes),
        (JSON, format!("{{{}\"z\":0}}", repeated(LIMITS.fields, |n| format!("\"{n}\":0,"))), "fields", LIMITS.fields),
        ("multipart/form-data; boundary=XX", multipart(1, LIMITS.fields + 1), "parts", LIMITS.fields),
        ("multipart/form-data; boundary=XX", multipart(17_000, 1), "part header", LIMITS.part_header_bytes),
        (
            "multipart/form-data; boundary=XX",
            format!("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n{one_megabyte}\r\n--XX--"),
            "text",
            LIMITS.text_bytes,
        ),
    ] {
        assert_eq!(refused(content_type, body), Some(DecodeError::Limit { limit, max }), "{limit} of {content_type}");
    }
}

#[test]
fn a_megabyte_of_what_repair_looks_for_is_read_once() {
    for piece in ["\" , \"b\" ", "\"}]}]}]} ", "\\\"", "\",\"", "{\"a\":", "\"a\":\"\" \"", ",,,,", "\u{FEFF}\""] {
        let body = format!("{{\"a\":\"{}", piece.repeat((1 << 20) / piece.len()));
        let end = pipeline::process(&shipped_mappings().0, &SiteRules::default(), None, &request(JSON, body)).end;
        assert!(matches!(end, End::Held { hold: HoldReason::Undecodable | HoldReason::Invalid, .. }), "{piece}");
    }
}

/// Bodies of which each took gigabytes or minutes where something was done for each of two counts.
fn small_bodies() -> [(&'static str, &'static str, String); 8] {
    let one = |members: String| format!("{{\"{}\":{{{members}}}}}", "P".repeat(900_000));
    let text = |number: usize| format!("\"{number:05}{}\",", "a".repeat(40));
    let record = |from: usize| repeated(9_900, |n| format!(",\"{}\":1", n + from));
    let lists = |from: usize| format!("\"message\":[{}0]", repeated(9_900, |n| text(n + from)));
    [
        ("a long name over many", JSON, one(format!("{}\"z\":0", "\"\":0,".repeat(19_000)))),
        ("a long name over many empty", JSON, one(format!("{}\"z\":0", "\"\":{},".repeat(19_000)))),
        (
            "a long name, and a part of it",
            FORM,
            format!("email=a@b.co&name={}&x={}b", "a".repeat(700_000), "a".repeat(300_000)),
        ),
        (
            "a long address before many",
            JSON,
            format!("{{\"email\":[\"{}@b.co\"{}]}}", "a".repeat(800_000), ",\"x\"".repeat(19_000)),
        ),
        (
            "a name twice over many",
            JSON,
            format!("{{\"a\":{{\"value\":1{}}},\"a\":{{\"value\":1{}}}}}", record(0), record(10_000)),
        ),
        ("a name many times", JSON, format!("{{{}{}\"z\":0}}", "\"a\":1,".repeat(980), "\"a\":{},".repeat(18_900))),
        ("many texts of one field", JSON, format!("{{{}}}", lists(0))),
        ("many texts of two fields", JSON, format!("{{{},{}}}", lists(0), lists(5_000))),
    ]
}

#[test]
fn what_is_small_is_not_made_large() {
    for (what, content_type, body) in small_bodies() {
        let end =
            pipeline::process(&shipped_mappings().0, &SiteRules::default(), None, &request(content_type, body)).end;
        let held = matches!(end, End::Held { hold: HoldReason::Undecodable | HoldReason::Invalid, .. });
        assert!(held || matches!(end, End::Lead { .. }), "{what}");
    }
}

#[test]
fn a_long_message_beside_many_fields_is_compared_once() {
    let others = repeated(990, |n| format!("&f{n}=A+a@b.co+x{n}"));
    let lead = lead(FORM, format!("name=A&email=a@b.co&message={}{others}", "x".repeat(900_000)));
    assert_eq!(lead.message().chars().count(), 65_536);
    assert!(lead.message().ends_with("\n[cut]"));
}

#[test]
fn a_described_record_may_be_as_large_as_a_body_can_hold() {
    let fields = repeated(19_000, |n| format!("\"k{n}\":\"\","));
    let body = format!(
        "{{\"form\":{{\"id\":\"1\",\"name\":\"2\"}},\"fields\":{{\"value\":1,{fields}\"z\":{{\"value\":\"a@b.co\",\"raw_value\":\"\"}}}}}}"
    );
    assert_eq!(lead(JSON, body).email(), "a@b.co");
}

#[test]
fn a_thousand_parts_of_names_are_a_thousand_fields() {
    let parts = repeated(990, |n| format!("&{n}.3=J{n}&"));
    let body = format!("form_id=1&source_url=x&date_created=x&is_starred=0&2=a@b.co{parts}");
    assert_eq!(lead(FORM, body.replace("&&", "&")).email(), "a@b.co");
}

#[test]
fn keys_of_many_words_are_read_up_to_a_sentence() {
    let long = "word+".repeat(200);
    let body = format!("email=a@b.co{}", repeated(990, |n| format!("&{long}{n}=1")));
    assert_eq!(lead(FORM, body).email(), "a@b.co");
}

#[test]
fn values_written_by_machines_are_followed_to_a_depth() {
    for value in ["a:1:{i:0;".repeat(7_000), "[".repeat(60_000), "{\"a\":".repeat(10_000)] {
        let json = serde_json::json!({"email": "a@b.co", "list": value}).to_string();
        assert!(lead(JSON, json).message().starts_with("List: "));
    }
}

#[test]
fn odd_bodies_are_marked() {
    use Oddity::{InvalidText, Mislabelled, MixedKey, Repaired, RepeatedKey, Unencoded};
    for (case, expected) in [
        ("json-phone-as-number", vec![Repaired]),
        ("json-lone-surrogate", vec![Repaired]),
        ("json-trailing-comma", vec![Repaired]),
        ("json-duplicate-keys", vec![RepeatedKey]),
        ("json-invalid-utf-8", vec![InvalidText]),
        ("json-bom", vec![]),
        ("json-utf-16", vec![]),
        ("json-latin-1", vec![]),
        ("mislabelled-json-as-form", vec![Mislabelled]),
        ("mislabelled-json-as-text", vec![]),
        ("mislabelled-json-no-type", vec![]),
        ("mislabelled-broken-json-as-form", vec![Repaired, Mislabelled]),
        ("mislabelled-form-as-json", vec![Mislabelled]),
        ("mislabelled-form-as-text", vec![Mislabelled]),
        ("form-raw-line-breaks", vec![Unencoded]),
        ("form-value-and-tree", vec![RepeatedKey, MixedKey]),
        ("form-invalid-utf-8", vec![InvalidText]),
        ("form-latin-1", vec![]),
        ("multipart-latin-1-name", vec![InvalidText]),
        ("multipart-files", vec![]),
    ] {
        let request = received(&fixtures().join("hostile").join(case).with_extension("http"));
        let oddities = decode::read(&request, |submission| submission.oddities.clone()).expect("can be decoded");
        assert_eq!(oddities.into_iter().collect::<Vec<_>>(), expected, "{case}");
    }
}

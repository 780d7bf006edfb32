//! What holds of every input: nothing panics, work is bounded, what goes in comes out, and a lead is always complete.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use formgate::config::shipped_mappings;
use formgate::decode::{self, Arena, LIMITS, Submission};
use formgate::lead::{Draft, Email, Extra, Lead, Region};
use formgate::map::{self, Dictionary, LeadRule, LeadRules, Mapping, Rules, Shapes, Source, Template};
use formgate::pipeline::{self, End, Mappings, SiteRules};
use formgate::received::Received;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value};

static MAPPINGS: LazyLock<Mappings> = LazyLock::new(|| shipped_mappings().0);

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// The longest message of a lead, in characters.
const MESSAGE_MAX: usize = 65_536;

fn request(content_type: &str, body: impl Into<Bytes>) -> Received {
    let headers = [("content-type".to_owned(), content_type.to_owned())].into();
    Received { method: "POST".to_owned(), headers, body: body.into(), ..Received::default() }
}

fn owned<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns each field's key and first value.
fn first_values(submission: &Submission<'_>) -> Vec<(String, String)> {
    owned(submission.fields.iter().map(|field| (field.key, field.values.first().copied().unwrap_or_default())))
}

fn content_types() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        FORM,
        JSON,
        "multipart/form-data; boundary=B",
        "text/plain",
        "",
        "application/x-www-form-urlencoded; charset=shift_jis",
        "application/json; charset=utf-16",
        "image/png",
    ])
}

/// What decoders look for.
const SIGNS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u00e9",
    "\\ud83d",
    "=",
    "&",
    "%41",
    "%zz",
    "+",
    " ",
    "\r\n",
    "\n",
    "--B",
    "--",
    "Content-Disposition: form-data; name=\"",
    "filename=\"",
    "a[b]",
    "email",
    "name",
    "value",
    "a@b.co",
    "a:1:{i:0;",
    "||",
    "\u{FEFF}",
    "\u{202E}",
    "0501234567",
    "null",
    "true",
    "_wpcf7",
    "form",
    "fields",
    "wpforms",
    "1.3",
    "input_1.3",
    "{{ x }}",
];

/// Bytes that look like a body.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let sign = prop::sample::select(SIGNS.to_vec()).prop_map(|sign| sign.as_bytes().to_vec());
    let text = any::<String>().prop_map(String::into_bytes);
    vec(prop_oneof![6 => sign, 1 => vec(any::<u8>(), 0..8), 1 => text], 0..60).prop_map(|pieces| pieces.concat())
}

/// Text as visitors type it, and as nobody does.
fn text() -> impl Strategy<Value = String> {
    let odd = [
        "\r\n",
        "\r",
        "\n",
        "\t",
        "\u{0}",
        "\u{FEFF}",
        "\u{202E}",
        "\u{A0}",
        "  ",
        "{{ email }}",
        "\u{FFFD}",
        "&",
        "\"",
    ];
    let odd = prop::sample::select(odd.to_vec()).prop_map(str::to_owned);
    let known = ["Ann", "a@b.co", "a@bücher.example", "+1 503 555 0199 x12", "0412 345 678", "0", ""];
    let known = prop::sample::select(known.to_vec()).prop_map(str::to_owned);
    // `any::<String>` has no control characters, `any::<char>` has.
    let raw = vec(any::<char>(), 0..6).prop_map(String::from_iter);
    vec(prop_oneof![3 => odd, 2 => known, 2 => raw, 2 => any::<String>()], 0..5).prop_map(|pieces| pieces.concat())
}

fn json_value() -> impl Strategy<Value = Value> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?";
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(|digits| serde_json::from_str(&digits).expect("a number")),
        any::<String>().prop_map(Value::String),
    ];
    scalar.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// What the sandbox, and KaiCalls, ask of a lead.
fn assert_complete(lead: &Lead) {
    let json = serde_json::to_string(lead).expect("a lead serialises");
    let read: BTreeMap<String, String> = serde_json::from_str(&json).expect("an object of texts");
    for (name, value) in &read {
        assert!(["name", "email", "phone", "message"].contains(&name.as_str()), "{name} is no field of a lead");
        assert!(!value.trim().is_empty(), "{name} is empty");
    }
    assert!(["name", "email", "message"].iter().all(|name| read.contains_key(*name)), "{:?}", read.keys());
    assert!(read["message"].chars().count() <= MESSAGE_MAX);
    assert!(!read["name"].contains(char::is_control) && !read["email"].contains(char::is_control));
    let again: Lead = serde_json::from_str(&json).expect("what a store holds can be read");
    assert!(again == *lead, "a lead read again is the same");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics_and_every_limit_holds(
        content_type in content_types(),
        body in bodies(),
        query in any::<Option<String>>(),
    ) {
        let received = Received { query, ..request(content_type, body) };
        let within = decode::read(&received, |submission| {
            submission.fields.len() <= LIMITS.fields
                && submission.fields.iter().all(|field| field.key.len() <= LIMITS.key_bytes)
                && submission.query.len() <= LIMITS.fields
        });
        prop_assert!(within != Ok(false));
        let explained = pipeline::explain(&MAPPINGS, &SiteRules::default(), None, &received);
        match explained.processed.end {
            End::Lead { lead, .. } => assert_complete(&lead),
            End::Held { errors, .. } => prop_assert!(!errors.is_empty()),
        }
    }

    #[test]
    fn what_is_decoded_twice_is_the_same(content_type in content_types(), body in bodies()) {
        let received = request(content_type, body);
        let fields = |read: &Submission<'_>| read.fields.iter().map(|field| format!("{} {:?}", field.key, field.values)).collect::<Vec<_>>();
        let read = || decode::read(&received, |read| (fields(read), read.json().clone(), read.oddities.clone()));
        prop_assert!(read() == read());
    }

    #[test]
    fn any_draft_is_a_complete_lead_or_has_reasons(
        name in prop::option::of(text()),
        email in prop_oneof![4 => Just("ann@example.com".to_owned()), 1 => text()],
        phone in prop::option::of(text()),
        message in prop::option::of(text()),
        extras in vec((text(), text()), 0..4),
        region in prop::sample::select(vec![None, Some("US"), Some("PL")]),
    ) {
        let draft = Draft {
            name: name.as_deref(),
            email: Some(&email),
            phone: phone.as_deref(),
            message: message.as_deref(),
            form_name: None,
            extras: extras.into_iter().map(|(label, value)| Extra { label: label.into(), value: value.into() }).collect(),
            region: region.and_then(|code| Region::parse(code).ok()),
        };
        match Lead::check(draft) {
            Ok(checked) => assert_complete(&checked.lead),
            Err(rejection) => prop_assert!(!rejection.errors.is_empty()),
        }
    }

    #[test]
    fn a_lead_of_a_lead_is_the_same(
        name in text(),
        phone in text(),
        message in text(),
        domain in "[a-zü]{1,9}\\.[a-z]{2,3}",
    ) {
        let email = format!("ann@{domain}");
        let draft =
            Draft { name: Some(&name), email: Some(&email), phone: Some(&phone), message: Some(&message), ..Draft::default() };
        let first = Lead::check(draft);
        prop_assume!(first.is_ok());
        let first = first.expect("a lead").lead;
        let again = Draft {
            name: Some(first.name()),
            email: Some(first.email()),
            phone: first.phone(),
            message: Some(first.message()),
            ..Draft::default()
        };
        let again = Lead::check(again).expect("a lead").lead;
        prop_assert!(first == again);
    }

    #[test]
    fn an_address_read_again_is_the_same(local in "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,20}", domain in "\\PC{1,20}") {
        if let Ok(email) = Email::parse(&format!("{local}@{domain}.example")) {
            prop_assert_eq!(Email::parse(email.as_str()).map(String::from), Ok(email.as_str().to_owned()));
            prop_assert!(email.as_str().is_ascii());
        }
    }

    #[test]
    fn pairs_survive_urlencoding(pairs in vec((text(), text()), 1..20)) {
        // Names with brackets are a tree; these stand as they are. A space before a number is written as a `+` before it.
        let plain = |(name, value): (String, String)| (name.replace('[', "("), value.trim_start().to_owned());
        let pairs: Vec<_> = pairs.into_iter().map(plain).collect();
        let body = serde_urlencoded::to_string(&pairs).expect("pairs");
        let mut beside = request(JSON, "{}");
        beside.query = Some(body.clone());
        let query = decode::read(&beside, |read| owned(read.query.iter().copied())).expect("a query");
        prop_assert_eq!(&query, &pairs);
        let found = decode::read(&request(FORM, body), first_values).expect("a form");
        prop_assert_eq!(found, pairs);
    }

    #[test]
    fn values_survive_multipart(pairs in vec(("[a-z0-9._ -]{1,12}", text()), 1..8)) {
        let part = |(name, value): &(String, String)| {
            format!("--a line of no form\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body: String = pairs.iter().map(part).chain(["--a line of no form--\r\n".to_owned()]).collect();
        let request = request("multipart/form-data; boundary=\"a line of no form\"", body);
        prop_assert_eq!(decode::read(&request, first_values).expect("parts"), pairs);
    }

    #[test]
    fn json_survives_with_its_numbers_as_written(members in btree_map(any::<String>(), json_value(), 0..6)) {
        let value: Value = members.into_iter().collect::<Map<_, _>>().into();
        let text = value.to_string();
        // A record of a file's name and content is cut to name and size.
        prop_assume!(!(text.contains("filename") && text.contains("content")));
        // Names that are ways, and texts that are JSON, become trees.
        prop_assume!(!text.contains("]\":") && !text.contains("\"[") && !text.contains("\"{"));
        let read = decode::read(&request(JSON, text.clone()), |read| read.json().to_string()).expect("JSON");
        prop_assert_eq!(read, text);
    }

    #[test]
    // Without "|": `||` stands between what was chosen, and is read as such.
    fn a_value_is_never_expanded(
        value in "([\\PC&&[^|]]{0,9}(\\{\\{ (secret|\\$\\.secret|\\$\\..\\*) \\}\\}|\\$\\.secret)[\\PC&&[^|]]{0,9}){1,3}"
    ) {
        let template = Template::parse("Said: {{ said }}\nTwice: {{ $.said }}").expect("a template");
        let rule = LeadRule { source: Source::Template(template), default: None, auto: false };
        let mapping = Mapping { lead: LeadRules { message: Some(rule), ..LeadRules::default() }, ..Mapping::default() };
        let body = serde_json::json!({"said": value, "secret": "4711"}).to_string();
        let arena = Arena::new();
        let received = request(JSON, body);
        let dictionary = Dictionary::default();
        let submission = decode::decode(&received, &arena).expect("JSON");
        let shapes = Shapes::default();
        let rules = Rules { mapping: &mapping, own_lead: None, own_extras: None, region: None, dictionary: &dictionary, shapes: &shapes };
        let message = map::apply(map::MappingView::new(&submission, rules.mapping), rules).draft.message.expect("a message");
        prop_assert_eq!(message, format!("Said: {value}\nTwice: {value}"));
    }

    #[test]
    fn an_extra_cannot_forge_a_line(label in text(), value in text(), message in "[a-z]{1,9}") {
        let draft = Draft {
            email: Some("ann@example.com"),
            message: Some(&message),
            extras: vec![
                Extra { label: label.into(), value: value.into() },
                Extra { label: "Last".into(), value: "x".into() },
            ],
            ..Draft::default()
        };
        let lead = Lead::check(draft).expect("a lead").lead;
        let rest = lead.message().strip_prefix(&format!("{message}\n\n")).expect("the message, then the extras");
        // Each line that is not indented begins an extra: there are no more of them than extras.
        let begun: Vec<&str> = rest.split('\n').filter(|line| !line.starts_with("  ")).collect();
        prop_assert!(begun.len() <= 2, "{:?}", begun);
        prop_assert_eq!(begun.last().copied(), Some("Last: x"));
    }
}

//! Forms as PHP nests them into `$_POST`: what a plugin's own code would have seen.

use std::path::Path;

use formgate::decode::{self, Submission};
use serde::Deserialize;
use serde_json::Value;

use crate::suite::{Tally, request, rows};
use crate::urlencoded::unencoded;

#[derive(Deserialize)]
struct Row {
    input: Option<String>,
    #[serde(default)]
    php_post_json: Value,
    input_generator: Option<Generator>,
}

#[derive(Deserialize)]
struct Generator {
    shape: String,
    count: usize,
    join: String,
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("php_arrays");
    for row in rows::<Row>(folder, "php_arrays.jsonl")? {
        match (&row.input, &row.input_generator) {
            (Some(input), _) => compare(&mut tally, input, &row.php_post_json),
            (None, Some(generator)) => many(&mut tally, generator),
            (None, None) => tally.wrong.push("a row without an input".to_owned()),
        }
    }
    Ok(tally)
}

fn compare(tally: &mut Tally, input: &str, php: &Value) {
    let form = request("application/x-www-form-urlencoded", input.to_owned());
    let document = decode::read(&form, |submission| submission.json().clone());
    let agrees = document.as_ref().is_ok_and(|document| *document == as_record(php));
    tally.count(agrees, reason(input, php), || format!("{input:?}: {php}, here {document:?}"));
}

/// PHP's arrays have no kind: `0=a` is written as a list, and no fields as an empty one.
fn as_record(php: &Value) -> Value {
    match php {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item.clone())).collect()
        }
        record => record.clone(),
    }
}

/// PHP rewrites names and drops what doesn't fit; a gateway keeps what the form sent.
fn reason(input: &str, php: &Value) -> Option<&'static str> {
    let pairs = pairs(input);
    let any = |is: fn(&str) -> bool| pairs.iter().any(|name| is(name));
    let repeated = pairs
        .iter()
        .enumerate()
        .any(|(index, name)| pairs.iter().skip(index + 1).any(|other| name == other || base(name) == base(other)));
    if unencoded(input) {
        Some("an unencoded body (raw spaces, line breaks, a typed +) is read as typed")
    } else if !input.contains(['=', '&']) {
        Some("a word without = or & isn't a form: refused and held")
    } else if php.to_string().contains("b64") {
        Some("invalid UTF-8 is replaced and marked; PHP keeps it")
    } else if any(|name| name.contains('\0')) {
        Some("names keep NUL; PHP cuts them there")
    } else if any(|name| name.is_empty() || name.starts_with('[')) {
        Some("values without a name, or whose name begins with a bracket, are kept; PHP drops them")
    } else if any(|name| name.contains('[') && !is_nested(name)) {
        Some("a name is nested only if it ends in brackets, because labels contain brackets")
    } else if any(|name| base(name).contains(['.', ' '])) {
        Some("names keep dots and spaces; PHP replaces them with _")
    } else if repeated {
        Some("a repeated name keeps all its values, also next to nested ones; PHP keeps the last")
    } else if any(|name| name.contains("[9223372036854775807]")) {
        Some("an index has no upper limit")
    } else if holds_json(input) {
        Some("a value that is itself JSON is decoded and marked `embedded`")
    } else {
        None
    }
}

fn holds_json(input: &str) -> bool {
    let form = request("application/x-www-form-urlencoded", input.to_owned());
    decode::read(&form, |submission| submission.oddities.iter().any(|oddity| oddity.as_str() == "embedded"))
        .unwrap_or_default()
}

fn pairs(input: &str) -> Vec<String> {
    let mut received = request("application/json", "{}");
    received.query = Some(input.to_owned());
    let names = |read: &Submission<'_>| read.query.iter().map(|(name, _)| (*name).to_owned()).collect();
    decode::read(&received, names).unwrap_or_default()
}

fn base(name: &str) -> &str {
    name.split('[').next().unwrap_or_default()
}

fn is_nested(name: &str) -> bool {
    let inner = name.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.split("][").all(|step| !step.contains(['[', ']'])))
}

/// PHP drops what is over its limit; here the whole is refused, so that nothing is lost unseen.
fn many(tally: &mut Tally, generator: &Generator) {
    let pairs: Vec<String> =
        (0..generator.count).map(|index| generator.shape.replace("%d", &index.to_string())).collect();
    let form = request("application/x-www-form-urlencoded", pairs.join(&generator.join));
    let taken = decode::read(&form, |_| ()).is_ok();
    let over = generator.count > decode::LIMITS.fields;
    let reason = (over && !taken).then_some("more than 1,000 fields: refused and held; PHP drops the rest");
    tally.count(taken && !over, reason, || format!("{} of {}", generator.count, generator.shape));
}

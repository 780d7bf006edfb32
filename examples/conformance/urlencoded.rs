//! `application/x-www-form-urlencoded` by the parser of the URL Standard.

use std::path::Path;

use formgate::decode::{self, Oddity};
use serde::Deserialize;

use crate::suite::{Tally, request, rows};

#[derive(Deserialize)]
struct Row {
    input: String,
    pairs: Vec<(String, String)>,
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("urlencoded");
    for row in rows::<Row>(folder, "urlencoded.jsonl")? {
        // A query beside a body is read by the same rule as a form body, and keeps its pairs as they are.
        let mut received = request("application/json", "{}");
        received.query = Some(row.input.clone());
        let pairs = decode::read(&received, |submission| owned(&submission.query))?;
        let reason = match (unencoded(&row.input), row.input.trim() == row.input) {
            (true, _) => Some("an unencoded body (raw spaces, line breaks, a typed +) is read as typed"),
            (false, false) => {
                Some("white space around the body is ignored, because some clients end it with a line break")
            }
            (false, true) => None,
        };
        tally.count(pairs == row.pairs, reason, || format!("{:?}: {:?}, here {pairs:?}", row.input, row.pairs));
    }
    Ok(tally)
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn unencoded(input: &str) -> bool {
    let form = request("application/x-www-form-urlencoded", input.to_owned());
    decode::read(&form, |submission| submission.oddities.contains(&Oddity::Unencoded)) == Ok(true)
}

//! Phone numbers as people write them, and the E.164 number that libphonenumber reads.

use std::path::Path;

use formgate::lead::{Draft, Lead, Phone, Region};
use serde::Deserialize;

use crate::suite::{Tally, rows};

#[derive(Deserialize)]
struct Row {
    raw: String,
    region: Option<String>,
    e164: Option<String>,
    extension: Option<String>,
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::new("phones");
    for row in rows::<Row>(folder, "phones.jsonl")? {
        let region = row.region.as_deref().map(Region::parse).transpose()?;
        let draft = Draft { email: Some("ann@example.com"), phone: Some(&row.raw), region, ..Draft::default() };
        let lead = Lead::check(draft)?.lead;
        let found = lead.phone().filter(|_| Phone::is_valid(&row.raw, region));
        let extension_kept = row
            .extension
            .as_deref()
            .filter(|_| row.e164.is_some())
            .is_none_or(|digits| lead.message().contains(&format!("Phone extension: {digits}")));
        let agrees = found == row.e164.as_deref() && extension_kept;
        let is_typed = found.is_some_and(|found| found == row.raw.trim()) && !row.raw.contains('+');
        let reason = is_typed
            .then_some("a number that is valid only in the region, but isn't written as it is there, is sent as typed");
        tally.count(agrees, reason, || format!("{:?} in {:?}: {:?}, here {found:?}", row.raw, row.region, row.e164));
    }
    Ok(tally)
}

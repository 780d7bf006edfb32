//! Entries as a gateway makes them.

use bytes::Bytes;
use formgate::lead::{Draft, EntryId, FormId, Lead, SiteId};
use formgate::queue::{DedupeKey, NewEntry, Reading, Reason, State};
use formgate::received::Received;
use jiff::Timestamp;

use crate::{BODY, Outcome};

const SITES: u64 = 20;

/// Makes some entries, numbered from `first`.
pub(crate) fn some(first: u64, count: u64) -> Outcome<Vec<(NewEntry, DedupeKey)>> {
    (first..first + count).map(entry).collect()
}

/// Returns what of an entry is received: its body.
pub(crate) fn body(number: u64) -> Vec<u8> {
    let mut body = format!("email=jane%40example.com&number={number}&message=").into_bytes();
    body.resize(BODY, b'x');
    body
}

/// When the last of so many was accepted.
pub(crate) fn after(entries: u64) -> Outcome<Timestamp> {
    Ok(Timestamp::from_millisecond(i64::try_from(millisecond(entries) + 1)?)?)
}

fn millisecond(number: u64) -> u64 {
    1_760_000_000_000 + number / 10
}

fn entry(number: u64) -> Outcome<(NewEntry, DedupeKey)> {
    // Well spread, as digests are.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(4);
    let key = spread.first_chunk::<32>().copied().unwrap_or_default();
    let mut id = [0; 10];
    id.iter_mut().zip(&key).for_each(|(to, from)| *to = *from);
    let message = format!("entry {number}: {}", "what a visitor wrote ".repeat(10));
    let draft = Draft { email: Some("jane@example.com"), message: Some(&message), ..Draft::default() };
    let received = Received {
        method: "POST".to_owned(),
        headers: [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())].into(),
        body: Bytes::from(body(number)),
        ..Received::default()
    };
    let lead = Lead::check(draft).map_err(|_invalid| "the lead is valid")?.lead;
    let entry = NewEntry {
        id: EntryId::new(millisecond(number), &id),
        site: SiteId::parse(&format!("site-{}", number % SITES))?,
        form: FormId::parse("contact")?,
        state: State::Queued,
        reason: Reason::Accepted,
        accepted_at: Timestamp::from_millisecond(i64::try_from(millisecond(number))?)?,
        keep: None,
        reading: Reading { mapping: Some("generic".to_owned()), lead: Some(lead), ..Reading::default() },
        received,
    };
    Ok((entry, DedupeKey(key)))
}

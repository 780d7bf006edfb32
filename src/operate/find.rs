//! From what an operator types to an entry: its id, or the beginning of it.

use crate::lead::EntryId;
use crate::queue::{Entry, Filter, Order, Store, StoreError};

/// Fewer digits of an id say nothing.
const DIGITS_MIN: usize = 4;
const DIGITS: usize = 32;

/// Why there is no such entry. `given` is an id, no value of anybody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    #[error("there is no lead {0}")]
    Gone(String),
    #[error("{0} is the prefix of more than one id; use more characters")]
    Ambiguous(String),
    #[error("not a lead id or id prefix; `formgate leads list` shows the ids")]
    NoId,
}

/// Finds an entry by its id, or by a beginning of it that no other shares.
pub async fn find(store: &dyn Store, text: &str) -> Result<Result<Entry, NotFound>, StoreError> {
    let id = match id_of(store, text).await? {
        Ok(id) => id,
        Err(not_found) => return Ok(Err(not_found)),
    };
    Ok(store.get(id).await?.ok_or_else(|| NotFound::Gone(text.to_owned())))
}

/// Returns the id that is meant; whether a whole one has an entry isn't looked at.
async fn id_of(store: &dyn Store, text: &str) -> Result<Result<EntryId, NotFound>, StoreError> {
    let Some((first, digits)) = first_with(text) else { return Ok(Err(NotFound::NoId)) };
    if digits.len() == DIGITS {
        return Ok(Ok(EntryId::from_bytes(first.to_be_bytes())));
    }
    // A scan begins after its cursor.
    let before = first.checked_sub(1).map(|id| EntryId::from_bytes(id.to_be_bytes()));
    let page = store.scan(&Filter::default(), Order::Oldest, before, 2).await?;
    let fits = |id: EntryId| hex(id).starts_with(&digits);
    if let Some(unreadable) = page.unreadable.into_iter().find(|id| fits(*id)) {
        // Whoever gets it is told that it can't be read, whatever else begins so.
        return Ok(Ok(unreadable));
    }
    let mut fitting = page.heads.into_iter().map(|head| head.id).filter(|id| fits(*id));
    Ok(match (fitting.next(), fitting.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(NotFound::Ambiguous(text.to_owned())),
        (None, _) => Err(NotFound::Gone(text.to_owned())),
    })
}

/// Returns the lowest id that begins so, and the digits of the beginning.
fn first_with(text: &str) -> Option<(u128, String)> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let fits = (DIGITS_MIN..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = u128::from_str_radix(&format!("{digits:0<DIGITS$}"), 16).ok().filter(|_| fits)?;
    Some((first, digits))
}

fn hex(id: EntryId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_an_id_is_its_lowest() {
        let first = |text: &str| first_with(text).map(|(first, _)| format!("{first:032x}"));
        assert_eq!(first("0198-AB").as_deref(), Some("0198ab00000000000000000000000000"));
        let whole = EntryId::new(0x0198_ab00_0000, &[0xfe; 10]);
        assert_eq!(first(&whole.to_string()), Some(hex(whole)));
        for bad in ["", "019", "xyz0", "+198", "0198ab000000000000000000000000000"] {
            assert_eq!(first(bad), None, "{bad}");
        }
    }
}

//! What happened to an entry, as bytes: a settlement adds a few to them.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this format; 0 where nothing but its arrival has happened to the entry |
//! | 1 | how many events there are |
//! | 8, 1, 1, 1 | of each event: its time in milliseconds, state, reason, and which of the following there are |
//! | 1, 4 | of an attempt: how it ended, milliseconds it took |
//! | 2 | its status |
//! | 4, … | its words: how many bytes, and those |
//!
//! Numbers begin with their highest byte. What is behind the last event is room kept for more: a row that stays as long as
//! it was is written over where it lies.

use jiff::Timestamp;

use super::codes::Code;
use super::unreadable::Unreadable;
use crate::queue::{Attempt, AttemptResult, Confirmed, Event, Reason, State};

const VERSION: u8 = 1;

const HAS_ATTEMPT: u8 = 1;
const HAS_STATUS: u8 = 2;
const HAS_WORDS: u8 = 4;
const BY_WIDGET: u8 = 8;

/// Most events that are written; an entry has far fewer.
const EVENTS_MAX: usize = 255;

/// Writes a history.
pub(super) fn encode(history: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + 32 * history.len());
    let history = history.get(..EVENTS_MAX).unwrap_or(history);
    bytes.extend([VERSION, u8::try_from(history.len()).unwrap_or(u8::MAX)]);
    for Event { at, state, reason, attempt } in history {
        bytes.extend(at.as_millisecond().to_be_bytes());
        bytes.extend([state.code(), reason.code()]);
        match attempt {
            None => bytes.push(0),
            Some(attempt) => encode_attempt(attempt, &mut bytes),
        }
    }
    bytes
}

fn encode_attempt(attempt: &Attempt, bytes: &mut Vec<u8>) {
    let Attempt { result, status, duration_ms, words, confirmed } = attempt;
    let by_widget = match confirmed {
        None => 0,
        Some(Confirmed::Widget) => BY_WIDGET,
    };
    let has = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    bytes.push(HAS_ATTEMPT | has(status.is_some(), HAS_STATUS) | has(words.is_some(), HAS_WORDS) | by_widget);
    bytes.push(result.code());
    bytes.extend(u32::try_from(*duration_ms).unwrap_or(u32::MAX).to_be_bytes());
    if let Some(status) = status {
        bytes.extend(status.to_be_bytes());
    }
    if let Some(words) = words {
        bytes.extend(u32::try_from(words.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(words.as_bytes());
    }
}

/// Reads a history; none where nothing but its arrival has happened to the entry.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Vec<Event>>, Unreadable> {
    if bytes.first().is_none_or(|version| *version == 0) {
        return Ok(None);
    }
    read(bytes).map(Some).ok_or(Unreadable { column: "history" })
}

fn read(bytes: &[u8]) -> Option<Vec<Event>> {
    let mut rest = bytes;
    let [version, count] = take(&mut rest)?;
    if version != VERSION {
        return None;
    }
    let mut history = Vec::new();
    for _ in 0..count {
        let at = Timestamp::from_millisecond(i64::from_be_bytes(take(&mut rest)?)).ok()?;
        let [state, reason, has] = take(&mut rest)?;
        let attempt = if has & HAS_ATTEMPT == 0 { None } else { Some(read_attempt(has, &mut rest)?) };
        history.push(Event { at, state: State::from_code(state)?, reason: Reason::from_code(reason)?, attempt });
    }
    Some(history)
}

fn read_attempt(has: u8, rest: &mut &[u8]) -> Option<Attempt> {
    let [result] = take(rest)?;
    let duration_ms = u32::from_be_bytes(take(rest)?).into();
    let status = if has & HAS_STATUS == 0 { None } else { Some(u16::from_be_bytes(take(rest)?)) };
    let words = if has & HAS_WORDS == 0 { None } else { Some(read_words(rest)?) };
    let confirmed = (has & BY_WIDGET != 0).then_some(Confirmed::Widget);
    Some(Attempt { result: AttemptResult::from_code(result)?, status, duration_ms, words, confirmed })
}

fn read_words(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (words, after) = rest.split_at_checked(len)?;
    *rest = after;
    String::from_utf8(words.to_vec()).ok()
}

/// Takes the first bytes.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_of<T: Code + Clone + std::fmt::Debug + 'static>() -> impl Strategy<Value = T> {
        prop::sample::select((0..=u8::MAX).filter_map(T::from_code).collect::<Vec<_>>())
    }

    fn event() -> impl Strategy<Value = Event> {
        let attempt = (
            any_of::<AttemptResult>(),
            any::<Option<u16>>(),
            any::<u32>(),
            prop::option::of("\\PC{0,30}"),
            any::<bool>(),
        );
        let attempt = attempt.prop_map(|(result, status, duration_ms, words, by_widget)| Attempt {
            result,
            status,
            duration_ms: duration_ms.into(),
            words,
            confirmed: by_widget.then_some(Confirmed::Widget),
        });
        let times = -62_000_000_000_000_i64..250_000_000_000_000;
        let words = (any_of::<State>(), any_of::<Reason>());
        (times, words, prop::option::of(attempt)).prop_map(|(at, (state, reason), attempt)| Event {
            at: Timestamp::from_millisecond(at).expect("within a calendar"),
            state,
            reason,
            attempt,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_history_comes_back(history in prop::collection::vec(event(), 1..20)) {
            let mut bytes = encode(&history);
            bytes.extend([0; 9]);
            prop_assert_eq!(decode(&bytes).expect("ours"), Some(history));
        }

        #[test]
        fn bytes_of_any_kind_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = decode(&bytes);
            let _read = decode(&[&[VERSION], &*bytes].concat());
        }

        #[test]
        fn a_history_that_is_cut_is_not_taken_for_a_whole_one(history in prop::collection::vec(event(), 1..5), cut in 1_usize..11) {
            let bytes = encode(&history);
            let cut = bytes.len() - cut;
            prop_assert!(decode(&bytes[..cut]).is_err());
        }
    }
}

//! How values look on every page: times, numbers, states, lists of facts.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::words;
use crate::operate::SiteState;
use crate::queue::State;

/// Characters of an id that tell it from all others.
const ID_END: usize = 12;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Shows a moment: how long ago it was, or its day; the exact time when pointed at. The script writes the reader's zone.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    let exact = exact(at);
    html! { time datetime=(whole_seconds(at)) title=(exact) data-short { (ago(at, now)) } }
}

/// Shows the time of a day.
pub(super) fn clock(at: Timestamp) -> Markup {
    let shown = at.to_zoned(TimeZone::UTC).strftime("%H:%M UTC").to_string();
    html! { time datetime=(whole_seconds(at)) title=(exact(at)) data-hour { (shown) } }
}

/// Shows a moment to the second.
pub(super) fn exactly(at: Timestamp) -> Markup {
    html! { time datetime=(whole_seconds(at)) data-exact { (exact(at)) } }
}

fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn exact(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M:%S UTC").to_string()
}

/// Says how long ago something was, or in how long it will be; of what is further off the day.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let distance = span(SignedDuration::from_secs(seconds.abs()));
    match seconds {
        0..5 => words::JUST_NOW.to_owned(),
        5..DAY => format!("{distance} ago"),
        seconds if seconds < 0 && seconds > -DAY => format!("in {distance}"),
        _ => at.to_zoned(TimeZone::UTC).strftime("%-d %b, %H:%M UTC").to_string(),
    }
}

/// Writes a length of time by its largest unit.
pub(super) fn span(length: SignedDuration) -> String {
    match length.as_secs() {
        seconds if seconds < MINUTE => format!("{seconds} s"),
        seconds if seconds < HOUR => format!("{} min", seconds / MINUTE),
        seconds if seconds < DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} d", seconds / DAY),
    }
}

/// Writes a number with its thousands apart.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// Writes a count with its noun.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// Shows a lead's state.
pub(super) fn state(state: State) -> Markup {
    html! { span class=(format!("state {}", state.as_str())) { (state.as_str()) } }
}

/// Shows a site's state.
pub(super) fn site_state(state: SiteState) -> Markup {
    let (class, word) = match state {
        SiteState::Ok => ("ok", words::SITE_OK),
        SiteState::Paused => ("dead", words::SITE_PAUSED),
        SiteState::DeliveriesOff => ("held", words::SITE_OFF),
        SiteState::NoKeys => ("dead", words::SITE_NO_KEYS),
        SiteState::Gone => ("held", words::SITE_GONE),
        SiteState::Broken => ("dead", words::SITE_BROKEN),
    };
    html! { span class=(format!("state {class}")) { (word) } }
}

/// Shows a fact under its name; nothing where there is none.
pub(super) fn fact(name: &str, value: Option<&Markup>) -> Markup {
    html! { @if let Some(value) = value { dt { (name) } dd { (value) } } }
}

/// Shows a text, or a dash.
pub(super) fn or_dash(text: Option<&str>) -> Markup {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => html! { (text) },
        None => html! { span.none { span aria-hidden="true" { "–" } span.unseen { (words::NONE) } } },
    }
}

/// Returns the end of an id: its beginning is the time, which many have in common.
pub(super) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(ID_END)..).unwrap_or(id)
}

/// Begins a fragment with a capital letter.
pub(super) fn sentence(fragment: &str) -> String {
    let mut chars = fragment.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Shows a sentence in which commands stand between backticks.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        let shown: Vec<String> = [0, 7, 999, 1_000, 12_345, 1_234_567].into_iter().map(number).collect();
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(
            (counted(1, "lead", "leads"), counted(2_000, "lead", "leads")),
            ("1 lead".into(), "2,000 leads".into())
        );
    }

    #[test]
    fn a_moment_is_told_by_its_distance() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().expect("a time");
        let told = |text: &str| ago(text.parse().expect("a time"), now);
        assert_eq!(told("2026-11-30T11:59:58Z"), "just now");
        assert_eq!(told("2026-11-30T11:59:00Z"), "1 min ago");
        assert_eq!(told("2026-11-29T13:00:00Z"), "23 h ago");
        assert_eq!(told("2026-11-30T12:05:00Z"), "in 5 min");
        assert_eq!(told("2026-11-03T09:05:00Z"), "3 Nov, 09:05 UTC");
        let shown = moment("2026-11-30T11:59:00.25Z".parse().expect("a time"), now).into_string();
        assert!(shown.contains(r#"datetime="2026-11-30T11:59:00Z" title="30 Nov 2026, 11:59:00 UTC""#), "{shown}");
    }
}

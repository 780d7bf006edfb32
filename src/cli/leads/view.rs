//! How times, leads and numbers are shown.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli::shown;
use crate::lead::LeadField;
use crate::operate::LeadView;

/// So much of an id tells it from all that came at another moment, and mostly from those that came at the same.
pub(in crate::cli) const ID_SHORT: usize = 18;
/// Longest name and e-mail in a table, in characters.
const NAME_MAX: usize = 32;
const EMAIL_MAX: usize = 48;

/// Writes a time to the minute.
pub(super) fn minute(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Writes a time to the second.
pub(super) fn second(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Writes a number of things.
pub(in crate::cli) fn plural(count: u64, what: &str) -> String {
    let stem = what.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (count, stem) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {what}s"),
    }
}

/// Writes a duration in the unit that says it best.
pub(in crate::cli) fn duration(milliseconds: i64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        ..1 => format!("{milliseconds} ms"),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Returns name and e-mail as cells of a table.
pub(super) fn lead_cells(lead: Option<&LeadView>) -> (String, String) {
    let cell = |text: Option<&str>, max| text.map_or_else(|| "-".to_owned(), |text| shown::short(text, max));
    (cell(lead.map(LeadView::name), NAME_MAX), cell(lead.map(LeadView::email), EMAIL_MAX))
}

/// Returns a field of a lead.
pub(super) fn field(lead: &LeadView, field: LeadField) -> Option<&str> {
    match field {
        LeadField::Name => Some(lead.name()),
        LeadField::Email => Some(lead.email()),
        LeadField::Phone => lead.phone(),
        LeadField::Message => Some(lead.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_said_as_people_say_them() {
        let times = [0, 999, 1_000, 119_999, 120_000, 7_200_000, 172_800_000].map(duration);
        assert_eq!(times, ["0 ms", "999 ms", "1 s", "119 s", "2 min", "2 h", "2 d"]);
        assert_eq!([plural(1, "lead"), plural(0, "entry"), plural(2, "site")], ["1 lead", "0 entries", "2 sites"]);
        assert_eq!(minute(Timestamp::UNIX_EPOCH), "1970-01-01 00:00");
    }
}

//! Times as an operator writes them: a moment, a day, or so long ago.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Reads a moment (RFC 3339), a day (its beginning in UTC), or how long ago: `90s`, `30m`, `2h`, `7d`, `4w`.
pub(super) fn read(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp());
    }
    let unit = text.chars().next_back()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let ago = Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?);
    now.checked_sub(ago).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_a_day_or_so_long_ago() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
        for (text, moment) in [
            ("2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("90s", "2026-11-21T11:58:30Z"),
            ("2h", "2026-11-21T10:00:00Z"),
            ("7d", "2026-11-14T12:00:00Z"),
            (" 1w ", "2026-11-14T12:00:00Z"),
        ] {
            assert_eq!(read(text, now), Some(moment.parse().expect("a time")), "{text}");
        }
        for text in ["", "2", "h", "-2h", "2 h", "1h30m", "yesterday", "2026-13-01", "99999999999999999999d", "２h"] {
            assert_eq!(read(text, now), None, "{text}");
        }
    }
}

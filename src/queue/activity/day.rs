//! A day of a form: which note it is, and how its numbers are laid out.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::SpeedToLead;
use crate::lead::{FormId, SiteId};

const HOUR_SECONDS: i64 = 3_600;
/// Hours of a day.
pub const HOURS: usize = 24;
/// Stands in a key for what has no name of its own. No site or form can be called so.
pub(super) const NAMELESS: &str = "*";

/// Numbers of the whole day, before those of its hours.
const OF_DAY: usize = 3;
/// Numbers of an hour.
const OF_HOUR: usize = 3;
/// Where the number of spam stands, and where those of the speed begin: what came later stands behind what was there.
const SPAM_AT: usize = OF_DAY + HOURS * OF_HOUR;
const SPEED_AT: usize = SPAM_AT + 1;
/// All numbers of a day's note.
#[cfg(test)]
const NUMBERS: usize = SPEED_AT + super::SPEED_BUCKETS;

/// An hour of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(i64);

/// What happened in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourCounts {
    /// Submissions that were stored, those that are held too, without duplicates and spam.
    pub taken: u64,
    /// Of these, those that are held.
    pub held: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub delivered: u64,
    /// Leads given up by the sender.
    pub dead: u64,
    /// Submissions that are held since the form's honeypot is filled in.
    pub spam: u64,
    /// How fast the delivered leads were.
    pub speed: SpeedToLead,
}

/// What happened in a day, as a note keeps it: by the hour only what is shown of the last 24.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    pub held: u64,
    pub duplicates: u64,
    pub dead: u64,
    pub spam: u64,
    speed: SpeedToLead,
    /// Taken, delivered and refused, hour by hour.
    hours: [[u64; OF_HOUR]; HOURS],
}

/// Which day of which form a note is about; a site or form of none is all those that aren't counted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayKey {
    pub day: Date,
    pub site: Option<SiteId>,
    pub form: Option<FormId>,
}

impl Hour {
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_second().div_euclid(HOUR_SECONDS))
    }

    /// Returns an hour of a day.
    pub fn of_day(day: Date, hour: usize) -> Self {
        let begin = day.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |begin| begin.timestamp());
        Self::of(begin).forth(hour)
    }

    /// Returns the hour so many later.
    pub fn forth(self, hours: usize) -> Self {
        Self(self.0.saturating_add(i64::try_from(hours).unwrap_or(i64::MAX)))
    }

    /// Returns the hour so many before.
    pub fn back(self, hours: i64) -> Self {
        Self(self.0.saturating_sub(hours))
    }

    /// Returns when it begins. A time that no calendar has counts to 1970.
    pub fn begin(self) -> Timestamp {
        Timestamp::from_second(self.0.saturating_mul(HOUR_SECONDS)).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns the day it is in, and which of its hours it is.
    pub fn day(self) -> (Date, usize) {
        let of_day = usize::try_from(self.0.rem_euclid(HOURS as i64)).unwrap_or_default();
        (self.begin().to_zoned(TimeZone::UTC).date(), of_day)
    }
}

impl HourCounts {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let Self { taken, held, duplicates, refused, delivered, dead, spam, speed } = other;
        self.taken += taken;
        self.held += held;
        self.duplicates += duplicates;
        self.refused += refused;
        self.delivered += delivered;
        self.dead += dead;
        self.spam += spam;
        self.speed.add(speed);
    }
}

impl DayCounts {
    /// Adds an hour of the day.
    pub fn add(&mut self, hour: usize, counts: HourCounts) {
        self.held += counts.held;
        self.duplicates += counts.duplicates;
        self.dead += counts.dead;
        self.spam += counts.spam;
        self.speed.add(&counts.speed);
        if let Some([taken, delivered, refused]) = self.hours.get_mut(hour) {
            *taken += counts.taken;
            *delivered += counts.delivered;
            *refused += counts.refused;
        }
    }

    /// Returns how fast the leads of the day were delivered.
    pub fn speed(&self) -> SpeedToLead {
        self.speed
    }

    /// Returns what happened in the whole day.
    pub fn total(&self) -> HourCounts {
        let Self { held, duplicates, dead, spam, speed, .. } = *self;
        let mut total = HourCounts { held, duplicates, dead, spam, speed, ..HourCounts::default() };
        for [taken, delivered, refused] in self.hours {
            total.taken += taken;
            total.delivered += delivered;
            total.refused += refused;
        }
        total
    }

    /// Returns what happened in an hour of it, as far as hours are told apart: taken, delivered and refused.
    pub fn hour(&self, hour: usize) -> HourCounts {
        let [taken, delivered, refused] = self.hours.get(hour).copied().unwrap_or_default();
        HourCounts { taken, delivered, refused, ..HourCounts::default() }
    }

    /// Returns the numbers of its note, without the zeros at the end.
    pub fn numbers(&self) -> Vec<u64> {
        let mut numbers = vec![self.held, self.duplicates, self.dead];
        numbers.extend(self.hours.as_flattened());
        numbers.push(self.spam);
        numbers.extend(self.speed.counts());
        let used = numbers.iter().rposition(|number| *number > 0).map_or(0, |last| last + 1);
        numbers.truncate(used);
        numbers
    }

    /// Reads the numbers of a note; those that are missing are zero.
    pub fn read(numbers: &[u64]) -> Self {
        let number = |at: usize| numbers.get(at).copied().unwrap_or_default();
        let [held, duplicates, dead] = std::array::from_fn(number);
        let hour = |hour: usize| std::array::from_fn(|of_hour| number(OF_DAY + hour * OF_HOUR + of_hour));
        let speed = SpeedToLead::read(numbers.iter().skip(SPEED_AT).copied());
        Self { held, duplicates, dead, spam: number(SPAM_AT), speed, hours: std::array::from_fn(hour) }
    }
}

impl DayKey {
    /// Returns the key of its note: the day, the site, the form.
    pub fn text(&self) -> String {
        let form = self.form.as_ref().map_or(NAMELESS, FormId::as_str);
        format!("{}{form}", Self::prefix_of_site(self.day, self.site.as_ref()))
    }

    /// Returns what the keys of all notes of a day begin with.
    pub fn prefix(day: Date) -> String {
        format!("{day}/")
    }

    /// Returns what the keys of a site's notes of a day begin with.
    pub fn prefix_of_site(day: Date, site: Option<&SiteId>) -> String {
        format!("{}{}/", Self::prefix(day), site.map_or(NAMELESS, SiteId::as_str))
    }

    /// Reads the key of a note.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let day = parts.next()?.parse().ok()?;
        let site = match parts.next()? {
            NAMELESS => None,
            site => Some(SiteId::parse(site).ok()?),
        };
        let form = match parts.next()? {
            NAMELESS => None,
            form => Some(FormId::parse(form).ok()?),
        };
        Some(Self { day, site, form })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;

    use super::*;
    use crate::queue::NoteKind;

    #[test]
    fn a_days_numbers_are_read_as_they_were_written() {
        let mut day = DayCounts::default();
        assert_eq!(day.numbers(), [0; 0]);
        let first =
            HourCounts { taken: 1, held: 2, duplicates: 3, refused: 4, delivered: 5, dead: 6, ..HourCounts::default() };
        day.add(0, first);
        assert_eq!(day.numbers(), [2, 3, 6, 1, 5, 4]);
        day.add(23, HourCounts { refused: 7, ..HourCounts::default() });
        assert_eq!(DayCounts::read(&day.numbers()), day);
        assert_eq!(day.hour(23).refused, 7);
        assert_eq!(DayCounts::read(&[1]), DayCounts { held: 1, ..DayCounts::default() });
        day.add(23, HourCounts { spam: 8, ..HourCounts::default() });
        assert_eq!((DayCounts::read(&day.numbers()), day.spam, day.hour(23).spam), (day.clone(), 8, 0));
        assert_eq!(day.total(), HourCounts { refused: 4 + 7, spam: 8, ..first });
    }

    #[test]
    fn a_days_speed_stands_behind_what_older_versions_wrote() {
        let mut speed = SpeedToLead::default();
        speed.count(Duration::from_secs(3));
        speed.count(Duration::from_secs(86_400 * 30));
        let mut day = DayCounts::default();
        day.add(5, HourCounts { spam: 1, delivered: 2, speed, ..HourCounts::default() });
        let numbers = day.numbers();
        assert_eq!((numbers.len(), numbers[76..79].to_vec()), (NUMBERS, vec![0, 0, 1]));
        assert!(NUMBERS <= NoteKind::Daily.limits().numbers_max);
        assert_eq!(DayCounts::read(&numbers), day);
        assert_eq!(day.speed(), speed);
        let older = DayCounts::read(&numbers[..76]);
        assert_eq!((older.spam, older.speed().leads()), (1, 0));
    }

    #[test]
    fn a_key_names_day_site_and_form() {
        let longest = "a".repeat(64);
        let site = SiteId::parse(&longest).expect("a site");
        let key = DayKey { day: date(2026, 11, 30), site: Some(site), form: FormId::parse(&longest).ok() };
        assert_eq!(DayKey::read(&key.text()).as_ref(), Some(&key));
        assert!(key.text().len() <= NoteKind::Daily.limits().key_max);
        let nobody = DayKey { site: None, form: None, ..key };
        assert_eq!(nobody.text(), "2026-11-30/*/*");
        assert_eq!(DayKey::read(&nobody.text()), Some(nobody));
        for bad in ["", "2026-11-30", "2026-11-30/acme", "x/acme/contact", "2026-11-30/acme/A b"] {
            assert_eq!(DayKey::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_hour_is_one_of_utc() {
        let at = |text: &str| Hour::of(text.parse().expect("a time"));
        assert_eq!(at("2026-11-30T00:59:59Z").day(), (date(2026, 11, 30), 0));
        assert_eq!(at("2026-11-30T00:00:00Z").back(1).day(), (date(2026, 11, 29), 23));
        assert_eq!(at("1969-12-31T23:00:00Z").day(), (date(1969, 12, 31), 23));
        assert_eq!(Hour::of_day(date(2026, 11, 30), 5), at("2026-11-30T05:30:00Z"));
    }
}

//! A phone number that comes in parts: a list of groups of digits, or members of a record for the country and the area.

use super::{Auto, One};
use crate::map::senses::own_name;
use crate::map::texts::join;

/// Most digits of a part that is no whole number, and of what is one together (E.164 has 15 at most).
const PART_DIGITS: usize = 6;
const DIGITS: std::ops::RangeInclusive<usize> = 7..=17;
/// What widgets call the members before the number, in the order in which they are dialled: Jotform, Formstack, Ninja Forms.
const BEFORE: [&[&str]; 2] = [
    &["country", "countrycode", "country_code", "dialcode", "dial_code"],
    &["area", "areacode", "area_code", "citycode", "city_code"],
];

/// Puts the parts of a number together; none where a field holds all of it.
pub(super) fn whole<'a>(auto: &Auto<'_, 'a>, one: &One<'_, 'a>) -> Option<(&'a str, &'a [usize])> {
    let values = || one.values().iter().copied().map(str::trim).filter(|value| !value.is_empty());
    let (texts, from): (Vec<&'a str>, Vec<usize>) = match values().nth(1) {
        Some(_) => (values().collect(), vec![one.index]),
        None => {
            let number = values().next().filter(|text| !text.starts_with('+'))?;
            let mut parts: Vec<(&'a str, usize)> = BEFORE.iter().filter_map(|names| beside(auto, one, names)).collect();
            parts.push((number, one.index));
            parts.into_iter().unzip()
        }
    };
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
    let is_part = |text: &&str| {
        let figures = text.strip_prefix('+').unwrap_or(text);
        (1..=PART_DIGITS).contains(&figures.len()) && figures.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (last, first) = texts.split_last()?;
    let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit() || b" -.".contains(&byte));
    let is_whole = !first.is_empty()
        && first.iter().all(is_part)
        && is_number(last)
        && digits(last) <= DIGITS_OF_LAST
        && DIGITS.contains(&texts.iter().map(|text| digits(text)).sum());
    is_whole.then(|| (join(auto.submission, auto.submission.arena.alloc_slice_copy(&texts), " "), auto.sorted(from)))
}

/// Most digits of what follows the code of an area.
const DIGITS_OF_LAST: usize = 9;

/// Returns the member of a name that stands in the same record.
fn beside<'a>(auto: &Auto<'_, 'a>, one: &One<'_, 'a>, names: &[&str]) -> Option<(&'a str, usize)> {
    let record = auto.record(one.index).filter(|record| *record != auto.document().root())?;
    let is_it = |other: &One<'_, 'a>| {
        let own = own_name(other.form_field.field.key);
        auto.record(other.index) == Some(record) && names.iter().any(|name| own.eq_ignore_ascii_case(name))
    };
    let other = auto.free().find(is_it)?;
    Some((other.single()?.trim(), other.index)).filter(|(text, _)| !text.is_empty())
}

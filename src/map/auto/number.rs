//! A phone number that comes in parts: a list of groups of digits, or members of a record for the country and the area.

use super::{Auto, One};
use crate::decode::MemberKey;
use crate::map::senses::own_name;
use crate::map::texts::join;
use crate::map::words::Role;

/// Most digits of a part before the last, of the last where an area stands before it, and where only a country does.
const PART_DIGITS: usize = 5;
const LAST_DIGITS: usize = 9;
const NATIONAL_DIGITS: usize = 12;
/// How many digits all parts have together, with two zeros before the country.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=17;
const COUNTRY: [&str; 5] = ["country", "countrycode", "country_code", "dialcode", "dial_code"];
const AREA: [&str; 5] = ["area", "areacode", "area_code", "citycode", "city_code"];

/// Puts the parts of a number together; none where a value is no part of one.
pub(super) fn whole<'a>(auto: &Auto<'_, 'a>, one: &One<'_, 'a>) -> Option<(&'a str, &'a [usize])> {
    let mut values = one.values().iter().copied().map(str::trim).filter(|value| !value.is_empty());
    let first = values.next()?;
    let rest: Vec<&'a str> = values.collect();
    match rest.is_empty() {
        true => of_record(auto, one, first),
        false => of_list(&[&[first], rest.as_slice()].concat(), auto, one.index),
    }
}

fn of_list<'a>(texts: &[&'a str], auto: &Auto<'_, 'a>, index: usize) -> Option<(&'a str, &'a [usize])> {
    let (last, first) = texts.split_last()?;
    // Several numbers are as long as each other.
    let is_varied = texts.iter().any(|text| text.len() != last.len());
    let is_number =
        is_varied && first.iter().all(|text| is_part(text)) && is_last(last, LAST_DIGITS) && is_long_enough(texts);
    is_number.then(|| (join(auto.submission, texts, " "), auto.alone(index)))
}

/// Widgets post `{"country": "0043", "area": "512", "phone": "345678"}` under the name of the field.
fn of_record<'a>(auto: &Auto<'_, 'a>, one: &One<'_, 'a>, number: &'a str) -> Option<(&'a str, &'a [usize])> {
    let MemberKey::Name(record) = auto.document().key(auto.record(one.index)?) else { return None };
    let is_phone = auto.dictionary.sense(record, auto.senses.languages).role == Role::Phone;
    if !is_phone || number.starts_with(['+', '0']) {
        return None;
    }
    let country = beside(auto, one, &COUNTRY);
    let area = beside(auto, one, &AREA);
    let most = if area.is_some() { LAST_DIGITS } else { NATIONAL_DIGITS };
    let parts = [country, area, Some((number, one.index))];
    let (texts, from): (Vec<&'a str>, Vec<usize>) = parts.into_iter().flatten().unzip();
    let (last, first) = texts.split_last()?;
    let is_number =
        !first.is_empty() && first.iter().all(|text| is_part(text)) && is_last(last, most) && is_long_enough(&texts);
    is_number.then(|| (join(auto.submission, &texts, " "), auto.sorted(from)))
}

/// Returns the member of a name that stands in the same record.
fn beside<'a>(auto: &Auto<'_, 'a>, one: &One<'_, 'a>, names: &[&str]) -> Option<(&'a str, usize)> {
    let is_named = |other: &One<'_, 'a>| {
        let own = own_name(other.form_field.field.key);
        names.iter().any(|name| own.eq_ignore_ascii_case(name))
    };
    let other = auto.free().find(|other| is_named(other) && auto.record(other.index) == auto.record(one.index))?;
    Some((other.single()?.trim(), other.index)).filter(|(text, _)| !text.is_empty())
}

/// Tells whether a text is the code of a country or an area: `+43`, `(415)`, `0664`.
fn is_part(text: &str) -> bool {
    let bare = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    let figures = bare.strip_prefix('+').unwrap_or(bare);
    (1..=PART_DIGITS).contains(&figures.len()) && figures.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_last(text: &str, most: usize) -> bool {
    (1..=most).contains(&digits(text)) && text.bytes().all(|byte| byte.is_ascii_digit() || b" -.".contains(&byte))
}

fn is_long_enough(texts: &[&str]) -> bool {
    DIGITS.contains(&texts.iter().map(|text| digits(text)).sum())
}

fn digits(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

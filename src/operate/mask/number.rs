//! Telephone numbers in a text, and what looks like one: dates, times and prices.

use std::ops::Range;

use super::sign::{Shown, Sign};
use crate::operate::phone::{BETWEEN_MAX, DIGITS_MIN, digit, is_between, is_plus};

/// So many last digits are shown.
const SHOWN: usize = 2;
/// Years that a date may have.
const YEARS: std::ops::RangeInclusive<u32> = 1900..=2099;
/// Most digits of a price without separators.
const PRICE_DIGITS_MAX: usize = 9;
/// Most groups of a price with separators.
const PRICE_GROUPS_MAX: usize = 4;
/// Words for money, in lower case.
const CURRENCIES: [&str; 18] = [
    "eur", "euro", "euros", "usd", "gbp", "chf", "cad", "aud", "nzd", "jpy", "inr", "aed", "sar", "sek", "dollar",
    "dollars", "pounds", "kr",
];
/// Longest of them.
const CURRENCY_MAX: usize = 7;

/// Digits without anything between them.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
}

/// Hides every number of so many digits that only signs of telephone numbers stand between.
pub(super) fn hide(signs: &mut [Sign]) {
    let mut groups: Vec<Group> = Vec::new();
    for group in groups_of(signs) {
        let is_next = groups.last().is_some_and(|last| is_gap(signs, last.end..group.start));
        if !is_next {
            hide_run(signs, &groups);
            groups.clear();
        }
        groups.push(group);
    }
    hide_run(signs, &groups);
}

/// Hides the digits between two places, but the last two.
pub(super) fn hide_digits(signs: &mut [Sign], places: Range<usize>) {
    let digits = signs.iter_mut().take(places.end).skip(places.start).rev().filter(|sign| digit(sign.meant).is_some());
    digits.skip(SHOWN).for_each(|sign| sign.shown = Shown::Digit);
}

fn groups_of(signs: &[Sign]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, sign) in signs.iter().enumerate() {
        // What is hidden already is of an address.
        if sign.shown != Shown::AsIs || digit(sign.meant).is_none() {
            continue;
        }
        match groups.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => groups.push(Group { start: at, end: at + 1 }),
        }
    }
    groups
}

/// Tells whether signs between two groups keep them together.
fn is_gap(signs: &[Sign], places: Range<usize>) -> bool {
    let is_one = |sign: &Sign| sign.shown == Shown::AsIs && (is_between(sign.meant) || is_plus(sign.meant));
    places.len() <= BETWEEN_MAX && signs.get(places).is_some_and(|between| between.iter().all(is_one))
}

/// Hides what is left of a run without its dates.
fn hide_run(signs: &mut [Sign], groups: &[Group]) {
    let mut from = 0;
    let mut at = 0;
    while at < groups.len() {
        if is_date(signs, groups, at) {
            hide_part(signs, groups.get(from..at).unwrap_or_default());
            at += 3;
            from = at;
        } else {
            at += 1;
        }
    }
    hide_part(signs, groups.get(from..).unwrap_or_default());
}

/// Hides groups that are a number, without the seconds before and a price at either end.
fn hide_part(signs: &mut [Sign], groups: &[Group]) {
    let count = |groups: &[Group]| groups.iter().map(Group::len).sum::<usize>();
    if count(groups) < DIGITS_MIN {
        return;
    }
    let groups = groups.get(seconds(signs, groups)..).unwrap_or_default();
    let groups = groups.get(price_before(signs, groups)..).unwrap_or_default();
    let groups = groups.get(..groups.len() - price_after(signs, groups)).unwrap_or_default();
    if let (Some(first), Some(last)) = (groups.first(), groups.last())
        && count(groups) >= DIGITS_MIN
    {
        hide_digits(signs, first.start..last.end);
    }
}

/// Tells whether three groups are a date, and no part of a longer number that is written alike.
fn is_date(signs: &[Sign], groups: &[Group], at: usize) -> bool {
    let [Some(a), Some(b), Some(c)] = [0, 1, 2].map(|next| groups.get(at + next)) else { return false };
    let Some(separator) = lone(signs, a, b).filter(|sign| !sign.is_whitespace() && !matches!(sign, '(' | ')')) else {
        return false;
    };
    let before = at.checked_sub(1).and_then(|before| lone(signs, groups.get(before)?, a));
    let after = groups.get(at + 3).and_then(|after| lone(signs, c, after));
    if lone(signs, b, c) != Some(separator) || [before, after].contains(&Some(separator)) {
        return false;
    }
    let [first, second, third] = [a, b, c].map(|group| group.value(signs));
    let is_day = |one: u32, other: u32| (1..=31).contains(&one.max(other)) && (1..=12).contains(&one.min(other));
    match [a, b, c].map(Group::len) {
        [4, 1..=2, 1..=2] => YEARS.contains(&first) && is_day(second, third),
        [1..=2, 1..=2, 4] => YEARS.contains(&third) && is_day(first, second),
        [1..=2, 1..=2, 2] => is_day(first, second),
        _ => false,
    }
}

/// Returns the one sign between two groups; none where there are more.
fn lone(signs: &[Sign], one: &Group, other: &Group) -> Option<char> {
    if other.start != one.end + 1 { None } else { signs.get(one.end).map(|sign| sign.meant) }
}

/// Counts the groups that are the end of a time: `00.123456` of `14:30:00.123456`.
fn seconds(signs: &[Sign], groups: &[Group]) -> usize {
    let Some(first) = groups.first().filter(|first| first.len() == 2) else { return 0 };
    let before = |back: usize| first.start.checked_sub(back).and_then(|at| signs.get(at)).map(|sign| sign.meant);
    if before(1) != Some(':') || before(2).and_then(digit).is_none() {
        return 0;
    }
    let has_fraction = groups.get(1).is_some_and(|second| lone(signs, first, second) == Some('.'));
    if has_fraction { 2 } else { 1 }
}

/// Counts the groups of a price at the beginning, behind its currency.
fn price_before(signs: &[Sign], groups: &[Group]) -> usize {
    let Some(first) = groups.first() else { return 0 };
    let before = signs.get(..first.start).unwrap_or_default().iter().rev().map(|sign| sign.meant);
    let mut before = before.skip_while(|c| *c == ' ' || *c == '\u{a0}').take(CURRENCY_MAX + 1).peekable();
    let is_symbol = before.peek().is_some_and(|c| is_symbol(*c));
    let word: String = before.take_while(|c| c.is_alphabetic()).collect::<Vec<_>>().into_iter().rev().collect();
    if !is_symbol && !is_currency(&word) {
        return 0;
    }
    let mut length = 1;
    while is_thousands(signs, groups, length) {
        length += 1;
    }
    // Cents.
    let cents = groups.get(length).zip(groups.get(length - 1));
    let has_cents = cents.is_some_and(|(cents, last)| cents.len() == 2 && lone(signs, last, cents) == Some('.'));
    if is_amount(signs, groups.get(..length).unwrap_or_default()) { length + usize::from(has_cents) } else { 0 }
}

/// Counts the groups of a price at the end, before its currency.
fn price_after(signs: &[Sign], groups: &[Group]) -> usize {
    let Some(last) = groups.last() else { return 0 };
    if !has_currency_behind(signs, last.end) {
        return 0;
    }
    let before_last = groups.len().checked_sub(2).and_then(|at| groups.get(at));
    let has_cents = last.len() == 2 && before_last.is_some_and(|before| lone(signs, before, last) == Some('.'));
    let cents = usize::from(has_cents);
    let end = groups.len() - cents;
    let mut start = end - 1;
    while start > 0 && end - start < PRICE_GROUPS_MAX && is_thousands(signs, groups, start) {
        start -= 1;
    }
    let amount = groups.get(start..end).unwrap_or_default();
    if is_amount(signs, amount) { amount.len() + cents } else { 0 }
}

/// Tells whether a group of three digits continues the one before it, as in `1.250`.
fn is_thousands(signs: &[Sign], groups: &[Group], at: usize) -> bool {
    let (Some(before), Some(group)) = (groups.get(at - 1), groups.get(at)) else { return false };
    let is_separator = |c: char| matches!(c, '.' | ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}');
    before.len() <= 3 && group.len() == 3 && lone(signs, before, group).is_some_and(is_separator)
}

/// No price begins with a zero or a plus.
fn is_amount(signs: &[Sign], groups: &[Group]) -> bool {
    let Some(first) = groups.first() else { return false };
    let before = first.start.checked_sub(1).and_then(|at| signs.get(at));
    let begins_well = first.value_of_first(signs) != 0 && before.is_none_or(|sign| !is_plus(sign.meant));
    begins_well && groups.iter().map(Group::len).sum::<usize>() <= PRICE_DIGITS_MAX
}

/// Tells whether a currency follows, also behind cents: `,00 EUR`. One before another amount is that one's.
fn has_currency_behind(signs: &[Sign], end: usize) -> bool {
    let mut rest = signs.get(end..).unwrap_or_default().iter().map(|sign| sign.meant).take(2 * CURRENCY_MAX).peekable();
    if rest.next_if_eq(&',').is_some() {
        while rest.next_if(|c| digit(*c).is_some() || matches!(c, '-' | '–')).is_some() {}
    }
    while rest.next_if(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}')).is_some() {}
    if rest.next_if(|c| is_symbol(*c)).is_some() {
        while rest.next_if_eq(&' ').is_some() {}
        return rest.next().and_then(digit).is_none();
    }
    is_currency(&rest.take_while(|c| c.is_alphabetic()).collect::<String>())
}

fn is_symbol(c: char) -> bool {
    matches!(c, '$' | '£' | '¥' | '￥' | '\u{20a0}'..='\u{20bf}')
}

fn is_currency(word: &str) -> bool {
    CURRENCIES.contains(&word.to_lowercase().as_str())
}

impl Group {
    fn len(&self) -> usize {
        self.end - self.start
    }

    /// The number of a group of at most four digits; of a longer one any.
    fn value(&self, signs: &[Sign]) -> u32 {
        let digits = signs.iter().take(self.end).skip(self.start).take(4).filter_map(|sign| digit(sign.meant));
        digits.filter_map(|digit| digit.to_digit(10)).fold(0, |value, digit| 10 * value + digit)
    }

    fn value_of_first(&self, signs: &[Sign]) -> u32 {
        Self { start: self.start, end: self.start + 1 }.value(signs)
    }
}

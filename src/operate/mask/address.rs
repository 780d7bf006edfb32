//! E-mail addresses in a text.

use super::sign::{Shown, Sign};

/// Hides every address but the first characters of its local part and its domain, and its last label.
pub(super) fn hide(signs: &mut [Sign]) {
    // What is before it belongs to the address before: no character is looked at for two of them.
    let mut floor = 0;
    for at in 0..signs.len() {
        if !is_at(meant(signs, at)) {
            continue;
        }
        let local = (floor..at).rev().take_while(|place| is_local(meant(signs, *place))).last().unwrap_or(at);
        let domain = at + 1..domain_end(signs, at + 1);
        let is_chain = at == floor && floor > 0;
        floor = at + 1;
        if domain.is_empty() || (local == at && !is_chain) {
            continue;
        }
        floor = domain.end;
        if is_chain {
            set(signs, at..at + 1, Shown::AtAgain);
            set(signs, domain, Shown::Nothing);
        } else {
            hide_one(signs, local, at, domain);
        }
    }
}

fn hide_one(signs: &mut [Sign], local: usize, at: usize, domain: std::ops::Range<usize>) {
    // Quotes may stand before it, which a local part may hold.
    let first = (local..at).find(|place| meant(signs, *place).is_alphanumeric()).unwrap_or(local);
    set(signs, first + 1..at, Shown::Nothing);
    let last_dot = domain.clone().rev().find(|place| meant(signs, *place) == '.').filter(|dot| *dot > domain.start);
    match last_dot {
        None => {
            set(signs, at..at + 1, Shown::AtNothing);
            set(signs, domain, Shown::Nothing);
        }
        Some(dot) => {
            set(signs, at..at + 1, Shown::At);
            set(signs, domain.start + 1..dot, Shown::Nothing);
            set(signs, dot..dot + 1, Shown::Dot);
        }
    }
}

/// Finds the end of a domain: a dot or a dash behind it is of the sentence.
fn domain_end(signs: &[Sign], start: usize) -> usize {
    let is_domain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
    let end = start + signs.iter().skip(start).take_while(|sign| is_domain(sign.meant)).count();
    (start..end).rev().find(|place| meant(signs, *place).is_alphanumeric()).map_or(start, |last| last + 1)
}

fn set(signs: &mut [Sign], places: std::ops::Range<usize>, shown: Shown) {
    signs.iter_mut().take(places.end).skip(places.start).for_each(|sign| sign.shown = shown);
}

fn meant(signs: &[Sign], at: usize) -> char {
    signs.get(at).map_or('\0', |sign| sign.meant)
}

pub(super) fn is_at(c: char) -> bool {
    matches!(c, '@' | '＠' | '﹫')
}

/// `=`, `&` and braces are left out, which may stand in a local part and hardly ever do: what is received has them between
/// its values.
fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%'*+/?^_`~.-".contains(c)
}

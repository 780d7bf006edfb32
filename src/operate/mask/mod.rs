//! `[admin].mask`: e-mail addresses and telephone numbers hidden from whoever has not asked for them.
//!
//! [`mask_text`] hides what looks like one, wherever it stands; [`views`] does so in everything that is shown of a lead.
//! It guards against eyes, not against an attacker: names and messages stay, and whoever may look may also ask. Where a
//! text may be a number or something else, it is hidden.
//!
//! Pure, and linear in the text.

mod address;

mod number;

mod sign;

mod views;

use std::borrow::Cow;

use sign::{Shown, Sign};

use super::phone::{DIGITS_MIN, digit};
use crate::lead::LeadField;

/// What stands for what is hidden.
const MARK: &str = "•••";
/// What stands for a digit.
const DIGIT_MARK: &str = "•";

/// Hides every e-mail address but its first characters and its last label, and every telephone number but its last two
/// digits. Dates, times and prices stay.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    // Most texts have nothing to hide.
    let may_hold_number = || text.chars().filter(|c| digit(*c).is_some()).nth(DIGITS_MIN - 1).is_some();
    if !text.contains(address::is_at) && !may_hold_number() {
        return Cow::Borrowed(text);
    }
    masked(text, sign::plain)
}

/// The same for what was received: also where characters are percent-encoded, JSON's `\u` escapes or HTML's `&#` ones.
pub fn mask_raw(text: &str) -> Cow<'_, str> {
    masked(text, sign::encoded)
}

/// Hides every digit but the last two of what is known to be a telephone number, whatever it looks like.
pub(super) fn mask_phone(text: &str) -> String {
    let mut signs = sign::plain(text);
    let all = 0..signs.len();
    number::hide_digits(&mut signs, all);
    sign::written(text, &signs)
}

/// Tells whether a value of a lead is one that was masked: nobody must take it for what the visitor wrote.
pub(super) fn is_masked(field: LeadField, value: &str) -> bool {
    value.contains(if field == LeadField::Phone { DIGIT_MARK } else { MARK })
}

fn masked(text: &str, read: fn(&str) -> Vec<Sign>) -> Cow<'_, str> {
    let mut signs = read(text);
    address::hide(&mut signs);
    number::hide(&mut signs);
    if signs.iter().all(|sign| sign.shown == Shown::AsIs) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(sign::written(text, &signs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_keep_their_first_letters_and_their_last_label() {
        for (text, shown) in [
            ("jane@example.com", "j•••@e•••.com"),
            ("<Jane.Doe+tag@mail.acme.example>, call", "<J•••@m•••.example>, call"),
            ("write to jane@example.com.", "write to j•••@e•••.com."),
            ("j@b.co", "j•••@b•••.co"),
            ("mailto:o'brien@example.com", "mailto:o•••@e•••.com"),
            ("'jane@example.com'", "'j•••@e•••.com'"),
            ("jane@localhost", "j•••@•••"),
            ("jörg@müller.example", "j•••@m•••.example"),
            ("jane＠example.com", "j•••@e•••.com"),
            ("a@b@example.com", "a•••@•••@•••"),
            ("a@b.co@example.com", "a•••@b•••.co@•••"),
            ("5035550142@example.com", "5•••@e•••.com"),
            ("jane@example.com,june@example.org", "j•••@e•••.com,j•••@e•••.org"),
        ] {
            assert_eq!(mask_text(text), shown, "{text}");
        }
        for text in ["@acme on twitter", "3 @ 5 each", "@", "jane@", "a @ b", "", "Hello"] {
            assert!(matches!(mask_text(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_last_two_digits_in_any_script() {
        for (text, shown) in [
            ("+1 (503) 555-0142", "+• (•••) •••-••42"),
            ("call 503.555.0142 now", "call •••.•••.••42 now"),
            ("01.23.45.67.89", "••.••.••.••.89"),
            ("0171 - 1234567", "•••• - •••••67"),
            ("030/1234567", "•••/•••••67"),
            ("5550142", "•••••42"),
            ("٥٠٣ ٥٥٥ ٠١٤٢", "••• ••• ••٤٢"),
            ("०१२३४५६७८९", "••••••••८९"),
            ("００１ ５０３ ５５５ ０１４２", "••• ••• ••• ••４２"),
            ("\u{202d}503\u{a0}555\u{2011}0142\u{202c}", "\u{202d}•••\u{a0}•••\u{2011}••42\u{202c}"),
            ("5035550142, 5035550199", "••••••••42, ••••••••99"),
            ("on 2026-12-18 call 503 555 0142", "on 2026-12-18 call ••• ••• ••42"),
            ("2026-12-18 503 555 0142", "2026-12-18 ••• ••• ••42"),
            ("5035550142 500 EUR", "••••••••42 500 EUR"),
            ("+1 503 555 014 EUR", "+• ••• ••• •14 EUR"),
            ("5550142 $5", "•••••42 $5"),
        ] {
            assert_eq!(mask_text(text), shown, "{text}");
        }
    }

    #[test]
    fn dates_times_and_prices_stay() {
        for text in [
            "2026-12-18",
            "18.12.2026",
            "12/18/2026",
            "18.12.26 14:30",
            "2026-12-18T14:30:00.123456789Z",
            "from 2026-12-18 14:30 to 2026-12-19 16:30",
            "€ 1.250.000",
            "1.250.000,00 EUR",
            "1 250 000 €",
            "$1250000.00",
            "USD 12000000",
            "1,250,000",
            "12 rooms, 1200 EUR, 97201",
            "6.5.3 build 120",
        ] {
            assert_eq!(mask_text(text), text);
        }
    }

    #[test]
    fn what_was_received_is_read_through_its_encoding() {
        for (text, shown) in [
            ("name=Jane&email=jane%40example.com&x=1", "name=Jane&email=j•••@e•••.com&x=1"),
            ("tel=%2B1%20503%20555%200142&a=b", "tel=%2B•%20•••%20•••%20••42&a=b"),
            ("tel=503+555+0142", "tel=•••+•••+••42"),
            (
                r#"{"email":"jane\u0040example.com","tel":"503\u0020555\u00200142"}"#,
                r#"{"email":"j•••@e•••.com","tel":"•••\u0020•••\u0020••42"}"#,
            ),
            ("jane&#64;example&#x2e;com", "j•••@e•••.com"),
            ("%D9%A5%D9%A0%D9%A3%D9%A5%D9%A5%D9%A5%D9%A0", "•••••%D9%A5%D9%A0"),
            ("%4a%61ne%40example.com", "%4a•••@e•••.com"),
        ] {
            assert_eq!(mask_raw(text), shown, "{text}");
        }
        for text in ["100%", "%zz", "%e2%82", "\\u00", "&#", "&#xfffffffff;", "\\ud83d\\ude00", "a=%2"] {
            assert_eq!(mask_raw(text), text);
        }
    }

    #[test]
    fn what_is_known_to_be_a_number_is_hidden_however_short() {
        for (text, shown) in [("+15035550142", "+•••••••••42"), ("555", "•55"), ("after 5", "after 5"), ("", "")]
        {
            assert_eq!(mask_phone(text), shown);
        }
    }

    #[test]
    fn a_long_text_takes_time_in_proportion() {
        for piece in ["@", "a@", "1 ", "1-", "a@b.", "%40", "1.1.2026.", "\\u0040", "1 000 ", "€ 1"] {
            let text = piece.repeat(1 << 17);
            let text_masked = mask_text(&text);
            let raw_masked = mask_raw(&text);
            assert!(text_masked.len() <= 16 * text.len() && raw_masked.len() <= 16 * text.len());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in any::<String>(), odd in "[0-9 .@%u\\\\&#x;+€A-C-]{0,60}") {
            for text in [text, odd] {
                mask_text(&text);
                mask_raw(&text);
                mask_phone(&text);
            }
        }

        #[test]
        fn an_address_is_hidden_wherever_it_stands(
            before in "[^@]{0,20}",
            local in "[a-z][a-z0-9.]{0,10}[a-z0-9]",
            domain in "[a-z][a-z0-9-]{0,10}[a-z0-9]",
            after in "[^@a-z0-9.-][^@]{0,20}",
        ) {
            let address = format!("{local}@{domain}.com");
            let text = format!("{before} {address} {after}");
            for shown in [mask_text(&text), mask_raw(&text)] {
                prop_assert!(!shown.contains(&address), "{shown}");
                prop_assert!(!shown.contains(&format!("@{domain}")), "{shown}");
            }
        }

        #[test]
        fn a_number_is_hidden_between_words(number in "\\+?[0-9]{3}[ .-]?[0-9]{3}[ .-]?[0-9]{4}") {
            let text = format!("call {number} please");
            let shown = mask_text(&text);
            prop_assert_eq!(shown.chars().filter(char::is_ascii_digit).count(), 2, "{}", shown);
        }
    }
}

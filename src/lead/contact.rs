//! How the visitor can be reached: e-mail and phone.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::area_code;

/// Longest address, in bytes: what fits an SMTP path (RFC 5321 §4.5.3.1.3, less its angle brackets).
const EMAIL_MAX: usize = 254;
/// Longest label of a host name, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;
/// Longest phone that is no E.164 number, in characters.
const PHONE_MAX: usize = 64;

/// An address by the rule of HTML for `input type=email`, with a dot in its domain and at most 254 bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// Why text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    #[error("is not an e-mail address")]
    Malformed,
    #[error("is longer than {EMAIL_MAX} bytes")]
    TooLong,
}

impl Email {
    /// Reads an address; white space around it is ignored and an international domain becomes ASCII.
    ///
    /// The rule is HTML's (<https://html.spec.whatwg.org/#valid-e-mail-address>): what a browser lets through an e-mail field.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = halves(text)?;
        Ok(Self(format!("{local}@{domain}")))
    }

    /// Tells whether text is an address.
    pub fn is_valid(text: &str) -> bool {
        halves(text).is_ok()
    }

    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what stands before the `@`.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

/// Returns what stands on either side of the `@` of an address.
fn halves(text: &str) -> Result<(&str, Cow<'_, str>), InvalidEmail> {
    let (local, domain) = text.trim().rsplit_once('@').ok_or(InvalidEmail::Malformed)?;
    let domain = ascii_domain(domain)?;
    let well_formed = !local.is_empty()
        && local.bytes().all(is_local_byte)
        && domain.contains('.')
        && domain.split('.').all(is_label);
    if !well_formed {
        return Err(InvalidEmail::Malformed);
    }
    let length = local.len() + "@".len() + domain.len();
    (length <= EMAIL_MAX).then_some((local, domain)).ok_or(InvalidEmail::TooLong)
}

fn ascii_domain(domain: &str) -> Result<Cow<'_, str>, InvalidEmail> {
    if domain.is_ascii() {
        return Ok(domain.into());
    }
    idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::URL).map_err(|_invalid| InvalidEmail::Malformed)
}

fn is_local_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// A country or territory, as two letters of ISO 3166-1: how to read a phone number written without `+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

/// Two letters that name no region with telephone numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a two-letter country code such as \"US\" or \"DE\"")]
pub struct InvalidRegion;

impl Region {
    /// Reads a country code, in capitals.
    pub fn parse(code: &str) -> Result<Self, InvalidRegion> {
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidRegion);
        }
        let region = rlibphonenumber::Region::from_code(code).map_err(|_unknown| InvalidRegion)?;
        let known = rlibphonenumber::PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some();
        known.then_some(Self(region)).ok_or(InvalidRegion)
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A phone number: E.164 where it is a valid number, else one line as typed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phone(String);

/// What text meant as a phone number turned out to be.
pub(super) enum ReadPhone {
    /// A phone, and the extension that E.164 cannot hold.
    Phone(Phone, Option<String>),
    /// Longer than any phone: the text belongs with the extras.
    TooLong(String),
    Empty,
}

impl Phone {
    /// Reads a phone number; the region only reads numbers written without `+`.
    pub(super) fn read(text: &str, region: Option<Region>) -> ReadPhone {
        let line = super::text::one_line(text);
        if line.is_empty() {
            return ReadPhone::Empty;
        }
        if line.chars().count() > PHONE_MAX {
            return ReadPhone::TooLong(line);
        }
        match rlibphonenumber::PhoneNumber::parse(&line, region.map(|region| region.0)) {
            Ok(number) if area_code::is_valid(&number) && !is_guess(&line, &number) => {
                let e164 = number.format_as(rlibphonenumber::PhoneNumberFormat::E164);
                ReadPhone::Phone(Self(e164.into_owned()), number.extension.filter(|digits| !digits.is_empty()))
            }
            _ => ReadPhone::Phone(Self(line), None),
        }
    }

    /// Tells whether text is a valid number by itself: what may be taken for a phone without being called one.
    pub fn is_valid(text: &str, region: Option<Region>) -> bool {
        text.len() <= PHONE_MAX
            && rlibphonenumber::PhoneNumber::parse(text, region.map(|region| region.0))
                .is_ok_and(|number| area_code::is_valid(&number))
    }

    /// Returns the number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many digits a number has that may be valid only by chance, under the region assumed for it.
const GUESSED: std::ops::RangeInclusive<usize> = 7..=10;

/// Tells whether a number without a country code is valid only by chance: its digits aren't those that the region writes, and
/// it is no mobile number. A customer number in a phone field looks like that: it is sent as typed.
fn is_guess(line: &str, number: &rlibphonenumber::PhoneNumber) -> bool {
    let figures = |text: &str| text.chars().filter_map(|c| c.to_digit(10)).collect::<Vec<u32>>();
    let typed = figures(line);
    // Regions that share +1 write local numbers without their area code.
    if number.country_code == 1 || line.contains(['+', '＋']) || !GUESSED.contains(&typed.len()) {
        return false;
    }
    let national = number.format_as(rlibphonenumber::PhoneNumberFormat::National);
    let is_mobile = || {
        use rlibphonenumber::PhoneNumberType::{FixedLineOrMobile, Mobile};
        matches!(number.get_type(), Mobile | FixedLineOrMobile)
    };
    figures(&national) != typed && !is_mobile()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_what_a_browser_takes_with_a_dot() {
        for good in ["a@b.co", " jane.doe+x@mail.example.net\n", "a.@b.co", "!#$%&'*+/=?^_`{|}~-@b.co"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "@", "a@b", "a b@c.co", "a@-b.co", "a@b-.co", "a@b..co", "ü@b.co", "a@b_c.co", "a\n@b.com"] {
            assert_eq!(Email::parse(bad).err(), Some(InvalidEmail::Malformed), "{bad}");
        }
        let long = format!("{}@example.com", "x".repeat(243));
        assert_eq!(Email::parse(&long).err(), Some(InvalidEmail::TooLong));
        assert!(Email::parse(long.get(1..).expect("ascii")).is_ok());
    }

    #[test]
    fn an_international_domain_becomes_ascii() {
        let email = Email::parse("ann@bücher.example").map(String::from);
        assert_eq!(email.as_deref(), Ok("ann@xn--bcher-kva.example"));
    }

    fn read(text: &str, region: Option<&str>) -> (String, Option<String>) {
        let region = region.map(|code| Region::parse(code).expect("a region"));
        match Phone::read(text, region) {
            ReadPhone::Phone(phone, extension) => (phone.0, extension),
            ReadPhone::TooLong(line) => (format!("too long: {line}"), None),
            ReadPhone::Empty => (String::new(), None),
        }
    }

    #[test]
    fn a_valid_number_becomes_e164_and_any_other_stays_as_typed() {
        assert_eq!(read("+1 (503) 555-1234", None).0, "+15035551234");
        assert_eq!(read("0412 345 678", None).0, "0412 345 678");
        assert_eq!(read("0412 345 678", Some("AU")).0, "+61412345678");
        assert_eq!(read("٠٥٠ ١٢٣ ٤٥٦٧", Some("AE")).0, "+971501234567");
        assert_eq!(read("call me\n maybe", None).0, "call me maybe");
        // Berlin writes 030; a mobile of India is known without its 0.
        assert_eq!(read("30 1234567", Some("DE")).0, "30 1234567");
        assert_eq!(read("030 1234567", Some("DE")).0, "+49301234567");
        assert_eq!(read("98765 01226", Some("IN")).0, "+919876501226");
        assert_eq!(read("\u{200e}+32 12 34 56 78\u{200e}", Some("BE")).0, "+3212345678", "pasted with its marks");
        assert_eq!(read("Tel: +507 200-1234", Some("PA")).0, "+5072001234");
        // Within the Bahamas seven digits are enough.
        assert_eq!(read("302-0000", Some("BS")).0, "+12423020000");
        assert_eq!(read(" \n", None).0, "");
    }

    /// Of territories, toll-free, premium, personal, in use by nobody, and Canada's own.
    const AREA_CODES: [u32; 21] =
        [242, 246, 340, 345, 658, 671, 684, 787, 809, 829, 849, 876, 939, 800, 833, 888, 900, 500, 523, 555, 600];

    /// A number as people of North America write it, or something like one.
    fn some_number() -> impl Strategy<Value = String> {
        let area = prop_oneof![100..1_000_u32, proptest::sample::select(&AREA_CODES[..])];
        let exchange = prop_oneof![4 => 200..1_000_u32, 1 => 0..200_u32];
        let extension =
            prop_oneof![3 => Just(""), 1 => Just(" x12"), 1 => Just(" ext. 4"), 1 => Just("0"), 1 => Just(" 5")];
        (area, exchange, 0..10_000_u32, 0..7_usize, extension).prop_map(|(area, exchange, line, form, extension)| {
            let number = match form {
                0 => format!("+1{area}{exchange:03}{line:04}"),
                1 => format!("+1 ({area}) {exchange:03}-{line:04}"),
                2 => format!("({area}) {exchange:03}-{line:04}"),
                3 => format!("1-{area}-{exchange:03}-{line:04}"),
                4 => format!("{exchange:03}-{line:04}"),
                5 => format!("001 {area} {exchange:03} {line:04}"),
                _ => format!("+1 {area} {exchange:03} {line:03}"),
            };
            number + extension
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_north_american_number_is_what_the_library_makes_of_it(
            text in some_number(),
            region in proptest::sample::select(&[Some("US"), Some("CA"), Some("BS"), None][..]),
        ) {
            let code = region.map(|code| Region::parse(code).expect("a region"));
            let number = rlibphonenumber::PhoneNumber::parse(&text, code.map(|code| code.0));
            let valid = number.ok().filter(rlibphonenumber::PhoneNumber::is_valid);
            prop_assert_eq!(Phone::is_valid(&text, code), valid.is_some());
            let expected = valid.map_or((text.clone(), None), |number| {
                let e164 = number.format_as(rlibphonenumber::PhoneNumberFormat::E164).into_owned();
                (e164, number.extension)
            });
            prop_assert_eq!(read(&text, region), expected);
        }
    }

    #[test]
    fn an_extension_is_not_lost() {
        assert_eq!(read("+1 503 555 0199 x12", None), ("+15035550199".to_owned(), Some("12".to_owned())));
    }

    #[test]
    fn a_region_has_telephones() {
        assert!(Region::parse("US").is_ok());
        for bad in ["", "us", "USA", "001", "XX", "ZZ"] {
            assert!(Region::parse(bad).is_err(), "{bad}");
        }
    }
}

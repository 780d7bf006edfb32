//! Tokens of a site: only the SHA-256 of each is written down.

use std::ops::Range;

use jiff::civil::Date;
use sha2::{Digest as _, Sha256};
use toml::de::DeValue;

use super::diagnostic::Severity;
use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::recurring::{Recurring, RecurringKind};
use super::snapshot::Token;

pub(super) const KEYS: KnownKeys = KnownKeys {
    table: "a token",
    about: "An item of a site's `tokens`.",
    keys: &[
        Key::new("sha256", KeyShape::Text("64 hexadecimal digits"), "The SHA-256 of the token.").required(),
        Key::new("note", KeyShape::Text("string"), "What it is for, for people."),
        Key::new(
            "expires",
            KeyShape::Date,
            "The last day (UTC) on which it is valid. Without it the token is valid until it is removed.",
        ),
    ],
};

/// How long before a token's last day it is warned of.
const EXPIRES_SOON_DAYS: i32 = 14;

/// A token and the location of its hash.
#[derive(Clone)]
pub(super) struct PlacedToken {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

/// Compiles a site's `tokens`.
pub(super) fn list(value: &Value<'_>, site: &str, today: Date) -> Option<Vec<PlacedToken>> {
    let tokens = value.list_of(|item| match item.inner() {
        DeValue::String(text) => {
            item.error("write a token as a table with its SHA-256, never the token itself", Some(&cure(text, site)));
            None
        }
        _ => compile(&item.table(KEYS)?, site, today),
    })?;
    for (index, token) in tokens.iter().enumerate() {
        if tokens.iter().take(index).any(|other| other.token.sha256 == token.token.sha256) {
            let recurring = Recurring { kind: RecurringKind::RepeatedToken, subject: site.to_owned() };
            let span = Some(token.span.clone());
            let message = "this token is listed twice";
            value.file().report_recurring(Severity::Warning, span, recurring, message, Some("remove one of the two"));
        }
    }
    Some(tokens)
}

fn compile(table: &Table<'_>, site: &str, today: Date) -> Option<PlacedToken> {
    let sha256 = table.need("sha256", |value| {
        let text = value.text()?;
        let hash = from_hex(text);
        if hash.is_none() {
            value.error("`sha256` must be 64 hexadecimal digits", Some(&cure(text, site)));
        }
        Some((hash?, value.span()))
    });
    let note = table.read("note", |value| value.text().map(str::to_owned));
    let expires = table.read("expires", |value| last_day(value, site, today));
    let (sha256, span) = sha256?;
    Some(PlacedToken { token: Token { sha256, note: note?, expires: expires? }, span })
}

fn last_day(value: &Value<'_>, site: &str, today: Date) -> Option<Date> {
    let date = value.date()?;
    let read = |year: u16, month: u8, day: u8| {
        Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    let Some(last) = read(date.year, date.month, date.day) else {
        value.error("`expires` is not a valid date", None);
        return None;
    };
    let hint = format!("`formgate sites token {site}` makes a new one; the old one works until you remove it");
    let days = (last - today).get_days();
    let warn = |kind, message: &str| {
        let recurring = Recurring { kind, subject: site.to_owned() };
        value.file().report_recurring(Severity::Warning, Some(value.span()), recurring, message, Some(&hint));
    };
    match days {
        _ if last < today => warn(RecurringKind::TokenExpired, "this token has expired, so posts with it are refused"),
        0 => warn(RecurringKind::TokenExpires, "this token expires today"),
        1 => warn(RecurringKind::TokenExpires, "this token expires tomorrow"),
        2..=EXPIRES_SOON_DAYS => warn(RecurringKind::TokenExpires, &format!("this token expires in {days} days")),
        _ => {}
    }
    Some(last)
}

/// Tells what to write instead: the hash of what looks like a token, else how to make one.
fn cure(text: &str, site: &str) -> String {
    if !text.starts_with("fg_") {
        return format!("`formgate sites token {site}` makes a token and writes this line for you");
    }
    format!("write {{ sha256 = \"{}\" }}", hex::encode(Sha256::digest(text.as_bytes())))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits_of_either_case() {
        assert_eq!(from_hex(&"aB".repeat(32)), Some([0xab; 32]));
        for bad in ["", "ab", &"g0".repeat(32), &"+a".repeat(32), &"ab".repeat(33)] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_in_the_clear_is_told_its_hash() {
        assert!(
            cure("fg_x", "a").contains("10dfbfa4f78785fe8a0765ad492befccaab9724e208e720b024c85a8b6e30878"),
            "{}",
            cure("fg_x", "a")
        );
        assert!(cure("x", "acme").contains("formgate sites token acme"));
    }
}

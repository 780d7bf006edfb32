//! E-mail addresses.

use super::MailAddress;
use crate::config::reader::Value;
use crate::lead::Email;

/// Most addresses of one sink: each gets a mail of its own.
const ADDRESSES_MAX: usize = 20;

/// Reads `email`: one address or several, each once.
pub(super) fn list(value: &Value<'_>) -> Option<Vec<MailAddress>> {
    let mut addresses = value.one_or_more(address)?;
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        let hint = "a list at your mail provider reaches more people";
        value.error(&format!("`email` must have 1 to {ADDRESSES_MAX} addresses"), Some(hint));
        return None;
    }
    let count = addresses.len();
    addresses.sort();
    addresses.dedup();
    if addresses.len() < count {
        value.warn("`email` has an address twice; it gets one mail", None);
    }
    Some(addresses)
}

/// Reads an address by the rule of leads' e-mails. No message repeats it.
pub(super) fn address(value: &Value<'_>) -> Option<MailAddress> {
    let text = value.text()?;
    match Email::parse(text) {
        Ok(email) => Some(MailAddress(email.as_str().to_owned())),
        Err(invalid) => {
            let has_name = text.contains(['<', '>', '"']);
            let hint = has_name.then_some("write the address alone, without a name: \"owner@acme.example\"");
            value.error(&format!("`{}` {invalid}", value.key()), hint);
            None
        }
    }
}

//! Values a machine wrote, made readable: JSON in a text, and PHP's `serialize` format.

use std::borrow::Cow;

use serde_json::Value;

use crate::decode::json_value;

/// Longest value that is looked into, in bytes; deepest nesting that is followed.
const LOOK_MAX: usize = 65_536;
const DEPTH_MAX: usize = 8;

/// Writes a value that is itself JSON or PHP-serialised as a person would; any other stays as it is.
pub(super) fn readable(value: &str) -> Cow<'_, str> {
    let text = parse(value.trim()).map(|tree| written(&tree, 0)).filter(|text| !text.is_empty());
    text.map_or(Cow::Borrowed(value), Cow::Owned)
}

fn parse(text: &str) -> Option<Value> {
    if text.len() > LOOK_MAX {
        return None;
    }
    if text.starts_with(['[', '{']) {
        return json_value(text);
    }
    if text.starts_with("a:") {
        let mut reader = PhpReader { rest: text };
        return reader.value(0).filter(|_| reader.rest.is_empty());
    }
    None
}

/// Lists are joined by commas, records are `name: value` joined by commas, records in a list by semicolons.
fn written(tree: &Value, depth: usize) -> String {
    let join = |parts: Vec<String>, with: &str| {
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(with)
    };
    match tree {
        _ if depth > DEPTH_MAX => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Array(items) => {
            let nested = items.iter().any(|item| item.is_array() || item.is_object());
            join(items.iter().map(|item| written(item, depth + 1)).collect(), if nested { "; " } else { ", " })
        }
        Value::Object(members) => {
            let lines = members.iter().map(|(name, member)| (name, written(member, depth + 1)));
            join(
                lines.filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}: {text}")).collect(),
                ", ",
            )
        }
        _ => String::new(),
    }
}

/// Reads what PHP's `serialize` writes for arrays of plain values
/// (<https://www.php.net/manual/en/function.serialize.php>).
struct PhpReader<'a> {
    rest: &'a str,
}

impl<'a> PhpReader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(rest) = self.rest.strip_prefix("N;") {
            self.rest = rest;
            return Some(Value::Null);
        }
        let (kind, rest) = self.rest.split_once(':')?;
        self.rest = rest;
        match kind {
            "s" => self.text().map(Value::String),
            "i" | "d" => self.until(';').map(|digits| Value::String(digits.to_owned())),
            "b" => self.until(';').map(|digit| Value::Bool(digit == "1")),
            "a" => self.array(depth),
            _ => None,
        }
    }

    /// The length counts bytes.
    fn text(&mut self) -> Option<String> {
        let length: usize = self.until(':')?.parse().ok()?;
        let inner = self.rest.strip_prefix('"')?;
        let text = inner.get(..length)?;
        self.rest = inner.get(length..)?.strip_prefix("\";")?;
        Some(text.to_owned())
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let length: usize = self.until(':')?.parse().ok()?;
        self.rest = self.rest.strip_prefix('{')?;
        let mut members = serde_json::Map::new();
        for _ in 0..length {
            let Value::String(name) = self.value(depth + 1)? else { return None };
            members.insert(name, self.value(depth + 1)?);
        }
        self.rest = self.rest.strip_prefix('}')?;
        let counted = members.keys().enumerate().all(|(index, name)| *name == index.to_string());
        Some(if counted { members.into_values().collect() } else { Value::Object(members) })
    }

    fn until(&mut self, end: char) -> Option<&'a str> {
        let (before, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_written_values_become_readable() {
        for (value, expected) in [
            (r#"["Kitchen","Bath"]"#, "Kitchen, Bath"),
            (r#"[{"Item":"Tap, chrome","Qty":"2"},{"Item":"Sink","Qty":""}]"#, "Item: Tap, chrome, Qty: 2; Item: Sink"),
            (r#"a:1:{i:0;a:2:{s:4:"Item";s:11:"Tap, chrome";s:3:"Qty";s:1:"2";}}"#, "Item: Tap, chrome, Qty: 2"),
            (r#"a:2:{i:0;s:2:"é";i:1;b:1;}"#, "é, yes"),
            ("[not json", "[not json"),
            ("a: list of things", "a: list of things"),
            (r#"a:1:{i:0;s:99:"short";}"#, r#"a:1:{i:0;s:99:"short";}"#),
            ("[]", "[]"),
            (r#"[1e5, 050]"#, "[1e5, 050]"),
            (r#"[1E5, 0.50]"#, "1E5, 0.50"),
            ("plain", "plain"),
        ] {
            assert_eq!(readable(value), expected, "{value}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}{}", "a:1:{i:0;".repeat(5_000), "}".repeat(5_000));
        assert_eq!(readable(&deep), deep);
    }
}

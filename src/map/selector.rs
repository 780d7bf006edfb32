//! Selectors: how a mapping names a value, by JSONPath or by a field's key or label.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// Longest selector, in bytes: evaluation takes time polynomial in it.
pub const SELECTOR_MAX: usize = 512;

/// A JSONPath (RFC 9535), parsed once.
#[derive(Clone, Debug)]
pub struct Path {
    source: String,
    query: JpQuery,
}

/// How a mapping names a value.
#[derive(Clone, Debug)]
pub enum Selector {
    /// Begins with `$`: the nodes of the document it gives.
    Path(Path),
    /// Anything else: a field by its key, or its label, or either with case, accents and punctuation aside.
    Field(String),
}

/// Why text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {SELECTOR_MAX} bytes")]
    TooLong,
    #[error("has more than one `..`; each multiplies the time it takes")]
    Descents,
    #[error("is no JSONPath: {message}")]
    Syntax {
        message: String,
        /// Where in the selector, in bytes, if known.
        offset: Option<usize>,
    },
}

impl Path {
    /// Parses a JSONPath of at most [`SELECTOR_MAX`] bytes and one `..`.
    pub fn parse(source: &str) -> Result<Self, SelectorError> {
        if source.len() > SELECTOR_MAX {
            return Err(SelectorError::TooLong);
        }
        let query = parse_json_path(source).map_err(|error| syntax_error(&error))?;
        if descents(&query) > 1 {
            return Err(SelectorError::Descents);
        }
        Ok(Self { source: source.to_owned(), query })
    }

    /// Returns the nodes it gives, with the normalized path of each (RFC 9535 §2.7).
    pub(super) fn nodes<'a>(&self, document: &'a Value) -> Vec<(String, &'a Value)> {
        // An evaluation error can only mean that nothing was selected; its text holds the visitor's values.
        js_path_process(&self.query, document)
            .map(|nodes| nodes.into_iter().map(|node| (node.path, node.val)).collect())
            .unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl Selector {
    /// Parses a selector as it stands in TOML.
    pub fn parse(source: &str) -> Result<Self, SelectorError> {
        match source {
            "" => Err(SelectorError::Empty),
            _ if source.starts_with('$') => Path::parse(source).map(Self::Path),
            _ => Self::field(source),
        }
    }

    /// Names a field, whatever it begins with.
    pub fn field(name: &str) -> Result<Self, SelectorError> {
        match name.len() {
            0 => Err(SelectorError::Empty),
            1..=SELECTOR_MAX => Ok(Self::Field(name.to_owned())),
            _ => Err(SelectorError::TooLong),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path.as_str(),
            Self::Field(name) => name,
        }
    }
}

/// Counts descendant segments, those inside filters too: the printed query shows each as `..`.
fn descents(query: &JpQuery) -> usize {
    // A `..` inside a quoted name would count as well; such a name can be given as a field instead.
    query.to_string().matches("..").count()
}

fn syntax_error(error: &jsonpath_rust::parser::errors::JsonPathError) -> SelectorError {
    use jsonpath_rust::parser::errors::JsonPathError::PestError;
    match error {
        PestError(pest) => {
            let offset = match pest.location {
                pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
            };
            SelectorError::Syntax {
                message: format!("unexpected text at character {}", offset + 1),
                offset: Some(offset),
            }
        }
        other => SelectorError::Syntax { message: other.to_string(), offset: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_bounded() {
        assert!(Path::parse("$..value").is_ok());
        assert_eq!(Path::parse("$..a..b").err(), Some(SelectorError::Descents));
        assert_eq!(Path::parse("$[?@..a][?@..b]").err(), Some(SelectorError::Descents));
        let long = format!("$.{}", "a".repeat(SELECTOR_MAX));
        assert_eq!(Path::parse(&long).err(), Some(SelectorError::TooLong));
        assert_eq!(Selector::parse("").err(), Some(SelectorError::Empty));
    }

    #[test]
    fn a_broken_path_says_where() {
        let error = Path::parse("$.a[").expect_err("no path");
        assert!(matches!(error, SelectorError::Syntax { offset: Some(3..=4), .. }), "{error:?}");
    }

    #[test]
    fn a_node_comes_with_its_normalized_path() {
        let document = serde_json::json!({"a": [{"it's": 1}]});
        let path = Path::parse("$.a[0]['it\\'s']").expect("a path");
        let nodes = path.nodes(&document);
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].0, r"$['a'][0]['it\'s']");
    }
}

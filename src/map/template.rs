//! Templates: text with `{{ selector }}` placeholders.

use super::mapping::{Template, TemplatePiece};
use super::selector::{Selector, SelectorError};

/// Why text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has a {{{{ without its }}}}")]
    Unclosed { offset: usize },
    #[error("has a placeholder that {source}")]
    Selector {
        offset: usize,
        #[source]
        source: SelectorError,
    },
}

impl Template {
    /// Parses a template; offsets in errors are bytes of the text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut offset = 0;
        let mut lines = Vec::new();
        for line in text.split('\n') {
            lines.push(parse_line(line, offset)?);
            offset += line.len() + 1;
        }
        Ok(Self { lines })
    }

    /// Fills the template; a line whose placeholders are all empty is left out.
    ///
    /// A value is text and is never expanded again.
    pub(super) fn fill<'a>(&self, mut value: impl FnMut(&Selector) -> &'a str) -> String {
        let lines = self.lines.iter().filter_map(|pieces| fill_line(pieces, &mut value));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn parse_line(mut line: &str, mut offset: usize) -> Result<Vec<TemplatePiece>, TemplateError> {
    let mut pieces = Vec::new();
    while let Some((text, rest)) = line.split_once("{{") {
        let at = offset + text.len();
        let (inner, after) = rest.split_once("}}").ok_or(TemplateError::Unclosed { offset: at })?;
        let selector =
            Selector::parse(inner.trim()).map_err(|source| TemplateError::Selector { offset: at, source })?;
        pieces.push(TemplatePiece::Text(text.to_owned()));
        pieces.push(TemplatePiece::Value(selector));
        offset = at + inner.len() + 4;
        line = after;
    }
    pieces.push(TemplatePiece::Text(line.to_owned()));
    Ok(pieces)
}

fn fill_line<'a>(pieces: &[TemplatePiece], value: &mut impl FnMut(&Selector) -> &'a str) -> Option<String> {
    let mut line = String::new();
    let mut placeholders = 0;
    let mut filled = 0;
    for piece in pieces {
        match piece {
            TemplatePiece::Text(text) => line.push_str(text),
            TemplatePiece::Value(selector) => {
                let value = value(selector);
                placeholders += 1;
                filled += usize::from(!value.trim().is_empty());
                line.push_str(value);
            }
        }
    }
    (placeholders == 0 || filled > 0).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str) -> String {
        Template::parse(template).expect("a template").fill(|selector| match selector.as_str() {
            "a" => "{{ b }}",
            "$.b" => "B\nb",
            _ => "",
        })
    }

    #[test]
    fn a_line_whose_placeholders_are_all_empty_is_left_out() {
        assert_eq!(fill("{{ a }}\n\nBudget: {{ none }}\n{{none}}{{ $.b }}!"), "{{ b }}\n\nB\nb!");
    }

    #[test]
    fn a_value_is_never_expanded_again() {
        assert_eq!(fill("{{a}}"), "{{ b }}");
    }

    #[test]
    fn a_broken_placeholder_says_where() {
        assert_eq!(Template::parse("x\nab{{ c").err(), Some(TemplateError::Unclosed { offset: 4 }));
        assert!(matches!(
            Template::parse("{{ $[ }}").err(),
            Some(TemplateError::Selector { offset: 0, source: SelectorError::Syntax { .. } })
        ));
    }
}

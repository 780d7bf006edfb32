//! The fields of a form or a query, by name.

/// Fields in the order in which they came. No `Debug`: they may be a visitor's.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn new(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// Reads a query; what can't be read has no fields.
    pub(super) fn of_query(query: &str) -> Self {
        Self(serde_urlencoded::from_str(query).unwrap_or_default())
    }

    /// Returns the first value of a name; none where it is empty.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a name, though it be empty.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a name that aren't empty.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Writes a path with a query of what isn't empty.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    match serde_urlencoded::to_string(&pairs) {
        Ok(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_queries_leave_out_what_is_empty() {
        let fields = Fields::of_query("id=a&id=&id=b&text=&state=held");
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((fields.one("text"), fields.raw("text"), fields.raw("none")), (None, Some(""), None));
        assert_eq!(with_query("/x", &[("a", ""), ("b", "1&2"), ("c", "ö")]), "/x?b=1%262&c=%C3%B6");
        assert_eq!(with_query("/x", &[("a", "")]), "/x");
    }
}

//! From a Submission to a Draft: the plugin is recognised and its mapping's selectors are applied.
//!
//! Pure. No plugin is named here: what is known of each stands in `mappings/*.toml`.

mod glob;

mod mapping;

mod selector;

mod template;

pub use glob::Glob;
pub use mapping::{
    Condition, Example, Expect, ExtrasRule, FieldsRule, FormRule, HoldRule, LeadRule, LeadRules, Mapping, OnInvalid,
    Source, Template, ValuesRule,
};
pub use selector::{Path, SELECTOR_MAX, Selector, SelectorError};
pub use template::TemplateError;

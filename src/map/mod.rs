//! From a Submission to a Draft: the plugin is recognised and its mapping's selectors are applied.
//!
//! Pure. No plugin is named here: what is known of each stands in `mappings/*.toml`.

mod auto;

mod combine;

mod condition;

mod describe;

mod dictionary;

mod draft;

mod extras;

mod fate;

mod fold;

mod form_field;

mod found_by;

mod glob;

mod mapping;

mod readable;

mod selector;

mod shape;

mod template;

mod texts;

mod view;

pub use auto::Guess;
pub use combine::CombineRules;
pub use condition::Facts;
pub use dictionary::{Dictionary, Role};
pub use draft::{FormFacts, Look, Mapped, Rules, apply};
pub use fate::{Fate, LeadFields};
pub use form_field::FormField;
pub use found_by::FoundBy;
pub use glob::{Glob, Globs};
pub use mapping::{
    CombineRule, Condition, DropRule, Example, Expect, ExtrasRule, ExtrasTo, FieldsRule, FormRule, HoldRule,
    InvalidKeyPattern, KeyPattern, LeadRule, LeadRules, Mapping, OnInvalid, Source, Template, Told, ValuesRule,
};
pub use selector::{FieldName, Path, SELECTOR_MAX, Selector, SelectorError};
pub use template::TemplateError;

//! From a Submission to a Draft: the plugin is recognised and its mapping's selectors are applied.
//!
//! Pure. No plugin is named here: what is known of each stands in `mappings/*.toml`.

mod auto;

mod campaign;

mod combine;

mod condition;

mod copies;

mod describe;

mod draft;

mod extras;

mod fate;

mod fold;

mod form_field;

mod found_by;

mod glob;

mod heard;

mod kind;

mod mapping;

mod markup;

mod noise;

mod phone_parts;

mod readable;

mod selector;

mod senses;

mod setup;

mod shape;

mod shapes;

mod template;

mod test_lead;

mod texts;

mod view;

mod words;

pub use auto::{Candidate, Guess, Score, ScoreReason};
pub use combine::CombineRules;
pub use condition::Facts;
pub use draft::{FormFacts, Mapped, MappingView, Rules, apply};
pub use fate::{Fate, LeadFields};
pub use form_field::FormField;
pub use found_by::FoundBy;
pub use glob::{Glob, Globs};
pub use mapping::{
    CombineRule, Condition, DropRule, Example, Expect, ExtrasRule, ExtrasTo, FieldsRule, FormRule, HoldRule,
    InvalidKeyPattern, KeyPattern, LabelSource, LeadRule, LeadRules, Mapping, OnInvalid, Source, Template, ValuesRule,
};
pub use selector::{FieldName, Path, SELECTOR_MAX, Selector, SelectorError};
pub use senses::{KnownField, Senses};
pub use setup::{SETUP_WORDS, SetupStep, SetupValues, UnknownSetupWord};
pub use shapes::{Shape, Shapes};
pub use template::TemplateError;
pub use words::{Concept, Dictionary, LanguageWords, Owner, Role, Sense};

//! The mappings that are compiled into the program, in the language that users write: each file of `mappings/`.

/// Name and text of each mapping, sorted by name.
pub(super) const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mappings.rs"));

//! The mappings that are compiled into the program, in the language that users write.

/// Name and text of each mapping.
pub(super) const SHIPPED: [(&str, &str); 6] = [
    ("contact-form-7", include_str!("../../mappings/contact-form-7.toml")),
    ("elementor", include_str!("../../mappings/elementor.toml")),
    ("generic", include_str!("../../mappings/generic.toml")),
    ("gravity-forms", include_str!("../../mappings/gravity-forms.toml")),
    ("kaicalls", include_str!("../../mappings/kaicalls.toml")),
    ("wpforms", include_str!("../../mappings/wpforms.toml")),
];

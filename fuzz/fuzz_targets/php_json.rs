#![no_main]

use formgate::pipeline::php_json;

// Anybody may send a form with a signature on it: what PHP would have signed is JSON, or nothing is compared.
libfuzzer_sys::fuzz_target!(|form: &[u8]| {
    for text in php_json(form) {
        // PHP takes deeper nesting and larger numbers than serde_json does by default.
        let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
        assert!(read.is_ok_and(|value| !value.is_null()), "not JSON: {text}");
    }
});

#![no_main]

mod submission;

libfuzzer_sys::fuzz_target!(|body: &[u8]| submission::run("application/x-www-form-urlencoded", body));

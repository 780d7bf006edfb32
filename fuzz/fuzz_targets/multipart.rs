#![no_main]

mod submission;

// The boundary of every seed is written alike (scripts/fuzz), so that the fuzzer need not guess it.
libfuzzer_sys::fuzz_target!(|body: &[u8]| submission::run("multipart/form-data; boundary=B", body));

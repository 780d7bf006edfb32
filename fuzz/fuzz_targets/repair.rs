#![no_main]

mod submission;

// Text that begins as JSON and is none is mended.
libfuzzer_sys::fuzz_target!(|rest: &[u8]| {
    let mut body = b"{\"".to_vec();
    body.extend_from_slice(rest);
    submission::run("text/plain", &body);
});

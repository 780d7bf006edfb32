#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use formgate::config::{self, Sources};

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("mappings")).expect("a folder for mappings");
    std::fs::write(folder.path().join("config.toml"), "").expect("a configuration");
    folder
});

// An operator's mapping may be anything: it is refused with words that can be shown, or it compiles.
libfuzzer_sys::fuzz_target!(|mapping: &[u8]| {
    let path: PathBuf = FOLDER.path().join("mappings/fuzzed.toml");
    std::fs::write(&path, mapping).expect("a mapping file");
    let today = jiff::civil::date(2026, 11, 21);
    let loaded = config::load(&FOLDER.path().join("config.toml"), &Sources::with_environment([]), today);
    assert_eq!(loaded.broken_mappings.is_empty(), !loaded.diagnostics.prevent_serving(), "a broken mapping is reported");
    let _shown = loaded.diagnostics.render(false);
});

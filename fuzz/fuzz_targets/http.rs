#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use formgate::app::{self, Running};
use formgate::config::{self, Config, Sources};
use formgate::queue::memory::MemoryStore;
use tokio::runtime::Runtime;

/// After so many inputs a gateway begins anew: its store is in memory.
const INPUTS_MAX: u32 = 10_000;

/// The token of the seeds is `fg_` and 43 zeros (scripts/fuzz).
const SITE: &str = r#"
    [server]
    listen = "127.0.0.1:0"
    [admin]
    listen = "127.0.0.1:0"
    [limits]
    gateway = { rate = "60000000/min", burst = 1000000 }
    client = { rate = "60000000/min", burst = 1000000 }
    [[site]]
    id = "acme"
    deliver = false
    public_key = "wp_pk_fuzz"
    secret_key = "wp_sk_fuzz"
    tokens = [{ sha256 = "@" }]
"#;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static GATEWAY: Mutex<Option<(Running, u32)>> = Mutex::new(None);

fn config() -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, SITE.replace('@', SHA256_OF_THE_TOKEN)).expect("a configuration");
    let loaded = config::load(&file, &Sources::with_environment([]), jiff::civil::date(2026, 11, 21));
    loaded.config.expect("a sound configuration")
}

fn address() -> SocketAddr {
    let mut gateway = GATEWAY.lock().expect("one input at a time");
    let (running, inputs) = gateway.take().filter(|(_, inputs)| *inputs < INPUTS_MAX).unwrap_or_else(|| {
        let _inside = RUNTIME.enter();
        let store = Arc::new(MemoryStore::default());
        (app::start_on(config(), store).expect("a gateway"), 0)
    });
    let address = *running.gateway().first().expect("an address");
    *gateway = Some((running, inputs + 1));
    address
}

// Whatever comes over the wire is answered in HTTP or not at all, in time, and never as the gateway's own fault.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut stream = TcpStream::connect(address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    // It may have refused the beginning and closed.
    drop(stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "neither answered nor closed");
    }
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "no HTTP: {}", String::from_utf8_lossy(&answer));
    assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
});

const SHA256_OF_THE_TOKEN: &str = "6e7d0923a6ddf5d98fd7a6af44f85ff11f5acf6543a0d5633d5a40ab4473fcd0";

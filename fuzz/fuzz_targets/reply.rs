#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use formgate::destination::{BaseUrl, KeyPair, Secret};
use formgate::kaicalls::{Client, Options, Reply};
use formgate::lead::{EntryId, Lead};
use tokio::runtime::Runtime;

const EMAIL: &str = "jane.roe@example.org";
const WORDS_MAX: usize = 300;

static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    let base_url = BaseUrl::parse(&format!("http://{address}")).expect("a URL");
    let _inside = RUNTIME.enter();
    Client::new(Options { timeout: Duration::from_secs(5), ..Options::new(base_url) }).expect("a client")
});

/// Reads a request to its end and answers with the input.
fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.ends_with(b"}") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&chunk[..read]),
        }
    }
    let bytes = ANSWER.lock().expect("one input at a time").clone();
    drop(stream.write_all(&bytes));
}

// Whatever KaiCalls, or something in its place, answers: its words are short and repeat nothing of the lead.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    *ANSWER.lock().expect("one input at a time") = bytes.to_vec();
    let lead: Lead = serde_json::from_value(serde_json::json!({
        "name": "Jane Roe", "email": EMAIL, "message": "Please call me back",
    }))
    .expect("a lead");
    let keys = KeyPair::new("wp_pk_fuzz", &Secret::new("wp_sk_fuzz".to_owned())).expect("keys");
    let reply = RUNTIME.block_on(CLIENT.intake(&keys, &lead, EntryId::new(0, &[0; 10]), None));
    if let Reply::Answered(answer) = reply {
        let words = answer.words.unwrap_or_default();
        assert!(words.chars().count() <= WORDS_MAX && !words.contains(EMAIL), "{words}");
    }
});

//! A connection that is cut in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Where the next statement is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// The server carries it out, and its answer is lost.
    Answer = 1,
    /// It doesn't reach the server.
    Statement = 2,
}

/// What an append has in it.
const INSERT: &[u8] = b"INSERT INTO formgate.entry";
/// How long a statement takes at most that the server carries out unheard.
const CARRIED_OUT: Duration = Duration::from_millis(500);

/// Stands between a store and its server.
pub(super) struct Proxy {
    port: u16,
    next: Arc<AtomicU8>,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let next = Arc::<AtomicU8>::default();
        let cuts = Arc::<AtomicUsize>::default();
        let armed = Arc::clone(&next);
        let counted = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                tokio::spawn(pass(client, server, Arc::clone(&armed), Arc::clone(&counted)));
            }
        });
        Self { port, next, cuts }
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://formgate@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next statement that writes an entry.
    pub(super) fn cut(&self, cut: Cut) {
        self.next.store(cut as u8, Ordering::SeqCst);
    }

    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, next: Arc<AtomicU8>, cuts: Arc<AtomicUsize>) {
    let mut asked = vec![0; 1 << 16];
    let mut answered = vec![0; 1 << 16];
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let is_append = asked[..read].windows(INSERT.len()).any(|bytes| bytes == INSERT);
                let cut = if is_append { next.swap(0, Ordering::SeqCst) } else { 0 };
                if cut != 0 {
                    cuts.fetch_add(1, Ordering::SeqCst);
                }
                if cut == Cut::Statement as u8 {
                    return;
                }
                server.write_all(&asked[..read]).await.expect("passed on");
                if cut == Cut::Answer as u8 {
                    // The rest of the statement has to get there.
                    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(CARRIED_OUT, client.read(&mut asked)).await {
                        server.write_all(&asked[..read]).await.expect("passed on");
                    }
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

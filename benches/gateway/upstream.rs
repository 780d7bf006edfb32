//! KaiCalls' API as far as a lead needs it: it counts what it takes, and answers at once or after a while.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::Outcome;
use crate::wire::message_end;

const TAKEN: &str = r#"{"success":true,"leadId":"lead_0001"}"#;

/// The server; it ends with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    taken: Cell<u64>,
    takes: Cell<Duration>,
}

impl Upstream {
    pub(crate) async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Rc::<State>::default();
        let serving = Rc::clone(&state);
        drop(spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Rc::clone(&serving);
                drop(spawn_local(async move { serve(stream, &state).await }));
            }
        }));
        Ok(Self { address, state })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.state.taken.get()
    }

    /// Lets each lead take so long.
    pub(crate) fn set_delay(&self, takes: Duration) {
        self.state.takes.set(takes);
    }
}

/// Serves one connection to its end, whatever that is.
async fn serve(mut stream: TcpStream, state: &State) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", TAKEN.len());
    let answer = format!("{head}{TAKEN}");
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        let end = loop {
            if let Some(end) = message_end(&buffer) {
                break end;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        buffer.drain(..end);
        if !state.takes.get().is_zero() {
            tokio::time::sleep(state.takes.get()).await;
        }
        state.taken.set(state.taken.get() + 1);
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

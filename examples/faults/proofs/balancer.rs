//! A balancer of TCP connections: in turn over the gateways, the next where one can't be connected to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A balancer that runs until it is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Balancer {
    pub(crate) async fn start(gateways: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            while let Ok((client, _)) = listener.accept().await {
                let first = turn.fetch_add(1, Ordering::Relaxed);
                let gateways = gateways.clone();
                drop(tokio::spawn(async move { pass_on(client, &gateways, first).await }));
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Joins a client to the first gateway that takes it; where none does, its connection ends without an answer.
async fn pass_on(mut client: TcpStream, gateways: &[SocketAddr], first: usize) {
    for at in 0..gateways.len() {
        let Some(gateway) = gateways.get((first + at) % gateways.len()) else { return };
        if let Ok(mut gateway) = TcpStream::connect(gateway).await {
            for stream in [&client, &gateway] {
                stream.set_nodelay(true).unwrap_or_default();
            }
            // Whichever side ends or fails, so does the other.
            copy_bidirectional(&mut client, &mut gateway).await.map(drop).unwrap_or_default();
            return;
        }
    }
}

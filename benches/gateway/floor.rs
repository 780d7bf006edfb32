//! The least that it can be: pingora answering every post alike, and the same once the body lies in a file, synced with
//! those that came meanwhile. Each is a process of its own, this program under another name.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use tokio::sync::oneshot;

use crate::Outcome;

/// Most bodies that are synced together.
const BATCH: usize = 512;

struct Floor {
    file: Option<Mutex<Sender<Append>>>,
}

struct Append {
    body: Bytes,
    done: oneshot::Sender<()>,
}

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr, file: Option<&Path>) -> Outcome<()> {
    let file = file.map(|file| OpenOptions::new().create(true).append(true).open(file)).transpose()?;
    let file = file.map(|file| {
        let (sender, receiver) = channel();
        drop(thread::spawn(move || append(file, &receiver)));
        Mutex::new(sender)
    });
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = Service::new("floor".to_owned(), Floor { file });
    service.add_tcp(&address.to_string());
    server.bootstrap();
    server.add_service(service);
    server.run_forever()
}

/// Writes and syncs what has come, and tells who waits.
fn append(mut file: File, waiting: &Receiver<Append>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(BATCH - 1));
        let bytes: Vec<u8> = batch.iter().flat_map(|append| append.body.iter().copied()).collect();
        if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
            return;
        }
        // Who has gone away need not be told.
        batch.into_iter().for_each(|append| append.done.send(()).unwrap_or_default());
    }
}

#[async_trait]
impl ServeHttp for Floor {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = session.read_request_body().await {
            body.extend_from_slice(&chunk);
        }
        let status = match &self.file {
            None => 200,
            Some(file) => {
                let (done, is_done) = oneshot::channel();
                let is_sent = file.lock().send(Append { body: body.into(), done }).is_ok();
                if is_sent && is_done.await.is_ok() { 200 } else { 503 }
            }
        };
        let body = br#"{"success":true,"id":"01980000-0000-7000-8000-000000000000","status":"queued"}"#.to_vec();
        let answer = Response::builder().status(status).header("content-type", "application/json");
        answer.header("content-length", body.len()).body(body).unwrap_or_default()
    }
}

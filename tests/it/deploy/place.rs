//! A gateway whose configuration is the one on the page, with a site, and KaiCalls.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Child;

use super::front::Server;
use super::page::{Piece, shown};
use crate::faults::proofs::gateway::free_address;
use crate::gateway::{self, TOKEN, status};
use crate::process;
use crate::scripted_api::ScriptedApi;

pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
    pub(super) api: ScriptedApi,
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
    /// None while it is down.
    child: Option<Child>,
}

impl Place {
    /// Starts the gateway that the page of a server describes.
    pub(super) async fn open(server: Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let api = ScriptedApi::start().await;
        let gateway = free_address().expect("a port");
        let admin = free_address().expect("a port");
        let shown = shown(server.page(), "toml");
        assert_eq!(shown.len(), 1, "{}: one configuration of formgate", server.page());
        let mut config = Piece::new(&shown[0]);
        config
            .put("127.0.0.1:8080", &gateway.to_string())
            .put("127.0.0.1:8081", &admin.to_string())
            .put("/var/lib/formgate", &folder.path().join("data").display().to_string());
        let text = format!("{}{}", config.text(), site(&api.base_url()));
        std::fs::write(folder.path().join("config.toml"), text).expect("written");
        let mut place = Self { folder, api, gateway, admin, child: None };
        place.start().await;
        place
    }

    pub(super) async fn start(&mut self) {
        let (child, address) = process::serve(self.folder.path()).await;
        assert_eq!(address, self.gateway);
        self.child = Some(child);
    }

    pub(super) async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await.expect("killed");
    }

    /// Tells the gateway to remember requests to `/hooks/{name}`.
    pub(super) async fn announce(&self, name: &str) {
        let answer = self.ask("POST", "/api/v1/pings", &json!({ "name": name }).to_string()).await;
        assert_eq!(status(&answer), 200, "{answer}");
    }

    /// Returns for whom the gateway counted each of those requests.
    pub(super) async fn clients(&self, name: &str) -> Vec<String> {
        let answer = gateway::json(&self.ask("GET", &format!("/api/v1/pings/{name}"), "").await);
        let arrivals = answer["arrivals"].as_array().unwrap_or_else(|| panic!("{answer}"));
        arrivals.iter().map(|arrival| arrival["client"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let token = std::fs::read_to_string(self.folder.path().join("data/admin.token")).expect("the admin token");
        let length = body.len();
        let head = format!("Host: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n", self.admin, token.trim());
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        gateway::send(self.admin, request).await
    }

    /// Waits until KaiCalls has a lead with this address.
    pub(super) async fn led(&self, email: &str) -> Value {
        let arrives = async {
            let mut asked = 1;
            loop {
                let requests = self.api.wait_for(asked).await;
                let mut leads = requests.iter().filter(|request| request.path.ends_with("/intake"));
                if let Some(lead) = leads.find(|request| request.json()["email"] == email) {
                    return lead.json();
                }
                asked = requests.len() + 1;
            }
        };
        tokio::time::timeout(PATIENCE, arrives).await.expect("the lead arrives")
    }
}

/// What the pages leave to the operator.
fn site(api: &str) -> String {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "[kaicalls]\nbase_url = \"{api}\"\n[[site]]\nid = \"acme\"\npublic_key = \"wp_pk_acme\"\n\
         secret_key = \"wp_sk_acme\"\ntokens = [{{ sha256 = \"{sha256}\" }}]\n"
    )
}

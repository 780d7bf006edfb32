//! The web servers, each as a process of its own with the configuration from its page.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::page::{Piece, shown};
use super::place::PATIENCE;
use crate::faults::proofs::gateway::free_address;

const CERTIFICATE: &[u8] = include_bytes!("../tls/good.pem");
const KEY: &[u8] = include_bytes!("../tls/server.key");
/// Where systems keep the modules of Apache; Debian first.
const MODULES: [&str; 5] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib/apache2",
    "/opt/homebrew/lib/httpd/modules",
];
/// What a system's Apache loads unasked, unless it is built in; and what the page has a person enable.
const LOADED: [&str; 14] = [
    "mpm_event",
    "log_config",
    "unixd",
    "authz_core",
    "alias",
    "reqtimeout",
    "socache_shmcb",
    "ssl",
    "headers",
    "proxy",
    "proxy_http",
    "slotmem_shm",
    "proxy_balancer",
    "lbmethod_byrequests",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Nginx,
    Caddy,
    Apache,
}

/// A running server. It is one process, so that it ends when this is dropped.
pub(super) struct Front {
    pub(super) folder: tempfile::TempDir,
    pub(super) https: SocketAddr,
    /// Where it would answer without TLS.
    pub(super) http: SocketAddr,
    _process: Child,
}

impl Server {
    pub(super) fn page(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.md",
            Self::Caddy => "caddy.md",
            Self::Apache => "apache.md",
        }
    }

    fn language(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddyfile",
            Self::Apache => "apache",
        }
    }

    /// Returns the program's path: Debian keeps some where only administrators look.
    fn program(self) -> PathBuf {
        let (names, package): (&[&str], _) = match self {
            Self::Nginx => (&["nginx"], "nginx"),
            Self::Caddy => (&["caddy"], "caddy"),
            Self::Apache => (&["apache2", "httpd"], "apache2-bin"),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let mut programs = folders.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
        programs.find(|program| program.is_file()).unwrap_or_else(|| {
            panic!("no {} on this machine: run scripts/setup --test, or apt-get install {package}", names[0])
        })
    }

    /// Starts the server as the page shows it, in front of a gateway.
    pub(super) async fn start(self, gateway: SocketAddr) -> Front {
        let mut piece = Piece::new(&self.shown()[0]);
        piece.put("127.0.0.1:8080", &gateway.to_string());
        self.start_with(piece).await
    }

    /// Starts the server with the piece for several gateways in its place.
    pub(super) async fn start_for_two(self, gateways: [SocketAddr; 2], admin: SocketAddr) -> Front {
        let mut several = Piece::new(&self.shown()[1]);
        several.put("10.0.0.11:8080", &gateways[0].to_string()).put("10.0.0.12:8080", &gateways[1].to_string());
        let mut piece = Piece::new(&self.shown()[0]);
        match self {
            Self::Nginx => piece.put_block("upstream formgate {", "}", several.text()),
            Self::Caddy => {
                several.put("health_port 8081", &format!("health_port {}", admin.port()));
                piece.put_block("(gateways) {", "}", several.text())
            }
            Self::Apache => piece.put_block("ProxyPass ", "ProxyPass ", several.text()),
        };
        self.start_with(piece).await
    }

    fn shown(self) -> Vec<String> {
        let shown = shown(self.page(), self.language());
        assert_eq!(shown.len(), 2, "{}: one configuration, and what replaces a part of it", self.page());
        shown
    }

    async fn start_with(self, mut piece: Piece) -> Front {
        let program = self.program();
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        fs::create_dir(at.join("log")).expect("a folder");
        fs::write(at.join("chain.pem"), CERTIFICATE).expect("written");
        fs::write(at.join("key.pem"), KEY).expect("written");
        let https = free_address().expect("a port");
        let http = free_address().expect("a port");
        let arguments = match self {
            Self::Nginx => write_nginx(&mut piece, at, https, http),
            Self::Caddy => write_caddy(&mut piece, at, https, http),
            Self::Apache => write_apache(&mut piece, at, https, http),
        };
        let console = fs::File::create(at.join("log/console")).expect("a file");
        let process = Command::new(program)
            .args(arguments)
            .current_dir(at)
            .env("HOME", at)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file"))
            .stderr(console)
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let front = Front { folder, https, http, _process: process };
        front.wait().await;
        front
    }
}

impl Front {
    async fn wait(&self) {
        let started = Instant::now();
        while TcpStream::connect(self.https).await.is_err() {
            let said = || fs::read_to_string(self.folder.path().join("log/console")).unwrap_or_default();
            assert!(started.elapsed() < PATIENCE, "it doesn't start:\n{}", said());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Returns how many lines of its logs have these words.
    pub(super) fn logged(&self, words: &str) -> usize {
        let logs = self.written().into_iter().filter(|(path, _)| path.starts_with(self.folder.path().join("log")));
        logs.map(|(_, text)| text.lines().filter(|line| line.contains(words)).count()).sum()
    }

    /// Returns all that the server wrote, by file.
    pub(super) fn written(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    let bytes = fs::read(&path).expect("a file");
                    found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
        found
    }
}

/// The certificate's paths, and the name that it is for.
fn put_names(piece: &mut Piece, at: &Path, [chain, key]: [&str; 2]) {
    piece
        .put(chain, &at.join("chain.pem").display().to_string())
        .put(key, &at.join("key.pem").display().to_string())
        .put("gate.agency.example", "localhost");
}

const LETS_ENCRYPT: [&str; 2] = [
    "/etc/letsencrypt/live/gate.agency.example/fullchain.pem",
    "/etc/letsencrypt/live/gate.agency.example/privkey.pem",
];

/// Around the page's file stands what stands in Debian's nginx.conf, with one process that stays in the foreground.
fn write_nginx(piece: &mut Piece, at: &Path, https: SocketAddr, http: SocketAddr) -> Vec<String> {
    put_names(piece, at, LETS_ENCRYPT);
    let spare = || free_address().expect("a port");
    piece
        .put("listen 443 ssl;", &format!("listen {https} ssl;"))
        .put("listen [::]:443 ssl;", &format!("listen {} ssl;", spare()))
        .put("listen 80;", &format!("listen {http};"))
        .put("listen [::]:80;", &format!("listen {};", spare()))
        .put("/var/log/nginx", &at.join("log").display().to_string())
        .put("/var/www/html", &at.display().to_string());
    fs::write(at.join("formgate.conf"), piece.text()).expect("written");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", at.display()))
        .concat();
    let at = at.display();
    let around = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/log/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n{temporary}access_log {at}/log/access.log;\ninclude {at}/formgate.conf;\n}}\n"
    );
    fs::write(format!("{at}/nginx.conf"), around).expect("written");
    ["-e", "stderr", "-c", &format!("{at}/nginx.conf")].map(str::to_owned).to_vec()
}

/// Caddy would listen on all addresses of this machine, and on a port of its own for reloads.
fn write_caddy(piece: &mut Piece, at: &Path, https: SocketAddr, http: SocketAddr) -> Vec<String> {
    let ports = format!(
        "{{\n\tadmin unix/{}/admin.sock\n\tdefault_bind 127.0.0.1\n\thttps_port {}\n\thttp_port {}\n",
        at.display(),
        https.port(),
        http.port()
    );
    let mut text = Piece::new(piece.text().strip_prefix("{\n").expect("it begins with the options of all sites"));
    text.put("# tls /etc/formgate/", "tls /etc/formgate/");
    put_names(&mut text, at, ["/etc/formgate/chain.pem", "/etc/formgate/key.pem"]);
    fs::write(at.join("Caddyfile"), ports + text.text()).expect("written");
    ["run", "--adapter", "caddyfile", "--config", "Caddyfile"].map(str::to_owned).to_vec()
}

/// Around the page's file stands what a system's own configuration has. `-X` keeps it one process.
fn write_apache(piece: &mut Piece, at: &Path, https: SocketAddr, http: SocketAddr) -> Vec<String> {
    put_names(piece, at, LETS_ENCRYPT);
    piece
        .put("<VirtualHost *:443>", &format!("<VirtualHost {https}>"))
        .put("<VirtualHost *:80>", &format!("<VirtualHost {http}>"))
        .put("/var/log/apache2", &at.join("log").display().to_string())
        .put("/var/www/html", &at.display().to_string());
    fs::write(at.join("formgate.conf"), piece.text()).expect("written");
    let folder = MODULES.iter().find(|folder| Path::new(folder).join("mod_proxy.so").exists());
    let folder = folder.expect("the modules of Apache");
    let modules: String = LOADED
        .iter()
        .filter(|name| Path::new(folder).join(format!("mod_{name}.so")).exists())
        .map(|name| format!("LoadModule {name}_module {folder}/mod_{name}.so\n"))
        .collect();
    // Who is root must say who answers.
    let user = if rustix::process::getuid().is_root() { users_lines() } else { String::new() };
    let at = at.display();
    let around = format!(
        "ServerRoot {at}\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/log/error.log\nServerName localhost\n\
         {user}{modules}Listen {https}\nListen {http}\nInclude {at}/formgate.conf\n"
    );
    fs::write(format!("{at}/apache2.conf"), around).expect("written");
    ["-X", "-f", &format!("{at}/apache2.conf")].map(str::to_owned).to_vec()
}

/// Names the user that the system keeps for web servers.
fn users_lines() -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_there = |name: &&str| users.lines().any(|line| line.starts_with(&format!("{name}:")));
    let name = ["www-data", "apache", "http", "_www"].into_iter().find(is_there).expect("a user for web servers");
    format!("User {name}\nGroup {name}\n")
}

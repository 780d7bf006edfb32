//! TLS: the certificate a listener shows, read anew when its files change, and the handshake.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{Instant, timeout};

/// Largest file with a chain or a key, in bytes.
const FILE_MAX: u64 = 1024 * 1024;
/// How often the files are looked at, at most: while connections come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a listener does before a connection can be read.
pub(in crate::accept) struct Tls {
    acceptor: Acceptor,
}

/// Why a certificate and its key cannot be used. Says nothing of what is in the files.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadCertificate {
    #[error("{path} can't be read")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has no PEM certificate")]
    NoCertificate { path: PathBuf },
    #[error("{path} has no PEM private key")]
    NoKey { path: PathBuf },
    #[error("the certificate and the key don't match")]
    Unfit(#[source] rustls::Error),
}

impl Tls {
    /// Reads the files a first time: what cannot be used then is an error, later it leaves the last good in force.
    pub(super) fn new(certificate: &Path, key: &Path) -> Result<Self, BadCertificate> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let files = CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        let shown = Arc::new(ServedCertificate::new(files, Arc::clone(&provider))?);
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.map_err(BadCertificate::Unfit)?.with_no_client_auth().with_cert_resolver(shown);
        config.alpn_protocols = ["h2", "http/1.1"].map(|name| name.as_bytes().to_vec()).into();
        Ok(Self { acceptor: Acceptor::from_server_config(Arc::new(config)) })
    }

    /// Makes a socket an encrypted stream; none where the client doesn't do its part in time.
    pub(super) async fn handshake(&self, stream: Stream, time: Duration) -> Option<Stream> {
        let socket = *stream.into_any().downcast::<Socket>().ok()?;
        match timeout(time, self.acceptor.tls_handshake(socket)).await {
            Ok(Ok(encrypted)) => Some(Box::new(encrypted)),
            // Scanners do this all day.
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("tls.handshake_failed");
                None
            }
        }
    }
}

/// The files of a certificate and its key.
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
}

/// Time and size of both files, which change when they do.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CertificateStamp([Option<(SystemTime, u64)>; 2]);

/// The certificate that is served now.
struct ServedCertificate {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    certified: ArcSwap<CertifiedKey>,
    looked: Mutex<Looked>,
}

/// The last look at the files.
struct Looked {
    at: Instant,
    stamp: CertificateStamp,
    failed: bool,
}

impl ServedCertificate {
    fn new(files: CertificateFiles, provider: Arc<CryptoProvider>) -> Result<Self, BadCertificate> {
        let looked = Looked { at: Instant::now(), stamp: files.stamp(), failed: false };
        let certified = ArcSwap::from_pointee(files.read(&provider)?);
        Ok(Self { files, provider, certified, looked: Mutex::new(looked) })
    }

    /// Looks whether the files have changed, and reads them if so.
    fn renew(&self, now: Instant) {
        // One look at a time; who comes meanwhile is shown what was shown before.
        let Some(mut looked) = self.looked.try_lock() else { return };
        if now.saturating_duration_since(looked.at) < LOOK_EVERY {
            return;
        }
        looked.at = now;
        let stamp = self.files.stamp();
        let changed = stamp != looked.stamp;
        // After a failure it is tried again all the same: both files are seldom written at once.
        if !changed && !looked.failed {
            return;
        }
        let read = self.files.read(&self.provider);
        (looked.stamp, looked.failed) = (stamp, read.is_err());
        let path = self.files.certificate.display();
        match read {
            Ok(certified) => {
                self.certified.store(Arc::new(certified));
                tracing::info!(certificate = %path, "tls.renewed: the certificate was reloaded");
            }
            Err(error) if changed => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(certificate = %path, error, "tls.renew_failed: the last-good certificate stays in use");
            }
            Err(_same_as_before) => {}
        }
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.renew(Instant::now());
        Some(self.certified.load_full())
    }
}

impl std::fmt::Debug for ServedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedCertificate").field("certificate", &self.files.certificate).finish_non_exhaustive()
    }
}

impl CertificateFiles {
    fn stamp(&self) -> CertificateStamp {
        let stamp = |found: Metadata| Some((found.modified().ok()?, found.len()));
        CertificateStamp([&self.certificate, &self.key].map(|path| std::fs::metadata(path).ok().and_then(stamp)))
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, BadCertificate> {
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(&read_small(&self.certificate)?).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| BadCertificate::NoCertificate { path: self.certificate.clone() })?;
        // The reader's own error would repeat a line of the key.
        let key = PrivateKeyDer::from_pem_slice(&read_small(&self.key)?).ok();
        let key = key.ok_or_else(|| BadCertificate::NoKey { path: self.key.clone() })?;
        CertifiedKey::from_der(chain, key, provider).map_err(BadCertificate::Unfit)
    }
}

fn read_small(path: &Path) -> Result<Vec<u8>, BadCertificate> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(BadCertificate::Unreadable { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = include_bytes!("../../../tests/it/tls/good.pem");
    const OTHER: &[u8] = include_bytes!("../../../tests/it/tls/elsewhere.pem");
    const KEY: &[u8] = include_bytes!("../../../tests/it/tls/server.key");

    struct Rig {
        folder: tempfile::TempDir,
        shown: ServedCertificate,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let [certificate, key] = ["tls.pem", "tls.key"].map(|name| folder.path().join(name));
            std::fs::write(&certificate, GOOD).expect("written");
            std::fs::write(&key, KEY).expect("written");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let shown = ServedCertificate::new(CertificateFiles { certificate, key }, provider).expect("usable files");
            Self { folder, shown, now: Instant::now() }
        }

        fn write(&self, name: &str, content: &[u8]) {
            std::fs::write(self.folder.path().join(name), content).expect("written");
        }

        /// Looks at the files a time later, and returns what is shown then.
        fn after(&mut self, time: Duration) -> CertificateDer<'static> {
            self.now += time;
            self.shown.renew(self.now);
            self.shown.certified.load().cert[0].clone()
        }
    }

    fn certificate(pem: &[u8]) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem).expect("a certificate")
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_within_a_second() {
        let mut rig = Rig::new();
        rig.write("tls.pem", OTHER);
        assert_eq!(rig.after(LOOK_EVERY / 2), certificate(GOOD), "the files are looked at once a second");
        assert_eq!(rig.after(LOOK_EVERY), certificate(OTHER));
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_leave_the_last_good_certificate_in_force() {
        let mut rig = Rig::new();
        let another_key =
            b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n\
            -----END PRIVATE KEY-----\n";
        for (name, content) in [("tls.pem", &b"half a fi"[..]), ("tls.key", b""), ("tls.key", another_key)] {
            rig.write(name, content);
            assert_eq!(rig.after(LOOK_EVERY), certificate(GOOD), "{name}");
        }
        std::fs::remove_file(rig.folder.path().join("tls.key")).expect("removed");
        assert_eq!(rig.after(LOOK_EVERY), certificate(GOOD));
        rig.write("tls.pem", OTHER);
        assert_eq!(rig.after(LOOK_EVERY), certificate(GOOD), "the key is still away");
        rig.write("tls.key", KEY);
        assert_eq!(rig.after(LOOK_EVERY), certificate(OTHER));
    }

    #[test]
    fn unusable_files_are_told_without_what_is_in_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key] = ["tls.pem", "tls.key"].map(|name| folder.path().join(name));
        let error = |written: &[u8], held: &[u8]| {
            std::fs::write(&certificate, written).expect("written");
            std::fs::write(&key, held).expect("written");
            let error = Tls::new(&certificate, &key).err().expect("an error");
            format!("{error} {error:?}")
        };
        assert!(error(b"", KEY).contains("tls.pem has no PEM certificate"));
        let secret = "-----BEGIN hush\nhush!\n";
        let told = error(GOOD, secret.as_bytes());
        assert!(told.contains("tls.key has no PEM private key") && !told.contains("hush"), "{told}");
        assert!(Tls::new(&certificate, &folder.path().join("missing")).is_err());
    }
}

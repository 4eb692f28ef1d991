//! The server's certificates, and how they are changed while it runs.

mod stream;

pub(crate) use stream::{HandshakeError, TlsStream};

use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// With what a server shows who it is; see [`Server::tls`](crate::Server::tls).
///
/// Clones are one: kept beside the server, one changes what new connections are shown, and those that
/// are there notice nothing.
#[derive(Clone)]
pub struct TlsConfig {
    shared: Arc<Shared>,
}

struct Shared {
    files: Option<Files>,
    current: RwLock<Arc<ServerConfig>>,
}

struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl TlsConfig {
    /// Reads a certificate chain, the server's own first, and its private key: PEM files, as ACME
    /// clients write them. TLS 1.2 and 1.3.
    pub fn from_pem_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { chain: chain.into(), key: key.into() };
        let current = RwLock::new(files.read()?);
        Ok(Self { shared: Arc::new(Shared { files: Some(files), current }) })
    }

    /// Reads the files anew. On failure, what was there before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let files = self.shared.files.as_ref();
        let files = files.ok_or_else(|| TlsError("it does not come from files".to_owned()))?;
        self.replace(files.read()?);
        Ok(())
    }

    /// Shows this to new connections.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.shared.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// For what else rustls can do: client certificates, another provider.
impl From<Arc<ServerConfig>> for TlsConfig {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { shared: Arc::new(Shared { files: None, current: RwLock::new(config) }) }
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// Why there is no certificate to show, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let failed = |path: &Path, why: &dyn fmt::Display| {
            TlsError(format!("cannot use {}: {why}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(&self.chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(&self.chain, &error))?;
        if chain.is_empty() {
            return Err(failed(&self.chain, &"there is no certificate in it"));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| failed(&self.key, &error))?;
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| failed(&self.chain, &error))?;
        // A WebSocket begins as HTTP/1.1 here, whatever else a client would speak.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn pem(label: &str, der: &[u8]) -> String {
        let base64 = data_encoding::BASE64.encode(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    #[test]
    fn a_failed_reload_keeps_what_was_there() {
        let dir = std::env::temp_dir().join(format!("yroom-tls-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
        let write = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(&chain, pem("CERTIFICATE", made.cert.der())).unwrap();
            fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        };
        write();
        let config = TlsConfig::from_pem_files(&chain, &key).unwrap();
        let first = config.current();
        let whole = fs::read_to_string(&key).unwrap();
        for (path, content, word) in [
            (&chain, "", "no certificate"),
            (&chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "chain.pem"),
            (&key, "nonsense", "key.pem"),
        ] {
            write();
            fs::write(path, content).unwrap();
            let sentence = config.reload().unwrap_err().to_string();
            assert!(sentence.contains(word), "{sentence}");
        }
        write();
        fs::write(&key, whole).unwrap();
        config.reload().expect_err("the key of another certificate");
        fs::remove_file(&key).unwrap();
        config.reload().expect_err("a key that is not there");
        assert!(Arc::ptr_eq(&config.current(), &first));
        write();
        config.reload().unwrap();
        assert!(!Arc::ptr_eq(&config.current(), &first));
        fs::remove_dir_all(&dir).unwrap();
    }
}

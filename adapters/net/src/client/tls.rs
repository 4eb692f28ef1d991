//! `wss://`.

use super::dial::{Failure, tls_failure};
use super::options::Options;
use crate::link::Duplex;
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use std::sync::{Arc, OnceLock};

/// A TLS connection on `stream`.
pub(super) async fn wrap(
    stream: Box<dyn Duplex>,
    host: &str,
    options: &Options,
) -> Result<Box<dyn Duplex>, Failure> {
    let name = ServerName::try_from(host.to_owned()).map_err(tls_failure)?;
    let config = match &options.tls {
        Some(config) => Arc::clone(config),
        None => public().map_err(tls_failure)?,
    };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(tls_failure)?;
    Ok(Box::new(stream))
}

/// Trusts whom browsers trust.
fn public() -> Result<Arc<ClientConfig>, futures_rustls::rustls::Error> {
    static PUBLIC: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = PUBLIC.get() {
        return Ok(Arc::clone(config));
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(PUBLIC.get_or_init(|| Arc::new(config))))
}

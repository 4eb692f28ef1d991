//! What stands between the server and its clients: TLS, browsers' pages, proxies.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use yroom_net::{ForwardedIn, IpPrefix, Origins, Proxies, TlsConfig};

/// TLS, browsers' pages, proxies.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS, web pages and proxies")]
pub(crate) struct NetworkOptions {
    /// Speaks TLS (wss://) with this certificate chain in PEM, the server's own first. SIGHUP reads
    /// it anew.
    #[arg(long, env = "YROOM_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM.
    #[arg(long, env = "YROOM_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Pages of this origin may connect, such as https://app.example.org, besides those of the host
    /// that the server is asked by; may be given several times. `*`: pages from anywhere.
    #[arg(long, env = "YROOM_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    origin: Vec<String>,

    /// A proxy that is believed when it says who the client is: an address, or a network such as
    /// 10.0.0.0/8; may be given several times.
    #[arg(long, env = "YROOM_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',')]
    trusted_proxy: Vec<String>,

    /// In which header trusted proxies say it.
    #[arg(
        long,
        env = "YROOM_PROXY_HEADER",
        value_name = "HEADER",
        default_value = "x-forwarded-for"
    )]
    proxy_header: ProxyHeader,
}

/// [`ForwardedIn`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProxyHeader {
    /// X-Forwarded-For.
    XForwardedFor,
    /// Forwarded (RFC 7239).
    Forwarded,
}

impl NetworkOptions {
    pub(crate) fn tls(&self) -> Result<Option<TlsConfig>, String> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        files
            .map(|(chain, key)| TlsConfig::from_pem_files(chain, key))
            .transpose()
            .map_err(|error| error.to_string())
    }

    pub(crate) fn origins(&self) -> Result<Origins, String> {
        if self.origin.iter().any(|origin| origin == "*") {
            return match self.origin.len() {
                1 => Ok(Origins::any()),
                _ => Err("--origin '*' stands for all: name no others beside it".to_owned()),
            };
        }
        self.origin.iter().try_fold(Origins::same_host(), |origins, origin| {
            origins.and(origin).map_err(|_| {
                format!(
                    "--origin {origin}: an origin is like https://app.example.org, without a path"
                )
            })
        })
    }

    pub(crate) fn proxies(&self) -> Result<Proxies, String> {
        let prefixes = self.trusted_proxy.iter().map(|text| {
            text.parse::<IpPrefix>().map_err(|_| {
                format!("--trusted-proxy {text}: an address, or a network like 10.0.0.0/8")
            })
        });
        let header = match self.proxy_header {
            ProxyHeader::XForwardedFor => ForwardedIn::XForwardedFor,
            ProxyHeader::Forwarded => ForwardedIn::Forwarded,
        };
        Ok(Proxies::new(prefixes.collect::<Result<Vec<_>, _>>()?).header(header))
    }
}

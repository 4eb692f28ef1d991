//! Whose pages may connect, and through whom.

use clap::{Args, ValueEnum};
use yroom_net::{ForwardedIn, IpPrefix, Origins, Proxies};

/// Browsers' pages and proxies.
#[derive(Debug, Args)]
#[command(next_help_heading = "Web pages and proxies")]
pub(crate) struct NetworkOptions {
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

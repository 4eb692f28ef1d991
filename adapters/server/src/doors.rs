//! Who is let in, and with what certificate: what is read from files, at the start and on SIGHUP.

use crate::auth::{Gatekeeper, Open};
use crate::options::{AuthOptions, Options};
use yroom_net::runtime::Tokio;
use yroom_net::{Origins, Proxies, Server, TlsConfig};

/// The doors of a server. Clones are of the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    auth: AuthOptions,
    gatekeeper: Option<Gatekeeper>,
    tls: Option<TlsConfig>,
    origins: Origins,
    proxies: Proxies,
}

impl Doors {
    /// Reads all that the options name, and refuses doors that nobody can have meant.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let doors = Self {
            auth: options.auth.clone(),
            gatekeeper: Gatekeeper::new(&options.auth)?,
            tls: options.network.tls()?,
            origins: options.network.origins()?,
            proxies: options.network.proxies()?,
        };
        options.check_exposure()?;
        Ok(doors)
    }

    /// A server with these doors.
    pub(crate) fn hang(&self, server: Server<Tokio>) -> Server<Tokio> {
        let server = server.origins(self.origins.clone()).proxies(self.proxies.clone());
        let server = match &self.tls {
            Some(tls) => server.tls(tls.clone()),
            None => server,
        };
        match &self.gatekeeper {
            Some(gatekeeper) => server.authorize(gatekeeper.clone()),
            None => server.authorize(Open),
        }
    }

    /// How the server's URLs begin.
    pub(crate) const fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "wss",
            None => "ws",
        }
    }

    /// Says what stands open.
    pub(crate) fn warn(&self, options: &Options) {
        if self.gatekeeper.is_none() {
            let who = if options.auth.allow_anonymous {
                "everybody"
            } else {
                "everybody on this machine"
            };
            eprintln!("yroom: no --auth-key: {who} may read and write every room");
        }
        if self.tls.is_none() && !options.is_local() {
            eprintln!(
                "yroom: no --tls-cert: unless a proxy before it speaks TLS, everybody on the way \
                 reads tokens and documents"
            );
        }
    }

    /// Reads keys and certificates anew. What cannot be read stays as it was.
    pub(crate) fn reload(&self) {
        if let Some(gatekeeper) = &self.gatekeeper {
            say("keys", gatekeeper.reload(&self.auth));
        }
        if let Some(tls) = &self.tls {
            say("certificates", tls.reload().map_err(|error| error.to_string()));
        }
    }
}

/// Says what became of something that was to be read anew.
pub(crate) fn say(what: &str, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => eprintln!("yroom: the {what} are read anew"),
        Err(sentence) => eprintln!("yroom: the {what} stay as they were: {sentence}"),
    }
}

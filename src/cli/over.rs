//! `--over`: what lies between the ends, and the secret that opens another host.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::message::Spec;
use crate::remote::{self, Token};
use crate::rig::Site;
use crate::send::{SendPath, Unsupported};

/// Where the server is.
#[derive(Debug, Clone, Default, Args)]
pub struct Over {
    /// Measure against `copycost serve` on another host: HOST:PORT; without it over loopback
    #[arg(long, value_name = "HOST:PORT")]
    over: Option<String>,
    /// The file with the secret that `copycost serve` was given
    #[arg(long, value_name = "FILE", requires = "over")]
    token_file: Option<PathBuf>,
}

impl Over {
    /// Whether `path` can be had, as far as this host can tell.
    pub fn probe(&self, path: &SendPath, spec: &Spec) -> Result<(), Unsupported> {
        if self.over.is_some() { Ok(()) } else { (path.probe)(spec) }
    }

    /// The site that the flags name.
    pub fn site(&self) -> Result<Site, Failure> {
        let Some(text) = &self.over else { return Ok(Site::Here) };
        let address = address(text, "--over")?;
        let token = token(self.token_file.as_ref())?;
        Ok(Site::There(remote::Site { address, token }))
    }
}

/// The address of HOST:PORT, IPv6 in brackets, names resolved.
pub fn address(text: &str, flag: &str) -> Result<SocketAddr, Failure> {
    let usage = |what: &str| Failure::Usage(format!("invalid value for {flag}: '{text}' {what}"));
    let port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !port || (text.matches(':').count() > 1 && !text.contains(']')) {
        return Err(usage("is not HOST:PORT with a port from 1 to 65535 (IPv6 as [::1]:9000)"));
    }
    let mut resolved = text.to_socket_addrs().map_err(|error| usage(&format!("is not known: {error}")))?;
    resolved.next().ok_or_else(|| usage("has no address"))
}

/// The token in a file.
pub fn token(file: Option<&PathBuf>) -> Result<Option<Token>, Failure> {
    let read = |path: &PathBuf| Token::read(path);
    file.map(read)
        .transpose()
        .map_err(|error| Failure::Usage(format!("invalid value for --token-file: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_documented_form() {
        for (text, told) in [("127.0.0.1:9000", "127.0.0.1:9000"), ("[::1]:9000", "[::1]:9000")] {
            assert_eq!(address(text, "--over").unwrap().to_string(), told);
        }
        assert_eq!(address("localhost:1", "--over").unwrap().port(), 1);
        for text in
            ["", "localhost", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "::1:9000", "[::1]", ":", "h:x"]
        {
            let error = address(text, "--over").unwrap_err().to_string();
            assert!(error.contains("--over") && error.contains(text), "{error}");
        }
    }
}

//! Where a server is: what people write for it, read strictly.

use std::fmt;
use std::str::FromStr;

use crate::fault::{Fault, FaultKind};

/// How a client speaks to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Binding {
    /// Cap'n Proto RPC: compact and fast.
    #[default]
    CapnProto,
    /// Cap'n Web: the same objects in JSON, which people can read and every proxy lets through.
    CapnWeb,
}

impl Binding {
    /// Where servers have it, if they say nothing else.
    pub const fn path(self) -> &'static str {
        match self {
            Self::CapnProto => "/capnp",
            Self::CapnWeb => "/capnweb",
        }
    }

    /// Every binding, the default first.
    pub const ALL: [Self; 2] = [Self::CapnProto, Self::CapnWeb];
}

/// The address of a server's WebSocket, and what is spoken there.
///
/// Read from any of: `host:port`, an origin (`http://host:port`), the address of its agent card
/// (`http://host/.well-known/agent-card.json`), or the endpoint itself (`ws://host:port/capnp`, which is Cap'n Proto;
/// `ws://host:port/capnweb`, which is Cap'n Web). Without a port it is the scheme's own, and 8420 where no scheme is
/// written either.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: u16,
    path: String,
    binding: Binding,
}

impl Endpoint {
    /// The port that a server listens on if it is not told otherwise.
    pub const DEFAULT_PORT: u16 = 8420;
    /// The longest address that is read, in bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// Whether the line is encrypted (`https`, `wss`).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is spoken there.
    pub fn binding(&self) -> Binding {
        self.binding
    }

    /// The same server, spoken to by this binding. A path that is another binding's own becomes this one's.
    #[must_use]
    pub fn by(mut self, binding: Binding) -> Self {
        if Binding::ALL.iter().any(|known| known.path() == self.path) {
            binding.path().clone_into(&mut self.path);
        }
        Self { binding, ..self }
    }

    /// The path of the WebSocket, from the slash on.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port`, as in a `Host` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The origin that people see in a browser.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

/// The address of the WebSocket.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Endpoint {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        if text.len() > Self::MAX_BYTES {
            return Err(refused(&format!("it is longer than {} bytes", Self::MAX_BYTES)));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refused("it has a space or a control character"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Scheme::read(scheme)?, rest),
            None => (Scheme::BARE, text),
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(refused("it holds credentials; give them apart from the address"));
        }
        let (host, port) = split_authority(authority)?;
        let path = scheme.endpoint_path(path)?;
        let binding = Binding::ALL.into_iter().find(|binding| binding.path() == path).unwrap_or_default();
        Ok(Self { secure: scheme.secure, host, port: port.unwrap_or(scheme.port), path, binding })
    }
}

#[derive(Clone, Copy)]
struct Scheme {
    secure: bool,
    /// Whether the address is that of the WebSocket itself.
    socket: bool,
    port: u16,
}

impl Scheme {
    const BARE: Self = Self { secure: false, socket: false, port: Endpoint::DEFAULT_PORT };

    fn read(name: &str) -> Result<Self, Fault> {
        match name.to_ascii_lowercase().as_str() {
            "http" => Ok(Self { secure: false, socket: false, port: 80 }),
            "https" => Ok(Self { secure: true, socket: false, port: 443 }),
            "ws" => Ok(Self { secure: false, socket: true, port: 80 }),
            "wss" => Ok(Self { secure: true, socket: true, port: 443 }),
            _ => Err(refused("its scheme is none of http, https, ws and wss")),
        }
    }

    fn endpoint_path(self, path: &str) -> Result<String, Fault> {
        if path.contains(['?', '#']) {
            return Err(refused("it has a query or a fragment"));
        }
        match path {
            "" | "/" | "/.well-known/agent-card.json" | "/.well-known/agent.json" => {
                Ok(Binding::default().path().to_owned())
            }
            known if Binding::ALL.iter().any(|binding| binding.path() == known) => Ok(path.to_owned()),
            other if self.socket && other.is_ascii() => Ok(other.to_owned()),
            _ => Err(refused("its path is none of /capnp, /capnweb, the agent card's, and none at all")),
        }
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), Fault> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(|| refused("a bracket is not closed"))?;
        let address = host.parse::<std::net::Ipv6Addr>();
        let address = address.map_err(|_| refused("what stands in brackets is no IPv6 address"))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return Err(refused("something other than a port follows the bracket")),
        };
        (address.to_string(), port)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (authority.to_owned(), None),
        }
    };
    if host.is_empty() {
        return Err(refused("it names no host"));
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(fine) {
        return Err(refused("the host is neither a name nor an address"));
    }
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(refused("the port is not a number from 1 to 65535")),
        },
    };
    Ok((host, port))
}

/// The address itself is not repeated: it may hold a password.
fn refused(why: &str) -> Fault {
    let message =
        format!("not the address of a server: {why}; write http://HOST:PORT or ws://HOST:PORT/capnp");
    Fault::new(FaultKind::InvalidParams, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    #[test]
    fn what_people_write_leads_to_the_endpoint() {
        for (written, endpoint) in [
            ("127.0.0.1:8420", "ws://127.0.0.1:8420/capnp"),
            ("localhost", "ws://localhost:8420/capnp"),
            ("http://localhost:9000", "ws://localhost:9000/capnp"),
            ("http://localhost:9000/", "ws://localhost:9000/capnp"),
            ("HTTP://example.org", "ws://example.org:80/capnp"),
            ("https://example.org", "wss://example.org:443/capnp"),
            ("http://example.org/.well-known/agent-card.json", "ws://example.org:80/capnp"),
            ("ws://example.org:1/capnp", "ws://example.org:1/capnp"),
            ("http://example.org:1/capnweb", "ws://example.org:1/capnweb"),
            ("ws://example.org:1/agents/one", "ws://example.org:1/agents/one"),
            ("wss://example.org", "wss://example.org:443/capnp"),
            ("http://[::1]:8420", "ws://[::1]:8420/capnp"),
        ] {
            assert_eq!(read(written).to_string(), endpoint, "{written}");
        }
    }

    #[test]
    fn the_path_says_what_is_spoken_until_somebody_says_otherwise() {
        for (written, binding) in [
            ("localhost", Binding::CapnProto),
            ("ws://localhost/capnweb", Binding::CapnWeb),
            ("ws://localhost/agents/one", Binding::CapnProto),
        ] {
            assert_eq!(read(written).binding(), binding, "{written}");
        }
        let by = |written, binding| read(written).by(binding).to_string();
        assert_eq!(by("localhost", Binding::CapnWeb), "ws://localhost:8420/capnweb");
        assert_eq!(by("ws://localhost/capnweb", Binding::CapnProto), "ws://localhost:80/capnp");
        let own = read("ws://localhost/agents/one").by(Binding::CapnWeb);
        assert_eq!((own.path(), own.binding()), ("/agents/one", Binding::CapnWeb));
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for wrong in [
            "",
            "http://",
            "ftp://example.org",
            "http://user:hunter2@example.org",
            "http://example.org:0",
            "http://example.org:99999",
            "http://example.org/elsewhere",
            "http://example.org/?key=hunter2",
            "http://[::1",
            "http://[nonsense]",
            "http://[::1]x",
            "http://exa mple",
            "http://ex\u{e4}mple",
        ] {
            let fault = wrong.parse::<Endpoint>().unwrap_err();
            assert_eq!(fault.kind(), FaultKind::InvalidParams, "{wrong}");
            assert!(!fault.message().contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn the_origin_is_what_a_browser_shows() {
        assert_eq!(read("ws://[::1]:7/capnp").origin(), "http://[::1]:7");
        assert_eq!(read("wss://example.org").authority(), "example.org:443");
    }
}

//! Who may talk to us from where: the names that the server answers to, and the pages that may call it.
//!
//! A browser lets any page open a WebSocket, or post a form, to any server that it reaches. With a name of its
//! own that it lets resolve to a private address (DNS rebinding), a foreign page could even read what we answer.
//! Browsers say in `Origin` whose page asks and in `Host` under which name, and a page can change neither.
//!
//! So a `Host` is one that this server goes by, and an `Origin`, if there is one, is the server's own or a listed
//! one. Who is no browser sends what it likes: this is no authentication.

use std::fmt;
use std::net::IpAddr;

/// The names that a server goes by and the pages that may call it.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Whether any address names this server: it does where other machines can connect, for no page can have
    /// an address of its own that is ours too.
    any_address: bool,
    listen: IpAddr,
    public: Option<Origin>,
    hosts: Listed<Authority>,
    origins: Listed<Origin>,
    null_origin: bool,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// No `Host`, several of them, or none that can be one.
    NoHost,
    /// A name that this server does not go by.
    Host,
    /// A page that may not call this server.
    Origin,
}

/// A setting that cannot be a name, or an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// What was set.
    pub text: String,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.expected)
    }
}

impl std::error::Error for NotAllowed {}

#[derive(Clone, Debug)]
enum Listed<T> {
    Any,
    These(Vec<T>),
}

/// What stands before the port: a name in lower case and without the dot at its end, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Domain(String),
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    name: Name,
    port: Option<u16>,
}

/// Where a page comes from. The port is filled in where its scheme has one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    authority: Authority,
}

impl Allowed {
    /// What a server that listens on this address lets in: its own names and addresses, and its own pages.
    pub fn listening(listen: IpAddr) -> Self {
        let listen = listen.to_canonical();
        Self {
            any_address: !listen.is_loopback(),
            listen,
            public: None,
            hosts: Listed::These(Vec::new()),
            origins: Listed::These(Vec::new()),
            null_origin: false,
        }
    }

    /// Adds the URL under which clients reach the server: its host is a name of the server, and its pages are
    /// the server's own.
    ///
    /// # Errors
    /// It is not an `http` or `https` URL.
    pub fn public_url(mut self, url: &str) -> Result<Self, NotAllowed> {
        let expected = "a URL such as https://agent.example";
        let bad = || NotAllowed { text: url.to_owned(), expected };
        let start = url.find("://").ok_or_else(bad)? + 3;
        let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
        let origin = Origin::parse(&url[..end]).filter(Origin::is_web).ok_or_else(bad)?;
        self.public = Some(origin);
        Ok(self)
    }

    /// Adds a name under which clients reach the server, with a port if only that is meant; `*` is any name.
    ///
    /// # Errors
    /// It is no host name or address.
    pub fn host(mut self, text: &str) -> Result<Self, NotAllowed> {
        let expected = "a host such as agent.example, agent.example:8420 or [2001:db8::1]; or *";
        match (Authority::parse(text), &mut self.hosts) {
            (_, hosts) if text == ANY => *hosts = Listed::Any,
            (None, _) => return Err(NotAllowed { text: text.to_owned(), expected }),
            (Some(_), Listed::Any) => {}
            (Some(host), Listed::These(hosts)) => hosts.push(host),
        }
        Ok(self)
    }

    /// Adds an origin whose pages may call the server; `*` is any, and `null` that of pages that have none,
    /// such as files.
    ///
    /// # Errors
    /// It is no origin.
    pub fn origin(mut self, text: &str) -> Result<Self, NotAllowed> {
        let expected = "an origin such as https://agent.example, with no path; or null, or *";
        match (Origin::parse(text), &mut self.origins) {
            (_, origins) if text == ANY => *origins = Listed::Any,
            _ if text == NULL => self.null_origin = true,
            (None, _) => return Err(NotAllowed { text: text.to_owned(), expected }),
            (Some(_), Listed::Any) => {}
            (Some(origin), Listed::These(origins)) => origins.push(origin),
        }
        Ok(self)
    }

    /// Judges a request by its target, if that names a host, its `Host` fields and its `Origin` fields. Both
    /// hosts must be ours; that of the target is the one that counts (RFC 9112, 3.2.2). A request of HTTP/1.0
    /// needs none, and no browser sends such.
    pub(super) fn check<'a>(
        &self,
        target: Option<&str>,
        hosts: impl Iterator<Item = &'a [u8]>,
        origins: impl Iterator<Item = &'a [u8]>,
        needs_host: bool,
    ) -> Result<(), Foreign> {
        let named = match target {
            Some(target) => Some(Authority::parse(target).ok_or(Foreign::NoHost)?),
            None => None,
        };
        let host = match one(hosts).map_err(|Several| Foreign::NoHost)? {
            Some(host) => Some(text(host).and_then(Authority::parse).ok_or(Foreign::NoHost)?),
            None if needs_host => return Err(Foreign::NoHost),
            None => None,
        };
        if [&named, &host].into_iter().flatten().any(|host| !self.is_ours(host)) {
            return Err(Foreign::Host);
        }
        let Some(origin) = one(origins).map_err(|Several| Foreign::Origin)? else {
            return Ok(());
        };
        if self.lets_in(origin, named.or(host).as_ref()) { Ok(()) } else { Err(Foreign::Origin) }
    }

    fn is_ours(&self, host: &Authority) -> bool {
        let own = match &host.name {
            Name::Address(address) => self.any_address || address.is_loopback() || *address == self.listen,
            // RFC 6761: nobody can have a name under `localhost` that leads elsewhere.
            Name::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        };
        let public = || self.public.as_ref().is_some_and(|public| public.authority.name == host.name);
        let listed = || match &self.hosts {
            Listed::Any => true,
            Listed::These(hosts) => hosts.iter().any(|listed| {
                listed.name == host.name && listed.port.is_none_or(|port| host.port == Some(port))
            }),
        };
        own || public() || listed()
    }

    fn lets_in(&self, origin: &[u8], host: Option<&Authority>) -> bool {
        let listed = match &self.origins {
            Listed::Any => return true,
            Listed::These(listed) => listed,
        };
        if origin == NULL.as_bytes() {
            return self.null_origin;
        }
        let Some(origin) = text(origin).and_then(Origin::parse) else { return false };
        let same = host.is_some_and(|host| self.is_own_page(&origin, host));
        same || self.public.as_ref() == Some(&origin) || listed.contains(&origin)
    }

    /// Whether the page comes from the host that it asks. Whether a proxy before us speaks TLS can be seen
    /// only where the port or the public URL tells.
    fn is_own_page(&self, origin: &Origin, host: &Authority) -> bool {
        let Some(default) = origin.default_port() else { return false };
        let port = match host.port {
            Some(port) => port,
            None => {
                let public = self.public.as_ref().filter(|public| public.authority.name == host.name);
                if public.is_some_and(|public| public.scheme != origin.scheme) {
                    return false;
                }
                default
            }
        };
        origin.authority.name == host.name && origin.authority.port == Some(port)
    }
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']')?;
                let address: std::net::Ipv6Addr = inside.parse().ok()?;
                let port = if after.is_empty() { "" } else { after.strip_prefix(':')? };
                (Name::Address(IpAddr::from(address).to_canonical()), port)
            }
            None => {
                let (name, port) = text.split_once(':').unwrap_or((text, ""));
                (Name::parse(name)?, port)
            }
        };
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { name, port })
    }
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        (text.len() <= LONGEST_NAME && text.split('.').all(is_label))
            .then(|| Self::Domain(text.to_ascii_lowercase()))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let authority = Authority::parse(rest).filter(|_| is_scheme)?;
        let mut origin = Self { scheme: scheme.to_ascii_lowercase(), authority };
        origin.authority.port = origin.authority.port.or(origin.default_port());
        Some(origin)
    }

    fn is_web(&self) -> bool {
        self.default_port().is_some()
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        }
    }
}

/// There are two, and nobody can say which counts.
struct Several;

fn one<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, Several> {
    let first = values.next();
    if values.next().is_some() { Err(Several) } else { Ok(first) }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// In a list of hosts or origins: all of them.
const ANY: &str = "*";
/// The origin of a page that has none.
const NULL: &str = "null";
/// The longest name that DNS has.
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::{Allowed, Foreign};

    fn on(listen: &str) -> Allowed {
        Allowed::listening(listen.parse().expect("an address"))
    }

    fn host(allowed: &Allowed, host: &str) -> Result<(), Foreign> {
        allowed.check(None, [host.as_bytes()].into_iter(), std::iter::empty(), true)
    }

    fn page(allowed: &Allowed, host: &str, origin: &str) -> bool {
        let judged =
            allowed.check(None, [host.as_bytes()].into_iter(), [origin.as_bytes()].into_iter(), true);
        assert!(matches!(judged, Ok(()) | Err(Foreign::Origin)), "{host}: {judged:?}");
        judged.is_ok()
    }

    #[test]
    fn on_loopback_only_loopback_answers_by_default() {
        let allowed = on("127.0.0.1");
        for ours in [
            "localhost",
            "localhost:8420",
            "LocalHost:1",
            "localhost.",
            "localhost.:8420",
            "a.b.localhost",
            "127.0.0.1:8420",
            "127.0.0.1:",
            "127.9.9.9",
            "[::1]",
            "[::1]:8420",
            "[0:0::1]:8420",
            "[::ffff:127.0.0.1]:8420",
        ] {
            assert_eq!(host(&allowed, ours), Ok(()), "{ours}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io:8420",
            "10.0.0.1",
            "0.0.0.0:8420",
            "[::]:8420",
            "[2001:db8::1]",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "xn--lcalhost-55a",
        ] {
            assert_eq!(host(&allowed, foreign), Err(Foreign::Host), "{foreign}");
        }
        for none in [
            "",
            ":8420",
            ".",
            "localhost..",
            ".localhost",
            "a..localhost",
            "localhost:80:80",
            "localhost:+80",
            "localhost:99999",
            "localhost:8a",
            "[::1",
            "::1",
            "[::1]8420",
            "[::1%lo]",
            "[localhost]",
            "user@localhost",
            "localhost@evil.example",
            "localhost/x",
            "localhost, evil.example",
            "local host",
            "localhost\t",
            "l\u{f6}calhost",
        ] {
            assert_eq!(host(&allowed, none), Err(Foreign::NoHost), "{none}");
        }
    }

    #[test]
    fn beyond_loopback_every_address_answers_and_every_name_that_is_set() {
        let allowed = on("0.0.0.0");
        for ours in ["192.0.2.7:8420", "[2001:db8::1]", "localhost"] {
            assert_eq!(host(&allowed, ours), Ok(()), "{ours}");
        }
        assert_eq!(host(&allowed, "agent.example"), Err(Foreign::Host));
        let allowed = allowed.public_url("https://Agent.example/a2a").expect("a URL");
        let allowed = allowed.host("inner.example:81").expect("a host");
        for ours in ["agent.example", "agent.example:8420", "AGENT.example.", "inner.example:81"] {
            assert_eq!(host(&allowed, ours), Ok(()), "{ours}");
        }
        for foreign in ["inner.example", "inner.example:8420", "x.agent.example"] {
            assert_eq!(host(&allowed, foreign), Err(Foreign::Host), "{foreign}");
        }
        assert_eq!(host(&allowed.host("*").expect("any"), "evil.example"), Ok(()));
    }

    #[test]
    fn a_page_of_the_same_host_and_port_may_call_and_no_other() {
        let allowed = on("127.0.0.1");
        for (asked, origin) in [
            ("localhost:8420", "http://localhost:8420"),
            ("localhost:8420", "HTTP://LOCALHOST:8420"),
            ("localhost:8420", "http://localhost.:8420"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("[::1]:8420", "http://[0::1]:8420"),
            ("localhost", "https://localhost"),
        ] {
            assert!(page(&allowed, asked, origin), "{asked} {origin}");
        }
        for (asked, origin) in [
            ("localhost:8420", "http://localhost:8421"),
            ("localhost:8420", "http://localhost"),
            ("localhost:8420", "http://127.0.0.1:8420"),
            ("localhost:8420", "http://evil.example"),
            ("localhost:8420", "http://localhost:8420.evil.example"),
            ("localhost:8420", "http://localhost:8420@evil.example"),
            ("localhost:8420", "http://evil.example:8420@localhost:8420"),
            ("localhost:8420", "http://localhost:8420/"),
            ("localhost:8420", "http://localhost:8420 http://localhost:8420"),
            ("localhost:8420", "ftp://localhost:8420"),
            ("localhost:8420", "localhost:8420"),
            ("localhost:8420", "//localhost:8420"),
            ("localhost:8420", "null"),
            ("localhost:8420", "NULL"),
            ("localhost:8420", ""),
            ("localhost:8420", "*"),
            ("localhost:8420", "http://*"),
        ] {
            assert!(!page(&allowed, asked, origin), "{asked} {origin}");
        }
    }

    #[test]
    fn behind_tls_an_unencrypted_page_of_the_same_name_is_foreign() {
        let allowed = on("127.0.0.1").public_url("https://agent.example").expect("a URL");
        assert!(page(&allowed, "agent.example", "https://agent.example"));
        assert!(page(&allowed, "localhost:8420", "https://agent.example:443"), "the proxy changed the host");
        assert!(!page(&allowed, "agent.example", "http://agent.example"));
    }

    #[test]
    fn a_listed_origin_may_call_and_null_only_by_name() {
        let allowed = on("127.0.0.1").origin("https://app.example").expect("an origin");
        let allowed = allowed.origin("chrome-extension://abcdef").expect("an origin");
        for origin in ["https://app.example", "https://APP.example:443", "chrome-extension://abcdef"] {
            assert!(page(&allowed, "localhost", origin), "{origin}");
        }
        for origin in ["http://app.example", "https://app.example:8443", "https://x.app.example", "null"] {
            assert!(!page(&allowed, "localhost", origin), "{origin}");
        }
        assert!(page(&allowed.clone().origin("null").expect("null"), "localhost", "null"));
        assert!(page(&allowed.origin("*").expect("any"), "localhost", "https://evil.example"));
    }

    #[test]
    fn the_targets_host_counts_and_both_must_be_ours() {
        let allowed = on("127.0.0.1");
        let judge = |target: &'static str, host: &'static str, origin: &'static [u8]| {
            let hosts = [host.as_bytes()].into_iter();
            allowed.check(Some(target), hosts, (!origin.is_empty()).then_some(origin).into_iter(), true)
        };
        assert_eq!(judge("localhost:1", "127.0.0.1:2", b"http://localhost:1"), Ok(()));
        assert_eq!(judge("localhost:1", "127.0.0.1:2", b"http://127.0.0.1:2"), Err(Foreign::Origin));
        assert_eq!(judge("evil.example", "localhost", b""), Err(Foreign::Host));
        assert_eq!(judge("localhost", "evil.example", b""), Err(Foreign::Host));
        assert_eq!(judge("x@localhost", "localhost", b""), Err(Foreign::NoHost));
    }

    #[test]
    fn two_hosts_two_origins_and_none_where_one_is_needed_are_refused() {
        let allowed = on("127.0.0.1");
        let local = b"localhost".as_slice();
        let page = b"http://localhost".as_slice();
        let judge = |hosts: &[&'static [u8]], origins: &[&'static [u8]], needs_host| {
            allowed.check(None, hosts.iter().copied(), origins.iter().copied(), needs_host)
        };
        assert_eq!(judge(&[local, local], &[], true), Err(Foreign::NoHost));
        assert_eq!(judge(&[], &[], true), Err(Foreign::NoHost));
        assert_eq!(judge(&[], &[], false), Ok(()));
        assert_eq!(judge(&[], &[page], false), Err(Foreign::Origin));
        assert_eq!(judge(&[local], &[page, page], true), Err(Foreign::Origin));
        assert_eq!(judge(&[b"\xff"], &[], true), Err(Foreign::NoHost));
        assert_eq!(judge(&[local], &[b"http://\xff"], true), Err(Foreign::Origin));
    }

    #[test]
    fn what_cannot_be_a_name_or_an_origin_is_not_taken_as_a_setting() {
        for text in ["", "https://agent.example", "a b", "*.agent.example", "[::1"] {
            assert!(on("127.0.0.1").host(text).is_err(), "{text}");
        }
        for text in ["", "agent.example", "https://agent.example/", "https://*.agent.example"] {
            let error = on("127.0.0.1").origin(text).expect_err(text).to_string();
            assert!(error.contains("https://agent.example, with no path"), "{error}");
        }
        for text in ["agent.example", "ws://agent.example", "https://", "https://a@b/"] {
            assert!(on("127.0.0.1").public_url(text).is_err(), "{text}");
        }
    }
}

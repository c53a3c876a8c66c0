//! Who the client is.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// What a client shows to a server. Never in a log or `Debug` output; wiped from memory when dropped.
#[derive(Clone)]
pub struct Credentials(Kind);

#[derive(Clone)]
enum Kind {
    ApiKey(SecretString),
    Bearer(SecretString),
}

/// Credentials as they go on the wire.
pub(super) enum Exposed<'a> {
    ApiKey(&'a str),
    Bearer(&'a str),
}

impl Credentials {
    /// An API key of the server.
    pub fn api_key(key: impl Into<String>) -> Self {
        Self(Kind::ApiKey(SecretString::from(key.into())))
    }

    /// A token of an issuer that the server trusts, or an API key.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self(Kind::Bearer(SecretString::from(token.into())))
    }

    pub(super) fn expose(&self) -> Exposed<'_> {
        match &self.0 {
            Kind::ApiKey(key) => Exposed::ApiKey(key.expose_secret()),
            Kind::Bearer(token) => Exposed::Bearer(token.expose_secret()),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::ApiKey(_) => "ApiKey(…)",
            Kind::Bearer(_) => "Bearer(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_tells_no_secret() {
        let shown = format!("{:?} {:?}", Credentials::api_key("hush"), Credentials::bearer("hush"));
        assert_eq!(shown, "ApiKey(…) Bearer(…)");
    }
}

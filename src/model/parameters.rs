//! A2A's service parameters (A2A 1.0.1, 3.2.6): what accompanies a call in whatever way its binding has.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind, Result};

/// Service parameters of one call or reply: at most [`MAX_COUNT`](Self::MAX_COUNT) pairs. Names are
/// compared without regard to case. Only the names that A2A knows are kept: `A2A-*` and W3C's
/// `traceparent` and `tracestate`; any other is ignored, as headers of other layers are.
///
/// A log keeps them as a list of pairs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, String)>")]
pub struct ServiceParameters(Vec<(String, String)>);

impl TryFrom<Vec<(String, String)>> for ServiceParameters {
    type Error = Fault;

    fn try_from(pairs: Vec<(String, String)>) -> Result<Self> {
        Self::from_pairs(pairs.iter().map(|(name, value)| (&**name, &**value)))
    }
}

impl ServiceParameters {
    /// Pairs that one call may carry.
    pub const MAX_COUNT: usize = 32;
    /// Bytes of one name.
    pub const MAX_NAME_BYTES: usize = 128;
    /// Bytes of one value.
    pub const MAX_VALUE_BYTES: usize = 8_192;
    /// Names the protocol version that the caller speaks.
    pub const VERSION: &'static str = "A2A-Version";
    /// Lists the URIs of the extensions that the caller asks for, or that the server activated.
    pub const EXTENSIONS: &'static str = "A2A-Extensions";

    /// No parameters.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads the pairs of a call. Too many, too long, or with a control character: InvalidParams.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut parameters = Self::new();
        for (name, value) in pairs {
            parameters.insert(name, value)?;
        }
        Ok(parameters)
    }

    /// Adds a pair, or replaces the value of that name. See [`from_pairs`](Self::from_pairs).
    pub fn insert(&mut self, name: &str, value: &str) -> Result<()> {
        if name.len() > Self::MAX_NAME_BYTES || value.len() > Self::MAX_VALUE_BYTES {
            let bounds = (Self::MAX_NAME_BYTES, Self::MAX_VALUE_BYTES);
            let rule = format!("a name has at most {} bytes and a value {}", bounds.0, bounds.1);
            return Err(Fault::invalid("parameters", rule));
        }
        if name.chars().chain(value.chars()).any(char::is_control) {
            return Err(Fault::invalid("parameters", "control characters are not allowed"));
        }
        if !is_known(name) {
            return Ok(());
        }
        if let Some(pair) = self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            pair.1 = value.to_owned();
        } else if self.0.len() == Self::MAX_COUNT {
            return Err(Fault::invalid("parameters", format!("at most {} are allowed", Self::MAX_COUNT)));
        } else {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    /// The value of this name, in whatever case it was written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All pairs, in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The extensions that the caller asks for.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        let list = self.get(Self::EXTENSIONS).unwrap_or_default();
        list.split(',').map(str::trim).filter(|uri| !uri.is_empty())
    }

    /// Checks `A2A-Version` against what this surface speaks; absent or empty means the first of these.
    /// A patch number is ignored (A2A 1.0.1, 3.6).
    pub fn check_version(&self, spoken: &[&str]) -> Result<()> {
        let Some(asked) = self.get(Self::VERSION).map(str::trim).filter(|asked| !asked.is_empty()) else {
            return Ok(());
        };
        let mut numbers = asked.splitn(3, '.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or("0"));
        if spoken.iter().any(|version| version.split_once('.') == Some((major, minor))) {
            return Ok(());
        }
        let message = format!("A2A version {asked:?} is not spoken here; use {}", spoken.join(" or "));
        Err(Fault::new(FaultKind::VersionNotSupported, message).with("supported", spoken.join(",")))
    }
}

/// Values may hold what a log must not: only the names are shown.
impl fmt::Debug for ServiceParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn is_known(name: &str) -> bool {
    let prefix = name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("a2a-"));
    prefix || name.eq_ignore_ascii_case("traceparent") || name.eq_ignore_ascii_case("tracestate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case() {
        let parameters = ServiceParameters::from_pairs([("a2a-version", "1.0"), ("X-Other", "1")]).unwrap();
        assert_eq!(parameters.get("A2A-Version"), Some("1.0"));
        assert_eq!(parameters.iter().len(), 1);
    }

    #[test]
    fn an_unknown_version_is_refused_and_names_the_known_ones() {
        let asked = |version| ServiceParameters::from_pairs([("A2A-Version", version)]).unwrap();
        for fine in ["", "1.0", "1.0.7"] {
            assert_eq!(asked(fine).check_version(&["1.0"]), Ok(()), "{fine}");
        }
        let fault = asked("2.0").check_version(&["1.0"]).unwrap_err();
        assert_eq!(
            (fault.kind(), fault.metadata()["supported"].as_str()),
            (FaultKind::VersionNotSupported, "1.0")
        );
    }

    #[test]
    fn bounds_are_enforced() {
        let many = (0..40).map(|n| format!("a2a-{n}")).collect::<Vec<_>>();
        let pairs = many.iter().map(|name| (name.as_str(), "x"));
        assert_eq!(ServiceParameters::from_pairs(pairs).unwrap_err().kind(), FaultKind::InvalidParams);
        let long = "x".repeat(ServiceParameters::MAX_VALUE_BYTES + 1);
        let fault = ServiceParameters::from_pairs([("a2a-x", long.as_str())]).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::InvalidParams);
        assert!(ServiceParameters::from_pairs([("a2a-x", "line\r\nbreak")]).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let parameters = ServiceParameters::from_pairs([("a2a-token", "hush")]).unwrap();
        assert!(!format!("{parameters:?}").contains("hush"));
    }
}

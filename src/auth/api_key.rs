//! API keys.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::CREDENTIAL_BYTES;
use super::keys::KeyEntry;
use super::secret::{self, SecretDigest};
use crate::fault::Fault;

/// A key that proves to be a principal. Made ones are `a2a_` and 48 characters: 256 random bits and a
/// checksum. An operator may choose another text of at least [`ApiKey::CHOSEN_CHARS`] characters for
/// development. Neither `Debug` nor anything else prints it unasked.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// What every made key begins with.
    pub const PREFIX: &str = "a2a_";
    /// Characters that a key must have at least if an operator chooses it.
    pub const CHOSEN_CHARS: usize = 32;

    /// Makes a key. Fails only if the system has no randomness to give.
    pub fn generate() -> Result<Self, Fault> {
        secret::mint(Self::PREFIX).map(Self)
    }

    /// Reads a key, and refuses what cannot be one: no server need be asked about a typo.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        if text.len() > CREDENTIAL_BYTES {
            return Err(ApiKeyError::TooLong);
        }
        if text.starts_with(Self::PREFIX) {
            let whole = secret::is_well_formed(Self::PREFIX, text);
            return if whole { Ok(Self(text.into())) } else { Err(ApiKeyError::Mistyped) };
        }
        if text.chars().count() < Self::CHOSEN_CHARS {
            return Err(ApiKeyError::TooShort);
        }
        // A key travels in headers, where these would be cut off or end the line.
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(ApiKeyError::Unsendable);
        }
        Ok(Self(text.into()))
    }

    /// The key itself: to be shown once, or sent.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored of it.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.expose())
    }

    /// The configuration entry that lets this key in as `subject`, without an end.
    pub fn entry(&self, subject: &str) -> KeyEntry {
        KeyEntry::new(subject, self.digest())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// Why a text cannot be an API key. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyError {
    /// It begins like a made key, but is cut or has a wrong character.
    Mistyped,
    /// A chosen key has too few characters.
    TooShort,
    /// More bytes than any credential may have.
    TooLong,
    /// A control character, or space at an end.
    Unsendable,
}

impl fmt::Display for ApiKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mistyped => f.write_str("the API key is incomplete or mistyped: copy it again, whole"),
            Self::TooShort => {
                write!(f, "a chosen API key must have at least {} characters", ApiKey::CHOSEN_CHARS)
            }
            Self::TooLong => write!(f, "an API key may have at most {CREDENTIAL_BYTES} bytes"),
            Self::Unsendable => {
                f.write_str("an API key may have no control characters and no space at its ends")
            }
        }
    }
}

impl std::error::Error for ApiKeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_reads_back() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(ApiKey::parse(key.expose()).unwrap().digest(), key.digest());
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_offline() {
        let made = ApiKey::generate().unwrap();
        let cases = [
            (made.expose()[..40].to_owned(), ApiKeyError::Mistyped),
            (format!("a2a_{}", "x".repeat(48)), ApiKeyError::Mistyped),
            ("x".repeat(31), ApiKeyError::TooShort),
            ("é".repeat(31), ApiKeyError::TooShort),
            ("x".repeat(CREDENTIAL_BYTES + 1), ApiKeyError::TooLong),
            (format!("{}\n", "x".repeat(32)), ApiKeyError::Unsendable),
        ];
        for (text, expected) in cases {
            assert_eq!(ApiKey::parse(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_chosen_text_of_32_characters_is_a_key() {
        assert_eq!(ApiKey::parse(&"x".repeat(32)).unwrap().expose(), "x".repeat(32));
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(redacted)");
    }
}

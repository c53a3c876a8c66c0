//! The text form of the secrets that this server makes, and their digests.
//!
//! A secret is `<prefix>` and 48 characters of base64url: 256 random bits, then the CRC-32 of prefix
//! and bits. The prefix lets scanners find a leaked secret and says what it is for; the checksum lets
//! a mistyped one be refused without asking anybody. 36 bytes fill 48 characters exactly, so each
//! secret has one text.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::fault::Fault;

/// Bytes of randomness in a secret.
const RANDOM_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Makes a secret. Fails only if the system has no randomness to give.
pub(crate) fn mint(prefix: &str) -> Result<SecretString, Fault> {
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES + CHECKSUM_BYTES]);
    let (random, checksum) = bytes.split_at_mut(RANDOM_BYTES);
    getrandom::fill(random).map_err(|error| Fault::internal(error.to_string()))?;
    checksum.copy_from_slice(&crc(prefix, random));
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    Ok(SecretString::from(format!("{prefix}{}", encoded.as_str())))
}

/// Whether the text is a secret with this prefix, unharmed.
pub(crate) fn is_well_formed(prefix: &str, text: &str) -> bool {
    let Some(encoded) = text.strip_prefix(prefix) else { return false };
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES + CHECKSUM_BYTES]);
    // The output has room for exactly the right length, so a longer text is an error, not work.
    match URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()) {
        Ok(length) if length == bytes.len() => {}
        _ => return false,
    }
    let (random, checksum) = bytes.split_at(RANDOM_BYTES);
    crc(prefix, random) == checksum
}

fn crc(prefix: &str, random: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(prefix.as_bytes());
    hasher.update(random);
    hasher.finalize().to_be_bytes()
}

/// The SHA-256 of a secret's text: what is kept of it. No salt and no slow hash, as the secrets are
/// 256 random bits (a development key, chosen by its operator, guards one developer's machine).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret's whole text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
    }
}

impl ConstantTimeEq for SecretDigest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Enough to tell two apart in a log, too little to search for the secret.
impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretDigest({}..)", &self.to_hex()[..8])
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("four bits are one hexadecimal digit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_minted_secret_is_well_formed_and_no_two_are_equal() {
        let one = mint("a2a_").unwrap();
        assert_eq!(one.expose_secret().len(), 52);
        assert!(is_well_formed("a2a_", one.expose_secret()));
        assert_ne!(one.expose_secret(), mint("a2a_").unwrap().expose_secret());
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let secret = mint("a2a_").unwrap();
        for at in 0..secret.expose_secret().len() {
            let mut wrong = secret.expose_secret().to_owned().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            assert!(!is_well_formed("a2a_", std::str::from_utf8(&wrong).unwrap()), "position {at}");
        }
    }

    #[test]
    fn a_cut_a_lengthened_and_a_differently_prefixed_secret_are_not_well_formed() {
        let secret = mint("a2a_").unwrap();
        let text = secret.expose_secret();
        let other_prefix = text.replacen("a2a_", "a2c_", 1);
        for wrong in ["", "a2a_", &text[..51], &format!("{text}A"), &format!("{text}="), &other_prefix] {
            assert!(!is_well_formed("a2a_", wrong), "{wrong}");
        }
        assert!(!is_well_formed("a2c_", &other_prefix), "the checksum covers the prefix");
    }

    #[test]
    fn a_digest_is_sha_256_and_its_hex_reads_back() {
        let digest = SecretDigest::of("abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_hex(), hex);
        assert_eq!(SecretDigest::from_hex(hex), Some(digest));
        assert_eq!(SecretDigest::from_hex(&hex.to_uppercase()), Some(digest));
        for wrong in ["", &hex[..63], &format!("{hex}0"), &hex.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(SecretDigest::from_hex(wrong), None, "{wrong}");
        }
    }
}

//! What the environment asks for.

use std::fmt::Debug;
use std::str::FromStr;

pub(crate) fn setting<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// How much is done: as CI does it, or for long.
pub(crate) fn long(short: usize, long: usize) -> usize {
    if std::env::var("A2A_WEBCAP_LONG").is_ok_and(|value| value == "1") { long } else { short }
}

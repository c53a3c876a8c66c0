//! The key that clients show to our server.

/// The key of the benchmarks.
pub(crate) const KEY: &str = "the key of the benchmarks, which is long enough";

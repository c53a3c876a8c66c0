//! A2A's words as Rust types.

mod timestamp;

pub use timestamp::Timestamp;

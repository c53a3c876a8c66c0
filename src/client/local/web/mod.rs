//! The objects over Cap'n Web: what stands for one, how its methods are called, and what the server calls.

mod ear;
mod stub;
mod talk;
mod values;
mod voice;

pub(super) use ear::listen;
pub(super) use stub::Stub;
pub(super) use talk::Talk;
pub(super) use values::{Value, credentials, cursor, empty, optional, read, send, text_of, value};
pub(super) use voice::Voice;

//! Codecs between the model and the wire forms. File names mirror `model/`.

pub mod capnp;
pub mod capnweb;
pub mod v0_3;

use crate::fault::{Fault, Result};

/// Says in which field of the outer value a fault was found.
pub(crate) trait Within {
    /// Puts `outer` before the path of the field.
    fn within(self, outer: &str) -> Self;
    /// Puts `outer[index]` before the path of the field.
    fn within_element(self, outer: &str, index: usize) -> Self;
}

impl<T> Within for Result<T> {
    fn within(self, outer: &str) -> Self {
        self.map_err(|fault| match fault.violations() {
            [violation, ..] => {
                Fault::invalid(format!("{outer}.{}", violation.field), violation.description.as_str())
            }
            [] => fault,
        })
    }

    fn within_element(self, outer: &str, index: usize) -> Self {
        if self.is_ok() { self } else { self.within(&format!("{outer}[{index}]")) }
    }
}

/// The beginning of a peer's text.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
    let mark = if end < text.len() { "…" } else { "" };
    format!("{}{mark}", &text[..end])
}

/// The bytes of a peer's text that a fault keeps.
const MAX_MESSAGE_BYTES: usize = 2_048;

/// The pairs, and the violations, of a peer's error that a fault keeps.
const MAX_DETAILS: usize = 64;

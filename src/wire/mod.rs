//! Codecs between the model and the wire forms. File names mirror `model/`.

pub mod capnp;
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

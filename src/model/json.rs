//! Reading A2A JSON that somebody else wrote.
//!
//! The caller bounds the bytes; nesting is bounded here (`serde_json` stops at 128 levels), and so is
//! what an error repeats of its input.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path, Track};

use crate::fault::{Fault, FaultKind};

/// The most bytes of input that an error repeats, in its path and in its description.
const MAX_QUOTED: usize = 256;

/// Reads one JSON document, with nothing after it.
///
/// # Errors
/// [`FaultKind::ParseError`] if the bytes are not JSON, else [`FaultKind::InvalidParams`] with a
/// violation that names the field by its path in JSON names, such as `message.parts[0]`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = T::deserialize(tracked).map_err(|error| fault(&track.path(), &error))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Reads a JSON value that is already in memory.
///
/// # Errors
/// [`FaultKind::InvalidParams`], as in [`from_slice`].
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    T::deserialize(tracked).map_err(|error| fault(&track.path(), &error))
}

fn fault(path: &Path, error: &serde_json::Error) -> Fault {
    if error.classify() != Category::Data {
        return malformed(error);
    }
    let parent = (path.iter().len() > 0).then(|| path.to_string());
    let text = error.to_string();
    let (field, description) = match absent_or_twice(&text) {
        // The path of such an error ends at the object; the field itself is only in the text.
        Some((field, description)) => {
            let dot = parent.map(|parent| parent + ".").unwrap_or_default();
            (dot + field, description)
        }
        None => (parent.unwrap_or_else(|| "body".to_owned()), text.as_str()),
    };
    Fault::invalid(shortened(&field), shortened(description))
}

/// The field that serde says is missing or given twice.
fn absent_or_twice(text: &str) -> Option<(&str, &'static str)> {
    let (field, description) = if let Some(rest) = text.strip_prefix("missing field `") {
        (rest, "is required")
    } else {
        (text.strip_prefix("duplicate field `")?, "is given more than once")
    };
    Some((field.split('`').next()?, description))
}

fn malformed(error: &serde_json::Error) -> Fault {
    Fault::new(FaultKind::ParseError, shortened(&format!("not valid JSON: {error}")))
}

/// Keeps both ends, since serde puts what was expected behind what was given.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_QUOTED {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(MAX_QUOTED / 2);
    let tail = text.ceil_char_boundary(text.len() - MAX_QUOTED / 2);
    format!("{}…{}", &text[..head], &text[tail..])
}

//! Writing values down.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::error::{Error, Refused, Violation};
use crate::read;
use crate::value::{Bytes, Data, Value};

/// How deep a value may nest when it is written, the reference's bound.
const DEPTH: usize = 256;

pub(crate) const TOO_LONG: Refused = Refused::Unsendable("a value is too long to be sent");

/// A value without capabilities that is already written down as an expression: made once, sent to any number of
/// peers, from any thread.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(Arc<str>);

/// Says how capabilities are written, and how long the text may become.
pub(crate) trait Exporter<T> {
    /// Writes a capability or a promise that stands at `depth`.
    fn capability(&mut self, out: &mut String, value: &Value<T>, depth: usize) -> Result<(), Refused>;

    /// The longest text, in bytes.
    fn longest(&self) -> usize;
}

/// Writes what needs no session.
struct Plain;

impl Encoded {
    /// Writes a value down. Fails if it nests too deep.
    pub fn new(value: &Data) -> Result<Self, Refused> {
        let mut out = String::new();
        write(&mut out, value, 0, &mut Plain)?;
        Ok(Self(out.into()))
    }

    /// Takes an expression that was written elsewhere, after reading it through: it must be one value, without
    /// capabilities.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        read::data(text)?;
        Ok(Self(text.into()))
    }

    /// For text that was made by this crate.
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "for the serializer"))]
    pub(crate) fn trusted(text: String) -> Self {
        Self(text.into())
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the value.
    pub fn to_value<T>(&self) -> Value<T> {
        read::data(&self.0).map_or(Value::Undefined, Data::into_value)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

impl<T> Exporter<T> for Plain {
    fn capability(&mut self, _: &mut String, _: &Value<T>, _: usize) -> Result<(), Refused> {
        Err(Refused::Unsendable("a capability cannot be sent here"))
    }

    fn longest(&self) -> usize {
        usize::MAX
    }
}

/// Appends the expression of `value`.
pub(crate) fn write<T>(
    out: &mut String,
    value: &Value<T>,
    depth: usize,
    exporter: &mut dyn Exporter<T>,
) -> Result<(), Refused> {
    if depth >= DEPTH {
        return Err(Refused::Unsendable("a value nests too deep to be sent"));
    }
    if out.len() > exporter.longest() {
        return Err(TOO_LONG);
    }
    match value {
        Value::Undefined => out.push_str("[\"undefined\"]"),
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => write_number(out, *value),
        Value::BigInt(value) => {
            out.push_str("[\"bigint\",\"");
            out.push_str(value.as_str());
            out.push_str("\"]");
        }
        Value::String(text) => write_string(out, text),
        Value::Date(None) => out.push_str("[\"date\",null]"),
        Value::Date(Some(milliseconds)) => {
            out.push_str("[\"date\",");
            if milliseconds.is_finite() {
                write_number(out, *milliseconds);
            } else {
                out.push_str("null");
            }
            out.push(']');
        }
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Error(error) => write_error(out, error, depth),
        Value::Url(text) => {
            out.push_str("[\"url\",");
            write_string(out, text);
            out.push(']');
        }
        Value::Headers(pairs) => write_headers(out, pairs),
        Value::Array(items) => {
            out.push_str("[[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item, depth + 1, exporter)?;
            }
            out.push_str("]]");
        }
        Value::Object(object) => {
            out.push('{');
            for (index, (name, value)) in object.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write(out, value, depth + 1, exporter)?;
            }
            out.push('}');
        }
        Value::Encoded(text) => out.push_str(&text.0),
        capability => exporter.capability(out, capability, depth)?,
    }
    Ok(())
}

/// Appends an error's expression. Properties that cannot be written are left out, as the reference does.
pub(crate) fn write_error(out: &mut String, error: &Error, depth: usize) {
    out.push_str("[\"error\",");
    write_string(out, &error.name);
    out.push(',');
    write_string(out, &error.message);
    if error.stack.is_some() || !error.props.is_empty() {
        out.push(',');
        match &error.stack {
            Some(stack) => write_string(out, stack),
            None => out.push_str("null"),
        }
    }
    if !error.props.is_empty() {
        out.push_str(",{");
        let mut first = true;
        for (name, value) in &error.props {
            let before = out.len();
            if !first {
                out.push(',');
            }
            write_string(out, name);
            out.push(':');
            match write(out, value, depth + 1, &mut Plain) {
                Ok(()) => first = false,
                Err(_) => out.truncate(before),
            }
        }
        out.push('}');
    }
    out.push(']');
}

/// Appends JSON text, quotes included.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut written = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[written..index]);
        written = index + 1;
        match escape {
            "" => _ = write!(out, "\\u{byte:04x}"),
            escape => out.push_str(escape),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// Appends a number as JavaScript writes it, so that every number comes back as the same one.
pub(crate) fn write_number(out: &mut String, number: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let size = number.abs();
    // Writing to a string cannot fail.
    let _ = if number.is_nan() {
        out.write_str("[\"nan\"]")
    } else if number.is_infinite() {
        out.write_str(if number > 0.0 { "[\"inf\"]" } else { "[\"-inf\"]" })
    } else if size <= EXACT && number.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and no bigger than 2^53")]
        let whole = number as i64;
        write!(out, "{whole}")
    } else if (1e-6..1e21).contains(&size) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
}

pub(crate) fn write_id(out: &mut String, id: i64) {
    let _ = write!(out, "{id}");
}

fn write_headers(out: &mut String, pairs: &[(String, String)]) {
    out.push_str("[\"headers\",[");
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push_str(if index > 0 { ",[" } else { "[" });
        write_string(out, name);
        out.push(',');
        write_string(out, value);
        out.push(']');
    }
    out.push_str("]]");
}

fn write_bytes(out: &mut String, bytes: &Bytes) {
    out.push_str("[\"bytes\",\"");
    write_base64(out, &bytes.data, false);
    out.push('"');
    if let Some(name) = bytes.kind.name() {
        out.push_str(",\"");
        out.push_str(name);
        out.push('"');
    }
    out.push(']');
}

/// Appends base64 of the standard alphabet.
pub(crate) fn write_base64(out: &mut String, data: &[u8], padded: bool) {
    out.reserve(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(BASE64[(group >> (18 - 6 * index) & 63) as usize] as char);
        }
        for _ in chunk.len()..if padded { 3 } else { 0 } {
            out.push('=');
        }
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Reads base64 of the standard alphabet, padded or not; `None` if it is not that.
pub(crate) fn read_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if text.len() - digits.len() > 2
        || (text.len() != digits.len() && !text.len().is_multiple_of(4))
        || digits.len() % 4 == 1
    {
        return None;
    }
    let mut data = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut group = 0_u32;
        for digit in chunk {
            group = group << 6 | base64_digit(*digit)?;
        }
        group <<= 6 * (4 - chunk.len());
        data.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(data)
}

fn base64_digit(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

//! From serde, and to plain JSON.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Number};

use crate::encode::{Encoded, write_base64};
use crate::error::Error;
use crate::value::{Object, Value};

const EXACT: i64 = 1 << 53;

impl Encoded {
    /// Writes down whatever serializes. Whole numbers beyond 2^53 become big integers, since JavaScript's numbers cannot
    /// hold them; numbers that are none become `null`, as always with serde.
    ///
    /// # Errors
    /// If the value's own serialization fails, or it holds raw JSON.
    pub fn serialize(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        let mut out = Vec::with_capacity(128);
        value.serialize(&mut Serializer::with_formatter(&mut out, Expressions))?;
        let text = String::from_utf8(out).expect("serde_json writes UTF-8");
        Ok(Self::trusted(text))
    }
}

/// JSON, but for arrays, which need another pair of brackets.
struct Expressions;

impl Formatter for Expressions {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"[[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"]]")
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(io::Error::other("raw JSON cannot be sent: its arrays would not be read as such"))
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        match value.unsigned_abs() > EXACT.unsigned_abs() {
            true => write!(writer, "[\"bigint\",\"{value}\"]"),
            false => write!(writer, "{value}"),
        }
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        match value > EXACT.unsigned_abs() {
            true => write!(writer, "[\"bigint\",\"{value}\"]"),
            false => write!(writer, "{value}"),
        }
    }
}

impl<T> Value<T> {
    /// The value as plain JSON: what `JSON.stringify` would make of it, with bytes as base64. A property that is
    /// `undefined` is left out; elsewhere `undefined` is `null`.
    ///
    /// # Errors
    /// A `TypeError` that names the place, if it holds a capability, an error, headers, or a number that is none.
    pub fn into_json(self) -> Result<serde_json::Value, Error> {
        into_json(self, &mut String::new())
    }

    /// The value that plain JSON stands for.
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => from_number(&number),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from_json).collect()),
            serde_json::Value::Object(map) => Self::Object(Object::from_entries(
                map.into_iter().map(|(name, value)| (name.into(), Self::from_json(value))).collect(),
            )),
        }
    }
}

fn from_number<T>(number: &Number) -> Value<T> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), ..) if whole.unsigned_abs() > EXACT.unsigned_abs() => Value::BigInt(whole.into()),
        (None, Some(whole), _) => Value::BigInt(whole.into()),
        (.., float) => Value::Number(float.unwrap_or(f64::NAN)),
    }
}

fn into_json<T>(value: Value<T>, path: &mut String) -> Result<serde_json::Value, Error> {
    Ok(match value {
        Value::Undefined | Value::Null => serde_json::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Number(number) => to_number(number).ok_or_else(|| no_json(path, "a number that is none"))?,
        Value::BigInt(whole) => match (whole.as_str().parse::<i64>(), whole.as_str().parse::<u64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(whole)) => whole.into(),
            _ => return Err(no_json(path, "a whole number beyond 64 bits")),
        },
        Value::String(text) | Value::Url(text) => text.into(),
        Value::Date(Some(milliseconds)) => date(milliseconds).into(),
        Value::Date(None) => serde_json::Value::Null,
        Value::Bytes(bytes) => {
            let mut text = String::new();
            write_base64(&mut text, &bytes.data, true);
            text.into()
        }
        Value::Array(items) => {
            let length = path.len();
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                list.push(into_json(item, path)?);
                path.truncate(length);
            }
            list.into()
        }
        Value::Object(object) => {
            let length = path.len();
            let mut map = Map::new();
            for (name, item) in object {
                if item == Value::Undefined {
                    continue;
                }
                path.push('.');
                path.push_str(&name);
                map.insert(name.into(), into_json(item, path)?);
                path.truncate(length);
            }
            map.into()
        }
        Value::Encoded(text) => into_json(text.to_value::<T>(), path)?,
        Value::Error(_) => return Err(no_json(path, "an error")),
        Value::Headers(_) => return Err(no_json(path, "headers")),
        _ => return Err(no_json(path, "a capability")),
    })
}

fn to_number(number: f64) -> Option<serde_json::Value> {
    #[expect(clippy::cast_possible_truncation, reason = "whole, and no bigger than 2^53")]
    let whole = number as i64;
    if number.fract() == 0.0 && whole.unsigned_abs() <= EXACT.unsigned_abs() {
        return Some(whole.into());
    }
    Number::from_f64(number).map(serde_json::Value::Number)
}

fn no_json(path: &str, what: &str) -> Error {
    let path = path.trim_start_matches('.');
    let place = if path.is_empty() { "the value" } else { path };
    Error::type_error(format!("{place} is {what}, where plain data is expected"))
}

/// A date as `Date.prototype.toJSON` writes it.
fn date(milliseconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "dates are read only within JavaScript's bounds")]
    let milliseconds = milliseconds as i64;
    let (days, rest) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
    // Years that begin in March, in eras of 400: Howard Hinnant's `civil_from_days`.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millisecond) = (rest / 1_000 % 60, rest % 1_000);
    let year = match year {
        0..10_000 => format!("{year:04}"),
        year if year < 0 => format!("-{:06}", -year),
        year => format!("+{year:06}"),
    };
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

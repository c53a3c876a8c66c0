//! What travels: every value that Cap'n Web has a form for.

use std::fmt;
use std::rc::Rc;

use crate::encode::Encoded;
use crate::error::Error;
use crate::handle::{Local, Promise, Readable, Remote, Source};

/// A value in arguments or results. `T` is the host's type of objects.
///
/// Cloning copies data and shares objects. `Debug` shows kinds and sizes, never contents: arguments hold secrets.
pub enum Value<T> {
    /// JavaScript's `undefined`: what a method without a result gives.
    Undefined,
    /// `null`, which is another value than `undefined`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number. Whole numbers are exact up to 2^53; `inf`, `-inf` and `nan` travel too.
    Number(f64),
    /// A whole number of any size.
    BigInt(BigInt),
    /// Text.
    String(String),
    /// Milliseconds since 1970, with fractions; `None` is JavaScript's invalid date.
    Date(Option<f64>),
    /// Bytes, with the type that JavaScript shows them as.
    Bytes(Box<Bytes>),
    /// An error as a value. Capabilities inside it are dropped when it is received.
    Error(Box<Error>),
    /// An absolute URL, as it was written.
    Url(String),
    /// HTTP headers in their order; names are lower-case when received.
    Headers(Vec<(String, String)>),
    /// A list.
    Array(Vec<Value<T>>),
    /// An object of named values.
    Object(Object<T>),
    /// An object of this side. Received when the peer passes one back that it was given.
    Local(Local<T>),
    /// An object of the peer.
    Remote(Remote),
    /// What is not known yet. Never received by a host: arguments and answers are given to it when nothing in them
    /// is pending.
    Promise(Promise<T>),
    /// The reading end of a stream that the peer writes: its chunks come as [`Action::Write`](crate::Action::Write).
    Readable(Readable),
    /// The reading end of a stream that this side writes, made by [`Session::pipe`](crate::Session::pipe). Can be
    /// sent once.
    Source(Source),
    /// A `WritableStream` of the peer: write with stream calls of `write`, `close` and `abort`.
    Writable(Remote),
    /// A `WritableStream` of this side: the peer's `write`, `close` and `abort` come as calls on it.
    Sink(Local<T>),
    /// A value that is already written down. Never received by a host.
    Encoded(Encoded),
}

/// A value without capabilities: what errors carry.
pub type Data = Value<Never>;

/// The type of objects that there are none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

/// The decimal text of a whole number: digits, a minus sign if it is negative, no leading zeros.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BigInt(Box<str>);

/// Bytes, and what JavaScript shows them as.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes {
    /// The bytes, little-endian where elements are wider than one.
    pub data: Vec<u8>,
    /// The type at the other end.
    pub kind: BytesKind,
}

/// The JavaScript types that bytes can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the JavaScript class of its name")]
pub enum BytesKind {
    /// No type was named: `Uint8Array`, or `Buffer` in Node.
    Plain,
    ArrayBuffer,
    DataView,
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    BigInt64Array,
    BigUint64Array,
    Float32Array,
    Float64Array,
}

/// Named values in the order in which they were written. A name stands once.
pub struct Object<T>(Vec<(Box<str>, Value<T>)>);

/// One step of a property path.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    /// A property's name.
    Name(Box<str>),
    /// An element's number. Only whole numbers from zero find anything in an array.
    Index(f64),
}

impl<T> Value<T> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object<T>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether nothing was said: `undefined` or `null`.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// The same value without its capabilities, in whose places `undefined` stands.
    pub fn into_data(self) -> Data {
        self.recast(&mut |_| Data::Undefined)
    }

    /// Turns what is no capability into the same of another host, and capabilities into what `other` says.
    fn recast<U>(self, other: &mut dyn FnMut(Self) -> Value<U>) -> Value<U> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::BigInt(value) => Value::BigInt(value),
            Self::String(value) => Value::String(value),
            Self::Date(value) => Value::Date(value),
            Self::Bytes(value) => Value::Bytes(value),
            Self::Error(value) => Value::Error(value),
            Self::Url(value) => Value::Url(value),
            Self::Headers(value) => Value::Headers(value),
            Self::Encoded(value) => Value::Encoded(value),
            Self::Array(items) => Value::Array(items.into_iter().map(|item| item.recast(other)).collect()),
            Self::Object(object) => {
                Value::Object(Object(object.0.into_iter().map(|(k, v)| (k, v.recast(other))).collect()))
            }
            capability => other(capability),
        }
    }

    /// About how many bytes the value holds in memory.
    pub(crate) fn weight(&self) -> usize {
        let own = size_of::<Self>();
        own + match self {
            Self::BigInt(value) => value.0.len(),
            Self::String(value) | Self::Url(value) => value.len(),
            Self::Bytes(value) => value.data.len() + size_of::<Bytes>(),
            Self::Error(error) => error.weight(),
            Self::Headers(pairs) => pairs.iter().map(|(name, value)| 48 + name.len() + value.len()).sum(),
            Self::Array(items) => items.iter().map(Self::weight).sum(),
            Self::Object(object) => object.0.iter().map(|(key, value)| 16 + key.len() + value.weight()).sum(),
            Self::Encoded(text) => text.as_str().len(),
            _ => 0,
        }
    }
}

impl Data {
    /// The same value for a host of any kind.
    pub fn into_value<T>(self) -> Value<T> {
        self.recast(&mut |_| Value::Undefined)
    }
}

impl BigInt {
    /// Takes a decimal text; `None` if it is not one. Leading zeros and the sign of zero are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(match digits.trim_start_matches('0') {
            "" => Self("0".into()),
            digits => Self(format!("{sign}{digits}").into()),
        })
    }

    /// The decimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<i64> for BigInt {
    fn from(value: i64) -> Self {
        Self(value.to_string().into())
    }
}

impl From<u64> for BigInt {
    fn from(value: u64) -> Self {
        Self(value.to_string().into())
    }
}

impl Bytes {
    /// Bytes of no particular type.
    pub fn plain(data: impl Into<Vec<u8>>) -> Self {
        Self { data: data.into(), kind: BytesKind::Plain }
    }
}

impl BytesKind {
    const NAMED: [(&str, Self, usize); 13] = [
        ("ArrayBuffer", Self::ArrayBuffer, 1),
        ("DataView", Self::DataView, 1),
        ("Int8Array", Self::Int8Array, 1),
        ("Uint8Array", Self::Uint8Array, 1),
        ("Uint8ClampedArray", Self::Uint8ClampedArray, 1),
        ("Int16Array", Self::Int16Array, 2),
        ("Uint16Array", Self::Uint16Array, 2),
        ("Int32Array", Self::Int32Array, 4),
        ("Uint32Array", Self::Uint32Array, 4),
        ("BigInt64Array", Self::BigInt64Array, 8),
        ("BigUint64Array", Self::BigUint64Array, 8),
        ("Float32Array", Self::Float32Array, 4),
        ("Float64Array", Self::Float64Array, 8),
    ];

    /// The type of this name, and the bytes of one of its elements.
    pub(crate) fn named(name: &str) -> Option<(Self, usize)> {
        Self::NAMED.iter().find(|known| known.0 == name).map(|known| (known.1, known.2))
    }

    /// The name on the wire; none for bytes of no particular type.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|known| known.1 == self).map(|known| known.0)
    }
}

impl<T> Object<T> {
    /// An object without properties.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&Value<T>> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
    }

    /// Takes a property out.
    pub fn remove(&mut self, name: &str) -> Option<Value<T>> {
        let index = self.0.iter().position(|(key, _)| **key == *name)?;
        Some(self.0.remove(index).1)
    }

    /// Sets a property; one that was there keeps its place.
    pub fn insert(&mut self, name: impl Into<Box<str>>, value: impl Into<Value<T>>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The same with one more property.
    #[must_use]
    pub fn with(mut self, name: impl Into<Box<str>>, value: impl Into<Value<T>>) -> Self {
        self.insert(name, value);
        self
    }

    /// The properties in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<T>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many properties there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For whoever has made sure that no name stands twice.
    pub(crate) fn from_entries(entries: Vec<(Box<str>, Value<T>)>) -> Self {
        Self(entries)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value<T>> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<T> IntoIterator for Object<T> {
    type Item = (Box<str>, Value<T>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Key {
    /// The name, if it is one.
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Index(_) => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => {
                let mut text = String::new();
                crate::encode::write_number(&mut text, *index);
                f.write_str(&text)
            }
        }
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Undefined => Self::Undefined,
            Self::Null => Self::Null,
            Self::Bool(value) => Self::Bool(*value),
            Self::Number(value) => Self::Number(*value),
            Self::BigInt(value) => Self::BigInt(value.clone()),
            Self::String(value) => Self::String(value.clone()),
            Self::Date(value) => Self::Date(*value),
            Self::Bytes(value) => Self::Bytes(value.clone()),
            Self::Error(value) => Self::Error(value.clone()),
            Self::Url(value) => Self::Url(value.clone()),
            Self::Headers(value) => Self::Headers(value.clone()),
            Self::Array(items) => Self::Array(items.clone()),
            Self::Object(object) => Self::Object(object.clone()),
            Self::Local(local) => Self::Local(local.clone()),
            Self::Remote(remote) => Self::Remote(remote.clone()),
            Self::Promise(promise) => Self::Promise(promise.clone()),
            Self::Readable(readable) => Self::Readable(readable.clone()),
            Self::Source(source) => Self::Source(source.clone()),
            Self::Writable(remote) => Self::Writable(remote.clone()),
            Self::Sink(local) => Self::Sink(local.clone()),
            Self::Encoded(text) => Self::Encoded(text.clone()),
        }
    }
}

impl<T> PartialEq for Value<T> {
    /// Data by content, capabilities by identity.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined, Self::Undefined) | (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::String(a), Self::String(b)) | (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Date(a), Self::Date(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Error(a), Self::Error(b)) => a == b,
            (Self::Headers(a), Self::Headers(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a.0 == b.0,
            (Self::Local(a), Self::Local(b)) | (Self::Sink(a), Self::Sink(b)) => a.same(b),
            (Self::Remote(a), Self::Remote(b)) | (Self::Writable(a), Self::Writable(b)) => a == b,
            (Self::Promise(a), Self::Promise(b)) => Rc::ptr_eq(&a.0, &b.0),
            (Self::Readable(a), Self::Readable(b)) => a.id() == b.id(),
            (Self::Encoded(a), Self::Encoded(b)) => a == b,
            _ => false,
        }
    }
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("Undefined"),
            Self::Null => f.write_str("Null"),
            Self::Bool(_) => f.write_str("Bool"),
            Self::Number(_) => f.write_str("Number"),
            Self::BigInt(_) => f.write_str("BigInt"),
            Self::String(text) => write!(f, "String({} bytes)", text.len()),
            Self::Date(_) => f.write_str("Date"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.data.len()),
            Self::Error(_) => f.write_str("Error"),
            Self::Url(_) => f.write_str("Url"),
            Self::Headers(pairs) => write!(f, "Headers({})", pairs.len()),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Object(object) => f.debug_map().entries(object.iter()).finish(),
            Self::Local(_) => f.write_str("Local"),
            Self::Remote(remote) => write!(f, "Remote({})", remote.id()),
            Self::Promise(_) => f.write_str("Promise"),
            Self::Readable(_) => f.write_str("Readable"),
            Self::Source(_) => f.write_str("Source"),
            Self::Writable(remote) => write!(f, "Writable({})", remote.id()),
            Self::Sink(_) => f.write_str("Sink"),
            Self::Encoded(text) => write!(f, "Encoded({} bytes)", text.as_str().len()),
        }
    }
}

impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BigInt({} digits)", self.0.len())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:?}, {} bytes)", self.kind, self.data.len())
    }
}

impl<T> From<bool> for Value<T> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<T> From<f64> for Value<T> {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl<T> From<i32> for Value<T> {
    fn from(value: i32) -> Self {
        Self::Number(value.into())
    }
}

impl<T> From<u32> for Value<T> {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl<T> From<&str> for Value<T> {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl<T> From<String> for Value<T> {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl<T> From<Vec<Value<T>>> for Value<T> {
    fn from(items: Vec<Value<T>>) -> Self {
        Self::Array(items)
    }
}

impl<T> From<Object<T>> for Value<T> {
    fn from(object: Object<T>) -> Self {
        Self::Object(object)
    }
}

impl<T> From<Local<T>> for Value<T> {
    fn from(local: Local<T>) -> Self {
        Self::Local(local)
    }
}

impl<T> From<Remote> for Value<T> {
    fn from(remote: Remote) -> Self {
        Self::Remote(remote)
    }
}

impl<T> From<Encoded> for Value<T> {
    fn from(text: Encoded) -> Self {
        Self::Encoded(text)
    }
}

impl<T> From<Error> for Value<T> {
    fn from(error: Error) -> Self {
        Self::Error(Box::new(error))
    }
}

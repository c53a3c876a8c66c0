//! The two traits of the codecs, and how single fields are read and written.
//!
//! In Cap'n Proto a null text or list reads as an empty one, so where the model lets a required text or
//! list be empty, null is read as that. Everything else that the model requires is refused when it is
//! null, empty or `unset`.

use std::collections::BTreeMap;

use capnp::traits::OwnedStruct;
use capnp::{NotInSchema, struct_list, text, text_list};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::a2a_capnp::Flag;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{Struct, json};
pub(super) use crate::wire::Within;

/// A value that can be written into a struct of the schema.
pub trait Encode {
    /// The struct.
    type Owned: OwnedStruct;

    /// Writes this value into a struct that is still blank. An absent field is left null.
    ///
    /// # Panics
    /// If a text or list exceeds what Cap'n Proto can address, 2^29 - 1 elements: whatever has been read or
    /// accepted is far below, for the bytes of a message are bounded.
    fn encode(&self, builder: <Self::Owned as OwnedStruct>::Builder<'_>);
}

/// A value that can be read from a struct of the schema.
pub trait Decode: Sized {
    /// The struct.
    type Owned: OwnedStruct;

    /// Reads a value that somebody else wrote.
    ///
    /// # Errors
    /// [`FaultKind::InvalidParams`] with a violation that names the field which cannot be read, is not given
    /// though required, or has a value outside its bounds.
    fn decode(reader: <Self::Owned as OwnedStruct>::Reader<'_>) -> Result<Self>;
}

/// The fault for a call whose parameters, or a reply whose results, cannot be read at all.
pub fn malformed(error: &capnp::Error) -> Fault {
    Fault::new(FaultKind::InvalidRequest, format!("not a readable Cap'n Proto message: {error}"))
}

type Text<'a> = capnp::Result<text::Reader<'a>>;
type Reader<'a, T> = <<T as Decode>::Owned as OwnedStruct>::Reader<'a>;
type List<'a, T> = capnp::Result<struct_list::Reader<'a, <T as Decode>::Owned>>;

/// A pointer of the message itself, before it is known what it points to.
pub(super) fn readable<T>(field: &str, value: capnp::Result<T>) -> Result<T> {
    value.map_err(|error| Fault::invalid(field, format!("cannot be read: {error}")))
}

/// A text, which may be empty.
pub(super) fn text<'a>(field: &str, value: Text<'a>) -> Result<&'a str> {
    readable(field, value)?.to_str().map_err(|_| Fault::invalid(field, "is not UTF-8"))
}

/// A required text or id, which must not be empty.
pub(super) fn required<'a, T: From<&'a str>>(field: &str, value: Text<'a>) -> Result<T> {
    match text(field, value)? {
        "" => Err(Fault::invalid(field, "is required and must not be empty")),
        text => Ok(text.into()),
    }
}

/// An optional text or id: the empty text is read as absent.
pub(super) fn optional<'a, T: From<&'a str>>(field: &str, value: Text<'a>) -> Result<Option<T>> {
    let text = text(field, value)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

/// A text that is absent only as a null pointer.
pub(super) fn nullable(field: &str, value: Option<Text<'_>>) -> Result<Option<String>> {
    value.map(|value| text(field, value).map(str::to_owned)).transpose()
}

/// A struct, absent as a null pointer.
pub(super) fn optional_struct<'a, T: Decode>(
    field: &str,
    value: Option<capnp::Result<Reader<'a, T>>>,
) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    T::decode(readable(field, value)?).within(field).map(Some)
}

/// A struct that must be there.
pub(super) fn required_struct<'a, T: Decode>(
    field: &str,
    value: Option<capnp::Result<Reader<'a, T>>>,
) -> Result<T> {
    optional_struct(field, value)?.ok_or_else(|| missing(field))
}

/// A list of structs.
pub(super) fn list<T: Decode>(field: &str, list: List<'_, T>) -> Result<Vec<T>> {
    let list = readable(field, list)?;
    // An element may take no byte of the message: what is not read yet gets little room in advance.
    let mut values = Vec::with_capacity(list.len().min(MAX_RESERVED) as usize);
    for (index, element) in list.iter().enumerate() {
        values.push(T::decode(element).within_element(field, index)?);
    }
    Ok(values)
}

/// A list of structs that needs an element.
pub(super) fn required_list<T: Decode>(field: &str, list: List<'_, T>) -> Result<Vec<T>> {
    let values = self::list(field, list)?;
    if values.is_empty() { Err(too_short(field)) } else { Ok(values) }
}

/// A list of structs of which none has to hold anything, so that a short message can pretend to have
/// millions.
pub(super) fn short_list<T: Decode>(field: &str, list: List<'_, T>) -> Result<Vec<T>> {
    let list = readable(field, list)?;
    if list.len() > MAX_SHORT {
        return Err(Fault::invalid(field, format!("at most {MAX_SHORT} are read")));
    }
    self::list(field, Ok(list))
}

/// A list of texts or ids, which may be empty.
pub(super) fn texts<T>(field: &str, list: capnp::Result<text_list::Reader<'_>>) -> Result<Vec<T>>
where
    T: for<'a> From<&'a str>,
{
    let list = readable(field, list)?;
    let mut values = Vec::with_capacity(list.len().min(MAX_RESERVED) as usize);
    for (index, element) in list.iter().enumerate() {
        match element.map(|element| element.to_str()) {
            Ok(Ok(text)) => values.push(text.into()),
            Ok(Err(_)) => return Err(Fault::invalid(format!("{field}[{index}]"), "is not UTF-8")),
            Err(error) => {
                let description = format!("cannot be read: {error}");
                return Err(Fault::invalid(format!("{field}[{index}]"), description));
            }
        }
    }
    Ok(values)
}

/// A list of texts that needs an element.
pub(super) fn required_texts(field: &str, list: capnp::Result<text_list::Reader<'_>>) -> Result<Vec<String>> {
    let values = texts(field, list)?;
    if values.is_empty() { Err(too_short(field)) } else { Ok(values) }
}

/// An enum's value that the schema knows.
pub(super) fn known<T>(field: &str, value: std::result::Result<T, NotInSchema>) -> Result<T> {
    value.map_err(|NotInSchema(number)| Fault::invalid(field, format!("has no value with number {number}")))
}

/// A free-form JSON object, absent as a null pointer.
pub fn decode_object(field: &str, value: Option<Text<'_>>) -> Result<Option<Struct>> {
    value.map(|value| json(field, value, "must be a JSON object")).transpose()
}

/// JSON in a text; `wrong_type` is what to say when it is JSON, but not a `T`.
pub(super) fn json<T: DeserializeOwned>(field: &str, value: Text<'_>, wrong_type: &str) -> Result<T> {
    let text = text(field, value)?;
    if text.is_empty() {
        return Err(Fault::invalid(field, "must be JSON text; the empty text is none"));
    }
    if json::depth(text.as_bytes()) > json::MAX_VALUE_DEPTH {
        let rule = format!("must not be nested more than {} levels deep", json::MAX_VALUE_DEPTH);
        return Err(Fault::invalid(field, rule));
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Fault::invalid(field, wrong_type),
        _ => Fault::invalid(field, format!("is not valid JSON: {error}")),
    })
}

/// JSON text of a value.
pub(super) fn json_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a JSON value has texts for keys and finite numbers")
}

/// A count that is negative if not set.
pub(super) fn optional_count(count: i32) -> Option<u32> {
    u32::try_from(count).ok()
}

/// A count that is always set.
pub(super) fn count(field: &str, count: i32) -> Result<u32> {
    u32::try_from(count).map_err(|_| Fault::invalid(field, "must not be negative"))
}

/// A count for the wire. More than an `Int32` holds is more than there is of anything, so the largest
/// number says the same.
pub(super) fn int32(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A flag that may be absent.
pub(super) fn optional_flag(
    field: &str,
    flag: std::result::Result<Flag, NotInSchema>,
) -> Result<Option<bool>> {
    Ok(match known(field, flag)? {
        Flag::Unset => None,
        Flag::No => Some(false),
        Flag::Yes => Some(true),
    })
}

/// A flag that may be absent, for the wire.
pub(super) fn flag(flag: Option<bool>) -> Flag {
    match flag {
        None => Flag::Unset,
        Some(false) => Flag::No,
        Some(true) => Flag::Yes,
    }
}

/// The number of elements of a list, for the wire.
pub(super) fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("a list is bounded by the bytes of the message that it came in")
}

/// The number of entries of a map, for the wire.
pub(super) fn map_length<T>(map: &BTreeMap<String, T>) -> u32 {
    u32::try_from(map.len()).expect("a map is bounded by the bytes of the message that it came in")
}

/// Adds an entry of a map; JSON's maps have each name once, so a second one is refused.
pub(super) fn unique<T>(field: &str, map: &mut BTreeMap<String, T>, name: &str, value: T) -> Result<()> {
    match map.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Fault::invalid(field, "is given more than once")),
    }
}

/// Writes a list of structs; leaves it null if there are none.
pub(super) fn encode_list<'a, T: Encode>(
    values: &[T],
    init: impl FnOnce(u32) -> struct_list::Builder<'a, T::Owned>,
) {
    if values.is_empty() {
        return;
    }
    let mut list = init(length(values));
    for (index, value) in (0..).zip(values) {
        value.encode(list.reborrow().get(index));
    }
}

/// Writes a list of texts; leaves it null if there are none.
pub(super) fn encode_texts<'a, T: AsRef<str>>(texts: &[T], init: impl FnOnce(u32) -> text_list::Builder<'a>) {
    if texts.is_empty() {
        return;
    }
    let mut list = init(length(texts));
    for (index, text) in (0..).zip(texts) {
        list.set(index, text.as_ref());
    }
}

/// What to say about a field that is required and not there.
pub(super) fn missing(field: &str) -> Fault {
    Fault::invalid(field, "is required")
}

fn too_short(field: &str) -> Fault {
    Fault::invalid(field, "must have at least one element")
}

/// The elements that a list gets room for before they are read.
const MAX_RESERVED: u32 = 64;

/// The elements of a [`short_list`].
const MAX_SHORT: u32 = 1_024;

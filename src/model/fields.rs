//! How single fields are read: what "required" and "optional" mean, in one place.
//!
//! The protocol's schema is Protocol Buffers, where an empty text and an absent one are the same thing.
//! So an optional text that is empty is read as absent, and a required one must not be empty.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::Id;

thread_local! {
    /// Whether what is read was written by this program itself.
    static REREADING: Cell<bool> = const { Cell::new(false) };
}

/// Reads what this program has written itself, and so accepts what is missing there: what was let in once
/// must come out again, whatever rules have been added since.
#[cfg(feature = "server")]
pub(super) fn reread<T>(read: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            REREADING.set(self.0);
        }
    }
    let _restore = Restore(REREADING.replace(true));
    read()
}

/// A required list that needs an element.
pub(super) fn required_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() && !REREADING.get() {
        Err(D::Error::custom("must have at least one element"))
    } else {
        Ok(list)
    }
}

/// A required text or id, which must not be empty.
pub(super) fn required<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + AsText,
{
    let text = T::deserialize(deserializer)?;
    if text.as_text().is_empty() && !REREADING.get() {
        Err(D::Error::custom("must not be empty"))
    } else {
        Ok(text)
    }
}

/// An optional text or id: `null` and the empty text are read as absent.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + AsText,
{
    let text = Option::<T>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.as_text().is_empty()))
}

/// Whether an optional text has nothing to say and is left out of the JSON.
pub(super) fn is_blank<T: AsText>(text: &Option<T>) -> bool {
    text.as_ref().is_none_or(|text| text.as_text().is_empty())
}

/// What [`required`] and [`optional`] can judge.
pub(super) trait AsText {
    /// The text.
    fn as_text(&self) -> &str;
}

impl AsText for Id {
    fn as_text(&self) -> &str {
        self
    }
}

impl AsText for String {
    fn as_text(&self) -> &str {
        self
    }
}

/// A list, map or flag where `null` means its empty value.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whether a flag is false and is left out of the JSON.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

/// An `int32` that counts something: 0 to 2^31 - 1, as a number or, as Protocol Buffers allow, a text.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_any(CountVisitor)
}

/// A [`count`] that may be absent.
pub(super) fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    struct Count(u32);
    impl<'de> Deserialize<'de> for Count {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            count(deserializer).map(Self)
        }
    }
    Ok(Option::<Count>::deserialize(deserializer)?.map(|count| count.0))
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 2147483647")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
        let in_range = i32::try_from(number).ok().and_then(|number| u32::try_from(number).ok());
        in_range.ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<u32, E> {
        // 5.0 is a way to write 5; the range check comes first so that the conversion is exact.
        if (0.0..=f64::from(i32::MAX)).contains(&number) && number.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            return Ok(number as u32);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u32, E> {
        match text.parse() {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// An enum of the protocol's schema, written by name and read by name or number.
pub(super) trait ProtoEnum: Copy + 'static {
    /// The values, without the schema's "unspecified".
    const ALL: &'static [Self];
    /// What the schema's "unspecified" is read as; it is refused where there is none.
    const UNSPECIFIED: Option<Self> = None;
    /// The name in JSON.
    fn name(self) -> &'static str;
    /// The number in the schema.
    fn number(self) -> i32;
}

/// Reads an enum; the error of an unknown value lists the known ones.
pub(super) fn proto_enum<'de, D: Deserializer<'de>, T: ProtoEnum>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(EnumVisitor(PhantomData))
}

/// An enum that may be absent, which "unspecified" is another word for.
pub(super) fn specified<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + ProtoEnum + PartialEq,
{
    let value = Option::<T>::deserialize(deserializer)?;
    Ok(value.filter(|value| T::UNSPECIFIED != Some(*value)))
}

struct EnumVisitor<T>(PhantomData<T>);

impl<T: ProtoEnum> EnumVisitor<T> {
    fn find<E: Error>(&self, given: Unexpected<'_>, is_it: impl Fn(T) -> bool) -> Result<T, E> {
        let found = T::ALL.iter().copied().chain(T::UNSPECIFIED).find(|value| is_it(*value));
        found.ok_or_else(|| E::invalid_value(given, self))
    }
}

impl<T: ProtoEnum> Visitor<'_> for EnumVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of ")?;
        f.write_str(&T::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        self.find(Unexpected::Str(name), |value| value.name() == name)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.find(Unexpected::Unsigned(number), |value| u64::try_from(value.number()) == Ok(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.find(Unexpected::Signed(number), |value| i64::from(value.number()) == number)
    }
}

/// Defines a union whose JSON is an object with exactly one of the named members. Other members are
/// ignored, and a member that is `null` is absent.
macro_rules! union {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident($type:ty) = $json:literal | $snake:literal;)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$variant_attribute])* $variant($type),)+
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(Some(1))?;
                match self {
                    $(Self::$variant(value) => map.serialize_entry($json, value)?,)+
                }
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[expect(non_snake_case, reason = "a member is named after its variant")]
                struct Members {
                    $(#[serde(rename = $json, alias = $snake)]
                    $variant: Option<$type>,)+
                }
                let members = Members::deserialize(deserializer)?;
                let given = [$((members.$variant.is_some(), $json)),+];
                $crate::model::fields::exactly_one(&given)?;
                $(if let Some(value) = members.$variant {
                    return Ok(Self::$variant(value));
                })+
                Err(serde::de::Error::custom("no member is given"))
            }
        }
    };
}
pub(super) use union;

/// An error unless exactly one member of a union is given; it names all that may be given.
pub(super) fn exactly_one<E: Error>(members: &[(bool, &str)]) -> Result<(), E> {
    let names = |wanted: bool| {
        let names = members.iter().filter(|(given, _)| *given || !wanted).map(|(_, name)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    match members.iter().filter(|(given, _)| *given).count() {
        1 => Ok(()),
        0 => Err(E::custom(format!("needs exactly one of {}; none is given", names(false)))),
        _ => Err(E::custom(format!("needs exactly one of {}; given are {}", names(false), names(true)))),
    }
}

//! Reading expressions: JSON in which arrays have a meaning.

use std::collections::HashMap;
use std::marker::PhantomData;

use crate::encode::read_base64;
use crate::error::{Error, Violation};
use crate::handle::Promise;
use crate::limits::Limits;
use crate::scan::Scanner;
use crate::value::{BigInt, Bytes, BytesKind, Data, Key, Never, Object, Value};

/// Says what expressions mean that are no data.
pub(crate) trait Importer<T>: Sized {
    /// Reads the rest of an expression whose tag has been read, its closing bracket included.
    fn capability(reader: &mut Reader<'_, T, Self>, tag: &str, depth: usize) -> Result<Value<T>, Violation>;

    fn limits(&self) -> &Limits;

    /// Counts one more value of the message.
    fn count(&mut self) -> Result<(), Violation>;
}

pub(crate) struct Reader<'a, T, I> {
    pub(crate) scan: Scanner<'a>,
    pub(crate) importer: I,
    /// How many promises stand in what was read.
    pub(crate) promises: usize,
    host: PhantomData<T>,
}

/// For text in which there must be no capabilities.
struct NoCapabilities(Limits);

/// Reads one value without capabilities.
pub(crate) fn data(text: &str) -> Result<Data, Violation> {
    let mut reader = Reader::new(Scanner::new(text), NoCapabilities(Limits::default()));
    let value = reader.value(0)?;
    reader.scan.end()?;
    match reader.promises {
        0 => Ok(value),
        _ => Err(Violation::BadExpression("a value that cannot be read".to_owned())),
    }
}

impl Importer<Never> for NoCapabilities {
    fn capability(_: &mut Reader<'_, Never, Self>, tag: &str, _: usize) -> Result<Data, Violation> {
        Err(unknown_tag(tag))
    }

    fn limits(&self) -> &Limits {
        &self.0
    }

    fn count(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

impl<'a, T, I: Importer<T>> Reader<'a, T, I> {
    pub(crate) fn new(scan: Scanner<'a>, importer: I) -> Self {
        Self { scan, importer, promises: 0, host: PhantomData }
    }

    /// Reads an expression that stands at `depth`.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        let deepest = self.importer.limits().depth;
        if depth >= deepest {
            return Err(Violation::Limit("depth", deepest));
        }
        self.importer.count()?;
        match self.scan.peek() {
            Some(b'"') => {
                let text = self.scan.string()?.into_owned();
                Ok(if self.was_broken() { self.refuse(half_a_pair()) } else { Value::String(text) })
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b't') => self.scan.word("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.scan.word("false").map(|()| Value::Bool(false)),
            Some(b'n') => self.scan.word("null").map(|()| Value::Null),
            _ => self.scan.number().map(Value::Number),
        }
    }

    /// A value that was read and cannot be taken: the call that it belongs to will fail, and nothing else.
    pub(crate) fn refuse(&mut self, error: Error) -> Value<T> {
        self.promises += 1;
        Value::Promise(Promise::rejected(error))
    }

    /// Whether another element follows in this array.
    pub(crate) fn more(&mut self) -> Result<bool, Violation> {
        self.scan.more(b']')
    }

    /// Skips whatever elements remain.
    pub(crate) fn rest(&mut self) -> Result<(), Violation> {
        while self.more()? {
            self.skip()?;
        }
        Ok(())
    }

    /// Takes a value that nobody looks at, and gives its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, Violation> {
        let deepest = 2 * self.importer.limits().depth + 8;
        self.scan.skip(deepest)
    }

    /// Another element must follow.
    pub(crate) fn operand(&mut self, tag: &str) -> Result<(), Violation> {
        if self.more()? { Ok(()) } else { Err(unknown(tag)) }
    }

    /// No other element may follow.
    pub(crate) fn last(&mut self, tag: &str) -> Result<(), Violation> {
        if self.more()? { Err(unknown(tag)) } else { Ok(()) }
    }

    /// Reads an id: a whole number.
    pub(crate) fn id(&mut self) -> Result<i64, Violation> {
        const LARGEST: f64 = 9_007_199_254_740_992.0;
        if !matches!(self.scan.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(Violation::BadMessage("an id is no number".to_owned()));
        }
        let number = self.scan.number()?;
        if number.fract() != 0.0 || number.abs() > LARGEST {
            return Err(Violation::BadMessage("an id is no whole number".to_owned()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and no bigger than 2^53")]
        Ok(number as i64)
    }

    /// Reads a property path.
    pub(crate) fn path(&mut self, tag: &str) -> Result<Vec<Key>, Violation> {
        if !self.scan.take(b'[') {
            return Err(unknown(tag));
        }
        let mut path = Vec::new();
        if self.scan.take(b']') {
            return Ok(path);
        }
        loop {
            self.importer.count()?;
            path.push(match self.scan.peek() {
                Some(b'"') => Key::Name(self.scan.string()?.into()),
                Some(b'-' | b'0'..=b'9') => Key::Index(self.scan.number()?),
                _ => return Err(unknown(tag)),
            });
            let longest = self.importer.limits().depth;
            if path.len() > longest {
                return Err(Violation::Limit("depth", longest));
            }
            if self.was_broken() {
                return Err(Violation::BadExpression("a path with half of a surrogate pair".to_owned()));
            }
            if !self.more()? {
                return Ok(path);
            }
        }
    }

    /// Reads the elements of a list whose opening bracket was read.
    pub(crate) fn elements(&mut self, depth: usize) -> Result<Vec<Value<T>>, Violation> {
        let mut items = Vec::new();
        if self.scan.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            if !self.more()? {
                return Ok(items);
            }
        }
    }

    fn was_broken(&mut self) -> bool {
        std::mem::take(&mut self.scan.broken)
    }

    fn object(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        self.scan.expect(b'{')?;
        let mut entries = Entries::default();
        if self.scan.take(b'}') {
            return Ok(Value::Object(Object::new()));
        }
        loop {
            let name: Box<str> = self.scan.string()?.into();
            self.scan.expect(b':')?;
            let broken = self.was_broken();
            let before = self.promises;
            let mut value = self.value(depth + 1)?;
            if broken {
                value = self.refuse(half_a_pair());
            }
            if is_prototype_name(&name) || &*name == "toJSON" {
                // Read all the same, since capabilities in it count; dropped, since it could mislead JavaScript.
                self.promises = before;
            } else {
                entries.set(name, value);
            }
            if !self.scan.more(b'}')? {
                return Ok(Value::Object(Object::from_entries(entries.list)));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        self.scan.expect(b'[')?;
        match self.scan.peek() {
            Some(b'[') => {
                self.scan.expect(b'[')?;
                let items = self.elements(depth + 1)?;
                self.last("an array in an array")?;
                Ok(Value::Array(items))
            }
            Some(b'"') => {
                let tag = self.scan.string()?;
                self.tagged(&tag, depth)
            }
            Some(b']') => Err(unknown("[]")),
            _ => Err(unknown("an array that does not begin with a name")),
        }
    }

    fn tagged(&mut self, tag: &str, depth: usize) -> Result<Value<T>, Violation> {
        match tag {
            "undefined" => self.last(tag).map(|()| Value::Undefined),
            "inf" => self.rest().map(|()| Value::Number(f64::INFINITY)),
            "-inf" => self.rest().map(|()| Value::Number(f64::NEG_INFINITY)),
            "nan" => self.rest().map(|()| Value::Number(f64::NAN)),
            "bigint" => self.bigint(),
            "date" => self.date(),
            "bytes" => self.bytes(),
            "error" => self.error(depth),
            "url" => self.url(),
            "headers" => self.headers(),
            _ => I::capability(self, tag, depth),
        }
    }

    /// Reads a string that must follow.
    fn text(&mut self, tag: &str) -> Result<String, Violation> {
        self.operand(tag)?;
        self.string(tag)
    }

    pub(crate) fn string(&mut self, tag: &str) -> Result<String, Violation> {
        match self.scan.peek() {
            Some(b'"') => Ok(self.scan.string()?.into_owned()),
            _ => Err(unknown(tag)),
        }
    }

    fn bigint(&mut self) -> Result<Value<T>, Violation> {
        let text = self.text("bigint")?;
        let longest = self.importer.limits().bigint_digits;
        if text.len() > longest {
            return Err(Violation::Limit("bigint_digits", longest));
        }
        self.rest()?;
        BigInt::parse(&text).map(Value::BigInt).ok_or_else(|| unknown("bigint"))
    }

    fn date(&mut self) -> Result<Value<T>, Violation> {
        self.operand("date")?;
        let date = match self.scan.peek() {
            Some(b'n') => self.scan.word("null").map(|()| None)?,
            Some(b'-' | b'0'..=b'9') => Some(self.scan.number()?),
            _ => return Err(unknown("date")),
        };
        self.rest()?;
        // What JavaScript cannot hold as a date is an invalid one there.
        const LARGEST: f64 = 8.64e15;
        Ok(Value::Date(date.filter(|milliseconds| milliseconds.abs() <= LARGEST)))
    }

    fn bytes(&mut self) -> Result<Value<T>, Violation> {
        let text = self.text("bytes")?;
        let data = read_base64(&text).ok_or_else(|| unknown("bytes that are no base64"))?;
        let mut kind = BytesKind::Plain;
        if self.more()? {
            let name = self.string("bytes")?;
            let (named, size) = BytesKind::named(&name).ok_or_else(|| unknown("bytes of an unknown type"))?;
            if data.len() % size != 0 {
                return Err(unknown("bytes that are no whole number of elements"));
            }
            kind = named;
            self.rest()?;
        }
        Ok(Value::Bytes(Box::new(Bytes { data, kind })))
    }

    fn error(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        let mut error = Error::new(self.text("error")?, self.text("error")?);
        if self.more()? {
            match self.scan.peek() {
                Some(b'"') => error.stack = Some(self.scan.string()?.into_owned()),
                _ => _ = self.skip()?,
            }
            if self.more()? {
                error.props = self.props(depth)?;
                self.rest()?;
            }
        }
        // In what is for people, a sign for what could not be read is better than none of it.
        self.was_broken();
        Ok(Value::Error(Box::new(error)))
    }

    fn props(&mut self, depth: usize) -> Result<Vec<(String, Data)>, Violation> {
        let mut props = Entries::default();
        if !self.scan.take(b'{') {
            return Err(unknown("error"));
        }
        let before = self.promises;
        let mut more = !self.scan.take(b'}');
        while more {
            let name: Box<str> = self.scan.string()?.into();
            self.scan.expect(b':')?;
            if matches!(&*name, "name" | "message" | "stack") {
                self.skip()?;
            } else {
                let value = self.value(depth + 1)?;
                if !is_prototype_name(&name) && &*name != "toJSON" {
                    props.set(name, value.into_data());
                }
            }
            more = self.scan.more(b'}')?;
        }
        self.promises = before;
        Ok(props.list.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    fn url(&mut self) -> Result<Value<T>, Violation> {
        let text = self.text("url")?;
        self.last("url")?;
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        let fine = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if fine && !self.was_broken() {
            return Ok(Value::Url(text));
        }
        Ok(self.refuse(Error::type_error("Invalid URL")))
    }

    fn headers(&mut self) -> Result<Value<T>, Violation> {
        self.operand("headers")?;
        let mut pairs = Vec::new();
        if !self.scan.take(b'[') {
            return Err(unknown("headers"));
        }
        let mut more = !self.scan.take(b']');
        while more {
            self.importer.count()?;
            self.scan.expect(b'[').map_err(|_| unknown("headers"))?;
            let name = self.string("headers")?.to_ascii_lowercase();
            let value = self.text("headers")?;
            self.last("headers")?;
            pairs.push((name, value));
            more = self.more()?;
        }
        self.last("headers")?;
        let fine = pairs.iter().all(|(name, value)| is_header_name(name) && is_header_value(value));
        if fine && !self.was_broken() {
            return Ok(Value::Headers(pairs));
        }
        Ok(self.refuse(Error::type_error("Invalid header")))
    }
}

/// Properties as they come; of those with one name the last counts, as in JavaScript.
struct Entries<T> {
    list: Vec<(Box<str>, Value<T>)>,
    /// Where each name stands, once there are so many that looking through the list would take long.
    places: HashMap<Box<str>, usize>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new() }
    }
}

impl<T> Entries<T> {
    const FEW: usize = 16;

    fn set(&mut self, name: Box<str>, value: Value<T>) {
        let place = self.list.len();
        if place == Self::FEW && self.places.is_empty() {
            self.places = self.list.iter().zip(0..).map(|((name, _), place)| (name.clone(), place)).collect();
        }
        let known = match place < Self::FEW {
            true => self.list.iter().position(|(other, _)| *other == name),
            false => self.places.insert(name.clone(), place),
        };
        match known {
            Some(known) => {
                self.list[known].1 = value;
                if place >= Self::FEW {
                    self.places.insert(name, known);
                }
            }
            None => self.list.push((name, value)),
        }
    }
}

/// Whether every JavaScript object has a property of this name.
pub(crate) fn is_prototype_name(name: &str) -> bool {
    matches!(
        name,
        "__proto__"
            | "constructor"
            | "hasOwnProperty"
            | "isPrototypeOf"
            | "propertyIsEnumerable"
            | "toLocaleString"
            | "toString"
            | "valueOf"
            | "__defineGetter__"
            | "__defineSetter__"
            | "__lookupGetter__"
            | "__lookupSetter__"
    )
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_header_value(value: &str) -> bool {
    !value.bytes().any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}

fn half_a_pair() -> Error {
    Error::type_error("a string holds half of a surrogate pair: cut texts between characters")
}

/// That an expression means nothing. Only its tag is told, since the rest may be secret.
pub(crate) fn unknown(tag: &str) -> Violation {
    Violation::BadExpression(tag.chars().take(40).collect())
}

/// The same of one whose tag is none. It is told only if it looks like one: it may be a text that somebody forgot to mark.
pub(crate) fn unknown_tag(tag: &str) -> Violation {
    unknown(if is_name(tag) { tag } else { "an array that does not begin with a name" })
}

/// Whether it looks like the names of this protocol do.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

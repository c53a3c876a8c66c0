//! What expressions mean that are no data: capabilities, calls, streams.

use std::borrow::Cow;
use std::rc::Rc;

use super::Session;
use super::remap::{Plan, Steps};
use super::tables::{Arguments, Held, Import, ImportKind, Stage};
use crate::error::{Error, Violation};
use crate::handle::{PipeId, Promise, Readable, Remote};
use crate::limits::Limits;
use crate::read::{Importer, Reader, unknown, unknown_tag};
use crate::value::Value;

/// Where an expression stands: in a message, or in the instructions of a remap.
pub(super) struct Scope<'s, T> {
    pub(super) session: &'s mut Session<T>,
    pub(super) mapper: Option<Mapper<'s, T>>,
}

/// What ids mean in the instructions of a remap.
pub(super) struct Mapper<'s, T> {
    pub(super) captures: &'s [Value<T>],
    /// The element, then what the instructions before this one gave.
    pub(super) variables: &'s [Value<T>],
    /// What nested remaps may still cost.
    pub(super) steps: &'s Steps,
}

/// What an id of the peer stands for.
pub(super) enum Base<'s, T> {
    Value(Cow<'s, Value<T>>),
    Pipe(i64),
}

impl<T> Importer<T> for Scope<'_, T> {
    fn capability(reader: &mut Reader<'_, T, Self>, tag: &str, depth: usize) -> Result<Value<T>, Violation> {
        match tag {
            "import" | "pipeline" => reader.pipeline(tag, depth),
            "remap" => reader.remap(),
            "export" | "promise" | "writable" | "readable" => reader.introduction(tag),
            "request" => reader.request(depth),
            "response" => reader.response(depth),
            "blob" => reader.blob(depth),
            _ => Err(unknown_tag(tag)),
        }
    }

    fn limits(&self) -> &Limits {
        &self.session.limits
    }

    fn count(&mut self) -> Result<(), Violation> {
        let left = &mut self.session.budget.values;
        *left = left.checked_sub(1).ok_or(Violation::Limit("values", self.session.limits.values))?;
        Ok(())
    }
}

impl<'s, T> Reader<'_, T, Scope<'s, T>> {
    fn base(&self, id: i64) -> Result<Base<'s, T>, Violation> {
        let Some(mapper) = &self.importer.mapper else {
            return self.importer.session.held(id);
        };
        let found = match usize::try_from(id) {
            Ok(index) => mapper.variables.get(index),
            Err(_) => usize::try_from(-(id + 1)).ok().and_then(|index| mapper.captures.get(index)),
        };
        found.map(|value| Base::Value(Cow::Borrowed(value))).ok_or(Violation::NoSuchId(id))
    }

    /// `["pipeline", id, path?, arguments?]`: a thing, a property of it, or a call.
    fn pipeline(&mut self, tag: &str, depth: usize) -> Result<Value<T>, Violation> {
        self.operand(tag)?;
        let id = self.id()?;
        let base = self.base(id)?;
        let (mut path, mut arguments) = (Vec::new(), None);
        if self.more()? {
            path = self.path(tag)?;
            if self.more()? {
                if !self.scan.take(b'[') {
                    return Err(unknown(tag));
                }
                let before = self.promises;
                let list = self.elements(depth + 1)?;
                arguments = Some(Arguments { list, promises: self.promises > before });
                self.promises = before;
                self.last(tag)?;
            }
        }
        self.importer.session.count_call()?;
        let session = &mut *self.importer.session;
        let result = match base {
            Base::Value(value) => session.dispatch(&value, path, arguments, None),
            Base::Pipe(id) => session.write_to_pipe(id, path, arguments),
        };
        Ok(self.place(result))
    }

    /// Puts what a call has come to, or will, in its place.
    fn place(&mut self, result: Result<Value<T>, Error>) -> Value<T> {
        match result {
            Ok(value) => {
                // A part of a result may hold promises of the host.
                let may_wait = matches!(
                    value,
                    Value::Promise(_) | Value::Array(_) | Value::Object(_) | Value::Encoded(_)
                );
                self.promises += usize::from(may_wait);
                value
            }
            Err(error) => {
                self.promises += 1;
                Value::Promise(self.importer.session.broken(error))
            }
        }
    }

    /// `["export", id]` and its like: the peer gives something.
    fn introduction(&mut self, tag: &str) -> Result<Value<T>, Violation> {
        self.operand(tag)?;
        let id = self.id()?;
        self.rest()?;
        if self.importer.mapper.is_some() {
            return Err(Violation::BadExpression(format!("{tag} in a remap")));
        }
        if (id < 0) == (tag == "readable") || id == 0 {
            return Err(Violation::BadMessage(format!("{tag} with an id of the wrong sign")));
        }
        let session = &mut *self.importer.session;
        match tag {
            "export" => session.introduce(id).map(Value::Remote),
            "writable" => session.introduce(id).map(Value::Writable),
            "readable" => session.take_readable(id).map(Value::Readable),
            _ => {
                let promise = session.introduce_promise(id)?;
                self.promises += 1;
                Ok(Value::Promise(promise))
            }
        }
    }

    /// `["remap", id, path, captures, instructions]`.
    fn remap(&mut self) -> Result<Value<T>, Violation> {
        const TAG: &str = "remap";
        self.operand(TAG)?;
        let id = self.id()?;
        let base = self.base(id)?;
        self.operand(TAG)?;
        let path = self.path(TAG)?;
        self.operand(TAG)?;
        let captures = self.captures()?;
        self.operand(TAG)?;
        if self.scan.peek() != Some(b'[') {
            return Err(unknown(TAG));
        }
        let instructions = self.skip()?;
        self.last(TAG)?;
        self.importer.session.count_call()?;
        let Base::Value(base) = base else {
            return Ok(self.refuse(Error::type_error("a stream cannot be mapped")));
        };
        let session = &mut *self.importer.session;
        let steps = match &self.importer.mapper {
            Some(mapper) => mapper.steps.nested(),
            None => Ok(Steps::new(session.limits.remap_steps)),
        };
        let instructions = instructions.into();
        let result =
            steps.and_then(|steps| session.remap(&base, path, Plan { captures, instructions, steps }));
        Ok(self.place(result))
    }

    fn captures(&mut self) -> Result<Vec<Value<T>>, Violation> {
        let mut captures = Vec::new();
        if !self.scan.take(b'[') {
            return Err(unknown("remap"));
        }
        if self.scan.take(b']') {
            return Ok(captures);
        }
        loop {
            self.importer.count()?;
            if !self.scan.take(b'[') {
                return Err(unknown("remap"));
            }
            let tag = self.string("remap")?;
            captures.push(match &*tag {
                "export" => self.introduction("export")?,
                "import" => {
                    self.operand("remap")?;
                    let id = self.id()?;
                    self.last("remap")?;
                    match self.base(id)? {
                        Base::Value(value) => self.capture(value),
                        Base::Pipe(_) => Value::Promise(Promise::rejected(passed_on())),
                    }
                }
                _ => return Err(unknown("remap")),
            });
            if !self.more()? {
                return Ok(captures);
            }
        }
    }

    /// A captured value. In a remap it may be large, and be captured many times.
    fn capture(&mut self, value: Cow<'_, Value<T>>) -> Value<T> {
        let session = &mut *self.importer.session;
        let copied = match value {
            Cow::Owned(value) => Ok(value),
            Cow::Borrowed(value) => session.copy(value),
        };
        copied.unwrap_or_else(|error| Value::Promise(session.broken(error)))
    }

    /// `["request", url, init]`, of which only the body and the signal are expressions.
    fn request(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        self.operand("request")?;
        self.string("request")?;
        self.operand("request")?;
        if !self.scan.take(b'{') {
            return Err(unknown("request"));
        }
        let mut more = !self.scan.take(b'}');
        while more {
            let name = self.scan.string()?;
            self.scan.expect(b':')?;
            match &*name {
                "body" | "signal" => drop(self.value(depth + 1)?),
                _ => _ = self.skip()?,
            }
            more = self.scan.more(b'}')?;
        }
        self.last("request")?;
        Ok(self.refuse(unsupported("Request")))
    }

    /// `["response", body, init]`.
    fn response(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        self.operand("response")?;
        drop(self.value(depth + 1)?);
        self.operand("response")?;
        if self.scan.peek() != Some(b'{') {
            return Err(unknown("response"));
        }
        self.skip()?;
        self.last("response")?;
        Ok(self.refuse(unsupported("Response")))
    }

    /// `["blob", type, readable]`.
    fn blob(&mut self, depth: usize) -> Result<Value<T>, Violation> {
        self.operand("blob")?;
        self.string("blob")?;
        self.operand("blob")?;
        drop(self.value(depth + 1)?);
        self.last("blob")?;
        Ok(self.refuse(unsupported("Blob")))
    }
}

impl<T> Session<T> {
    /// What the peer holds under this id.
    pub(super) fn held<'s>(&self, id: i64) -> Result<Base<'s, T>, Violation> {
        match self.exports.get(&id).map(|export| &export.held) {
            Some(Held::Value(value)) => Ok(Base::Value(Cow::Owned(value.clone()))),
            Some(Held::Pipe) => Ok(Base::Pipe(id)),
            None => Err(Violation::NoSuchId(id)),
        }
    }

    fn count_call(&mut self) -> Result<(), Violation> {
        let left = &mut self.budget.calls;
        *left = left.checked_sub(1).ok_or(Violation::Limit("calls", self.limits.calls))?;
        Ok(())
    }

    /// An object of the peer.
    fn introduce(&mut self, id: i64) -> Result<Remote, Violation> {
        if let Some(import) = self.imports.get_mut(&id) {
            if !matches!(import.kind, ImportKind::Object) {
                return Err(Violation::IdReused(id));
            }
            import.introduced += 1;
            if let Some(handle) = import.handle.upgrade() {
                return Ok(Remote(handle));
            }
            let remote = Remote::new(id, false, &self.drops);
            import.handle = Rc::downgrade(&remote.0);
            return Ok(remote);
        }
        let remote = Remote::new(id, false, &self.drops);
        self.add_import(&remote, ImportKind::Object)?;
        Ok(remote)
    }

    /// A promise of the peer, that resolves by itself.
    fn introduce_promise(&mut self, id: i64) -> Result<Promise<T>, Violation> {
        if self.imports.contains_key(&id) {
            return Err(Violation::IdReused(id));
        }
        let remote = Remote::new(id, true, &self.drops);
        let promise = Promise::imported(remote.clone());
        self.add_import(&remote, ImportKind::Promise(Rc::downgrade(&promise.0)))?;
        Ok(promise)
    }

    fn add_import(&mut self, remote: &Remote, kind: ImportKind<T>) -> Result<(), Violation> {
        if self.imports.len() >= self.limits.imports {
            return Err(Violation::Limit("imports", self.limits.imports));
        }
        self.imports.insert(remote.id(), Import::new(Rc::downgrade(&remote.0), kind));
        Ok(())
    }

    /// The reading end of a stream that the peer writes: once.
    fn take_readable(&mut self, id: i64) -> Result<Readable, Violation> {
        let pipe = self.pipes.get_mut(&id).filter(|pipe| pipe.stage == Stage::New);
        let pipe = pipe.ok_or(Violation::NoSuchPipe(id))?;
        pipe.stage = Stage::Taken;
        self.taken += 1;
        Ok(Readable::new(PipeId(id), &self.drops))
    }
}

pub(super) fn passed_on() -> Error {
    Error::type_error("the writing end of a stream cannot be passed on")
}

fn unsupported(class: &str) -> Error {
    Error::type_error(format!("{class} objects are not supported here"))
}

//! The eight messages.

use super::evaluate::Scope;
use super::tables::{Export, Held, Pipe, Pull, Task};
use super::{Cause, Session};
use crate::error::{Error, Violation};
use crate::handle::{Promise, Waiter};
use crate::read::{Reader, is_name};
use crate::scan::Scanner;
use crate::value::Value;

type MessageReader<'a, 's, T> = Reader<'a, T, Scope<'s, T>>;

impl<T> Session<T> {
    /// Does what one frame says.
    pub(super) fn message(&mut self, frame: &str) -> Result<(), Violation> {
        if frame.len() > self.limits.message_bytes {
            return Err(Violation::Limit("message_bytes", self.limits.message_bytes));
        }
        let scope = Scope { session: self, mapper: None };
        let mut reader = Reader::new(Scanner::new(frame), scope);
        if !reader.scan.take(b'[') || reader.scan.peek() != Some(b'"') {
            reader.scan = Scanner::new(frame);
            reader.skip()?;
            reader.scan.end()?;
            return Err(Violation::BadMessage("it is no array that begins with a name".to_owned()));
        }
        match &*reader.string("message")? {
            "push" => reader.push(false),
            "stream" => reader.push(true),
            "pipe" => reader.pipe(),
            "pull" => reader.pull(),
            "resolve" => reader.resolution(false),
            "reject" => reader.resolution(true),
            "release" => reader.release(),
            "abort" => reader.abort(),
            other if is_name(other) => Err(Violation::BadMessage(other.to_owned())),
            _ => Err(Violation::BadMessage("it begins with no name of a message".to_owned())),
        }
    }
}

impl<T> MessageReader<'_, '_, T> {
    fn needed(&mut self, message: &str) -> Result<(), Violation> {
        if self.more()? { Ok(()) } else { Err(Violation::BadMessage(format!("{message} says too little"))) }
    }

    fn finish(&mut self) -> Result<(), Violation> {
        self.rest()?;
        self.scan.end()
    }

    fn push(&mut self, stream: bool) -> Result<(), Violation> {
        self.needed("push")?;
        self.importer.session.in_stream = stream;
        let value = self.value(0)?;
        let promises = self.promises > 0;
        self.finish()?;
        let session = &mut *self.importer.session;
        session.in_stream = false;
        let value = match value {
            value @ (Value::Local(_) | Value::Remote(_) | Value::Promise(_)) => value,
            value if promises => {
                let out = Promise::pending();
                session.advance(Task::Settle { value, out: out.clone() });
                Value::Promise(out)
            }
            value => Value::Promise(session.fulfilled(value)),
        };
        let mut export = Export::new(Held::Value(value));
        export.transient = stream;
        let id = session.add_push(export)?;
        if stream { session.pull(id) } else { Ok(()) }
    }

    fn pipe(&mut self) -> Result<(), Violation> {
        self.finish()?;
        let session = &mut *self.importer.session;
        let id = session.add_push(Export::new(Held::Pipe))?;
        session.pipes.insert(id, Pipe::new());
        Ok(())
    }

    fn pull(&mut self) -> Result<(), Violation> {
        self.needed("pull")?;
        let id = self.id()?;
        self.finish()?;
        self.importer.session.pull(id)
    }

    fn resolution(&mut self, rejected: bool) -> Result<(), Violation> {
        self.needed("resolve")?;
        let id = self.id()?;
        self.needed("resolve")?;
        let value = self.value(0)?;
        let promises = self.promises > 0;
        self.finish()?;
        let result = if rejected { Err(into_error(value)) } else { Ok(value) };
        self.importer.session.resolved(id, result, promises && !rejected);
        Ok(())
    }

    fn release(&mut self) -> Result<(), Violation> {
        self.needed("release")?;
        let id = self.id()?;
        self.needed("release")?;
        let count = self.id()?;
        self.finish()?;
        self.importer.session.release(id, count)
    }

    fn abort(&mut self) -> Result<(), Violation> {
        self.needed("abort")?;
        let value = self.value(0)?;
        self.finish()?;
        self.importer.session.end(Cause::Peer(into_error(value)));
        Ok(())
    }
}

impl<T> Session<T> {
    /// Gives a push, stream or pipe its number, which its sender has counted too.
    fn add_push(&mut self, export: Export<T>) -> Result<i64, Violation> {
        // One more stream call than there may be is refused, and soon gone.
        if self.streams > self.limits.unanswered_streams {
            return Err(Violation::Limit("unanswered_streams", self.limits.unanswered_streams));
        }
        if !export.transient && self.holds_too_much() {
            return Err(Violation::Limit("exports", self.limits.exports));
        }
        self.streams += usize::from(export.transient);
        let id = self.next_push;
        self.next_push += 1;
        self.exports.insert(id, export);
        Ok(id)
    }

    /// Whether the peer holds as many entries as it may.
    pub(super) fn holds_too_much(&self) -> bool {
        self.exports.len() - self.streams >= self.limits.exports
    }

    /// The peer wants to know a value. It is told once.
    pub(super) fn pull(&mut self, id: i64) -> Result<(), Violation> {
        let export = self.exports.get_mut(&id).ok_or(Violation::NoSuchId(id))?;
        if export.pull != Pull::No {
            return Ok(());
        }
        export.pull = Pull::Owed;
        self.pulls += 1;
        if let Held::Value(Value::Promise(promise)) = &export.held
            && promise.wait(Waiter::Pull(id))
        {
            return Ok(());
        }
        self.send_value(id);
        Ok(())
    }

    fn release(&mut self, id: i64, count: i64) -> Result<(), Violation> {
        let export = self.exports.get_mut(&id).ok_or(Violation::NoSuchId(id))?;
        let held = export.refs;
        let count = u64::try_from(count).ok().filter(|count| (1..=held).contains(count));
        export.refs -= count.ok_or(Violation::BadRelease { id, held })?;
        if export.refs == 0 {
            self.drop_export(id);
        }
        Ok(())
    }

    /// Takes an entry that the peer does not hold any more out of the table.
    pub(super) fn drop_export(&mut self, id: i64) {
        let Some(export) = self.exports.remove(&id) else { return };
        self.streams -= usize::from(export.transient);
        let owed = export.pull == Pull::Owed;
        self.pulls -= usize::from(owed);
        match export.held {
            Held::Pipe => self.release_pipe(id),
            Held::Value(Value::Promise(promise)) if owed => {
                promise.waiter_gone(|waiter| match waiter {
                    Waiter::Pull(id) => self.exports.contains_key(&id),
                    Waiter::Work(_) => true,
                });
                self.cancel(&promise);
            }
            Held::Value(_) => {}
        }
    }
}

/// What a rejection or an abort says. What is thrown need not be an error.
fn into_error<T>(value: Value<T>) -> Error {
    match value {
        Value::Error(error) => *error,
        Value::String(text) => Error::plain(text),
        other => {
            Error::plain("the peer failed with a value that is no error").with("value", other.into_data())
        }
    }
}

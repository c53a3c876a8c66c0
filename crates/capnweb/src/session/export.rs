//! Giving values to the peer.

use super::Session;
use super::tables::{Export, Held, Pull};
use crate::encode::{self, Exporter, TOO_LONG, write_id};
use crate::error::{Error, Refused};
use crate::handle::{State, Waiter};
use crate::value::Value;

impl<T> Exporter<T> for Session<T> {
    fn capability(&mut self, out: &mut String, value: &Value<T>, depth: usize) -> Result<(), Refused> {
        match value {
            Value::Local(_) => self.give(out, "export", value),
            Value::Sink(_) => self.give(out, "writable", value),
            Value::Promise(promise) => {
                if let State::Fulfilled(value, _) = &*promise.0.state.borrow() {
                    return encode::write(out, value, depth, self);
                }
                let id = self.next_export;
                self.give(out, "promise", value)?;
                if let Some(export) = self.exports.get_mut(&id) {
                    export.pull = Pull::Owed;
                    self.pulls += 1;
                }
                if !promise.wait(Waiter::Pull(id)) {
                    self.ready.push_back((Waiter::Pull(id), promise.clone()));
                }
                Ok(())
            }
            Value::Remote(remote) | Value::Writable(remote) => {
                if !remote.belongs_to(&self.drops) {
                    return Err(Refused::Foreign);
                }
                refer(out, if remote.0.promise { "pipeline" } else { "import" }, remote.id());
                Ok(())
            }
            Value::Source(source) => {
                if !std::rc::Rc::ptr_eq(&source.0.drops, &self.drops) {
                    return Err(Refused::Foreign);
                }
                if !self.imports.contains_key(&source.0.id) {
                    return Err(Refused::Unsendable("the stream's writer is gone"));
                }
                if source.0.sent.replace(true) {
                    return Err(Refused::Unsendable("a stream can be sent once"));
                }
                refer(out, "readable", source.0.id);
                Ok(())
            }
            Value::Readable(_) => {
                Err(Refused::Unsendable("a stream of the peer cannot be passed back to it"))
            }
            // Data, which does not come here.
            _ => Ok(()),
        }
    }

    fn longest(&self) -> usize {
        self.limits.message_bytes
    }
}

impl<T> Session<T> {
    /// Writes a value, or leaves everything as it was.
    pub(super) fn write(&mut self, out: &mut String, value: &Value<T>) -> Result<(), Refused> {
        let (length, first) = (out.len(), self.next_export);
        let mut written = encode::write(out, value, 0, self);
        // The last of it may have made it too long.
        if out.len() > self.limits.message_bytes {
            written = Err(TOO_LONG);
        }
        if written.is_err() {
            out.truncate(length);
            self.take_back(first);
        }
        written
    }

    /// Takes back what was given since `first` was the next id, and has not been sent.
    pub(super) fn take_back(&mut self, first: i64) {
        for id in self.next_export + 1..=first {
            self.drop_export(id);
        }
    }

    /// Sends a value that the peer has asked for, or why there is none.
    pub(super) fn send_value(&mut self, id: i64) {
        let Some(export) = self.exports.get_mut(&id) else { return };
        export.pull = Pull::Sent;
        let transient = export.transient;
        let held = match &export.held {
            Held::Value(value) => Some(value.clone()),
            Held::Pipe => None,
        };
        self.pulls -= 1;
        let frame = match held {
            None => self.rejection(id, &Error::type_error("a stream cannot be pulled")),
            Some(Value::Promise(promise)) => match &*promise.0.state.borrow() {
                State::Fulfilled(value, _) => self.resolution(id, value),
                State::Rejected(error, _) => self.rejection(id, error),
                State::Pending(_) => self.rejection(id, &Error::plain("it was asked for too early")),
            },
            Some(value) => self.resolution(id, &value),
        };
        self.send(frame);
        if transient {
            self.drop_export(id);
        }
    }

    fn resolution(&mut self, id: i64, value: &Value<T>) -> String {
        let mut frame = String::from("[\"resolve\",");
        write_id(&mut frame, id);
        frame.push(',');
        match self.write(&mut frame, value) {
            Ok(()) => {
                frame.push(']');
                frame
            }
            Err(refused) => self.rejection(id, &Error::from(refused)),
        }
    }

    fn rejection(&self, id: i64, error: &Error) -> String {
        let mut frame = String::from("[\"reject\",");
        write_id(&mut frame, id);
        frame.push(',');
        let head = frame.len();
        encode::write_error(&mut frame, error, 0);
        if frame.len() > self.limits.message_bytes {
            frame.truncate(head);
            encode::write_error(&mut frame, &Error::range_error("the error is too long to be sent"), 0);
        }
        frame.push(']');
        frame
    }

    /// Puts something into the table under the next id.
    fn give(&mut self, out: &mut String, tag: &str, value: &Value<T>) -> Result<(), Refused> {
        if self.holds_too_much() {
            return Err(Refused::Unsendable("the peer holds too many objects: release some"));
        }
        let id = self.next_export;
        self.next_export -= 1;
        self.exports.insert(id, Export::new(Held::Value(value.clone())));
        refer(out, tag, id);
        Ok(())
    }
}

fn refer(out: &mut String, tag: &str, id: i64) {
    out.push_str("[\"");
    out.push_str(tag);
    out.push_str("\",");
    write_id(out, id);
    out.push(']');
}

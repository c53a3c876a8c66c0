//! Calls to the peer, and what it says to them.

use std::rc::{Rc, Weak};

use super::tables::{Import, ImportKind, Task};
use super::{Action, Phase, Session};
use crate::encode::{write_id, write_number, write_string};
use crate::error::{Error, Refused};
use crate::handle::{Promise, Question, QuestionId, Remote, Source};
use crate::value::{Key, Value};

/// A path as a host writes it, or as the peer did.
#[derive(Clone, Copy)]
enum Path<'p> {
    Names(&'p [&'p str]),
    Keys(&'p [Key]),
}

impl<T> Session<T> {
    /// Calls a method and asks for its result, which [`Action::Answered`] brings. An empty path calls the target itself
    /// as a function.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn call(
        &mut self,
        target: &Remote,
        path: &[&str],
        arguments: &[Value<T>],
    ) -> Result<Question, Refused> {
        let remote = self.ask(target, Path::Names(path), Some(arguments), ImportKind::Question)?;
        self.send_pull(remote.id());
        Ok(Question(remote))
    }

    /// Reads a property, as [`call`](Self::call) calls a method.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn get(&mut self, target: &Remote, path: &[&str]) -> Result<Question, Refused> {
        let remote = self.ask(target, Path::Names(path), None, ImportKind::Question)?;
        self.send_pull(remote.id());
        Ok(Question(remote))
    }

    /// Calls a method whose result is only called or passed on, and never looked at. Nothing answers.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn push(
        &mut self,
        target: &Remote,
        path: &[&str],
        arguments: &[Value<T>],
    ) -> Result<Remote, Refused> {
        self.ask(target, Path::Names(path), Some(arguments), ImportKind::Pushed)
    }

    /// Calls a method with one frame, acknowledged by [`Action::Answered`], that leaves nothing in the tables: the way
    /// to deliver events. Its result is `undefined` or an error, and it cannot be cancelled. Peers older than capnweb 0.5 end the
    /// session. See [`window`](Self::window) for how much to send.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn stream(
        &mut self,
        target: &Remote,
        path: &[&str],
        arguments: &[Value<T>],
    ) -> Result<QuestionId, Refused> {
        self.check_question()?;
        let (id, bytes) = self.emit("stream", target, Path::Names(path), Some(arguments))?;
        target.0.in_flight.set(target.0.in_flight.get() + bytes);
        let kind = ImportKind::Stream(bytes, Rc::downgrade(&target.0));
        self.imports.insert(id, Import::new(Weak::new(), kind));
        self.questions += 1;
        Ok(QuestionId(id))
    }

    /// Calls a method and wants to hear nothing of it.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn forget(&mut self, target: &Remote, path: &[&str], arguments: &[Value<T>]) -> Result<(), Refused> {
        let (id, _) = self.emit("push", target, Path::Names(path), Some(arguments))?;
        self.send_release(id, 1);
        Ok(())
    }

    /// How many bytes of stream calls to `target` may follow before it should acknowledge some. The calls themselves do
    /// not look at it.
    pub fn window(&self, target: &Remote) -> usize {
        self.limits.stream_window.saturating_sub(target.0.in_flight.get())
    }

    /// Begins a stream that this side writes. Send the first as [`Value::Source`], and write to the second with stream
    /// calls of `write` (one argument), `close` and `abort`; dropping it without `close` breaks the stream off. Fewer
    /// bytes than [`window`](Self::window) says should be under way.
    ///
    /// # Errors
    /// If nothing was sent: see [`Refused`].
    pub fn pipe(&mut self) -> Result<(Source, Remote), Refused> {
        self.check_open()?;
        if self.imports.len() >= self.limits.imports {
            return Err(Refused::TooManyQuestions);
        }
        self.send("[\"pipe\"]".to_owned());
        let id = self.next_question;
        self.next_question += 1;
        let writer = Remote::new(id, false, &self.drops);
        self.imports.insert(id, Import::new(Rc::downgrade(&writer.0), ImportKind::Object));
        Ok((Source::new(id, &self.drops), writer))
    }

    /// Passes a call of the peer on to the peer's own object.
    pub(super) fn forward(
        &mut self,
        target: &Remote,
        path: &[Key],
        arguments: Option<&[Value<T>]>,
        out: &Promise<T>,
    ) {
        let asked =
            self.check_question().and_then(|()| self.emit("push", target, Path::Keys(path), arguments));
        match asked {
            Ok((id, _)) => {
                self.imports.insert(id, Import::new(Weak::new(), ImportKind::Forwarded(out.clone())));
                self.questions += 1;
                self.send_pull(id);
            }
            Err(refused) => self.settle(out, Err(refused.into())),
        }
    }

    /// Takes what the peer says a call, or a promise of its own, has come to.
    pub(super) fn resolved(&mut self, id: i64, result: Result<Value<T>, Error>, promises: bool) {
        let Some(import) = self.imports.get_mut(&id) else { return };
        match &import.kind {
            // Said before, or not asked for. What the value holds is given back by dropping it.
            ImportKind::Done | ImportKind::Object | ImportKind::Pushed => {}
            ImportKind::Question => match result {
                Ok(value) if promises => self.advance(Task::Answer { question: id, value }),
                result => self.deliver_answer(id, result),
            },
            ImportKind::Stream(bytes, target) => {
                if let Some(target) = target.upgrade() {
                    target.in_flight.set(target.in_flight.get().saturating_sub(*bytes));
                }
                self.imports.remove(&id);
                self.questions -= 1;
                // Only that it was taken counts: what it gave may not even be known.
                let result = result.map(|_| Value::Undefined);
                self.actions.push_back(Action::Answered { question: QuestionId(id), result });
            }
            ImportKind::Forwarded(out) => {
                let out = out.clone();
                self.imports.remove(&id);
                self.questions -= 1;
                self.send_release(id, 1);
                self.settle_resolved(&out, result, promises);
            }
            ImportKind::Promise(promise) => {
                let (promise, introduced) = (promise.upgrade(), import.introduced);
                self.imports.remove(&id);
                self.send_release(id, introduced);
                if let Some(promise) = promise {
                    self.settle_resolved(&Promise(promise), result, promises);
                }
            }
        }
    }

    fn settle_resolved(&mut self, out: &Promise<T>, result: Result<Value<T>, Error>, promises: bool) {
        match result {
            Ok(value) if promises => self.advance(Task::Settle { value, out: out.clone() }),
            result => self.settle(out, result),
        }
    }

    /// Tells the host what its call has come to, unless it has given it up.
    pub(super) fn deliver_answer(&mut self, question: i64, mut result: Result<Value<T>, Error>) {
        let Some(import) = self.imports.get_mut(&question) else { return };
        if !matches!(import.kind, ImportKind::Question) {
            return;
        }
        import.kind = ImportKind::Done;
        self.questions -= 1;
        let opened = self.taken > 0 && self.open_pipes(result.iter_mut());
        self.actions.push_back(Action::Answered { question: QuestionId(question), result });
        if opened {
            self.flush_pipes();
        }
    }

    fn ask(
        &mut self,
        target: &Remote,
        path: Path<'_>,
        arguments: Option<&[Value<T>]>,
        kind: ImportKind<T>,
    ) -> Result<Remote, Refused> {
        self.check_question()?;
        let (id, _) = self.emit("push", target, path, arguments)?;
        let remote = Remote::new(id, true, &self.drops);
        let import = Import::new(Rc::downgrade(&remote.0), kind);
        self.questions += usize::from(import.is_unanswered());
        self.imports.insert(id, import);
        Ok(remote)
    }

    fn check_open(&self) -> Result<(), Refused> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Batch => Err(Refused::Batch),
            Phase::Ended => Err(Refused::Ended),
        }
    }

    fn check_question(&self) -> Result<(), Refused> {
        self.check_open()?;
        let full =
            self.questions >= self.limits.unanswered_questions || self.imports.len() >= self.limits.imports;
        if full { Err(Refused::TooManyQuestions) } else { Ok(()) }
    }

    /// Sends a call, and gives its number and its length.
    fn emit(
        &mut self,
        message: &str,
        target: &Remote,
        path: Path<'_>,
        arguments: Option<&[Value<T>]>,
    ) -> Result<(i64, usize), Refused> {
        self.check_open()?;
        if !target.belongs_to(&self.drops) {
            return Err(Refused::Foreign);
        }
        let mut frame = String::with_capacity(64);
        frame.push_str("[\"");
        frame.push_str(message);
        frame.push_str("\",[\"pipeline\",");
        write_id(&mut frame, target.id());
        frame.push(',');
        path.write(&mut frame);
        let first = self.next_export;
        let mut open = ",[";
        for argument in arguments.unwrap_or_default() {
            frame.push_str(std::mem::replace(&mut open, ","));
            if let Err(refused) = self.write(&mut frame, argument) {
                self.take_back(first);
                return Err(refused);
            }
        }
        match arguments {
            Some([]) => frame.push_str(",[]"),
            Some(_) => frame.push(']'),
            None => {}
        }
        frame.push_str("]]");
        if frame.len() > self.limits.message_bytes {
            self.take_back(first);
            return Err(Refused::Unsendable("the arguments are too long to be sent"));
        }
        let id = self.next_question;
        self.next_question += 1;
        let bytes = frame.len();
        self.send(frame);
        Ok((id, bytes))
    }

    fn send_pull(&mut self, id: i64) {
        self.send(format!("[\"pull\",{id}]"));
    }
}

impl Path<'_> {
    fn write(self, out: &mut String) {
        out.push('[');
        match self {
            Self::Names(names) => {
                for (index, name) in names.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, name);
                }
            }
            Self::Keys(keys) => {
                for (index, key) in keys.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    match key {
                        Key::Name(name) => write_string(out, name),
                        Key::Index(number) => write_number(out, *number),
                    }
                }
            }
        }
        out.push(']');
    }
}

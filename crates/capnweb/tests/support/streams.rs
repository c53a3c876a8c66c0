//! The service's streams.

use std::collections::VecDeque;

use capnweb::{CallId, Chunk, Error, PipeId, QuestionId, Readable, Remote, Session, Value, Write};

use super::service::{Any, Service, Thing};

/// A stream of the peer's that is read to its end.
pub(crate) struct Reader {
    call: CallId,
    pipe: PipeId,
    _readable: Readable,
    chunks: Vec<Any>,
}

/// A stream to the peer.
pub(crate) struct Writer {
    remote: Remote,
    left: VecDeque<Any>,
    closing: bool,
    unanswered: Vec<QuestionId>,
    /// The call that ends with it, and its result.
    call: Option<(CallId, f64)>,
}

impl Service {
    pub(crate) fn chunks(&mut self, session: &mut Session<Thing>, list: Any) -> Any {
        let (source, remote) = session.pipe().expect("a session in which pipes may be made");
        self.write(remote, list, None);
        Value::Source(source)
    }

    pub(crate) fn write_to(&mut self, call: CallId, writable: Any, list: Any) -> Result<Option<Any>, Error> {
        let Value::Writable(remote) = writable else {
            return Err(Error::type_error("writable.getWriter is not a function"));
        };
        self.write(remote, list, Some(call));
        Ok(None)
    }

    fn write(&mut self, remote: Remote, list: Any, call: Option<CallId>) {
        let left: VecDeque<Any> = match list {
            Value::Array(items) => items.into(),
            _ => VecDeque::new(),
        };
        let call = call.map(|call| (call, left.len() as f64));
        self.writers.push(Writer { remote, left, closing: false, unanswered: Vec::new(), call });
    }

    /// Begins to write what calls have returned.
    pub(crate) fn begin_writing(&mut self, session: &mut Session<Thing>) {
        self.writers
            .iter_mut()
            .filter(|writer| writer.unanswered.is_empty())
            .for_each(|writer| writer.pump(session));
    }

    pub(crate) fn consume(&mut self, call: CallId, readable: Any) -> Result<Option<Any>, Error> {
        let Value::Readable(readable) = readable else {
            return Err(Error::type_error("readable is not async iterable"));
        };
        self.readers.push(Reader { call, pipe: readable.id(), _readable: readable, chunks: Vec::new() });
        Ok(None)
    }

    /// Takes what the peer has written.
    pub(crate) fn read(&mut self, session: &mut Session<Thing>, write: Write<Thing>) {
        let Some(at) = self.readers.iter().position(|reader| reader.pipe == write.pipe) else {
            session.answer(write.id, Err(Error::plain("nobody reads")));
            return;
        };
        match write.chunk {
            Chunk::Data(value) => self.readers[at].chunks.push(value),
            Chunk::Close => {
                let Reader { call, chunks, .. } = self.readers.remove(at);
                session.answer(call, Ok(chunks.into()));
            }
            Chunk::Abort(reason) => {
                let reader = self.readers.remove(at);
                let error = match reason {
                    Value::Error(error) => *error,
                    _ => Error::plain("the stream was aborted"),
                };
                session.answer(reader.call, Err(error));
            }
        }
        session.answer(write.id, Ok(Value::Undefined));
    }

    /// Goes on with a stream, a chunk of which the peer has taken or refused.
    pub(crate) fn acknowledged(
        &mut self,
        session: &mut Session<Thing>,
        question: QuestionId,
        result: Result<Any, Error>,
    ) {
        let Some(at) = self.writers.iter().position(|writer| writer.unanswered.contains(&question)) else {
            return;
        };
        let writer = &mut self.writers[at];
        writer.unanswered.retain(|other| *other != question);
        if result.is_ok() {
            writer.pump(session);
            if !(writer.closing && writer.unanswered.is_empty()) {
                return;
            }
        }
        let Writer { remote, call, .. } = self.writers.remove(at);
        drop(remote);
        if let Some((call, count)) = call {
            session.answer(call, result.map(|_| count.into()));
        }
    }
}

impl Writer {
    /// Writes as much as the window takes.
    fn pump(&mut self, session: &mut Session<Thing>) {
        while !self.closing && session.window(&self.remote) > 0 {
            let chunk = self.left.pop_front();
            self.closing = chunk.is_none();
            let method = if self.closing { "close" } else { "write" };
            match session.stream(&self.remote, &[method], chunk.as_slice()) {
                Ok(question) => self.unanswered.push(question),
                Err(_) => self.closing = true,
            }
        }
    }
}

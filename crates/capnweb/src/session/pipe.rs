//! Streams that the peer writes.

use std::collections::VecDeque;

use super::tables::{Arguments, Pipe, Stage, Target};
use super::{Action, Chunk, Session, Write};
use crate::error::Error;
use crate::handle::{PipeId, Promise};
use crate::value::{Key, Value};

impl<T> Pipe<T> {
    pub(super) fn new() -> Self {
        Self { stage: Stage::New, early: VecDeque::new(), closed: false }
    }
}

impl<T> Session<T> {
    /// A call on the writing end.
    pub(super) fn write_to_pipe(
        &mut self,
        id: i64,
        path: Vec<Key>,
        arguments: Option<Arguments<T>>,
    ) -> Result<Value<T>, Error> {
        if arguments.is_none() {
            return Err(super::evaluate::passed_on());
        }
        self.deliver(Target::Pipe(id), path, arguments, None)
    }

    pub(super) fn write_chunk(&mut self, id: i64, path: &[Key], arguments: Vec<Value<T>>, out: &Promise<T>) {
        let first = arguments.into_iter().next().unwrap_or(Value::Undefined);
        let method = match path {
            [key] => key.as_name(),
            _ => None,
        };
        let chunk = match method {
            Some("write") => Chunk::Data(first),
            Some("close") => Chunk::Close,
            Some("abort") => Chunk::Abort(first),
            _ => return self.settle(out, Err(Error::not_a_function(path))),
        };
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return self.settle(out, Err(Error::type_error("the stream is gone")));
        };
        if pipe.closed {
            return self.settle(out, Err(Error::type_error("the stream is closed")));
        }
        pipe.closed = !matches!(chunk, Chunk::Data(_));
        match pipe.stage {
            Stage::Cancelled => self.settle(out, Err(nobody_reads())),
            Stage::Open => self.hand_over(id, chunk, out),
            Stage::New | Stage::Taken => {
                let weight = crate::handle::Weight::new(chunk.weight(), &self.kept);
                pipe.early.push_back((chunk, out.clone(), weight));
            }
        }
    }

    fn hand_over(&mut self, id: i64, chunk: Chunk<T>, out: &Promise<T>) {
        let call = self.add_call(out, chunk.weight());
        self.actions.push_back(Action::Write(Write { id: call, pipe: PipeId(id), chunk }));
    }

    /// Finds reading ends that the host is about to get. Says whether there are some.
    pub(super) fn open_pipes<'v>(&mut self, values: impl Iterator<Item = &'v mut Value<T>>) -> bool
    where
        T: 'v,
    {
        let before = self.taken;
        for value in values {
            self.open_in(value);
        }
        self.taken < before
    }

    fn open_in(&mut self, value: &mut Value<T>) {
        match value {
            Value::Readable(readable) => {
                if let Some(pipe) = self.pipes.get_mut(&readable.id().0)
                    && pipe.stage == Stage::Taken
                {
                    pipe.stage = Stage::Open;
                    self.taken -= 1;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.open_in(item)),
            Value::Object(object) => object.values_mut().for_each(|item| self.open_in(item)),
            _ => {}
        }
    }

    /// Hands over what came before the host had the reading end.
    pub(super) fn flush_pipes(&mut self) {
        let open = self.pipes.iter().filter(|(_, pipe)| pipe.stage == Stage::Open && !pipe.early.is_empty());
        let open: Vec<i64> = open.map(|(id, _)| *id).collect();
        for id in open {
            let early = self.pipes.get_mut(&id).map(|pipe| std::mem::take(&mut pipe.early));
            for (chunk, out, weight) in early.unwrap_or_default() {
                drop(weight);
                self.hand_over(id, chunk, &out);
            }
            self.forget_finished(id);
        }
    }

    /// Nobody reads any more.
    pub(super) fn cancel_pipe(&mut self, id: PipeId) {
        let Some(pipe) = self.pipes.get_mut(&id.0) else { return };
        self.taken -= usize::from(pipe.stage == Stage::Taken);
        pipe.stage = Stage::Cancelled;
        for (_, out, _) in std::mem::take(&mut pipe.early) {
            self.settle(&out, Err(nobody_reads()));
        }
        self.forget_finished(id.0);
    }

    /// The peer has let go of the writing end. Without `close` that breaks the stream off.
    pub(super) fn release_pipe(&mut self, id: i64) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.stage == Stage::New {
            // Nobody can ask for the reading end any more.
            return self.cancel_pipe(PipeId(id));
        }
        if !pipe.closed {
            let reason = Error::plain("the writer has gone without closing the stream");
            let arguments = vec![Value::from(reason)];
            self.write_chunk(id, &[Key::from("abort")], arguments, &Promise::pending());
        }
        self.forget_finished(id);
    }

    /// Forgets a stream that nobody can write to, once all of it is handed over.
    fn forget_finished(&mut self, id: i64) {
        if self.exports.contains_key(&id) {
            return;
        }
        if self.pipes.get(&id).is_some_and(|pipe| pipe.early.is_empty()) {
            self.pipes.remove(&id);
        }
    }
}

impl<T> Chunk<T> {
    fn weight(&self) -> usize {
        match self {
            Self::Data(value) | Self::Abort(value) => value.weight(),
            Self::Close => 0,
        }
    }
}

fn nobody_reads() -> Error {
    Error::plain("nobody reads this stream")
}

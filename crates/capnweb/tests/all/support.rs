//! One end with a small service, whose other end is the test: frames in, frames out.

use std::collections::HashMap;
use std::rc::Rc;

use capnweb::{
    Action, Call, CallId, Cause, Chunk, Closed, Error, Key, Limits, Local, PipeId, Question, QuestionId,
    Readable, Remote, Session, Violation,
};

pub(crate) type Value = capnweb::Value<Object>;

/// What the service hands out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    Service,
    Greeter,
    AddOne,
    Counter,
    Sink,
}

/// A session, and what it has made of what it was sent.
pub(crate) struct Bench {
    pub(crate) session: Session<Object>,
    pub(crate) sent: Vec<String>,
    pub(crate) dropped: Vec<Object>,
    pub(crate) answered: Vec<(QuestionId, Result<Value, Error>)>,
    pub(crate) cancelled: Vec<CallId>,
    pub(crate) closed: Option<Closed>,
    /// What was called, in order.
    pub(crate) started: Vec<String>,
    /// What arrived in streams.
    pub(crate) written: Vec<String>,
    /// Calls of `hold`, which the test answers.
    pub(crate) held: Vec<CallId>,
    /// Chunks are answered by the test.
    pub(crate) slow_reader: bool,
    pub(crate) unread: Vec<CallId>,
    pub(crate) kept: Option<Remote>,
    pub(crate) readable: Option<Readable>,
    /// How many objects were handed out, the service included.
    pub(crate) made: usize,
    calling: HashMap<QuestionId, (CallId, Question)>,
    gates: HashMap<String, Vec<CallId>>,
    consuming: HashMap<PipeId, (CallId, Readable, Vec<Value>)>,
    counter: f64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self {
            session: Session::new(Object::Service, limits),
            sent: Vec::new(),
            dropped: Vec::new(),
            answered: Vec::new(),
            cancelled: Vec::new(),
            closed: None,
            started: Vec::new(),
            written: Vec::new(),
            held: Vec::new(),
            slow_reader: false,
            unread: Vec::new(),
            kept: None,
            readable: None,
            made: 1,
            calling: HashMap::new(),
            gates: HashMap::new(),
            consuming: HashMap::new(),
            counter: 0.0,
        }
    }

    /// Sends frames, lets the service do all it can, and gives what it sent.
    pub(crate) fn say(&mut self, frames: &[&str]) -> Vec<String> {
        for frame in frames {
            self.session.receive(frame);
            self.work();
        }
        std::mem::take(&mut self.sent)
    }

    /// Lets the service do all it can, and gives what it sent.
    pub(crate) fn heard(&mut self) -> Vec<String> {
        self.work();
        std::mem::take(&mut self.sent)
    }

    /// How the session ended.
    pub(crate) fn violation(&self) -> Option<&Violation> {
        match &self.closed.as_ref()?.cause {
            Cause::Violation(violation) => Some(violation),
            _ => None,
        }
    }

    pub(crate) fn work(&mut self) {
        while let Some(action) = self.session.poll() {
            match action {
                Action::Send(frame) => {
                    self.session.flushed(frame.len());
                    self.sent.push(frame);
                }
                Action::Call(call) => self.serve(call),
                Action::Cancel(id) => self.cancelled.push(id),
                Action::Dropped(object) => self.dropped.push(object),
                Action::Closed(closed) => self.closed = Some(closed),
                Action::Write(write) => self.take_chunk(write.id, write.pipe, write.chunk),
                Action::Answered { question, result } => match self.calling.remove(&question) {
                    Some((call, question)) => {
                        drop(question);
                        self.session.answer(call, result);
                    }
                    None => self.answered.push((question, result)),
                },
            }
        }
    }

    fn make(&mut self, object: Object) -> Local<Object> {
        self.made += 1;
        self.session.local(object)
    }

    /// Lets go of everything.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
        self.readable = None;
        self.calling.clear();
        self.consuming.clear();
        self.answered.clear();
    }

    fn take_chunk(&mut self, id: CallId, pipe: PipeId, chunk: Chunk<Object>) {
        match &chunk {
            Chunk::Data(value) => self.written.push(format!("write {}", text(value))),
            Chunk::Close => self.written.push("close".to_owned()),
            Chunk::Abort(reason) => self.written.push(format!("abort {}", text(reason))),
        }
        if self.slow_reader {
            return self.unread.push(id);
        }
        if let Some((_, _, chunks)) = self.consuming.get_mut(&pipe)
            && let Chunk::Data(value) = chunk
        {
            chunks.push(value);
        } else if let Some((call, readable, chunks)) = self.consuming.remove(&pipe) {
            drop(readable);
            self.session.answer(call, Ok(Value::Array(chunks)));
        }
        self.session.answer(id, Ok(Value::Undefined));
    }

    fn serve(&mut self, call: Call<Object>) {
        let name = call.path.iter().map(Key::to_string).collect::<Vec<_>>().join(".");
        self.started.push(format!("{:?}.{name}", *call.target));
        let target = (*call.target).clone();
        drop(call.target);
        let Some(arguments) = call.arguments else {
            let property = self.property(&target, &name);
            return self.session.answer(call.id, property);
        };
        match target {
            Object::Service => self.serve_method(call.id, &name, &call.path, arguments),
            Object::Greeter if name == "hi" => self.session.answer(call.id, Ok("hi".into())),
            Object::AddOne if name.is_empty() => {
                let result = number(&arguments, 0) + 1.0;
                self.session.answer(call.id, Ok(result.into()));
            }
            Object::Counter if name == "increment" => {
                self.counter += 1.0;
                self.session.answer(call.id, Ok(self.counter.into()));
            }
            Object::Sink => {
                let what = arguments.first().map(text).unwrap_or_default();
                self.written.push(format!("{name} {what}"));
                self.session.answer(call.id, Ok(Value::Undefined));
            }
            _ => self.session.answer(call.id, Err(Error::not_a_function(&call.path))),
        }
    }

    fn property(&mut self, target: &Object, name: &str) -> Result<Value, Error> {
        match (target, name) {
            (Object::Service, "val") => Ok(42.into()),
            (Object::Service, "greeter") => Ok(self.make(Object::Greeter).into()),
            (Object::Counter, "value") => Ok(self.counter.into()),
            _ => Ok(Value::Undefined),
        }
    }

    fn serve_method(&mut self, id: CallId, name: &str, path: &[Key], mut arguments: Vec<Value>) {
        if arguments.is_empty() {
            arguments.push(Value::Undefined);
        }
        let result = match name {
            "square" => Ok((number(&arguments, 0) * number(&arguments, 0)).into()),
            "echo" => Ok(arguments.swap_remove(0)),
            "nothing" => Ok(Value::Undefined),
            "keys" => match &arguments[0] {
                Value::Object(object) => Ok(Value::Array(object.iter().map(|(key, _)| key.into()).collect())),
                _ => Ok(Value::Undefined),
            },
            "fail" => Err(Error::range_error("task not found").with("code", -32001)),
            "makeCounter" => Ok(self.make(Object::Counter).into()),
            "sink" => Ok(Value::Sink(self.make(Object::Sink))),
            "nested" => Ok(self.nested()),
            "tasks" => Ok(Value::Array(vec![task("a"), task("b")])),
            "never" => return,
            "hold" => return self.held.push(id),
            "gate" => return self.gates.entry(text(&arguments[0])).or_default().push(id),
            "open" => {
                let value = arguments.swap_remove(1);
                for gate in self.gates.remove(&text(&arguments[0])).unwrap_or_default() {
                    self.session.answer(gate, Ok(value.clone()));
                }
                Ok(Value::Undefined)
            }
            "cb" | "callMember" => return self.call_back(id, &arguments[0]),
            "keep" => {
                self.kept = remote(&arguments[0]);
                Ok(Value::Undefined)
            }
            "consume" => {
                let Value::Readable(readable) = arguments.swap_remove(0) else { panic!("no stream") };
                self.consuming.insert(readable.id(), (id, readable, Vec::new()));
                return;
            }
            "hoard" => {
                let Value::Readable(readable) = arguments.swap_remove(0) else { panic!("no stream") };
                self.readable = Some(readable);
                Ok(Value::Undefined)
            }
            "ignore" => Ok("ignored".into()),
            _ => Err(Error::not_a_function(path)),
        };
        drop(arguments);
        self.session.answer(id, result);
    }

    fn nested(&mut self) -> Value {
        let list = vec![10.into(), 20.into(), Value::Array(vec![30.into()])];
        let object = capnweb::Object::new()
            .with("list", list)
            .with("f", self.make(Object::AddOne))
            .with("s", self.make(Object::Greeter))
            .with("nil", Value::Null);
        object.into()
    }

    fn call_back(&mut self, id: CallId, function: &Value) {
        let target = match function {
            Value::Object(object) => object.get("on").and_then(remote),
            function => remote(function),
        };
        let Some(target) = target else {
            return self.session.answer(id, Err(Error::type_error("no function")));
        };
        match self.session.call(&target, &[], &[1.into()]) {
            Ok(question) => _ = self.calling.insert(question.id(), (id, question)),
            Err(refused) => self.session.answer(id, Err(refused.into())),
        }
    }
}

fn task(id: &str) -> Value {
    capnweb::Object::new().with("id", id).into()
}

fn remote(value: &Value) -> Option<Remote> {
    match value {
        Value::Remote(remote) => Some(remote.clone()),
        _ => None,
    }
}

fn number(arguments: &[Value], index: usize) -> f64 {
    arguments.get(index).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// A value as a person would write it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Error(error) => error.message.clone(),
        other => format!("{other:?}"),
    }
}

/// A local object that nothing else has.
pub(crate) fn local(bench: &mut Bench, object: Object) -> Local<Object> {
    bench.session.local(object)
}

/// Frames, as the assertions write them.
pub(crate) fn frames(frames: &[&str]) -> Vec<String> {
    frames.iter().map(|frame| (*frame).to_owned()).collect()
}

/// Says frames to a new bench and gives its answers and the bench.
pub(crate) fn play(input: &[&str]) -> (Vec<String>, Bench) {
    let mut bench = Bench::new();
    let output = bench.say(input);
    (output, bench)
}

/// Says frames to a new bench, which must not end the session, and compares what it sends.
#[track_caller]
pub(crate) fn answers(input: &[&str], output: &[&str]) {
    let (sent, bench) = play(input);
    assert_eq!(sent, frames(output), "to {input:?}");
    assert_eq!(bench.closed, None, "the session goes on");
}

/// A counter of calls that a hook makes.
pub(crate) fn count() -> (Rc<std::cell::Cell<usize>>, impl Fn() + 'static) {
    let count = Rc::new(std::cell::Cell::new(0));
    let hook = Rc::clone(&count);
    (count, move || hook.set(hook.get() + 1))
}

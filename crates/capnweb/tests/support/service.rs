//! What `tests/peers/capnweb/service.mjs` does, done once more: what one of them does, the other must do.

use std::cell::Cell;
use std::collections::BTreeMap;

use capnweb::{
    Call, CallId, Encoded, Error, Key, Local, Object, Question, QuestionId, Remote, Session, Value,
};

use super::streams::{Reader, Writer};

pub(crate) type Any = Value<Thing>;
type Outcome = Result<Any, Error>;

/// An object of the service's.
pub(crate) enum Thing {
    Service,
    Counter(Cell<f64>),
    Greeter,
    /// A method of the service, read as a property.
    Method(String),
    AddOne,
    /// What a stream is written into, and how it ended.
    Sink(Cell<Option<&'static str>>),
}

/// A call that goes on when the peer answers.
enum Waiting {
    /// Its result is the peer's answer. The arguments are held as long as the call runs.
    Return { call: CallId, _question: Question, arguments: Vec<Any> },
    /// The function is called again.
    Times(Times, Question),
}

/// A call that calls a function so many times.
struct Times {
    call: CallId,
    function: Remote,
    results: Vec<Any>,
    count: usize,
}

/// A call that waits at a gate, and the counter that it makes when the gate opens.
type Entrant = (CallId, Option<f64>);

enum Gate {
    Closed(Vec<Entrant>),
    Settled(Outcome),
}

#[derive(Default)]
pub(crate) struct Service {
    disposed: u32,
    gates: BTreeMap<String, Gate>,
    kept: Option<Remote>,
    sunk: Vec<Any>,
    waiting: BTreeMap<QuestionId, Waiting>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) writers: Vec<Writer>,
}

const METHODS: [&str; 33] = [
    "square",
    "add",
    "echo",
    "keys",
    "nothing",
    "nil",
    "tasks",
    "task",
    "fail",
    "never",
    "gate",
    "lateCounter",
    "open",
    "shut",
    "makeCounter",
    "counters",
    "nested",
    "bump",
    "disposals",
    "cb",
    "passOn",
    "callWith",
    "callTimes",
    "callMember",
    "keep",
    "callKept",
    "dropKept",
    "chunks",
    "consume",
    "ignore",
    "sink",
    "sunk",
    "writeTo",
];

impl Service {
    pub(crate) fn call(&mut self, session: &mut Session<Thing>, call: Call<Thing>) {
        let id = call.id;
        let outcome = match &call.arguments {
            None => read(session, &call.target, &call.path).map(Some),
            Some(_) => self.invoke(session, call),
        };
        match outcome {
            Ok(Some(value)) => session.answer(id, Ok(value)),
            Ok(None) => {}
            Err(error) => session.answer(id, Err(error)),
        }
        self.begin_writing(session);
    }

    /// Nobody waits for this call any more; what it does goes on, as it would in JavaScript.
    #[expect(clippy::unused_self, reason = "what a host of another kind would need")]
    pub(crate) fn cancel(&mut self, _call: CallId) {}

    pub(crate) fn dropped(&mut self, thing: Thing) {
        match thing {
            Thing::Counter(_) => self.disposed += 1,
            Thing::Sink(ended) if ended.get().is_none() => self.sunk.push("aborted".into()),
            _ => {}
        }
    }

    pub(crate) fn answered(&mut self, session: &mut Session<Thing>, question: QuestionId, result: Outcome) {
        match self.waiting.remove(&question) {
            Some(Waiting::Return { call, _question, arguments }) => {
                drop((_question, arguments));
                session.answer(call, result);
            }
            Some(Waiting::Times(mut times, question)) => {
                drop(question);
                match result {
                    Ok(value) => {
                        times.results.push(value);
                        self.again(session, times);
                    }
                    Err(error) => {
                        drop(times.function);
                        session.answer(times.call, Err(error));
                    }
                }
            }
            None => self.acknowledged(session, question, result),
        }
    }

    /// Starts a call; nothing, if its result comes later.
    fn invoke(&mut self, session: &mut Session<Thing>, call: Call<Thing>) -> Result<Option<Any>, Error> {
        let Call { id, target, path, arguments } = call;
        let arguments = arguments.unwrap_or_default();
        let Some((last, way)) = path.split_last() else {
            return match &*target {
                Thing::AddOne => Ok(Some(number(&arguments, 0).map_or(f64::NAN, |x| x + 1.0).into())),
                Thing::Method(method) => self.method(session, id, &method.clone(), arguments),
                _ => Err(Error::not_a_function(&path)),
            };
        };
        let base = read(session, &target, way)?;
        let base = match base {
            Value::Undefined => return Err(no_property(last)),
            Value::Local(base) => base,
            _ => return Err(Error::not_a_function(&path)),
        };
        let name = last.as_name().unwrap_or_default();
        let greeted = || arguments.first().and_then(Value::as_str).unwrap_or("undefined");
        match (&*base, name) {
            (Thing::Service, name) if METHODS.contains(&name) => self.method(session, id, name, arguments),
            (Thing::Counter(value), "increment") => Ok(Some(increment(value, number(&arguments, 0)))),
            (Thing::Greeter, "hi") => Ok(Some("hi".into())),
            (Thing::Greeter, "hello") => Ok(Some(format!("hello {}", greeted()).into())),
            (Thing::Sink(ended), name) => self.sink(ended, name, arguments).map(Some),
            _ => Err(Error::not_a_function(&path)),
        }
    }

    fn method(
        &mut self,
        session: &mut Session<Thing>,
        id: CallId,
        name: &str,
        mut arguments: Vec<Any>,
    ) -> Result<Option<Any>, Error> {
        let mut take = |at: usize| {
            arguments.get_mut(at).map_or(Value::Undefined, |x| std::mem::replace(x, Value::Undefined))
        };
        let now: Any = match name {
            "square" => number(&arguments, 0).map_or(f64::NAN, |n| n * n).into(),
            "add" => sum(&take(0), &take(1)),
            "echo" => take(0),
            "keys" => keys(&take(0)),
            "nothing" => Value::Undefined,
            "nil" => Value::Null,
            "tasks" => encoded(vec![task_row("a", 1.0), task_row("b", 2.0)].into()),
            "task" => encoded(Object::new().with("id", take(0)).with("state", "working").into()),
            "fail" => return Err(failure(&take(0), &take(1), take(2))),
            "never" => return Ok(None),
            "gate" => return self.gate(session, text(&take(0)), (id, None)),
            "lateCounter" => {
                let (key, start) = (text(&take(0)), take(1).as_f64().unwrap_or(0.0));
                return self.gate(session, key, (id, Some(start)));
            }
            "open" => self.settle(session, text(&take(0)), Ok(take(1))),
            "shut" => self.settle(session, text(&take(0)), Err(Error::range_error(text(&take(1))))),
            "makeCounter" => counter(session, number(&arguments, 0).unwrap_or(0.0)),
            "counters" => counters(session, number(&arguments, 0).unwrap_or(0.0)),
            "nested" => nested(session),
            "bump" => bump(&take(0), number(&arguments, 1))?,
            "disposals" => self.disposed.into(),
            "sunk" => self.sunk.clone().into(),
            "dropKept" => {
                self.kept = None;
                Value::Undefined
            }
            "keep" => self.keep(take(0)),
            "ignore" => "ignored".into(),
            "chunks" => self.chunks(session, take(0)),
            "consume" => return self.consume(id, take(0)),
            "sink" => Value::Sink(session.local(Thing::Sink(Cell::new(None)))),
            "writeTo" => return self.write_to(id, take(0), take(1)),
            _ => return self.call_back(session, id, name, arguments),
        };
        drop(arguments);
        Ok(Some(now))
    }

    fn gate(
        &mut self,
        session: &mut Session<Thing>,
        key: String,
        entrant: Entrant,
    ) -> Result<Option<Any>, Error> {
        match self.gates.entry(key).or_insert_with(|| Gate::Closed(Vec::new())) {
            Gate::Closed(entrants) => {
                entrants.push(entrant);
                Ok(None)
            }
            Gate::Settled(outcome) => entered(session, entrant.1, outcome.clone()).map(Some),
        }
    }

    fn settle(&mut self, session: &mut Session<Thing>, key: String, outcome: Outcome) -> Any {
        let gate = self.gates.entry(key).or_insert_with(|| Gate::Closed(Vec::new()));
        if let Gate::Closed(entrants) = gate {
            let entrants = std::mem::take(entrants);
            *gate = Gate::Settled(outcome.clone());
            for (call, counter) in entrants {
                let outcome = entered(session, counter, outcome.clone());
                session.answer(call, outcome);
            }
        }
        Value::Undefined
    }

    fn keep(&mut self, function: Any) -> Any {
        self.kept = match function {
            Value::Remote(function) => Some(function),
            _ => None,
        };
        Value::Undefined
    }

    /// The methods that call what they were given.
    fn call_back(
        &mut self,
        session: &mut Session<Thing>,
        id: CallId,
        name: &str,
        arguments: Vec<Any>,
    ) -> Result<Option<Any>, Error> {
        let argument = |at: usize| arguments.get(at).cloned().unwrap_or(Value::Undefined);
        let first = argument(0);
        let (function, path, given): (Any, &[&str], Any) = match (name, &first) {
            ("cb" | "passOn", _) => (first, &[], 1.into()),
            ("callMember", Value::Object(object)) => {
                (object.get("on").cloned().unwrap_or(Value::Undefined), &[], argument(1))
            }
            ("callMember", _) => (first, &["on"], argument(1)),
            ("callKept", _) => match &self.kept {
                Some(kept) => (Value::Remote(kept.clone()), &[], argument(0)),
                None => return Err(Error::type_error("nothing is kept")),
            },
            ("callTimes", Value::Remote(function)) => {
                let count = number(&arguments, 1).unwrap_or(0.0) as usize;
                let function = function.clone();
                drop(first);
                drop(arguments);
                self.again(session, Times { call: id, function, results: Vec::new(), count });
                return Ok(None);
            }
            _ => (first, &[], argument(1)),
        };
        match function {
            Value::Remote(function) => {
                let question = session.call(&function, path, &[given])?;
                let arguments = if name == "passOn" { Vec::new() } else { arguments };
                self.waiting
                    .insert(question.id(), Waiting::Return { call: id, _question: question, arguments });
                Ok(None)
            }
            Value::Local(function) => {
                let path = path.iter().map(|name| Key::from(*name)).collect();
                self.invoke(session, Call { id, target: function, path, arguments: Some(vec![given]) })
            }
            _ => Err(Error::type_error("fn is not a function")),
        }
    }

    fn again(&mut self, session: &mut Session<Thing>, times: Times) {
        if times.results.len() == times.count {
            drop(times.function);
            session.answer(times.call, Ok(times.results.into()));
            return;
        }
        match session.call(&times.function, &[], &[Value::Number(times.results.len() as f64)]) {
            Ok(question) => {
                self.waiting.insert(question.id(), Waiting::Times(times, question));
            }
            Err(refused) => session.answer(times.call, Err(refused.into())),
        }
    }

    fn sink(&mut self, ended: &Cell<Option<&'static str>>, name: &str, mut arguments: Vec<Any>) -> Outcome {
        if let Some(how) = ended.get() {
            return Err(match how {
                "bad" => Error::range_error("bad chunk"),
                _ => Error::type_error("the stream is closed"),
            });
        }
        match name {
            "write" if arguments.first().and_then(Value::as_str) == Some("bad") => {
                ended.set(Some("bad"));
                return Err(Error::range_error("bad chunk"));
            }
            "write" => self.sunk.extend(arguments.drain(..).take(1)),
            "close" => {
                ended.set(Some("closed"));
                self.sunk.push("closed".into());
            }
            "abort" => {
                ended.set(Some("aborted"));
                self.sunk.push("aborted".into());
            }
            _ => return Err(Error::plain("a stream has no such method")),
        }
        Ok(Value::Undefined)
    }
}

/// Follows a path of properties.
fn read(session: &mut Session<Thing>, target: &Local<Thing>, path: &[Key]) -> Outcome {
    let mut value = Value::Local(target.clone());
    for key in path {
        let name = key.as_name().unwrap_or_default();
        value = match &value {
            Value::Undefined => return Err(no_property(key)),
            Value::Object(object) => object.get(name).cloned().unwrap_or(Value::Undefined),
            Value::Local(local) => match (&**local, name) {
                (Thing::Service, "val") => 42.into(),
                (Thing::Service, "own") => return Err(Error::type_error("the property is the object's own")),
                (Thing::Service, "greeter") => Value::Local(session.local(Thing::Greeter)),
                (Thing::Service, name) if METHODS.contains(&name) => {
                    Value::Local(session.local(Thing::Method(name.to_owned())))
                }
                (Thing::Counter(value), "value") => value.get().into(),
                _ => Value::Undefined,
            },
            _ => Value::Undefined,
        };
    }
    Ok(value)
}

fn no_property(key: &Key) -> Error {
    Error::type_error(format!("Cannot read properties of undefined (reading '{key}')"))
}

fn number(arguments: &[Any], at: usize) -> Option<f64> {
    arguments.get(at).and_then(Value::as_f64)
}

fn text(value: &Any) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sum(a: &Any, b: &Any) -> Any {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a + b).into(),
        _ => f64::NAN.into(),
    }
}

fn keys(value: &Any) -> Any {
    let names: Vec<Any> = match value {
        Value::Object(object) => object.iter().map(|(name, _)| Value::from(name)).collect(),
        _ => Vec::new(),
    };
    names.into()
}

fn task_row(id: &str, n: f64) -> Any {
    Object::new().with("id", id).with("n", n).into()
}

/// A value that is written down already, as a host has it that sends one to many.
fn encoded(value: Any) -> Any {
    Encoded::new(&value.into_data()).expect("data that came in may go out").into()
}

fn failure(name: &Any, message: &Any, properties: Any) -> Error {
    let mut error = Error::new(text(name), text(message));
    if let Value::Object(properties) = properties {
        for (name, value) in properties {
            error = error.with(name, value.into_data());
        }
    }
    error
}

fn counter(session: &mut Session<Thing>, start: f64) -> Any {
    Value::Local(session.local(Thing::Counter(Cell::new(start))))
}

/// What a call comes to that was let through a gate.
fn entered(session: &mut Session<Thing>, start: Option<f64>, outcome: Outcome) -> Outcome {
    match start {
        Some(start) => outcome.map(|_| counter(session, start)),
        None => outcome,
    }
}

fn counters(session: &mut Session<Thing>, count: f64) -> Any {
    (0..count as u32).map(|start| counter(session, start.into())).collect::<Vec<_>>().into()
}

fn increment(value: &Cell<f64>, by: Option<f64>) -> Any {
    value.set(value.get() + by.unwrap_or(1.0));
    value.get().into()
}

fn bump(counter: &Any, by: Option<f64>) -> Outcome {
    match counter {
        Value::Local(local) => match &**local {
            Thing::Counter(value) => Ok(increment(value, by)),
            _ => Err(Error::type_error("counter.increment is not a function")),
        },
        _ => Err(Error::type_error("counter.increment is not a function")),
    }
}

fn nested(session: &mut Session<Thing>) -> Any {
    let object = |name: &str, value: Any| -> Any { Object::new().with(name, value).into() };
    let deepest = vec![30.into(), object("deep", true.into())];
    Object::new()
        .with("list", vec![10.into(), 20.into(), deepest.into()])
        .with("f", session.local(Thing::AddOne))
        .with("s", session.local(Thing::Greeter))
        .with("o", object("a", object("b", object("c", 1.into()))))
        .with("nil", Value::Null)
        .with("undef", Value::Undefined)
        .with("text", "text")
        .into()
}

//! Plays the acts of a script in one session: gives numbers to labels on the way out, and takes them away from
//! what comes back, so that two servers that number differently can be compared.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use crate::normal::{self, CameTo};
use crate::script::{Act, Answer, Symbol, numbered};

/// What a server said between two waits, in normal form: all frames, sorted; and, since there the order counts,
/// the calls on each of the client's things as they came. A result counts as said when everything in it has come
/// true, as it would reach a program; one that the client has given up does not count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) frames: Vec<String>,
    pub(crate) calls: BTreeMap<Symbol, Vec<String>>,
    pub(crate) ended: bool,
}

/// The client's end of a session.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// How many results the client has asked for, and what they are called.
    asked: i64,
    results: BTreeMap<u32, i64>,
    labels: BTreeMap<i64, u32>,
    /// The client's own exports, all negative.
    exports: BTreeMap<Symbol, i64>,
    /// How many calls and pipes the server has made.
    heard: i64,
    /// The numbers of what the server exported, and of its calls and pipes.
    numbers: BTreeMap<Symbol, i64>,
    /// What the client's and the server's numbers are called where the server names them.
    names: BTreeMap<i64, Symbol>,
    promises: BTreeMap<i64, Symbol>,
    waiting: BTreeMap<Symbol, VecDeque<i64>>,
    made: BTreeMap<Symbol, usize>,
    /// Promises of the server's that have come true: as any client, this one gives them back.
    settled: Vec<i64>,
    /// What they came to, and results that wait for others.
    came_to: CameTo,
    incomplete: Vec<Value>,
    dropped: BTreeSet<Symbol>,
    released: BTreeSet<u32>,
    /// Results of stream calls are answered and cannot be named.
    streamed: BTreeSet<u32>,
}

impl Client {
    /// The frames of an act: none, where it has become void.
    pub(crate) fn frames(&mut self, act: &Act) -> Vec<String> {
        let mut frames = Vec::from_iter(self.frame(act));
        if let Act::Push { label, pull: true, .. } = act
            && !frames.is_empty()
        {
            frames.push(json!(["pull", self.results[label]]).to_string());
        }
        frames
    }

    fn frame(&mut self, act: &Act) -> Option<String> {
        let frame = match act {
            Act::Push { label, expr, .. } => {
                let expr = self.numbered(expr)?;
                self.ask(*label);
                json!(["push", expr])
            }
            Act::Stream { label, expr } => {
                let expr = self.numbered(expr)?;
                self.ask(*label);
                self.streamed.insert(*label);
                json!(["stream", expr])
            }
            Act::Pipe { label } => {
                self.ask(*label);
                json!(["pipe"])
            }
            Act::Pull { label } => json!(["pull", self.result(*label)?]),
            Act::Release { label } => {
                let id = self.result(*label)?;
                self.released.insert(*label);
                json!(["release", id, 1])
            }
            Act::Drop { symbol }
                if self.numbers.contains_key(symbol) && self.dropped.insert(symbol.clone()) =>
            {
                json!(["release", self.numbers[symbol], 1])
            }
            Act::Answer { target, with } => {
                let call = self.waiting.get_mut(target)?.pop_front()?;
                self.answer(call, with)?
            }
            Act::Settle { label, with } => {
                let promise = *self.exports.get(&format!("q{label}"))?;
                self.answer(promise, with)?
            }
            _ => return None,
        };
        Some(frame.to_string())
    }

    /// What an honest client still owes when it has had enough: answers, and the release of all it holds.
    pub(crate) fn farewell(&mut self) -> Vec<String> {
        let mut acts: Vec<Act> = Vec::new();
        for (target, calls) in &self.waiting {
            let with = Answer::Resolve(json!(["undefined"]));
            acts.extend(calls.iter().map(|_| Act::Answer { target: target.clone(), with: with.clone() }));
        }
        acts.extend(self.results.keys().map(|label| Act::Release { label: *label }));
        acts.extend(self.numbers.keys().map(|symbol| Act::Drop { symbol: symbol.clone() }));
        let mut frames = self.owed();
        frames.extend(acts.iter().flat_map(|act| self.frames(act)));
        // The test service keeps one function beyond its call.
        self.asked += 1;
        frames.push(json!(["push", ["pipeline", 0, ["dropKept"], []]]).to_string());
        frames.push(json!(["release", self.asked, 1]).to_string());
        frames
    }

    /// Gives back the promises that have come true.
    pub(crate) fn owed(&mut self) -> Vec<String> {
        self.settled.drain(..).map(|id| json!(["release", id, 1]).to_string()).collect()
    }

    /// Takes in what the server said, and puts it into normal form.
    pub(crate) fn hear(&mut self, frames: &[String], ended: bool) -> Said {
        let mut said = Said { ended, ..Said::default() };
        // Results first: what they hold gets its name from them, and calls may come before.
        let is_result = |frame: &&String| frame.starts_with("[\"res") || frame.starts_with("[\"rej");
        let (results, others): (Vec<_>, Vec<_>) = frames.iter().partition(is_result);
        for frame in results.into_iter().chain(others) {
            let frame = self.renamed(frame, &mut said.calls);
            if frame[0] != "resolve" && frame[0] != "reject" {
                said.frames.push(frame.to_string());
            } else if frame[1].as_str().is_some_and(|name| name.contains('.')) {
                normal::note(&mut self.came_to, &frame);
            } else {
                self.incomplete.push(frame);
            }
        }
        for frame in std::mem::take(&mut self.incomplete) {
            match normal::complete(&frame, &self.came_to) {
                None => self.incomplete.push(frame),
                Some(frame) if self.is_given_up(&frame) => {}
                Some(frame) => said.frames.push(frame.to_string()),
            }
        }
        said.frames.sort();
        said
    }

    fn is_given_up(&self, frame: &Value) -> bool {
        let label = frame[1].as_str().and_then(|name| name.strip_prefix('p')?.parse().ok());
        label.is_some_and(|label| self.released.contains(&label))
    }

    fn ask(&mut self, label: u32) {
        self.asked += 1;
        self.results.insert(label, self.asked);
        self.labels.insert(self.asked, label);
    }

    fn answer(&mut self, id: i64, with: &Answer) -> Option<Value> {
        let (kind, expr) = with.parts();
        Some(json!([kind, id, self.numbered(expr)?]))
    }

    fn numbered(&mut self, expr: &Value) -> Option<Value> {
        numbered(expr, &mut |symbol| self.number(symbol))
    }

    /// The number of a result that can still be named.
    fn result(&self, label: u32) -> Option<i64> {
        let gone = self.released.contains(&label) || self.streamed.contains(&label);
        if gone { None } else { self.results.get(&label).copied() }
    }

    fn number(&mut self, symbol: &str) -> Option<i64> {
        let label = || symbol[1..].parse().ok();
        match symbol.as_bytes()[0] {
            _ if symbol.contains(['.', '#']) => {
                (!self.dropped.contains(symbol)).then(|| self.numbers.get(symbol).copied())?
            }
            b'p' => self.result(label()?),
            // Each is exported once: the reference counts a second time wrongly.
            _ if self.exports.contains_key(symbol) => None,
            _ => {
                let id = -1 - i64::try_from(self.exports.len()).expect("few");
                self.exports.insert(symbol.to_owned(), id);
                self.names.insert(id, symbol.to_owned());
                Some(id)
            }
        }
    }

    /// A frame of the server's with names for numbers.
    fn renamed(&mut self, frame: &str, calls: &mut BTreeMap<Symbol, Vec<String>>) -> Value {
        let frame: Value = serde_json::from_str(frame).expect("a server sends JSON");
        let kind = frame[0].as_str().expect("a server's messages have a type").to_owned();
        match kind.as_str() {
            "push" | "stream" => self.called(&kind, &frame[1], calls),
            "pipe" => {
                self.heard += 1;
                frame
            }
            "resolve" | "reject" => {
                let id = frame[1].as_i64().expect("a number");
                let context = self.labels.get(&id).map(|label| format!("p{label}"));
                let context = context.or_else(|| self.promises.get(&id).cloned()).unwrap_or(format!("?{id}"));
                if id < 0 {
                    self.settled.push(id);
                }
                json!([kind, context, self.value(&frame[2], &context)])
            }
            "pull" => json!([kind, self.name(&frame[1])]),
            "release" => json!([kind, self.name(&frame[1]), normal::number(&frame[2])]),
            _ => json!([kind]),
        }
    }

    fn called(&mut self, kind: &str, expr: &Value, calls: &mut BTreeMap<Symbol, Vec<String>>) -> Value {
        self.heard += 1;
        let target = self.name(&expr[1]);
        let count = self.made.entry(target.clone()).or_default();
        let call = format!("{target}#{count}");
        *count += 1;
        self.numbers.insert(call.clone(), self.heard);
        // A call is given up by who made it.
        self.dropped.insert(call.clone());
        self.names.insert(self.heard, call.clone());
        self.waiting.entry(target.clone()).or_default().push_back(self.heard);
        let renamed = json!([kind, call, self.value(expr, &call)]);
        calls.entry(target).or_default().push(renamed.to_string());
        renamed
    }

    fn name(&self, id: &Value) -> Symbol {
        let id = id.as_i64().expect("a number");
        self.names.get(&id).cloned().unwrap_or(format!("?{id}"))
    }

    /// An expression of the server's with names for numbers: what it exports is called after where it stands.
    fn value(&mut self, expr: &Value, context: &str) -> Value {
        let mut seen = 0;
        self.expression(expr, context, &mut seen)
    }

    fn expression(&mut self, expr: &Value, context: &str, seen: &mut usize) -> Value {
        let parts = match expr {
            Value::Object(members) => {
                let mut renamed = Map::new();
                let sorted: BTreeMap<_, _> = members.iter().collect();
                for (key, member) in sorted {
                    renamed.insert(key.clone(), self.expression(member, context, seen));
                }
                return Value::Object(renamed);
            }
            Value::Array(parts) => parts,
            other => return normal::number(other),
        };
        match parts.as_slice() {
            [Value::Array(items)] => json!([self.expressions(items, context, seen)]),
            [Value::String(tag), id, rest @ ..] => match tag.as_str() {
                "export" | "promise" | "writable" | "readable" => {
                    let symbol = format!("{context}.{seen}");
                    *seen += 1;
                    self.exported(tag, id.as_i64().expect("a number"), &symbol);
                    json!([tag, symbol])
                }
                "import" | "pipeline" => {
                    let mut renamed = vec![json!(tag), json!(self.name(id))];
                    renamed.extend(rest.first().cloned());
                    if let Some(Value::Array(arguments)) = rest.get(1) {
                        renamed.push(self.expressions(arguments, context, seen));
                    }
                    Value::from(renamed)
                }
                "error" => {
                    let properties = rest.get(2).map(|properties| self.expression(properties, context, seen));
                    normal::error(id, &rest[0], properties)
                }
                _ => normal::literal(expr),
            },
            _ => normal::literal(expr),
        }
    }

    fn expressions(&mut self, exprs: &[Value], context: &str, seen: &mut usize) -> Value {
        exprs.iter().map(|expr| self.expression(expr, context, seen)).collect::<Vec<_>>().into()
    }

    fn exported(&mut self, tag: &str, id: i64, symbol: &str) {
        self.numbers.insert(symbol.to_owned(), id);
        match tag {
            "promise" => {
                self.promises.insert(id, symbol.to_owned());
                self.dropped.insert(symbol.to_owned());
            }
            "readable" => {
                self.names.insert(id, symbol.to_owned());
                self.dropped.insert(symbol.to_owned());
            }
            _ => {}
        }
    }
}

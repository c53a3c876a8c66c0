//! Writes random legal scripts against the test service.
//!
//! A script must have one right outcome. Where the order of two calls is open (one waits for a promise in its
//! arguments, the other does not) they must not touch the same state; so calls that change something wait for
//! silence before, wherever it could matter.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::script::{Act, Answer, Symbol};
use crate::values::{number, plain};

/// What the writer believes a result to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Number,
    Plain,
    Counter,
    Counters,
    Nested,
    Tasks,
    Function,
    Main,
    Sink,
    Source,
    Failed,
}

#[derive(Clone, Debug)]
struct Known {
    label: u32,
    kind: Kind,
    pulled: bool,
    /// It was there before the last wait, and nothing holds it up.
    settled: bool,
    /// What it waits for: a gate, a promise or a callback, by label.
    waits_for: Vec<u32>,
}

/// Writes one script.
pub(crate) struct Writer {
    dice: Dice,
    acts: Vec<Act>,
    known: Vec<Known>,
    next: u32,
    /// Gates that somebody waits at, promises and callbacks to be answered: what will end the wait.
    open: Vec<(u32, Act)>,
    kept: bool,
    sunk: bool,
}

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Vec<Act> {
    let mut dice = Dice::new(seed);
    let length = 3 + dice.under(22);
    let mut writer = Writer {
        dice,
        acts: Vec::new(),
        known: Vec::new(),
        next: 1,
        open: Vec::new(),
        kept: false,
        sunk: false,
    };
    for _ in 0..length {
        writer.act();
    }
    while let Some((label, _)) = writer.open.first() {
        let label = *label;
        writer.end_wait(label);
    }
    writer.wait();
    writer.acts
}

impl Writer {
    fn act(&mut self) {
        match self.dice.under(100) {
            0..=12 => self.compute(),
            13..=21 => self.echo(),
            22..=29 => self.look(),
            30..=40 => self.count(),
            41..=46 => self.walk(),
            47..=53 => self.map(),
            54..=58 => self.fail(),
            59..=64 => self.gate(),
            65..=74 => self.call_back(),
            75..=78 => self.promise(),
            79..=85 => self.stream(),
            86..=87 => self.keep(),
            88 => self.pass_through(),
            89..=92 => self.give_up(),
            93..=95 => self.end_some_wait(),
            _ => self.wait(),
        }
    }

    // What scripts are made of.

    fn label(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Pushes an expression, and mostly asks for what comes of it.
    fn push(&mut self, expr: Value, kind: Kind, waits_for: Vec<u32>) -> u32 {
        let pulled = self.dice.chance(85);
        self.push_and(pulled, expr, kind, waits_for)
    }

    fn push_and(&mut self, pull: bool, expr: Value, kind: Kind, waits_for: Vec<u32>) -> u32 {
        let label = self.label();
        self.acts.push(Act::Push { label, expr, pull });
        self.known.push(Known { label, kind, pulled: pull, settled: false, waits_for });
        label
    }

    fn call(&mut self, method: &str, arguments: Vec<Value>, kind: Kind, waits_for: Vec<u32>) -> u32 {
        let head = if self.dice.chance(15) { "import" } else { "pipeline" };
        self.push(json!([head, 0, [method], arguments]), kind, waits_for)
    }

    fn wait(&mut self) {
        if self.acts.last() == Some(&Act::Wait) {
            return;
        }
        self.acts.push(Act::Wait);
        for known in &mut self.known {
            known.settled = known.waits_for.is_empty();
        }
    }

    fn any(&mut self, kinds: &[Kind]) -> Option<Known> {
        let fitting: Vec<Known> =
            self.known.iter().filter(|known| kinds.contains(&known.kind)).cloned().collect();
        self.dice.any_of(&fitting)
    }

    /// One whose value is there.
    fn any_settled(&mut self, kinds: &[Kind]) -> Option<Known> {
        let fitting: Vec<Known> =
            self.known.iter().filter(|known| known.settled && kinds.contains(&known.kind)).cloned().collect();
        self.dice.any_of(&fitting)
    }

    /// An expression for a number: a literal, a result, or a call of its own.
    fn number(&mut self, waits_for: &mut Vec<u32>) -> Value {
        match self.dice.under(10) {
            0..=4 => number(&mut self.dice),
            5..=7 => match self.any(&[Kind::Number]) {
                Some(known) => {
                    waits_for.extend(known.waits_for);
                    let path = if self.dice.chance(50) { json!([]) } else { Value::Null };
                    pipeline(known.label, path)
                }
                None => json!(7),
            },
            8 => json!(["pipeline", 0, ["square"], [self.number(waits_for)]]),
            _ => json!(["pipeline", 0, ["val"]]),
        }
    }

    /// What will end a wait is remembered until it happens.
    fn will_end(&mut self, label: u32, act: Act) {
        self.open.push((label, act));
    }

    fn end_wait(&mut self, label: u32) {
        self.wait();
        while let Some(at) = self.open.iter().position(|(waiting, _)| *waiting == label) {
            let (_, act) = self.open.remove(at);
            self.acts.push(act);
            self.acts.push(Act::Wait);
        }
        for known in &mut self.known {
            known.waits_for.retain(|waiting| *waiting != label);
        }
        self.wait();
    }

    fn end_some_wait(&mut self) {
        let waiting: Vec<u32> = self.open.iter().map(|(label, _)| *label).collect();
        if let Some(label) = self.dice.any_of(&waiting) {
            self.end_wait(label);
        }
    }

    // What a client may do.

    fn compute(&mut self) {
        let mut waits_for = Vec::new();
        let first = self.number(&mut waits_for);
        if self.dice.chance(60) {
            self.call("square", vec![first], Kind::Number, waits_for);
        } else {
            let second = self.number(&mut waits_for);
            self.call("add", vec![first, second], Kind::Number, waits_for);
        }
    }

    fn echo(&mut self) {
        let mut waits_for = Vec::new();
        let mut value = plain(&mut self.dice, 4);
        if self.dice.chance(30) {
            let promise = self.number(&mut waits_for);
            value = json!({ "value": value, "list": [[promise, { "deep": value }]] });
        }
        match self.dice.under(10) {
            0 | 1 => {
                self.push(value, Kind::Plain, waits_for);
            }
            2 => {
                let label = self.label();
                self.acts.push(Act::Stream { label, expr: json!(["pipeline", 0, ["echo"], [value]]) });
            }
            3 => {
                self.call("nothing", vec![value], Kind::Plain, waits_for);
            }
            _ => {
                self.call("echo", vec![value], Kind::Plain, waits_for);
            }
        }
    }

    /// Looks at properties, those that nobody has among them.
    fn look(&mut self) {
        const PATHS: [&[&str]; 8] = [
            &["val"],
            &["absent"],
            &["__proto__"],
            &["constructor"],
            &["toString"],
            &["val", "x"],
            &["absent", "x"],
            &["val", "__proto__"],
        ];
        let path = *self.dice.one_of(&PATHS);
        if self.dice.chance(70) {
            self.push(
                json!(["pipeline", 0, path]),
                if path == ["val"] { Kind::Number } else { Kind::Plain },
                vec![],
            );
        } else {
            self.push(json!(["pipeline", 0, path, []]), Kind::Failed, vec![]);
        }
        if self.dice.chance(20) {
            let label = self.push(json!(["pipeline", 0, ["square"]]), Kind::Function, vec![]);
            self.push(json!(["pipeline", format!("p{label}"), [], [3]]), Kind::Number, vec![]);
        }
        if self.dice.chance(10) {
            let main = self.dice.one_of(&[json!(["import", 0]), json!(["pipeline", 0])]).clone();
            self.push_and(true, main, Kind::Main, vec![]);
        }
    }

    /// Counters keep a number, and so their calls must come in order.
    fn count(&mut self) {
        match self.dice.under(10) {
            0..=3 => {
                let start = self.dice.under(100);
                let label = self.call("makeCounter", vec![json!(start)], Kind::Counter, vec![]);
                for _ in 0..self.dice.under(4) {
                    let by = self.dice.under(10);
                    self.push(
                        json!(["pipeline", format!("p{label}"), ["increment"], [by]]),
                        Kind::Number,
                        vec![],
                    );
                }
                if self.dice.chance(25) {
                    self.acts.push(Act::Release { label });
                    self.known.retain(|known| known.label != label);
                }
                self.wait();
            }
            4..=7 => {
                let Some(counter) = self.any_settled(&[Kind::Counter]) else { return };
                let target = self.counter(&counter);
                self.wait();
                match self.dice.under(3) {
                    0 => self.push(json!(["pipeline", target, ["value"]]), Kind::Number, vec![]),
                    1 => self.push(json!(["pipeline", target, ["increment"], []]), Kind::Number, vec![]),
                    _ => {
                        let tag = if target.contains('.') { "import" } else { "pipeline" };
                        self.call("bump", vec![json!([tag, target]), json!(5)], Kind::Number, vec![])
                    }
                };
                self.wait();
            }
            8 => {
                let count = self.dice.under(4);
                self.call("counters", vec![json!(count)], Kind::Counters, vec![]);
                self.wait();
            }
            _ => {
                self.wait();
                self.call("disposals", vec![], Kind::Number, vec![]);
                self.wait();
            }
        }
    }

    /// A counter by the result that brought it, or by its own number.
    fn counter(&mut self, counter: &Known) -> Symbol {
        if counter.pulled && self.dice.chance(60) {
            format!("p{}.0", counter.label)
        } else {
            format!("p{}", counter.label)
        }
    }

    /// Calls what the server has exported by its own number.
    fn call_export(&mut self) {
        let Some(known) = self.any_settled(&[Kind::Nested, Kind::Function, Kind::Main]) else { return };
        if !known.pulled {
            return;
        }
        let symbol = |at: usize| format!("p{}.{at}", known.label);
        let expr = match (known.kind, self.dice.under(2)) {
            (Kind::Nested, 0) => json!(["pipeline", symbol(0), [], [5]]),
            (Kind::Nested, _) => json!(["pipeline", symbol(1), ["hello"], ["you"]]),
            (Kind::Function, _) => json!(["pipeline", symbol(0), [], [7]]),
            (_, 0) => json!(["pipeline", symbol(0), ["val"]]),
            _ => json!(["pipeline", symbol(0), ["square"], [9]]),
        };
        self.push(expr, Kind::Plain, vec![]);
    }

    /// Calls the client's own function through a value that the server holds, and the server's through its own.
    fn pass_through(&mut self) {
        if self.dice.chance(40) {
            let square = json!(["import", 0, ["square"]]);
            self.call("callWith", vec![square, json!(12)], Kind::Number, vec![]);
            return;
        }
        let label = self.label();
        let own: Symbol = format!("e{label}");
        let value = self.push_and(false, json!({ "f": ["export", own] }), Kind::Plain, vec![]);
        let argument = plain(&mut self.dice, 2);
        // This crate always wants to know what such a call comes to; the reference only if it is asked itself.
        let expr = json!(["pipeline", format!("p{value}"), ["f"], [argument]]);
        self.push_and(true, expr, Kind::Plain, vec![label]);
        let with = self.answer();
        self.will_end(label, Act::Answer { target: own, with });
    }

    /// Follows paths into a result.
    fn walk(&mut self) {
        if self.dice.chance(25) {
            return self.call_export();
        }
        const PATHS: [(&str, Kind); 9] = [
            (r#"["list"]"#, Kind::Plain),
            (r#"["list",1]"#, Kind::Number),
            (r#"["list","1"]"#, Kind::Plain),
            (r#"["list",9]"#, Kind::Plain),
            (r#"["list",2,1,"deep"]"#, Kind::Plain),
            (r#"["o","a"]"#, Kind::Plain),
            (r#"["nil"]"#, Kind::Plain),
            (r#"["undef","x"]"#, Kind::Failed),
            (r#"["text","length"]"#, Kind::Plain),
        ];
        let label = match self.any(&[Kind::Nested]) {
            Some(known) if self.dice.chance(60) => known.label,
            _ => self.call("nested", vec![], Kind::Nested, vec![]),
        };
        for _ in 0..1 + self.dice.under(3) {
            if self.dice.chance(30) {
                let (path, arguments) =
                    [(json!(["f"]), json!([5])), (json!(["s", "hi"]), json!([])), (json!(["o"]), json!([]))]
                        [self.dice.under(3)]
                    .clone();
                self.push(json!(["pipeline", format!("p{label}"), path, arguments]), Kind::Plain, vec![]);
                continue;
            }
            let (path, kind) = *self.dice.one_of(&PATHS);
            let path: Value = serde_json::from_str(path).expect("a path");
            self.push(pipeline(label, path), kind, vec![]);
        }
    }

    /// Maps a list, a value or nothing.
    fn map(&mut self) {
        let (input, each): (u32, usize) = match self.dice.under(5) {
            0 | 1 => (self.call("tasks", vec![], Kind::Tasks, vec![]), 0),
            2 => {
                let list: Vec<Value> = (0..self.dice.under(4)).map(|_| number(&mut self.dice)).collect();
                (self.push(json!([list]), Kind::Plain, vec![]), 1)
            }
            3 => {
                let value = [Value::Null, json!(["undefined"]), json!(3)][self.dice.under(3)].clone();
                (self.push(value, Kind::Plain, vec![]), 1)
            }
            _ => (self.call("counters", vec![json!(3)], Kind::Counters, vec![]), 2),
        };
        let instructions = match (each, self.dice.under(4)) {
            (0, 0) => json!([["pipeline", 0, ["id"]]]),
            (0, 1) => {
                json!([["pipeline", -1, ["task"], [["pipeline", 0, ["id"]]]], ["pipeline", 1, ["state"]]])
            }
            (0, 2) => json!([
                ["pipeline", -1, ["square"], [["pipeline", 0, ["n"]]]],
                { "id": ["pipeline", 0, ["id"]], "square": ["pipeline", 1], "list": [[1, ["undefined"]]] }
            ]),
            (1, 0) => json!([["pipeline", -1, ["square"], [["pipeline", 0]]]]),
            (1, 1) => {
                json!([["remap", 0, [], [["import", -1]], [["pipeline", -1, ["add"], [["pipeline", 0], 1]]]]])
            }
            (2, 0..=2) => json!([["pipeline", 0, ["increment"], [5]]]),
            (_, 3) => json!([{ "literal": [[1, "two"]] }]),
            _ => json!([["pipeline", 0, ["absent"]]]),
        };
        self.push(
            json!(["remap", format!("p{input}"), [], [["import", 0]], instructions]),
            Kind::Plain,
            vec![],
        );
        if each == 2 {
            self.wait();
        }
    }

    fn fail(&mut self) {
        let class = *self.dice.one_of(&["Error", "RangeError", "TypeError", "A2AError"]);
        let mut properties = json!({});
        if self.dice.chance(60) {
            properties = json!({ "code": -32001, "data": plain(&mut self.dice, 2) });
        }
        let label =
            self.call("fail", vec![json!(class), json!("no such task"), properties], Kind::Failed, vec![]);
        match self.dice.under(4) {
            0 => self.push(json!(["pipeline", format!("p{label}"), ["a", "b"], []]), Kind::Failed, vec![]),
            1 => self.push(pipeline(label, json!(["a"])), Kind::Failed, vec![]),
            2 => self.call("square", vec![pipeline(label, Value::Null)], Kind::Failed, vec![]),
            _ => label,
        };
    }

    /// A call that ends when another one opens the gate, and what is written on it meanwhile.
    fn gate(&mut self) {
        let label = self.next + 1;
        let key = format!("gate {label}");
        let gate = self.call("gate", vec![json!(key)], Kind::Number, vec![label]);
        let (open, value) = if self.dice.chance(80) {
            ("open", number(&mut self.dice))
        } else {
            ("shut", json!("shut for good"))
        };
        if open == "shut" {
            self.known.last_mut().expect("just pushed").kind = Kind::Failed;
        }
        self.call("square", vec![pipeline(gate, Value::Null)], Kind::Number, vec![label]);
        if self.dice.chance(50) {
            self.wait_in_line(label, &key);
        }
        let expr = json!(["pipeline", 0, [open], [key, value]]);
        let end = Act::Push { label: self.label(), expr, pull: false };
        self.will_end(label, end);
    }

    /// Calls that wait in a line, each of which must see what those before it have done.
    fn wait_in_line(&mut self, gate: u32, key: &str) {
        if self.dice.chance(50) {
            let start = self.dice.under(100);
            let counter = self.call("lateCounter", vec![json!(key), json!(start)], Kind::Plain, vec![gate]);
            for by in 1..2 + self.dice.under(3) {
                let expr = json!(["pipeline", format!("p{counter}"), ["increment"], [by]]);
                self.push(expr, Kind::Number, vec![gate]);
            }
        } else {
            let counter = self.call("makeCounter", vec![json!(1)], Kind::Plain, vec![]);
            // It stays: the reference disposes of an object for which a call still waits, this crate does not.
            self.known.retain(|known| known.label != counter);
            for by in 1..2 + self.dice.under(3) {
                let by = json!(["pipeline", 0, ["add"], [pipeline(gate, Value::Null), by]]);
                let expr = json!(["pipeline", format!("p{counter}"), ["increment"], [by]]);
                self.push(expr, Kind::Number, vec![gate]);
            }
        }
    }

    /// An answer of the client's to what the server called.
    fn answer(&mut self) -> Answer {
        match self.dice.under(5) {
            0 => Answer::Reject(json!(["error", "RangeError", "client boom", null, { "code": 4 }])),
            1 => Answer::Resolve(json!(["undefined"])),
            2 => Answer::Resolve(plain(&mut self.dice, 2)),
            _ => Answer::Resolve(number(&mut self.dice)),
        }
    }

    fn call_back(&mut self) {
        let label = self.label();
        let own: Symbol = format!("e{label}");
        let mut times = 1;
        let (method, arguments) = match self.dice.under(5) {
            0 => ("cb", vec![json!(["export", own])]),
            1 => ("callWith", vec![json!(["export", own]), plain(&mut self.dice, 3)]),
            2 => {
                times = self.dice.under(4);
                ("callTimes", vec![json!(["export", own]), json!(times)])
            }
            3 => ("callMember", vec![json!({ "on": ["export", own] }), plain(&mut self.dice, 2)]),
            _ => ("callMember", vec![json!(["export", own]), number(&mut self.dice)]),
        };
        self.call(method, arguments, Kind::Plain, vec![label]);
        for _ in 0..times {
            let with = self.answer();
            self.will_end(label, Act::Answer { target: own.clone(), with });
        }
        if self.dice.chance(40) {
            self.end_wait(label);
        }
    }

    /// A promise of the client's own in arguments.
    fn promise(&mut self) {
        let label = self.label();
        let argument = json!(["promise", format!("q{label}")]);
        let kind = if self.dice.chance(70) { Kind::Number } else { Kind::Failed };
        if self.dice.chance(60) {
            self.call("square", vec![argument], kind, vec![label]);
        } else {
            self.call("echo", vec![json!({ "deep": [[argument, 1]] })], Kind::Plain, vec![label]);
        }
        let with = match kind {
            Kind::Number => Answer::Resolve(number(&mut self.dice)),
            _ => Answer::Reject(json!(["error", "TypeError", "no value today"])),
        };
        self.will_end(label, Act::Settle { label, with });
    }

    fn stream(&mut self) {
        match self.dice.under(4) {
            0 => self.read(),
            1 => self.be_read(),
            2 => self.write(),
            _ => self.be_written(),
        }
    }

    fn chunks(&mut self) -> Vec<Value> {
        (0..self.dice.under(4)).map(|_| plain(&mut self.dice, 2)).collect()
    }

    /// A stream of the server's.
    fn read(&mut self) {
        let chunks = self.chunks();
        let writes = chunks.len();
        // A service makes its stream when it is called, the reference when it is asked for: so it always is.
        let label = self.push_and(true, json!(["pipeline", 0, ["chunks"], [[chunks]]]), Kind::Source, vec![]);
        self.wait();
        // One answer more, for the close.
        for _ in 0..=writes {
            let with = Answer::Resolve(json!(["undefined"]));
            self.acts.push(Act::Answer { target: format!("p{label}.0"), with });
            if self.dice.chance(50) {
                self.acts.push(Act::Wait);
            }
        }
        self.wait();
    }

    /// A stream of the client's.
    fn be_read(&mut self) {
        let pipe = self.label();
        self.acts.push(Act::Pipe { label: pipe });
        for _ in 0..self.dice.under(3) {
            let (label, chunk) = (self.label(), plain(&mut self.dice, 1));
            let expr = json!(["pipeline", format!("p{pipe}"), ["write"], [chunk]]);
            self.acts.push(Act::Stream { label, expr });
            if self.dice.chance(50) {
                self.acts.push(Act::Wait);
            }
        }
        self.call("consume", vec![json!(["readable", format!("p{pipe}")])], Kind::Plain, vec![]);
        self.wait();
        for chunk in self.chunks() {
            let label = self.label();
            self.acts.push(Act::Stream {
                label,
                expr: json!(["pipeline", format!("p{pipe}"), ["write"], [chunk]]),
            });
            if self.dice.chance(50) {
                self.acts.push(Act::Wait);
            }
        }
        let label = self.label();
        let end = if self.dice.chance(80) {
            json!(["pipeline", format!("p{pipe}"), ["close"], []])
        } else {
            json!(["pipeline", format!("p{pipe}"), ["abort"], [["error", "RangeError", "gave up"]]])
        };
        self.wait();
        self.acts.push(Act::Stream { label, expr: end });
        self.wait();
        self.acts.push(Act::Release { label: pipe });
    }

    /// A sink of the server's. Every sink writes into the same list, so there is one in a script.
    fn write(&mut self) {
        if self.sunk {
            return;
        }
        self.sunk = true;
        let sink = self.push_and(true, json!(["pipeline", 0, ["sink"], []]), Kind::Sink, vec![]);
        self.wait();
        for chunk in self.chunks() {
            let label = self.label();
            self.acts.push(Act::Stream {
                label,
                expr: json!(["pipeline", format!("p{sink}.0"), ["write"], [chunk]]),
            });
        }
        self.wait();
        if self.dice.chance(70) {
            let label = self.label();
            self.acts
                .push(Act::Stream { label, expr: json!(["pipeline", format!("p{sink}.0"), ["close"], []]) });
        } else {
            self.acts.push(Act::Drop { symbol: format!("p{sink}.0") });
            self.acts.push(Act::Release { label: sink });
        }
        self.wait();
        self.call("sunk", vec![], Kind::Plain, vec![]);
        self.wait();
    }

    /// A sink of the client's.
    fn be_written(&mut self) {
        let label = self.label();
        let own: Symbol = format!("e{label}");
        let chunks = self.chunks();
        let answers = chunks.len() + 1;
        self.call("writeTo", vec![json!(["writable", own]), json!([chunks])], Kind::Number, vec![label]);
        for _ in 0..answers {
            let with = Answer::Resolve(json!(["undefined"]));
            self.will_end(label, Act::Answer { target: own.clone(), with });
        }
    }

    /// A function that the server keeps beyond the call.
    fn keep(&mut self) {
        self.wait();
        if !self.kept || self.dice.chance(30) {
            let label = self.label();
            self.call("keep", vec![json!(["export", format!("e{label}")])], Kind::Plain, vec![]);
            self.wait();
            self.kept = true;
            let call = self.label();
            let argument = plain(&mut self.dice, 1);
            self.call("callKept", vec![argument], Kind::Plain, vec![call]);
            let with = self.answer();
            self.will_end(call, Act::Answer { target: format!("e{label}"), with });
        } else {
            self.call("dropKept", vec![], Kind::Plain, vec![]);
            self.kept = false;
        }
        self.wait();
    }

    /// Gives up a result or a capability, or asks for a result late.
    fn give_up(&mut self) {
        self.wait();
        if self.known.is_empty() {
            return;
        }
        let at = self.dice.under(self.known.len());
        let known = self.known[at].clone();
        match self.dice.under(4) {
            0 if known.kind == Kind::Counter && known.pulled => {
                self.acts.push(Act::Drop { symbol: format!("p{}.0", known.label) });
            }
            1 => self.acts.push(Act::Pull { label: known.label }),
            _ => {
                self.known.remove(at);
                self.acts.push(Act::Release { label: known.label });
            }
        }
        self.wait();
    }
}

/// A result, by a path or without one.
fn pipeline(label: u32, path: Value) -> Value {
    if path.is_null() {
        json!(["pipeline", format!("p{label}")])
    } else {
        json!(["pipeline", format!("p{label}"), path])
    }
}

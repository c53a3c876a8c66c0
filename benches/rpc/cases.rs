//! The cases that compare with an echo, and the names of all.

use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::plan::{Case, Plan};
use crate::process::{Process, SERVER_CORE};
use crate::statistics::Sample;
use crate::streams::role;
use crate::{Outcome, flight, idle, million};

pub(crate) const CASES: &[Case] = &[
    ("null1", |plan| calls(plan, "null call, one after another", "null", 1, Bar::Floor(0.6))),
    ("who1", |plan| calls(plan, "whoAmI, one after another", "who", 1, Bar::None)),
    ("null64", |plan| calls(plan, "null call, 64 in flight", "null", 64, Bar::Floor(0.5))),
    ("who64", |plan| calls(plan, "whoAmI, 64 in flight", "who", 64, Bar::None)),
    ("get64", |plan| calls(plan, "getTask, 64 in flight", "get", 64, Bar::Floor(0.4))),
    ("stream", stream),
    ("short", short),
    ("million", million::measure),
    ("idle", idle::measure),
    ("flight", flight::measure),
];

/// Calls of one method.
fn calls(plan: Plan, name: &str, kind: &str, window: usize, bar: Bar) -> Outcome<bool> {
    let line = plan.millis.to_string();
    let mut ours = Contender::ours(name, &["calls", "", kind, &window.to_string()])?;
    let warm = ours.run(&line, 1.0)?;
    let [.., ask, reply] = warm.fields[..] else { return Err("no sizes".into()) };
    let mut each = Contender::echo(ask, reply, window, "each")?;
    // One at a time there is nothing to batch.
    let mut batch = (window > 1).then(|| Contender::echo(ask, reply, window, "batch")).transpose()?;
    each.run(&line, 1.0)?;
    ours.reset();
    each.reset();
    let (mut ratio, mut batched) = (Sample::default(), Sample::default());
    for _ in 0..plan.pairs {
        let rate = ours.run(&line, 1.0)?.rate;
        ratio.add(rate / each.run(&line, 1.0)?.rate);
        if let Some(batch) = &mut batch {
            batched.add(rate / batch.run(&line, 1.0)?.rate);
        }
    }
    ours.print("call");
    each.print("frame");
    if let Some(batch) = &batch {
        batch.print("frame");
    }
    if batch.is_some() {
        print_ratio("ours / echo that batches flushes", &batched, Bar::None);
    }
    Ok(print_ratio("ours / echo", &ratio, bar))
}

/// One long stream, event by event and in batches.
fn stream(plan: Plan) -> Outcome<bool> {
    let events: u32 = if plan.quick { 2_000 } else { 20_000 };
    let text = events.to_string();
    let units = f64::from(events);
    let line = plan.millis.to_string();
    let mut single = Contender::ours("stream, event by event", &role("each", &text, "1", "1"))?;
    let mut many = Contender::ours("stream, in batches", &role("batch", &text, "1", "1"))?;
    let warm = single.run("0", units)?;
    many.run("0", units)?;
    let [_, _, _, ask, reply, _] = warm.fields[..] else { return Err("no sizes".into()) };
    let mut each = Contender::echo(ask, reply, WINDOW, "each")?;
    let mut batch = Contender::echo(ask, reply, WINDOW, "batch")?;
    each.run(&line, 1.0)?;
    single.reset();
    many.reset();
    each.reset();
    let (mut to_each, mut to_batch, mut to_single) =
        (Sample::default(), Sample::default(), Sample::default());
    for _ in 0..plan.pairs {
        let rate = single.run("0", units)?.rate;
        to_each.add(rate / each.run(&line, 1.0)?.rate);
        to_single.add(many.run("0", units)?.rate / rate);
        to_batch.add(rate / batch.run(&line, 1.0)?.rate);
    }
    single.print("event");
    many.print("event");
    each.print("frame");
    batch.print("frame");
    println!("every event came once and in order, {events} of each stream");
    print_ratio("event by event / echo that batches", &to_batch, Bar::None);
    let single_met = print_ratio("event by event / echo", &to_each, Bar::Floor(0.75));
    Ok(print_ratio("in batches / event by event", &to_single, Bar::Floor(3.0)) && single_met)
}

/// Many short streams at once.
fn short(plan: Plan) -> Outcome<bool> {
    const EVENTS: u32 = 8;
    const AT_ONCE: usize = 32;
    let line = plan.millis.to_string();
    let (events, at_once) = (EVENTS.to_string(), AT_ONCE.to_string());
    let role = role("each", &events, &at_once, "1");
    let mut ours = Contender::ours("8-event streams, 32 at once", &role)?;
    let warm = ours.run(&line, 1.0)?;
    let [streams, _, _, ask, reply, frames] = warm.fields[..] else { return Err("no sizes".into()) };
    let frames_each = frames as f64 / streams as f64;
    let mut each = Contender::echo(ask, reply, AT_ONCE, "each")?;
    let mut batch = Contender::echo(ask, reply, AT_ONCE, "batch")?;
    each.run(&line, 1.0)?;
    ours.reset();
    each.reset();
    let (mut to_each, mut to_batch) = (Sample::default(), Sample::default());
    for _ in 0..plan.pairs {
        let frames = ours.run(&line, 1.0)?.rate * frames_each;
        to_each.add(frames / each.run(&line, 1.0)?.rate);
        to_batch.add(frames / batch.run(&line, 1.0)?.rate);
    }
    ours.print("stream");
    each.print("frame");
    batch.print("frame");
    println!("a stream is {frames_each:.1} frames from the server: the send's answer, its events, onEnd");
    print_ratio("frames of streams / echo that batches", &to_batch, Bar::None);
    Ok(print_ratio("frames of streams / echo", &to_each, Bar::Floor(0.35)))
}

/// Frames of an echo on their way, where a stream's window is meant.
const WINDOW: usize = 64;

impl Contender {
    /// The product, and a client in some role.
    pub(crate) fn ours(name: &str, role: &[&str]) -> Outcome<Self> {
        Self::start(name.to_owned(), Process::start(SERVER_CORE, &["server"])?, role)
    }

    /// An echo of such frames.
    fn echo(ask: u64, reply: u64, window: usize, flush: &str) -> Outcome<Self> {
        let (ask, reply, window) = (ask.to_string(), reply.to_string(), window.to_string());
        let name = format!("echo {ask} B / {reply} B, flush {flush}");
        let server = Process::start(SERVER_CORE, &["echo-server", &reply, flush])?;
        Self::start(name, server, &["echo-client", "", &ask, &window, flush])
    }
}

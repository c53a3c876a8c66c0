//! How fast the session is by itself: null calls, 64 in flight, and events of 400 bytes to a callback.
//!
//! `cargo run --release -p capnweb-session --example throughput`

use std::time::Instant;

use capnweb::{Action, Data, Encoded, Limits, Object, Session, Value};

const CALLS: u32 = 600_000;
const IN_FLIGHT: u32 = 64;

fn main() {
    calls();
    events();
    sessions();
}

/// A client's frames for calls of `ping`, answered by a session.
fn calls() {
    let mut session = Session::new((), Limits::default());
    let start = Instant::now();
    let mut bytes = 0;
    for first in (1..=CALLS).step_by(IN_FLIGHT as usize) {
        for id in first..first + IN_FLIGHT {
            session.receive(r#"["push",["pipeline",0,["ping"],[]]]"#);
            session.receive(&format!("[\"pull\",{id}]"));
            bytes += answer(&mut session);
        }
        for id in first..first + IN_FLIGHT {
            session.receive(&format!("[\"release\",{id},1]"));
        }
    }
    report("null calls", CALLS, start, bytes);
}

fn answer(session: &mut Session<()>) -> usize {
    let mut bytes = 0;
    while let Some(action) = session.poll() {
        match action {
            Action::Send(frame) => {
                bytes += frame.len();
                session.flushed(frame.len());
            }
            Action::Call(call) => session.answer(call.id, Ok(Value::Null)),
            _ => {}
        }
    }
    bytes
}

/// Events that are encoded once, streamed and acknowledged.
fn events() {
    let mut session = Session::<()>::new((), Limits::default());
    let text = "x".repeat(360);
    let event: Data = Object::new().with("kind", "artifact").with("text", text.as_str()).into();
    let event = Encoded::new(&event).expect("data");
    let observer = session.main();
    let start = Instant::now();
    let mut bytes = 0;
    for id in 1..=CALLS {
        session.stream(&observer, &["onArtifactUpdate"], &[event.clone().into()]).expect("room");
        bytes += answer(&mut session);
        if id % IN_FLIGHT == 0 {
            for acknowledged in id - IN_FLIGHT + 1..=id {
                session.receive(&format!("[\"resolve\",{acknowledged},[\"undefined\"]]"));
            }
        }
    }
    report("events", CALLS, start, bytes);
}

/// What an idle session with one object given out needs.
fn sessions() {
    let before = resident();
    let sessions: Vec<_> = (0..10_000)
        .map(|_| {
            let mut session = Session::new((), Limits::default());
            session.receive(r#"["push",["pipeline",0]]"#);
            session.receive(r#"["pull",1]"#);
            session.receive(r#"["release",1,1]"#);
            answer(&mut session);
            session
        })
        .collect();
    say(&format!("{} bytes for an idle session", (resident() - before) / sessions.len()));
}

/// Bytes of memory that are in use, where Linux says so.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn report(what: &str, count: u32, start: Instant, bytes: usize) {
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("{:.0} {what}/s, {bytes} bytes sent", f64::from(count) / seconds));
}

#[expect(clippy::print_stdout, reason = "a measurement that is run to be read")]
fn say(line: &str) {
    println!("{line}");
}

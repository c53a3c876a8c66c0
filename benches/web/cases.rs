//! The cases, and the two servers.

use std::path::Path;

use crate::bar::Bar;
use crate::contender::{Contender, print_ratio};
use crate::plan::{Case, Plan};
use crate::process::{CLIENT_CORE, Process, SERVER_CORE};
use crate::speech::url;
use crate::statistics::Sample;
use crate::wire::KEY;
use crate::{Outcome, batch, idle};

pub(crate) const CASES: &[Case] = &[
    ("null64", |plan| calls(plan, "null call, 64 in flight", "close", Bar::Floor(2.5))),
    ("who64", |plan| calls(plan, "whoAmI, 64 in flight", "whoAmI", Bar::None)),
    ("events", events),
    ("batch64", batches),
    ("idle", idle::measure),
];

/// Calls of one method of a session. The null call closes one that is closed.
fn calls(plan: Plan, name: &str, method: &str, bar: Bar) -> Outcome<bool> {
    let start = |server: Process, key: &str, whose: &str| {
        Contender::start(format!("{name}, {whose}"), server, &["calls", "", key, method, "64"])
    };
    let (ratio, _) = pairs(plan, &plan.millis.to_string(), "call", start)?;
    Ok(print_ratio("ours / npm", &ratio, bar))
}

/// One long stream into a callback of the npm client.
fn events(plan: Plan) -> Outcome<bool> {
    let events = if plan.quick { "2000" } else { "20000" };
    let start = |server: Process, key: &str, whose: &str| {
        let url = url(&server.greeting);
        let client = Process::of(CLIENT_CORE, &["node", &peer("bench-client.mjs"), &url, key])?;
        Ok(Contender::new(format!("events to callbacks, {whose}"), server, client))
    };
    let (ratio, cpu) = pairs(plan, events, "event", start)?;
    println!("every event came once and in order, {events} of each stream");
    let is_fast = print_ratio("ours / npm", &ratio, Bar::Floor(1.2));
    let cpu = Sample::from_iter([cpu]);
    Ok(print_ratio("CPU of the servers, ours / npm", &cpu, Bar::Ceiling(0.4)) && is_fast)
}

/// Batches of 64 calls.
fn batches(plan: Plan) -> Outcome<bool> {
    let start = |server: Process, key: &str, whose: &str| {
        let name = format!("POST of {} calls, {whose}", batch::CALLS);
        Contender::start(name, server, &["batches", "", key, "4"])
    };
    let (ratio, _) = pairs(plan, &plan.millis.to_string(), "batch", start)?;
    Ok(print_ratio("ours / npm", &ratio, Bar::Floor(2.0)))
}

/// Both in turns; the ratios of their rates, and of their servers' median CPU.
fn pairs(
    plan: Plan,
    line: &str,
    unit: &str,
    start: impl Fn(Process, &str, &str) -> Outcome<Contender>,
) -> Outcome<(Sample, f64)> {
    let mut ours = start(Process::start(SERVER_CORE, &["server"])?, KEY, "ours")?;
    let mut npm = start(reference()?, "test-key", "npm")?;
    for _ in 0..WARM_UPS {
        ours.run(line, 1.0)?;
        npm.run(line, 1.0)?;
    }
    ours.reset();
    npm.reset();
    let mut rates = Sample::default();
    for _ in 0..plan.pairs {
        let [ours, npm] = [ours.run(line, 1.0)?, npm.run(line, 1.0)?];
        if ours.fields[0] == 0 || npm.fields[0] == 0 {
            return Err("a run without a single answer measures nothing".into());
        }
        rates.add(ours.rate / npm.rate);
    }
    ours.print(unit);
    npm.print(unit);
    let cpu = ours.server_micros.median() / npm.server_micros.median();
    Ok((rates, cpu))
}

/// Runs before the first that counts: the compiler of the other side wants to see some.
const WARM_UPS: usize = 3;

/// The server on the npm package. Its greeting is its address, as ours.
fn reference() -> Outcome<Process> {
    let mut server = Process::of(SERVER_CORE, &["node", &peer("reference-server.mjs")])?;
    let greeting: serde_json::Value = serde_json::from_str(&server.greeting)?;
    let url = greeting["url"].as_str().ok_or("the reference server said no URL")?;
    let address = url.strip_prefix("ws://").and_then(|rest| rest.split_once('/')).ok_or("no address")?.0;
    server.greeting = address.to_owned();
    Ok(server)
}

fn peer(file: &str) -> String {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/capnweb");
    peers.join(file).display().to_string()
}

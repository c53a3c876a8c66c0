//! Plays the exchanges that stand in the Cap'n Web binding's specification, so that they cannot be wrong.
//!
//! In a block of `frames`, each a connection of its own, `C>` is sent as it stands and `S>` is what has to come. A text
//! in angle brackets stands for one that differs each time, and for the same one wherever its name stands again; `<time>`
//! is another each time. Between two lines of the client, calls of the server come in their order, answers and releases at
//! any time. A block of `batch` is one HTTP request in the same way.

use std::collections::{BTreeMap, HashMap};

use a2a_webcap::agents::Demo;
use a2a_webcap::fault::FaultKind;
use a2a_webcap::limits::Limits;
use serde_json::{Value, json};

use crate::capnweb_batch::post;
use crate::web::Web;
use crate::world::{ALICE, World};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bindings/capnweb.md");
    std::fs::read_to_string(path).unwrap()
}

/// The lines of every block of this kind.
fn blocks(document: &str, kind: &str) -> Vec<Vec<(bool, Value)>> {
    let open = format!("```{kind}\n");
    let blocks = document.split(&open).skip(1).map(|rest| {
        let block = rest.split("```").next().unwrap();
        let lines = block.lines().filter(|line| !line.trim().is_empty());
        let line = |line: &str| {
            let (who, frame) = line.split_at(3);
            assert!(["C> ", "S> "].contains(&who), "{line}");
            let frame = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{line}: {error}"));
            (who == "C> ", frame)
        };
        lines.map(line).collect()
    });
    blocks.collect()
}

/// What the names in angle brackets stand for.
struct Names(HashMap<String, Value>);

impl Names {
    fn new() -> Self {
        Self(HashMap::from([("<key>".to_owned(), json!(ALICE))]))
    }

    fn is_name(text: &str) -> bool {
        text.starts_with('<') && text.ends_with('>')
    }

    /// A frame with what its names stand for.
    fn filled(&self, frame: &Value) -> Value {
        match frame {
            Value::String(text) if Self::is_name(text) => self.0[text].clone(),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), self.filled(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// Whether a frame is what was expected; names that are new then stand for what they were found to be.
    fn agree(&mut self, expected: &Value, frame: &Value) -> bool {
        match (expected, frame) {
            (Value::String(name), Value::String(_)) if name == "<time>" => true,
            (Value::String(name), found) if Self::is_name(name) => {
                self.0.entry(name.clone()).or_insert_with(|| found.clone()) == found
            }
            (Value::Array(expected), Value::Array(found)) => {
                expected.len() == found.len()
                    && expected.iter().zip(found).all(|(expected, found)| self.agree(expected, found))
            }
            (Value::Object(expected), Value::Object(found)) => {
                expected.len() == found.len()
                    && expected
                        .iter()
                        .all(|(name, value)| found.get(name).is_some_and(|found| self.agree(value, found)))
            }
            _ => expected == frame,
        }
    }

    /// Finds every frame among those that were expected, calls in their order.
    fn find(&mut self, mut expected: Vec<&Value>, frames: &[Value]) {
        assert_eq!(expected.len(), frames.len(), "{frames:#?}");
        for frame in frames {
            let is_call = |frame: &Value| ["stream", "push", "pipe"].contains(&frame[0].as_str().unwrap());
            let candidates = expected.iter().position(|one| {
                if is_call(frame) { is_call(one) } else { one[0] == frame[0] && one[1] == frame[1] }
            });
            let at = candidates.unwrap_or_else(|| panic!("not in the document: {frame}"));
            let wanted = expected.remove(at);
            assert!(self.agree(wanted, frame), "\nin the document: {wanted}\nin truth:        {frame}");
        }
    }
}

#[tokio::test]
async fn every_exchange_in_the_document_is_what_happens() {
    let document = document();
    let world = World::of(|builder| builder.agent(Demo)).await;
    let blocks = blocks(&document, "frames");
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        let mut web = Web::connect(&world).await;
        let mut names = Names::new();
        for run in block.chunk_by(|one, next| one.0 == next.0) {
            if run[0].0 {
                for (_, frame) in run {
                    web.say(names.filled(frame)).await;
                }
            } else {
                let mut frames = Vec::new();
                for _ in run {
                    frames.push(web.frame().await);
                }
                names.find(run.iter().map(|(_, frame)| frame).collect(), &frames);
            }
        }
    }
}

#[tokio::test]
async fn every_batch_in_the_document_is_answered_so() {
    let document = document();
    let world = World::of(|builder| builder.agent(Demo)).await;
    let blocks = blocks(&document, "batch");
    assert!(!blocks.is_empty());
    for block in blocks {
        let mut names = Names::new();
        let (sent, expected): (Vec<_>, Vec<_>) = block.iter().partition(|(ours, _)| *ours);
        let body: Vec<_> = sent.iter().map(|(_, frame)| names.filled(frame).to_string()).collect();
        let (_, answer) = post(&world, &body.join("\n")).await;
        let frames: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        names.find(expected.iter().map(|(_, frame)| frame).collect(), &frames);
    }
}

/// The cells of every row of the document's tables.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = document.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn the_document_has_every_error_with_its_code() {
    let document = document();
    let written: BTreeMap<&str, &str> =
        rows(&document).filter(|row| row.len() == 3).map(|row| (row[2], row[1])).collect();
    for kind in FaultKind::ALL {
        if kind == FaultKind::Disconnected {
            continue;
        }
        let reason = format!("`{}`", kind.reason());
        let code = written.get(reason.as_str()).unwrap_or_else(|| panic!("{reason} is not there"));
        assert_eq!(*code, kind.code().to_string(), "{reason}");
    }
}

#[test]
fn the_document_has_the_bounds_that_hold() {
    let document = document();
    let limits = Limits::default();
    let (wire, net) = (&limits.wire, &limits.net);
    let mebi = |bytes: usize| format!("{} MiB", bytes >> 20);
    let kibi = |bytes: usize| format!("{} KiB", bytes >> 10);
    let grouped = |number: usize| match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    };
    let holds = [
        ("message-bytes", mebi(wire.message_bytes)),
        ("depth", grouped(wire.depth)),
        ("message-calls", grouped(wire.message_calls)),
        ("map-steps", grouped(wire.map_steps)),
        ("exports", grouped(wire.exports)),
        ("imports", grouped(wire.imports)),
        ("questions", grouped(wire.questions)),
        ("calls", grouped(wire.calls)),
        ("stream-window-bytes", kibi(wire.stream_window_bytes)),
        ("send-budget-bytes", kibi(wire.send_budget_bytes)),
        ("queued-messages", grouped(wire.queued_messages)),
        ("idle-timeout", format!("{} s", wire.idle_timeout.as_secs())),
        ("ping-interval", format!("{} s", wire.ping_interval.as_secs())),
        ("connections", grouped(net.connections)),
        ("connections-per-address", grouped(net.connections_per_address)),
        ("authenticate-timeout", format!("{} s", net.authenticate_timeout.as_secs())),
        ("request-timeout", format!("{} s", net.request_timeout.as_secs())),
        ("requests", grouped(net.requests)),
        ("body-bytes", mebi(net.body_bytes)),
        ("bodies-bytes", mebi(net.bodies_bytes)),
    ];
    let written: BTreeMap<&str, &str> =
        rows(&document).filter(|row| row.len() == 4).map(|row| (row[1], row[2])).collect();
    for (name, value) in holds {
        assert_eq!(written.get(format!("`{name}`").as_str()), Some(&value.as_str()), "{name}");
    }
}

#[tokio::test]
async fn every_object_has_the_methods_that_the_document_gives_it() {
    let document = document();
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let session = web.authenticate(ALICE).await;
    let sent = web.ask(session, "sendMessage", json!([crate::web::message("stream 1 0ms")])).await.unwrap();
    let task = web.push(session, "task", json!([sent["task"]["id"]])).await;
    let narrower = web.ask(session, "attenuate", json!([{}])).await.unwrap();
    let grant = narrower["grant"][1].as_i64().unwrap();
    let mut methods = 0;
    for row in rows(&document).filter(|row| row.len() == 3) {
        let target = match row[0] {
            "`A2aService`" => 0,
            "`Session`" => session,
            "`TaskHandle`" => task,
            "`Grant`" => grant,
            _ => continue,
        };
        let method = row[1].trim_matches('`').split('(').next().unwrap();
        // A property that is a function comes as an object.
        web.pushed += 1;
        let id = i64::try_from(web.pushed).unwrap();
        web.say(json!(["push", ["pipeline", target, [method]]])).await;
        web.pull(id).await;
        assert_eq!(web.answer(id).await.unwrap()[0], "export", "{} {method}", row[0]);
        methods += 1;
    }
    assert_eq!(methods, 34, "rows of methods");
}

#[tokio::test]
async fn the_card_lists_the_binding_at_an_http_url_of_its_own_origin() {
    let document = document();
    let world = World::demo().await;
    let mut web = Web::connect(&world).await;
    let card = web.ask(0, "getAgentCard", json!([])).await.unwrap();
    let interfaces = card["supportedInterfaces"][0].as_array().unwrap();
    let ours: Vec<_> = interfaces
        .iter()
        .filter(|one| one["protocolBinding"] == "https://a2a-webcap.dev/bindings/capnweb/v1")
        .collect();
    let [ours] = &ours[..] else { panic!("{card}") };
    assert!(document.contains(&format!("`{}`", ours["protocolBinding"].as_str().unwrap())));
    assert_eq!(ours["protocolVersion"], "1.0");
    for one in interfaces {
        let url = one["url"].as_str().unwrap();
        assert!(url.starts_with("http://") || url.starts_with("https://"), "{url}");
        let origin = url.rsplit_once('/').unwrap().0;
        assert!(
            ours["url"].as_str().unwrap().starts_with(origin),
            "{url}: some clients refuse a card with two origins"
        );
    }
    assert!(ours["url"].as_str().unwrap().ends_with("/capnweb"));
}

//! Frames of Cap'n Web that no honest client sends, and clients that take nothing.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::hostile_bench::Bench;
use crate::web::{Web, code, message};
use crate::world::{ALICE, soon};

fn nested(levels: usize) -> String {
    format!("[\"push\",[\"pipeline\",0,[\"info\"],[{}{}]]]", "[[".repeat(levels), "]]".repeat(levels))
}

#[tokio::test]
async fn frames_that_break_a_rule_end_their_own_session_only() {
    let many = json!(["push", [vec![json!(["pipeline", 0, ["info"], []]); 1_100]]]).to_string();
    let cases = [
        ("[\"push\",[\"pipeline\",0.5,[\"info\"],[]]]".to_owned(), "protocol"),
        ("[\"push\",[\"pipeline\",1e99,[\"info\"],[]]]".to_owned(), "protocol"),
        ("[\"push\",[\"pipeline\",7,[\"info\"],[]]]".to_owned(), "protocol"),
        ("[\"push\",[\"pipeline\",0,[\"info\"],[[\"export\",5]]]]".to_owned(), "protocol"),
        ("[\"push\",[\"pipeline\",0,[\"info\"],[[\"readable\",3]]]]".to_owned(), "protocol"),
        ("[\"release\",0,-5]".to_owned(), "protocol"),
        ("[\"release\",0,1e18]".to_owned(), "protocol"),
        (nested(300), "quota"),
        (nested(20_000), "quota"),
        (format!("[\"push\",[\"bigint\",\"{}\"]]", "9".repeat(20_000)), "quota"),
        (many, "quota"),
    ];
    Bench::with(|limits| limits.wire.message_calls = 1_000)
        .await
        .withstands(async |bench| {
            for (frame, label) in &cases {
                let before = bench.world.server.net_counters().closes().get(label).copied().unwrap_or(0);
                let mut web = Web::connect(&bench.world).await;
                web.authenticate(ALICE).await;
                web.text(frame).await;
                let (last, code, _) = web.end().await;
                let start: String = frame.chars().take(60).collect();
                assert_eq!((&last[0], code), (&json!("abort"), 3000), "{start}: {last}");
                bench.closed(label, before + 1).await;
            }
        })
        .await;
}

#[tokio::test]
async fn frames_of_the_wrong_kind_or_length_are_refused() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            web.socket.send(Message::Binary("[]".into())).await.unwrap();
            let (last, code, _) = web.end().await;
            assert_eq!((&last[0], code), (&json!("abort"), 1003));
            let mut web = Web::connect(&bench.world).await;
            web.text(&"x".repeat(300 << 10)).await;
            assert_eq!(web.end().await.1, 1009);
        })
        .await;
}

#[tokio::test]
async fn results_that_are_never_given_back_end_the_session_at_their_bound() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            web.authenticate(ALICE).await;
            for _ in 0..200 {
                web.push(0, "info", json!([])).await;
            }
            let (last, code, _) = web.end().await;
            assert_eq!((code, last[1][4]["code"].as_str()), (3000, Some("LIMIT")), "{last}");
            bench.closed("quota", 1).await;
        })
        .await;
}

#[tokio::test]
async fn one_call_too_many_is_rejected_and_the_others_go_on() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            let session = web.authenticate(ALICE).await;
            let mut last = 0;
            for index in 0..40 {
                last = web
                    .push(session, "sendMessage", json!([message(&format!("stream 20 100ms {index}"))]))
                    .await;
            }
            web.pull(last).await;
            let error = web.answer(last).await.unwrap_err();
            assert_eq!(error[1], "RangeError", "{error}");
            assert_eq!(web.ask(session, "whoAmI", json!([])).await.unwrap_err()[1], "RangeError");
        })
        .await;
}

#[tokio::test]
async fn a_map_that_multiplies_itself_is_rejected() {
    Bench::with(|limits| limits.wire.map_steps = 1_000)
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            web.authenticate(ALICE).await;
            web.pushed += 1;
            web.say(json!(["push", [vec![1; 100]]])).await;
            let list = web.pushed;
            let inner = json!(["remap", list, [], [], [["pipeline", 0, []]]]);
            web.pushed += 1;
            let captures = json!([["import", list]]);
            let inner = inner.to_string().replace(&format!("\"remap\",{list}"), "\"remap\",-1");
            let inner: Value = serde_json::from_str(&inner).unwrap();
            web.say(json!(["push", ["remap", list, [], captures, [inner]]])).await;
            let id = i64::try_from(web.pushed).unwrap();
            web.pull(id).await;
            let error = web.answer(id).await.unwrap_err();
            assert_eq!(error[0], "error", "{error}");
        })
        .await;
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_ended_with_bounded_memory() {
    Bench::with(|limits| limits.wire.idle_timeout = Duration::from_secs(3))
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            let session = web.authenticate(ALICE).await;
            let asking = async {
                loop {
                    let id = web.push(session, "whoAmI", json!([])).await;
                    web.pull(id).await;
                    web.say(json!(["release", id, 1])).await;
                }
            };
            // It may write until the server reads no more, and is then silent.
            let _ = tokio::time::timeout(Duration::from_secs(5), asking).await;
            bench.closed("silent", 1).await;
        })
        .await;
}

#[tokio::test]
async fn names_of_every_object_are_no_methods_and_no_members() {
    Bench::new()
        .await
        .withstands(async |bench| {
            let mut web = Web::connect(&bench.world).await;
            let session = web.authenticate(ALICE).await;
            for name in ["__proto__", "constructor", "toString", "hasOwnProperty", "__defineGetter__", ""] {
                let error = web.ask(session, name, json!([])).await.unwrap_err();
                assert_eq!(error[1], "TypeError", "{name}: {error}");
            }
            let sent = json!({ "messageId": "m", "role": "ROLE_USER", "parts": [[{ "text": "stream 1" }]],
                "metadata": { "__proto__": { "x": 1 }, "toString": 2, "kept": 3 } });
            let sent = web.ask(session, "sendMessage", json!([sent])).await.unwrap();
            let history = &sent["task"]["history"][0][0];
            assert_eq!(history["metadata"], json!({ "kept": 3 }), "{sent}");
            let stub =
                web.ask(session, "sendMessage", json!([{ "messageId": ["export", -1] }])).await.unwrap_err();
            assert_eq!(code(&stub), (-32602, "INVALID_PARAMS"));
        })
        .await;
}

#[tokio::test]
async fn random_frames_are_answered_or_end_their_session() {
    let seed = std::env::var("A2A_WEBCAP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 =
        seed.unwrap_or_else(|| std::time::Instant::now().elapsed().as_nanos() as u64 ^ 0x9e37_79b9);
    println!("A2A_WEBCAP_SEED={seed}");
    let mut dice = Dice(seed | 1);
    Bench::new()
        .await
        .withstands(async |bench| {
            for _ in 0..60 {
                let mut web = Web::connect(&bench.world).await;
                web.authenticate(ALICE).await;
                for _ in 0..30 {
                    let frame = dice.message();
                    if web.socket.send(Message::Text(frame.to_string().into())).await.is_err() {
                        break;
                    }
                }
                let _ = web.socket.close(None).await;
                soon("the end", async { while let Some(Ok(_)) = web.socket.next().await {} }).await;
            }
        })
        .await;
}

/// Makes frames that look as if they meant something.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn id(&mut self) -> i64 {
        self.roll(6) as i64 - 3
    }

    fn message(&mut self) -> Value {
        match self.roll(12) {
            0..6 => json!(["push", self.expression(0)]),
            6 => json!(["pull", self.id()]),
            7 => json!(["release", self.id(), self.roll(3)]),
            8 => json!(["resolve", self.id(), self.expression(0)]),
            9 => json!(["stream", self.expression(0)]),
            10 => json!(["pipe"]),
            _ => json!(["reject", self.id(), ["error", "TypeError", "x"]]),
        }
    }

    fn expression(&mut self, depth: usize) -> Value {
        let names =
            ["info", "authenticate", "getTask", "whoAmI", "listTasks", "sendMessage", "task", "claim"];
        match self.roll(if depth > 4 { 4 } else { 12 }) {
            0 => json!(self.roll(100)),
            1 => json!(ALICE),
            2 => json!(["export", -(self.roll(3) as i64) - 1]),
            3 => json!(["undefined"]),
            4 => json!([[self.expression(depth + 1)]]),
            5 => json!({ "id": self.expression(depth + 1) }),
            6 => json!(["promise", -(self.roll(3) as i64) - 1]),
            7 => json!(["remap", self.id(), [], [], [self.expression(depth + 1)]]),
            _ => {
                let name = names[self.roll(names.len() as u64) as usize];
                json!(["pipeline", self.id(), [name], [self.expression(depth + 1)]])
            }
        }
    }
}

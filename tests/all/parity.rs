//! The same over every wire: one script is played over each, and what comes back is compared, whole.
//!
//! Compared is what a client is given: answers, events, ends and faults, in the words of the model. What must differ from
//! one run to the next is replaced by its place in the order of appearance; the clock stands.

use std::collections::BTreeMap;

use a2a_webcap::agents::Demo;
use a2a_webcap::auth::{ApiKey, KeyEntry};
use a2a_webcap::authority::{Permission, Permissions};
use a2a_webcap::client::{Credentials, Cursor, Features, GrantPolicy, SendCall, SessionPolicy, TaskRole};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{
    CancelTaskRequest, GetTaskPushNotificationConfigRequest, GetTaskRequest, ListTasksRequest, Message, Part,
    SendMessageResponse, StreamEnd, Task, Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::doubles::{Collector, Puppet};
use crate::party::{Session, Wire, on_wires};
use crate::world::{ALICE, BOB, World, limits};

on_wires! {
    together: [
        cw_06_the_agent_card_is_the_same_json_over_every_wire,
        cw_22_a_send_gives_the_same_task_over_every_wire,
        cw_23_a_stream_has_the_same_events_over_every_wire,
        cw_25_a_failure_is_the_same_fault_over_every_wire,
    ]
}

const NOON: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);

/// What was told, line by line, with ids by the order in which they appeared.
#[derive(Default)]
struct Transcript {
    /// Where the server is, which is not the same for two.
    address: String,
    lines: Vec<(String, Value)>,
    ids: BTreeMap<String, String>,
}

impl Transcript {
    /// Remembers something under a name.
    fn tell(&mut self, what: impl Into<String>, told: impl Serialize) {
        let mut told = serde_json::to_value(told).unwrap();
        self.normalise(&mut told);
        self.lines.push((what.into(), told));
    }

    fn tell_answer<T: Serialize>(&mut self, what: impl Into<String>, answer: Result<T>) {
        match answer {
            Ok(told) => self.tell(what, told),
            Err(fault) => self.tell(what, shown(&fault)),
        }
    }

    /// The same for what no wire can say in the words of another: one cannot tell what is absent from what is empty.
    fn tell_refusal<T>(&mut self, what: impl Into<String>, answer: Result<T>) {
        let Err(fault) = answer else { panic!("this must be refused") };
        let fields: Vec<_> = fault.violations().iter().map(|violation| violation.field.clone()).collect();
        self.tell(what, (fault.kind().code(), fault.kind().reason(), fields));
    }

    /// A whole stream.
    async fn tell_stream(&mut self, what: &str, collector: &Collector) {
        let end = collector.end().await;
        for event in collector.events() {
            let at = json!({ "seq": event.seq, "final": event.is_final, "event": event.content });
            self.tell(what, at);
        }
        self.tell(what, ended(&end));
    }

    /// Puts the same word for whatever is named at random.
    fn normalise(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                *text = text.replace(&self.address, "the server");
                if uuid::Uuid::try_parse(text).is_ok() {
                    let next = format!("id {}", self.ids.len() + 1);
                    *text = self.ids.entry(text.clone()).or_insert(next).clone();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.normalise(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.normalise(member)),
            _ => {}
        }
    }
}

/// Everything that a client is told of a failure.
fn shown(fault: &Fault) -> Value {
    let violations: Vec<_> = fault.violations().iter().map(|it| json!([it.field, it.description])).collect();
    let kind = fault.kind();
    json!({
        "code": kind.code(),
        "reason": kind.reason(),
        "message": fault.message(),
        "metadata": fault.metadata(),
        "violations": violations,
    })
}

fn ended(end: &StreamEnd) -> Value {
    let fault = end.fault.as_ref().map(shown);
    json!({ "reason": format!("{:?}", end.reason), "lastSeq": end.last_seq, "fault": fault })
}

/// Plays a script over every wire, each time before a new server, and wants the same transcript.
async fn same(play: impl AsyncFn(&World, &mut Transcript)) -> Vec<(String, Value)> {
    let mut first: Option<(Wire, Vec<(String, Value)>)> = None;
    for wire in Wire::ALL {
        let builder =
            |builder: a2a_webcap::server::Builder| builder.agent(Demo).clock(Clock::standing_at(NOON));
        let world = wire.world(builder).await;
        let address = world.server.local_addr().to_string();
        let mut transcript = Transcript { address, ..Transcript::default() };
        play(&world, &mut transcript).await;
        assert!(!transcript.lines.is_empty());
        match &first {
            None => first = Some((wire, transcript.lines)),
            Some((other, lines)) => assert_same(*other, lines, wire, &transcript.lines),
        }
    }
    first.expect("there are wires").1
}

fn assert_same(one: Wire, lines: &[(String, Value)], other: Wire, others: &[(String, Value)]) {
    let differ: Vec<_> = lines.iter().zip(others).filter(|(line, told)| line != told).collect();
    assert!(differ.is_empty(), "over {one}, and over {other}: {differ:#?}");
    assert_eq!(lines.len(), others.len(), "lines over {one}, and over {other}");
}

fn task(response: SendMessageResponse) -> Task {
    match response {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("a message: {message:?}"),
    }
}

async fn cw_06_the_agent_card_is_the_same_json_over_every_wire() {
    let lines = same(async |world, told| {
        told.tell("card", world.connection().await.agent_card("").await.unwrap());
    })
    .await;
    assert_eq!(lines[0].1["name"], "Demo");
}

async fn cw_22_a_send_gives_the_same_task_over_every_wire() {
    let lines = same(async |world, told| {
        let session = world.session(ALICE).await;
        for text in ["burst 3", "stream 2 0", "fail no paper", "reject", "talk to me", "message good day"] {
            told.tell_answer(text, session.send(text).await);
        }
        let asked = task(session.send(Message::user("ask").in_context("a context")).await.unwrap());
        told.tell("ask", &asked);
        let answer = session.send(Message::user("Dana").in_task(asked.id.clone())).await;
        told.tell_answer("an answer", answer);
        for length in [None, Some(0), Some(1), Some(9)] {
            let get = GetTaskRequest { history_length: length, ..GetTaskRequest::new(asked.id.clone()) };
            told.tell_answer(format!("get with {length:?}"), session.get_task(&get).await);
            told.tell_answer("the same by handle", session.task(&asked.id).get(length).await);
        }
        let rich = Message {
            metadata:
                json!({ "n": 1, "x": 0.1, "list": ["a", { "深": null }], "big": 9_007_199_254_740_993_i64 })
                    .as_object()
                    .cloned(),
            extensions: vec!["https://example.org/one".into()],
            ..Message::new(
                a2a_webcap::model::Role::User,
                vec![Part::text("Hello 世界 🌍 مرحبا"), Part::data(json!([[], [[1]], { "": [] }]))],
            )
        };
        told.tell_answer("rich", session.send(rich).await);
        let listed = session.list_tasks(&ListTasksRequest::default()).await.unwrap();
        told.tell("list", listed.tasks.len());
        let filtered = ListTasksRequest { context_id: Some("a context".into()), ..Default::default() };
        told.tell_answer("list by context", session.list_tasks(&filtered).await);
        let paged = ListTasksRequest { page_size: Some(2), ..Default::default() };
        let page = session.list_tasks(&paged).await.unwrap();
        told.tell("a page", (page.tasks.len(), page.total_size, page.page_size));
        let started = session.send_streaming("long", Collector::new());
        let running = started.task.get(Some(0)).await.unwrap().id;
        let canceled = session.cancel_task(&CancelTaskRequest::new(running)).await.unwrap();
        told.tell("canceled", canceled.state());
    })
    .await;
    let of = |what: &str| &lines.iter().find(|(line, _)| line == what).expect("it was told").1;
    assert_eq!(of("burst 3")["task"]["status"]["state"], "TASK_STATE_COMPLETED");
    assert_eq!(of("message good day")["message"]["parts"][0]["text"], "good day");
    assert_eq!(of("rich")["task"]["history"][0]["metadata"]["big"], 9_007_199_254_740_993_i64);
}

async fn cw_23_a_stream_has_the_same_events_over_every_wire() {
    let lines = same(async |world, told| {
        let session = world.session(ALICE).await;
        for text in ["stream 5 0", "burst 50", "ask", "fail", "reject", "talk to me", "message hello"] {
            for features in [Features::default(), Features { snapshots: false, ..Features::default() }] {
                let collector = Collector::with(Features { batches: false, ..features });
                let started = session.send_streaming(text, collector.clone());
                told.tell_stream(text, &collector).await;
                if text == "message hello" {
                    continue;
                }
                let whole = started.task.get(None).await.unwrap();
                for cursor in [Cursor::After(0), Cursor::After(1), Cursor::Snapshot] {
                    if whole.is_finished() {
                        let later = Collector::with(features);
                        let _held = started.task.subscribe(cursor, later.clone());
                        told.tell_stream(&format!("{text} {cursor:?}"), &later).await;
                    }
                }
                let beyond = started.task.subscribe(Cursor::After(1_000), Collector::new());
                told.tell_answer("beyond its end", beyond.ready().await);
            }
        }
    })
    .await;
    let of_first: Vec<_> =
        lines.iter().filter(|(line, _)| line == "stream 5 0").map(|(_, told)| told).collect();
    assert_eq!(of_first[0]["event"]["task"]["status"]["state"], "TASK_STATE_SUBMITTED");
    assert!(of_first.iter().any(|told| told["final"] == true && told["seq"] == 8));
}

async fn cw_25_a_failure_is_the_same_fault_over_every_wire() {
    let lines = same(async |world, told| {
        let session = world.session(ALICE).await;
        told.tell_answer("nobody", world.connection().await.operations().send("hello").await);
        let wrong = world.session("nobody's key, but as long as any other").await;
        told.tell_answer("a wrong key", wrong.ready().await);
        told.tell_answer("a call behind it", wrong.send("hello").await);
        of_tasks(&session, told).await;
        of_messages(&session, told).await;
        of_authority(world, &session, told).await;
        let push = GetTaskPushNotificationConfigRequest { tenant: None, task_id: "x".into(), id: "a".into() };
        told.tell_answer("webhooks", session.get_push_config(&push).await);
        told.tell_answer("a card", session.get_extended_agent_card(&Default::default()).await);
    })
    .await;
    use FaultKind::*;
    let mut expected: Vec<FaultKind> = vec![
        TaskNotFound,
        TaskNotCancelable,
        PushNotificationNotSupported,
        UnsupportedOperation,
        InvalidParams,
        Unauthenticated,
        Forbidden,
        Revoked,
        NoTask,
        Conflict,
    ];
    expected.retain(|kind| {
        let is_row = |told: &Value| told["code"] == kind.code() && told["reason"] == kind.reason();
        !lines.iter().any(|(_, told)| is_row(told))
    });
    assert!(expected.is_empty(), "no call failed in these ways: {expected:?}");
    quotas().await;
}

async fn of_tasks(session: &Session, told: &mut Transcript) {
    let missing = GetTaskRequest::new("no-such-task");
    told.tell_answer("a missing task", session.get_task(&missing).await);
    told.tell_answer("its handle", session.task("no-such-task").ready().await);
    told.tell_answer("a call on its handle", session.task("no-such-task").get(None).await);
    told.tell_answer("a send into it", session.send(Message::user("x").in_task("no-such-task")).await);
    told.tell_refusal("an empty id", session.get_task(&GetTaskRequest::new("")).await);
    let done = task(session.send("burst 1").await.unwrap());
    told.tell_answer("a late cancel", session.cancel_task(&CancelTaskRequest::new(done.id.clone())).await);
    told.tell_answer("the same by handle", session.task(&done.id).cancel(None).await);
    told.tell_answer("a late send", session.send(Message::user("x").in_task(done.id.clone())).await);
    let elsewhere = Message::user("x").in_task(done.id.clone()).in_context("elsewhere");
    told.tell_answer("another context", session.send(elsewhere).await);
    let subscription = session.task(&done.id).subscribe(Cursor::After(999), Collector::new());
    told.tell_answer("a cursor beyond the end", subscription.ready().await);
    let collector = Collector::new();
    let started = session.send_streaming("message hello", collector.clone());
    collector.end().await;
    told.tell_answer("no task", started.task.get(None).await);
    let waiting = session.send_streaming("long", Collector::new());
    waiting.ready().await.unwrap();
    told.tell_answer("not finished", waiting.task.delete().await);
    waiting.task.cancel(None).await.unwrap();
    let page = ListTasksRequest { page_token: Some("not one of ours".to_owned()), ..Default::default() };
    told.tell_answer("a page token", session.list_tasks(&page).await);
    let size = ListTasksRequest { page_size: Some(0), ..Default::default() };
    told.tell_answer("a page of nothing", session.list_tasks(&size).await);
}

async fn of_messages(session: &Session, told: &mut Transcript) {
    let user = a2a_webcap::model::Role::User;
    for (what, message) in [
        ("many parts", Message::new(user, vec![Part::text("x"); 101])),
        ("no parts", Message::new(user, Vec::new())),
        ("the wrong role", Message::agent("I am an agent")),
        ("a long context", Message::user("x").in_context("c".repeat(513))),
    ] {
        told.tell_answer(what, session.send(message.clone()).await);
        let streamed = session.send_streaming(message, Collector::new());
        told.tell_answer(format!("{what}, streamed"), streamed.ready().await);
    }
    let nameless = Message { message_id: "".into(), ..Message::user("x") };
    told.tell_refusal("no message id", session.send(nameless).await);
    let message = Message { message_id: "one and the same".into(), ..Message::user("hello") };
    told.tell("a first send", session.send(message.clone()).await.is_ok());
    let other = Message { parts: vec![Part::text("good bye")], ..message };
    told.tell_answer("the same id", session.send(other).await);
    let tied = SendCall::from("hello").cancel_on_drop().return_immediately();
    let task = task(session.send("ask").await.unwrap());
    told.tell("tied to nothing", session.task(&task.id).send(tied).await.unwrap_err().kind().code());
}

async fn of_authority(world: &World, session: &Session, told: &mut Transcript) {
    let task = task(session.send("ask").await.unwrap());
    let bob = world.session(BOB).await;
    told.tell_answer("a foreign task", bob.get_task(&GetTaskRequest::new(task.id.clone())).await);
    told.tell_answer("its handle", bob.task(&task.id).ready().await);
    let policy = SessionPolicy {
        read_only: true,
        grant: GrantPolicy::labelled("for a reader"),
        ..SessionPolicy::default()
    };
    let (reader, grant) = session.attenuate(&policy);
    told.tell_answer("a reader's send", reader.send("hello").await);
    told.tell_answer("a reader's cancel", reader.task(&task.id).cancel(None).await);
    let (raised, _) = reader.task(&task.id).attenuate(TaskRole::Owner, &GrantPolicy::default());
    told.tell_answer("raised again", raised.ready().await);
    told.tell_answer("a renewal by another", session.renew(&Credentials::api_key(BOB)).await.map(|_| ()));
    let collector = Collector::new();
    let _held = reader.task(&task.id).subscribe(Cursor::After(0), collector.clone());
    collector.has(2).await;
    grant.revoke().await.unwrap();
    told.tell_stream("revoked", &collector).await;
    told.tell_answer("a call after that", reader.who_am_i().await.map(|_| ()));
    let claimed = world.connection().await.claim("a2ashare_nothing");
    told.tell_answer("a wrong secret", claimed.ready().await);
    let expired = GrantPolicy { expires: Some(NOON), ..GrantPolicy::default() };
    let (_, refused) = session.task(&task.id).attenuate(TaskRole::Observe, &expired);
    told.tell_answer("a time that is over", refused.ready().await);
}

/// What a server that is full says, and a key that may not do everything.
async fn quotas() {
    let few = || limits(|limits: &mut Limits| limits.engine.turns_per_principal = 1);
    let mut told = Vec::new();
    for wire in Wire::ALL {
        let key = ApiKey::generate().unwrap();
        let rest = Permission::ALL.into_iter().filter(|one| *one != Permission::Delete);
        let entry = KeyEntry { permissions: Some(rest.collect::<Permissions>()), ..key.entry("carol") };
        let (world, mut stage) =
            wire.puppet_of(Puppet::default(), |builder| builder.limits(few()).key(entry)).await;
        let session = world.session(key.expose()).await;
        let started = session.send_streaming("go", Collector::new());
        let cue = stage.turn().await;
        let full = session.send("one more").await.unwrap_err();
        cue.end();
        let forbidden = started.task.delete().await.unwrap_err();
        told.push((wire, vec![("full".to_owned(), shown(&full)), ("delete".to_owned(), shown(&forbidden))]));
    }
    let [(one, lines), (other, others)] = &told[..] else { panic!("two wires") };
    assert_same(*one, lines, *other, others);
}

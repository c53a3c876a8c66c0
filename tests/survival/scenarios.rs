//! The scenarios that are about what stays: with the store on disk, and a restart in the midst.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_webcap::agent::Agent;
use a2a_webcap::agents::{Demo, Echo};
use a2a_webcap::client::{
    Client, ClientNotice, Credentials, Cursor, Features, RetryPolicy, SendCall, TaskEvent,
};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::FaultKind;
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{
    CancelTaskRequest, EndReason, GetTaskRequest, ListTasksRequest, Message, SendMessageResponse, Task,
    TaskState, Timestamp,
};

use crate::agent::Count;
use crate::doubles::{Collector, Puppet};
use crate::party::{Session, Wire, on_wires};
use crate::process::{Scratch, Settings};
use crate::world::{ALICE, World, soon, until};

on_wires! {
    sockets: [
        ak_w06_a_send_that_is_repeated_after_a_crash_makes_one_task,
        ak_w06_a_stream_goes_on_over_a_killed_and_restarted_server_where_it_was,
        gc_26_tasks_are_kept_when_they_end_and_when_they_are_canceled_and_are_the_same_after_a_restart,
        gc_26_an_id_that_looks_like_a_path_is_no_task_and_touches_no_file,
        as_14_a_task_has_its_state_after_a_restart_too,
        as_15_an_unknown_task_is_unknown_after_a_restart_too,
        as_16_a_list_by_context_has_the_tasks_of_before_and_after_a_restart,
        as_17_a_list_by_an_unknown_context_is_empty_after_a_restart_too,
        cw_04_a_list_goes_on_with_its_next_page_after_a_restart,
        cw_10_a_slow_observer_is_served_from_the_disk_within_its_window_and_loses_nothing,
    ]
}

/// A server over the store in this place.
async fn world(wire: Wire, scratch: &Scratch, agent: impl Agent) -> World {
    world_of(wire, scratch, agent, &Clock::system(), |_| {}).await
}

async fn world_of(
    wire: Wire,
    scratch: &Scratch,
    agent: impl Agent,
    clock: &Clock,
    change: fn(&mut Limits),
) -> World {
    let mut limits = Limits::default();
    limits.net.drain_timeout = Duration::from_millis(50);
    change(&mut limits);
    let dir = scratch.0.join("store");
    wire.world(|builder| builder.agent(agent).data_dir(dir).clock(clock.clone()).limits(limits)).await
}

fn task(response: SendMessageResponse) -> Task {
    match response {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("{message:?}"),
    }
}

/// A task's events from the first on.
async fn events(session: &Session, id: &str) -> Vec<TaskEvent> {
    let collector = Collector::bare();
    let _held = session.task(id).subscribe(Cursor::After(0), collector.clone());
    collector.end().await;
    collector.events()
}

/// Every file below a directory.
fn files(dir: &Path) -> BTreeSet<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { [path].into() }).collect()
}

async fn gc_26_tasks_are_kept_when_they_end_and_when_they_are_canceled_and_are_the_same_after_a_restart(
    wire: Wire,
) {
    let scratch = Scratch::new();
    let first = world(wire, &scratch, Demo).await;
    let session = first.session(ALICE).await;
    let mut before = Vec::new();
    for text in ["stream 20 0", "fail no paper", "reject"] {
        before.push(task(session.send(text).await.unwrap()));
    }
    let started = session.send_streaming("long", Collector::new());
    started.ready().await.unwrap();
    until("it works", || first.counts().turns == 1).await;
    let running = started.task.get(None).await.unwrap().id;
    before.push(session.cancel_task(&CancelTaskRequest::new(running)).await.unwrap());
    let mut logs = Vec::new();
    for task in &before {
        logs.push(events(&session, &task.id).await);
    }
    let asks = task(session.send("ask").await.unwrap());
    drop((started, session));
    soon("it stops", first.server.stop()).await;

    let second = world(wire, &scratch, Demo).await;
    let session = second.session(ALICE).await;
    for (task, log) in before.iter().zip(&logs) {
        assert_eq!(session.get_task(&GetTaskRequest::new(task.id.clone())).await.unwrap(), *task);
        assert_eq!(events(&session, &task.id).await, *log);
    }
    let states: Vec<_> = before.iter().map(Task::state).collect();
    assert_eq!(states, [TaskState::Completed, TaskState::Failed, TaskState::Rejected, TaskState::Canceled]);
    // A task that waits for its client waits on.
    assert_eq!(session.get_task(&GetTaskRequest::new(asks.id.clone())).await.unwrap(), asks);
    let answered = task(session.send(Message::user("Dana").in_task(asks.id.clone())).await.unwrap());
    assert_eq!((&answered.id, answered.state()), (&asks.id, TaskState::Completed));
}

async fn gc_26_an_id_that_looks_like_a_path_is_no_task_and_touches_no_file(wire: Wire) {
    let scratch = Scratch::new();
    let world = world(wire, &scratch, Echo).await;
    let session = world.session(ALICE).await;
    let opened = task(session.send(Message::user("hello").in_context("../../context")).await.unwrap());
    assert_eq!(opened.context_id.as_deref(), Some("../../context"), "what a client calls its own is its own");
    let before = files(&scratch.0);
    let longest = format!("../{}", "x".repeat(100_000));
    for id in ["../", "..", "../../etc/passwd", "a/../b", "/etc/passwd", "log/0000000001.log", "\0", &longest]
    {
        let got = session.get_task(&GetTaskRequest::new(id)).await.unwrap_err();
        let canceled = session.cancel_task(&CancelTaskRequest::new(id)).await.unwrap_err();
        let deleted = session.task(id).delete().await.unwrap_err();
        let sent = session.send(Message::user("x").in_task(id)).await.unwrap_err();
        let subscription = session.task(id).subscribe(Cursor::After(0), Collector::bare());
        let followed = subscription.ready().await.unwrap_err();
        let kinds = [got, canceled, deleted, followed].map(|fault| fault.kind());
        assert_eq!(kinds, [FaultKind::TaskNotFound; 4], "{}", &id[..id.len().min(30)]);
        // A name that is longer than any is refused before it is looked up.
        let expected = if id.len() > 512 { FaultKind::InvalidParams } else { FaultKind::TaskNotFound };
        assert_eq!(sent.kind(), expected);
    }
    assert_eq!(files(&scratch.0), before);
}

#[tokio::test]
async fn ak_w06_a_client_with_default_waits_goes_on_over_a_killed_and_restarted_server() {
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    let served = settings.start();
    settings.listen = served.address;
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    assert_eq!(RetryPolicy::default().tries, 5);
    let client = Client::builder(served.url()).credentials(Credentials::api_key(ALICE));
    let client = client.on_event(move |notice| heard.lock().unwrap().push(notice)).connect().await.unwrap();
    let count = Count { to: 300, pace: Duration::from_millis(2), padding: 50, asks: false };
    let mut stream = client.stream(count.text());
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let event = soon("an event", stream.next()).await.expect("it goes on").unwrap();
        seen.extend((event.seq > 0).then_some(event));
    }

    served.kill();
    let waits = || -> Vec<Duration> {
        let notices = notices.lock().unwrap();
        let wait = |notice: &ClientNotice| match notice {
            ClientNotice::Reconnecting { wait, .. } => Some(*wait),
            _ => None,
        };
        notices.iter().filter_map(wait).collect()
    };
    until("two tries", || waits().len() >= 2).await;
    let served = settings.start();
    assert_eq!(soon("an answer", client.who_am_i()).await.unwrap().subject, "alice");
    while let Some(event) = soon("an event", stream.next()).await {
        seen.push(event.unwrap());
    }

    let (first, second) = (waits()[0].as_secs_f64(), waits()[1].as_secs_f64());
    assert!((0.8..=1.0).contains(&first) && (1.6..=2.0).contains(&second), "{first} s, then {second} s");
    let numbers: Vec<u64> = seen.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>(), "no event is lost or comes twice");
    assert_eq!(seen.last().unwrap().state(), Some(TaskState::Completed), "the agent has gone on");
    let said: Vec<_> = seen.iter().filter_map(TaskEvent::artifact_text).collect();
    let said: Vec<u64> = said.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(said, (1..=300).collect::<Vec<_>>());
    let resumed = notices.lock().unwrap().iter().any(|notice| matches!(notice, ClientNotice::Resumed { .. }));
    assert!(resumed);
    drop(served);
}

async fn ak_w06_a_stream_goes_on_over_a_killed_and_restarted_server_where_it_was(wire: Wire) {
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    let served = settings.start();
    settings.listen = served.address;
    let connection = wire.connect(&served.url()).await;
    let session = connection.authenticate(ALICE);
    let count = Count { to: 300, pace: Duration::from_millis(2), padding: 50, asks: false };
    let before = Collector::bare();
    let _started = session.send_streaming(count.text(), before.clone());
    before.has(50).await;

    served.kill();
    soon("the line breaks", connection.closed()).await;
    let lost = session.who_am_i().await.unwrap_err();
    assert_eq!(lost.kind(), FaultKind::Disconnected);
    let seen = before.events();
    assert!(before.ended().is_none(), "nobody could say how it ends");
    assert_eq!(
        wire.try_connect(&format!("http://{}", settings.listen)).await.err().unwrap().kind(),
        FaultKind::Disconnected
    );
    let served = settings.start();
    let again = wire.connect(&served.url()).await.authenticate(ALICE);
    assert_eq!(again.who_am_i().await.unwrap().subject, "alice");
    let after = Collector::bare();
    let (id, last) = (seen[0].task_id().unwrap().to_owned(), seen.last().unwrap().seq);
    let _held = again.task(&id).subscribe(Cursor::After(last), after.clone());
    assert_eq!(after.end().await.reason, EndReason::Completed);

    let whole: Vec<TaskEvent> = seen.into_iter().chain(after.events()).collect();
    let numbers: Vec<u64> = whole.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=whole.len() as u64).collect::<Vec<_>>(), "no event is lost or comes twice");
    let said: Vec<_> = whole.iter().filter_map(TaskEvent::artifact_text).collect();
    let said: Vec<u64> = said.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(said, (1..=300).collect::<Vec<_>>());
    assert_eq!(events(&again, &id).await, whole, "what was seen before the crash is what is on disk");
}

async fn ak_w06_a_send_that_is_repeated_after_a_crash_makes_one_task(wire: Wire) {
    let scratch = Scratch::new();
    let mut settings = Settings::new(&scratch.0);
    let served = settings.start();
    settings.listen = served.address;
    let count = Count { to: 3, pace: Duration::ZERO, padding: 0, asks: false };
    let message = Message::user(count.text());
    let send = async |url: &str| {
        let session = wire.connect(url).await.authenticate(ALICE);
        let sent = task(session.send(message.clone()).await.unwrap());
        let listed = session.list_tasks(&ListTasksRequest::default()).await.unwrap();
        (sent.id, sent.status.state, listed.total_size)
    };
    let first = send(&served.url()).await;
    assert_eq!((first.1, first.2), (TaskState::Completed, 1));
    served.kill();
    let served = settings.start();
    assert_eq!(send(&served.url()).await, first);
}

async fn as_14_a_task_has_its_state_after_a_restart_too(wire: Wire) {
    let scratch = Scratch::new();
    let (agent, mut stage) = Puppet::default().on_stage();
    let first = world(wire, &scratch, agent).await;
    let session = first.session(ALICE).await;
    let opened = task(session.send(SendCall::from("go").return_immediately()).await.unwrap());
    let get = GetTaskRequest::new(opened.id.clone());
    assert_eq!(session.get_task(&get).await.unwrap().state(), TaskState::Submitted);
    let cue = stage.turn().await;
    cue.works().await;
    assert_eq!(session.get_task(&get).await.unwrap().state(), TaskState::Working);
    cue.updates.complete().await.unwrap();
    events(&session, &opened.id).await;
    let completed = session.get_task(&get).await.unwrap();
    assert_eq!(completed.state(), TaskState::Completed);
    drop((session, cue));
    soon("it stops", first.server.stop()).await;

    let second = world(wire, &scratch, Echo).await;
    assert_eq!(second.session(ALICE).await.get_task(&get).await.unwrap(), completed);
}

async fn as_15_an_unknown_task_is_unknown_after_a_restart_too(wire: Wire) {
    let scratch = Scratch::new();
    for _ in 0..2 {
        let world = world(wire, &scratch, Echo).await;
        let session = world.session(ALICE).await;
        session.send("hello").await.unwrap();
        let fault = session.get_task(&GetTaskRequest::new("no-such-task")).await.unwrap_err();
        assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::TaskNotFound, -32001));
        drop(session);
        soon("it stops", world.server.stop()).await;
    }
}

async fn as_16_a_list_by_context_has_the_tasks_of_before_and_after_a_restart(wire: Wire) {
    let scratch = Scratch::new();
    let mut expected = BTreeSet::new();
    for round in 1..=3 {
        let world = world(wire, &scratch, Echo).await;
        let session = world.session(ALICE).await;
        for text in ["one", "two"] {
            expected.insert(task(session.send(Message::user(text).in_context("shared")).await.unwrap()).id);
        }
        session.send("elsewhere").await.unwrap();
        let request = ListTasksRequest { context_id: Some("shared".into()), ..ListTasksRequest::default() };
        let page = session.list_tasks(&request).await.unwrap();
        assert_eq!(page.total_size, 2 * round);
        let listed: BTreeSet<_> = page.tasks.into_iter().map(|task| task.id).collect();
        assert_eq!(listed, expected);
        drop(session);
        soon("it stops", world.server.stop()).await;
    }
}

async fn as_17_a_list_by_an_unknown_context_is_empty_after_a_restart_too(wire: Wire) {
    let scratch = Scratch::new();
    for _ in 0..2 {
        let world = world(wire, &scratch, Echo).await;
        let session = world.session(ALICE).await;
        session.send("hello").await.unwrap();
        let request = ListTasksRequest { context_id: Some("nowhere".into()), ..ListTasksRequest::default() };
        let listed = session.list_tasks(&request).await.unwrap();
        assert_eq!((listed.tasks.len(), listed.total_size, &*listed.next_page_token), (0, 0, ""));
        drop(session);
        soon("it stops", world.server.stop()).await;
    }
}

async fn cw_04_a_list_goes_on_with_its_next_page_after_a_restart(wire: Wire) {
    let scratch = Scratch::new();
    let clock = Clock::standing_at(Timestamp::from_unix_nanos(1_000));
    let first = world_of(wire, &scratch, Demo, &clock, |_| {}).await;
    let session = first.session(ALICE).await;
    let mut ids = Vec::new();
    for n in 1..=9 {
        clock.set(Timestamp::from_unix_nanos(1_000 + n));
        let (text, context) =
            (if n % 3 == 0 { "ask" } else { "burst 1" }, if n % 2 == 0 { "a" } else { "b" });
        ids.push(task(session.send(Message::user(text).in_context(context)).await.unwrap()).id);
    }
    let list = async |session: &Session, request: &ListTasksRequest| {
        let page = session.list_tasks(request).await.unwrap();
        let place = |task: &Task| 1 + ids.iter().position(|id| *id == task.id).expect("one of ours");
        (page.tasks.iter().map(place).collect::<Vec<_>>(), page.total_size, page.next_page_token)
    };
    let paged = ListTasksRequest { page_size: Some(4), ..ListTasksRequest::default() };
    let (listed, total, token) = list(&session, &paged).await;
    assert_eq!((listed, total), (vec![9, 8, 7, 6], 9));
    drop(session);
    soon("it stops", first.server.stop()).await;

    let second = world_of(wire, &scratch, Demo, &clock, |_| {}).await;
    let session = second.session(ALICE).await;
    let (listed, total, token) =
        list(&session, &ListTasksRequest { page_token: Some(token), ..paged.clone() }).await;
    assert_eq!((listed, total), (vec![5, 4, 3, 2], 9));
    let last = list(&session, &ListTasksRequest { page_token: Some(token), ..paged }).await;
    assert_eq!(last, (vec![1], 9, String::new()));
    let in_a = ListTasksRequest { context_id: Some("a".into()), ..ListTasksRequest::default() };
    assert_eq!(list(&session, &in_a).await.0, [8, 6, 4, 2]);
    let asking = ListTasksRequest { status: Some(TaskState::InputRequired), ..in_a };
    assert_eq!(list(&session, &asking).await.0, [6]);
}

async fn cw_10_a_slow_observer_is_served_from_the_disk_within_its_window_and_loses_nothing(wire: Wire) {
    const WINDOW: usize = 8 << 10;
    const EVENTS: usize = 2_000;
    let scratch = Scratch::new();
    let few = |limits: &mut Limits| {
        limits.wire.stream_window_bytes = WINDOW;
        limits.engine.recent_events = 16;
    };
    let world = world_of(wire, &scratch, Demo, &Clock::system(), few).await;
    let connection = world.connection().await;
    let session = connection.authenticate(ALICE);
    let slow = Collector::gated(Features { batches: false, ..Features::default() });
    let started = session.send_streaming(format!("burst {EVENTS}"), slow.clone());
    until("the task is over", || world.counts().turns == 0 && world.counts().events > 2_000).await;
    assert_eq!(started.task.get(Some(0)).await.unwrap().state(), TaskState::Completed);
    let held = connection.held_bytes();
    assert!(held > 0 && held <= 2 * WINDOW, "{held} bytes of a window of {WINDOW}");
    assert_eq!(world.counts().feeds, 1, "the stream waits at its cursor");
    slow.admit(EVENTS + 10);
    let end = slow.end().await;
    assert_eq!((end.reason, end.last_seq), (EndReason::Completed, EVENTS as u64 + 2));
    assert_eq!(slow.texts().len(), EVENTS);
    // And whoever comes after a restart gets the same.
    let seen = slow.events();
    let id = started.task.get(Some(0)).await.unwrap().id;
    drop((started, session, connection));
    soon("it stops", world.server.stop()).await;
    let world = world_of(wire, &scratch, Demo, &Clock::system(), few).await;
    let again = events(&world.session(ALICE).await, &id).await;
    assert_eq!(again.len(), EVENTS + 2);
    assert_eq!(again[..], seen[seen.len() - again.len()..]);
}

//! Streams: where they begin, what an observer is called with, and how they end.

use std::time::Duration;

use a2a_webcap::client::{Cursor, Features, SendCall};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{
    EndReason, Message, SendMessageRequest, StreamResponse, SubscribeToTaskRequest, TaskState,
};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::observer_features;

use crate::doubles::{Collector, Puppet};
use crate::party::{Wire, on_wires};
use crate::raw::{Log, Raw};
use crate::world::{ALICE, World, limits, soon, until};

on_wires! {
    every: [
        a_stream_goes_on_after_any_number_without_gap_or_repeat,
        a_cursor_beyond_the_last_event_is_refused_by_name,
        a_cursor_at_the_last_event_of_a_working_task_waits_for_the_next,
        a_sends_own_stream_ends_interrupted_and_a_subscription_goes_on,
        a_stopping_server_lets_turns_end_and_detaches_whoever_waits_for_nothing,
        a_stopping_server_hands_over_what_has_not_ended_in_time,
        a_stopping_server_closes_each_line_as_soon_as_nothing_runs_on_it,
        a_stopping_server_keeps_a_line_with_which_a_task_would_be_canceled,
        a_send_that_asks_to_return_at_once_always_opens_a_task,
    ]
    objects: [
        a_message_in_place_of_a_task_ends_the_stream_and_breaks_the_handle,
        an_observer_without_on_message_sees_only_the_end_of_such_an_answer,
        a_subscription_dropped_before_any_answer_leaves_no_stream,
    ]
}

async fn a_stream_goes_on_after_any_number_without_gap_or_repeat(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let whole = Collector::bare();
    let started = session.send_streaming("stream 20 0", whole.clone());
    let last = whole.end().await.last_seq;
    let numbers = whole.numbers();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
    for after in 0..last {
        let rest = Collector::new();
        let _held = started.task.subscribe(Cursor::After(after), rest.clone());
        let end = rest.end().await;
        assert_eq!((end.reason, end.last_seq), (EndReason::Completed, last));
        let skipped = usize::try_from(after).unwrap();
        assert_eq!(rest.events(), whole.events()[skipped..], "after {after}");
    }
}

async fn a_cursor_beyond_the_last_event_is_refused_by_name(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming("hello", collector.clone());
    let last = collector.end().await.last_seq;
    let beyond = Collector::new();
    let fault = started.task.subscribe(Cursor::After(last + 1), beyond.clone()).ready().await.unwrap_err();
    assert_eq!((fault.kind(), &*fault.violations()[0].field), (FaultKind::InvalidParams, "after"));
    assert!(beyond.events().is_empty() && beyond.ended().is_none());
}

async fn a_cursor_at_the_last_event_of_a_working_task_waits_for_the_next(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    let rest = Collector::new();
    let held = started.task.subscribe(Cursor::After(2), rest.clone());
    held.ready().await.unwrap();
    assert!(rest.events().is_empty());
    cue.end();
    assert_eq!(rest.end().await.last_seq, 3);
    assert_eq!(rest.numbers(), [3]);
}

async fn a_sends_own_stream_ends_interrupted_and_a_subscription_goes_on(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    for ask_for in [TaskState::InputRequired, TaskState::AuthRequired] {
        let (own, other) = (Collector::new(), Collector::bare());
        let started = session.send_streaming("go", own.clone());
        let _held = started.task.subscribe(Cursor::After(0), other.clone());
        let cue = stage.turn().await;
        cue.updates.state(ask_for, None).await.unwrap();
        cue.end();
        let end = own.end().await;
        assert_eq!((end.reason, end.last_seq), (EndReason::Interrupted, 2));
        let last = own.events().pop().unwrap();
        assert_eq!((last.is_final, last.state()), (true, Some(ask_for)));
        let asked = other.has(2).await.pop().unwrap();
        assert_eq!((asked.is_final, asked.state()), (false, Some(ask_for)));
        // A send into the task begins with the event that it causes.
        let next = Collector::new();
        let _next = started.task.send_streaming("an answer", next.clone());
        stage.turn().await.end();
        assert_eq!(next.end().await.reason, EndReason::Completed);
        assert_eq!(
            (next.numbers(), next.states()),
            (vec![3, 4], vec![TaskState::Working, TaskState::Completed])
        );
        assert_eq!(other.end().await.reason, EndReason::Completed);
        assert_eq!(other.numbers(), [1, 2, 3, 4]);
    }
}

async fn a_stopping_server_lets_turns_end_and_detaches_whoever_waits_for_nothing(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (asked, waiting, working) = (Collector::new(), Collector::new(), Collector::new());
    let idle = session.send_streaming("ask me", asked.clone());
    let cue = stage.turn().await;
    cue.updates.state(TaskState::InputRequired, None).await.unwrap();
    cue.end();
    asked.end().await;
    let _held = idle.task.subscribe(Cursor::After(2), waiting.clone());
    let _busy = session.send_streaming("go", working.clone());
    let cue = stage.turn().await;
    cue.works().await;
    working.has(3).await;
    // Over Cap'n Web the end is said when everything before it was acknowledged: this answer comes after that.
    session.who_am_i().await.unwrap();
    let stopping = tokio::spawn(world.server.stop());
    let end = waiting.end().await;
    assert_eq!((end.reason, end.last_seq), (EndReason::Detached, 2));
    let late = session.send("one more");
    cue.says("still here").await;
    cue.end();
    let end = working.end().await;
    assert_eq!((end.reason, end.last_seq), (EndReason::Completed, 4));
    assert_eq!(working.numbers().last(), Some(&4));
    assert_eq!(late.await.unwrap_err().kind(), FaultKind::Disconnected, "nobody has taken it");
    soon("the server stops", stopping).await.unwrap();
}

async fn a_stopping_server_hands_over_what_has_not_ended_in_time(wire: Wire) {
    let hasty = limits(|limits| limits.net.drain_timeout = Duration::from_millis(50));
    let (world, mut stage) = wire.puppet_of(Puppet::default(), |builder| builder.limits(hasty)).await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let _started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    collector.has(3).await;
    session.who_am_i().await.unwrap();
    let stopping = tokio::spawn(world.server.stop());
    let end = collector.end().await;
    assert_eq!((end.reason, end.last_seq), (EndReason::Detached, 2));
    drop(cue);
    soon("the server stops", stopping).await.unwrap();
}

async fn a_stopping_server_keeps_a_line_with_which_a_task_would_be_canceled(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let (idle, tied, busy) =
        (world.connection().await, world.session(ALICE).await, world.session(ALICE).await);
    idle.authenticate(ALICE).ready().await.unwrap();
    let held = tied.send_streaming(SendCall::from("go").cancel_on_drop(), Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    drop(held.subscription);
    until("its stream is over", || world.counts().feeds == 0).await;
    let collector = Collector::new();
    let _stream = busy.send_streaming("go", collector.clone());
    let other = stage.turn().await;
    other.works().await;
    let stopping = tokio::spawn(world.server.stop());
    idle.closed().await;
    assert!(!cue.turn.cancellation.is_cancelled(), "it goes on as long as the server does");
    assert_eq!(held.task.get(None).await.unwrap().state(), TaskState::Working);
    other.end();
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    soon("the server stops", stopping).await.unwrap();
    soon("the cancellation", cue.turn.cancellation.cancelled()).await;
}

async fn a_stopping_server_closes_each_line_as_soon_as_nothing_runs_on_it(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let idle = world.connection().await;
    let visitor = idle.authenticate(ALICE);
    visitor.who_am_i().await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..2 {
        let connection = world.connection().await;
        let (session, stream) = (connection.authenticate(ALICE), Collector::new());
        let started = session.send_streaming("go", stream.clone());
        let cue = stage.turn().await;
        cue.works().await;
        stream.has(3).await;
        turns.push((connection, session, started, stream, cue));
    }

    let stopping = tokio::spawn(world.server.stop());
    soon("the idle line is closed", idle.closed()).await;
    let late = visitor.send("hello").await.unwrap_err();
    assert_eq!(late.kind(), FaultKind::Disconnected, "to be sent to the next server");
    for (connection, session, started, stream, cue) in turns {
        session.who_am_i().await.expect("this line goes on");
        let held = session.send("one more");
        cue.says("still here").await;
        cue.end();
        let end = stream.end().await;
        assert_eq!((end.reason, end.last_seq), (EndReason::Completed, 4));
        let task = started.task.get(None).await.expect("there is time to ask what came of it");
        assert_eq!(task.state(), TaskState::Completed);
        soon("the line is closed", connection.closed()).await;
        assert_eq!(held.await.unwrap_err().kind(), FaultKind::Disconnected, "nobody has taken it");
    }
    soon("the server stops", stopping).await.unwrap();
}

async fn a_message_in_place_of_a_task_ends_the_stream_and_breaks_the_handle(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming("message hello", collector.clone());
    // Pipelined before the agent has decided.
    let task = started.task.get(None);
    let end = collector.end().await;
    assert_eq!((end.reason, end.last_seq, end.fault), (EndReason::Completed, 0, None));
    let StreamResponse::Message(message) = &collector.events()[0].content else { panic!("no message") };
    assert_eq!(message.text(), "hello");
    assert_eq!(task.await.unwrap_err().kind(), FaultKind::NoTask);
    assert_eq!(started.task.cancel(None).await.unwrap_err().kind(), FaultKind::NoTask);
}

async fn a_send_that_asks_to_return_at_once_always_opens_a_task(wire: Wire) {
    let (world, mut stage) =
        wire.puppet_of(Puppet { may_reply: true, ..Puppet::default() }, |builder| builder).await;
    let session = world.session(ALICE).await;
    let sent = session.send(SendCall::from("go").return_immediately());
    let collector = Collector::new();
    let _started = session.send_streaming(SendCall::from("go").return_immediately(), collector.clone());
    sent.await.unwrap();
    let (_first, second) = (stage.turn().await, stage.turn().await);
    second.updates.reply(Message::agent("hello")).await.unwrap();
    let last = collector.wait_for_final().await;
    assert_eq!(last.state(), Some(TaskState::Completed), "the reply completes the task that is open");
}

/// What an observer is called with that declares these optional methods and sees one task whole.
async fn called(features: impl Fn(observer_features::Builder<'_>)) -> Vec<&'static str> {
    let world = World::demo().await;
    let raw = Raw::connect(&world).await;
    let session = raw.authenticate(ALICE);
    let mut names = Vec::new();
    for text in ["stream 3 0", "message hello"] {
        let log = Log::default();
        let mut call = session.send_streaming_message_request();
        let mut params = call.get();
        SendMessageRequest::text(text).encode(params.reborrow().init_request());
        features(params.reborrow().init_features());
        params.set_observer(log.client());
        let reply = call.send().promise.await.unwrap();
        names.extend(log.ended().await.into_iter().map(|(name, _)| name));
        let Ok(task) = reply.get().unwrap().get_task() else { panic!("no task") };
        if text != "message hello" {
            let log = Log::default();
            let mut call = task.subscribe_request();
            let mut params = call.get();
            features(params.reborrow().init_features());
            params.set_observer(log.client());
            let _held = call.send().promise.await.unwrap();
            names.extend(log.ended().await.into_iter().map(|(name, _)| name));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[tokio::test(flavor = "local")]
async fn no_optional_method_is_called_that_was_not_declared() {
    assert_eq!(called(|_| {}).await, ["onArtifactUpdate", "onStatusUpdate"]);
    let with_task = called(|mut features| features.set_on_task(true)).await;
    assert_eq!(with_task, ["onArtifactUpdate", "onStatusUpdate", "onTask"]);
    let with_message = called(|mut features| features.set_on_message(true)).await;
    assert_eq!(with_message, ["onArtifactUpdate", "onMessage", "onStatusUpdate"]);
}

#[tokio::test(flavor = "local")]
async fn an_observer_that_lags_gets_batches_of_at_most_64_and_no_gap() {
    let world = World::demo().await;
    let raw = Raw::connect(&world).await;
    let session = raw.authenticate(ALICE);
    let opened = world.session(ALICE).await;
    let sent = opened.send("burst 500").await.unwrap();
    let a2a_webcap::model::SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
    let log = Log::gated();
    let _held = log.subscribe(&session, &task.id, |mut features| features.set_on_batch(true)).await;
    log.admit(1_000);
    let calls = log.ended().await;
    let batches: Vec<usize> =
        calls.iter().filter(|(name, _)| *name == "onBatch").map(|(_, numbers)| numbers.len()).collect();
    assert!(!batches.is_empty() && batches.iter().all(|count| (2..=64).contains(count)), "{batches:?}");
    assert!(calls.len() < 60, "{} calls for 502 events", calls.len());
    let numbers: Vec<u64> = calls.into_iter().flat_map(|(_, numbers)| numbers).collect();
    assert_eq!(numbers, (1..=502).collect::<Vec<_>>());
}

#[tokio::test(flavor = "local")]
async fn an_observer_that_did_not_ask_for_batches_gets_one_event_in_each_call() {
    let world = World::demo().await;
    let raw = Raw::connect(&world).await;
    let opened = world.session(ALICE).await;
    let sent = opened.send("burst 200").await.unwrap();
    let a2a_webcap::model::SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
    let log = Log::default();
    let _held = log.subscribe(&raw.authenticate(ALICE), &task.id, |_| {}).await;
    let calls = log.ended().await;
    assert!(calls.iter().all(|(_, numbers)| numbers.len() == 1));
    assert_eq!(calls.len(), 202);
}

async fn an_observer_without_on_message_sees_only_the_end_of_such_an_answer(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::with(Features { messages: false, ..Features::default() });
    let _started = session.send_streaming("message hello", collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert!(collector.events().is_empty());
}

async fn a_subscription_dropped_before_any_answer_leaves_no_stream(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    let request = SubscribeToTaskRequest::new(cue.turn.task_id.clone());
    for _ in 0..20 {
        drop(session.subscribe_to_task(&request, Cursor::Snapshot, Collector::new()));
    }
    started.task.get(None).await.unwrap();
    until("only the send's own stream is left", || world.counts().feeds == 1).await;
}

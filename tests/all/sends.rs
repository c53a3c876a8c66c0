//! What a send promises: one task for one message, and what its options do.

use std::time::Duration;

use a2a_webcap::agents::Echo;
use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{
    EndReason, Message, Part, Role, SendMessageRequest, SendMessageResponse, Task, TaskState, Timestamp,
};
use a2a_webcap::wire::capnp::{Encode as _, decode_fault};

use crate::doubles::{Collector, Puppet};
use crate::party::{Wire, on_wires};
use crate::raw::Raw;
use crate::world::{ALICE, BOB, World, limits, soon, until};

on_wires! {
    every: [
        a_message_that_breaks_a_rule_is_refused_with_the_field_named,
        the_same_message_gives_the_same_task_on_any_connection_and_in_any_way,
        equal_sends_that_race_open_one_task,
        the_same_message_id_with_another_body_is_a_conflict,
        a_message_id_is_remembered_for_a_day,
        a_message_that_the_agent_answered_with_is_remembered_too,
        a_turn_that_outlives_its_time_fails_the_task,
        a_caller_can_only_narrow_the_servers_limit_on_turns,
        one_turn_too_many_is_refused_and_not_queued,
        a_message_to_a_working_task_reaches_the_inbox_of_an_agent_that_reads_it,
        ak_w04_parts_that_a_client_pushes_one_behind_the_other_arrive_in_order,
        a_message_to_a_working_task_is_refused_where_the_agent_reads_none_and_after_its_end,
        a_send_names_another_context_than_its_tasks_and_is_refused,
    ]
    objects: [
        cancel_on_drop_cancels_with_the_last_stub_of_the_handle,
        cancel_on_drop_of_a_finished_task_changes_nothing,
        cancel_on_drop_has_nothing_to_be_tied_to_in_a_send_into_a_handle,
    ]
}

fn task(response: SendMessageResponse) -> Task {
    match response {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("a message: {}", message.text()),
    }
}

fn kind<T>(answer: Result<T, Fault>) -> FaultKind {
    match answer {
        Ok(_) => panic!("this must be refused"),
        Err(fault) => fault.kind(),
    }
}

async fn the_same_message_gives_the_same_task_on_any_connection_and_in_any_way(wire: Wire) {
    let world = wire.echo().await;
    let (first, second) = (world.session(ALICE).await, world.session(ALICE).await);
    let message = Message::user("hello");
    let done = task(first.send(message.clone()).await.unwrap());
    assert_eq!(task(second.send(message.clone()).await.unwrap()), done);
    let collector = Collector::new();
    let started = second.send_streaming(message, collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(started.task.get(None).await.unwrap(), done);
    assert_eq!(collector.numbers(), [1, 2, 3, 4], "the whole stream once more");
    assert_eq!(world.counts().events, 4, "nothing was written twice");
}

async fn equal_sends_that_race_open_one_task(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(world.session(ALICE).await);
    }
    for round in 1..=20 {
        let message = Message::user("hello");
        let sent: Vec<_> = sessions
            .iter()
            .map(|session| session.send_streaming(message.clone(), Collector::new()).task)
            .collect();
        let cue = stage.turn().await;
        for task in &sent {
            assert_eq!(task.get(None).await.unwrap().id, cue.turn.task_id);
        }
        assert_eq!(world.counts().turns, round);
        drop(cue);
    }
}

async fn the_same_message_id_with_another_body_is_a_conflict(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let message = Message::user("hello");
    session.send(message.clone()).await.unwrap();
    let other = Message { parts: vec![Part::text("good bye")], ..message.clone() };
    let fault = session.send(other.clone()).await.unwrap_err();
    assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::Conflict, -31409));
    let streamed = session.send_streaming(other.clone(), Collector::new());
    assert_eq!(kind(streamed.ready().await), FaultKind::Conflict);
    // The id is the principal's own: for another it is a new one.
    let bobs = world.session(BOB).await;
    assert_eq!(task(bobs.send(other).await.unwrap()).artifacts[0].text_content(), "Echo: good bye");
}

async fn a_message_id_is_remembered_for_a_day(wire: Wire) {
    let noon = Timestamp::from_unix_nanos(1_000_000_000_000);
    let after = |seconds| noon.saturating_add(Duration::from_secs(seconds));
    let clock = Clock::standing_at(noon);
    let world = wire.world(|builder| builder.agent(Echo).clock(clock.clone())).await;
    let session = world.session(ALICE).await;
    let message = Message::user("hello");
    let first = task(session.send(message.clone()).await.unwrap());
    clock.set(after(24 * 3_600 - 1));
    assert_eq!(task(session.send(message.clone()).await.unwrap()).id, first.id);
    clock.set(after(24 * 3_600));
    assert_ne!(task(session.send(message).await.unwrap()).id, first.id);
}

async fn a_message_that_the_agent_answered_with_is_remembered_too(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let message = Message::user("message hello");
    let first = session.send(message.clone()).await.unwrap();
    assert!(matches!(first, SendMessageResponse::Message(_)));
    assert_eq!(session.send(message).await.unwrap(), first);
}

async fn cancel_on_drop_cancels_with_the_last_stub_of_the_handle(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming(SendCall::from("go").cancel_on_drop(), collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    let last = started.task.clone();
    drop(started.task);
    last.get(None).await.expect("a stub of the handle is left");
    assert!(!cue.turn.cancellation.is_cancelled());
    drop(last);
    soon("the agent is told to stop", cue.turn.cancellation.cancelled()).await;
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.states().last(), Some(&TaskState::Canceled));
}

async fn cancel_on_drop_of_a_finished_task_changes_nothing(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming(SendCall::from("hello").cancel_on_drop(), collector.clone());
    collector.end().await;
    let done = started.task.get(None).await.unwrap();
    drop(started);
    session.who_am_i().await.unwrap();
    assert_eq!(session.task(&done.id).get(None).await.unwrap(), done);
    assert_eq!(world.counts().events, 4);
}

async fn cancel_on_drop_has_nothing_to_be_tied_to_in_a_send_into_a_handle(wire: Wire) {
    let (world, mut stage) =
        wire.puppet_of(Puppet { reads_inbox: true, ..Puppet::default() }, |builder| builder).await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    let tied = SendCall::from("more").cancel_on_drop();
    let streamed = started.task.send_streaming(tied.clone(), Collector::new());
    let fault = streamed.ready().await.unwrap_err();
    assert_eq!(
        (fault.kind(), &*fault.violations()[0].field),
        (FaultKind::InvalidParams, "options.cancelOnDrop")
    );
    assert_eq!(kind(started.task.send(tied.return_immediately()).await), FaultKind::InvalidParams);
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Working);
}

async fn a_turn_that_outlives_its_time_fails_the_task(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let call = SendCall::from("go").turn_timeout(Duration::from_millis(5));
    let _started = session.send_streaming(call, collector.clone());
    let cue = stage.turn().await;
    let last = collector.wait_for_final().await;
    assert_eq!(last.state(), Some(TaskState::Failed));
    soon("the agent is told to stop", cue.turn.cancellation.cancelled()).await;
}

async fn a_caller_can_only_narrow_the_servers_limit_on_turns(wire: Wire) {
    let limits = limits(|limits| limits.engine.turn_timeout = Duration::from_millis(5));
    let (world, mut stage) = wire.puppet_of(Puppet::default(), |builder| builder.limits(limits)).await;
    let session = world.session(ALICE).await;
    let call = SendCall::from("go").turn_timeout(Duration::from_secs(3_600));
    let answer = session.send(call);
    let _cue = stage.turn().await;
    assert_eq!(task(answer.await.unwrap()).state(), TaskState::Failed);
}

async fn one_turn_too_many_is_refused_and_not_queued(wire: Wire) {
    let limits = limits(|limits| limits.engine.turns_per_principal = 1);
    let (world, mut stage) = wire.puppet_of(Puppet::default(), |builder| builder.limits(limits)).await;
    let session = world.session(ALICE).await;
    let _one = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    let fault = session.send("one more").await.unwrap_err();
    assert!(matches!(fault.kind(), FaultKind::Overloaded | FaultKind::Quota), "{fault:?}");
    let _bobs = world.session(BOB).await.send_streaming("go", Collector::new());
    stage.turn().await.end();
    cue.end();
    until("there is room again", || world.counts().turns == 0).await;
    let _next = session.send_streaming("next", Collector::new());
    assert_eq!(stage.turn().await.turn.message.text(), "next");
}

async fn a_message_to_a_working_task_reaches_the_inbox_of_an_agent_that_reads_it(wire: Wire) {
    let (world, mut stage) =
        wire.puppet_of(Puppet { reads_inbox: true, ..Puppet::default() }, |builder| builder).await;
    let session = world.session(ALICE).await;
    let own = Collector::new();
    let started = session.send_streaming("go", own.clone());
    let mut cue = stage.turn().await;
    cue.works().await;
    let second = Collector::new();
    let _held = started.task.send_streaming("and this", second.clone());
    let heard = soon("the message", cue.turn.inbox.next()).await.unwrap();
    assert_eq!(heard.text(), "and this");
    cue.end();
    second.end().await;
    assert_eq!(second.numbers().first(), Some(&3), "the stream begins with what the message causes");
    own.end().await;
    let task = started.task.get(None).await.unwrap();
    assert_eq!(task.history.iter().map(|m| m.text().into_owned()).collect::<Vec<_>>(), ["go", "and this"]);
}

async fn ak_w04_parts_that_a_client_pushes_one_behind_the_other_arrive_in_order(wire: Wire) {
    // What an inbox holds; an agent that is slow to read would have one more refused.
    const PARTS: u32 = 16;
    let (world, mut stage) =
        wire.puppet_of(Puppet { reads_inbox: true, ..Puppet::default() }, |builder| builder).await;
    let session = world.session(ALICE).await;
    let own = Collector::new();
    let started = session.send_streaming("add up", own.clone());
    let mut cue = stage.turn().await;
    // All of them are under way before the first is answered.
    let pushed: Vec<_> = (1..=PARTS)
        .map(|n| started.task.send(SendCall::from(n.to_string().as_str()).return_immediately()))
        .collect();
    let mut heard: Vec<u32> = Vec::new();
    while heard.len() < PARTS as usize {
        let message = soon("the next part", cue.turn.inbox.next()).await.unwrap();
        heard.push(message.text().parse().unwrap());
    }
    assert_eq!(heard, (1..=PARTS).collect::<Vec<_>>());
    cue.says(&heard.iter().sum::<u32>().to_string()).await;
    for answer in pushed {
        assert_eq!(task(answer.await.unwrap()).id, cue.turn.task_id);
    }
    cue.end();
    own.end().await;
    assert_eq!(own.texts(), ["136"]);
}

async fn a_message_to_a_working_task_is_refused_where_the_agent_reads_none_and_after_its_end(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    assert_eq!(kind(started.task.send("now?").await), FaultKind::UnsupportedOperation);
    cue.updates.complete().await.unwrap();
    assert_eq!(kind(started.task.send("now?").await), FaultKind::UnsupportedOperation);
}

async fn a_message_that_breaks_a_rule_is_refused_with_the_field_named(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let cases: [(&str, Message); 3] = [
        ("message.parts", Message::new(Role::User, vec![Part::text("x"); 101])),
        ("message.role", Message::agent("I am an agent")),
        ("message.contextId", Message::user("x").in_context("c".repeat(513))),
    ];
    for (field, message) in cases {
        let fault = session.send(message).await.unwrap_err();
        assert_eq!((fault.kind(), &*fault.violations()[0].field), (FaultKind::InvalidParams, field));
    }
    assert_eq!(world.counts().events, 0);
}

#[tokio::test(flavor = "local")]
async fn what_the_client_library_cannot_even_write_is_refused_with_the_field_named() {
    let world = World::echo().await;
    let raw = Raw::connect(&world).await.authenticate(ALICE);
    let reply = raw.send_message_request().send().promise.await.unwrap();
    let fault = decode_fault(reply.get().unwrap().get_error().unwrap());
    assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::InvalidParams, -32602));
    let mut call = raw.send_streaming_message_request();
    SendMessageRequest::text("no observer").encode(call.get().init_request());
    let reply = call.send().promise.await.unwrap();
    let fault = decode_fault(reply.get().unwrap().get_error().unwrap());
    assert_eq!((fault.kind(), &*fault.violations()[0].field), (FaultKind::InvalidParams, "observer"));
    assert_eq!(world.counts().events, 0);
}

async fn a_send_names_another_context_than_its_tasks_and_is_refused(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let asked = task(session.send("ask").await.unwrap());
    let message = Message::user("Dana").in_task(asked.id.clone()).in_context("another");
    assert_eq!(kind(session.send(message).await), FaultKind::InvalidParams);
    let collector = Collector::new();
    let _held = session.task(&asked.id).subscribe(Cursor::Snapshot, collector.clone());
    assert_eq!(collector.has(1).await[0].state(), Some(TaskState::InputRequired));
}

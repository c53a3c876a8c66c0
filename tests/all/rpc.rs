//! The operations of A2A: sends, gets, lists and cancels.

use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::clock::Clock;
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{
    CancelTaskRequest, EndReason, GetTaskRequest, ListTasksRequest, Message, SendMessageResponse,
    SubscribeToTaskRequest, Task, TaskState, Timestamp,
};

use crate::doubles::Collector;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, soon, until};

on_wires! {
    every: [
        cw_01_a_send_opens_a_task_and_answers_with_it_when_it_stops,
        cw_01_a_send_answers_with_a_message_where_the_agent_does,
        cw_01_a_send_with_a_task_id_continues_that_task,
        cw_02_a_streaming_send_gives_a_live_task_and_its_events_reach_the_callback,
        cw_03_get_task_has_the_last_messages_of_its_history,
        cw_04_list_tasks_filters_by_context_and_state_newest_first_page_by_page,
        cw_05_cancel_of_a_running_task_answers_with_it_canceled,
        cw_05_cancel_of_a_finished_task_is_refused_and_writes_no_event,
        as_13_a_send_is_dispatched_and_its_stream_ends_final_and_completed,
        as_14_get_of_a_known_task_gives_its_current_state_and_then_completed,
        as_15_get_of_an_unknown_task_is_task_not_found,
        as_16_a_list_by_context_has_every_task_of_it,
        as_17_a_list_by_an_unknown_context_is_empty_and_no_error,
        as_18_cancel_of_a_running_task_stops_its_agent,
        a_cursor_at_the_last_event_of_a_finished_task_brings_only_on_end,
    ]
}

/// The task of an answer.
fn task(response: SendMessageResponse) -> Task {
    match response {
        SendMessageResponse::Task(task) => task,
        SendMessageResponse::Message(message) => panic!("a message: {}", message.text()),
    }
}

async fn cw_01_a_send_opens_a_task_and_answers_with_it_when_it_stops(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let task = task(session.send("hello").await.unwrap());
    assert_eq!(task.state(), TaskState::Completed);
    assert_eq!(task.artifacts[0].text_content(), "Echo: hello");
    assert_eq!(task.history[0].text(), "hello");
}

async fn cw_01_a_send_answers_with_a_message_where_the_agent_does(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let response = session.send("message good day").await.unwrap();
    let SendMessageResponse::Message(message) = response else { panic!("{response:?}") };
    assert_eq!(message.text(), "good day");
    assert_eq!(session.list_tasks(&ListTasksRequest::default()).await.unwrap().total_size, 0);
}

async fn cw_01_a_send_with_a_task_id_continues_that_task(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let asked = task(session.send("ask").await.unwrap());
    assert_eq!(asked.state(), TaskState::InputRequired);
    let answer = Message::user("Dana").in_task(asked.id.clone());
    let done = task(session.send(answer).await.unwrap());
    assert_eq!((&done.id, &done.context_id), (&asked.id, &asked.context_id));
    assert_eq!(done.state(), TaskState::Completed);
    assert_eq!(done.artifacts[0].text_content(), "You said: Dana");
}

async fn cw_02_a_streaming_send_gives_a_live_task_and_its_events_reach_the_callback(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::bare();
    let started = session.send_streaming("go", collector.clone());
    started.ready().await.unwrap();
    let cue = stage.turn().await;
    let task = started.task.get(None).await.unwrap();
    assert_eq!((&task.id, task.state()), (&cue.turn.task_id, TaskState::Submitted));
    cue.works().await;
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Working);
    cue.says("one").await;
    cue.end();
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.states(), [TaskState::Submitted, TaskState::Working, TaskState::Completed]);
    assert_eq!(collector.texts(), ["one"]);
}

async fn cw_03_get_task_has_the_last_messages_of_its_history(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let asked = task(session.send("ask").await.unwrap());
    session.send(Message::user("Dana").in_task(asked.id.clone())).await.unwrap();
    let history = async |length| {
        let request = GetTaskRequest { history_length: length, ..GetTaskRequest::new(asked.id.clone()) };
        let task = session.get_task(&request).await.unwrap();
        task.history.iter().map(|message| message.text().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(history(None).await, ["ask", "What is your name?", "Dana"]);
    assert_eq!(history(Some(2)).await, ["What is your name?", "Dana"]);
    assert_eq!(history(Some(9)).await.len(), 3);
    assert!(history(Some(0)).await.is_empty());
}

async fn cw_04_list_tasks_filters_by_context_and_state_newest_first_page_by_page(wire: Wire) {
    let clock = Clock::standing_at(Timestamp::from_unix_nanos(1_000));
    let world = wire.world(|builder| builder.agent(a2a_webcap::agents::Demo).clock(clock.clone())).await;
    let session = world.session(ALICE).await;
    let mut ids = Vec::new();
    for (at, (text, context)) in
        (1_i64..).zip([("burst 1", "a"), ("ask", "a"), ("burst 1", "b"), ("burst 1", "a")])
    {
        clock.set(Timestamp::from_unix_nanos(1_000 + at));
        ids.push(task(session.send(Message::user(text).in_context(context)).await.unwrap()).id);
    }
    let list = async |request: ListTasksRequest| {
        let response = session.list_tasks(&request).await.unwrap();
        let listed: Vec<usize> = response
            .tasks
            .iter()
            .map(|task| ids.iter().position(|id| *id == task.id).expect("one of ours"))
            .collect();
        (listed, response.total_size, response.next_page_token)
    };
    let everything = ListTasksRequest::default();
    assert_eq!(list(everything.clone()).await, (vec![3, 2, 1, 0], 4, String::new()));
    let in_a = ListTasksRequest { context_id: Some("a".into()), ..everything.clone() };
    assert_eq!(list(in_a.clone()).await.0, [3, 1, 0]);
    let asking = ListTasksRequest { status: Some(TaskState::InputRequired), ..everything.clone() };
    assert_eq!(list(asking).await.0, [1]);
    let paged = ListTasksRequest { page_size: Some(2), ..in_a };
    let (first, total, token) = list(paged.clone()).await;
    assert_eq!((first, total, token.is_empty()), (vec![3, 1], 3, false));
    let rest = list(ListTasksRequest { page_token: Some(token), ..paged }).await;
    assert_eq!(rest, (vec![0], 3, String::new()));
}

async fn cw_05_cancel_of_a_running_task_answers_with_it_canceled(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::bare();
    let _started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    let canceled = session.cancel_task(&CancelTaskRequest::new(cue.turn.task_id.clone())).await.unwrap();
    assert_eq!(canceled.state(), TaskState::Canceled);
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.states().last(), Some(&TaskState::Canceled));
}

async fn cw_05_cancel_of_a_finished_task_is_refused_and_writes_no_event(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let done = task(session.send("hello").await.unwrap());
    let written = world.counts().events;
    let fault = session.cancel_task(&CancelTaskRequest::new(done.id.clone())).await.unwrap_err();
    assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::TaskNotCancelable, -32002));
    assert_eq!(world.counts().events, written);
    assert_eq!(session.get_task(&GetTaskRequest::new(done.id.clone())).await.unwrap(), done);
}

async fn as_13_a_send_is_dispatched_and_its_stream_ends_final_and_completed(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let _started = session.send_streaming("stream 3 0", collector.clone());
    let last = collector.wait_for_final().await;
    assert_eq!((last.is_final, last.state()), (true, Some(TaskState::Completed)));
    assert_eq!(collector.end().await.reason, EndReason::Completed);
}

async fn as_14_get_of_a_known_task_gives_its_current_state_and_then_completed(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let opened = task(session.send(SendCall::from("go").return_immediately()).await.unwrap());
    let state = async || session.get_task(&GetTaskRequest::new(opened.id.clone())).await.unwrap().state();
    assert_eq!(state().await, TaskState::Submitted);
    let cue = stage.turn().await;
    cue.works().await;
    assert_eq!(state().await, TaskState::Working);
    cue.updates.complete().await.unwrap();
    assert_eq!(state().await, TaskState::Completed);
}

async fn as_15_get_of_an_unknown_task_is_task_not_found(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let fault = session.get_task(&GetTaskRequest::new("no-such-task")).await.unwrap_err();
    assert_eq!((fault.kind(), fault.kind().code()), (FaultKind::TaskNotFound, -32001));
}

async fn as_16_a_list_by_context_has_every_task_of_it(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let first = task(session.send(Message::user("one").in_context("shared")).await.unwrap());
    let second = task(session.send(Message::user("two").in_context("shared")).await.unwrap());
    session.send("elsewhere").await.unwrap();
    let request = ListTasksRequest { context_id: Some("shared".into()), ..ListTasksRequest::default() };
    let mut listed: Vec<_> =
        session.list_tasks(&request).await.unwrap().tasks.into_iter().map(|task| task.id).collect();
    listed.sort();
    let mut expected = [first.id, second.id];
    expected.sort();
    assert_eq!(listed, expected);
}

async fn as_17_a_list_by_an_unknown_context_is_empty_and_no_error(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    session.send("hello").await.unwrap();
    let request = ListTasksRequest { context_id: Some("nowhere".into()), ..ListTasksRequest::default() };
    let listed = session.list_tasks(&request).await.unwrap();
    assert_eq!((listed.tasks.len(), listed.total_size, &*listed.next_page_token), (0, 0, ""));
}

async fn as_18_cancel_of_a_running_task_stops_its_agent(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    assert_eq!(world.counts().turns, 1);
    assert_eq!(started.task.cancel(None).await.unwrap().state(), TaskState::Canceled);
    soon("the agent learns of it", cue.turn.cancellation.cancelled()).await;
    until("the agent has stopped", || world.counts().turns == 0).await;
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Canceled);
}

async fn a_cursor_at_the_last_event_of_a_finished_task_brings_only_on_end(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let started = session.send_streaming("hello", collector.clone());
    let last = collector.end().await.last_seq;
    let id = started.task.get(None).await.unwrap().id;
    let after = Collector::new();
    let _held =
        session.subscribe_to_task(&SubscribeToTaskRequest::new(id), Cursor::After(last), after.clone());
    let end = after.end().await;
    assert_eq!((end.reason, end.last_seq, after.events().len()), (EndReason::Completed, last, 0));
}

//! A task's life: which state follows which, in what order events come, and how a task ends.

use TaskState::{AuthRequired, Canceled, Completed, Failed, InputRequired, Rejected, Submitted, Working};
use a2a_webcap::agent::UpdateError;
use a2a_webcap::client::{Cursor, SendCall};
use a2a_webcap::model::{
    EndReason, GetTaskRequest, Id, ListTasksRequest, Message, StreamResponse, TaskState,
};

use crate::doubles::{Collector, Cue, Stage};
use crate::party::{Session, Subscription, Wire, on_wires};
use crate::world::{ALICE, World, until};

on_wires! {
    every: [
        gc_01_a_task_takes_the_states_that_the_table_allows_and_no_other,
        gc_01_the_seeds_path_is_submitted_working_then_input_required_completed_or_failed,
        gc_02_events_come_as_task_then_submitted_then_working_then_content_then_final,
        gc_03_exactly_one_event_is_final_and_it_is_the_last,
        gc_10_task_and_context_are_the_same_in_every_event_and_answer,
        as_23_a_task_that_completes_ends_its_stream_final_and_completed,
        as_23_a_task_that_fails_ends_its_stream_final_and_failed_with_the_reason,
        as_23_a_task_that_is_canceled_from_outside_ends_its_stream_final_and_canceled,
        as_24_a_client_that_disconnects_mid_stream_leaves_nothing_behind,
        as_25_everything_that_was_said_arrives_before_the_final_event,
        as_26_submitted_becomes_working_and_working_becomes_completed_failed_or_canceled,
        as_27_a_completed_task_does_not_work_again,
        as_27_a_canceled_task_is_not_completed,
    ]
}

/// What may follow a state that is not terminal, as the design says.
fn legal(from: TaskState) -> &'static [TaskState] {
    match from {
        Submitted | Working => &[Working, InputRequired, AuthRequired, Completed, Failed, Canceled, Rejected],
        InputRequired | AuthRequired => &[Working, Completed, Failed, Canceled, Rejected],
        _ => &[],
    }
}

/// A task that the agent has brought into a state, in a turn that goes on.
async fn standing_in(state: TaskState, session: &Session, stage: &mut Stage) -> Cue {
    session.send(SendCall::from("go").return_immediately()).await.unwrap();
    let cue = stage.turn().await;
    if state != Submitted {
        cue.updates.state(state, None).await.unwrap();
    }
    cue.updates.flush().await.unwrap();
    cue
}

async fn state_of(session: &Session, id: &Id) -> TaskState {
    session.get_task(&GetTaskRequest::new(id.clone())).await.unwrap().state()
}

async fn gc_01_a_task_takes_the_states_that_the_table_allows_and_no_other(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    for from in [Submitted, Working, InputRequired, AuthRequired] {
        for to in TaskState::ALL {
            let cue = standing_in(from, &session, &mut stage).await;
            let refused = world.counts().refused_updates;
            // Whether it was legal is known when it would be in the log.
            let said = cue.updates.state(to, None).await;
            let answer = said.and(cue.updates.flush().await);
            let is_legal = legal(from).contains(&to);
            let expected = if is_legal { to } else { from };
            assert_eq!(state_of(&session, &cue.turn.task_id).await, expected, "{from} -> {to}");
            assert_eq!(world.counts().refused_updates - refused, u64::from(!is_legal), "{from} -> {to}");
            if !is_legal {
                assert!(matches!(answer, Err(UpdateError::Refused(_))), "{from} -> {to}: {answer:?}");
            }
        }
    }
}

async fn gc_01_the_seeds_path_is_submitted_working_then_input_required_completed_or_failed(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    for (text, states) in [
        ("stream 2 0", vec![Submitted, Working, Completed]),
        ("ask", vec![Submitted, InputRequired]),
        ("fail no paper", vec![Submitted, Failed]),
    ] {
        let collector = Collector::new();
        let _started = session.send_streaming(text, collector.clone());
        collector.end().await;
        assert_eq!(collector.states(), states, "{text}");
    }
}

async fn gc_02_events_come_as_task_then_submitted_then_working_then_content_then_final(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let _started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("content").await;
    cue.says("more").await;
    cue.end();
    collector.end().await;
    let events = collector.events();
    let StreamResponse::Task(opened) = &events[0].content else { panic!("{:?}", events[0]) };
    assert_eq!((opened.state(), events[0].seq, events[0].is_final), (Submitted, 0, false));
    assert_eq!(opened.history[0].text(), "go", "the task as it was opened");
    assert!(opened.artifacts.is_empty());
    let rest: Vec<_> = events[1..].iter().map(|event| (event.seq, event.state(), event.is_final)).collect();
    assert_eq!(
        rest,
        [
            (1, Some(Submitted), false),
            (2, Some(Working), false),
            (3, None, false),
            (4, None, false),
            (5, Some(Completed), true),
        ]
    );
}

async fn gc_03_exactly_one_event_is_final_and_it_is_the_last(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    for text in ["stream 5 0", "ask", "fail", "reject", "burst 200", "talk to me", "message hello"] {
        let collector = Collector::new();
        let started = session.send_streaming(text, collector.clone());
        collector.end().await;
        let finals: Vec<bool> = collector.events().iter().map(|event| event.is_final).collect();
        assert_eq!(finals.iter().filter(|is_final| **is_final).count(), 1, "{text}");
        assert_eq!(finals.last(), Some(&true), "{text}");
        // For whoever comes later it is the same.
        let later = Collector::bare();
        let _held = started.task.subscribe(Cursor::After(0), later.clone());
        if !matches!(text, "ask" | "message hello") {
            later.end().await;
            let finals: Vec<bool> = later.events().iter().map(|event| event.is_final).collect();
            assert_eq!(finals.iter().position(|is_final| *is_final), Some(finals.len() - 1), "{text}");
        }
    }
}

async fn gc_10_task_and_context_are_the_same_in_every_event_and_answer(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (own, other) = (Collector::new(), Collector::new());
    let started = session.send_streaming(Message::user("go").in_context("the-context"), own.clone());
    let cue = stage.turn().await;
    let (id, context) = (cue.turn.task_id.clone(), cue.turn.context_id.clone());
    assert_eq!(&*context, "the-context");
    let _held = started.task.subscribe(Cursor::Snapshot, other.clone());
    other.has(1).await;
    // Whatever ids the agent's own words have.
    cue.updates.state(Working, Some(Message::agent("x").in_task("wrong").in_context("wrong"))).await.unwrap();
    cue.says("content").await;
    cue.updates.require_input("well?").await.unwrap();
    cue.end();
    assert_eq!(own.end().await.reason, EndReason::Interrupted);
    let _second = started.task.send_streaming("well", Collector::new());
    let second = stage.turn().await;
    assert_eq!((&second.turn.task_id, &second.turn.context_id), (&id, &context));
    second.end();
    other.end().await;
    for event in own.events().iter().chain(&other.events()) {
        let ids = match &event.content {
            StreamResponse::Task(task) => (task.id.clone(), task.context_id.clone().unwrap()),
            StreamResponse::StatusUpdate(update) => (update.task_id.clone(), update.context_id.clone()),
            StreamResponse::ArtifactUpdate(update) => (update.task_id.clone(), update.context_id.clone()),
            StreamResponse::Message(message) => panic!("{message:?}"),
        };
        assert_eq!(ids, (id.clone(), context.clone()));
        if let StreamResponse::StatusUpdate(update) = &event.content
            && let Some(message) = &update.status.message
        {
            assert_eq!((&message.task_id, &message.context_id), (&Some(id.clone()), &Some(context.clone())));
        }
    }
    let task = started.task.get(None).await.unwrap();
    assert_eq!((&task.id, task.context_id.as_ref()), (&id, Some(&context)));
    for message in &task.history {
        assert_eq!((&message.task_id, &message.context_id), (&Some(id.clone()), &Some(context.clone())));
    }
    let listed = session.list_tasks(&ListTasksRequest::default()).await.unwrap().tasks;
    assert_eq!(listed.iter().map(|task| &task.id).collect::<Vec<_>>(), [&id]);
}

/// A task that works, and a subscription from its first event on.
struct Watched {
    world: World,
    session: Session,
    cue: Cue,
    collector: Collector,
    held: Subscription,
    _stage: Stage,
}

async fn watched(wire: Wire) -> Watched {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    session.send(SendCall::from("go").return_immediately()).await.unwrap();
    let cue = stage.turn().await;
    let collector = Collector::bare();
    let held = session.task(&cue.turn.task_id).subscribe(Cursor::After(0), collector.clone());
    held.ready().await.unwrap();
    cue.works().await;
    Watched { world, session, cue, collector, held, _stage: stage }
}

async fn as_23_a_task_that_completes_ends_its_stream_final_and_completed(wire: Wire) {
    let Watched { world: _world, cue, collector, held: _held, .. } = watched(wire).await;
    cue.end();
    let last = collector.wait_for_final().await;
    assert_eq!((last.is_final, last.state()), (true, Some(Completed)));
    assert_eq!(collector.end().await.reason, EndReason::Completed);
}

async fn as_23_a_task_that_fails_ends_its_stream_final_and_failed_with_the_reason(wire: Wire) {
    let Watched { world: _world, cue, collector, held: _held, .. } = watched(wire).await;
    cue.fail("out of paper");
    let last = collector.wait_for_final().await;
    assert_eq!((last.is_final, last.state()), (true, Some(Failed)));
    let StreamResponse::StatusUpdate(update) = last.content else { panic!("{last:?}") };
    assert_eq!(update.status.message.unwrap().text(), "out of paper");
    assert_eq!(collector.end().await.reason, EndReason::Completed);
}

async fn as_23_a_task_that_is_canceled_from_outside_ends_its_stream_final_and_canceled(wire: Wire) {
    let Watched { world, cue, collector, held: _held, .. } = watched(wire).await;
    let elsewhere = world.session(ALICE).await;
    elsewhere.task(&cue.turn.task_id).cancel(None).await.unwrap();
    let last = collector.wait_for_final().await;
    assert_eq!((last.is_final, last.state()), (true, Some(Canceled)));
    assert_eq!(collector.end().await.reason, EndReason::Completed);
}

async fn as_24_a_client_that_disconnects_mid_stream_leaves_nothing_behind(wire: Wire) {
    let Watched { world, session, cue, held, .. } = watched(wire).await;
    cue.says("one").await;
    drop((session, held));
    until("the stream has ended", || world.counts().feeds == 0).await;
    cue.says("two").await;
    cue.end();
    world.forgets_everybody().await;
}

async fn as_25_everything_that_was_said_arrives_before_the_final_event(wire: Wire) {
    let Watched { world: _world, cue, collector, held: _held, .. } = watched(wire).await;
    for n in 0..100 {
        cue.updates.chunk("text", n.to_string(), n > 0, n == 99).await.unwrap();
    }
    cue.end();
    assert_eq!(collector.end().await.last_seq, 103);
    assert_eq!(collector.texts(), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(collector.numbers(), (1..=103).collect::<Vec<_>>());
    assert!(collector.events().last().unwrap().is_final);
}

async fn as_26_submitted_becomes_working_and_working_becomes_completed_failed_or_canceled(wire: Wire) {
    for to in [Completed, Failed, Canceled] {
        let Watched { world: _world, cue, collector, held: _held, .. } = watched(wire).await;
        cue.updates.state(to, None).await.unwrap();
        collector.end().await;
        assert_eq!(collector.states(), [Submitted, Working, to]);
    }
}

async fn as_27_a_completed_task_does_not_work_again(wire: Wire) {
    let Watched { world, session, cue, collector, held: _held, .. } = watched(wire).await;
    cue.updates.complete().await.unwrap();
    assert_eq!(cue.updates.working().await, Err(UpdateError::Over));
    assert_eq!(cue.updates.text("late", "late").await, Err(UpdateError::Over));
    assert_eq!(collector.end().await.last_seq, 3);
    let task = session.get_task(&GetTaskRequest::new(cue.turn.task_id.clone())).await.unwrap();
    assert_eq!((task.state(), task.artifacts.len(), world.counts().events), (Completed, 0, 3));
}

async fn as_27_a_canceled_task_is_not_completed(wire: Wire) {
    let Watched { world, session, cue, collector, held: _held, .. } = watched(wire).await;
    session.task(&cue.turn.task_id).cancel(None).await.unwrap();
    let _ = cue.updates.complete().await;
    assert!(cue.updates.flush().await.is_err(), "the agent learns that it speaks in vain");
    assert_eq!(collector.end().await.last_seq, 3);
    assert_eq!(state_of(&session, &cue.turn.task_id).await, Canceled);
    assert!(world.counts().dropped_updates > 0);
}

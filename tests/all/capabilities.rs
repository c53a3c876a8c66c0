//! What makes this more than request and reply: callbacks, pipelining, and what dropping does.

use a2a_webcap::client::{Cursor, Features, Observer, SendCall};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{EndReason, GetTaskRequest, SendMessageResponse, StreamResponse, TaskState};

use crate::doubles::Collector;
use crate::party::{Wire, on_wires};
use crate::proxy::{Mode, Proxy};
use crate::world::{ALICE, limits, soon, until};

on_wires! {
    objects: [
        cw_07_status_updates_reach_the_callback_without_a_poll,
        cw_08_an_observer_that_fails_is_dropped_and_harms_nobody_else,
        cw_09_a_client_that_disconnects_leaves_no_observer_and_the_task_goes_on,
        cw_09_a_task_tied_to_its_handle_is_canceled_with_the_connection,
        cw_10_a_slow_observer_bounds_what_is_on_its_way_and_loses_nothing,
        cw_17_the_first_failure_of_a_chain_fails_every_call_that_depends_on_it,
        cw_20_dropping_a_session_releases_what_both_sides_held_for_it,
        cw_21_a_hundred_cycles_of_connect_stream_and_drop_leave_nothing,
        cw_28_several_callbacks_all_get_every_event,
        cw_28_a_late_subscriber_gets_the_present_state_first,
        cw_28_a_subscriber_to_a_finished_task_gets_its_last_state_final,
        cw_28_an_unsubscribed_callback_gets_no_more_events,
        cw_28_a_task_without_any_callback_runs_to_its_end,
    ]
    sockets: [
        cw_15_dependent_calls_are_written_before_any_reply,
    ]
}

async fn cw_07_status_updates_reach_the_callback_without_a_poll(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collector = Collector::bare();
    let started = session.send_streaming("go", collector.clone());
    started.ready().await.unwrap();
    let before = world.counts().events;
    stage.turn().await.works().await;
    collector.has(2).await;
    assert_eq!(collector.states(), [TaskState::Submitted, TaskState::Working]);
    assert_eq!(world.counts().events, before + 1, "one event, one callback");
}

async fn cw_08_an_observer_that_fails_is_dropped_and_harms_nobody_else(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (failing, other) = (Collector::failing_at(2), Collector::bare());
    let started = session.send_streaming("go", failing.clone());
    let cue = stage.turn().await;
    let _other = started.task.subscribe(Cursor::After(0), other.clone());
    other.has(1).await;
    // The server learns of the failure at once, or with one of the next calls.
    let mut said = 0;
    until("the failed observer is dropped", || {
        said += 1;
        cue.says_at_once(&said.to_string());
        world.counts().feeds == 1
    })
    .await;
    cue.says("the last").await;
    cue.end();
    assert_eq!(other.end().await.reason, EndReason::Completed);
    assert_eq!((other.texts().len(), other.texts().pop()), (said + 1, Some("the last".to_owned())));
    assert!(!failing.texts().contains(&"the last".to_owned()), "no call after it was dropped");
    assert_eq!(started.task.get(None).await.unwrap().state(), TaskState::Completed);
    assert_eq!(world.server.net_counters().panics(), 0);
}

async fn cw_09_a_client_that_disconnects_leaves_no_observer_and_the_task_goes_on(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    until("the stream runs", || world.counts().feeds == 1).await;
    drop((session, started));
    until("the observer is gone", || world.counts().feeds == 0).await;
    assert_eq!(world.server.net_counters().sockets(), 0);
    let id = cue.turn.task_id.clone();
    cue.says("nobody hears this").await;
    cue.end();
    let again = world.session(ALICE).await;
    let collector = Collector::bare();
    let _held = again.task(&id).subscribe(Cursor::After(0), collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    assert_eq!(collector.texts(), ["nobody hears this"]);
}

async fn cw_09_a_task_tied_to_its_handle_is_canceled_with_the_connection(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming(SendCall::from("go").cancel_on_drop(), Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    drop((session, started));
    soon("the agent is told to stop", cue.turn.cancellation.cancelled()).await;
    let again = world.session(ALICE).await;
    let task = again.get_task(&GetTaskRequest::new(cue.turn.task_id.clone())).await.unwrap();
    assert_eq!(task.state(), TaskState::Canceled);
}

async fn cw_10_a_slow_observer_bounds_what_is_on_its_way_and_loses_nothing(wire: Wire) {
    const WINDOW: usize = 8 << 10;
    const EVENTS: usize = 2_000;
    let world = wire
        .world(|builder| {
            let limits = limits(|limits| limits.wire.stream_window_bytes = WINDOW);
            builder.agent(a2a_webcap::agents::Demo).limits(limits)
        })
        .await;
    let connection = world.connection().await;
    let session = connection.authenticate(ALICE);
    let features = Features { batches: false, ..Features::default() };
    let slow = Collector::gated(features);
    let started = session.send_streaming(format!("burst {EVENTS}"), slow.clone());
    until("the task is over", || world.counts().turns == 0 && world.counts().events > 2_000).await;
    // The task does not wait for its reader; what is on its way to the reader stays within the window.
    assert_eq!(started.task.get(Some(0)).await.unwrap().state(), TaskState::Completed);
    let held = connection.held_bytes();
    assert!(held > 0 && held <= 2 * WINDOW, "{held} bytes of a window of {WINDOW}");
    assert_eq!(world.counts().feeds, 1, "the stream waits at its cursor");
    slow.admit(EVENTS + 10);
    let end = slow.end().await;
    assert_eq!((end.reason, end.last_seq), (EndReason::Completed, EVENTS as u64 + 2));
    assert_eq!(slow.texts().len(), EVENTS);
}

async fn cw_15_dependent_calls_are_written_before_any_reply(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let proxy = Proxy::before(world.server.local_addr()).await;
    let connection = wire.connect(&proxy.url()).await;
    proxy.replies(Mode::Hold);
    let session = connection.authenticate(ALICE);
    let (own, other) = (Collector::new(), Collector::bare());
    let started = session.send_streaming("go", own.clone());
    let _subscription = started.task.subscribe(Cursor::After(0), other.clone());
    let task = started.task.get(None);
    // Not a byte has come back, and the server has done all of it.
    let cue = stage.turn().await;
    until("both streams run", || world.counts().feeds == 2).await;
    assert!(own.events().is_empty() && other.events().is_empty());
    proxy.replies(Mode::Pass);
    assert_eq!(task.await.unwrap().id, cue.turn.task_id);
    cue.end();
    assert_eq!(own.end().await.reason, EndReason::Completed);
    assert_eq!(other.end().await.reason, EndReason::Completed);
    assert_eq!(own.numbers(), other.numbers());
}

async fn cw_17_the_first_failure_of_a_chain_fails_every_call_that_depends_on_it(wire: Wire) {
    let world = wire.echo().await;
    let connection = world.connection().await;
    let session = connection.authenticate("nobody's key, but as long as any other");
    let collector = Collector::new();
    let started = session.send_streaming("go", collector.clone());
    let subscription = started.task.subscribe(Cursor::After(0), Collector::new());
    let (narrower, grant) = session.attenuate(&Default::default());
    let faults = [
        session.ready().await.unwrap_err(),
        started.ready().await.unwrap_err(),
        started.task.get(None).await.unwrap_err(),
        subscription.ready().await.unwrap_err(),
        narrower.who_am_i().await.unwrap_err(),
        grant.info().await.unwrap_err(),
        session.send("hello").await.unwrap_err(),
        session.task("any").cancel(None).await.unwrap_err(),
    ];
    let first = &faults[0];
    assert_eq!((first.kind(), first.kind().code()), (FaultKind::Unauthenticated, -31401));
    for fault in &faults {
        assert_eq!((fault.kind(), fault.message()), (first.kind(), first.message()));
    }
    assert!(collector.events().is_empty() && collector.ended().is_none());
    assert_eq!(world.counts().events, 0, "nothing was begun");
}

async fn cw_20_dropping_a_session_releases_what_both_sides_held_for_it(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let connection = world.connection().await;
    connection.info().await.unwrap();
    let before = connection.tables();
    let session = connection.authenticate(ALICE);
    let collector = Collector::new();
    let started = session.send_streaming("go", collector.clone());
    let cue = stage.turn().await;
    cue.works().await;
    let (narrower, grant) = session.attenuate(&Default::default());
    for ready in [session.ready(), started.ready(), narrower.ready()] {
        ready.await.unwrap();
    }
    let during = connection.tables();
    assert!(during.imports > before.imports && during.exports > before.exports, "{during:?}");
    cue.end();
    collector.end().await;
    drop((session, started, narrower, grant));
    until("both tables are as before", || connection.tables().is_within(before)).await;
    let authority = world.server.service().authority();
    until("the server holds no grant", || authority.counters() == Default::default()).await;
    assert_eq!(world.server.net_counters().sockets(), 1, "the connection stays");
}

async fn cw_21_a_hundred_cycles_of_connect_stream_and_drop_leave_nothing(wire: Wire) {
    let world = wire.demo().await;
    for round in 0..100 {
        let session = world.session(ALICE).await;
        let collector = Collector::new();
        let started = session.send_streaming("stream 3 0", collector.clone());
        match round % 4 {
            0 => drop(collector.end().await),
            1 => drop(collector.has(1).await),
            2 => drop(started.ready().await),
            // Dropped while nothing has been answered yet.
            _ => {}
        }
        drop((session, started));
    }
    world.forgets_everybody().await;
}

async fn cw_28_several_callbacks_all_get_every_event(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let collectors: Vec<Collector> = (0..5).map(|_| Collector::bare()).collect();
    let started = session.send_streaming("go", collectors[0].clone());
    let _held: Vec<_> = collectors[1..]
        .iter()
        .map(|collector| started.task.subscribe(Cursor::After(0), collector.clone()))
        .collect();
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("one").await;
    cue.end();
    for collector in &collectors {
        assert_eq!(collector.end().await.reason, EndReason::Completed);
        assert_eq!(collector.events(), collectors[0].events());
        assert_eq!(collector.numbers(), [1, 2, 3, 4]);
    }
}

async fn cw_28_a_late_subscriber_gets_the_present_state_first(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Collector::new());
    let cue = stage.turn().await;
    cue.works().await;
    cue.says("before").await;
    let late = Collector::new();
    let _late = started.task.subscribe(Cursor::Snapshot, late.clone());
    let first = late.has(1).await.remove(0);
    let StreamResponse::Task(snapshot) = &first.content else { panic!("no snapshot: {first:?}") };
    assert_eq!((snapshot.state(), first.seq, first.is_final), (TaskState::Working, 3, false));
    assert_eq!(snapshot.artifacts[0].text_content(), "before");
    cue.says("after").await;
    cue.end();
    late.end().await;
    assert_eq!(late.texts(), ["after"]);
}

async fn cw_28_a_subscriber_to_a_finished_task_gets_its_last_state_final(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let response = session.send("hello").await.unwrap();
    let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
    for (collector, count) in [(Collector::new(), 2), (Collector::bare(), 1)] {
        let _held = session.task(&task.id).subscribe(Cursor::Snapshot, collector.clone());
        let end = collector.end().await;
        assert_eq!((end.reason, end.last_seq), (EndReason::Completed, 4));
        let events = collector.events();
        let last = events.last().unwrap();
        assert_eq!((last.seq, last.is_final, last.state()), (4, true, Some(TaskState::Completed)));
        assert_eq!(events.len(), count);
    }
}

async fn cw_28_an_unsubscribed_callback_gets_no_more_events(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let (own, left) = (Collector::new(), Collector::new());
    let started = session.send_streaming("go", own.clone());
    let held = started.task.subscribe(Cursor::After(0), left.clone());
    let cue = stage.turn().await;
    cue.works().await;
    left.has(2).await;
    drop(held);
    let end = left.end().await;
    assert_eq!((end.reason, end.last_seq, end.fault), (EndReason::Detached, 2, None));
    cue.says("unheard").await;
    cue.end();
    own.end().await;
    assert!(left.texts().is_empty());
}

/// An observer with nothing of its own.
struct Silent;

impl Observer for Silent {}

async fn cw_28_a_task_without_any_callback_runs_to_its_end(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let started = session.send_streaming("go", Silent);
    let task = started.task.clone();
    started.ready().await.unwrap();
    drop(started);
    let cue = stage.turn().await;
    until("nobody listens", || world.counts().feeds == 0).await;
    cue.says("unheard").await;
    cue.end();
    until("the turn is over", || world.counts().turns == 0).await;
    assert_eq!(task.get(None).await.unwrap().state(), TaskState::Completed);
}

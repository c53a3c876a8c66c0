//! The client: it gets a lost line back, and its streams go on without gap or repeat.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::agents::Demo;
use a2a_webcap::client::{
    ClientBuilder, ClientNotice, Credentials, Cursor, GrantPolicy, RetryPolicy, SendCall, SessionPolicy,
    TaskRole, TaskStream,
};
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{CancelTaskRequest, EndReason, ListTasksRequest, StreamResponse, TaskState};
use a2a_webcap::store::{MemoryStore, Store};

use crate::doubles::Collector;
use crate::line::Line;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, soon, until};

on_wires! {
    sockets: [
        a_stream_goes_on_after_the_line_was_cut_without_gap_or_repeat,
        a_send_whose_answer_was_lost_is_sent_again_and_makes_one_task,
        without_credentials_a_send_whose_answer_was_lost_is_not_sent_again,
        a_waiting_send_survives_a_cut_line,
        a_sends_stream_ends_at_an_interruption_also_after_it_was_resumed,
        ak_w06_a_client_finds_a_restarted_server_on_its_port,
        a_client_gives_up_after_its_tries_and_comes_back_with_the_next_call,
        connecting_does_not_wait_for_the_credentials_to_be_accepted,
        a_stream_that_nobody_reads_loses_nothing_and_does_not_hold_up_the_client,
        dropping_a_stream_ends_it_at_the_server_and_leaves_the_task,
        a_finished_tasks_subscription_has_its_final_event,
        an_observer_sees_the_stream_and_its_end_across_a_cut,
        dropping_an_observation_ends_the_calls,
        an_observers_error_ends_its_stream_with_that_error,
        a_task_that_was_tied_to_its_stream_is_canceled_with_it_and_not_before,
        a_revoked_stream_ends_with_that_and_is_not_resumed,
        a_derived_client_has_less_authority_and_ends_with_its_grant_or_its_line,
        a_closed_client_leaves_nothing_behind_and_answers_so,
        a_dropped_client_leaves_no_connection,
    ]
}

/// A client of Alice's that does not wait long.
fn hasty(wire: Wire, url: String) -> ClientBuilder {
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(5)).jitter(0.0);
    wire.client(url).credentials(Credentials::api_key(ALICE)).retry(retry)
}

/// Every event of a stream, checked: numbers without gap or repeat, one final event at the end.
async fn all(mut stream: TaskStream) -> Vec<(u64, Option<TaskState>)> {
    let mut events = Vec::new();
    let mut is_final = false;
    while let Some(event) = soon("an event", stream.next()).await {
        let event = event.unwrap();
        assert!(!is_final, "the final event is the last");
        is_final = event.is_final;
        if !matches!(event.content, StreamResponse::Task(_)) {
            events.push((event.seq, event.state()));
        }
    }
    assert!(is_final, "a stream has a final event");
    let first = events.first().map_or(1, |(seq, _)| *seq);
    assert!(events.iter().map(|(seq, _)| *seq).eq(first..first + events.len() as u64), "{events:?}");
    events
}

/// The fault that a stream ends with.
async fn fault_of(stream: &mut TaskStream) -> Fault {
    loop {
        match soon("an error", stream.next()).await.expect("an error before the end") {
            Ok(_) => {}
            Err(fault) => return fault,
        }
    }
}

async fn a_stream_goes_on_after_the_line_was_cut_without_gap_or_repeat(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let builder = hasty(wire, line.url()).on_event(move |notice| heard.lock().unwrap().push(notice));
    let client = builder.connect().await.unwrap();

    let mut stream = client.stream("burst 5000");
    let mut numbers = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        let seq = event.unwrap().seq;
        if seq > 0 {
            numbers.push(seq);
        }
        if seq % 1_000 == 500 {
            line.cut();
        }
    }
    assert!(numbers.iter().copied().eq(1..=5_002), "{} events", numbers.len());
    assert!(line.connections() > 1, "it was cut");
    let notices = notices.lock().unwrap();
    let resumed = notices.iter().any(|notice| matches!(notice, ClientNotice::Resumed { .. }));
    assert!(resumed && matches!(notices[0], ClientNotice::Reconnecting { attempt: 1, .. }), "{notices:?}");
}

async fn a_send_whose_answer_was_lost_is_sent_again_and_makes_one_task(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let client = hasty(wire, line.url()).connect().await.unwrap();
    client.who_am_i().await.unwrap();

    line.mute(true);
    let stream = client.stream("stream 3 1ms");
    until("the server has the task", || world.counts().events >= 1).await;
    line.mute(false);
    line.cut();
    let events = all(stream).await;
    assert_eq!((events.len(), events.last().unwrap().1), (6, Some(TaskState::Completed)));
    assert_eq!(client.list(ListTasksRequest::default()).await.unwrap().total_size, 1);
}

async fn without_credentials_a_send_whose_answer_was_lost_is_not_sent_again(wire: Wire) {
    let world = wire.world(|builder| builder.agent(Demo).anonymous()).await;
    for immediately in [false, true] {
        let line = Line::to(world.server.local_addr()).await;
        let retry = RetryPolicy::default().first_wait(Duration::from_millis(5));
        let client = wire.client(line.url()).retry(retry).connect().await.unwrap();
        client.agent_card().await.unwrap();
        line.mute(true);
        let opened = world.counts().live_tasks;
        let call = SendCall::from("long");
        let call = if immediately { call.return_immediately() } else { call };
        let cutting = async {
            until("the server has the task", || world.counts().live_tasks > opened).await;
            line.mute(false);
            line.cut();
        };
        let (answer, ()) = soon("the answer", futures::future::join(client.send(call), cutting)).await;
        assert_eq!(answer.unwrap_err().kind(), FaultKind::Disconnected);
        client.agent_card().await.expect("the client comes back for other calls");
        assert_eq!(world.counts().live_tasks, opened + 1, "one task, and no second");
    }
}

async fn a_waiting_send_survives_a_cut_line(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let client = hasty(wire, line.url()).connect().await.unwrap();
    let sending = client.send("stream 10 10ms");
    let cutting = async {
        until("it works", || world.counts().events >= 4).await;
        line.cut();
    };
    let (answer, ()) = soon("the answer", futures::future::join(sending, cutting)).await;
    let task = answer.unwrap();
    let task = task.task().expect("a task");
    assert_eq!((task.state(), task.artifacts[0].parts.len()), (TaskState::Completed, 10));
    assert_eq!(line.connections(), 2);
}

async fn a_sends_stream_ends_at_an_interruption_also_after_it_was_resumed(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let line = Line::to(world.server.local_addr()).await;
    let client = hasty(wire, line.url()).connect().await.unwrap();
    let stream = client.stream("x");
    let cue = stage.turn().await;
    cue.works().await;
    line.cut();
    until("it is back", || line.connections() == 2).await;
    cue.updates.require_input("who?").await.unwrap();
    cue.end();
    assert_eq!(all(stream).await.last().unwrap().1, Some(TaskState::InputRequired));
}

async fn ak_w06_a_client_finds_a_restarted_server_on_its_port(wire: Wire) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(&Limits::default().engine));
    let start = |address: String| {
        let store = Arc::clone(&store);
        async move {
            let builder = Server::builder().agent(Demo).api_key("alice", ALICE).store(store);
            builder.listen(&address).workers(1).start().await.unwrap()
        }
    };
    let server = start("127.0.0.1:0".to_owned()).await;
    let address = server.local_addr();
    let patient = RetryPolicy::default().first_wait(Duration::from_millis(50)).tries(10);
    let client = hasty(wire, format!("http://{address}")).retry(patient).connect().await.unwrap();
    let mut stream = client.stream("long");
    while soon("it works", stream.next()).await.unwrap().unwrap().state() != Some(TaskState::Working) {}

    soon("the stop", server.stop()).await;
    let server = start(address.to_string()).await;
    let identity = soon("an answer", client.who_am_i()).await.unwrap();
    assert_eq!(identity.subject, "alice");
    // The stream found the server too, and goes on where it was: calling the task off ends it.
    let id = stream.task_id().unwrap().clone();
    let last = stream.last_seq().unwrap();
    soon("an answer", client.cancel(CancelTaskRequest::new(id))).await.unwrap();
    let rest = all(stream).await;
    assert_eq!((rest[0].0, rest.last().unwrap().1), (last + 1, Some(TaskState::Canceled)));
    drop(server);
}

async fn a_client_gives_up_after_its_tries_and_comes_back_with_the_next_call(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&attempts);
    let retry = RetryPolicy::default().first_wait(Duration::from_millis(5)).jitter(0.0).tries(3);
    let client = hasty(wire, line.url())
        .retry(retry)
        .on_event(move |notice| {
            if let ClientNotice::Reconnecting { attempt, wait, .. } = notice {
                heard.lock().unwrap().push((attempt, wait.as_millis()));
            }
        })
        .connect()
        .await
        .unwrap();
    client.who_am_i().await.unwrap();

    line.down(true);
    line.cut();
    let fault = soon("an answer", client.who_am_i()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Disconnected);
    assert_eq!(*attempts.lock().unwrap(), [(1, 5), (2, 10), (3, 20)]);
    line.down(false);
    assert_eq!(soon("an answer", client.who_am_i()).await.unwrap().subject, "alice");
}

async fn connecting_does_not_wait_for_the_credentials_to_be_accepted(wire: Wire) {
    let world = wire.demo().await;
    let client = world.client("a key that nobody here has ever heard of").await;
    for fault in [
        client.who_am_i().await.unwrap_err(),
        client.send("hello").await.unwrap_err(),
        fault_of(&mut client.stream("hello")).await,
        fault_of(&mut client.subscribe("some task", Cursor::Snapshot)).await,
    ] {
        assert_eq!(fault.kind(), FaultKind::Unauthenticated);
    }
}

async fn a_stream_that_nobody_reads_loses_nothing_and_does_not_hold_up_the_client(wire: Wire) {
    let world = wire.demo().await;
    let client = world.alice().await;
    let unread = client.stream("burst 20000");
    until("the task is finished", || world.counts().events >= 20_002).await;
    assert_eq!(all(client.stream("stream 3 0")).await.len(), 6, "the client goes on");
    assert_eq!(all(unread).await.len(), 20_002);
}

async fn dropping_a_stream_ends_it_at_the_server_and_leaves_the_task(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let client = world.alice().await;
    let mut stream = client.stream("x");
    let cue = stage.turn().await;
    soon("an event", stream.next()).await.unwrap().unwrap();
    let id = stream.task_id().unwrap().clone();
    drop(stream);
    until("the feed is gone", || world.counts().feeds == 0).await;
    cue.works().await;
    assert_eq!(client.task(id).get(None).await.unwrap().state(), TaskState::Working);
}

async fn a_finished_tasks_subscription_has_its_final_event(wire: Wire) {
    let world = wire.demo().await;
    let client = world.alice().await;
    let task = client.send("stream 3 0").await.unwrap();
    let id = task.task().unwrap().id.clone();
    assert_eq!(all(client.subscribe(id.clone(), Cursor::Snapshot)).await, [(6, Some(TaskState::Completed))]);
    assert_eq!(all(client.subscribe(id.clone(), Cursor::After(0))).await.len(), 6);
    assert!(soon("the end", client.subscribe(id, Cursor::After(6)).next()).await.is_none());
}

async fn an_observer_sees_the_stream_and_its_end_across_a_cut(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let client = hasty(wire, line.url()).connect().await.unwrap();
    let collector = Collector::new();
    let observing = client.send_observed("stream 20 5ms", collector.clone());
    collector.has(8).await;
    line.cut();
    let end = soon("the end", observing).await.unwrap();
    assert_eq!((end.reason, end.last_seq), (EndReason::Completed, 23));
    assert_eq!(collector.end().await, end);
    assert!(collector.numbers().into_iter().eq(1..=23));
}

async fn dropping_an_observation_ends_the_calls(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let client = world.alice().await;
    let collector = Collector::new();
    let observing = client.send_observed("x", collector.clone());
    let _cue = stage.turn().await;
    collector.has(1).await;
    drop(observing);
    until("the feed is gone", || world.counts().feeds == 0).await;
}

async fn an_observers_error_ends_its_stream_with_that_error(wire: Wire) {
    let world = wire.demo().await;
    let client = world.alice().await;
    let fault =
        soon("the end", client.send_observed("burst 100", Collector::failing_at(5))).await.unwrap_err();
    assert!(fault.message().contains("fails, as it was told to"), "{fault}");
    until("the feed is gone", || world.counts().feeds == 0).await;
}

async fn a_task_that_was_tied_to_its_stream_is_canceled_with_it_and_not_before(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let client = world.alice().await;
    let mut stream = client.stream(a2a_webcap::client::SendCall::from("x").cancel_on_drop());
    let cue = stage.turn().await;
    cue.works().await;
    soon("an event", stream.next()).await.unwrap().unwrap();
    let id = stream.task_id().unwrap().clone();
    assert_eq!(client.task(id.clone()).get(None).await.unwrap().state(), TaskState::Working);
    drop(stream);
    soon("the cancellation", cue.turn.cancellation.cancelled()).await;
    assert_eq!(client.task(id).get(None).await.unwrap().state(), TaskState::Canceled);
}

async fn a_revoked_stream_ends_with_that_and_is_not_resumed(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let (alice, bob) = (world.alice().await, world.client(crate::world::BOB).await);
    let mut stream = alice.stream("x");
    let cue = stage.turn().await;
    soon("an event", stream.next()).await.unwrap().unwrap();
    let task = alice.task(stream.task_id().unwrap().clone());
    let shared = task.share(TaskRole::Observe, GrantPolicy::default()).await.unwrap();
    let claimed = bob.claim(shared.secret.expose()).await.unwrap();
    let mut looking = claimed.subscribe(Cursor::After(0));
    cue.works().await;
    soon("an event", looking.next()).await.unwrap().unwrap();

    shared.grant.revoke().await.unwrap();
    assert_eq!(fault_of(&mut looking).await.kind(), FaultKind::Revoked);
    assert!(soon("the end", looking.next()).await.is_none());
    assert_eq!(claimed.get(None).await.unwrap_err().kind(), FaultKind::Revoked);
}

async fn a_derived_client_has_less_authority_and_ends_with_its_grant_or_its_line(wire: Wire) {
    let world = wire.demo().await;
    let line = Line::to(world.server.local_addr()).await;
    let client = hasty(wire, line.url()).connect().await.unwrap();
    let policy = SessionPolicy { read_only: true, ..SessionPolicy::default() };
    let (reader, grant) = client.attenuate(policy.clone()).await.unwrap();
    reader.list(ListTasksRequest::default()).await.unwrap();
    assert_eq!(reader.send("hello").await.unwrap_err().kind(), FaultKind::Forbidden);
    grant.revoke().await.unwrap();
    assert_eq!(reader.list(ListTasksRequest::default()).await.unwrap_err().kind(), FaultKind::Revoked);

    let (reader, _grant) = client.attenuate(policy).await.unwrap();
    line.cut();
    let lost = soon("an answer", reader.list(ListTasksRequest::default())).await.unwrap_err();
    assert_eq!(lost.kind(), FaultKind::Disconnected);
    soon("an answer", client.list(ListTasksRequest::default())).await.unwrap();
}

async fn a_closed_client_leaves_nothing_behind_and_answers_so(wire: Wire) {
    let world = wire.demo().await;
    let client = world.alice().await;
    let clone = client.clone();
    client.send("hello").await.unwrap();
    let waiting = clone.stream("long");
    client.close().await;
    assert_eq!(clone.who_am_i().await.unwrap_err().kind(), FaultKind::Disconnected);
    let mut waiting = waiting;
    assert_eq!(fault_of(&mut waiting).await.kind(), FaultKind::Disconnected);
    until("the socket is closed", || world.server.net_counters().sockets() == 0).await;
}

async fn a_dropped_client_leaves_no_connection(wire: Wire) {
    let world = wire.demo().await;
    let client = world.alice().await;
    client.send("hello").await.unwrap();
    drop(client);
    world.forgets_everybody().await;
}

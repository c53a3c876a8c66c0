//! Large messages: carried whole up to the bound, refused by name beyond it.

use a2a_webcap::agents::Echo;
use a2a_webcap::client::{Client, Credentials, RetryPolicy, SendCall};
use a2a_webcap::fault::FaultKind;
use a2a_webcap::limits::Limits;
use a2a_webcap::model::{
    EndReason, GetTaskRequest, SendMessageConfiguration, SendMessageRequest, SendMessageResponse,
};

use crate::doubles::Collector;
use crate::hostile_bench::settles;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, World, soon, until};

on_wires! {
    every: [
        ak_w08_one_and_ten_megabytes_are_echoed,
    ]
    sockets: [
        an_answer_above_the_limit_is_a_fault_and_the_connection_lives,
    ]
}

const MB: usize = 1_000_000;

async fn world() -> World {
    let mut limits = Limits::default();
    limits.engine.memory_finished_tasks = 4;
    World::of(|builder| builder.agent(Echo).limits(limits)).await
}

/// A text that compresses to nothing else: each place has its own letter.
fn text(bytes: usize) -> String {
    (0..bytes).map(|index| char::from(b'a' + u8::try_from((index * 7 + index / 26) % 26).unwrap())).collect()
}

/// A send that wants no history back.
fn call(bytes: usize) -> SendCall {
    let mut request = SendMessageRequest::text(text(bytes));
    request.configuration =
        Some(SendMessageConfiguration { history_length: Some(0), ..SendMessageConfiguration::default() });
    request.into()
}

async fn ak_w08_one_and_ten_megabytes_are_echoed(wire: Wire) {
    let world = world().await.over(wire);
    let session = world.session(ALICE).await;
    for bytes in [MB, 10 * MB] {
        let collector = Collector::new();
        let _started = session.send_streaming(call(bytes), collector.clone());
        assert_eq!(collector.end().await.reason, EndReason::Completed);
        let echoed = collector.texts().concat();
        assert!(echoed == format!("Echo: {}", text(bytes)), "{} bytes came back", echoed.len());
        // And in one answer.
        let SendMessageResponse::Task(task) = soon("an answer", session.send(call(bytes))).await.unwrap()
        else {
            panic!("echo opens tasks")
        };
        assert!(*task.artifacts[0].text_content() == *format!("Echo: {}", text(bytes)));
    }
    assert_eq!(world.server.net_counters().accepted(), 1);
    drop(session);
    settles(&world.server).await;
}

#[tokio::test]
async fn ak_w08_a_message_above_the_limit_is_refused_by_name_at_the_client() {
    let world = world().await;
    let other = world.alice().await;
    let client = Client::builder(world.url()).credentials(Credentials::api_key(ALICE));
    let client = client.retry(RetryPolicy::never()).connect().await.unwrap();
    client.who_am_i().await.unwrap();
    let fault = soon("an answer", client.send(call(17 * MB))).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidRequest, "{fault:?}");
    assert!(fault.message().contains("16777216 bytes"), "{fault}");
    let closes = || world.server.net_counters().closes();
    until("the server closes", || closes().get("too_big") == Some(&1)).await;
    soon("an answer", other.who_am_i()).await.expect("others are not affected");
    drop((client, other));
    settles(&world.server).await;
}

async fn an_answer_above_the_limit_is_a_fault_and_the_connection_lives(wire: Wire) {
    let world = world().await.over(wire);
    let client = wire.client(world.url()).credentials(Credentials::api_key(ALICE));
    let client = client.retry(RetryPolicy::never()).connect().await.unwrap();
    let SendMessageResponse::Task(task) = soon("an answer", client.send(call(9 * MB))).await.unwrap() else {
        panic!("echo opens tasks")
    };
    // Message and artifact: more than one message may carry.
    let whole = soon("an answer", client.get_task(GetTaskRequest::new(task.id.clone()))).await;
    let fault = whole.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Quota, "{fault:?}");
    let less = GetTaskRequest { history_length: Some(0), ..GetTaskRequest::new(task.id) };
    let task = soon("an answer", client.get_task(less)).await.expect("asking for less helps");
    assert_eq!(task.artifacts[0].text_content().len(), 9 * MB + 6);
    assert_eq!(world.server.net_counters().accepted(), 1);
    drop(client);
    settles(&world.server).await;
}

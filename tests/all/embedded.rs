//! The operations without a socket: what a program that embeds the server calls, and what later bindings stand on.

use std::sync::{Arc, Mutex};

use a2a_webcap::agents::Echo;
use a2a_webcap::auth::Credentials;
use a2a_webcap::client;
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{SendMessageRequest, ServiceParameters, SubscribeToTaskRequest, TaskState};
use a2a_webcap::operations::{Caller, EventStream, Service as _, StreamItem};
use a2a_webcap::server::Builder;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::doubles::Puppet;
use crate::party::{Wire, on_wires};
use crate::world::{ALICE, World, soon};

on_wires! {
    sockets: [
        ad_28_a_server_without_a_socket_is_the_same_to_a_client_that_loses_its_line,
    ]
}

async fn alice(world: &World) -> Caller {
    let grant = world.server.service().authenticate(&Credentials::api_key(ALICE), None).await.unwrap();
    Caller { grant, parameters: ServiceParameters::new() }
}

/// What a stream brings, in short: `task@0`, `1`, `2`, … and `!` behind the final one.
async fn read(stream: &mut dyn EventStream) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = soon("an item", stream.next()).await {
        items.push(match item.unwrap() {
            StreamItem::Snapshot { seq, .. } => format!("task@{seq}"),
            StreamItem::Event { event, is_final } => {
                format!("{}{}", event.seq, if is_final { "!" } else { "" })
            }
            StreamItem::Message(message) => message.text().into_owned(),
        });
    }
    items
}

async fn ad_28_a_server_without_a_socket_is_the_same_to_a_client_that_loses_its_line(wire: Wire) {
    let (world, mut stage) = World::puppet_of(Puppet::default(), Builder::without_socket).await;
    assert_eq!(world.server.local_addr().port(), 0, "it listens nowhere");
    let (door, lines) = (world.server.door().clone(), Arc::new(Mutex::new(Vec::new())));
    let held = Arc::clone(&lines);
    // A line that the test can cut, as a proxy would be one.
    let dial = move || {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut pipe = door.connect()?;
        let relay = async move { tokio::io::copy_bidirectional(&mut far, &mut pipe).await };
        held.lock().unwrap().push(tokio::spawn(relay));
        Ok(near)
    };
    let client = wire.client("http://localhost").credentials(client::Credentials::api_key(ALICE)).over(dial);
    let client = client.connect().await.unwrap();
    let mut stream = client.stream("go");
    let cue = stage.turn().await;
    cue.works().await;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&2) {
        numbers.push(soon("an event", stream.next()).await.unwrap().unwrap().seq);
    }
    let line = lines.lock().unwrap().remove(0);
    line.abort();
    assert!(line.await.unwrap_err().is_cancelled());
    cue.says("behind the cut").await;
    cue.end();
    while let Some(event) = soon("an event", stream.next()).await {
        numbers.push(event.unwrap().seq);
    }
    numbers.retain(|seq| *seq > 0);
    assert_eq!((numbers, lines.lock().unwrap().len()), (vec![1, 2, 3, 4], 1));
}

#[tokio::test]
async fn a_server_without_a_socket_answers_requests_and_bounds_them() {
    let world = World::of(|builder| builder.agent(Echo).without_socket()).await;
    let ask = async |host: &str| {
        let mut pipe = world.server.door().connect().unwrap();
        let request =
            format!("GET /.well-known/agent-card.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        pipe.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("an answer", pipe.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let card = ask("localhost").await;
    assert!(card.starts_with("HTTP/1.1 200 ") && card.contains("\"name\":\"Echo"), "{card}");
    assert!(ask("evil.example").await.starts_with("HTTP/1.1 421 "));
    let door = world.server.door().clone();
    world.server.stop().await;
    assert_eq!(door.connect().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_stream_without_a_socket_begins_with_the_task_and_ends_with_the_final_event() {
    let world = World::echo().await;
    let caller = alice(&world).await;
    let service = world.server.service();
    let mut stream = service.send_streaming_message(&caller, SendMessageRequest::text("hi")).await.unwrap();
    assert_eq!(read(&mut *stream).await, ["task@0", "1", "2", "3", "4!"]);
    let world = World::demo().await;
    let (caller, service) = (alice(&world).await, world.server.service());
    let mut reply =
        service.send_streaming_message(&caller, SendMessageRequest::text("message hi")).await.unwrap();
    assert_eq!(read(&mut *reply).await, ["hi"]);
}

#[tokio::test]
async fn a_subscription_without_a_socket_begins_with_a_snapshot_and_refuses_a_finished_task() {
    let (world, mut stage) = World::puppet().await;
    let (caller, service) = (alice(&world).await, world.server.service());
    let mut sent = service.send_streaming_message(&caller, SendMessageRequest::text("go")).await.unwrap();
    let Some(Ok(StreamItem::Snapshot { task, .. })) = sent.next().await else { panic!("no task") };
    assert_eq!(task.state(), TaskState::Submitted);
    let cue = stage.turn().await;
    cue.works().await;
    let request = SubscribeToTaskRequest::new(task.id.clone());
    let mut stream = service.subscribe_to_task(&caller, request.clone()).await.unwrap();
    cue.end();
    assert_eq!(read(&mut *stream).await, ["task@2", "3!"]);
    let fault = service.subscribe_to_task(&caller, request).await.err().expect("it is finished");
    assert_eq!(fault.kind(), FaultKind::UnsupportedOperation);
}

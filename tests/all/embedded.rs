//! The operations without a socket: what a program that embeds the server calls, and what later bindings stand on.

use a2a_webcap::auth::Credentials;
use a2a_webcap::fault::FaultKind;
use a2a_webcap::model::{SendMessageRequest, ServiceParameters, SubscribeToTaskRequest, TaskState};
use a2a_webcap::operations::{Caller, EventStream, Service as _, StreamItem};

use crate::world::{ALICE, World, soon};

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

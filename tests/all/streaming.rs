//! A task streams into the caller's own object.

use a2a_webcap::client::TaskEvent;
use a2a_webcap::model::TaskState;

use crate::world::{World, soon};

#[tokio::test]
async fn a_send_streams_its_events_in_order_and_ends_with_one_final() {
    let world = World::demo().await;
    let client = world.alice().await;
    let mut stream = client.stream("stream 5 1ms");
    let mut events: Vec<TaskEvent> = Vec::new();
    while let Some(event) = soon("an event", stream.next()).await {
        events.push(event.unwrap());
    }
    let numbers: Vec<u64> = events.iter().filter(|event| event.seq > 0).map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.iter().filter(|event| event.is_final).count(), 1);
    let last = events.last().unwrap();
    assert!(last.is_final);
    assert_eq!(last.state(), Some(TaskState::Completed));
}

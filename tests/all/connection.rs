//! Many connections.

use futures::future::join_all;

use crate::world::{World, soon};

#[tokio::test]
async fn ak_w09_a_hundred_clients_each_get_their_own_reply() {
    let world = World::echo().await;
    for clients in [10, 100] {
        let ask = async |number: usize| {
            let client = world.alice().await;
            let mut stream = client.stream(format!("number {number}"));
            let mut text = String::new();
            while let Some(event) = soon("an event", stream.next()).await {
                text.extend(event.unwrap().artifact_text().as_deref());
            }
            text
        };
        let answers = join_all((0..clients).map(ask)).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, format!("Echo: number {number}"));
        }
    }
}

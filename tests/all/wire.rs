//! One WebSocket, used as it is meant to be.

use std::cell::RefCell;
use std::rc::Rc;

use a2a_webcap::client::{At, Cursor, Observer};
use a2a_webcap::fault::Result;
use a2a_webcap::model::{
    EndReason, GetTaskRequest, Message, Part, PartContent, Role, SendMessageResponse, TaskState,
    TaskStatusUpdateEvent,
};
use futures::FutureExt as _;
use serde_json::json;

use crate::doubles::Collector;
use crate::party::{Session, Wire, on_wires};
use crate::world::{ALICE, soon, until};

on_wires! {
    every: [
        ak_w02_a_unary_message_is_echoed,
        ak_w03_the_server_calls_the_client_while_the_clients_own_call_is_outstanding,
        ak_w05_events_stream_from_the_server_in_order,
        ak_w10_metadata_and_unicode_come_back_as_they_were_sent,
        ak_w11_ten_messages_on_one_connection_cost_one_accept,
    ]
}

async fn ak_w02_a_unary_message_is_echoed(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let response = session.send("over one socket").await.unwrap();
    let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
    assert_eq!(task.artifacts[0].text_content(), "Echo: over one socket");
}

/// An observer that asks the server something in the midst of its call, and answers only then.
struct Asking {
    session: Session,
    told: Rc<RefCell<Vec<(u64, TaskState)>>>,
}

impl Observer for Asking {
    async fn on_status_update(&mut self, update: TaskStatusUpdateEvent, at: At) -> Result<()> {
        let task = self.session.get_task(&GetTaskRequest::new(update.task_id)).await?;
        assert!(!task.is_finished() || at.is_final);
        self.told.borrow_mut().push((at.seq, update.status.state));
        Ok(())
    }
}

async fn ak_w03_the_server_calls_the_client_while_the_clients_own_call_is_outstanding(wire: Wire) {
    let (world, mut stage) = wire.puppet().await;
    let session = world.session(ALICE).await;
    let mut waiting = session.send("go");
    let cue = stage.turn().await;
    let asking = Asking { session: session.clone(), told: Rc::default() };
    let told = Rc::clone(&asking.told);
    let held = session.task(&cue.turn.task_id).subscribe(Cursor::After(0), asking);
    held.ready().await.unwrap();
    cue.works().await;
    until("the callback ran to its end", || told.borrow().len() == 2).await;
    assert!(world.counts().turns == 1 && (&mut waiting).now_or_never().is_none(), "the send is unanswered");
    cue.end();
    soon("the send is answered", waiting).await.unwrap();
    until("the last callback ran to its end", || told.borrow().len() == 3).await;
    let [submitted, working, completed] = [TaskState::Submitted, TaskState::Working, TaskState::Completed];
    assert_eq!(*told.borrow(), [(1, submitted), (2, working), (3, completed)]);
}

async fn ak_w05_events_stream_from_the_server_in_order(wire: Wire) {
    let world = wire.demo().await;
    let session = world.session(ALICE).await;
    let collector = Collector::new();
    let _started = session.send_streaming("stream 300 0", collector.clone());
    assert_eq!(collector.end().await.reason, EndReason::Completed);
    let expected: Vec<String> = (1..=300).map(|n| format!("chunk {n} of 300\n")).collect();
    assert_eq!(collector.texts(), expected);
    assert_eq!(collector.numbers(), (1..=303).collect::<Vec<_>>());
}

async fn ak_w10_metadata_and_unicode_come_back_as_they_were_sent(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    let text = "Hello 世界 🌍 Привет مرحبا";
    let metadata =
        json!({"n": 1, "x": 0.1, "on": true, "none": null, "list": ["a", 2], "in": {"深": {"e": "🌍"}}});
    let metadata = metadata.as_object().unwrap().clone();
    let message = Message {
        metadata: Some(metadata.clone()),
        ..Message::new(Role::User, vec![Part::text(text), Part::data(json!({"ключ": [1, "مرحبا"]}))])
    };
    let response = session.send(message).await.unwrap();
    let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
    let artifact = &task.artifacts[0];
    assert_eq!(artifact.parts[0].as_text(), Some(format!("Echo: {text}").as_str()));
    assert_eq!(artifact.parts[1].content, PartContent::Data(json!({"ключ": [1, "مرحبا"]})));
    assert_eq!(artifact.metadata, Some(metadata.clone()));
    assert_eq!(task.history[0].metadata, Some(metadata));
}

async fn ak_w11_ten_messages_on_one_connection_cost_one_accept(wire: Wire) {
    let world = wire.echo().await;
    let session = world.session(ALICE).await;
    for n in 0..10 {
        let response = session.send(format!("number {n}")).await.unwrap();
        let SendMessageResponse::Task(task) = response else { panic!("{response:?}") };
        assert_eq!(task.artifacts[0].text_content(), format!("Echo: number {n}"));
    }
    assert_eq!(world.server.net_counters().accepted(), 1);
}

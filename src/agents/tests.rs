//! The built-in agents, through the engine. Time is paused.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{NAMES, by_name};
use crate::engine::{Engine, FeedKind, Owner, Scope, Sent, Start, Submission, TaskTicket};
use crate::limits::EngineLimits;
use crate::model::{Event, Message, Part, Role, Task, TaskState, Update};
use crate::store::MemoryStore;

struct World {
    engine: Engine,
    scope: Scope,
}

fn world(agent: &str) -> World {
    world_on(Arc::new(MemoryStore::new(&EngineLimits::default())), agent)
}

fn world_on(store: Arc<MemoryStore>, agent: &str) -> World {
    let builder = Engine::builder(store).agent(agent, by_name(agent).unwrap());
    let engine = builder.runtime(tokio::runtime::Handle::current()).start().unwrap();
    let owner = Owner { key: "ann".into(), anonymous: false };
    World { engine, scope: Scope { agent: agent.into(), owner } }
}

impl World {
    async fn send(&self, message: Message) -> Sent {
        let submission = Submission {
            scope: self.scope.clone(),
            request: message.into(),
            subject: "ann".into(),
            parameters: Arc::default(),
            turn_timeout: None,
        };
        self.engine.send(submission).await.unwrap()
    }

    async fn open(&self, message: Message) -> TaskTicket {
        match self.send(message).await {
            Sent::Task(ticket) => ticket,
            Sent::Message(message) => panic!("expected a task, got {message:?}"),
        }
    }

    async fn settle(&self, message: Message) -> Arc<Task> {
        let ticket = self.open(message).await;
        self.engine.settled(&self.scope, &ticket).await.unwrap()
    }

    async fn events(&self, text: &str) -> Vec<Arc<Event>> {
        let ticket = self.open(Message::user(text)).await;
        let feed = self.engine.feed(&self.scope, &ticket.task_id, Start::After(0), FeedKind::Send).await;
        let (mut feed, mut events) = (feed.unwrap(), Vec::new());
        while let Some(event) = feed.next().await.unwrap() {
            events.push(event);
        }
        events
    }
}

#[test]
fn every_name_has_its_agent_and_a_card_with_skills() {
    for name in NAMES {
        assert!(!by_name(name).unwrap().card().skills.is_empty(), "{name}");
    }
    assert!(by_name("nobody").is_none());
}

#[tokio::test(start_paused = true)]
async fn echo_says_what_it_hears() {
    let world = world("echo");
    for (said, heard) in [("hello", "Echo: hello"), ("", "Echo: "), ("a\nb €", "Echo: a\nb €")] {
        let task = world.settle(Message::user(said)).await;
        assert_eq!(task.state(), TaskState::Completed);
        assert_eq!(task.artifacts.len(), 1);
        assert_eq!(task.artifacts[0].text_content(), heard);
    }
}

#[tokio::test(start_paused = true)]
async fn echo_leaves_parts_and_metadata_unharmed() {
    let raw = Part { filename: Some("x.png".to_owned()), ..Part::raw(vec![0, 255, 7], "image/png") };
    let data = Part { metadata: json!({"k": [1, null]}).as_object().cloned(), ..Part::data(json!(null)) };
    let url = Part::url("https://example.org/a b", "text/html");
    let mut message = Message::new(Role::User, vec![raw.clone(), data.clone(), url.clone()]);
    message.metadata = json!({"deep": {"er": 1.5}}).as_object().cloned();
    let task = world("echo").settle(message.clone()).await;
    assert_eq!(task.artifacts[0].parts, [Part::text("Echo: "), raw, data, url]);
    assert_eq!(task.artifacts[0].metadata, message.metadata);
}

#[tokio::test(start_paused = true)]
async fn demo_streams_as_many_chunks_as_asked_at_the_pace_asked() {
    let began = tokio::time::Instant::now();
    let events = world("demo").events("stream 20 50ms").await;
    assert_eq!(began.elapsed(), Duration::from_millis(19 * 50));
    let chunks: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.update {
            Update::Artifact(update) => Some((update.append, update.last_chunk)),
            Update::Status(_) => None,
        })
        .collect();
    let expected: Vec<_> = (1..=20).map(|n| (n > 1, n == 20)).collect();
    assert_eq!(chunks, expected);
    assert_eq!(events.len(), 23);
}

#[tokio::test(start_paused = true)]
async fn demo_asks_and_answers_with_what_it_got() {
    let world = world("demo");
    let task = world.settle(Message::user("ask")).await;
    assert_eq!(task.state(), TaskState::InputRequired);
    let task = world.settle(Message::user("Ann").in_task(task.id.clone())).await;
    assert_eq!(task.state(), TaskState::Completed);
    assert_eq!(task.artifact("answer").unwrap().text_content(), "You said: Ann");
}

#[tokio::test(start_paused = true)]
async fn demo_fails_rejects_and_replies() {
    let world = world("demo");
    for (said, state, reason) in [
        ("fail no paper", TaskState::Failed, "no paper"),
        ("reject", TaskState::Rejected, "I would rather not."),
        ("stream 0", TaskState::Failed, "expected a count from 1 to 10000000"),
    ] {
        let task = world.settle(Message::user(said)).await;
        assert_eq!(task.state(), state);
        assert_eq!(task.status.message.as_ref().unwrap().text(), reason);
    }
    let Sent::Message(message) = world.send(Message::user("message hi there")).await else {
        panic!("expected a message");
    };
    assert_eq!((message.text().as_ref(), message.role), ("hi there", Role::Agent));
    assert_eq!(message.task_id, None);
}

#[tokio::test(start_paused = true)]
async fn demo_works_until_it_is_canceled_and_hears_what_is_said() {
    let world = world("demo");
    let ticket = world.open(Message::user("long")).await;
    world.send(Message::user("psst").in_task(ticket.task_id.clone())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let task = world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(task.state(), TaskState::Canceled);
    let said: Vec<_> = task.history.iter().map(|message| message.text().into_owned()).collect();
    assert!(said.contains(&"I heard you: psst".to_owned()), "{said:?}");
    while world.engine.counts().turns > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.engine.counts().live_tasks, 0);
}

#[tokio::test(start_paused = true)]
async fn demo_bursts_and_talks() {
    let world = world("demo");
    assert_eq!(world.events("burst 5000").await.len(), 5_002);
    let task = world.settle(Message::user("good morning")).await;
    assert!(task.artifacts[0].text_content().starts_with("Hello! You said: good morning. "));
}

#[tokio::test(start_paused = true)]
async fn demo_goes_on_after_a_restart_as_if_nothing_had_happened() {
    for (said, artifact, until) in
        [("stream 20 50ms", "stream", 500), ("burst 5000", "burst", 0), ("hello", "answer", 0)]
    {
        let whole = world("demo").settle(Message::user(said)).await;
        let store = Arc::new(MemoryStore::new(&EngineLimits::default()));
        let world = world_on(Arc::clone(&store), "demo");
        let ticket = world.open(Message::user(said)).await;
        tokio::time::sleep(Duration::from_millis(until)).await;
        world.engine.stop(Duration::ZERO).await;
        let world = world_on(store, "demo");
        let recovered = world.engine.recover().await.unwrap();
        if until > 0 {
            assert_eq!(recovered.resumed, 1, "{said}");
        }
        let task = world.engine.settled(&world.scope, &ticket).await.unwrap();
        assert_eq!(task.state(), TaskState::Completed);
        let texts = [&task, &whole].map(|task| task.artifact(artifact).unwrap().text_content());
        assert_eq!(texts[0], texts[1], "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn demo_does_not_answer_twice_what_it_has_heard_before_a_restart() {
    let store = Arc::new(MemoryStore::new(&EngineLimits::default()));
    let first = world_on(Arc::clone(&store), "demo");
    let ticket = first.open(Message::user("long")).await;
    first.send(Message::user("psst").in_task(ticket.task_id.clone())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.engine.stop(Duration::ZERO).await;
    let world = world_on(store, "demo");
    assert_eq!(world.engine.recover().await.unwrap().resumed, 1);
    world.send(Message::user("hey").in_task(ticket.task_id.clone())).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let task = world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    let said = task.history.iter().map(|message| message.text().into_owned());
    let heard: Vec<_> = said.filter(|text| text.starts_with("I heard")).collect();
    assert_eq!(heard, ["I heard you: psst", "I heard you: hey"]);
}

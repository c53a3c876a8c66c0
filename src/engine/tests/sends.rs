//! What a send comes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::world::*;
use crate::agent::{Turn, Updates};
use crate::engine::{Sent, trimmed};
use crate::fault::FaultKind;
use crate::limits::EngineLimits;
use crate::model::{ListTasksRequest, Message, TaskState};

#[tokio::test(start_paused = true)]
async fn a_client_may_choose_its_conversation_but_not_change_it() {
    let world = world(asking());
    let ticket = world.send(Message::user("go").in_context("mine")).await.unwrap().task();
    assert_eq!(&*ticket.context_id, "mine");
    world.settled(&ticket).await;
    let fault = world.send(in_task("that", &ticket).in_context("other")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidParams);
    assert_eq!(fault.violations()[0].field, "message.contextId");
    let second = world.send(in_task("that", &ticket)).await.unwrap().task();
    assert_eq!((second.task_id, second.context_id), (ticket.task_id, ticket.context_id));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_in_a_second_turn() {
    let world = world(asking());
    let ticket = world.open("go").await;
    assert_eq!(world.settled(&ticket).await.state(), TaskState::InputRequired);
    world.at_rest().await;
    let second = world.send(in_task("that one", &ticket)).await.unwrap().task();
    let task = world.settled(&second).await;
    assert_eq!(task.state(), TaskState::Completed);
    assert_eq!(task.artifact("answer").unwrap().text_content(), "that one");
    let said: Vec<_> = task.history.iter().map(|message| message.text().into_owned()).collect();
    assert_eq!(said, ["go", "which?", "that one"]);
    for message in &task.history {
        assert_eq!((&message.task_id, &message.context_id), (&Some(task.id.clone()), &task.context_id));
    }
    assert_eq!(trimmed(&task, Some(1)).history.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_finished_task_takes_no_message() {
    let world = world(done());
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let fault = world.send(in_task("more", &ticket)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::UnsupportedOperation);
    world.at_rest().await;
    let fault = world.send(in_task("more", &ticket)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::UnsupportedOperation);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_a_working_task_is_refused_unless_the_agent_reads_its_inbox() {
    let world = world(endless());
    let ticket = world.open("go").await;
    let fault = world.send(in_task("more", &ticket)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::UnsupportedOperation);
    assert_eq!(world.get(&ticket).await.history.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_a_working_task_reaches_the_inbox_in_the_same_turn() {
    let script = Script::new(|mut turn: Turn, updates: Updates| async move {
        let message = turn.inbox.next().await.unwrap();
        updates.text("heard", message.text()).await?;
        Ok(())
    });
    let world = world(script.reading_inbox());
    let ticket = world.open("go").await;
    let second = world.send(in_task("psst", &ticket)).await.unwrap().task();
    assert_eq!(second.after, 1);
    let task = world.settled(&second).await;
    assert_eq!(task.artifact("heard").unwrap().text_content(), "psst");
    let events = world.all_events(&ticket).await;
    assert_eq!(states(&events), [TaskState::Submitted, TaskState::Working, TaskState::Completed]);
    assert_eq!(events[1].cause.as_ref().unwrap().message.text(), "psst");
    assert_eq!(world.at_rest().await.inbox_messages, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_is_refused() {
    let limits = EngineLimits { inbox: 2, ..EngineLimits::default() };
    let world = world_with(endless().reading_inbox(), limits);
    let ticket = world.open("go").await;
    for _ in 0..2 {
        world.send(in_task("more", &ticket)).await.unwrap();
    }
    let fault = world.send(in_task("more", &ticket)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Overloaded);
    assert_eq!(world.get(&ticket).await.history.len(), 3);
}

fn counted() -> (Script, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let script = Script::new(move |_, updates: Updates| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(updates.reply(Message::agent("hello")).await?)
        }
    });
    (script, runs)
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_gets_the_same_task_and_runs_once() {
    let (script, runs) = counted();
    let world = world(script);
    let message = Message::user("go");
    let first = world.send(message.clone()).await.unwrap();
    assert_eq!(world.send(message.clone()).await.unwrap(), first);
    world.settled(&first.clone().task()).await;
    world.at_rest().await;
    assert_eq!(world.send(message.clone()).await.unwrap(), first);
    let mut other = message;
    other.parts.push(crate::model::Part::text("more"));
    assert_eq!(world.send(other).await.unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn equal_sends_that_race_get_the_same_plain_message() {
    let (script, runs) = counted();
    let world = world(script.replying());
    let message = Message::user("go");
    let other = Message { parts: vec![crate::model::Part::text("no")], ..message.clone() };
    let (one, two, conflict) =
        tokio::join!(world.send(message.clone()), world.send(message.clone()), world.send(other));
    assert_eq!(one, two);
    assert_eq!(conflict.unwrap_err().kind(), FaultKind::Conflict);
    assert!(matches!(one.as_ref().unwrap(), Sent::Message(message) if message.text() == "hello"));
    assert_eq!(world.send(message).await, one);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    world.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn another_owner_and_an_anonymous_one_do_not_share_message_ids() {
    let (script, runs) = counted();
    let world = world(script);
    let message = Message::user("go");
    world.send(message.clone()).await.unwrap();
    world.seen_by("bob").send(message.clone()).await.unwrap();
    let mut nobody = world.seen_by("nobody");
    nobody.scope.owner.anonymous = true;
    let first = nobody.send(message.clone()).await.unwrap();
    assert_ne!(nobody.send(message).await.unwrap(), first);
    tokio::task::yield_now().await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_take_its_message_back() {
    let (script, runs) = counted();
    let world = world(script.replying());
    let message = Message::user("go");
    let given_up = tokio::time::timeout(Duration::from_millis(10), world.send(message.clone())).await;
    assert!(given_up.is_err());
    assert!(matches!(world.send(message).await, Ok(Sent::Message(_))));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_may_reply_opens_the_task_with_its_first_update() {
    let world = world(streaming(2).replying());
    let ticket = world.open("go").await;
    let events = world.all_events(&ticket).await;
    assert_eq!(seqs(&events), [1, 2, 3, 4]);
    assert_eq!(events[0].cause.as_ref().unwrap().message.text(), "go");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_returns_immediately_opens_the_task_and_a_reply_completes_it() {
    let (script, _) = counted();
    let world = world(script.replying());
    let ticket = world.send_at_once(Message::user("go")).await.unwrap().task();
    assert_eq!(world.get(&ticket).await.state(), TaskState::Submitted);
    let task = world.settled(&ticket).await;
    assert_eq!(task.state(), TaskState::Completed);
    assert_eq!(task.status.message.as_ref().unwrap().text(), "hello");
}

#[tokio::test(start_paused = true)]
async fn lists_are_of_the_owner_newest_first_and_page_without_repeats() {
    let world = world(asking());
    let mut opened = Vec::new();
    for _ in 0..7 {
        let ticket = world.open("go").await;
        world.settled(&ticket).await;
        opened.push(ticket.task_id);
    }
    let theirs = world.seen_by("bob");
    theirs.open("go").await;
    let mut request = ListTasksRequest { page_size: Some(3), ..ListTasksRequest::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.engine.list(&world.scope, &request).await.unwrap();
        assert_eq!((page.total_size, page.page_size), (7, 3));
        seen.extend(page.tasks.into_iter().map(|task| task.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = Some(page.next_page_token);
    }
    // All have the same time, so the order is that of the ids, which sort by when they were made.
    opened.sort();
    opened.reverse();
    assert_eq!(seen, opened);
    let wrong = ListTasksRequest { page_token: Some("nonsense".into()), ..ListTasksRequest::default() };
    let fault = world.engine.list(&world.scope, &wrong).await.unwrap_err();
    assert_eq!(fault.violations()[0].field, "pageToken");
    let by_state = ListTasksRequest { status: Some(TaskState::Completed), ..ListTasksRequest::default() };
    assert_eq!(world.engine.list(&world.scope, &by_state).await.unwrap().total_size, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_beyond_the_bounds_is_refused_before_anything_happens() {
    let world = world(done());
    let many = Message::new(crate::model::Role::User, vec![crate::model::Part::text("x"); 101]);
    let fault = world.send(many).await.unwrap_err();
    assert_eq!(fault.violations()[0].field, "message.parts");
    assert_eq!(world.at_rest().await.events, 0);
}

//! What becomes of turns that the end of the process cut short.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::world::*;
use crate::agent::{Turn, UpdateError, Updates};
use crate::engine::{Engine, FeedKind, Recovered, Start};
use crate::fault::FaultKind;
use crate::limits::EngineLimits;
use crate::model::{Id, Message, Task, TaskState};
use crate::store::{MemoryStore, Store as _, Stored};

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(&EngineLimits::default()))
}

fn world_on(store: &Arc<MemoryStore>, script: Script) -> World {
    world_over(Arc::clone(store) as _, script, EngineLimits::default())
}

fn said(task: &Task) -> String {
    task.status.message.as_ref().map_or_else(String::new, |message| message.text().into_owned())
}

/// Streams the numbers up to the text of its message; stops for good in the middle unless it is resumed.
fn counting() -> Script {
    Script::new(|turn: Turn, updates: Updates| async move {
        let most: usize = turn.message.text().parse()?;
        let done = turn.task.as_ref().and_then(|task| task.artifact("n")).map_or(0, |made| made.parts.len());
        for n in done + 1..=most {
            updates.chunk("n", format!("{n} "), n > 1, n == most).await?;
            if n == most / 2 && !turn.resumed {
                std::future::pending::<()>().await;
            }
        }
        Ok(updates.complete().await?)
    })
    .resumable()
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_cut_goes_on_where_it_was_and_readers_see_one_stream() {
    let store = memory();
    let world = world_on(&store, counting());
    let ticket = world.open("10").await;
    let mut feed = world.feed(&ticket, Start::After(0), FeedKind::Subscription).await;
    let mut events = Vec::new();
    while events.len() < 6 {
        events.push(feed.next().await.unwrap().unwrap());
    }
    let (world, recovered) = world.restarted(&store, counting(), EngineLimits::default()).await;
    assert_eq!(recovered, Recovered { resumed: 1, failed: 0, waiting: 0 });
    let feed = world.feed(&ticket, Start::After(6), FeedKind::Subscription).await;
    events.extend(rest(feed).await);
    assert_eq!(seqs(&events), (1..=12).collect::<Vec<_>>());
    let task = world.get(&ticket).await;
    assert_eq!(task.artifact("n").unwrap().text_content(), "1 2 3 4 5 6 7 8 9 10 ");
    world.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_agent_cannot_resume_fails_with_a_reason() {
    let store = memory();
    let world = world_on(&store, endless());
    let ticket = world.open("go").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (world, recovered) = world.restarted(&store, endless(), EngineLimits::default()).await;
    assert_eq!(recovered, Recovered { resumed: 0, failed: 1, waiting: 0 });
    let events = world.all_events(&ticket).await;
    assert_eq!(states(&events), [TaskState::Submitted, TaskState::Working, TaskState::Failed]);
    let reason = said(&*world.get(&ticket).await);
    assert!(reason.contains("restarted") && reason.contains("to start anew"), "{reason}");
    world.at_rest().await;
    assert_eq!(world.engine.recover().await.unwrap(), Recovered::default());
}

#[tokio::test(start_paused = true)]
async fn a_task_of_an_agent_that_is_gone_fails_with_a_reason() {
    let store = memory();
    let world = world_on(&store, endless().resumable());
    let ticket = world.open("go").await;
    world.engine.stop(Duration::ZERO).await;
    let engine = Engine::builder(store).runtime(tokio::runtime::Handle::current()).start().unwrap();
    assert_eq!(engine.recover().await.unwrap(), Recovered { resumed: 0, failed: 1, waiting: 0 });
    let task = engine.get(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(task.state(), TaskState::Failed);
    assert!(said(&task).contains("not hosted"), "{}", said(&task));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_client_waits_on() {
    let store = memory();
    let world = world_on(&store, asking());
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let (world, recovered) = world.restarted(&store, asking(), EngineLimits::default()).await;
    assert_eq!(recovered, Recovered { resumed: 0, failed: 0, waiting: 1 });
    let second = world.send(in_task("that", &ticket)).await.unwrap().task();
    let task = world.settled(&second).await;
    assert_eq!(task.artifact("answer").unwrap().text_content(), "that");
}

/// What a turn is told, but for its channels.
#[derive(Debug, PartialEq)]
struct Told {
    message: Id,
    subject: Arc<str>,
    metadata: Option<crate::model::Struct>,
    modes: Vec<String>,
    resumed: bool,
    past: Vec<u64>,
    inbox: Vec<String>,
    history: usize,
}

/// Asks, and stands still in its second turn; keeps what it is told.
fn telling(told: &Arc<Mutex<Vec<Told>>>) -> Script {
    let told = Arc::clone(told);
    let script = Script::new(move |mut turn: Turn, updates: Updates| {
        let told = Arc::clone(&told);
        async move {
            let inbox = std::iter::from_fn(|| turn.inbox.try_next());
            let inbox = inbox.map(|message| message.text().into_owned()).collect();
            told.lock().unwrap().push(Told {
                message: turn.message.message_id.clone(),
                subject: Arc::clone(&turn.subject),
                metadata: turn.metadata.clone(),
                modes: turn.accepted_output_modes.clone(),
                resumed: turn.resumed,
                past: turn.past.iter().map(|event| event.seq).collect(),
                inbox,
                history: turn.history().len(),
            });
            if turn.task.is_none() {
                return Ok(updates.require_input("which?").await?);
            }
            updates.text("a", "x").await?;
            updates.flush().await?;
            std::future::pending().await
        }
    });
    script.resumable().reading_inbox()
}

#[tokio::test(start_paused = true)]
async fn a_resumed_turn_is_told_what_it_was_told_and_what_was_said_since() {
    let (store, told) = (memory(), Arc::default());
    let limits = EngineLimits { inbox: 2, ..EngineLimits::default() };
    let world = world_over(Arc::clone(&store) as _, telling(&told), limits.clone());
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let mut submission = world.submission(in_task("that", &ticket));
    submission.request.metadata = serde_json::json!({"k": 1}).as_object().cloned();
    let configuration = crate::model::SendMessageConfiguration {
        accepted_output_modes: vec!["text/plain".to_owned()],
        ..Default::default()
    };
    submission.request.configuration = Some(configuration);
    submission.turn_timeout = Some(Duration::from_secs(60));
    let id = submission.request.message.message_id.clone();
    world.engine.send(submission).await.unwrap();
    world.send(in_task("psst", &ticket)).await.unwrap();
    world.send(in_task("hey", &ticket)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (world, _) = world.restarted(&store, telling(&told), limits).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let expected = Told {
        message: id,
        subject: "ann".into(),
        metadata: serde_json::json!({"k": 1}).as_object().cloned(),
        modes: vec!["text/plain".to_owned()],
        resumed: true,
        past: vec![3, 4, 5, 6],
        inbox: vec!["psst".to_owned(), "hey".to_owned()],
        history: 5,
    };
    assert_eq!(told.lock().unwrap()[2], expected);
    // Its deadline is the caller's, from now on.
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(world.get(&ticket).await.state(), TaskState::Working);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(said(&*world.get(&ticket).await), "the turn exceeded its deadline of 60s");
}

#[tokio::test(start_paused = true)]
async fn where_a_turn_began_is_found_with_and_without_a_checkpoint() {
    let (store, told) = (memory(), Arc::default());
    let world = world_on(&store, telling(&told));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    world.send(in_task("that", &ticket)).await.unwrap();
    world.send(in_task("psst", &ticket)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stored = store.load(&ticket.task_id).await.unwrap().unwrap();
    assert!(stored.checkpoint.is_some());
    for stored in [stored.clone(), Stored { checkpoint: None, ..stored }] {
        let cut = world.engine.cut_turn(&stored, usize::MAX).await.unwrap().unwrap();
        assert_eq!(cut.cause.message.text(), "that");
        assert_eq!(cut.past.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4, 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_past_of_a_long_turn_is_its_newest_part() {
    let (store, first) = (memory(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&first);
    let script = Script::new(move |turn: Turn, updates: Updates| {
        let seen = Arc::clone(&seen);
        async move {
            if turn.resumed {
                let past: Vec<_> = turn.past.iter().map(|event| event.seq).collect();
                seen.lock().unwrap().extend([past.len() as u64, past[0], *past.last().unwrap()]);
                return Ok(updates.complete().await?);
            }
            for _ in 0..12_000 {
                updates.chunk("a", "x", true, false).await?;
            }
            updates.flush().await?;
            std::future::pending().await
        }
    });
    let script = script.resumable();
    let world = world_on(&store, script.clone());
    let ticket = world.open("go").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.engine.counts().events, 12_001);
    let (world, recovered) = world.restarted(&store, script, EngineLimits::default()).await;
    assert_eq!(recovered.resumed, 1);
    assert_eq!(world.settled(&ticket).await.state(), TaskState::Completed);
    assert_eq!(*first.lock().unwrap(), [10_000, 2_002, 12_001]);
}

#[tokio::test(start_paused = true)]
async fn resumed_turns_count_but_are_not_refused() {
    let store = memory();
    let world = world_on(&store, endless().resumable());
    for _ in 0..3 {
        world.open("go").await;
    }
    let limits = EngineLimits { turns_per_principal: 2, ..EngineLimits::default() };
    let (world, recovered) = world.restarted(&store, endless().resumable(), limits).await;
    assert_eq!((recovered.resumed, world.engine.counts().turns), (3, 3));
    assert_eq!(world.send(Message::user("more")).await.unwrap_err().kind(), FaultKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn more_tasks_than_fit_a_page_are_all_seen_to() {
    let store = memory();
    let limits = EngineLimits { turns_per_principal: 4_096, ..EngineLimits::default() };
    let world = world_over(Arc::clone(&store) as _, endless(), limits.clone());
    for _ in 0..600 {
        world.open("go").await;
    }
    let (world, recovered) = world.restarted(&store, endless(), limits).await;
    assert_eq!(recovered.failed, 600);
    world.at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_a_runner_is_left_alone() {
    let world = world(endless());
    let ticket = world.open("go").await;
    assert_eq!(world.engine.recover().await.unwrap(), Recovered::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.get(&ticket).await.state(), TaskState::Working);
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_because_the_server_stops_does_not_count() {
    let (store, over) = (memory(), Arc::new(Notify::new()));
    let seen = Arc::clone(&over);
    let script = Script::new(move |turn: Turn, updates: Updates| {
        let seen = Arc::clone(&seen);
        async move {
            updates.working().await?;
            updates.flush().await?;
            turn.cancellation.cancelled().await;
            let _ = updates.state(TaskState::Canceled, None).await;
            let _ = updates.fail("I was stopped").await;
            assert!(matches!(updates.flush().await, Err(UpdateError::Over)));
            seen.notify_one();
            Err(crate::agent::AgentError::new("stopped"))
        }
    });
    let world = world_on(&store, script);
    let ticket = world.open("go").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.engine.stop(Duration::from_secs(1)).await;
    over.notified().await;
    assert_eq!(world.at_rest().await.turns, 0);
    assert_eq!(world.get(&ticket).await.state(), TaskState::Working);
}

/// Agents that answer their cancellation at once, on other threads than the one that stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_fast_agents_are_a_stop_neither_cancels_nor_fails_their_tasks() {
    let store = memory();
    let world = world_on(
        &store,
        Script::new(|turn: Turn, updates: Updates| async move {
            updates.working().await?;
            turn.cancellation.cancelled().await;
            let _ = updates.fail("I was stopped").await;
            Ok(())
        }),
    );
    for _ in 0..500 {
        world.open("go").await;
    }
    while world.engine.counts().events < 1_000 {
        tokio::task::yield_now().await;
    }
    world.engine.stop(Duration::ZERO).await;
    let unfinished = store.unfinished(None, 1_000).await.unwrap();
    let working = unfinished.iter().filter(|row| row.state == TaskState::Working);
    assert_eq!(working.count(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_within_the_grace_is_finished() {
    let store = memory();
    let world = world_on(
        &store,
        Script::new(|_, updates: Updates| async move {
            updates.working().await?;
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(updates.complete().await?)
        }),
    );
    let ticket = world.open("go").await;
    world.engine.stop(Duration::from_secs(25)).await;
    assert_eq!(world.get(&ticket).await.state(), TaskState::Completed);
}

//! How turns begin, run and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::world::*;
use crate::agent::{AgentError, Turn, UpdateError, Updates};
use crate::engine::{FeedKind, Start};
use crate::fault::FaultKind;
use crate::limits::EngineLimits;
use crate::model::{Id, Message, TaskState};

#[tokio::test(start_paused = true)]
async fn ok_completes_an_error_fails_and_a_panic_fails_with_the_reason() {
    let quiet = Script::new(|_, _| async { Ok(()) });
    let failing = Script::new(|_, _| async { Err(AgentError::new("no paper")) });
    let panicking = Script::new(|_, _| async { panic!("out of ink") });
    for (script, state, reason) in [
        (quiet, TaskState::Completed, None),
        (failing, TaskState::Failed, Some("no paper")),
        (panicking, TaskState::Failed, Some("the agent has a defect; it is in the server's log")),
    ] {
        for script in [script.clone(), script.replying()] {
            let world = world(script);
            let task = world.settled(&world.open("go").await).await;
            let said = task.status.message.as_ref().map(|message| message.text().into_owned());
            assert_eq!((task.state(), said.as_deref()), (state, reason));
            world.at_rest().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_is_at_once_and_stops_the_agent() {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let script = Script::new(move |turn: Turn, updates: Updates| {
        let seen = Arc::clone(&seen);
        async move {
            updates.working().await?;
            turn.cancellation.cancelled().await;
            seen.store(true, Ordering::SeqCst);
            assert_eq!(updates.text("late", "x").await, Ok(()));
            assert_eq!(updates.flush().await, Err(UpdateError::Over));
            Ok(())
        }
    });
    let world = world(script);
    let ticket = world.open("go").await;
    let mut feed = world.feed(&ticket, Start::After(1), FeedKind::Subscription).await;
    assert_eq!(feed.next().await.unwrap().unwrap().state(), Some(TaskState::Working));
    let task = world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(task.state(), TaskState::Canceled);
    assert_eq!(states(&rest(feed).await), [TaskState::Canceled]);
    let counts = world.at_rest().await;
    assert!(stopped.load(Ordering::SeqCst));
    assert_eq!(counts.dropped_updates, 1);
    let task = world.get(&ticket).await;
    assert_eq!((task.state(), task.artifacts.len()), (TaskState::Canceled, 0));
    let again = world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap_err();
    assert_eq!(again.kind(), FaultKind::TaskNotCancelable);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_ignores_its_cancellation_is_dropped() {
    let world = world(Script::new(|_, updates: Updates| async move {
        updates.working().await?;
        std::future::pending().await
    }));
    let ticket = world.open("go").await;
    world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    assert_eq!(world.at_rest().await.turns, 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_exceeds_its_deadline_fails_and_says_so() {
    let limits = EngineLimits { turn_timeout: Duration::from_secs(60), ..EngineLimits::default() };
    for (asked, expected) in [(None, "60s"), (Some(5), "5s"), (Some(600), "60s")] {
        let world = world_with(endless(), limits.clone());
        let mut submission = world.submission(Message::user("go"));
        submission.turn_timeout = asked.map(Duration::from_secs);
        let ticket = world.engine.send(submission).await.unwrap().task();
        let task = world.settled(&ticket).await;
        assert_eq!(task.state(), TaskState::Failed);
        let said = task.status.message.as_ref().unwrap().text().into_owned();
        assert_eq!(said, format!("the turn exceeded its deadline of {expected}"));
        world.at_rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_turn_too_many_is_refused_and_leaves_nothing() {
    let limits = EngineLimits { turns_per_principal: 2, ..EngineLimits::default() };
    let world = world_with(endless(), limits);
    let tickets = [world.open("go").await, world.open("go").await];
    let message = Message::user("go");
    let fault = world.send(message.clone()).await.unwrap_err();
    assert_eq!((fault.kind(), fault.metadata()["limit"].as_str()), (FaultKind::Overloaded, "2"));
    assert_eq!(world.engine.counts().live_tasks, 2);
    for ticket in &tickets {
        world.engine.cancel(&world.scope, &ticket.task_id).await.unwrap();
    }
    world.at_rest().await;
    assert!(world.send(message).await.is_ok(), "a refused send may be repeated");
}

#[tokio::test(start_paused = true)]
async fn an_illegal_step_is_refused_and_the_task_stays_as_it_was() {
    let world = world(Script::new(|_, updates: Updates| async move {
        updates.require_input("which?").await?;
        updates.state(TaskState::Submitted, None).await?;
        let refused = updates.flush().await;
        assert!(matches!(refused, Err(UpdateError::Refused(_))), "{refused:?}");
        updates.complete().await?;
        updates.working().await?;
        assert_eq!(updates.flush().await, Err(UpdateError::Over));
        Ok(())
    }));
    let ticket = world.open("go").await;
    let events = world.all_events(&ticket).await;
    assert_eq!(states(&events), [TaskState::Submitted, TaskState::InputRequired, TaskState::Completed]);
    let counts = world.at_rest().await;
    assert_eq!((counts.refused_updates, counts.dropped_updates), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn data_that_could_not_be_read_back_from_a_log_is_refused() {
    let nested = |levels| (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]));
    let world = world(Script::new(move |_, updates: Updates| async move {
        let artifact = |levels| {
            let content = crate::model::PartContent::Data(nested(levels));
            crate::model::Artifact::new("a", vec![crate::model::Part::new(content)])
        };
        updates.artifact(artifact(64)).await?;
        updates.flush().await?;
        let refused = updates.artifact(artifact(65)).await;
        assert!(matches!(refused, Err(UpdateError::Refused(_))), "{refused:?}");
        Ok(())
    }));
    let ticket = world.open("go").await;
    assert_eq!(world.all_events(&ticket).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_refused_at_once_is_refused_before_more_is_said() {
    let world = world(Script::new(move |_, updates: Updates| async move {
        updates.state(TaskState::Unspecified, None).await?;
        Ok(updates.complete().await?)
    }));
    let ticket = world.open("go").await;
    let events = world.all_events(&ticket).await;
    assert_eq!(states(&events), [TaskState::Submitted, TaskState::Failed]);
    assert_eq!(world.at_rest().await.refused_updates, 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_turn_supersedes_the_one_that_asked() {
    let world = world(Script::new(|turn: Turn, updates: Updates| async move {
        if turn.task.is_some() {
            return Ok(updates.complete().await?);
        }
        updates.require_input("which?").await?;
        turn.cancellation.cancelled().await;
        updates.text("late", "x").await?;
        updates.flush().await?;
        Ok(())
    }));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let second = world.send(in_task("that", &ticket)).await.unwrap().task();
    assert_eq!(world.settled(&second).await.state(), TaskState::Completed);
    assert_eq!(world.at_rest().await.dropped_updates, 1);
    assert!(world.get(&ticket).await.artifacts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn updates_from_tasks_that_the_agent_spawned_go_at_once_and_in_order() {
    let world = world(Script::new(|_, updates: Updates| async move {
        let spawned = updates.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                spawned.chunk("a", n.to_string(), n > 0, false).await.unwrap();
            }
        })
        .await?;
        Ok(updates.complete().await?)
    }));
    let task = world.settled(&world.open("go").await).await;
    let expected: String = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(task.artifact("a").unwrap().text_content(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_in_one_go_costs_one_commit() {
    let world = world(streaming(40));
    let ticket = world.open("go").await;
    world.settled(&ticket).await;
    let counts = world.at_rest().await;
    assert_eq!((counts.events, counts.commits), (42, 2));
}

#[tokio::test(start_paused = true)]
async fn stopping_refuses_new_sends_and_cancels_what_does_not_end() {
    let world = world(endless());
    world.open("go").await;
    world.engine.stop(Duration::from_secs(25)).await;
    let fault = world.send(Message::user("more")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Overloaded);
    world.at_rest().await;
}

#[test]
fn many_threads_write_without_loss() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = world(streaming(300));
        let clients = (0..32).map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let ticket = world.open("go").await;
                    let events = world.all_events(&ticket).await;
                    assert_eq!(seqs(&events), (1..=302).collect::<Vec<_>>());
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        assert_eq!(world.at_rest().await.events, 32 * 5 * 302);
    });
}

/// Prints what it measures; run it with `--ignored --nocapture` and a release build.
#[test]
#[ignore = "a measurement: 1,000,000 chunks"]
fn a_million_chunks_take_linear_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = world(Script::new(|_, updates: Updates| async move {
            let id = Id::from("a");
            for half in 0..2 {
                let began = tokio::time::Instant::now();
                for _ in 0..500_000 {
                    updates.chunk(id.clone(), "0123456789abcdef", true, false).await?;
                }
                println!("half {half}: {:?}", began.elapsed());
            }
            Ok(updates.complete().await?)
        }));
        let began = tokio::time::Instant::now();
        let ticket = world.open("go").await;
        let events = world.all_events(&ticket).await;
        assert_eq!(events.len(), 1_000_002);
        let rate = events.len() as f64 / began.elapsed().as_secs_f64();
        println!("{rate:.0} events/s, {:?}", world.engine.counts());
    });
}

/// Prints what it measures; run it with `--ignored --nocapture` and a release build.
#[test]
#[ignore = "a measurement: 20,000 streams"]
fn short_streams_in_parallel() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = world(streaming(6));
        let began = tokio::time::Instant::now();
        let clients = (0..32).map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                for _ in 0..625 {
                    let ticket = world.open("go").await;
                    assert_eq!(world.all_events(&ticket).await.len(), 8);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        println!("{:.0} streams/s, {:?}", 20_000.0 / began.elapsed().as_secs_f64(), world.engine.counts());
    });
}

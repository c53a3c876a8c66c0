//! Nothing of what was written is lost or changed.

use std::sync::Arc;

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::World;
use super::samples::{answer, appending, arbitrary, everything, new, remembering, row};
use super::world::ALL;
use crate::model::arbitrary::{
    message, nonempty_text, structure, task, task_artifact_update_event, task_push_notification_config,
    task_status_update_event, text, timestamp,
};
use crate::model::{
    AuthenticationInfo, Cause, Event, Message, ServiceParameters, TaskPushNotificationConfig, TaskState,
    Update,
};
use crate::store::{Answer, Append, Checkpoint, Cut, Group, PushChange, TaskRow};

/// Writes these as the events of one task, in groups of several, and reads them again.
async fn survive(world: &mut World, updates: Vec<Update>, causes: Vec<Option<Arc<Cause>>>) {
    let all: Vec<_> = updates
        .into_iter()
        .zip(causes)
        .zip(1..)
        .map(|((update, cause), seq)| Arc::new(Event { seq, update: of_the_task(update), cause }))
        .collect();
    for events in all.chunks(17) {
        let (expected, last) = (events[0].seq - 1, events[events.len() - 1].seq);
        let row = row("t", TaskState::Working, 1, last);
        world.commit(appending([Append { expected, events: events.to_vec(), row }])).await;
    }
    world.later().await;
    for (found, written) in world.read("t", 0, ALL).await.iter().zip(&all) {
        assert_eq!(found, written);
    }
    assert_eq!(world.seqs("t", 0, ALL).await.len(), all.len());
}

/// An event says of which task it is, and the engine never lets it say another.
fn of_the_task(mut update: Update) -> Update {
    let (task, context) = match &mut update {
        Update::Status(update) => (&mut update.task_id, &mut update.context_id),
        Update::Artifact(update) => (&mut update.task_id, &mut update.context_id),
    };
    (*task, *context) = ("t".into(), "context of t".into());
    update
}

fn cause() -> impl Strategy<Value = Cause> {
    let printable = || {
        proptest::collection::vec(any::<char>().prop_filter("no control", |c| !c.is_control()), 0..9)
            .prop_map(String::from_iter)
    };
    let parameters = (of(printable()), of(printable())).prop_map(|(version, trace)| {
        let mut parameters = ServiceParameters::new();
        for (name, value) in [(ServiceParameters::VERSION, version), ("traceparent", trace)] {
            value.iter().for_each(|value| parameters.insert(name, value).unwrap());
        }
        parameters
    });
    let rest = (of(structure()), proptest::collection::vec(text(), 0..3), of(any::<u64>()));
    (message(), text(), parameters, rest).prop_map(|(message, subject, parameters, rest)| {
        let (metadata, accepted_output_modes, turn_timeout_ms) = rest;
        Cause {
            message: Arc::new(message),
            subject: subject.into(),
            parameters: Arc::new(parameters),
            metadata,
            accepted_output_modes,
            turn_timeout_ms,
        }
    })
}

pub(crate) async fn every_field_of_a_status_event_survives(world: &mut World) {
    let updates = arbitrary(&task_status_update_event().prop_map(Update::Status), 200);
    survive(world, updates, vec![None; 200]).await;
}

pub(crate) async fn every_field_of_an_artifact_event_survives(world: &mut World) {
    let updates = arbitrary(&task_artifact_update_event().prop_map(Update::Artifact), 200);
    survive(world, updates, vec![None; 200]).await;
}

pub(crate) async fn every_field_of_a_cause_survives(world: &mut World) {
    let updates = arbitrary(&task_status_update_event().prop_map(Update::Status), 200);
    let causes = arbitrary(&of(cause().prop_map(Arc::new)), 200);
    assert!(causes.iter().any(Option::is_none) && causes.iter().any(Option::is_some));
    survive(world, updates, causes).await;
}

pub(crate) async fn every_field_of_a_row_survives(world: &mut World) {
    let names = (nonempty_text(), nonempty_text(), nonempty_text());
    let numbers = (select(&TaskState::ALL[..]), timestamp(), any::<u64>(), timestamp());
    let rows: Vec<TaskRow> = arbitrary(&(names, numbers), 200)
        .into_iter()
        .enumerate()
        .map(|(n, ((context, agent, owner), (state, status_timestamp, generation, created)))| TaskRow {
            id: format!("task {n}").into(),
            context: without_nul(&context).into(),
            agent: without_nul(&agent).into(),
            owner: without_nul(&owner).into(),
            state,
            status_timestamp,
            last_seq: 1 + n as u64 % 4,
            generation,
            created,
        })
        .collect();
    world.append(rows.iter().map(|row| super::samples::append(0, row.clone()))).await;
    world.later().await;
    for row in rows {
        assert_eq!(world.row(&row.id).await, row);
        let mine =
            crate::store::ListFilter { agent: row.agent.clone(), owner: row.owner.clone(), ..everything() };
        assert!(world.pages(&mine, 100).await.contains(&row), "the list has another row than {row:?}");
    }
}

/// Names come from configuration and from requests, where NUL has no place.
fn without_nul(name: &str) -> String {
    name.replace('\0', "0")
}

pub(crate) async fn every_state_survives(world: &mut World) {
    world.append(TaskState::ALL.map(|state| new(state.name(), state, state.number().into(), 1))).await;
    world.later().await;
    for state in TaskState::ALL {
        assert_eq!(world.row(state.name()).await.state, state);
        assert_eq!(world.read(state.name(), 0, ALL).await[0].state(), Some(state));
    }
}

pub(crate) async fn every_field_of_a_checkpoint_survives(world: &mut World) {
    let folds = arbitrary(&task(), 100).into_iter().enumerate().map(|(n, mut task)| {
        task.id = format!("task {n}").into();
        Checkpoint { seq: 2, task: Arc::new(task) }
    });
    let folds: Vec<_> = folds.collect();
    world.append(folds.iter().map(|fold| new(&fold.task.id, TaskState::Completed, 1, 3))).await;
    // A checkpoint that comes with a cut is not a mere hint.
    let cuts = folds.iter().map(|fold| Cut { checkpoint: fold.clone(), oldest: 3 });
    world.commit(Group { cuts: cuts.collect(), ..Group::default() }).await;
    world.later().await;
    for fold in folds {
        assert_eq!(world.point(&fold.task.id).await, Some(fold));
    }
}

pub(crate) async fn every_field_of_a_checkpoint_that_is_a_hint_survives(world: &mut World) {
    let folds = arbitrary(&task(), 50).into_iter().enumerate().map(|(n, mut task)| {
        task.id = format!("task {n}").into();
        Checkpoint { seq: 1, task: Arc::new(task) }
    });
    let folds: Vec<_> = folds.collect();
    world.append(folds.iter().map(|fold| new(&fold.task.id, TaskState::Working, 1, 1))).await;
    world.store().checkpoint(&folds);
    world.barrier().await;
    world.later().await;
    for fold in folds {
        let found = world.point(&fold.task.id).await;
        assert!(found.is_none() || found == Some(fold), "{found:?}");
    }
}

pub(crate) async fn every_field_of_a_webhook_survives(world: &mut World) {
    world.append([new("t", TaskState::Working, 1, 1)]).await;
    let configs = arbitrary(&task_push_notification_config().prop_map(Arc::new), 100);
    let changes = configs.iter().enumerate().map(|(n, config)| PushChange {
        task: "t".into(),
        id: format!("{n:03}").into(),
        config: Some(Arc::clone(config)),
    });
    world.commit(super::samples::pushing(changes)).await;
    world.later().await;
    assert_eq!(world.hooks("t").await, configs);
}

pub(crate) async fn the_secrets_of_a_webhook_survive(world: &mut World) {
    world.append([new("t", TaskState::Working, 1, 1)]).await;
    let credentials = Some("Zm9v\u{e9}\"\\".into());
    let config = TaskPushNotificationConfig {
        token: Some("s3cret".into()),
        authentication: Some(AuthenticationInfo { scheme: "Bearer".into(), credentials }),
        ..TaskPushNotificationConfig::new("https://x.example/hook")
    };
    let change = PushChange { task: "t".into(), id: "h".into(), config: Some(Arc::new(config)) };
    world.commit(super::samples::pushing([change])).await;
    world.later().await;
    let found = world.hooks("t").await.remove(0);
    assert_eq!(found.token.as_ref().map(|token| token.expose()), Some("s3cret"));
    let authentication = found.authentication.as_ref().unwrap();
    assert_eq!(authentication.credentials.as_ref().unwrap().expose(), "Zm9v\u{e9}\"\\");
}

pub(crate) async fn every_field_of_an_answer_survives(world: &mut World) {
    let messages = arbitrary(&message(), 100).into_iter().zip(0..100);
    let answers: Vec<_> = messages
        .map(|(message, n)| {
            let mut remembered = answer(n, 1_000 + i64::from(n));
            remembered.digest.0[n as usize % 16] = 255 - n;
            if n % 3 == 0 {
                let after = u64::MAX - u64::from(n);
                let (task_id, context_id) = (message.message_id, format!("context {n}").into());
                remembered.answer = Answer::Task { task_id, context_id, after };
            } else {
                remembered.answer = Answer::Message(Arc::new(message));
            }
            remembered
        })
        .collect();
    world.commit(remembering(answers.clone())).await;
    world.later().await;
    for written in answers {
        let found = world.remembered(written.key.0[0], 999).await.unwrap();
        assert_eq!((found.key, found.digest, found.expires), (written.key, written.digest, written.expires));
        assert_eq!(found.answer, written.answer);
    }
}

pub(crate) async fn a_long_message_answer_survives(world: &mut World) {
    let message = Arc::new(Message::agent("a long answer ".repeat(200_000)));
    let remembered =
        crate::store::Remembered { answer: Answer::Message(Arc::clone(&message)), ..answer(1, 9) };
    world.commit(remembering([remembered])).await;
    world.later().await;
    assert!(world.remembered(1, 8).await.unwrap().answer == Answer::Message(message));
}

//! Events → task: what a client sees of a task is a fold of its log.
//!
//! One event costs what it holds, not what the task holds: parts are moved to the end of an artifact that is
//! found by an index. Only where somebody still holds an earlier snapshot is the task copied, once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{
    Artifact, Event, Id, Message, Struct, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, Update,
};

/// A task that events are added to.
#[derive(Clone, Debug)]
pub struct Fold {
    task: Arc<Task>,
    /// Where each artifact stands; kept only while there are more than [`SCANNED`].
    places: HashMap<Id, usize>,
}

/// Artifacts up to which looking at each is faster than an index.
const SCANNED: usize = 8;

impl Fold {
    /// Begins with a task's first event.
    pub fn open(event: &Event) -> Option<Self> {
        let Update::Status(update) = &event.update else { return None };
        let task = Task::new(update.task_id.clone(), update.context_id.clone(), update.status.clone());
        let mut fold = Self::resume(Arc::new(task));
        let task = fold.task_mut();
        task.history.extend(event.cause.as_deref().map(|cause| Message::clone(&cause.message)));
        merge(&mut task.metadata, update.metadata.as_ref());
        Some(fold)
    }

    /// Goes on with a task that was folded before.
    pub fn resume(task: Arc<Task>) -> Self {
        Self { task, places: HashMap::new() }
    }

    /// Adds an event.
    pub fn apply(&mut self, event: &Event) {
        match &event.update {
            Update::Status(update) => self.apply_status(update, event),
            Update::Artifact(update) => self.apply_artifact(update),
        }
    }

    /// The task as it is now.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// What the agent said before becomes history, and so does the client's message.
    fn apply_status(&mut self, update: &TaskStatusUpdateEvent, event: &Event) {
        let task = self.task_mut();
        let before = std::mem::replace(&mut task.status, update.status.clone());
        task.history.extend(before.message);
        task.history.extend(event.cause.as_deref().map(|cause| Message::clone(&cause.message)));
        merge(&mut task.metadata, update.metadata.as_ref());
    }

    fn apply_artifact(&mut self, update: &TaskArtifactUpdateEvent) {
        let place = self.place(&update.artifact.artifact_id);
        let task = Arc::make_mut(&mut self.task);
        match place {
            Some(at) if update.append => extend(&mut task.artifacts[at], &update.artifact),
            Some(at) => task.artifacts[at] = update.artifact.clone(),
            None => {
                let at = task.artifacts.len();
                task.artifacts.push(update.artifact.clone());
                if !self.places.is_empty() {
                    self.places.insert(update.artifact.artifact_id.clone(), at);
                }
            }
        }
    }

    fn place(&mut self, id: &Id) -> Option<usize> {
        let artifacts = &self.task.artifacts;
        if artifacts.len() <= SCANNED {
            return artifacts.iter().rposition(|artifact| artifact.artifact_id == *id);
        }
        if self.places.is_empty() {
            let ids = artifacts.iter().map(|artifact| artifact.artifact_id.clone());
            self.places = ids.zip(0..).collect();
        }
        self.places.get(id).copied()
    }

    fn task_mut(&mut self) -> &mut Task {
        Arc::make_mut(&mut self.task)
    }
}

fn extend(artifact: &mut Artifact, chunk: &Artifact) {
    artifact.parts.extend_from_slice(&chunk.parts);
    merge(&mut artifact.metadata, chunk.metadata.as_ref());
    for (old, new) in [(&mut artifact.name, &chunk.name), (&mut artifact.description, &chunk.description)] {
        if new.is_some() {
            old.clone_from(new);
        }
    }
    for extension in &chunk.extensions {
        if !artifact.extensions.contains(extension) {
            artifact.extensions.push(extension.clone());
        }
    }
}

fn merge(into: &mut Option<Struct>, more: Option<&Struct>) {
    let Some(more) = more else { return };
    let members = more.iter().map(|(name, value)| (name.clone(), value.clone()));
    into.get_or_insert_default().extend(members);
}

/// The task without what was not asked for: at most the latest `history` messages (absent: all), and
/// artifacts only if wanted. Copies nothing that it leaves out.
pub fn view(task: &Task, history: Option<u32>, artifacts: bool) -> Task {
    let keep = history.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let from = task.history.len().saturating_sub(keep);
    Task {
        id: task.id.clone(),
        context_id: task.context_id.clone(),
        status: task.status.clone(),
        artifacts: if artifacts { task.artifacts.clone() } else { Vec::new() },
        history: task.history[from..].to_vec(),
        metadata: task.metadata.clone(),
    }
}

/// The task with at most the latest `history` messages; absent: all, and then nothing is copied.
pub fn trimmed(task: &Arc<Task>, history: Option<u32>) -> Arc<Task> {
    let keeps_all = history.is_none_or(|count| task.history.len() as u64 <= u64::from(count));
    if keeps_all { Arc::clone(task) } else { Arc::new(view(task, history, true)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Part, TaskState, TaskStatus, Timestamp};

    fn status(state: TaskState, said: Option<&str>, cause: Option<&str>) -> Event {
        let status =
            TaskStatus { state, message: said.map(Message::agent), timestamp: Some(Timestamp::default()) };
        let update =
            TaskStatusUpdateEvent { task_id: "t".into(), context_id: "c".into(), status, metadata: None };
        let cause = cause.map(|text| Arc::new(Cause::of(Message::user(text))));
        Event { seq: 1, update: Update::Status(update), cause }
    }

    fn chunk(id: &str, text: &str, append: bool) -> Event {
        let update = TaskArtifactUpdateEvent {
            task_id: "t".into(),
            context_id: "c".into(),
            artifact: Artifact::new(id, vec![Part::text(text)]),
            append,
            last_chunk: false,
            metadata: None,
        };
        Event { seq: 2, update: Update::Artifact(update), cause: None }
    }

    fn open() -> Fold {
        Fold::open(&status(TaskState::Submitted, None, Some("hello"))).unwrap()
    }

    fn history(task: &Task) -> Vec<String> {
        task.history.iter().map(|message| message.text().into_owned()).collect()
    }

    #[test]
    fn the_question_and_its_answer_become_history_in_order() {
        let mut fold = open();
        fold.apply(&status(TaskState::Working, None, None));
        fold.apply(&status(TaskState::InputRequired, Some("which?"), None));
        assert_eq!(history(fold.task()), ["hello"]);
        fold.apply(&status(TaskState::Working, None, Some("that")));
        assert_eq!(history(fold.task()), ["hello", "which?", "that"]);
        assert_eq!(fold.task().state(), TaskState::Working);
    }

    #[test]
    fn appended_parts_go_to_the_end_and_a_missing_artifact_is_made() {
        let mut fold = open();
        for (text, append) in [("a", true), ("b", true), ("c", true)] {
            fold.apply(&chunk("x", text, append));
        }
        assert_eq!(fold.task().artifact("x").unwrap().text_content(), "abc");
        fold.apply(&chunk("x", "new", false));
        assert_eq!(fold.task().artifact("x").unwrap().text_content(), "new");
        assert_eq!(fold.task().artifacts.len(), 1);
    }

    #[test]
    fn many_artifacts_are_found_again() {
        let mut fold = open();
        for round in 0..3 {
            for n in 0..40 {
                fold.apply(&chunk(&format!("x{n}"), &round.to_string(), round > 0));
            }
        }
        assert_eq!(fold.task().artifacts.len(), 40);
        for artifact in &fold.task().artifacts {
            assert_eq!(artifact.text_content(), "012", "{}", artifact.artifact_id);
        }
    }

    #[test]
    fn a_snapshot_does_not_change_under_its_holder() {
        let mut fold = open();
        let before = Arc::clone(fold.task());
        fold.apply(&chunk("x", "a", false));
        assert!(before.artifacts.is_empty());
        assert_eq!(fold.task().artifacts.len(), 1);
    }

    #[test]
    fn history_is_trimmed_to_the_latest() {
        let mut fold = open();
        fold.apply(&status(TaskState::Working, None, Some("two")));
        fold.apply(&status(TaskState::Working, None, Some("three")));
        for (length, expected) in [(None, 3), (Some(0), 0), (Some(1), 1), (Some(3), 3), (Some(9), 3)] {
            let task = trimmed(fold.task(), length);
            let all = ["hello", "two", "three"];
            assert_eq!(history(&task), all[3 - expected..], "{length:?}");
        }
        assert!(Arc::ptr_eq(&trimmed(fold.task(), None), fold.task()));
    }
}

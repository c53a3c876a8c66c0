//! What a store must hold after a number of groups: the plainest thing that can be said about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use a2a_webcap::model::{Artifact, Event, Id, Task, TaskPushNotificationConfig, TaskStatus, Timestamp};
use a2a_webcap::store::{Answer, Checkpoint, Cursor, Group, ListFilter, Remembered, TaskRow};

/// Everything that groups have left. Clones share what has not changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) tasks: BTreeMap<Id, Arc<Kept>>,
    /// Tasks that were there and have gone, the latest last.
    pub(crate) gone: Vec<Id>,
    pub(crate) answers: BTreeMap<[u8; 16], Arc<Remembered>>,
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) row: TaskRow,
    /// The oldest number that is kept.
    pub(crate) oldest: u64,
    /// From `oldest` on.
    pub(crate) events: Vec<Arc<Event>>,
    /// The least that its checkpoint may be at; 0 if it need not have one.
    pub(crate) folded: u64,
    pub(crate) push: BTreeMap<Id, Arc<TaskPushNotificationConfig>>,
}

impl Model {
    pub(crate) fn apply(&mut self, group: &Group) {
        for append in &group.appends {
            let id = append.row.id.clone();
            let kept = self.tasks.entry(id).or_insert_with(|| {
                let (row, push) = (append.row.clone(), BTreeMap::new());
                Arc::new(Kept { row, oldest: 1, events: Vec::new(), folded: 0, push })
            });
            let kept = Arc::make_mut(kept);
            kept.events.extend_from_slice(&append.events);
            kept.row = append.row.clone();
        }
        for answer in &group.remembered {
            self.answers.insert(answer.key.0, Arc::new(answer.clone()));
        }
        for change in &group.push {
            let Some(kept) = self.tasks.get_mut(&change.task) else { continue };
            let push = &mut Arc::make_mut(kept).push;
            match &change.config {
                Some(config) => push.insert(change.id.clone(), Arc::clone(config)),
                None => push.remove(&change.id),
            };
        }
        for cut in &group.cuts {
            let Some(kept) = self.tasks.get_mut(&cut.checkpoint.task.id) else { continue };
            let kept = Arc::make_mut(kept);
            let oldest = cut.oldest.min(kept.row.last_seq).max(kept.oldest);
            kept.events.retain(|event| event.seq >= oldest);
            kept.oldest = oldest;
            kept.folded = kept.folded.max(cut.checkpoint.seq);
        }
        for id in &group.deletions {
            if self.tasks.remove(id).is_some() {
                self.gone.push(id.clone());
            }
        }
    }

    /// The rows that a filter selects, in the order of a list.
    pub(crate) fn list(&self, filter: &ListFilter) -> Vec<&TaskRow> {
        let rows = self.tasks.values().map(|kept| &kept.row);
        let mut rows: Vec<_> = rows
            .filter(|row| row.agent == filter.agent && row.owner == filter.owner)
            .filter(|row| filter.context.as_ref().is_none_or(|context| row.context == *context))
            .filter(|row| filter.state.is_none_or(|state| row.state == state))
            .filter(|row| filter.status_since.is_none_or(|since| row.status_timestamp >= since))
            .collect();
        rows.sort_by(|one, other| (other.status_timestamp, &other.id).cmp(&(one.status_timestamp, &one.id)));
        rows
    }

    /// Whether an answer is about a task that is not there, so that a store may have forgotten it.
    pub(crate) fn is_stale(&self, answer: &Remembered) -> bool {
        match &answer.answer {
            Answer::Task { task_id, .. } => !self.tasks.contains_key(task_id),
            Answer::Message(_) => false,
        }
    }
}

/// The only fold of a task's log up to a number that is ever given to a store. What is in it means nothing, but
/// it says of what it is the fold.
pub(crate) fn fold(row: &TaskRow, seq: u64) -> Checkpoint {
    let status = TaskStatus::new(a2a_webcap::model::TaskState::Working, Timestamp::from_unix_nanos(7));
    let mut task = Task::new(row.id.clone(), row.context.clone(), status);
    let text = format!("the events up to {seq} of {}. ", row.id);
    task.artifacts.push(Artifact::text("fold", text.repeat(1 + usize::try_from(seq % 40).expect("small"))));
    Checkpoint { seq, task: Arc::new(task) }
}

/// The place of a row in a list.
pub(crate) fn place(row: &TaskRow) -> Cursor {
    Cursor { status_timestamp: row.status_timestamp, id: row.id.clone() }
}

//! What is done to a store, from a seed: many small tasks that open, grow, finish, are cut and deleted, and
//! the state that each group leads to.

use std::sync::{Arc, LazyLock};

use a2a_webcap::model::{
    Artifact, Cause, Event, Id, Message, Role, TaskArtifactUpdateEvent, TaskPushNotificationConfig,
    TaskState, TaskStatus, TaskStatusUpdateEvent, Timestamp, Update,
};
use a2a_webcap::store::{
    Answer, Append, Checkpoint, Cut, Group, PushChange, Remembered, SendDigest, SendKey, TaskRow,
};

use crate::dice::Dice;
use crate::model::{Model, fold};

/// What time it is for every store of these tests. Nothing in a history has happened later.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
pub(crate) const AGENT: &str = "agent";
pub(crate) const OWNERS: [&str; 2] = ["ann", "bob"];
pub(crate) const CONTEXTS: usize = 5;

/// Tasks that live at once, about.
const LIVE: usize = 24;

/// Texts are cut out of this. It has little order, so that compressing them does not make them small.
static LETTERS: LazyLock<String> = LazyLock::new(|| {
    let mut dice = Dice::new(0x7e87);
    (0..100_000).flat_map(|_| dice.next().to_le_bytes()).map(|byte| char::from(b'!' + byte % 90)).collect()
});

/// Groups in their order, and what stands after each.
pub(crate) struct History {
    pub(crate) steps: Vec<Step>,
    /// What stands after as many groups as the index says.
    pub(crate) after: Vec<Model>,
}

/// A group, and the checkpoints that are given after it.
pub(crate) struct Step {
    pub(crate) group: Group,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

impl History {
    pub(crate) fn of(seed: u64, groups: usize) -> Self {
        let mut maker = Maker { dice: Dice::new(seed), now: Model::default(), number: 0, opened: 0 };
        let mut after = vec![Model::default()];
        let mut steps = Vec::with_capacity(groups);
        for _ in 0..groups {
            steps.push(maker.step());
            after.push(maker.now.clone());
        }
        Self { steps, after }
    }
}

/// The key under which group `number` (from 1) leaves its mark, if it does.
pub(crate) fn mark(number: usize) -> SendKey {
    let mut key = [0xa5; 16];
    key[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SendKey(key)
}

struct Maker {
    dice: Dice,
    now: Model,
    /// Of the present group, from 1.
    number: usize,
    opened: usize,
}

impl Maker {
    fn step(&mut self) -> Step {
        self.number += 1;
        let before = self.now.clone();
        let mut group = Group::default();
        let only_removes = self.dice.percent(6) && !self.now.tasks.is_empty();
        if !only_removes {
            for _ in 0..1 + self.dice.under(3) {
                // Each stands on the one before, as when the writer takes several items of one task.
                let append = self.append();
                self.now.apply(&Group { appends: vec![append.clone()], ..Group::default() });
                group.appends.push(append);
            }
        }
        if self.dice.percent(85) {
            group.remembered.push(self.mark());
        }
        if let Some(append) = group.appends.first().filter(|_| self.dice.percent(30)) {
            group.remembered.push(self.answer(append));
        }
        if self.dice.percent(10) {
            group.push.extend(self.push());
        }
        if self.dice.percent(10) || only_removes {
            group.cuts.extend(self.cut());
        }
        let crowded = self.now.tasks.len() > LIVE;
        if crowded || only_removes || self.dice.percent(5) {
            group.deletions.extend(self.deletions());
        }
        if group.is_empty() {
            group.remembered.push(self.mark());
        }
        self.now = before;
        self.now.apply(&group);
        let checkpoints = if self.dice.percent(15) { self.checkpoints() } else { Vec::new() };
        Step { group, checkpoints }
    }

    fn time(&self) -> Timestamp {
        let before = 1_000_000_000_i64 * (1_000_000 - i64::try_from(self.number).expect("small"));
        Timestamp::from_unix_nanos(NOW.unix_nanos() - before)
    }

    fn append(&mut self) -> Append {
        let open: Vec<_> = self.now.tasks.values().filter(|kept| !kept.row.state.is_terminal()).collect();
        let opens = open.is_empty() || self.dice.percent(30);
        let mut row = if opens { self.opened() } else { self.dice.pick(&open).row.clone() };
        let expected = row.last_seq;
        let count = match self.dice.under(20) {
            0 => 12,
            1..4 => 4,
            _ => 1 + self.dice.under(2),
        };
        let events = (0..count).map(|_| Arc::new(self.event(&mut row))).collect();
        Append { expected, events, row }
    }

    fn opened(&mut self) -> TaskRow {
        self.opened += 1;
        TaskRow {
            id: format!("task-{:05}-{:04x}", self.opened, self.dice.next() & 0xffff).into(),
            context: format!("context-{}", self.dice.under(CONTEXTS)).into(),
            agent: AGENT.into(),
            owner: (*self.dice.pick(&OWNERS)).into(),
            state: TaskState::Submitted,
            status_timestamp: self.time(),
            last_seq: 0,
            generation: 0,
            created: self.time(),
        }
    }

    /// The task's next event, which changes its row.
    fn event(&mut self, row: &mut TaskRow) -> Event {
        row.last_seq += 1;
        row.generation += 1;
        let (task_id, context_id) = (row.id.clone(), row.context.clone());
        let next = match row.last_seq {
            1 => Some(TaskState::Submitted),
            2 => Some(TaskState::Working),
            _ if row.state.is_terminal() || !self.dice.percent(25) => None,
            _ => Some(*self.dice.pick(&[
                TaskState::Completed,
                TaskState::Failed,
                TaskState::Canceled,
                TaskState::InputRequired,
                TaskState::Working,
            ])),
        };
        let update = match next {
            Some(state) => {
                (row.state, row.status_timestamp) = (state, self.time());
                let status = TaskStatus::new(state, self.time());
                Update::Status(TaskStatusUpdateEvent { task_id, context_id, status, metadata: None })
            }
            None => {
                let artifact = Artifact::text("result", self.text());
                let (append, last_chunk) = (self.dice.percent(50), false);
                let metadata = None;
                Update::Artifact(TaskArtifactUpdateEvent {
                    task_id,
                    context_id,
                    artifact,
                    append,
                    last_chunk,
                    metadata,
                })
            }
        };
        let cause = (row.last_seq == 1).then(|| Arc::new(Cause::of(self.message(Role::User))));
        Event { seq: row.last_seq, update, cause }
    }

    /// Mostly short; at times as long as pages, and rarely longer than a small segment.
    fn text(&mut self) -> String {
        let bytes = match self.dice.under(400) {
            0 => 300 << 10,
            1..20 => 10_000 + self.dice.under(20_000),
            20..120 => 1_000 + self.dice.under(4_000),
            _ => 1 + self.dice.under(300),
        };
        let from = self.dice.under(LETTERS.len() - bytes);
        LETTERS[from..from + bytes].to_owned()
    }

    fn message(&mut self, role: Role) -> Message {
        let mut message = match role {
            Role::User => Message::user(self.text()),
            _ => Message::agent(self.text()),
        };
        message.message_id = format!("message-{:016x}", self.dice.next()).into();
        message
    }

    /// By which a reader knows that this group is there.
    fn mark(&mut self) -> Remembered {
        let message = self.message(Role::Agent);
        let digest = SendDigest([u8::try_from(self.number & 0xff).expect("a byte"); 16]);
        let answer = Answer::Message(Arc::new(message));
        let expires = Timestamp::from_unix_nanos(NOW.unix_nanos() + 3_600_000_000_000);
        Remembered { key: mark(self.number), digest, answer, expires }
    }

    fn answer(&mut self, to: &Append) -> Remembered {
        let mut key = [0x5a; 16];
        key[..8].copy_from_slice(&self.dice.next().to_be_bytes());
        let (task_id, context_id) = (to.row.id.clone(), to.row.context.clone());
        let answer = Answer::Task { task_id, context_id, after: to.expected };
        let hours = 1 + i64::try_from(self.dice.under(24)).expect("small");
        let expires = Timestamp::from_unix_nanos(NOW.unix_nanos() + hours * 3_600_000_000_000);
        Remembered { key: SendKey(key), digest: SendDigest([7; 16]), answer, expires }
    }

    fn any_task(&mut self) -> Option<Id> {
        let ids: Vec<_> = self.now.tasks.keys().collect();
        (!ids.is_empty()).then(|| (*self.dice.pick(&ids)).clone())
    }

    fn push(&mut self) -> Option<PushChange> {
        let task = self.any_task()?;
        let id: Id = format!("hook-{}", self.dice.under(2)).into();
        let config = self.dice.percent(70).then(|| {
            let mut config = TaskPushNotificationConfig::new(format!("https://example.org/{}", self.number));
            (config.id, config.task_id) = (Some(id.clone()), Some(task.clone()));
            Arc::new(config)
        });
        Some(PushChange { task, id, config })
    }

    fn cut(&mut self) -> Option<Cut> {
        let task = self.any_task()?;
        let row = &self.now.tasks[&task].row;
        let (last, row) = (row.last_seq, row.clone());
        if last < 2 {
            return None;
        }
        let oldest = 2 + self.dice.next() % (last - 1);
        let seq = oldest - 1 + self.dice.next() % (last - oldest + 2);
        Some(Cut { checkpoint: fold(&row, seq), oldest })
    }

    /// The finished go first, as retention has it; at times somebody deletes any.
    fn deletions(&mut self) -> Vec<Id> {
        let finished = self.now.tasks.values().filter(|kept| kept.row.state.is_terminal());
        let finished: Vec<_> = finished.map(|kept| kept.row.id.clone()).collect();
        let most = if self.now.tasks.len() > LIVE { 6 } else { 1 };
        let mut gone: Vec<_> = finished.into_iter().take(most).collect();
        if self.dice.percent(20) {
            gone.extend(self.any_task());
        }
        gone.dedup();
        gone
    }

    fn checkpoints(&mut self) -> Vec<Checkpoint> {
        let count = 1 + self.dice.under(4);
        let tasks: Vec<_> = (0..count).filter_map(|_| self.any_task()).collect();
        tasks.iter().map(|id| &self.now.tasks[id].row).map(|row| fold(row, row.last_seq)).collect()
    }
}

//! Test doubles: agents that do what a test says, and an observer that remembers.

use std::sync::{Arc, Mutex};

use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
use a2a_webcap::client::{At, Features, Observer, TaskEvent};
use a2a_webcap::fault::{Fault, FaultKind, Result};
use a2a_webcap::model::{
    AgentCapabilities, AgentCard, AgentSkill, EndReason, Message, StreamEnd, StreamResponse, Task,
    TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent,
};
use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::world::soon;

/// An agent whose turns are given to the test, which then speaks for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Puppet {
    pub(crate) may_reply: bool,
    pub(crate) reads_inbox: bool,
}

/// Where a puppet's turns come up.
pub(crate) struct Stage(mpsc::UnboundedReceiver<Cue>);

/// A turn that the test does.
pub(crate) struct Cue {
    pub(crate) turn: Turn,
    pub(crate) updates: Updates,
    end: oneshot::Sender<Result<(), AgentError>>,
}

struct OnStage(Puppet, mpsc::UnboundedSender<Cue>);

impl Puppet {
    pub(crate) fn on_stage(self) -> (impl Agent, Stage) {
        let (sender, turns) = mpsc::unbounded_channel();
        (OnStage(self, sender), Stage(turns))
    }
}

impl Stage {
    /// The next turn.
    pub(crate) async fn turn(&mut self) -> Cue {
        soon("a turn begins", self.0.recv()).await.expect("the agent lives")
    }
}

impl Cue {
    /// The agent returns.
    pub(crate) fn end(self) {
        let _ = self.end.send(Ok(()));
    }

    /// The agent returns an error.
    pub(crate) fn fail(self, reason: &str) {
        let _ = self.end.send(Err(AgentError::new(reason)));
    }

    /// Says that it works, and has that in the log.
    pub(crate) async fn works(&self) {
        self.updates.working().await.expect("the turn is not over");
        self.updates.flush().await.expect("the turn is not over");
    }

    /// Says a text, and waits for nothing.
    pub(crate) fn says_at_once(&self, text: &str) {
        use futures::FutureExt as _;
        let said = self.updates.chunk("text", text, true, false).now_or_never();
        said.expect("there is room").expect("the turn is not over");
    }

    /// Says a text as a piece of the artifact `text`, and has that in the log.
    pub(crate) async fn says(&self, text: &str) {
        self.updates.chunk("text", text, true, false).await.expect("the turn is not over");
        self.updates.flush().await.expect("the turn is not over");
    }
}

#[async_trait]
impl Agent for OnStage {
    fn card(&self) -> AgentCard {
        let mut skill = AgentSkill::new("play", "Play", "Does what a test says.");
        skill.tags = vec!["test".to_owned()];
        let mut card = AgentCard::new("Puppet", "Does what a test says.", "1.0").with_skill(skill);
        card.capabilities = AgentCapabilities { streaming: Some(true), ..AgentCapabilities::default() };
        card
    }

    fn may_reply_with_message(&self) -> bool {
        self.0.may_reply
    }

    fn reads_inbox(&self) -> bool {
        self.0.reads_inbox
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let cancellation = turn.cancellation.clone();
        let (end, ended) = oneshot::channel();
        let _ = self.1.send(Cue { turn, updates, end });
        tokio::select! {
            Ok(outcome) = ended => outcome,
            () = cancellation.cancelled() => Ok(()),
        }
    }
}

/// An observer that remembers every call. Clones share the memory.
#[derive(Clone)]
pub(crate) struct Collector(Arc<Memory>);

struct Memory {
    features: Features,
    fails_at: Option<usize>,
    gate: Option<Semaphore>,
    seen: Mutex<Seen>,
    calls: watch::Sender<usize>,
}

#[derive(Clone, Default)]
struct Seen {
    events: Vec<TaskEvent>,
    end: Option<StreamEnd>,
    late: usize,
}

impl Collector {
    /// With every optional method.
    pub(crate) fn new() -> Self {
        Self::with(Features::default())
    }

    /// With these optional methods.
    pub(crate) fn with(features: Features) -> Self {
        Self::build(features, None, None)
    }

    /// With none of the optional methods.
    pub(crate) fn bare() -> Self {
        Self::with(Features { snapshots: false, messages: false, batches: false })
    }

    /// Fails at its event number `at`, counted from 1.
    pub(crate) fn failing_at(at: usize) -> Self {
        Self::build(Features::default(), Some(at), None)
    }

    /// Takes an event only when [`admit`](Self::admit) lets it.
    pub(crate) fn gated(features: Features) -> Self {
        Self::build(features, None, Some(Semaphore::new(0)))
    }

    fn build(features: Features, fails_at: Option<usize>, gate: Option<Semaphore>) -> Self {
        let (seen, calls) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Memory { features, fails_at, gate, seen, calls }))
    }

    /// Lets this many more events in.
    pub(crate) fn admit(&self, events: usize) {
        self.0.gate.as_ref().expect("a gate").add_permits(events);
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<TaskEvent> {
        self.seen(|seen| seen.events.clone())
    }

    /// The numbers of the events so far, snapshots left out.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let numbered = |event: &&TaskEvent| !matches!(event.content, StreamResponse::Task(_));
        self.seen(|seen| seen.events.iter().filter(numbered).map(|event| event.seq).collect())
    }

    /// The states that the status events so far say.
    pub(crate) fn states(&self) -> Vec<TaskState> {
        let state = |event: &TaskEvent| match &event.content {
            StreamResponse::StatusUpdate(update) => Some(update.status.state),
            _ => None,
        };
        self.seen(|seen| seen.events.iter().filter_map(state).collect())
    }

    /// The texts of the artifact pieces so far.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |event: &TaskEvent| event.artifact_text().map(std::borrow::Cow::into_owned);
        self.seen(|seen| seen.events.iter().filter_map(text).collect())
    }

    /// Waits until there are so many events.
    pub(crate) async fn has(&self, events: usize) -> Vec<TaskEvent> {
        self.wait("events arrive", |seen| seen.events.len() >= events).await;
        self.events()
    }

    /// Waits for the final event.
    pub(crate) async fn wait_for_final(&self) -> TaskEvent {
        self.wait("the final event", |seen| seen.events.last().is_some_and(|event| event.is_final)).await;
        self.events().pop().expect("an event")
    }

    /// Waits for the last call, and checks what holds of every stream.
    pub(crate) async fn end(&self) -> StreamEnd {
        self.wait("onEnd", |seen| seen.end.is_some()).await;
        let (end, late) = self.seen(|seen| (seen.end.clone().expect("an end"), seen.late));
        assert_eq!(late, 0, "nothing comes after onEnd");
        assert_stream(&self.events(), &end);
        end
    }

    /// The last call, if it has come.
    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        self.seen(|seen| seen.end.clone())
    }

    async fn wait(&self, what: &str, mut is_so: impl FnMut(&Seen) -> bool) {
        let mut calls = self.0.calls.subscribe();
        let waiting = calls.wait_for(|_| self.seen(&mut is_so));
        soon(what, waiting).await.expect("the memory lives");
    }

    fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.seen.lock().expect("no panic under the lock"))
    }

    fn remember(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.seen.lock().expect("no panic under the lock"));
        self.0.calls.send_modify(|calls| *calls += 1);
    }

    async fn take(&self, content: StreamResponse, at: At) -> Result<()> {
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.expect("never closed").forget();
        }
        let event = TaskEvent { seq: at.seq, is_final: at.is_final, content };
        self.remember(|seen| {
            seen.late += usize::from(seen.end.is_some());
            seen.events.push(event);
        });
        let count = self.seen(|seen| seen.events.len());
        if self.0.fails_at == Some(count) {
            return Err(Fault::new(FaultKind::Internal, "this observer fails, as it was told to"));
        }
        Ok(())
    }
}

impl Observer for Collector {
    fn features(&self) -> Features {
        self.0.features
    }

    async fn on_task(&mut self, task: Task, at: At) -> Result<()> {
        self.take(StreamResponse::Task(task), at).await
    }

    async fn on_status_update(&mut self, update: TaskStatusUpdateEvent, at: At) -> Result<()> {
        self.take(StreamResponse::StatusUpdate(update), at).await
    }

    async fn on_artifact_update(&mut self, update: TaskArtifactUpdateEvent, at: At) -> Result<()> {
        self.take(StreamResponse::ArtifactUpdate(update), at).await
    }

    async fn on_message(&mut self, message: Message) -> Result<()> {
        self.take(StreamResponse::Message(message), At { seq: 0, is_final: true }).await
    }

    async fn on_end(&mut self, end: StreamEnd) {
        self.remember(|seen| seen.end = Some(end));
    }
}

/// What holds of every stream that has ended: numbers without gap or repeat after the snapshot, which is the
/// first if it is there; at most one final event, the last; one task and one context; and an end that agrees.
pub(crate) fn assert_stream(events: &[TaskEvent], end: &StreamEnd) {
    let mut last: Option<u64> = None;
    let mut named: Option<(&str, &str)> = None;
    for (at, event) in events.iter().enumerate() {
        let ids = match &event.content {
            StreamResponse::Task(task) => {
                assert_eq!(at, 0, "a snapshot comes first");
                (&*task.id, task.context_id.as_deref().expect("a task has a context"))
            }
            StreamResponse::StatusUpdate(update) => (&*update.task_id, &*update.context_id),
            StreamResponse::ArtifactUpdate(update) => (&*update.task_id, &*update.context_id),
            StreamResponse::Message(_) => {
                assert_eq!(events.len(), 1, "a message comes alone");
                continue;
            }
        };
        assert_eq!(*named.get_or_insert(ids), ids, "one task and one context");
        if let Some(last) = last {
            // A finished task's last status event follows the snapshot that contains it already.
            let repeats = at == 1 && event.is_final && event.seq == last;
            assert!(repeats || event.seq == last + 1, "{} after {last}: a gap or a repeat", event.seq);
        }
        last = Some(event.seq);
        assert!(!event.is_final || at + 1 == events.len(), "the final event is the last");
    }
    let is_final = events.last().is_some_and(|event| event.is_final);
    let says_final = matches!(end.reason, EndReason::Completed | EndReason::Interrupted);
    assert!(is_final || !says_final || events.is_empty(), "{end:?} without a final event");
    assert!(!is_final || says_final, "{end:?} after a final event");
    if let Some(last) = last {
        assert_eq!(end.last_seq, last, "onEnd names the last event");
    }
}

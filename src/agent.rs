//! What an agent's author sees: [`Agent`], the [`Turn`] it is given, and the [`Updates`] it answers with.
//!
//! ```
//! use a2a_webcap::agent::{Agent, AgentError, Turn, Updates};
//! use a2a_webcap::model::{AgentCard, AgentSkill};
//!
//! struct Shout;
//!
//! #[async_trait::async_trait]
//! impl Agent for Shout {
//!     fn card(&self) -> AgentCard {
//!         let skill = AgentSkill::new("shout", "Shout", "Says it louder.");
//!         AgentCard::new("Shout", "An agent that shouts.", "1.0").with_skill(skill)
//!     }
//!
//!     async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
//!         updates.text("answer", turn.message.text().to_uppercase()).await?;
//!         Ok(()) // The task is completed now.
//!     }
//! }
//! ```

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{
    AgentCard, Artifact, Event, Id, Message, Part, ServiceParameters, Struct, Task, TaskState, TaskStatus,
};

/// An agent: it is given turns, and answers each with updates of a task or with one message.
///
/// One value serves every caller at once. Turns run on the engine's own threads, never on those that serve
/// connections; an agent may still not block a thread for long, since others wait for it.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// How the agent describes itself. The server fills in where it can be reached.
    fn card(&self) -> AgentCard;

    /// Whether a turn may be answered with [`Updates::reply`] instead of a task. If so, a task is opened
    /// only by the turn's first update.
    fn may_reply_with_message(&self) -> bool {
        false
    }

    /// Whether the agent reads [`Turn::inbox`]. If not, a message to a working task is refused.
    fn reads_inbox(&self) -> bool {
        false
    }

    /// Whether a turn that the end of the server cut short can be given to the agent again, with
    /// [`Turn::resumed`] set. If not, its task fails.
    ///
    /// The agent then goes on from what is in the log: [`Turn::task`] is the task as it is now, and
    /// [`Turn::past`] what was said in the turn. What it had said last may not have got into the log, and
    /// what it had done elsewhere may have been done.
    fn can_resume(&self) -> bool {
        false
    }

    /// Does one turn's work.
    ///
    /// `Ok` without a terminal or interrupted state before completes the task. An error or a panic fails it,
    /// with the reason. A turn that is canceled or out of time sees its
    /// [`cancellation`](Turn::cancellation) and is dropped a few seconds later.
    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError>;

    /// The server stops: no turn begins any more, and those that run have been told to end. The agent lets go of
    /// what it holds, such as a program of its own. It is given a few seconds.
    async fn stop(&self) {}
}

/// What a turn is about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Turn {
    /// The task, which exists unless the agent [may reply with a message](Agent::may_reply_with_message).
    pub task_id: Id,
    /// The conversation.
    pub context_id: Id,
    /// What the client says.
    pub message: Arc<Message>,
    /// The task as it was when the message arrived; none if the message opens it. In a resumed turn the task as
    /// it is now.
    pub task: Option<Arc<Task>>,
    /// Messages that arrive while the turn runs. In a resumed turn those come first that arrived before it was
    /// cut short, even if they were read then.
    pub inbox: Inbox,
    /// Fires when the turn is to end: the task was canceled, its time is over, or the server stops.
    pub cancellation: CancellationToken,
    /// The principal that speaks; empty for an anonymous one.
    pub subject: Arc<str>,
    /// The service parameters of the call.
    pub parameters: Arc<ServiceParameters>,
    /// The metadata of the request, beside the message's own.
    pub metadata: Option<Struct>,
    /// The media types that the client can take; empty for any.
    pub accepted_output_modes: Vec<String>,
    /// Whether this turn was begun before and cut short. Its deadline begins anew.
    pub resumed: bool,
    /// The events of a resumed turn until it was cut short, from the one that [`message`](Self::message) caused;
    /// empty in any other. At most the newest 10,000 or 16 MiB, fewer bytes if very many turns are resumed:
    /// where the first event is not caused by the message, older ones were left out.
    pub past: Vec<Arc<Event>>,
}

impl Turn {
    /// A turn with a message and nothing else.
    pub fn new(task_id: Id, context_id: Id, message: Arc<Message>) -> Self {
        Self {
            task_id,
            context_id,
            message,
            task: None,
            inbox: Inbox::closed(),
            cancellation: CancellationToken::new(),
            subject: Arc::from(""),
            parameters: Arc::default(),
            metadata: None,
            accepted_output_modes: Vec::new(),
            resumed: false,
            past: Vec::new(),
        }
    }

    /// The messages of the task before this turn, oldest first; in a resumed turn those of the turn too.
    pub fn history(&self) -> &[Message] {
        self.task.as_ref().map_or(&[], |task| &task.history)
    }
}

/// Messages that clients send into a running turn.
#[derive(Debug)]
pub struct Inbox(Option<mpsc::Receiver<Arc<Message>>>);

impl Inbox {
    /// An inbox, and where to put messages in: at most `bound` wait at once.
    pub fn bounded(bound: usize) -> (mpsc::Sender<Arc<Message>>, Self) {
        let (sender, receiver) = mpsc::channel(bound.max(1));
        (sender, Self(Some(receiver)))
    }

    /// An inbox that stays empty.
    pub fn closed() -> Self {
        Self(None)
    }

    /// The next message; waits for it. None when no further one can come.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        self.0.as_mut()?.recv().await
    }

    /// A message that is there already.
    pub fn try_next(&mut self) -> Option<Arc<Message>> {
        self.0.as_mut()?.try_recv().ok()
    }
}

/// Where an agent's updates go. Clones go to the same task, in the order of the calls.
///
/// Updates are pipelined: a call waits only while too many are not yet in the log. They are handed over
/// together when the agent next waits for something, so an agent that computes for long between updates should
/// [`flush`](Self::flush). Every call fails once the turn is over; `?` is then the right thing to do.
#[derive(Clone)]
pub struct Updates(Arc<dyn UpdateSink>);

impl Updates {
    /// Updates that go to a sink; the engine's, or a test's own.
    pub fn new(sink: Arc<dyn UpdateSink>) -> Self {
        Self(sink)
    }

    /// The agent is at it.
    ///
    /// # Errors
    /// Of this and the other methods: [`UpdateError`] if the turn is over, or an earlier update was refused.
    pub async fn working(&self) -> Result<(), UpdateError> {
        self.state(TaskState::Working, None).await
    }

    /// The agent is at it, and says something about it.
    pub async fn progress(&self, text: impl Into<String>) -> Result<(), UpdateError> {
        self.state(TaskState::Working, Some(Message::agent(text))).await
    }

    /// The task is done.
    pub async fn complete(&self) -> Result<(), UpdateError> {
        self.state(TaskState::Completed, None).await
    }

    /// The task is done, and this is said about it.
    pub async fn complete_with(&self, message: Message) -> Result<(), UpdateError> {
        self.state(TaskState::Completed, Some(message)).await
    }

    /// The task cannot be done.
    pub async fn fail(&self, text: impl Into<String>) -> Result<(), UpdateError> {
        self.state(TaskState::Failed, Some(Message::agent(text))).await
    }

    /// The agent will not do this.
    pub async fn reject(&self, text: impl Into<String>) -> Result<(), UpdateError> {
        self.state(TaskState::Rejected, Some(Message::agent(text))).await
    }

    /// Asks the client; its answer comes as a new turn of the same task.
    pub async fn require_input(&self, question: impl Into<String>) -> Result<(), UpdateError> {
        self.state(TaskState::InputRequired, Some(Message::agent(question))).await
    }

    /// Asks for credentials, which come by another way.
    pub async fn require_auth(&self, text: impl Into<String>) -> Result<(), UpdateError> {
        self.state(TaskState::AuthRequired, Some(Message::agent(text))).await
    }

    /// Takes a state, with or without a message about it. Ids and role that the message lacks are filled in.
    pub async fn state(&self, state: TaskState, message: Option<Message>) -> Result<(), UpdateError> {
        self.emit(Output::Status { status: TaskStatus { state, message, timestamp: None }, metadata: None })
            .await
    }

    /// A whole artifact. One with the same id is replaced.
    pub async fn artifact(&self, artifact: Artifact) -> Result<(), UpdateError> {
        self.emit(Output::Artifact(Chunk { artifact, append: false, last: true, metadata: None })).await
    }

    /// A whole artifact of one text.
    pub async fn text(&self, artifact_id: impl Into<Id>, text: impl Into<String>) -> Result<(), UpdateError> {
        self.artifact(Artifact::text(artifact_id, text)).await
    }

    /// A piece of an artifact's text. The first piece has `append` false; the last one says so.
    pub async fn chunk(
        &self,
        artifact_id: impl Into<Id>,
        text: impl Into<String>,
        append: bool,
        last: bool,
    ) -> Result<(), UpdateError> {
        let artifact = Artifact::new(artifact_id, vec![Part::text(text)]);
        self.emit(Output::Artifact(Chunk { artifact, append, last, metadata: None })).await
    }

    /// Answers with a message instead of a task. Where the task is open already, it is completed with
    /// the message.
    pub async fn reply(&self, message: Message) -> Result<(), UpdateError> {
        self.emit(Output::Reply(message)).await
    }

    /// Any update.
    pub async fn emit(&self, output: Output) -> Result<(), UpdateError> {
        if self.0.push(output)? == Room::Full {
            self.0.room().await?;
        }
        // An agent that never waits would otherwise keep its thread to itself.
        tokio::task::coop::consume_budget().await;
        Ok(())
    }

    /// Waits until everything so far is in the log.
    pub async fn flush(&self) -> Result<(), UpdateError> {
        self.0.flush().await
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}

/// One update of an agent, before it has a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The task takes a state. The time is the engine's.
    Status {
        /// The state, and what is said about it.
        status: TaskStatus,
        /// Anything else; merged into the task's metadata.
        metadata: Option<Struct>,
    },
    /// An artifact, or a piece of one.
    Artifact(Chunk),
    /// A message instead of a task.
    Reply(Message),
}

impl Output {
    /// About how many bytes it holds, for bounds.
    pub fn approximate_size(&self) -> usize {
        match self {
            Self::Status { status, .. } => status.message.as_ref().map_or(0, Message::approximate_size),
            Self::Artifact(chunk) => chunk.artifact.approximate_size(),
            Self::Reply(message) => message.approximate_size(),
        }
    }
}

/// An artifact, or a piece of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The content.
    pub artifact: Artifact,
    /// Whether the parts are added to the artifact with the same id; else they replace it.
    pub append: bool,
    /// Whether this is the last piece.
    pub last: bool,
    /// Anything else, for those who follow the stream.
    pub metadata: Option<Struct>,
}

/// What takes an agent's updates.
#[async_trait]
pub trait UpdateSink: Send + Sync {
    /// Takes an update without waiting, even where there is no room.
    fn push(&self, output: Output) -> Result<Room, UpdateError>;

    /// Waits until there is room for more.
    async fn room(&self) -> Result<(), UpdateError>;

    /// Waits until everything that was taken is in the log.
    async fn flush(&self) -> Result<(), UpdateError>;
}

/// Whether a sink can take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Free,
    /// The agent is too far ahead of the log.
    Full,
}

/// Why an update came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError {
    /// The turn is over: the task is finished, was canceled, or goes on in a later turn.
    Over,
    /// The update is not what A2A requires, which is said at once; or it is no legal step of the task, which the next
    /// call says. The task stays as it was.
    Refused(String),
    /// The engine has stopped.
    Stopped,
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("the turn is over; nothing more can be said in it"),
            Self::Refused(why) => write!(f, "the update was refused: {why}"),
            Self::Stopped => f.write_str("the engine has stopped"),
        }
    }
}

impl Error for UpdateError {}

/// Why a turn failed. The text becomes the message of the failed task, so it must not hold a secret.
/// Any error converts into it.
#[derive(Debug)]
pub struct AgentError(String);

impl AgentError {
    /// A reason in words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// With the errors that led to it. `AgentError` itself is no `Error`, which is what allows this.
impl<E: Error> From<E> for AgentError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            text = format!("{text}: {deeper}");
            cause = deeper.source();
        }
        Self(text)
    }
}

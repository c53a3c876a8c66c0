//! A long-lived program as an agent: it is given turns as JSON lines, several at once, and answers with A2A's events
//! as JSON lines.
//!
//! The program is started with the agent, ended with it, and started again when it ends by itself. The protocol is
//! specified in `docs/process-agents.md`; [`protocol`] has its lines, [`turns`] what is known of each turn,
//! [`supervisor`] the life of the program.

mod made;
mod pipes;
mod protocol;
mod supervisor;
mod turns;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::task::AbortOnDropHandle;

use self::made::Made;
use self::protocol::{Introduction, What};
use self::turns::{Given, Heard, State, Turns};
use super::process::{ProcessError, Program, card};
use super::trace;
use crate::agent::{Agent, AgentError, Output, Turn, UpdateError, Updates};
use crate::limits::ProcessLimits;
use crate::model::{AgentCard, Message, Struct};

/// A long-lived program that is to be an agent; [`start`](Self::start) makes it one.
///
/// ```no_run
/// use a2a_webcap::Server;
/// use a2a_webcap::agents::{JsonLines, Program};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = JsonLines::new(Program::parse("python3 my_agent.py")?).start().await?;
/// let server = Server::builder().agent(agent).anonymous().start().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct JsonLines {
    program: Program,
    card: Option<AgentCard>,
    limits: ProcessLimits,
}

/// An agent whose turns a long-lived program does. Dropped, it kills the program.
#[derive(Debug)]
pub struct JsonLinesAgent {
    turns: Arc<Turns>,
    card: AgentCard,
    introduction: Introduction,
    _supervisor: AbortOnDropHandle<()>,
}

impl JsonLines {
    /// An agent of this program.
    pub fn new(program: Program) -> Self {
        Self { program, card: None, limits: ProcessLimits::default() }
    }

    /// How the agent describes itself, instead of what its card line and the file beside it say.
    #[must_use]
    pub fn card(mut self, card: AgentCard) -> Self {
        self.card = Some(card);
        self
    }

    /// Bounds of its process.
    #[must_use]
    pub fn limits(mut self, limits: ProcessLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts the program and waits until it has introduced itself. It is kept running on the tokio runtime that
    /// this is called on, which needs IO and time enabled.
    ///
    /// # Errors
    /// [`ProcessError`]: it does not start, or its first line is not a card line.
    pub async fn start(self) -> Result<JsonLinesAgent, ProcessError> {
        let Self { program, card, limits } = self;
        let name: Arc<str> = Arc::from(program.name());
        let beside = card::beside(&program)?;
        let (first, introduction) = supervisor::start(&program, &name, &limits).await?;
        let mut said = card::plain(&name);
        card::overlay(&mut said, introduction.card.clone());
        card::overlay(&mut said, beside.unwrap_or_default());
        let card = match card {
            Some(card) => card,
            None => card::whole(said).map_err(|reason| ProcessError::Introduction {
                program: name.to_string(),
                reason: format!("its card is none: {reason}"),
            })?,
        };
        let turns = Arc::new(Turns::new(name, limits));
        let mut state = turns.state.subscribe();
        let supervisor = tokio::spawn(supervisor::supervise(Arc::clone(&turns), program, first));
        // The first turn need not wait.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
        Ok(JsonLinesAgent { turns, card, introduction, _supervisor: AbortOnDropHandle::new(supervisor) })
    }
}

/// How a turn that a program was given came out.
enum Outcome {
    Over(Result<(), AgentError>),
    Canceled,
    Died(Arc<str>),
}

/// A turn on its way to a program and back.
struct Work<'a> {
    turn: &'a mut Turn,
    updates: &'a Updates,
    made: Made,
    /// Messages that came while it runs; a program that is given the turn again needs them too.
    came: Vec<Arc<Message>>,
    metadata: Option<Struct>,
}

#[async_trait]
impl Agent for JsonLinesAgent {
    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    fn may_reply_with_message(&self) -> bool {
        self.introduction.may_reply
    }

    fn reads_inbox(&self) -> bool {
        self.introduction.inbox
    }

    fn can_resume(&self) -> bool {
        self.introduction.resumes
    }

    async fn execute(&self, mut turn: Turn, updates: Updates) -> Result<(), AgentError> {
        let (made, metadata) = (Made::of(&turn), trace::metadata(&turn.parameters));
        let mut work = Work { turn: &mut turn, updates: &updates, made, came: Vec::new(), metadata };
        let (mut resumed, mut attempts) = (work.turn.resumed, 0);
        loop {
            let cancellation = work.turn.cancellation.clone();
            let process = tokio::select! {
                biased;
                () = cancellation.cancelled() => return Ok(()),
                process = self.turns.ready() => process.map_err(AgentError::new)?,
            };
            let Some(given) = self.turns.begin(&work.turn.task_id, process) else { continue };
            let reason = match work.run(given, resumed).await {
                Outcome::Over(outcome) => return outcome,
                Outcome::Canceled => return Ok(()),
                Outcome::Died(reason) => reason,
            };
            attempts += 1;
            if !self.introduction.resumes {
                return Err(AgentError::new(&*reason));
            }
            if attempts > self.turns.limits.resumes {
                let reason = format!("{reason}; it was given this task {attempts} times, and not again");
                return Err(AgentError::new(reason));
            }
            resumed = true;
        }
    }

    async fn stop(&self) {
        self.turns.stop.cancel();
        let mut state = self.turns.state.subscribe();
        let stopped = state.wait_for(|state| matches!(state, State::Stopped));
        // The supervisor itself keeps to the graces of the limits.
        if tokio::time::timeout(self.turns.limits.grace * 3, stopped).await.is_err() {
            tracing::warn!(
                agent = &*self.turns.name,
                "the agent's program did not end in time, and is killed"
            );
        }
    }
}

impl Work<'_> {
    async fn run(&mut self, mut given: Given, resumed: bool) -> Outcome {
        let cancellation = self.turn.cancellation.clone();
        tokio::select! {
            biased;
            () = cancellation.cancelled() => return Outcome::Canceled,
            () = self.tell(&mut given, resumed) => {}
        }
        let (mut reads_inbox, mut is_said) = (true, false);
        loop {
            let heard = tokio::select! {
                biased;
                () = cancellation.cancelled() => {
                    given.cancel().await;
                    return Outcome::Canceled;
                }
                heard = given.heard.recv() => heard,
                // An update that is no legal step is refused only on its way to the log.
                flushed = self.updates.flush(), if is_said => {
                    match flushed {
                        Ok(()) => is_said = false,
                        Err(error) => return Outcome::Over(Err(error.into())),
                    }
                    continue;
                }
                message = self.turn.inbox.next(), if reads_inbox => {
                    match message {
                        Some(message) => self.pass_on(&mut given, message).await,
                        None => reads_inbox = false,
                    }
                    continue;
                }
            };
            match heard {
                Some(Heard::Said(what, _room)) => {
                    if let Some(outcome) = self.say(*what).await {
                        return Outcome::Over(outcome);
                    }
                    is_said = true;
                }
                Some(Heard::Failed(why)) => return Outcome::Over(Err(failed(&why))),
                Some(Heard::Died(reason)) => return Outcome::Died(reason),
                // A later turn of the same task has taken its place, so this one is over.
                None => return Outcome::Canceled,
            }
        }
    }

    async fn tell(&self, given: &mut Given, resumed: bool) {
        let made = resumed.then_some(&self.made);
        given.tell(protocol::turn_bytes(self.turn), || protocol::turn(self.turn, made)).await;
        for message in &self.came {
            let task = &self.turn.task_id;
            given.tell(message.approximate_size(), || protocol::message(task, message)).await;
        }
    }

    async fn pass_on(&mut self, given: &mut Given, message: Arc<Message>) {
        let task = &self.turn.task_id;
        given.tell(message.approximate_size(), || protocol::message(task, &message)).await;
        self.came.push(message);
    }

    /// Says what the program has said; how the turn came out, if that was its end.
    async fn say(&mut self, what: What) -> Option<Result<(), AgentError>> {
        let (output, ends) = match what {
            What::Update { output, ends } => (output, ends),
            What::End { error: None } => return Some(Ok(())),
            What::End { error: Some(mut error) } => {
                error.truncate(error.floor_char_boundary(ERROR_BYTES));
                return Some(Err(AgentError::new(error)));
            }
        };
        self.made.add(&output);
        if let Err(error) = self.updates.emit(self.traced(output)).await {
            return Some(Err(error.into()));
        }
        if !ends {
            return None;
        }
        match self.updates.flush().await {
            Ok(()) | Err(UpdateError::Over) => Some(Ok(())),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// With the id of the trace that the call belongs to, unless the program has said one itself.
    fn traced(&self, mut output: Output) -> Output {
        let Some(ours) = &self.metadata else { return output };
        let metadata = match &mut output {
            Output::Status { metadata, .. } => metadata,
            Output::Artifact(chunk) => &mut chunk.metadata,
            Output::Reply(message) => &mut message.metadata,
        };
        for (name, value) in ours {
            metadata.get_or_insert_default().entry(name.clone()).or_insert_with(|| value.clone());
        }
        output
    }
}

/// How much of a program's own reason becomes the task's.
const ERROR_BYTES: usize = 64 << 10;

fn failed(why: &str) -> AgentError {
    AgentError::new(format!("the agent's program is at fault: {why}"))
}

//! Any program that reads text and prints text, as an agent: one process a turn.
//!
//! The user's text comes on stdin, which then ends. What the program prints becomes the artifact `output`, streamed
//! as it is printed. The exit code decides: 0 completes the task, anything else fails it, with the end of stderr.
//! What the turn is about stands in environment variables; nothing of a client ever comes into the command line.
//! `docs/process-agents.md` is the whole story.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdout;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::process::stderr::Stderr;
use super::process::text::Utf8Stream;
use super::process::{ProcessError, Program, Running, card, ended};
use super::trace;
use crate::agent::{Agent, AgentError, Chunk, Output, Turn, UpdateError, Updates};
use crate::limits::ProcessLimits;
use crate::model::{AgentCard, Artifact, Part, ServiceParameters, Struct};

/// An agent that runs a program for each turn.
///
/// ```no_run
/// use a2a_webcap::Server;
/// use a2a_webcap::agents::{Exec, Program};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let agent = Exec::new(Program::parse("./my-script.sh --brief")?)?;
/// let server = Server::builder().agent(agent).anonymous().start().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Exec {
    program: Program,
    name: Arc<str>,
    card: AgentCard,
    limits: ProcessLimits,
    /// The turns that run.
    turns: TaskTracker,
}

impl Exec {
    /// An agent that runs this program. Its card comes from the file beside the program, if there is one.
    ///
    /// # Errors
    /// [`ProcessError::CardFile`], if that file is no card.
    pub fn new(program: Program) -> Result<Self, ProcessError> {
        let name = program.name();
        let mut said = card::plain(&name);
        if let Some(file) = card::beside(&program)? {
            card::overlay(&mut said, file);
        }
        let card = card::whole(said).map_err(|reason| ProcessError::Introduction {
            program: name.clone(),
            reason: format!("its card is none: {reason}"),
        })?;
        Ok(Self {
            program,
            name: Arc::from(name),
            card,
            limits: ProcessLimits::default(),
            turns: TaskTracker::new(),
        })
    }

    /// How the agent describes itself, instead of what the file beside the program says.
    #[must_use]
    pub fn card(mut self, card: AgentCard) -> Self {
        self.card = card;
        self
    }

    /// Bounds of its processes.
    #[must_use]
    pub fn limits(mut self, limits: ProcessLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Follows one process to its end.
    async fn run(&self, mut running: Running, turn: &Turn, updates: &Updates) -> Result<(), AgentError> {
        let stdin = running.stdin.take().map(|mut stdin| {
            let text = turn.message.text().into_owned();
            // Beside the reading: a program may print before it has read everything, or never read at all.
            AbortOnDropHandle::new(tokio::spawn(async move {
                let _ = stdin.write_all(text.as_bytes()).await;
            }))
        });
        let lines = self.limits.log_lines_per_second;
        let stderr = running.stderr.take();
        let stderr = stderr.map(|stderr| Stderr::follow(stderr, Arc::clone(&self.name), lines));
        let Some(stdout) = running.stdout.take() else { return Ok(()) };
        let metadata = trace::metadata(&turn.parameters);
        let mut relaying = pin!(Relay::new(stdout, updates, metadata).run(self.limits.output_bytes));
        let (relayed, status) = tokio::select! {
            biased;
            () = turn.cancellation.cancelled() => {
                let _ = running.end(self.limits.grace).await;
                return Ok(());
            }
            relayed = &mut relaying => (Some(relayed), None),
            status = running.wait() => (None, Some(status)),
        };
        let status = match (&relayed, status) {
            (_, Some(status)) => status,
            // Told to nobody any more, or too much of it.
            (Some(Err(_)), None) => running.end(self.limits.grace).await,
            (_, None) => tokio::select! {
                biased;
                () = turn.cancellation.cancelled() => running.end(self.limits.grace).await,
                status = running.wait() => status,
            },
        };
        drop(stdin);
        let relayed = match relayed {
            Some(relayed) => relayed,
            // What it has started is gone too, so this is what is left in the pipe.
            None => tokio::time::timeout(LEFT_IN_PIPE, &mut relaying).await.unwrap_or_else(|_| {
                tracing::warn!(
                    agent = &*self.name,
                    "a process that left its group holds the agent's output open"
                );
                Ok(())
            }),
        };
        relayed?;
        if turn.cancellation.is_cancelled() || status.as_ref().is_ok_and(|status| status.success()) {
            return Ok(());
        }
        let how = ended(&status);
        let said = match stderr {
            Some(stderr) => stderr.end().await,
            None => String::new(),
        };
        tracing::warn!(agent = &*self.name, task = &*turn.task_id, how, "the agent's program failed");
        Err(AgentError::new(if said.is_empty() { how } else { format!("{how}: {said}") }))
    }
}

#[async_trait]
impl Agent for Exec {
    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    async fn execute(&self, turn: Turn, updates: Updates) -> Result<(), AgentError> {
        updates.working().await?;
        let modes = turn.accepted_output_modes.join(",");
        let parameter = |name| turn.parameters.get(name).unwrap_or_default();
        let told = [
            ("A2A_TASK_ID", &*turn.task_id),
            ("A2A_CONTEXT_ID", &*turn.context_id),
            ("A2A_MESSAGE_ID", &*turn.message.message_id),
            ("A2A_SUBJECT", &*turn.subject),
            ("A2A_ACCEPTED_OUTPUT_MODES", &modes),
            ("A2A_EXTENSIONS", parameter(ServiceParameters::EXTENSIONS)),
            ("TRACEPARENT", parameter("traceparent")),
            ("TRACESTATE", parameter("tracestate")),
        ];
        let told: Vec<_> = told.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        if let Some((name, _)) = told.iter().find(|(_, value)| value.contains('\0')) {
            let reason =
                format!("what {name} would hold has a NUL character in it, which no program can be told");
            return Err(AgentError::new(reason));
        }
        let _counted = self.turns.token();
        let running = self.program.start(&told)?;
        self.run(running, &turn, &updates).await
    }

    async fn stop(&self) {
        self.turns.close();
        if tokio::time::timeout(self.limits.grace * 2, self.turns.wait()).await.is_err() {
            tracing::warn!(agent = &*self.name, "programs of the agent did not end in time, and are killed");
        }
    }
}

/// What a program prints, on its way into an artifact.
struct Relay<'a> {
    stdout: ChildStdout,
    updates: &'a Updates,
    metadata: Option<Struct>,
    decoder: Utf8Stream,
    waiting: String,
    /// When what waits is to be sent, though it is little.
    due: Instant,
    has_sent: bool,
}

impl<'a> Relay<'a> {
    fn new(stdout: ChildStdout, updates: &'a Updates, metadata: Option<Struct>) -> Self {
        let (decoder, waiting, due) = (Utf8Stream::default(), String::new(), Instant::now());
        Self { stdout, updates, metadata, decoder, waiting, due, has_sent: false }
    }

    /// Reads to the end. What is printed at once becomes one piece; whoever is slow has each piece shown soon.
    async fn run(mut self, most: usize) -> Result<(), AgentError> {
        let (mut buffer, mut read) = (vec![0; PIECE_BYTES], 0_usize);
        loop {
            let reading = self.stdout.read(&mut buffer);
            let count = if self.waiting.is_empty() {
                reading.await?
            } else {
                match tokio::time::timeout_at(self.due, reading).await {
                    Ok(count) => count?,
                    Err(_) => {
                        self.send(false).await?;
                        continue;
                    }
                }
            };
            if count == 0 {
                break;
            }
            read += count;
            if read > most {
                let reason =
                    format!("the agent's program printed more than {most} bytes, the most in one turn");
                return Err(AgentError::new(reason));
            }
            if self.waiting.is_empty() {
                self.due = Instant::now() + GATHERED;
            }
            self.decoder.push(&buffer[..count], &mut self.waiting);
            if self.waiting.len() >= PIECE_BYTES {
                self.send(false).await?;
            }
        }
        self.decoder.end(&mut self.waiting);
        if self.has_sent || !self.waiting.is_empty() {
            self.send(true).await?;
        }
        Ok(())
    }

    async fn send(&mut self, last: bool) -> Result<(), UpdateError> {
        let text = std::mem::take(&mut self.waiting);
        let append = std::mem::replace(&mut self.has_sent, true);
        let mut artifact = Artifact::new("output", vec![Part::text(text)]);
        artifact.name = (!append).then(|| "output".to_owned());
        let metadata = self.metadata.clone();
        self.updates.emit(Output::Artifact(Chunk { artifact, append, last, metadata })).await
    }
}

/// How long what was printed may wait for more.
const GATHERED: Duration = Duration::from_millis(10);
/// How much of it is one piece, about.
const PIECE_BYTES: usize = 16 << 10;
/// How long the output is read after the program's end.
const LEFT_IN_PIPE: Duration = Duration::from_secs(2);

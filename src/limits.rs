//! Every bound, in one place. Nothing in the crate is unbounded that a peer can fill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind, Result};
use crate::model::{TaskState, Timestamp};

/// The bounds of a server or a client. Each default suits one machine that serves the public; each
/// refusal is typed and says which bound was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Limits {
    /// Bounds of one connection's wire.
    pub wire: WireLimits,
    /// Bounds of the listener.
    pub net: NetLimits,
    /// Bounds of the task engine.
    pub engine: EngineLimits,
    /// Bounds of the store on disk.
    pub store: StoreLimits,
    /// Bounds of agents that are programs.
    pub process: ProcessLimits,
}

/// Bounds of one agent among others, within those of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct AgentLimits {
    /// Turns of the agent that run at once; one more is refused with `OVERLOADED`. Not said: as many as the server
    /// runs.
    pub turns: Option<usize>,
    /// Bounds of its program, if it is one. What the settings do not say is as in the server's `limits.process`.
    pub process: ProcessLimits,
}

/// Bounds of agents that are programs of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ProcessLimits {
    /// Bytes of one line that a program may write. A longer one fails the turn that it is about.
    pub line_bytes: usize,
    /// Bytes that a program may print or write in one turn; more fail it.
    pub output_bytes: usize,
    /// Bytes of lines that were read and are not in the log yet, and of lines that wait to be written: for either,
    /// above that the program is not read from, and turns wait.
    pub waiting_bytes: usize,
    /// Time from the start of a program to its card line; also the time that a turn waits for a program that is
    /// being started again.
    #[serde(with = "seconds")]
    pub start_timeout: Duration,
    /// Time within which a program must read a line; one that does not is ended.
    #[serde(with = "seconds")]
    pub read_timeout: Duration,
    /// Time between asking a program to end, or to end a turn, and making it. Beyond 4 s of no use in a turn.
    #[serde(with = "seconds")]
    pub grace: Duration,
    /// The longest pause before a program that has ended is started again.
    #[serde(with = "seconds")]
    pub restart_pause: Duration,
    /// How often one turn is handed again to a program that ends while it works on it.
    pub resumes: u32,
    /// Turns that a program may go on with after it was told to end them. One more, and it is ended; with fewer
    /// it is when nobody else needs it.
    pub ignored_cancels: usize,
    /// Lines of a program's stderr that are logged, for each second.
    pub log_lines_per_second: u32,
}

/// Bounds of the store on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct StoreLimits {
    /// Bytes of one segment of the log, 64 KiB to 256 MiB; a frame that is larger has a segment of its own.
    pub segment_bytes: u64,
    /// Free bytes on the disk below which new work is refused, while reads and running turns go on.
    pub reserve_bytes: u64,
    /// About how many bytes of the catalog wait in memory before they are written down. A restart reads what has
    /// waited from the log again.
    pub catalog_memory_bytes: usize,
    /// Bytes of the catalog's tables that are kept in memory for reading.
    pub catalog_cache_bytes: u64,
    /// Events of a task after which its fold is written down too when it settles, so that a load need not read
    /// them all.
    pub checkpoint_events: u64,
}

/// Bounds of one connection; the same at both ends of Cap'n Proto.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct WireLimits {
    /// Bytes of one message, at most 64 MiB. A longer one ends the connection with close code 1009.
    pub message_bytes: usize,
    /// Words that reading one message may visit, as a multiple of its own words.
    pub traversal_factor: usize,
    /// Depth of pointers in one message.
    pub nesting: i32,
    /// Segments of one message.
    pub segments: usize,
    /// Objects that the peer may hold of ours.
    pub exports: usize,
    /// Objects of the peer that it may make us hold.
    pub imports: usize,
    /// Calls of the peer that may be unanswered. A client lets its server have as many as that may make by `calls`.
    pub questions: usize,
    /// Calls on objects of the peer that it may leave unanswered before streams wait for it. What goes beyond
    /// that by twice `exports` ends the connection.
    pub calls: usize,
    /// Calls that the peer may abandon before they are answered, over the connection's life. Each
    /// costs about 245 bytes until the connection ends (a defect of capnp-rpc 0.27.3).
    pub abandoned_calls: usize,
    /// How deep the values of a Cap'n Web message may nest. A deeper one ends the connection.
    pub depth: usize,
    /// Calls that one Cap'n Web message may ask for. More end the connection.
    pub message_calls: usize,
    /// Instructions × elements of one `map` of Cap'n Web. One that needs more is rejected.
    pub map_steps: usize,
    /// Bytes waiting to be written, as a multiple of `message_bytes`, before the connection ends.
    pub queued_messages: usize,
    /// Bytes waiting to be written above which nothing more is read from the peer, and no stream sends.
    pub send_budget_bytes: usize,
    /// Bytes of one stream's events that may be on their way, unacknowledged by its observer.
    pub stream_window_bytes: usize,
    /// Bytes of the socket's read buffer.
    pub read_buffer_bytes: usize,
    /// Time without a single byte from the peer, pongs included, after which it counts as gone.
    #[serde(with = "seconds")]
    pub idle_timeout: Duration,
    /// How often a silent peer is pinged.
    #[serde(with = "seconds")]
    pub ping_interval: Duration,
}

/// Bounds of the listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct NetLimits {
    /// Connections in all; one more is refused with HTTP 503.
    pub connections: usize,
    /// Connections of one address; one more is refused with HTTP 429.
    pub connections_per_address: usize,
    /// Time for a request's whole header.
    #[serde(with = "seconds")]
    pub header_timeout: Duration,
    /// Time from the accepted socket, or from the last answer, to the next request or the finished WebSocket
    /// handshake.
    #[serde(with = "seconds")]
    pub handshake_timeout: Duration,
    /// Time within which a peer must take some of an answer, be it ever so little.
    #[serde(with = "seconds")]
    pub write_timeout: Duration,
    /// Time for the body and the answer of a request that waits for calls, such as a Cap'n Web batch. Calls that
    /// are not answered by then are rejected; what they began goes on.
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// Such requests at once; one more is refused with HTTP 503.
    pub requests: usize,
    /// Bytes of a request's body; a longer one is refused with HTTP 413.
    pub body_bytes: usize,
    /// Bytes of all bodies of requests that are being answered; one more is refused with HTTP 503.
    pub bodies_bytes: usize,
    /// Time from the handshake to an authenticated session, or to an anonymous call where those are allowed.
    #[serde(with = "seconds")]
    pub authenticate_timeout: Duration,
    /// Time that a stopping server gives to what runs: calls, and agents' turns with their streams. Whoever ends the
    /// process should wait 5 s longer.
    #[serde(with = "seconds")]
    pub drain_timeout: Duration,
}

/// Bounds of the task engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct EngineLimits {
    /// Turns of agents that run at once.
    pub turns: usize,
    /// Turns that run at once for one principal.
    pub turns_per_principal: usize,
    /// The longest that one turn may run.
    #[serde(with = "seconds")]
    pub turn_timeout: Duration,
    /// Items that one group commit takes.
    pub group_items: usize,
    /// Bytes that one group commit takes.
    pub group_bytes: usize,
    /// Updates of one task that its agent may be ahead of the log.
    pub updates_ahead: usize,
    /// Recent events that a live task keeps in memory; older ones are read from the log.
    pub recent_events: usize,
    /// Messages that wait in a running turn's inbox.
    pub inbox: usize,
    /// How long a message id is remembered (promise P4).
    #[serde(with = "seconds")]
    pub idempotency: Duration,
    /// Finished tasks that the memory store keeps; the oldest go first.
    pub memory_finished_tasks: usize,
    /// Bytes of one update of an agent; a larger one fails its turn.
    pub update_bytes: usize,
    /// Parts of one message or artifact.
    pub parts: usize,
    /// Bytes of one id, name, URL or media type that a client gives.
    pub name_bytes: usize,
    /// Derived objects (attenuated, shared) that live at once under one principal.
    pub grants_per_principal: usize,
    /// Depth of a tree of grants.
    pub grant_depth: usize,
    /// How long finished tasks are kept.
    pub retention: Retention,
    /// How often those that are not kept any more are looked for and taken.
    #[serde(with = "seconds")]
    pub retention_interval: Duration,
}

/// How long finished tasks are kept. By default for ever, or as long as the memory store's own bound allows.
/// What has gone is gone for everybody: a list, a get and an idempotent repeat do not find it any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Retention {
    /// Of completed tasks.
    pub completed: Keep,
    /// Of failed tasks.
    pub failed: Keep,
    /// Of canceled tasks.
    pub canceled: Keep,
    /// Of rejected tasks.
    pub rejected: Keep,
}

/// What is kept of the finished tasks in one state. Nothing set: everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Keep {
    /// A task goes when it has been finished for so long.
    #[serde(with = "maybe_seconds")]
    pub age: Option<Duration>,
    /// The most tasks; those that finished first go first.
    pub count: Option<u64>,
    /// A task's events go when it has been finished for so long, except for the last one. The task itself
    /// stays, with history and artifacts; whoever asks for the events gets a `gap` error.
    #[serde(with = "maybe_seconds")]
    pub events_age: Option<Duration>,
}

impl Keep {
    /// Whether a task that has finished at that time is to go.
    pub fn is_over(&self, finished: Timestamp, now: Timestamp) -> bool {
        self.age.is_some_and(|age| finished.saturating_add(age) <= now)
    }

    /// Whether the events of a task that has finished at that time are to go.
    pub fn events_are_over(&self, finished: Timestamp, now: Timestamp) -> bool {
        self.events_age.is_some_and(|age| finished.saturating_add(age) <= now)
    }
}

impl Retention {
    /// Of the tasks that have finished in this state; none for a state that is not terminal.
    pub fn of(&self, state: TaskState) -> Option<&Keep> {
        match state {
            TaskState::Completed => Some(&self.completed),
            TaskState::Failed => Some(&self.failed),
            TaskState::Canceled => Some(&self.canceled),
            TaskState::Rejected => Some(&self.rejected),
            _ => None,
        }
    }

    /// Whether everything is kept for ever.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

impl WireLimits {
    /// Refuses an answer of about so many bytes that would not fit into one message: it would end the connection.
    ///
    /// # Errors
    /// [`FaultKind::Quota`], which says what to ask for instead.
    pub fn fits(&self, bytes: usize) -> Result<()> {
        let most = self.message_bytes;
        if bytes.saturating_add(ENVELOPE) <= most {
            return Ok(());
        }
        let message = format!(
            "the answer has about {bytes} bytes, a message at most {most}: ask for less history, or read the \
             task's events, which come one by one"
        );
        Err(Fault::new(FaultKind::Quota, message).with("limit", "message-bytes"))
    }
}

/// What a message holds beside its content.
const ENVELOPE: usize = 4 << 10;

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            traversal_factor: 4,
            nesting: 64,
            segments: 64,
            exports: 4_096,
            imports: 4_096,
            questions: 1_024,
            calls: 8_192,
            abandoned_calls: 50_000,
            depth: 256,
            message_calls: 10_000,
            map_steps: 10_000,
            queued_messages: 2,
            send_budget_bytes: 256 << 10,
            stream_window_bytes: 64 << 10,
            read_buffer_bytes: 8 << 10,
            idle_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(20),
        }
    }
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 256,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(60),
            requests: 512,
            body_bytes: 4 << 20,
            bodies_bytes: 256 << 20,
            authenticate_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 256 << 20,
            catalog_memory_bytes: 16 << 20,
            catalog_cache_bytes: 32 << 20,
            checkpoint_events: 64,
        }
    }
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            line_bytes: 16 << 20,
            output_bytes: 64 << 20,
            waiting_bytes: 32 << 20,
            start_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(3),
            restart_pause: Duration::from_secs(30),
            resumes: 3,
            ignored_cancels: 16,
            log_lines_per_second: 50,
        }
    }
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            turns: 4_096,
            turns_per_principal: 1_024,
            turn_timeout: Duration::from_secs(3_600),
            group_items: 512,
            group_bytes: 1 << 20,
            updates_ahead: 256,
            recent_events: 512,
            inbox: 16,
            idempotency: Duration::from_secs(24 * 3_600),
            memory_finished_tasks: 10_000,
            update_bytes: 12 << 20,
            parts: 100,
            name_bytes: 512,
            grants_per_principal: 4_096,
            grant_depth: 16,
            retention: Retention::default(),
            retention_interval: Duration::from_secs(60),
        }
    }
}

/// Times in the configuration: seconds, with a fraction where one is wanted.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// Times that may be left out.
mod maybe_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
    }
}

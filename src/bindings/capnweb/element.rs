//! The elements of a stream of events, in every form that a receiver may want.

use serde::Serialize;

use super::reply::{self, Value, record};
use super::voice::Voice;
use crate::fault::Result;
use crate::model::{Event, Message, Task, Update};
use crate::wire::v0_3::{self, ToV03 as _};

/// The methods of an observer, and what a stream's writing end has in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Task,
    Status,
    Artifact,
    Message,
    End,
    /// Of a stream: no method of a client's, so it is never missing.
    Write,
}

/// An element of a stream.
pub(super) struct Element {
    pub(super) method: Method,
    /// As the argument of the method that it is for.
    pub(super) shown: Value,
    seq: u64,
    is_final: bool,
    /// Whether `shown` says itself what it is, as everything does in A2A 0.3.
    has_kind: bool,
}

/// Something with where it stands in its stream.
#[derive(Serialize)]
struct Numbered<T> {
    #[serde(flatten)]
    shown: T,
    seq: u64,
    /// Absent where `shown` says it already.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    is_final: Option<bool>,
}

impl Method {
    /// What a client's object may have.
    pub(super) const ALL: [Self; 5] = [Self::Task, Self::Status, Self::Artifact, Self::Message, Self::End];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Task => "onTask",
            Self::Status => "onStatusUpdate",
            Self::Artifact => "onArtifactUpdate",
            Self::Message => "onMessage",
            Self::End => "onEnd",
            Self::Write => "write",
        }
    }

    /// The member of an element that says what it is.
    fn member(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Status => "statusUpdate",
            Self::Artifact => "artifactUpdate",
            Self::Message => "message",
            Self::End | Self::Write => "end",
        }
    }

    pub(super) fn may_be_missing(self) -> bool {
        self != Self::Write
    }
}

impl Element {
    /// A task as it stands after event `seq`.
    pub(super) fn snapshot(voice: &Voice, task: &Task, seq: u64) -> Result<Self> {
        let shown = if voice.is_old() {
            numbered(task.v0_3(), seq, Some(false))?
        } else {
            numbered(task, seq, Some(false))?
        };
        Ok(Self { method: Method::Task, shown, seq, is_final: false, has_kind: voice.is_old() })
    }

    /// An event; it is the last of its stream if `is_final`.
    pub(super) fn event(voice: &Voice, event: &Event, is_final: bool) -> Result<Self> {
        let seq = event.seq;
        let (method, shown) = match (&event.update, voice.is_old()) {
            (Update::Status(update), false) => (Method::Status, numbered(update, seq, Some(is_final))?),
            (Update::Status(update), true) => {
                let old = v0_3::TaskStatusUpdateEvent::new(update, is_final);
                (Method::Status, numbered(old, seq, None)?)
            }
            (Update::Artifact(update), false) => (Method::Artifact, numbered(update, seq, Some(is_final))?),
            (Update::Artifact(update), true) => {
                (Method::Artifact, numbered(update.v0_3(), seq, Some(is_final))?)
            }
        };
        Ok(Self { method, shown, seq, is_final, has_kind: voice.is_old() })
    }

    /// The whole answer of an agent, without a task.
    pub(super) fn message(voice: &Voice, message: &Message) -> Result<Self> {
        let (shown, has_kind) = (voice.value(message)?, voice.is_old());
        Ok(Self { method: Method::Message, shown, seq: 0, is_final: true, has_kind })
    }

    /// As an element that says what it is: the one argument of a function, or a stream's chunk.
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers have no more")]
    pub(super) fn by_itself(&self) -> Value {
        if self.has_kind {
            return self.shown.clone();
        }
        record([
            (self.method.member(), self.shown.clone()),
            ("seq", Value::Number(self.seq as f64)),
            ("final", Value::Bool(self.is_final)),
        ])
    }
}

fn numbered(shown: impl Serialize, seq: u64, is_final: Option<bool>) -> Result<Value> {
    reply::value(&Numbered { shown, seq, is_final })
}

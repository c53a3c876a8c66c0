//! Everything that can go wrong, each for the one who must act on it: an error that travels, a violation by the peer
//! that ends the session, and a call of the host that was not sent.

use std::borrow::Cow;
use std::fmt;

use crate::value::{Data, Key};

/// An error as JavaScript has it: what a call is rejected with, and what a value can be.
///
/// JavaScript knows the names `Error`, `EvalError`, `RangeError`, `ReferenceError`, `SyntaxError`, `TypeError`,
/// `URIError` and `AggregateError`; the npm client turns any other name into `Error`. What a program should act on
/// belongs into `props`, which become the error's own properties.
#[derive(Clone, PartialEq)]
pub struct Error {
    /// Its class.
    pub name: Cow<'static, str>,
    /// For people. It is shown to the peer as it is: hide what the peer must not know.
    pub message: String,
    /// Sent only if it is there.
    pub stack: Option<String>,
    /// Own properties besides name, message and stack, `cause` included.
    pub props: Vec<(String, Data)>,
}

/// What a peer did that ends the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The message is not JSON.
    NotJson(String),
    /// The message is JSON, but no message of the protocol.
    BadMessage(String),
    /// A message holds an expression that means nothing.
    BadExpression(String),
    /// A message names an entry that the peer does not hold.
    NoSuchId(i64),
    /// A release gives back more than was given.
    BadRelease {
        /// The entry.
        id: i64,
        /// How many references there are.
        held: u64,
    },
    /// The readable end of a pipe was asked for that is none, or was taken before.
    NoSuchPipe(i64),
    /// An id was used again for a promise.
    IdReused(i64),
    /// A bound of [`Limits`](crate::Limits) was passed: its name there, and its value.
    Limit(&'static str, usize),
}

/// Why a call of the host was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The session has ended.
    Ended,
    /// As many calls as [`Limits`](crate::Limits) allows are unanswered.
    TooManyQuestions,
    /// Nobody can be called in an HTTP batch.
    Batch,
    /// The stub belongs to another session.
    Foreign,
    /// An argument cannot be sent: it nests too deep, makes the message too long, belongs to another session, or is
    /// the end of a stream that was sent before.
    Unsendable(&'static str),
}

impl Error {
    /// An error of a class.
    pub fn new(name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), stack: None, props: Vec::new() }
    }

    /// A plain `Error`.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new("Error", message)
    }

    /// A `TypeError`: the caller's value or method is wrong.
    pub fn type_error(message: impl Into<String>) -> Self {
        Self::new("TypeError", message)
    }

    /// A `RangeError`: too much of something.
    pub fn range_error(message: impl Into<String>) -> Self {
        Self::new("RangeError", message)
    }

    /// The answer to a call of something that is no method, in the reference's words.
    pub fn not_a_function(path: &[Key]) -> Self {
        let path: Vec<String> = path.iter().map(Key::to_string).collect();
        Self::type_error(format!("'{}' is not a function.", path.join(".")))
    }

    /// The same error with one more own property.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Data>) -> Self {
        self.props.push((name.into(), value.into()));
        self
    }

    /// An own property.
    pub fn prop(&self, name: &str) -> Option<&Data> {
        self.props.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn weight(&self) -> usize {
        let props: usize = self.props.iter().map(|(key, value)| 24 + key.len() + value.weight()).sum();
        let stack = self.stack.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.name.len() + self.message.len() + stack + props
    }
}

impl Violation {
    /// A word for programs; it goes into the `code` property of the error that the peer is sent.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "NOT_JSON",
            Self::BadMessage(_) => "BAD_MESSAGE",
            Self::BadExpression(_) => "BAD_EXPRESSION",
            Self::NoSuchId(_) => "NO_SUCH_ID",
            Self::BadRelease { .. } => "BAD_RELEASE",
            Self::NoSuchPipe(_) => "NO_SUCH_PIPE",
            Self::IdReused(_) => "ID_REUSED",
            Self::Limit(..) => "LIMIT",
        }
    }

    pub(crate) fn error(&self) -> Error {
        let name = match self {
            Self::NotJson(_) => "SyntaxError",
            Self::BadExpression(_) => "TypeError",
            Self::Limit(..) => "RangeError",
            _ => "Error",
        };
        Error::new(name, self.to_string()).with("code", self.code())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "message is not JSON: {why}"),
            Self::BadMessage(what) => write!(f, "bad RPC message: {what}"),
            Self::BadExpression(what) => write!(f, "unknown special value: {what}"),
            Self::NoSuchId(id) => write!(f, "no such entry on exports table: {id}"),
            Self::BadRelease { id, held } => {
                write!(f, "export {id} is held {held} times, which is not what a release gives back")
            }
            Self::NoSuchPipe(id) => {
                write!(f, "export {id} is not a pipe, or its readable end was taken before")
            }
            Self::IdReused(id) => write!(f, "the id {id} was used before"),
            Self::Limit(name, value) => write!(f, "over the limit of {value} {}", name.replace('_', " ")),
        }
    }
}

impl std::error::Error for Violation {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the session has ended",
            Self::TooManyQuestions => "too many calls are unanswered: wait for answers",
            Self::Batch => "nobody can be called in an HTTP batch: use a WebSocket",
            Self::Foreign => "the stub belongs to another session",
            Self::Unsendable(why) => why,
        })
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::type_error(refused.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {})", self.name, self.message)
    }
}

impl std::error::Error for Error {}

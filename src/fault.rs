//! Every way an operation can fail, and the one table of codes for it.
//!
//! A [`Fault`] is what crosses a layer: it has a [`FaultKind`] from the closed list below, a message
//! for the caller that says what to do, and optionally a cause that only the log sees. Bindings look
//! the codes up in [`FaultKind::row`]; no other module holds an error number.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The `ErrorInfo` domain of the errors that A2A defines (A2A 1.0.1, 5.4).
pub const A2A_DOMAIN: &str = "a2a-protocol.org";
/// The `ErrorInfo` domain of the errors that this project adds.
pub const OWN_DOMAIN: &str = "a2a-webcap.dev";

/// The result of an operation.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Every kind of failure. The first nine are A2A's own (A2A 1.0.1, 3.3.2); then JSON-RPC's standard
/// errors; then those of HTTP and gRPC that every server has; then ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// No such task, or not the caller's: the two are never told apart.
    TaskNotFound,
    /// The task is already in a terminal state.
    TaskNotCancelable,
    /// The agent's card declares no push notifications.
    PushNotificationNotSupported,
    /// The agent, or the task in its present state, does not do this.
    UnsupportedOperation,
    /// A part has a media type that the agent does not accept.
    ContentTypeNotSupported,
    /// The agent answered with something that is not A2A.
    InvalidAgentResponse,
    /// An extended card is declared but none is configured.
    ExtendedAgentCardNotConfigured,
    /// The agent requires an extension that the caller did not ask for.
    ExtensionSupportRequired,
    /// The requested protocol version is not spoken here.
    VersionNotSupported,

    /// The bytes are not a message of this binding.
    ParseError,
    /// A message of this binding, but not a request.
    InvalidRequest,
    /// No such method.
    MethodNotFound,
    /// A field is missing or has a value outside its bounds; the violations name it.
    InvalidParams,
    /// A defect of the server. The message tells nothing about it; the log does.
    Internal,

    /// No credentials, or wrong, or expired: the three are never told apart.
    Unauthenticated,
    /// The capability does not include this operation.
    Forbidden,
    /// The time the caller gave is over.
    DeadlineExceeded,
    /// The connection is gone. Seen by clients only.
    Disconnected,

    /// The capability, or one that it was derived from, was taken back or has expired.
    Revoked,
    /// Retention has cut the events after the given cursor.
    Gap,
    /// The agent answered with a message, so there is no task.
    NoTask,
    /// The same message id was used with another body, or the expected version is not the present one.
    Conflict,
    /// The principal has used up what it may hold or do.
    Quota,
    /// The server has no room for more work now.
    Overloaded,
}

/// One row of the table: how a [`FaultKind`] is spelled in each binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRow {
    /// `ErrorInfo.reason`, upper snake case.
    pub reason: &'static str,
    /// `ErrorInfo.domain`.
    pub domain: &'static str,
    /// JSON-RPC error code, also the code of Cap'n Proto's `A2aError` and Cap'n Web's `code`.
    pub code: i32,
    /// HTTP status.
    pub http: u16,
    /// gRPC status.
    pub grpc: GrpcCode,
    /// The type of a Cap'n Proto exception, where one has to be thrown.
    pub exception: ExceptionType,
}

/// gRPC status codes, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are gRPC's own")]
pub enum GrpcCode {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The four types of a Cap'n Proto exception (`rpc.capnp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionType {
    /// Do not try again.
    Failed,
    /// Try again later.
    Overloaded,
    /// The object is gone: get it anew.
    Disconnected,
    /// The other side does not have this method.
    Unimplemented,
}

impl FaultKind {
    /// Every kind, in table order.
    pub const ALL: [FaultKind; 24] = {
        use FaultKind::*;
        [
            TaskNotFound,
            TaskNotCancelable,
            PushNotificationNotSupported,
            UnsupportedOperation,
            ContentTypeNotSupported,
            InvalidAgentResponse,
            ExtendedAgentCardNotConfigured,
            ExtensionSupportRequired,
            VersionNotSupported,
            ParseError,
            InvalidRequest,
            MethodNotFound,
            InvalidParams,
            Internal,
            Unauthenticated,
            Forbidden,
            DeadlineExceeded,
            Disconnected,
            Revoked,
            Gap,
            NoTask,
            Conflict,
            Quota,
            Overloaded,
        ]
    };

    /// How this kind is spelled in each binding: the only copy of these numbers.
    #[rustfmt::skip]
    pub const fn row(self) -> FaultRow {
        use ExceptionType as X;
        use GrpcCode as G;
        const fn a2a(reason: &'static str, code: i32, http: u16, grpc: G) -> FaultRow {
            FaultRow { reason, domain: A2A_DOMAIN, code, http, grpc, exception: X::Failed }
        }
        const fn own(reason: &'static str, code: i32, http: u16, grpc: G, exception: X) -> FaultRow {
            FaultRow { reason, domain: OWN_DOMAIN, code, http, grpc, exception }
        }
        match self {
            Self::TaskNotFound                   => a2a("TASK_NOT_FOUND",                     -32001, 404, G::NotFound),
            Self::TaskNotCancelable              => a2a("TASK_NOT_CANCELABLE",                -32002, 400, G::FailedPrecondition),
            Self::PushNotificationNotSupported   => a2a("PUSH_NOTIFICATION_NOT_SUPPORTED",    -32003, 400, G::FailedPrecondition),
            Self::UnsupportedOperation           => a2a("UNSUPPORTED_OPERATION",              -32004, 400, G::FailedPrecondition),
            Self::ContentTypeNotSupported        => a2a("CONTENT_TYPE_NOT_SUPPORTED",         -32005, 400, G::InvalidArgument),
            Self::InvalidAgentResponse           => a2a("INVALID_AGENT_RESPONSE",             -32006, 500, G::Internal),
            Self::ExtendedAgentCardNotConfigured => a2a("EXTENDED_AGENT_CARD_NOT_CONFIGURED", -32007, 400, G::FailedPrecondition),
            Self::ExtensionSupportRequired       => a2a("EXTENSION_SUPPORT_REQUIRED",         -32008, 400, G::FailedPrecondition),
            Self::VersionNotSupported            => a2a("VERSION_NOT_SUPPORTED",              -32009, 400, G::FailedPrecondition),
            Self::ParseError       => own("PARSE_ERROR",       -32700, 400, G::InvalidArgument,    X::Failed),
            Self::InvalidRequest   => own("INVALID_REQUEST",   -32600, 400, G::InvalidArgument,    X::Failed),
            Self::MethodNotFound   => own("METHOD_NOT_FOUND",  -32601, 404, G::Unimplemented,      X::Unimplemented),
            Self::InvalidParams    => own("INVALID_PARAMS",    -32602, 400, G::InvalidArgument,    X::Failed),
            Self::Internal         => own("INTERNAL",          -32603, 500, G::Internal,           X::Failed),
            Self::Unauthenticated  => own("UNAUTHENTICATED",   -31401, 401, G::Unauthenticated,    X::Failed),
            Self::Forbidden        => own("FORBIDDEN",         -31403, 403, G::PermissionDenied,   X::Failed),
            Self::DeadlineExceeded => own("DEADLINE_EXCEEDED", -31408, 504, G::DeadlineExceeded,   X::Overloaded),
            Self::Disconnected     => own("DISCONNECTED",      -31499, 503, G::Unavailable,        X::Disconnected),
            Self::Revoked          => own("REVOKED",           -31410, 403, G::PermissionDenied,   X::Failed),
            Self::Gap              => own("GAP",               -31416, 410, G::OutOfRange,         X::Failed),
            Self::NoTask           => own("NO_TASK",           -31404, 404, G::NotFound,           X::Failed),
            Self::Conflict         => own("CONFLICT",          -31409, 409, G::Aborted,            X::Failed),
            Self::Quota            => own("QUOTA",             -31429, 429, G::ResourceExhausted,  X::Overloaded),
            Self::Overloaded       => own("OVERLOADED",        -31503, 503, G::Unavailable,        X::Overloaded),
        }
    }

    /// The kind with this code, if there is one.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.row().code == code)
    }

    /// `ErrorInfo.reason`.
    pub const fn reason(self) -> &'static str {
        self.row().reason
    }

    /// The numeric code that JSON-RPC, Cap'n Proto and Cap'n Web carry.
    pub const fn code(self) -> i32 {
        self.row().code
    }
}

/// A field that broke a rule (`google.rpc.BadRequest.FieldViolation`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, in JSON names: `message.parts[0].mediaType`.
    pub field: String,
    /// What is wrong with it, for the caller.
    pub description: String,
}

/// A failure: its kind, what the caller is told, and what only the log is told.
#[derive(Clone)]
pub struct Fault {
    kind: FaultKind,
    message: Cow<'static, str>,
    rest: Option<Box<Rest>>,
}

#[derive(Clone, Default)]
struct Rest {
    metadata: BTreeMap<String, String>,
    violations: Vec<FieldViolation>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with a message for the caller; it should say what to do.
    pub fn new(kind: FaultKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), rest: None }
    }

    /// An [`FaultKind::InvalidParams`] that names the field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let mut fault = Self::new(FaultKind::InvalidParams, format!("{field}: {description}"));
        fault.rest().violations.push(FieldViolation { field, description });
        fault
    }

    /// A defect: the caller learns only that it happened, the log gets the cause.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let message = "internal error; it is in the server's log";
        Self::new(FaultKind::Internal, message).caused_by(cause)
    }

    /// The one answer for a task that is not there and for a task of somebody else (promise P8).
    pub fn task_not_found() -> Self {
        Self::new(FaultKind::TaskNotFound, "task not found: check the id, and that it is yours")
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.rest().cause = Some(Arc::from(cause.into()));
        self
    }

    /// Adds a pair to `ErrorInfo.metadata`, for the caller.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.rest().metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a field violation, for the caller.
    #[must_use]
    pub fn with_violation(mut self, violation: FieldViolation) -> Self {
        self.rest().violations.push(violation);
        self
    }

    fn rest(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// What kind of failure.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// What the caller is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `ErrorInfo.metadata`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.rest.as_ref().map_or(&NONE, |rest| &rest.metadata)
    }

    /// `BadRequest.fieldViolations`.
    pub fn violations(&self) -> &[FieldViolation] {
        self.rest.as_ref().map_or(&[], |rest| &rest.violations)
    }

    /// The cause, for the log.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.rest.as_ref()?.cause.as_deref()
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::new(kind, kind.reason())
    }
}

/// Faults compare by what the caller sees of them.
impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
            && self.metadata() == other.metadata()
            && self.violations() == other.violations()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.kind.reason(), self.kind.code(), self.message)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self.cause() {
            Some(cause) => write!(f, "; cause: {cause}"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {}

//! Cap'n Web without a socket: object capabilities as JSON text frames, served and called.

mod batch;
mod encode;
mod error;
mod handle;
#[cfg(feature = "serde")]
mod json;
mod limits;
mod read;
mod scan;
mod session;
mod value;

pub use batch::{Batch, BatchAnswer};
pub use encode::Encoded;
pub use error::{Error, Refused, Violation};
pub use handle::{Local, PipeId, Promise, Question, QuestionId, Readable, Remote, Source};
pub use limits::Limits;
pub use session::{Action, Call, CallId, Cause, Chunk, Closed, Session, Stats, Write};
pub use value::{BigInt, Bytes, BytesKind, Data, Key, Never, Object, Value};

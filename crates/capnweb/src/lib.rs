//! [Cap'n Web](https://github.com/cloudflare/capnweb) without a socket: one end of an object-capability session over
//! JSON text frames, to serve and to call objects of the off-the-shelf `capnweb` npm package, or another end like it.
//!
//! [`Session`] is sans-IO: frames in, [`Action`]s out. It has no clock, opens no socket, spawns nothing and blocks
//! nowhere; put it behind any WebSocket. [`Batch`] is the same for the body of one HTTP request. A session stays on
//! its thread (its handles are `Rc`s); any number of them can live beside each other.
//!
//! What it speaks: everything of version 0.12 but for objects of the Fetch API and blobs, which fail the one call
//! they are passed to: all eight messages, calls both ways, property paths, pipelining, promises in arguments,
//! `map()`, streams both ways, errors with properties. What it does more strictly than the reference stands in the
//! README, and what it takes from a peer at most in [`Limits`].
//!
//! What it is not: it does not know who the peer is, and it has no deadlines, no pings and no reconnecting. All that
//! belongs to whoever has the socket.
//!
//! # Serving
//! ```
//! use capnweb::{Action, Error, Limits, Session, Value};
//!
//! let mut session = Session::new("calculator", Limits::default());
//! // What a client sends for `await api.add(1, 2)`:
//! session.receive(r#"["push",["pipeline",0,["add"],[1,2]]]"#);
//! session.receive(r#"["pull",1]"#);
//! let mut sent = Vec::new();
//! while let Some(action) = session.poll() {
//!     match action {
//!         Action::Send(frame) => {
//!             session.flushed(frame.len());
//!             sent.push(frame);
//!         }
//!         Action::Call(call) => {
//!             let result = match (call.path.first().and_then(|key| key.as_name()), call.arguments.as_deref()) {
//!                 (Some("add"), Some([Value::Number(a), Value::Number(b)])) => Ok((a + b).into()),
//!                 _ => Err(Error::not_a_function(&call.path)),
//!             };
//!             session.answer(call.id, result);
//!         }
//!         _ => {}
//!     }
//! }
//! assert_eq!(sent, [r#"["resolve",1,3]"#]);
//! ```
//!
//! # Calling
//! ```
//! # use capnweb::{Action, Limits, Refused, Session};
//! # fn main() -> Result<(), Refused> {
//! let mut session = Session::<()>::new((), Limits::default());
//! let api = session.push(&session.main(), &["authenticate"], &["secret".into()])?;
//! // Leaves at once, before `authenticate` is answered.
//! let tasks = session.call(&api, &["listTasks"], &[])?;
//! # while session.poll().is_some() {}
//! session.receive(r#"["resolve",2,[["a"]]]"#);
//! let Some(Action::Answered { question, result }) = session.poll() else { panic!("an answer") };
//! assert_eq!(question, tasks.id());
//! assert_eq!(result, Ok(vec!["a".into()].into()));
//! # Ok(()) }
//! ```
//!
//! # Lifetimes
//! - An object becomes callable with [`Session::local`]. It comes back once, as [`Action::Dropped`], when neither side
//!   holds it any more.
//! - A stub ([`Remote`]) and an unanswered call ([`Question`]) are given back to the peer by dropping them; dropping an
//!   unanswered question cancels it.
//! - The peer's giving back a result that it has asked for and not got yet is [`Action::Cancel`].
//! - When the session ends, every unanswered call of the peer is cancelled, every question is answered with an error,
//!   every object comes back, and [`Action::Closed`] follows.
//! - Two ends that answer with each other's unanswered results wait for each other, as everywhere; the end of the
//!   session is the end of that.

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

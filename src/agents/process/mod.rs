//! What both kinds of process agents are made of: a program that is started, watched, and ended with all that it
//! has started itself.

pub(super) mod card;
mod error;
mod group;
mod guard;
mod mask;
mod program;
pub(super) mod stderr;
pub(super) mod text;

pub use error::ProcessError;
pub use group::kill_processes;
pub use program::Program;

pub(super) use program::{Running, ended};

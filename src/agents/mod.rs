//! The agents that come with the server, by name.

mod demo;
mod echo;

use std::sync::Arc;

use crate::agent::Agent;

pub use demo::Demo;
pub use echo::Echo;

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 2] = ["echo", "demo"];

/// A built-in agent.
pub fn by_name(name: &str) -> Option<Arc<dyn Agent>> {
    match name {
        "echo" => Some(Arc::new(Echo)),
        "demo" => Some(Arc::new(Demo)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

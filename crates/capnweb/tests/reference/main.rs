//! This crate against npm `capnweb` 0.12.0, which wrote the protocol: vectors that both are held to, and random
//! scripts in which they must not differ. Beside that, what the reference does not withstand: hostile frames.

mod client;
mod dice;
mod fuzz;
mod hostile;
mod hostile_memory;
mod node;
mod normal;
mod play;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod values;
#[path = "../support/vectors.rs"]
mod vector_files;
mod vectors;
mod writer;

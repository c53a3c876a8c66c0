//! The engine's promises, through its public surface. Time is paused: nothing here sleeps.

mod commits;
mod feeds;
mod sends;
mod turns;
mod world;

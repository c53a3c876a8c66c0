//! The engine's promises, through its public surface. Time is paused: nothing here sleeps.

mod commits;
mod feeds;
mod recover;
mod retention;
mod sends;
mod turns;
mod world;

//! What the Cap'n Web side costs, beside a server on the npm package `capnweb` (`tests/peers/capnweb`).
//!
//! ```text
//! (cd tests/peers/capnweb && npm ci)         # once; needs Node 20
//! cargo bench --bench web                    # every case
//! cargo bench --bench web -- null64 events   # these cases; --quick, --pairs N, --millis N, --strict as in `rpc`
//! ```
//!
//! Ours and the reference run in turns, and the ratio is taken within each pair. Calls and batches come from a client
//! in Rust that writes frames as the npm client would, so that the client is no bound; events go to callbacks of the
//! npm client itself. Server and client are processes of their own, each pinned to one core.

#![expect(clippy::print_stdout, reason = "a benchmark reports on the terminal")]

#[path = "../common/bar.rs"]
mod bar;
mod batch;
mod calls;
mod cases;
#[path = "../common/contender.rs"]
mod contender;
mod idle;
#[path = "../common/plan.rs"]
mod plan;
#[path = "../common/process.rs"]
mod process;
#[path = "../rpc/server.rs"]
mod server;
#[path = "../common/sessions.rs"]
mod sessions;
mod speech;
#[path = "../common/statistics.rs"]
mod statistics;
mod wire;

use std::error::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong here is the end of the program.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments = plan::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [process::ROLE, "server"] => server::serve(),
        [process::ROLE, "calls", address, key, method, window] => {
            calls::run(address, key, method, window.parse()?)
        }
        [process::ROLE, "batches", address, key, at_once] => batch::run(address, key, at_once.parse()?),
        [process::ROLE, "idle", address, key] => idle::run(address, key),
        words => plan::run(words, cases::CASES),
    }
}

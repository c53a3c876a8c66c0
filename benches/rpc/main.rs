//! What the product costs, beside a raw tokio-tungstenite echo of the same message sizes.
//!
//! ```text
//! cargo bench --bench rpc                    # every case
//! cargo bench --bench rpc -- null64 get64    # these cases
//! cargo bench --bench rpc -- --quick         # 3 short pairs of each, for a smoke test
//! cargo bench --bench rpc -- --pairs 20      # instead of 11
//! cargo bench --bench rpc -- --strict        # fails where a bar is missed
//! ```
//!
//! Ratios count, not numbers: the machine is shared. So each figure is measured in interleaved pairs (ours,
//! echo, ours, echo, …) and the ratio is taken within each pair; printed are medians with minimum and maximum.
//! Server and client are processes of their own (this program, with a hidden first argument), each
//! pinned to one core; a third process only asks them. The echo's frames are as long as ours on average, in each
//! direction. `each` flushes every frame; `batch` flushes once for all that was there to read, as our
//! transport does. Beside the time the server's CPU time for each operation is printed, which other
//! programs disturb less.
//!
//! On a machine that does other things too, give it the right of way: `chrt -r 1 cargo bench …`, after
//! `cargo bench --no-run`.
//!
//! To profile a case, give it long runs and attach to the process whose arguments say `server`:
//! `cargo bench --bench rpc -- null64 --pairs 1 --millis 20000`, then `perf record -g -p PID`.

#![expect(clippy::print_stdout, reason = "a benchmark reports on the terminal")]

#[path = "../common/bar.rs"]
mod bar;
mod calls;
mod cases;
#[path = "../common/contender.rs"]
mod contender;
mod echo;
mod flight;
mod idle;
mod million;
#[path = "../common/plan.rs"]
mod plan;
#[path = "../common/process.rs"]
mod process;
mod proxy;
mod server;
#[path = "../common/sessions.rs"]
mod sessions;
#[path = "../common/statistics.rs"]
mod statistics;
#[path = "../common/streams.rs"]
mod streams;
#[path = "../common/wire.rs"]
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
        [process::ROLE, "server", ..] => server::serve(),
        [process::ROLE, "echo-server", reply, flush] => echo::serve(reply.parse()?, flush.parse()?),
        [process::ROLE, "echo-client", address, ask, window, flush] => {
            echo::ask(address, ask.parse()?, window.parse()?, flush.parse()?)
        }
        [process::ROLE, "calls", address, kind, window] => calls::run(address, kind, window.parse()?),
        [process::ROLE, "idle", address] => idle::run(address),
        [process::ROLE, "streams", address, kind, events, window, connections] => {
            streams::run(address, kind, events.parse()?, window.parse()?, connections.parse()?)
        }
        words => plan::run(words, cases::CASES),
    }
}

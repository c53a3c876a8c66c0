//! What durability costs, beside a file that is only appended to and synced: the same bytes in each sync.
//!
//! ```text
//! cargo bench --bench store                       # every case; needs about half an hour and 5 GB of disk
//! cargo bench --bench store -- append256 page     # these cases
//! cargo bench --bench store -- --quick            # small and short, for a smoke test
//! cargo bench --bench store -- --pairs 20         # instead of 11
//! cargo bench --bench store -- --strict           # fails where a bar is missed
//! ```
//!
//! Where there is something to compare with, figures are measured in interleaved pairs (ours, plain, ours, …) and
//! the ratio is taken within each pair; printed are medians with minimum and maximum. Plain is a loop of write and
//! `fdatasync` at the end of a file, with as many bytes each time as our log wrote for one sync in the run
//! just before, and it is granted as many events for one sync. So the ratio is how much of its time our log spends
//! as the loop spends all of it.
//!
//! Data goes to `target/tmp`, or to the directory that `A2A_BENCH_DIR` names, and is removed afterwards. Processes,
//! their cores and how to profile them: see `benches/rpc/main.rs`. Only give no process of this benchmark a realtime
//! priority: the file system's own threads must get their turn.

#![expect(clippy::print_stdout, reason = "a benchmark reports on the terminal")]

mod append;
#[path = "../common/bar.rs"]
mod bar;
mod commits;
#[path = "../common/contender.rs"]
mod contender;
mod disk;
mod engine;
mod fill;
mod latency;
mod page;
mod plain;
#[path = "../common/plan.rs"]
mod plan;
#[path = "../common/process.rs"]
mod process;
mod recovery;
mod resident;
mod server;
mod soak;
#[path = "../common/statistics.rs"]
mod statistics;
#[path = "../common/streams.rs"]
mod streams;
mod streams8;
#[path = "../common/wire.rs"]
mod wire;

use std::error::Error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where a server runs that may have all there is, as its disk and its agents have threads of their own.
pub(crate) const BOTH_CORES: &str = "0,1";

/// What goes wrong here is the end of the program.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const CASES: &[plan::Case] = &[
    ("append256", append::measure),
    ("streams8", streams8::measure),
    ("page", page::measure),
    ("recovery", recovery::measure),
    ("resident", resident::measure),
    ("soak", soak::measure),
];

fn main() -> Outcome<()> {
    let arguments = plan::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [process::ROLE, "plain", dir] => plain::run(dir),
        [process::ROLE, "commits", dir] => commits::run(dir),
        [process::ROLE, "engine", dir, tasks] => engine::run(dir, tasks.parse()?),
        [process::ROLE, "server", dir, kind, workers] => server::serve(dir, kind.parse()?, workers.parse()?),
        [process::ROLE, "streams", address, kind, events, window, connections] => {
            streams::run(address, kind, events.parse()?, window.parse()?, connections.parse()?)
        }
        [process::ROLE, "pages", dir, tasks] => page::run(dir, tasks.parse()?),
        [process::ROLE, "recovery", dir, bytes] => recovery::run(dir, bytes.parse()?),
        words => plan::run(words, CASES),
    }
}

//! The command line. Everything is in the library's `cli` module.

use std::process::ExitCode;

/// What one thread allocates another often frees, and this is made for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    a2a_webcap::cli::main()
}

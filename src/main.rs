//! The command line. Everything is in the library's `cli` module.

use std::process::ExitCode;

fn main() -> ExitCode {
    a2a_webcap::cli::main()
}

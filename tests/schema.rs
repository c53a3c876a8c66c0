//! The committed Cap'n Proto request is what the pinned compiler makes of the schema.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Debian's `capnproto` in bookworm. Another version writes another request from the same schema.
const COMPILER: &str = "Cap'n Proto version 0.9.2";

#[test]
fn the_request_agrees_with_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = output(Command::new("capnp").arg("--version"));
    let version = String::from_utf8_lossy(&version.stdout);
    assert_eq!(version.trim(), COMPILER, "the pinned compiler is Debian's package capnproto 0.9.2");

    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("request.bin");
    let script = output(Command::new("bash").arg(root.join("scripts/renew-schema")).arg(&made));
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));

    let made = fs::read(made).expect("the script has written it");
    let committed = fs::read(root.join("schema/request.bin")).expect("it is in the repository");
    assert!(made == committed, "the schema has changed: run scripts/renew-schema and commit request.bin");
}

fn output(command: &mut Command) -> Output {
    let result = command.output();
    result.unwrap_or_else(|error| {
        let program = command.get_program();
        panic!("{program:?} does not start ({error}): apt-get install capnproto")
    })
}

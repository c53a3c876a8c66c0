//! What a person sees: the tool in a terminal of its own (`script` makes one).

use std::process::Stdio;

use tokio::process::Command;

use crate::cli::{out, program};
use crate::world::{ALICE, World, soon};

/// Runs a command line of the shell, with `$A2A` as the program, in a terminal; what was on its screen. None without
/// the means.
async fn in_terminal(world: &World, line: &str) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("A2A", program().as_std().get_program());
    script.env("TERM", "xterm").env("HOME", "/nonexistent").env("NO_COLOR", "1");
    script.env("A2ACLI_AGENT_CARD", world.url()).env("A2ACLI_API_KEY", ALICE);
    script.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match soon("it ends", script.output()).await {
        Ok(output) => Some(out(&output).to_owned()),
        Err(error) => {
            println!("skipped: no script(1): {error}");
            None
        }
    }
}

#[tokio::test]
async fn cli_a_long_task_shows_one_live_line_in_a_terminal_and_takes_it_back() {
    let world = World::demo().await;
    let Some(seen) = in_terminal(&world, "\"$A2A\" send 'stream 20 50ms'").await else { return };
    assert!(seen.contains("working") && seen.contains("chunks") && seen.contains("bytes"), "{seen:?}");
    let result = seen.split("Task ID: ").nth(1).expect("the result");
    assert!(!result.contains("chunks  "), "nothing of it is in the result: {result:?}");
    assert!(!seen.contains("\u{1b}[3"), "no colour: {seen:?}");
}

#[tokio::test]
async fn cli_without_a_terminal_there_is_no_live_line_and_with_a_dumb_one_neither() {
    let world = World::demo().await;
    let Some(seen) = in_terminal(&world, "TERM=dumb \"$A2A\" send 'stream 20 20ms'").await else { return };
    assert!(!seen.contains('\u{1b}') && !seen.contains("chunks  "), "{seen:?}");
}

#[tokio::test]
async fn cli_a_pipe_into_head_ends_quietly() {
    let world = World::demo().await;
    let line = "bash -c '\"$A2A\" send --stream \"stream 40 5ms\" | head -n 2; echo ${PIPESTATUS[0]}'";
    let Some(seen) = in_terminal(&world, line).await else { return };
    assert!(seen.trim_end().ends_with('0') && !seen.contains("error"), "{seen:?}");
}

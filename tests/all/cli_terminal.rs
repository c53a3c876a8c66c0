//! What a person sees: the tool in a terminal of its own (`script` makes one).

use std::process::Stdio;

use tokio::process::Command;

use crate::cli::{Scratch, out, program, serve_with};
use crate::world::{ALICE, World, soon};

/// Runs a command line of the shell, with `$A2A` as the program, in a terminal; what was on its screen. None without
/// the means.
async fn in_terminal(world: &World, line: &str) -> Option<String> {
    in_terminal_with(&world.url(), ALICE, line).await
}

async fn in_terminal_with(url: &str, key: &str, line: &str) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("A2A", program().as_std().get_program());
    script.env("TERM", "xterm").env("HOME", "/nonexistent").env("NO_COLOR", "1");
    script.env("A2ACLI_AGENT_CARD", url).env("A2ACLI_API_KEY", key);
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

/// An agent that says how far it is.
const PROGRESS: &str = r#"
printf '{"card":{},"protocol":1}\n'
while IFS= read -r line; do
  case $line in '{"turn"'*) ;; *) continue ;; esac
  task=${line#*'"taskId":"'}; task=${task%%'"'*}
  for done in 1 2 3 4; do
    printf '{"statusUpdate":{"taskId":"%s","status":{"state":"TASK_STATE_WORKING"},"metadata":{"progress":{"current":%s,"total":4}}}}\n' "$task" "$done"
    sleep 0.3
  done
  printf '{"statusUpdate":{"taskId":"%s","status":{"state":"TASK_STATE_COMPLETED"}}}\n' "$task"
done
"#;

#[tokio::test]
async fn cli_a_bar_shows_how_far_the_agent_says_it_is() {
    let state = Scratch::new();
    std::fs::create_dir_all(&state.0).unwrap();
    let agent = state.0.join("progress.sh");
    std::fs::write(&agent, PROGRESS).unwrap();
    let agent = format!("jsonl:sh {}", agent.display());
    let (_server, printed) = serve_with(&state, &["--agent", &agent]).await;
    let url = printed[0].strip_prefix("Listening: ").unwrap();
    let key = std::fs::read_to_string(state.0.join("dev-key")).unwrap();
    let Some(seen) = in_terminal_with(url, key.trim(), "\"$A2A\" send go").await else { return };
    assert!(seen.contains("50%") && seen.contains("75%"), "{seen:?}");
    assert!(seen.contains("State: completed"), "{seen:?}");
}

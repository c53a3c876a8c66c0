//! What a person sees in a terminal, row by row: tmux is the terminal, and tells what is on its screen.

use std::process::{Command, Output};
use std::time::Duration;

use a2a_webcap::model::fresh_id;

use crate::cli::program;
use crate::world::{ALICE, World};

/// A terminal with a shell in it.
struct Pane {
    socket: String,
}

impl Pane {
    /// One of this width, for commands `$A2A` as Alice; none without the means, and with `A2A_WEBCAP_NEED_TMUX=1` it
    /// fails instead.
    fn open(world: &World, width: u16, environment: &[(&str, &str)]) -> Option<Self> {
        let pane = Self { socket: format!("a2a-webcap-{}", fresh_id()) };
        let mut start = pane.tmux();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("A2A") || name == "NO_COLOR") {
            start.env_remove(name);
        }
        start.env("A2A", program().as_std().get_program()).env("HOME", "/nonexistent");
        start.env("A2ACLI_AGENT_CARD", world.url()).env("A2ACLI_API_KEY", ALICE);
        start.envs(environment.iter().copied());
        let size = ["-x", &width.to_string(), "-y", "24"].map(str::to_owned);
        start.args(["-f", "/dev/null", "new-session", "-d"]).args(size).arg("bash --norc --noprofile");
        match start.output() {
            Ok(output) if output.status.success() => {
                pane.enter("PS1='ready> '; clear");
                Some(pane)
            }
            failed => {
                assert!(std::env::var_os("A2A_WEBCAP_NEED_TMUX").is_none(), "{failed:?}");
                println!("skipped: no tmux(1): {failed:?}");
                None
            }
        }
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        let output = self.tmux().args(words).output().expect("tmux is there");
        assert!(output.status.success(), "{words:?}: {output:?}");
        output
    }

    /// Types a line, and Enter.
    fn enter(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.run(&["send-keys", "Enter"]);
    }

    fn resize(&self, width: u16) {
        self.run(&["resize-window", "-x", &width.to_string(), "-y", "24"]);
    }

    /// What is on the screen.
    fn rows(&self) -> Vec<String> {
        let output = self.run(&["capture-pane", "-p"]);
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim_end().lines().map(str::to_owned).collect()
    }

    /// The same with the escapes that colour it.
    fn coloured(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p", "-e"]).stdout).expect("text")
    }

    /// Waits until the screen is so.
    async fn until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        for _ in 0..1_500 {
            let rows = self.rows();
            if is_so(&rows) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain: {what}\n{}", self.rows().join("\n"));
    }

    /// Waits for the prompt behind a command.
    async fn until_ready(&self, what: &str) -> Vec<String> {
        self.until(what, |rows| rows.len() > 1 && rows.last().is_some_and(|row| row.trim() == "ready>")).await
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// The rows of the live line: one, or the line is broken.
fn live(rows: &[String]) -> Vec<&String> {
    rows.iter().filter(|row| row.contains(" working  event") || row.contains("chunks  ")).collect()
}

fn begins_live(rows: &[String]) -> bool {
    rows.iter().any(|row| row.contains(" working  event"))
}

#[tokio::test]
async fn cli_the_live_line_is_one_row_in_narrow_and_in_wide_terminals_and_is_gone_at_the_end() {
    let world = World::demo().await;
    for width in [40, 120] {
        let Some(pane) = Pane::open(&world, width, &[]) else { return };
        pane.enter("clear; \"$A2A\" send 'stream 60 50ms' | grep State");
        pane.until("the line is there and has moved", |rows| rows.iter().any(|row| row.contains("event 1")))
            .await;
        for _ in 0..10 {
            let rows = pane.rows();
            let shown = live(&rows);
            assert!(shown.len() <= 1, "at {width}: {rows:#?}");
            for row in shown {
                assert_eq!(row.contains("bytes"), width == 120, "what has no room is cut: {row:?}");
                assert!(row.chars().count() <= usize::from(width), "{row:?}");
            }
        }
        let rows = pane.until_ready("the task is completed").await;
        assert_eq!(live(&rows), [""; 0], "at {width}");
        assert!(rows.iter().any(|row| row.contains("State: completed")), "at {width}: {rows:#?}");
    }
}

#[tokio::test]
async fn cli_a_terminal_that_is_resized_while_a_task_streams_has_no_broken_rows() {
    let world = World::demo().await;
    let Some(pane) = Pane::open(&world, 120, &[]) else { return };
    pane.enter("clear; \"$A2A\" send 'stream 120 50ms' | grep State");
    for width in [120, 40, 90, 30, 120] {
        pane.resize(width);
        let before = pane.rows().join("\n");
        pane.until("it is drawn again", |rows| begins_live(rows) && rows.join("\n") != before).await;
    }
    let rows = pane.until_ready("the task is completed").await;
    assert_eq!(live(&rows), [""; 0], "{rows:#?}");
    // The screen was empty before: what was typed may be gone from it, and the result and the prompt are all.
    let left: Vec<_> = rows.iter().filter(|row| !row.trim().is_empty()).collect();
    assert_eq!(left, ["State: completed", "ready>"], "nothing else is left");
}

#[tokio::test]
async fn cli_the_live_line_is_below_what_a_stream_shows_and_leaves_nothing_in_it() {
    let world = World::demo().await;
    let Some(pane) = Pane::open(&world, 100, &[]) else { return };
    pane.enter("clear; \"$A2A\" send --stream 'stream 12 100ms'");
    let shown = |rows: &[String]| rows.iter().any(|row| row == "chunk 3 of 12") && live(rows).len() == 1;
    let rows = pane.until("states, pieces and the line", shown).await;
    assert_eq!(live(&rows), [rows.last().unwrap()], "{rows:#?}");
    let rows = pane.until_ready("the task is completed").await;
    let of_the_task = rows.iter().position(|row| row.starts_with("Task ID: ")).expect("the ids");
    let rows: Vec<_> = rows[of_the_task + 2..].iter().filter(|row| !row.starts_with("chunk ")).collect();
    let [head @ .., task, context, state, _prompt] = &rows[..] else { panic!("{rows:#?}") };
    assert_eq!(head, ["State: submitted", "State: working", "Artifact stream:", ""]);
    assert!(task.starts_with("Task ID: ") && context.starts_with("Context ID: "), "{rows:#?}");
    assert_eq!(*state, "State: completed");
}

#[tokio::test]
async fn cli_ctrl_c_in_a_terminal_takes_the_line_back_and_says_how_to_resume() {
    let world = World::demo().await;
    let Some(pane) = Pane::open(&world, 200, &[]) else { return };
    pane.enter("clear; \"$A2A\" send long");
    pane.until("the line is there", begins_live).await;
    pane.run(&["send-keys", "C-c"]);
    let rows = pane.until_ready("the prompt").await;
    assert_eq!(live(&rows), [""; 0]);
    let said = rows.iter().find(|row| row.contains("interrupted; the task goes on")).expect("how to go on");
    assert!(said.contains("task subscribe ") && said.contains("--after "), "{said}");
    pane.enter("echo \"exit code $?\"");
    pane.until("the exit code", |rows| rows.iter().any(|row| row == "exit code 130")).await;
    assert_eq!(world.counts().turns, 1, "the task goes on");
}

#[tokio::test]
async fn cli_head_in_a_terminal_ends_a_stream_without_an_error() {
    let world = World::demo().await;
    let Some(pane) = Pane::open(&world, 100, &[]) else { return };
    pane.enter("clear; \"$A2A\" send --stream -o json 'stream 200 5ms' | head -1 | cut -c-8; echo \"codes ${PIPESTATUS[*]}\"");
    let rows = pane.until("the codes", |rows| rows.iter().any(|row| row.starts_with("codes "))).await;
    assert!(rows.iter().any(|row| row == "codes 0 0 0"), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.contains("error")), "{rows:#?}");
}

#[tokio::test]
async fn cli_nothing_has_a_colour_in_a_terminal_and_records_are_text_there() {
    let world = World::demo().await;
    for environment in [&[("NO_COLOR", "1")][..], &[("CLICOLOR_FORCE", "0")]] {
        let Some(pane) = Pane::open(&world, 160, environment) else { return };
        pane.enter("clear; A2A_WEBCAP_LOG=a2a_webcap::cli=debug \"$A2A\" send --debug 'stream 20 30ms' | grep State; \"$A2A\" nonsense");
        pane.until("the line is there", begins_live).await;
        assert!(!pane.coloured().contains("\u{1b}[3"), "{:?}", pane.coloured());
        let rows = pane.until_ready("both have ended").await;
        assert!(!pane.coloured().contains("\u{1b}[3"), "{:?}", pane.coloured());
        let record = rows.iter().find(|row| row.contains(": connecting ")).expect("a record");
        assert!(record.contains(" DEBUG a2a_webcap::cli::reach: connecting endpoint=ws://"), "{record}");
    }
}

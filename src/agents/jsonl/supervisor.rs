//! Keeps an agent's program running: starts it, reads it, ends it, and starts it again.

use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::pipes::{self, Line, Lines, Unwritten};
use super::protocol::{self, Introduction};
use super::turns::{Process, State, Turns};
use crate::agents::process::stderr::{Pace, Stderr};
use crate::agents::process::text::excerpt;
use crate::agents::process::{ProcessError, Program, Running, ended};
use crate::limits::ProcessLimits;

/// A program that has introduced itself.
#[derive(Debug)]
pub(super) struct Started {
    running: Running,
    stdin: ChildStdin,
    lines: Lines<ChildStdout>,
    stderr: Stderr,
}

/// Starts the program, and waits for its card line.
///
/// # Errors
/// [`ProcessError`], with what the program did instead.
pub(super) async fn start(
    program: &Program,
    name: &Arc<str>,
    limits: &ProcessLimits,
) -> Result<(Started, Introduction), ProcessError> {
    let protocol = protocol::PROTOCOL.to_string();
    let mut running = program.start(&[("A2A_PROTOCOL", &protocol)])?;
    let refused = |reason: String| ProcessError::Introduction { program: name.to_string(), reason };
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (running.stdin.take(), running.stdout.take(), running.stderr.take())
    else {
        return Err(refused("it has no stdin, stdout or stderr".to_owned()));
    };
    let stderr = Stderr::follow(stderr, Arc::clone(name), limits.log_lines_per_second);
    let mut lines = Lines::new(stdout, limits.line_bytes);
    // A program that ends at once may have closed its input; what it says instead is looked at below.
    let _ = stdin.write_all(&protocol::hello(limits.line_bytes)).await;
    let first = tokio::time::timeout(limits.start_timeout, lines.next()).await;
    let reason = match first {
        Ok(Line::Whole(line)) => match protocol::introduction(line) {
            Ok(introduction) => return Ok((Started { running, stdin, lines, stderr }, introduction)),
            Err(why) => format!("its first line must be the card line: {why}; it was: {}", excerpt(line)),
        },
        Ok(Line::TooLong(line)) => {
            format!("its first line has more than {} bytes: {}", limits.line_bytes, excerpt(line))
        }
        Ok(Line::End(_)) => "it ended before its card line".to_owned(),
        Err(_) => format!("it wrote no card line within {:?}", limits.start_timeout),
    };
    // It is ended before its last words are asked for.
    let status = running.end(limits.grace.min(Duration::from_secs(1))).await;
    let mut reason = format!("{reason} ({})", ended(&status));
    let said = stderr.end().await;
    if !said.is_empty() {
        reason = format!("{reason}; on stderr it said: {said}");
    }
    Err(refused(reason))
}

/// Runs until the agent is stopped.
pub(super) async fn supervise(turns: Arc<Turns>, program: Program, first: Started) {
    let _stopped = StoppedOnDrop(Arc::clone(&turns));
    // Failures in a row, of whatever kind, make the pauses longer; those to start at all make turns not wait.
    let (mut next, mut generation, mut failures, mut refused) = (Some(first), 0_u64, 0_u32, 0_u32);
    while !turns.stop.is_cancelled() {
        if let Some(started) = next.take() {
            generation += 1;
            let began = Instant::now();
            let reason = serve(&turns, started, generation).await;
            if turns.stop.is_cancelled() {
                break;
            }
            let was_of_use = turns.take_ended() > 0 || began.elapsed() >= STEADY;
            failures = if was_of_use { 0 } else { failures.saturating_add(1) };
            turns.died(&reason, 0);
            refused = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(turns.limits.restart_pause);
        tracing::info!(agent = &*turns.name, ?pause, failures, "the agent's program will be started again");
        tokio::select! {
            () = turns.stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = turns.stop.cancelled() => break,
            started = start(&program, &turns.name, &turns.limits) => match started {
                Ok((started, _)) => next = Some(started),
                Err(error) => {
                    (failures, refused) = (failures.saturating_add(1), refused.saturating_add(1));
                    tracing::warn!(agent = &*turns.name, failures, error = error.to_string(), "the agent's program did not start");
                    turns.died(REFUSED_TO_START, refused);
                }
            },
        }
    }
}

/// However the supervisor ends: no turn waits for a program that nobody will start.
struct StoppedOnDrop(Arc<Turns>);

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        self.0.died("the agent has stopped", 0);
        self.0.state.send_replace(State::Stopped);
    }
}

/// Why a program that runs is not waited for any longer.
enum End {
    Exited(io::Result<ExitStatus>),
    /// It is to be ended, for this reason.
    Unfit(String),
    Stopped,
}

/// Lets one program work to its end. Returns the reason of that.
async fn serve(turns: &Arc<Turns>, started: Started, generation: u64) -> String {
    let Started { mut running, stdin, mut lines, stderr } = started;
    let (sender, told) = mpsc::unbounded_channel();
    let mut writing = Box::pin(pipes::write(stdin, told, turns.limits.read_timeout));
    let mut reading = pin!(read(turns, &mut lines));
    turns.state.send_replace(State::Up(Process { generation, lines: sender }));
    tracing::info!(agent = &*turns.name, generation, "the agent's program is up");
    let (mut wrote, mut read) = (false, None);
    let end = loop {
        let sweep = turns.next_sweep();
        tokio::select! {
            biased;
            () = turns.stop.cancelled() => break End::Stopped,
            status = running.wait() => break End::Exited(status),
            unread = &mut reading, if read.is_none() => match unread {
                Unread::Unfit(reason) => {
                    read = Some(());
                    break End::Unfit(reason);
                }
                // It has most likely ended; its exit code says more.
                Unread::End => {
                    read = Some(());
                    match tokio::time::timeout(turns.limits.grace, running.wait()).await {
                        Ok(status) => break End::Exited(status),
                        Err(_) => break End::Unfit("it closed its output".to_owned()),
                    }
                }
            },
            unwritten = &mut writing, if !wrote => match unwritten {
                Some(Unwritten::Stuck) => {
                    let reason = format!("it did not read its input for {:?}", turns.limits.read_timeout);
                    break End::Unfit(reason);
                }
                // As above: most likely it has ended.
                Some(Unwritten::Closed) => {
                    match tokio::time::timeout(turns.limits.grace, running.wait()).await {
                        Ok(status) => break End::Exited(status),
                        Err(_) => break End::Unfit("it closed its input".to_owned()),
                    }
                }
                None => wrote = true,
            },
            () = turns.changed.notified() => if let Some(reason) = turns.sweep(Instant::now()) {
                break End::Unfit(reason);
            },
            () = at(sweep) => if let Some(reason) = turns.sweep(Instant::now()) {
                break End::Unfit(reason);
            },
        }
    };
    turns.state.send_modify(|state| {
        if matches!(state, State::Up(_)) {
            *state = State::Down { reason: Arc::from("it is ending"), refused: 0 };
        }
    });
    let reason = match end {
        End::Exited(status) => ended(&status),
        End::Unfit(reason) => {
            tracing::warn!(agent = &*turns.name, reason, "the agent's program is ended");
            let _ = running.end(turns.limits.grace).await;
            reason
        }
        End::Stopped => {
            // The end of its input is what tells it.
            drop(writing);
            let by_itself = async {
                tokio::select! {
                    _ = running.wait() => {}
                    _ = async { (&mut reading).await; std::future::pending::<()>().await }, if read.is_none() => {}
                }
            };
            if tokio::time::timeout(turns.limits.grace, by_itself).await.is_err() {
                let _ = running.end(turns.limits.grace).await;
            }
            return "the agent has stopped".to_owned();
        }
    };
    if read.is_none() {
        // What is left in the pipe counts: it was said before the end.
        let _ = tokio::time::timeout(LEFT_IN_PIPE, &mut reading).await;
    }
    let said = stderr.end().await;
    tracing::warn!(agent = &*turns.name, generation, reason, stderr = said, "the agent's program has ended");
    format!("the agent's program ended: {reason}")
}

/// Why nothing more is read.
enum Unread {
    End,
    Unfit(String),
}

async fn read(turns: &Turns, lines: &mut Lines<ChildStdout>) -> Unread {
    let mut pace = Pace::new(turns.limits.log_lines_per_second);
    loop {
        match lines.next().await {
            Line::Whole(line) => turns.hear(line, &mut pace).await,
            Line::TooLong(beginning) => {
                if !turns.too_long(beginning, &mut pace) {
                    let most = turns.limits.line_bytes;
                    let reason =
                        format!("it wrote a line of more than {most} bytes about nobody knows which task");
                    return Unread::Unfit(reason);
                }
            }
            Line::End(half) => {
                if half > 0 {
                    tracing::warn!(
                        agent = &*turns.name,
                        bytes = half,
                        "the agent's program ended in the middle of a line"
                    );
                }
                return Unread::End;
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The pause before the first new start.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A program that has run for so long is not one that ends at once.
const STEADY: Duration = Duration::from_secs(10);
/// How long its output is read after a program's end.
const LEFT_IN_PIPE: Duration = Duration::from_secs(2);
const REFUSED_TO_START: &str = "it does not start; why is in the server's log";

//! What a program says on stderr: to the log, a bounded number of bounded lines, and its end for who asks why it
//! failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::mask;
use super::text::printable;

/// A program's stderr, which is being read. When this is dropped, what is in the pipe by then still comes to the log.
#[derive(Debug)]
pub(in super::super) struct Stderr {
    tail: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
    _wanted: oneshot::Sender<()>,
}

impl Stderr {
    /// Reads it to its end. Each line goes to the log, with the agent's name, as far as the pace allows.
    pub(in super::super) fn follow(stderr: ChildStderr, agent: Arc<str>, lines_per_second: u32) -> Self {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (wanted, unwanted) = oneshot::channel::<()>();
        let read = read(stderr, Arc::clone(&tail), agent, Pace::new(lines_per_second));
        let reading = tokio::spawn(async move {
            let last_words = async {
                let _ = unwanted.await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                () = read => {}
                () = last_words => {}
            }
        });
        Self { tail, reading, _wanted: wanted }
    }

    /// The end of what the program has said, when it has ended: at most 2 KiB.
    pub(in super::super) async fn end(self) -> String {
        // A process that has left the program's group may hold it open.
        let _ = tokio::time::timeout(LAST_WORDS, self.reading).await;
        let tail = lock(&self.tail);
        let (bytes, is_cut) = (tail.iter().copied().collect::<Vec<_>>(), tail.len() == kept_bytes());
        last_words(&String::from_utf8_lossy(&bytes), is_cut)
    }
}

async fn read(mut stderr: ChildStderr, tail: Arc<Mutex<VecDeque<u8>>>, agent: Arc<str>, mut pace: Pace) {
    let (mut buffer, mut line) = (vec![0; 4 << 10], Line::default());
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        keep(&mut lock(&tail), &buffer[..count]);
        for piece in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
            line.push(piece);
            if piece.ends_with(b"\n") {
                line.log(&agent, &mut pace);
            }
        }
    }
    line.log(&agent, &mut pace);
}

/// What is shown of the end. Where something before it was cut off, it begins with a line, or else behind what may be the rest of
/// a secret.
fn last_words(text: &str, is_cut: bool) -> String {
    let text = printable(&mask::hide(text));
    let text = match text.split_once('\n') {
        _ if !is_cut => &*text,
        Some((_, whole)) => whole,
        None => &text[text.ceil_char_boundary(mask::longest())..],
    };
    text[text.ceil_char_boundary(text.len().saturating_sub(TAIL_BYTES))..].trim().to_owned()
}

/// How much of the end is kept, so that a secret in what is shown of it is there whole.
fn kept_bytes() -> usize {
    TAIL_BYTES + mask::longest()
}

fn keep(tail: &mut VecDeque<u8>, bytes: &[u8]) {
    let new = &bytes[bytes.len().saturating_sub(kept_bytes())..];
    let gone = (tail.len() + new.len()).saturating_sub(kept_bytes());
    tail.drain(..gone);
    tail.extend(new);
}

/// A line on its way to the log, without what is too much of it.
#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    bytes: usize,
}

impl Line {
    fn push(&mut self, piece: &[u8]) {
        let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
        self.bytes += piece.len();
        let room = (LINE_BYTES + mask::longest()).saturating_sub(self.kept.len());
        self.kept.extend(&piece[..piece.len().min(room)]);
    }

    fn log(&mut self, agent: &str, pace: &mut Pace) {
        let Self { kept, bytes } = std::mem::take(self);
        if kept.is_empty() {
            return;
        }
        if let Some(left_out) = pace.step() {
            let text = mask::hide(&String::from_utf8_lossy(&kept));
            let text = &text[..text.floor_char_boundary(LINE_BYTES)];
            let cut = bytes.saturating_sub(LINE_BYTES);
            tracing::info!(agent, line = text.trim_end(), cut, left_out, "the agent's stderr");
        }
    }
}

/// How often something may be said: so many times a second, and twice that at once.
#[derive(Debug)]
pub(in super::super) struct Pace {
    per_second: f64,
    left: f64,
    since: Instant,
    left_out: u64,
}

impl Pace {
    pub(in super::super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, left: per_second * 2.0, since: Instant::now(), left_out: 0 }
    }

    /// Whether it may be said once more; if so, how often it was left out since the last time.
    pub(in super::super) fn step(&mut self) -> Option<u64> {
        let now = Instant::now();
        let gained = now.duration_since(self.since).as_secs_f64() * self.per_second;
        (self.left, self.since) = ((self.left + gained).min(self.per_second * 2.0), now);
        if self.left < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

fn lock(tail: &Mutex<VecDeque<u8>>) -> MutexGuard<'_, VecDeque<u8>> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of its end is shown.
const TAIL_BYTES: usize = 2 << 10;
/// How much of one line is logged.
const LINE_BYTES: usize = 1 << 10;
/// How long the end of stderr is waited for after the end of its program.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = VecDeque::new();
        for n in 0..1_000 {
            keep(&mut tail, format!("line {n}\n").as_bytes());
        }
        assert_eq!(tail.len(), kept_bytes());
        keep(&mut tail, &[b'x'; 10_000]);
        assert!(tail.len() == kept_bytes() && tail.iter().all(|byte| *byte == b'x'));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_lets_through_what_it_says_and_counts_the_rest() {
        let mut pace = Pace::new(5);
        let passed = (0..100).filter(|_| pace.step().is_some()).count();
        assert_eq!(passed, 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pace.step(), Some(90));
    }
}

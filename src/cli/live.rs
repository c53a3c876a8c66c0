//! The one line that a person sees while a task goes on: only where somebody watches, and never in what is printed.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::screen::Screen;
use crate::client::TaskEvent;
use crate::model::{Part, PartContent, StreamResponse, Struct};

/// The line. Its clones are one line: the client's thread writes past it too.
#[derive(Clone, Default)]
pub(super) struct Live(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    /// Drawn, if this is.
    bar: Option<ProgressBar>,
    /// Since when there is something to watch.
    since: Option<Instant>,
    /// Standard output is on the same screen, in the middle of a line of its own.
    broken: bool,
    told: Told,
}

/// What the line says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    state: &'static str,
    seq: u64,
    bytes: usize,
    chunks: u64,
    /// From 0 to 1, where the agent says so.
    progress: Option<f64>,
}

impl Live {
    /// Begins to be shown, where standard error is a terminal that can take back what it shows.
    pub(super) fn start(&self) {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return;
        }
        self.begin();
    }

    /// The same, beside results that come meanwhile: whoever reads them from a pipe may show them on this screen too,
    /// and nobody knows when.
    pub(super) fn start_beside_results(&self) {
        if !is_piped() {
            self.start();
        }
    }

    fn begin(&self) {
        let mut line = self.lock();
        line.since.get_or_insert_with(Instant::now);
        line.draw();
    }

    /// Counts an event in.
    pub(super) fn event(&self, event: &TaskEvent) {
        let mut line = self.lock();
        line.told.count(event);
        line.draw();
    }

    /// Ends, without a trace.
    pub(super) fn stop(&self) {
        let mut line = self.lock();
        line.since = None;
        line.hide();
    }

    /// Does something that writes whole lines to the screen.
    pub(super) fn around<T>(&self, write: impl FnOnce() -> T) -> T {
        let line = self.lock();
        match &line.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Makes room for text of standard output. `ends`: whether it ends a line.
    pub(super) fn make_room(&self, ends: bool) {
        let mut line = self.lock();
        if line.since.is_some() && io::stdout().is_terminal() {
            line.hide();
            line.broken = !ends;
        }
    }

    /// Comes back after what [`make_room`](Self::make_room) was for.
    pub(super) fn come_back(&self) {
        self.lock().draw();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // A line that somebody panicked over is still a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn draw(&mut self) {
        let Some(since) = self.since.filter(|_| !self.broken) else { return };
        let told = &self.told;
        let bar = self.bar.get_or_insert_with(|| {
            let screen = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), DRAWN_PER_SECOND);
            let bar = ProgressBar::with_draw_target(Some(STEPS), screen);
            let bar = bar.with_elapsed(since.elapsed());
            bar.enable_steady_tick(TICK);
            bar
        });
        if let Ok(style) = ProgressStyle::with_template(told.template()) {
            bar.set_style(style);
        }
        if let Some(progress) = told.progress {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to STEPS")]
            bar.set_position((progress.clamp(0.0, 1.0) * STEPS as f64) as u64);
        }
        bar.set_message(told.text());
    }

    fn hide(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Told {
    fn count(&mut self, event: &TaskEvent) {
        self.seq = self.seq.max(event.seq);
        if let Some(state) = event.state() {
            self.state = state.short_name();
        }
        let metadata = match &event.content {
            StreamResponse::ArtifactUpdate(update) => {
                self.chunks += 1;
                self.bytes += update.artifact.parts.iter().map(size).sum::<usize>();
                &update.metadata
            }
            StreamResponse::StatusUpdate(update) => &update.metadata,
            StreamResponse::Task(task) => &task.metadata,
            StreamResponse::Message(_) => &None,
        };
        self.progress = metadata.as_ref().and_then(progress).or(self.progress);
    }

    fn text(&self) -> String {
        let state = if self.state.is_empty() { "waiting" } else { self.state };
        let Self { seq, bytes, chunks, .. } = self;
        format!("{state}  event {seq}  {chunks} chunks  {bytes} bytes")
    }

    /// Where there is no room, the message is what is cut.
    fn template(&self) -> &'static str {
        match self.progress {
            Some(_) => "{spinner} {elapsed} [{bar:12}] {percent}% {wide_msg}",
            None => "{spinner} {elapsed} {wide_msg}",
        }
    }
}

#[cfg(unix)]
fn is_piped() -> bool {
    let stat = rustix::fs::fstat(io::stdout());
    stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo)
}

#[cfg(not(unix))]
fn is_piped() -> bool {
    !io::stdout().is_terminal()
}

fn size(part: &Part) -> usize {
    match &part.content {
        PartContent::Text(text) => text.len(),
        PartContent::Raw(bytes) => bytes.len(),
        PartContent::Url(url) => url.len(),
        PartContent::Data(value) => value.to_string().len(),
    }
}

/// `progress` in the metadata: a fraction, a percentage above 1, or an object of `current` (or `done`) and `total`.
fn progress(metadata: &Struct) -> Option<f64> {
    let said = metadata.get("progress")?;
    let fraction = match said.as_object() {
        Some(parts) => {
            let current = parts.get("current").or_else(|| parts.get("done"))?.as_f64()?;
            current / parts.get("total")?.as_f64()?
        }
        None => said.as_f64().map(|number| if number > 1.0 { number / 100.0 } else { number })?,
    };
    fraction.is_finite().then(|| fraction.clamp(0.0, 1.0))
}

/// What a whole bar is made of.
const STEPS: u64 = 1_000;
/// How often it may be drawn.
const DRAWN_PER_SECOND: u8 = 20;
/// How often the elapsed time moves on.
const TICK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_read_in_each_of_its_forms() {
        let read =
            |value: serde_json::Value| progress(json!({ "progress": value }).as_object().expect("an object"));
        assert_eq!(read(json!(0.25)), Some(0.25));
        assert_eq!(read(json!(40)), Some(0.4));
        assert_eq!(read(json!({"current": 3, "total": 4})), Some(0.75));
        assert_eq!(read(json!({"done": 9, "total": 3})), Some(1.0));
        for wrong in [json!("half"), json!({"current": 1}), json!({"current": 0, "total": 0}), json!(null)] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}

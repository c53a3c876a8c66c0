//! Where results and remarks go.

use std::io::{self, Write};

use serde::Serialize;

use super::Format;
use super::error::{Failure, exit};
use super::live::Live;
use super::text::{clean, one_line, without_queries};

/// The one shape that the tool adds to A2A's own.
#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Failure,
}

/// The two streams of a command, and the format of the first.
pub(super) struct Output {
    results: Box<dyn Write>,
    remarks: Box<dyn Write>,
    format: Format,
    verbose: bool,
    logged: bool,
    live: Live,
}

impl Output {
    pub(super) fn new(results: Box<dyn Write>, remarks: Box<dyn Write>) -> Self {
        Self { results, remarks, format: Format::Text, verbose: false, logged: false, live: Live::default() }
    }

    pub(super) fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    pub(super) fn set_verbose(&mut self, verbose: bool) {
        self.verbose = verbose;
    }

    /// Remarks become records of the log: whoever reads standard error finds nothing else there.
    pub(super) fn log_remarks(&mut self) {
        self.logged = true;
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether text is to say everything that was exchanged.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// The line that shows how a task goes on.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Text, as it is, at once.
    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes())
    }

    /// One document: the whole result of a command.
    pub(super) fn document(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.is_json() { self.json(value, true) } else { self.raw(&text()) }
    }

    /// One line of several.
    pub(super) fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.json(value, false)
    }

    /// A remark for whoever watches: one line. Nothing depends on it, so nothing fails with it.
    pub(super) fn remark(&mut self, text: &str) {
        if self.logged {
            tracing::info!("{text}");
        } else {
            self.say(&one_line(&without_queries(text)));
        }
    }

    fn say(&mut self, text: &str) {
        let text = clean(text);
        let Self { remarks, live, .. } = self;
        let _ = live.around(|| writeln!(remarks, "{text}").and_then(|()| remarks.flush()));
    }

    /// The error of the whole command.
    pub(super) fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        self.live.stop();
        let mut failure = failure.clone();
        failure.message = without_queries(&failure.message);
        failure.hint = failure.hint.as_deref().map(without_queries);
        if self.is_json() {
            return self.line(&Envelope { error: &failure });
        }
        // What the tool itself says of its arguments and settings may have several lines; others' words may not.
        let own = failure.exit == exit::USAGE && failure.a2a_code.is_none();
        let message = if own { failure.message.clone() } else { one_line(&failure.message) };
        self.say(&format!("error: {message}"));
        if let Some(hint) = &failure.hint {
            self.say(&format!("hint: {}", one_line(hint)));
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize, pretty: bool) -> io::Result<()> {
        let json = if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
        let mut json = json.map_err(io::Error::other)?;
        json.push(b'\n');
        self.write(&json)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.live.make_room(*last == b'\n');
        }
        let written = self.results.write_all(bytes).and_then(|()| self.results.flush());
        self.live.come_back();
        written
    }
}

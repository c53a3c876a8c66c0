//! Where results and remarks go.

use std::io::{self, Write};

use serde::Serialize;

use super::Format;
use super::error::Failure;

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
}

impl Output {
    pub(super) fn new(results: Box<dyn Write>, remarks: Box<dyn Write>) -> Self {
        Self { results, remarks, format: Format::Text }
    }

    pub(super) fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Text, as it is, at once.
    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.results.write_all(text.as_bytes())?;
        self.results.flush()
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

    /// A remark for whoever watches. Nothing depends on it, so nothing fails with it.
    pub(super) fn remark(&mut self, text: &str) {
        let text = super::text::clean(text);
        let _ = writeln!(self.remarks, "{text}").and_then(|()| self.remarks.flush());
    }

    /// The error of the whole command.
    pub(super) fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        if self.is_json() {
            return self.line(&Envelope { error: failure });
        }
        self.remark(&format!("error: {}", failure.message));
        if let Some(hint) = &failure.hint {
            self.remark(&format!("hint: {hint}"));
        }
        Ok(())
    }

    fn json(&mut self, value: &impl Serialize, pretty: bool) -> io::Result<()> {
        let json = if pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
        let mut json = json.map_err(io::Error::other)?;
        json.push(b'\n');
        self.results.write_all(&json)?;
        self.results.flush()
    }
}

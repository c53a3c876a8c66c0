//! What the program tells of its work, on standard error: lines of text for a person, JSON for everybody else.
//!
//! This is the one place where a record becomes bytes, so it is the one place that keeps others' text harmless: whatever a
//! value holds, it stays within its line and within its field, steers no terminal, and is cut where it is long.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;

use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use serde_json::Value;
use serde_json::ser::Formatter;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use super::error::CliError;
use super::live::Live;
use crate::clock::Clock;

/// What a record looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// `TIME LEVEL TARGET: MESSAGE NAME=VALUE …`
    Text,
    /// One object: `timestamp`, `level`, `target`, `message`, and the fields beside them.
    Json,
}

impl LogFormat {
    /// As [`FORMAT_VARIABLE`] says; else text if a person watches.
    fn chosen(variable: Option<&str>, is_terminal: bool) -> Result<Self, CliError> {
        match variable {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            None | Some("") if is_terminal => Ok(Self::Text),
            None | Some("") => Ok(Self::Json),
            Some(_) => Err(CliError::usage(format!("{FORMAT_VARIABLE} must be `text` or `json`"))),
        }
    }
}

/// Starts the log of a server, or of a command that was asked to say what it does; other commands have none.
pub(super) fn start(debug: bool, serving: bool, live: Live) -> Result<Option<LogFormat>, CliError> {
    let usual = match (debug, serving) {
        (true, _) => "a2a_webcap=debug",
        (false, true) => "info",
        (false, false) => return Ok(None),
    };
    let variable = |name: &str| std::env::var(name).ok();
    let filter = variable(FILTER_VARIABLE).unwrap_or_else(|| usual.to_owned());
    let filter = EnvFilter::try_new(filter).map_err(|_| {
        CliError::usage(format!("{FILTER_VARIABLE} is no filter: write such as `info` or `a2a_webcap=debug`"))
    })?;
    let format = LogFormat::chosen(variable(FORMAT_VARIABLE).as_deref(), io::stderr().is_terminal())?;
    // Within somebody else's program there may be a subscriber already.
    let started = tracing_subscriber::registry().with(Log { format, live }.with_filter(filter)).try_init();
    if serving && started.is_ok() {
        std::panic::set_hook(Box::new(record_panic));
    }
    Ok(Some(format))
}

/// A panic's text may hold a peer's: it is a record like any other, not raw lines.
fn record_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        thread = thread.name(),
        place = panic.location().map(ToString::to_string),
        panic = panic.payload_as_str(),
        backtrace,
        "a defect"
    );
}

/// Writes each record as one line.
struct Log {
    format: LogFormat,
    live: Live,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut record = Record::new(event.metadata());
        event.record(&mut record);
        let line = record.line(self.format, &Clock::system().now().to_string());
        // In one piece, so that lines of several threads do not mix. Where nobody reads it, there is nobody to tell.
        let _ = self.live.around(|| io::stderr().lock().write_all(line.as_bytes()));
    }
}

/// What a record says.
struct Record {
    level: &'static str,
    target: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    fn new(metadata: &Metadata<'_>) -> Self {
        let level = metadata.level().as_str();
        let level = ["TRACE", "DEBUG", "INFO", "WARN"].into_iter().find(|name| *name == level);
        Self {
            level: level.unwrap_or("ERROR"),
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
        }
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }

    fn add_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let text = Cut::of(text);
        match field.name() {
            "message" => self.message = text,
            _ => self.add(field, text),
        }
    }

    fn line(&self, format: LogFormat, timestamp: &str) -> String {
        match format {
            LogFormat::Text => self.text(timestamp),
            // Texts, numbers and truth values: all of them are JSON.
            LogFormat::Json => self.json(timestamp).unwrap_or_default(),
        }
    }

    fn text(&self, timestamp: &str) -> String {
        let Self { level, target, message, fields } = self;
        let mut line = format!("{timestamp} {level:>5} {}:", Shown(target, is_word));
        if !message.is_empty() {
            let _ = write!(line, " {}", Shown(message, is_phrase));
        }
        for (name, value) in fields {
            let _ = match value {
                Value::String(text) => write!(line, " {name}={}", Shown(text, is_word)),
                other => write!(line, " {name}={other}"),
            };
        }
        line.push('\n');
        line
    }

    fn json(&self, timestamp: &str) -> serde_json::Result<String> {
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, Ascii);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", timestamp)?;
        map.serialize_entry("level", self.level)?;
        map.serialize_entry("target", &self.target)?;
        map.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            // Each name has one meaning, whatever a record calls its fields.
            let own = matches!(*name, "timestamp" | "level" | "target" | "message");
            let name = if own { &format!("field.{name}") } else { *name };
            map.serialize_entry(name, value)?;
        }
        map.end()?;
        line.push(b'\n');
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}

/// A text of which only the beginning is kept, and only that is ever in memory.
#[derive(Default)]
struct Cut {
    kept: String,
    bytes: usize,
}

impl Cut {
    fn of(text: fmt::Arguments<'_>) -> String {
        let mut cut = Self::default();
        // It keeps what it was given before a `Debug` failed.
        let _ = cut.write_fmt(text);
        let Self { mut kept, bytes } = cut;
        if bytes > kept.len() {
            let _ = write!(kept, "… ({bytes} bytes)");
        }
        kept
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = if self.bytes > self.kept.len() { 0 } else { VALUE_BYTES - self.kept.len() };
        self.kept.push_str(&piece[..piece.floor_char_boundary(room)]);
        self.bytes += piece.len();
        Ok(())
    }
}

/// A text in a line of text: as it is if every character is one that this allows, else in quotes and escaped.
struct Shown<'a>(&'a str, fn(char) -> bool);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, is_plain) = self;
        if !text.is_empty() && text.chars().all(is_plain) {
            return f.write_str(text);
        }
        f.write_char('"')?;
        for c in text.chars() {
            match c {
                '\'' => f.write_char(c)?,
                // Also what cannot be seen, turns the direction of writing, or stacks onto other lines.
                c => write!(f, "{}", c.escape_debug())?,
            }
        }
        f.write_char('"')
    }
}

/// Nothing that could be taken for the end of a value, or for the name of the next.
fn is_word(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=')
}

fn is_phrase(c: char) -> bool {
    c == ' ' || is_word(c)
}

/// JSON whose texts are ASCII: a parser reads what was meant, and a terminal has nothing to obey.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for c in fragment.chars() {
            if c == ' ' || c.is_ascii_graphic() {
                writer.write_all(&[c as u8])?;
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// What is logged: the directives of `tracing_subscriber`'s filter.
const FILTER_VARIABLE: &str = "A2A_WEBCAP_LOG";
/// How: `text` or `json`.
const FORMAT_VARIABLE: &str = "A2A_WEBCAP_LOG_FORMAT";
/// How much of one value is kept.
const VALUE_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str, fields: &[(&'static str, &str)]) -> Record {
        let fields = fields.iter().map(|(name, text)| (*name, Value::from(*text))).collect();
        Record { level: "INFO", target: "a2a_webcap::x".to_owned(), message: message.to_owned(), fields }
    }

    const NOW: &str = "2026-11-21T00:00:00Z";

    #[test]
    fn plain_values_stay_plain_and_others_are_quoted() {
        let record = record("it went well", &[("how", "fast"), ("why", "no reason"), ("empty", "")]);
        assert_eq!(
            record.text(NOW),
            "2026-11-21T00:00:00Z  INFO a2a_webcap::x: it went well how=fast why=\"no reason\" empty=\"\"\n"
        );
        let json: Value = serde_json::from_str(&record.json(NOW).unwrap()).unwrap();
        let expected = serde_json::json!({
            "timestamp": NOW, "level": "INFO", "target": "a2a_webcap::x", "message": "it went well",
            "how": "fast", "why": "no reason", "empty": "",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn no_text_leaves_its_line_or_its_field_and_a_parser_reads_it_as_it_was() {
        for nasty in [
            "a\nb",
            "a\r\nb",
            "\u{1b}[31mred",
            "\u{9b}2J",
            "\u{85}",
            "\u{2028}x\u{2029}",
            "\u{202e}cba",
            "\u{2066}x\u{2069}",
            "\u{0}",
            "\u{7f}\u{8}",
            "x level=ERROR",
            "x\" level=\"ERROR",
            "\\",
            "\",\"level\":\"ERROR",
            "\u{200b}",
            "e\u{301}\u{301}",
            "\u{e0041}",
            "😀",
        ] {
            let record = record(nasty, &[("value", nasty)]);
            let text = record.text(NOW);
            assert!(
                text.trim_end_matches('\n').chars().all(|c| !c.is_control() && c.is_ascii() || c == '😀'),
                "{text:?}"
            );
            assert!(!text.contains(" level=ERROR") || text.contains("\"x level=ERROR\""), "{text:?}");
            let json = record.json(NOW).unwrap();
            assert!(
                json.trim_end_matches('\n').bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{json:?}"
            );
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(
                (&json["message"], &json["value"], &json["level"]),
                (&nasty.into(), &nasty.into(), &"INFO".into())
            );
        }
    }

    #[test]
    fn a_field_never_takes_the_name_of_what_every_record_has() {
        let json = record("m", &[("target", "mine"), ("level", "mine")]).json(NOW).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["target"], &json["field.target"]), (&"a2a_webcap::x".into(), &"mine".into()));
        assert_eq!(json["field.level"], "mine");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character_and_its_length_told() {
        let long = "ü".repeat(VALUE_BYTES);
        let cut = Cut::of(format_args!("x{long}"));
        assert!(cut.ends_with(&format!("ü… ({} bytes)", VALUE_BYTES * 2 + 1)), "{}", &cut[cut.len() - 40..]);
        assert!(cut.len() < VALUE_BYTES + 40);
        assert_eq!(Cut::of(format_args!("short")), "short");
    }

    #[test]
    fn a_person_gets_text_and_everybody_else_json_unless_somebody_says_otherwise() {
        let chosen = |variable, is_terminal| LogFormat::chosen(variable, is_terminal).ok();
        assert_eq!((chosen(None, true), chosen(None, false)), (Some(LogFormat::Text), Some(LogFormat::Json)));
        assert_eq!(
            (chosen(Some("json"), true), chosen(Some("text"), false)),
            (Some(LogFormat::Json), Some(LogFormat::Text))
        );
        assert_eq!(chosen(Some("xml"), true), None);
    }
}

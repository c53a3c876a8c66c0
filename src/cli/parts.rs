//! The parts of a message, from flags whose order matters.

use std::path::Path;

use clap::ArgMatches;

use super::error::CliError;
use crate::model::Part;
use crate::private;

/// A flag that makes a part, or says something about the one before.
enum Flag<'a> {
    Text(&'a str),
    File(&'a str),
    Data(&'a str),
    MediaType(&'a str),
}

/// Reads `--text`, `--file`, `--data` and `--media-type` in the order in which they stand.
pub(super) fn read(matches: &ArgMatches) -> Result<Vec<Part>, CliError> {
    let mut flags = Vec::new();
    collect(matches, "text", Flag::Text, &mut flags);
    collect(matches, "file", Flag::File, &mut flags);
    collect(matches, "data", Flag::Data, &mut flags);
    collect(matches, "media_type", Flag::MediaType, &mut flags);
    flags.sort_by_key(|(index, _)| *index);
    let mut parts: Vec<Part> = Vec::new();
    for (_, flag) in flags {
        match flag {
            Flag::Text(text) => parts.push(Part::text(text)),
            Flag::File(path) => parts.push(file(path)?),
            Flag::Data(path) => parts.push(data(path)?),
            Flag::MediaType(media_type) => match parts.last_mut() {
                Some(part) => part.media_type = Some(media_type.to_owned()),
                None => return Err(CliError::usage("--media-type follows the part that it is about")),
            },
        }
    }
    Ok(parts)
}

fn collect<'a>(
    matches: &'a ArgMatches,
    name: &str,
    flag: impl Fn(&'a str) -> Flag<'a>,
    flags: &mut Vec<(usize, Flag<'a>)>,
) {
    let indices = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<String>(name).into_iter().flatten();
    flags.extend(indices.zip(values.map(|value| flag(value))));
}

/// A file's bytes, or a URL that the agent fetches.
fn file(path: &str) -> Result<Part, CliError> {
    if path.starts_with("http://") || path.starts_with("https://") {
        let mut part = Part::url(path, media_type(path));
        part.filename = name(path);
        return Ok(part);
    }
    let open = std::fs::File::open(path).map_err(|error| unusable(path, &error))?;
    let mut part = Part::raw(bounded(path, open)?, media_type(path));
    part.filename = name(path);
    Ok(part)
}

/// A JSON document, from a file or from standard input.
fn data(path: &str) -> Result<Part, CliError> {
    let bytes = if path == "-" {
        bounded("standard input", std::io::stdin())?
    } else {
        bounded(path, std::fs::File::open(path).map_err(|error| unusable(path, &error))?)?
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| CliError::usage(format!("{path}: not JSON: {error}")))?;
    Ok(Part::data(value))
}

fn bounded(path: &str, from: impl std::io::Read) -> Result<Vec<u8>, CliError> {
    let read = private::read_at_most(from, LARGEST_FILE);
    read.map_err(|error| unusable(path, &error).hint("what is large is put somewhere, and its URL sent"))
}

fn unusable(path: &str, error: &std::io::Error) -> CliError {
    CliError::usage(format!("{path}: {error}"))
}

fn name(path: &str) -> Option<String> {
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned())
}

/// What the ending suggests; the caller knows better with `--media-type`.
fn media_type(path: &str) -> &'static str {
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// What fits into one message with room to spare.
const LARGEST_FILE: u64 = 12 << 20;

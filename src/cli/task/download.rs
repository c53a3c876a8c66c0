//! `a2a-webcap task download`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::text;
use crate::model::{Artifact, GetTaskRequest, Part, PartContent};

#[derive(Debug, Args)]
pub(crate) struct Download {
    /// The task
    id: String,

    /// Where to put the files; the directory is made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Only this artifact, by its id; repeatable
    #[arg(long, value_name = "ID")]
    artifact: Vec<String>,

    /// Write over files that are there
    #[arg(long)]
    force: bool,
}

/// One part of an artifact, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    artifact_id: String,
    /// Where it is now; none where the agent gave a URL, which is for the caller to fetch.
    path: Option<String>,
    url: Option<String>,
    bytes: usize,
    media_type: Option<String>,
}

impl Download {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let task = reach.answer(reach.client.get_task(GetTaskRequest::new(self.id.as_str()))).await?;
        if let Some(unknown) = self.artifact.iter().find(|id| task.artifact(id).is_none()) {
            return Err(CliError::usage(format!("the task has no artifact {unknown:?}")));
        }
        let wanted = |artifact: &&Artifact| {
            self.artifact.is_empty() || self.artifact.iter().any(|id| **id == *artifact.artifact_id)
        };
        std::fs::create_dir_all(&self.dir).map_err(|error| unwritable(&self.dir, &error))?;
        let mut saved = Vec::new();
        for artifact in task.artifacts.iter().filter(wanted) {
            for (number, part) in (1..).zip(joined(artifact)) {
                saved.push(self.save(artifact, number, &part)?);
            }
        }
        let shown = || saved.iter().map(shown).collect();
        Ok(output.document(&serde_json::json!({ "taskId": &*task.id, "saved": saved }), shown)?)
    }

    fn save(&self, artifact: &Artifact, number: usize, part: &Part) -> Result<Saved, CliError> {
        let mut saved = Saved {
            artifact_id: artifact.artifact_id.to_string(),
            path: None,
            url: None,
            bytes: 0,
            media_type: part.media_type.clone(),
        };
        let content = match &part.content {
            PartContent::Text(text) => text.as_bytes().to_vec(),
            PartContent::Raw(bytes) => bytes.to_vec(),
            PartContent::Data(value) => serde_json::to_vec_pretty(value).unwrap_or_default(),
            PartContent::Url(url) => {
                saved.url = Some(url.clone());
                return Ok(saved);
            }
        };
        let path = self.dir.join(file_name(artifact, number, part));
        // Neither over a file nor through a link that somebody has put there.
        let mut options = OpenOptions::new();
        options.write(true).create_new(!self.force).create(self.force).truncate(self.force);
        let mut file = options.open(&path).map_err(|error| unwritable(&path, &error))?;
        file.write_all(&content).map_err(|error| unwritable(&path, &error))?;
        saved.bytes = content.len();
        saved.path = Some(path.display().to_string());
        Ok(saved)
    }
}

/// The artifact's parts; texts that follow each other are one, as they were streamed.
fn joined(artifact: &Artifact) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for part in &artifact.parts {
        let follows = parts
            .last_mut()
            .filter(|last| last.filename == part.filename && last.media_type == part.media_type);
        match (follows.map(|last| &mut last.content), &part.content) {
            (Some(PartContent::Text(text)), PartContent::Text(more)) => text.push_str(more),
            _ => parts.push(part.clone()),
        }
    }
    parts
}

/// A name in the directory and nowhere else, whatever the agent calls it.
fn file_name(artifact: &Artifact, number: usize, part: &Part) -> String {
    let own = part.filename.as_deref().and_then(|name| name.rsplit(['/', '\\']).next()).map(harmless);
    if let Some(name) = own.filter(|name| !name.is_empty()) {
        return name;
    }
    let ending = match (&part.content, part.media_type.as_deref()) {
        (_, Some("text/markdown")) => "md",
        (PartContent::Text(_), _) => "txt",
        (PartContent::Data(_), _) | (_, Some("application/json")) => "json",
        (_, Some("image/png")) => "png",
        (_, Some("image/jpeg")) => "jpg",
        (_, Some("application/pdf")) => "pdf",
        _ => "bin",
    };
    let stem = harmless(text::artifact_name(artifact));
    let stem = if stem.is_empty() { "artifact".to_owned() } else { stem };
    if artifact.parts.len() > 1 && number > 1 {
        format!("{stem}-{number}.{ending}")
    } else {
        format!("{stem}.{ending}")
    }
}

fn harmless(name: &str) -> String {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let name: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).take(LONGEST_NAME).collect();
    name.trim_matches(|c: char| c == '.' || c == ' ').to_owned()
}

/// Characters of a name; a file system takes 255 bytes.
const LONGEST_NAME: usize = 60;

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    let failed = CliError::usage(format!("{}: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return failed.hint("--force writes over it, and --dir DIR puts it elsewhere");
    }
    failed
}

fn shown(saved: &Saved) -> String {
    let mut shown = String::new();
    text::field(&mut shown, "Artifact ID", &saved.artifact_id);
    if let Some(path) = &saved.path {
        text::field(&mut shown, "Saved", path);
        text::field(&mut shown, "Bytes", &saved.bytes.to_string());
    }
    if let Some(url) = &saved.url {
        text::field(&mut shown, "URL", url);
    }
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let named = |name: &str| {
            let mut part = Part::text("x");
            part.filename = Some(name.to_owned());
            file_name(&Artifact::text("a", "x"), 1, &part)
        };
        assert_eq!(named("../../etc/passwd"), "passwd");
        assert_eq!(named("C:\\boot\\x.ini"), "x.ini");
        assert_eq!(named(".bashrc"), "bashrc");
        assert_eq!(named("a\u{1b}[2J\n.txt"), "a__2J_.txt");
        for name in ["..", "/", ".", ""] {
            assert_eq!(named(name), "a.txt", "{name:?}");
        }
        assert!(named(&"x".repeat(1_000)).len() <= LONGEST_NAME);
    }
}

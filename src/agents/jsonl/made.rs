//! What a turn has made so far, counted: where a program that is given the turn again goes on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::agent::{Output, Turn};
use crate::model::{Artifact, Id};

/// How much there is of each artifact.
#[derive(Debug, Default)]
pub(super) struct Made {
    artifacts: BTreeMap<Id, Size>,
}

#[derive(Debug, Default)]
struct Size {
    parts: usize,
    characters: usize,
}

impl Made {
    /// What was there when the turn began, or was resumed.
    pub(super) fn of(turn: &Turn) -> Self {
        let mut made = Self::default();
        for artifact in turn.task.iter().flat_map(|task| &task.artifacts) {
            made.grow(artifact, true);
        }
        made
    }

    /// Something was said.
    pub(super) fn add(&mut self, output: &Output) {
        if let Output::Artifact(chunk) = output {
            self.grow(&chunk.artifact, chunk.append);
        }
    }

    fn grow(&mut self, artifact: &Artifact, append: bool) {
        // A hint: with more artifacts than that, the later ones are not in it.
        if self.artifacts.len() >= MOST && !self.artifacts.contains_key(&artifact.artifact_id) {
            return;
        }
        let size = self.artifacts.entry(artifact.artifact_id.clone()).or_default();
        if !append {
            *size = Size::default();
        }
        size.parts += artifact.parts.len();
        size.characters += artifact.text_content().chars().count();
    }

    /// As a turn's line shows it.
    pub(super) fn shown(&self) -> Value {
        let artifacts = self
            .artifacts
            .iter()
            .map(|(id, size)| json!({"artifactId": id, "parts": size.parts, "characters": size.characters}));
        json!({"artifacts": artifacts.collect::<Vec<_>>()})
    }
}

/// The most artifacts that are counted.
const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::agent::Chunk;
    use crate::model::Message;

    #[test]
    fn pieces_add_up_and_a_new_beginning_starts_over() {
        let mut made = Made::of(&Turn::new("t".into(), "c".into(), Arc::new(Message::user("x"))));
        for (text, append) in [("gone", false), ("a€", false), ("b", true)] {
            let chunk = Chunk { artifact: Artifact::text("a", text), append, last: false, metadata: None };
            made.add(&Output::Artifact(chunk));
        }
        assert_eq!(made.shown(), json!({"artifacts": [{"artifactId": "a", "parts": 2, "characters": 3}]}));
    }
}

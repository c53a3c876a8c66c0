//! `a2a-webcap task delete`.

use clap::Args;
use serde_json::json;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::text;
use crate::model::Id;

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The task, which has to be finished
    id: String,
}

impl Delete {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let id = Id::from(self.id);
        reach.answer(reach.client.delete(id.clone())).await?;
        let text = || {
            let mut text = String::new();
            text::field(&mut text, "Deleted", &id);
            text
        };
        Ok(output.document(&json!({ "deleted": &*id }), text)?)
    }
}

//! `a2a-webcap task cancel`.

use clap::Args;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::text;
use crate::model::CancelTaskRequest;

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The task
    id: String,
}

impl Cancel {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let task = reach.answer(reach.client.cancel(CancelTaskRequest::new(self.id))).await?;
        Ok(output.document(&task, || text::task(&task))?)
    }
}

//! `a2a-webcap task get`.

use clap::Args;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::{follow, text};
use crate::model::GetTaskRequest;

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The task
    id: String,

    /// With this many of its latest messages
    #[arg(long, value_name = "N", default_value = "0")]
    history: u32,

    /// Wait until the task stops
    #[arg(long, visible_alias = "watch")]
    wait: bool,
}

impl Get {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        if self.wait {
            follow::wait_for(reach, &self.id.as_str().into(), output).await?;
        }
        let history_length = Some(self.history);
        let request = GetTaskRequest { history_length, ..GetTaskRequest::new(self.id) };
        let task = reach.answer(reach.client.get_task(request)).await?;
        let verbose = output.is_verbose();
        let shown = || if verbose { text::details(&task) } else { text::task(&task) };
        output.document(&task, || shown() + &text::history(&task))?;
        follow::remark_on(reach, task.state(), &task.id, output);
        Ok(())
    }
}

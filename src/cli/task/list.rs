//! `a2a-webcap task list`.

use clap::Args;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::text;
use crate::model::{ListTasksRequest, TaskState};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only tasks of this conversation
    #[arg(long, visible_alias = "context", value_name = "ID")]
    context_id: Option<String>,

    /// Only tasks in this state, such as working or input-required
    #[arg(long, value_name = "STATE")]
    status: Option<TaskState>,

    /// At most this many: 1 to 100 [default: 50]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,

    /// Go on from here: what the page before printed
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,

    /// Each with this many of its latest messages
    #[arg(long, value_name = "N", default_value = "0")]
    history: u32,

    /// With -o json: one task a line
    #[arg(long)]
    stream: bool,
}

impl List {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let request = ListTasksRequest {
            context_id: self.context_id.map(Into::into),
            status: self.status,
            page_size: self.limit,
            page_token: self.page_token,
            history_length: Some(self.history),
            ..ListTasksRequest::default()
        };
        let lines = self.stream && output.is_json();
        let page = reach.answer(reach.client.list(request)).await?;
        if lines {
            page.tasks.iter().try_for_each(|task| output.line(task))?;
            if !page.next_page_token.is_empty() {
                output.remark(&format!("there are more: --page-token {}", page.next_page_token));
            }
            return Ok(());
        }
        Ok(output.document(&page, || text::tasks(&page))?)
    }
}

//! `a2a-webcap task subscribe`.

use clap::Args;

use super::super::error::CliError;
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::{follow, text};
use crate::client::Cursor;
use crate::model::Id;

#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// The task
    id: String,

    /// Begin with the event after this one; 0 for all. Without it: with the task as it stands
    #[arg(long, value_name = "N")]
    after: Option<u64>,

    /// With -o json: print each event as it comes, one a line, instead of the task at its end
    #[arg(long)]
    stream: bool,
}

impl Subscribe {
    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let id = Id::from(self.id);
        if !reach.streams() {
            let error = CliError::protocol(
                "UnsupportedOperationError",
                "the agent's card says that it does not stream",
            );
            return Err(error.hint(format!(
                "ask for its state instead: {}",
                reach.command(&format!("task get --wait {id}"))
            )));
        }
        let mut stream = reach.client.subscribe(id.clone(), Cursor::from_after(self.after));
        if self.stream || !output.is_json() {
            return follow::show(reach, stream, output).await;
        }
        follow::wait(reach, &mut stream, output).await?;
        let task = follow::task(reach, Some(&id)).await?;
        output.document(&task, || text::task(&task))?;
        follow::remark_on(reach, task.state(), &task.id, output);
        Ok(())
    }
}

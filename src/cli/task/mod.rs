//! `a2a-webcap task`.

mod cancel;
mod delete;
mod download;
mod get;
mod list;
mod push;
mod subscribe;

use clap::Subcommand;

use super::Global;
use super::error::CliError;
use super::output::Output;
use super::reach::Reach;

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Show a task
    Get(get::Get),
    /// Show your tasks, latest status first
    List(list::List),
    /// Cancel a task
    Cancel(cancel::Cancel),
    /// Delete a finished task, with everything that is known of it
    Delete(delete::Delete),
    /// Follow a task to its end
    Subscribe(subscribe::Subscribe),
    /// Save a task's artifacts as files
    Download(download::Download),
    /// Have a task's events posted to URLs, by agents that do so
    #[command(subcommand)]
    PushConfig(push::PushConfig),
}

impl TaskCommand {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let reach = match &self {
            Self::PushConfig(command) => command.reach(global, output).await?,
            _ => Reach::connect(global, output).await?,
        };
        let done = match self {
            Self::Get(command) => command.run(&reach, output).await,
            Self::List(command) => command.run(&reach, output).await,
            Self::Cancel(command) => command.run(&reach, output).await,
            Self::Delete(command) => command.run(&reach, output).await,
            Self::Subscribe(command) => command.run(&reach, output).await,
            Self::Download(command) => command.run(&reach, output).await,
            Self::PushConfig(command) => command.run(&reach, output).await,
        };
        reach.close().await;
        done
    }
}

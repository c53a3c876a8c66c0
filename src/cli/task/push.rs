//! `a2a-webcap task push-config`: what it needs does not stand yet, and this says so.

use clap::Subcommand;

use super::super::Global;
use super::super::error::CliError;
use super::super::reach;

#[derive(Debug, Subcommand)]
pub(crate) enum PushConfig {
    /// Have a URL called on each event
    Create(Ids),
    /// Show one configuration
    Get(Ids),
    /// Show all of a task
    List(Ids),
    /// Delete one
    Delete(Ids),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ids {
    /// The task, and what the command needs beside it
    #[arg(required = true)]
    ids: Vec<String>,
}

impl PushConfig {
    /// The capability is looked up in the card first, as it has to be.
    pub(super) async fn run(self, global: &Global) -> Result<(), CliError> {
        let (Self::Create(ids) | Self::Get(ids) | Self::List(ids) | Self::Delete(ids)) = self;
        tracing::debug!(task = ids.ids.first(), "push notifications are looked up in the card");
        let (_, found) = reach::card(global).await?;
        let declared = found.is_some_and(|found| found.card.capabilities.push_notifications == Some(true));
        if !declared {
            let message = "the agent's card says that it does not send push notifications";
            let error = CliError::protocol("PushNotificationNotSupportedError", message);
            return Err(error.hint("`a2a-webcap task subscribe ID` follows a task, over a lost line too"));
        }
        let message = "push notifications need one of the bindings JSONRPC, GRPC and HTTP+JSON, which this tool \
                       does not speak yet";
        Err(CliError::internal(message).hint("`a2a-webcap task subscribe ID` follows a task instead"))
    }
}

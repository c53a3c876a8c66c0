//! `a2a-webcap card`.

use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::{Global, text};

#[derive(Debug, Subcommand)]
pub(super) enum CardCommand {
    /// Show an agent's card
    Get(Get),
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The card that only authenticated callers see
    #[arg(long)]
    extended: bool,
}

impl CardCommand {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let Self::Get(get) = self;
        let reach = Reach::connect(global, output).await?;
        let card = if get.extended {
            reach.answer(reach.client.extended_agent_card()).await
        } else {
            reach.answer(reach.client.agent_card()).await
        };
        reach.close().await;
        let card = card?;
        Ok(output.document(&card, || text::card(&card))?)
    }
}

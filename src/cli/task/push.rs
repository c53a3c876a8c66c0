//! `a2a-webcap task push-config`: where an agent posts a task's events.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::super::Global;
use super::super::error::{CliError, INSTEAD_OF_PUSH};
use super::super::output::Output;
use super::super::reach::Reach;
use super::super::text;
use crate::model::{
    AgentCard, AuthenticationInfo, ListTaskPushNotificationConfigsRequest, Secret, TaskPushNotificationConfig,
};

#[derive(Debug, Subcommand)]
pub(crate) enum PushConfig {
    /// Have a task's events posted to a URL
    Create(Create),
    /// Show one configuration of a task
    Get(Ids),
    /// Show the configurations of a task
    List(List),
    /// Take a configuration off a task
    Delete(Ids),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The task
    task: String,

    /// Where its events are posted
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    url: String,

    /// The id of the configuration [default: the agent makes one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// A text that comes with every notification, by which the receiver knows it. Others can see an argument: better
    /// set the variable
    #[arg(
        long,
        value_name = "TOKEN",
        env = "A2ACLI_TOKEN",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    token: Option<Secret>,

    /// How the agent authenticates to the receiver: an HTTP authentication scheme, such as Bearer
    #[arg(long, value_name = "SCHEME", env = "A2ACLI_AUTH_SCHEME")]
    auth_scheme: Option<String>,

    /// What the agent shows to the receiver. Others can see an argument: better set the variable
    #[arg(
        long,
        value_name = "CREDENTIALS",
        env = "A2ACLI_AUTH_CREDENTIALS",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    auth_credentials: Option<Secret>,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// The task
    task: String,

    /// The configuration
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The task
    task: String,

    /// At most this many [default: the agent decides]
    #[arg(long, visible_alias = "page-size", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    limit: Option<u32>,

    /// Go on from here: what the page before printed
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
}

/// Whether an agent says that it sends push notifications.
fn is_sent(card: &AgentCard) -> Result<(), CliError> {
    let declared = card.capabilities.push_notifications == Some(true);
    tracing::debug!(declared, "push notifications are looked up in the card");
    if declared {
        return Ok(());
    }
    let message = "the agent's card says that it does not send push notifications";
    Err(CliError::protocol("PushNotificationNotSupportedError", message).hint(INSTEAD_OF_PUSH))
}

impl PushConfig {
    /// Connects, if what is asked for makes sense and the agent says that it can do it.
    pub(super) async fn reach(&self, global: &Global, output: &mut Output) -> Result<Reach, CliError> {
        if let Self::Create(command) = self {
            command.check()?;
        }
        Reach::connect_if(global, output, is_sent).await
    }

    pub(super) async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Create(command) => command.run(reach, output).await,
            Self::Get(Ids { task, id }) => {
                let config = reach.answer(reach.client.push_config(&*task, id)).await;
                let config = config.map_err(|error| or_list(error, reach, &task))?;
                Ok(output.document(&config, || text::push_config(&config))?)
            }
            Self::List(command) => command.run(reach, output).await,
            Self::Delete(Ids { task, id }) => {
                let deleted = reach.answer(reach.client.delete_push_config(&*task, &*id)).await;
                deleted.map_err(|error| or_list(error, reach, &task))?;
                let text = || {
                    let mut text = String::new();
                    text::field(&mut text, "Deleted", &id);
                    text
                };
                // What A2A answers: an empty message.
                Ok(output.document(&json!({}), text)?)
            }
        }
    }
}

impl Create {
    fn check(&self) -> Result<(), CliError> {
        let scheme = self.auth_scheme.as_deref().unwrap_or_default();
        if scheme.is_empty() && self.auth_credentials.as_ref().is_some_and(is_said) {
            return Err(CliError::usage("--auth-credentials needs --auth-scheme, such as Bearer"));
        }
        Ok(())
    }

    async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let credentials = self.auth_credentials.filter(is_said);
        let scheme = self.auth_scheme.filter(|scheme| !scheme.is_empty());
        let config = TaskPushNotificationConfig {
            id: self.id.filter(|id| !id.is_empty()).map(Into::into),
            token: self.token.filter(is_said),
            authentication: scheme.map(|scheme| AuthenticationInfo { scheme, credentials }),
            ..TaskPushNotificationConfig::new(self.url)
        };
        let config = reach.answer(reach.client.create_push_config(self.task, config)).await?;
        Ok(output.document(&config, || text::push_config(&config))?)
    }
}

impl List {
    async fn run(self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let request = ListTaskPushNotificationConfigsRequest {
            page_size: self.limit,
            page_token: self.page_token,
            ..ListTaskPushNotificationConfigsRequest::new(self.task)
        };
        let page = reach.answer(reach.client.push_configs(request)).await?;
        Ok(output.document(&page, || text::push_configs(&page))?)
    }
}

/// A variable that is set to nothing is as good as none.
fn is_said(secret: &Secret) -> bool {
    !secret.expose().is_empty()
}

/// Where the ids are found of what was not.
fn or_list(error: CliError, reach: &Reach, task: &str) -> CliError {
    match &error {
        CliError::Failed(failure) if failure.code == "TaskNotFoundError" => {
            let command = reach.command(&format!("task push-config list {task}"));
            error.hint(format!("`{command}` shows the configurations of the task"))
        }
        _ => error,
    }
}

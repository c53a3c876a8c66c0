//! `a2a-webcap share` and `a2a-webcap claim`: a task in somebody else's hands, for as long as its owner likes.

use std::io::Read as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::{Global, follow, text};
use crate::client::{Cursor, GrantPolicy, SharedTask, TaskRole};
use crate::clock::Clock;

#[derive(Debug, Args)]
pub(super) struct Share {
    /// The task
    id: String,

    /// What whoever has the secret may do
    #[arg(long, value_enum, default_value = "observe")]
    role: Role,

    /// When it ends by itself, from now on, such as 1h [default: with this command]
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    expires: Option<Duration>,

    /// What the grant is called, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Look, and follow
    Observe,
    /// And answer when the agent asks
    Answer,
    /// And send at any time, and cancel
    Control,
}

impl From<Role> for TaskRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Observe => Self::Observe,
            Role::Answer => Self::Answer,
            Role::Control => Self::Control,
        }
    }
}

impl Share {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let reach = Reach::connect(global, output).await?;
        let shared = self.share(&reach, output).await;
        reach.close().await;
        shared
    }

    async fn share(&self, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
        let expires = self.expires.map(|time| Clock::system().now().saturating_add(time));
        let policy = GrantPolicy { expires, ..GrantPolicy::labelled(self.label.as_str()) };
        let task = reach.client.task(self.id.as_str());
        let shared = reach.answer(task.share(self.role.into(), policy)).await?;
        let secret = shared.secret.expose();
        if output.is_json() {
            output.line(&json!({ "taskId": self.id, "secret": secret, "expires": expires }))?;
        } else {
            output.raw(&format!("Task ID: {}\nSecret: {secret}\n", text::one_line(&self.id)))?;
        }
        let claim = reach.command("claim -");
        output.remark(&format!("it works once; whoever has it gives it to: {claim}"));
        output.remark("the share lives as long as this command: Ctrl-C takes it back");
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return take_back(&shared, reach, output).await,
                waited = reach.wait(tokio::time::sleep(LOOK)) => {
                    // That is what a timeout is for here.
                    if waited.is_err() {
                        return take_back(&shared, reach, output).await;
                    }
                }
            }
            if !reach.answer(shared.grant.info()).await?.live {
                output.remark("the share is over");
                return Ok(());
            }
        }
    }
}

/// The timeout may be over, and this has to be answered all the same.
async fn take_back(shared: &SharedTask, reach: &Reach, output: &mut Output) -> Result<(), CliError> {
    let revoked = tokio::time::timeout(REVOKE, shared.grant.revoke()).await;
    revoked.map_err(|_| CliError::timeout(REVOKE))?.map_err(|fault| reach.failed(&fault))?;
    output.remark("taken back");
    Ok(())
}

const REVOKE: Duration = Duration::from_secs(10);

/// How often an end is looked for that came from elsewhere.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Claim {
    /// The secret that `share` has printed, or - to read it from standard input, where nobody else sees it
    secret: String,

    /// Follow the task to its end
    #[arg(long)]
    follow: bool,

    /// Cancel the task
    #[arg(long, conflicts_with = "follow")]
    cancel: bool,
}

impl Claim {
    pub(super) async fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let secret = self.secret()?;
        let reach = Reach::connect(global, output).await?;
        let used = self.use_on(&reach, secret, output).await;
        reach.close().await;
        used
    }

    async fn use_on(&self, reach: &Reach, secret: String, output: &mut Output) -> Result<(), CliError> {
        let claimed = reach.answer(reach.client.claim(secret)).await;
        let task = claimed.map_err(|error| {
            error.hint("whoever shared the task can make another with `a2a-webcap share`")
        })?;
        if self.follow {
            return follow::show(reach, task.subscribe(Cursor::Snapshot), output).await;
        }
        let task = if self.cancel {
            reach.answer(task.cancel()).await?
        } else {
            reach.answer(task.get(Some(0))).await?
        };
        Ok(output.document(&task, || text::task(&task))?)
    }

    fn secret(&self) -> Result<String, CliError> {
        if self.secret != "-" {
            return Ok(self.secret.clone());
        }
        let mut text = String::new();
        let read = std::io::stdin().take(LONGEST_SECRET).read_to_string(&mut text);
        read.map_err(|error| CliError::usage(format!("standard input: {error}")))?;
        Ok(text.trim().to_owned())
    }
}

const LONGEST_SECRET: u64 = 4_096;

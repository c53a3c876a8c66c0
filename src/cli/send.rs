//! `a2a-webcap send`.

use clap::Args;

use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::{Global, follow, text};
use crate::client::SendCall;
use crate::model::{Message, Part, Role, SendMessageRequest, SendMessageResponse};

#[derive(Debug, Args)]
pub(super) struct Send {
    /// What to say; further parts come from --text, --file and --data
    message: Option<String>,

    /// Show the task's events as they come
    #[arg(long, conflicts_with = "async")]
    stream: bool,

    /// Do not wait for the task; print its ids and return
    #[arg(long, visible_aliases = ["return-immediately", "no-wait"], env = "A2ACLI_ASYNC",
        value_parser = clap::builder::FalseyValueParser::new())]
    r#async: bool,

    /// Wait until the task stops (the default)
    #[arg(long, overrides_with = "async")]
    wait: bool,

    /// Continue this task
    #[arg(long, visible_alias = "task", value_name = "ID", env = "A2ACLI_TASK_ID")]
    task_id: Option<String>,

    /// Start a new task in this conversation
    #[arg(long, visible_alias = "context", value_name = "ID", env = "A2ACLI_CONTEXT_ID")]
    context_id: Option<String>,

    /// A text part; repeatable
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,

    /// A file part: a path, or a URL that the agent fetches; repeatable
    #[arg(long, value_name = "PATH")]
    file: Vec<String>,

    /// A data part: a JSON file, or - for standard input; repeatable
    #[arg(long, value_name = "PATH")]
    data: Vec<String>,

    /// The media type of the part before
    #[arg(long, value_name = "TYPE")]
    media_type: Vec<String>,

    /// Metadata of the message: a JSON object
    #[arg(long, value_name = "JSON", env = "A2ACLI_METADATA")]
    metadata: Option<String>,
}

impl Send {
    pub(super) async fn run(
        self,
        global: &Global,
        parts: Vec<Part>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let request = self.request(parts)?;
        let reach = Reach::connect(global, output).await?;
        if output.is_verbose() && !output.is_json() {
            output.raw(&text::sent(&request.message))?;
        }
        let sent = self.send(request, &reach, output).await;
        reach.close().await;
        // Who names a task is told that none was made in its place.
        if self.task_id.is_some() { sent.map_err(CliError::or_debug) } else { sent }
    }

    async fn send(
        &self,
        request: SendMessageRequest,
        reach: &Reach,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let call = SendCall::from(request);
        if self.r#async {
            let response = reach.answer(reach.client.send(call.return_immediately())).await?;
            return show(reach, &response, output);
        }
        if reach.poll_interval.is_some() || !reach.streams() {
            return self.send_and_poll(call, reach, output).await;
        }
        let mut stream = reach.client.stream(call);
        if self.stream {
            return follow::show(reach, stream, output).await;
        }
        let message = follow::wait(reach, &mut stream, output).await?;
        let response = match message {
            Some(message) => SendMessageResponse::Message(message),
            None => SendMessageResponse::Task(follow::task(reach, stream.task_id()).await?),
        };
        show(reach, &response, output)
    }

    /// Without a stream: one was not offered, or the caller would rather ask.
    async fn send_and_poll(
        &self,
        call: SendCall,
        reach: &Reach,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let mut response = reach.answer(reach.client.send(call.return_immediately())).await?;
        if let SendMessageResponse::Task(task) = &response {
            output.live().start();
            let task = follow::poll(reach, &task.id.clone(), output).await;
            output.live().stop();
            response = SendMessageResponse::Task(task?);
        }
        if !(self.stream && output.is_json()) {
            return show(reach, &response, output);
        }
        Ok(output.line(&response)?)
    }

    fn request(&self, parts: Vec<Part>) -> Result<SendMessageRequest, CliError> {
        let text = self.message.as_ref().map(Part::text);
        let parts: Vec<Part> = text.into_iter().chain(parts).collect();
        if parts.is_empty() {
            return Err(CliError::usage("there is nothing to send: give a text, --text, --file or --data"));
        }
        let mut message = Message::new(Role::User, parts);
        message.task_id = self.task_id.as_deref().map(Into::into);
        message.context_id = self.context_id.as_deref().map(Into::into);
        if let Some(metadata) = &self.metadata {
            let object = serde_json::from_str(metadata);
            let object =
                object.map_err(|error| CliError::usage(format!("--metadata: not a JSON object: {error}")))?;
            message.metadata = Some(object);
        }
        Ok(message.into())
    }
}

fn show(reach: &Reach, response: &SendMessageResponse, output: &mut Output) -> Result<(), CliError> {
    let verbose = output.is_verbose();
    output.document(response, || match response {
        SendMessageResponse::Task(task) if verbose => text::details(task),
        SendMessageResponse::Task(task) => text::task(task),
        SendMessageResponse::Message(message) => text::message(message),
    })?;
    if let Some(task) = response.task() {
        follow::remark_on(reach, task.state(), &task.id, output);
    }
    Ok(())
}

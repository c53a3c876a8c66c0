//! Shows a task's stream, in either format, to its end or to Ctrl-C.

use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::text;
use crate::client::{Cursor, TaskEvent, TaskStream};
use crate::model::{
    GetTaskRequest, Id, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent,
};

/// Shows each event as it comes, and at the end the task's ids and state.
pub(super) async fn show(reach: &Reach, mut stream: TaskStream, output: &mut Output) -> Result<(), CliError> {
    let mut shown = Shown::default();
    output.live().start_beside_results();
    while let Some(event) = next(reach, &mut stream, output).await? {
        output.live().event(&event);
        shown.event(&event, output)?;
    }
    shown.close_artifact(output)?;
    output.live().stop();
    if let Some((state, id)) = shown.concluded.zip(stream.task_id()) {
        remark_on(reach, state, id, output);
        return Ok(());
    }
    // Nothing was left of the stream: the task still says where it stands.
    let Some(id) = stream.task_id().cloned().filter(|_| !shown.message) else { return Ok(()) };
    let task = reach.answer(reach.client.get_task(GetTaskRequest::new(id))).await?;
    let state = task.state();
    let id = task.id.clone();
    if output.is_json() {
        output.line(&StreamResponse::Task(task))?;
    } else {
        output.raw(&text::task(&task))?;
    }
    remark_on(reach, state, &id, output);
    Ok(())
}

/// Waits for the end without showing what comes: the message, if that is the whole answer. A stream that fails is
/// no end of the task: its state is asked for then.
pub(super) async fn wait(
    reach: &Reach,
    stream: &mut TaskStream,
    output: &mut Output,
) -> Result<Option<crate::model::Message>, CliError> {
    output.live().start();
    let waited = wait_streaming(reach, stream, output).await;
    output.live().stop();
    // Without an event the call itself was refused, and there is no task of its own to ask for.
    let begun = stream.task_id().filter(|id| !id.is_empty() && stream.last_seq().is_some()).cloned();
    match (waited, begun) {
        (Err(error), Some(id)) => instead(reach, &id, error, output).await.map(|()| None),
        (waited, _) => waited,
    }
}

/// Waits for the end of a task that is there already.
pub(super) async fn wait_for(reach: &Reach, id: &Id, output: &mut Output) -> Result<(), CliError> {
    if reach.poll_interval.is_some() || !reach.streams() {
        return poll(reach, id, output).await.map(|_| ());
    }
    let mut stream = reach.client.subscribe(id.clone(), Cursor::Snapshot);
    output.live().start();
    let waited = wait_streaming(reach, &mut stream, output).await;
    output.live().stop();
    match waited {
        Ok(_) => Ok(()),
        Err(error) => instead(reach, id, error, output).await,
    }
}

/// Asks for the state, where it was the stream that failed and nothing else.
async fn instead(reach: &Reach, id: &Id, error: CliError, output: &mut Output) -> Result<(), CliError> {
    match error {
        CliError::Failed(failure) if failure.is_of_the_stream() => {
            output.remark(&format!("the stream failed ({}); asking for the state instead", failure.message));
            poll(reach, id, output).await.map(|_| ())
        }
        error => Err(error),
    }
}

/// Asks for the task's state until it stops, ever more rarely unless the caller says how often.
pub(super) async fn poll(reach: &Reach, id: &Id, output: &mut Output) -> Result<Task, CliError> {
    let mut pause = reach.poll_interval.unwrap_or(POLL_INTERVAL);
    loop {
        let task = reach.answer(reach.client.get_task(GetTaskRequest::new(id.clone()))).await?;
        let state = task.state();
        if state.is_terminal() || state.is_interrupted() {
            return Ok(task);
        }
        let command = reach.command(&format!("task get --wait {id}"));
        let goes_on = format!("the task goes on. To wait for it: {command}");
        tokio::select! {
            waited = reach.wait(tokio::time::sleep(pause)) => waited.map_err(|timeout| timeout.hint(goes_on))?,
            _ = tokio::signal::ctrl_c() => {
                output.remark(&format!("interrupted; {goes_on}"));
                return Err(CliError::Interrupted);
            }
        }
        if reach.poll_interval.is_none() {
            pause = (pause * 3 / 2).min(LONGEST_POLL_INTERVAL);
        }
    }
}

const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
const LONGEST_POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);

async fn wait_streaming(
    reach: &Reach,
    stream: &mut TaskStream,
    output: &mut Output,
) -> Result<Option<crate::model::Message>, CliError> {
    while let Some(event) = next(reach, stream, output).await? {
        output.live().event(&event);
        if let StreamResponse::Message(message) = event.content {
            return Ok(Some(message));
        }
        let stopped = event.state().is_some_and(|state| state.is_terminal() || state.is_interrupted());
        if stopped {
            break;
        }
    }
    Ok(None)
}

/// The task at the end of its stream.
pub(super) async fn task(reach: &Reach, id: Option<&Id>) -> Result<Task, CliError> {
    let id = id.cloned().ok_or_else(|| CliError::internal("the stream ended without an event"))?;
    reach.answer(reach.client.get_task(GetTaskRequest::new(id))).await
}

/// The next event; Ctrl-C and the timeout say how to go on later, and cancel nothing.
async fn next(
    reach: &Reach,
    stream: &mut TaskStream,
    output: &mut Output,
) -> Result<Option<TaskEvent>, CliError> {
    let event = tokio::select! {
        event = reach.wait(stream.next()) => event,
        _ = tokio::signal::ctrl_c() => {
            output.live().stop();
            match resume(reach, stream) {
                Some(command) => output.remark(&format!("interrupted; the task goes on. To follow it: {command}")),
                None => output.remark("interrupted"),
            }
            return Err(CliError::Interrupted);
        }
    };
    let with_resume = |error: CliError| match resume(reach, stream) {
        Some(command) => error.hint(format!("the task goes on. To follow it: {command}")),
        None => error,
    };
    match event {
        Ok(Some(Ok(event))) => Ok(Some(event)),
        Ok(Some(Err(fault))) => {
            let lost = fault.kind() == crate::fault::FaultKind::Disconnected;
            let error = reach.failed(&fault);
            Err(if lost { with_resume(error) } else { error })
        }
        Ok(None) => Ok(None),
        Err(timeout) => Err(with_resume(timeout)),
    }
}

fn resume(reach: &Reach, stream: &TaskStream) -> Option<String> {
    let id = stream.task_id().filter(|id| !id.is_empty())?;
    let after = stream.last_seq().map_or_else(String::new, |seq| format!(" --after {seq}"));
    Some(reach.command(&format!("task subscribe {id}{after}")))
}

/// Names an outcome that is no success, and what can be done about it.
pub(super) fn remark_on(reach: &Reach, state: TaskState, id: &Id, output: &mut Output) {
    let follow = reach.command(&format!("task subscribe {id}"));
    match state {
        TaskState::InputRequired => {
            let answer = reach.command(&format!("send --task-id {id} \"...\""));
            output.remark(&format!("the agent asks for input: {answer}"));
        }
        TaskState::AuthRequired => {
            output.remark(&format!("the agent waits for authorization; then: {follow}"))
        }
        TaskState::Failed | TaskState::Rejected | TaskState::Canceled => {
            output.remark(&format!("warning: the task is {state}"));
        }
        TaskState::Submitted | TaskState::Working => output.remark(&format!("to follow it: {follow}")),
        TaskState::Completed => {}
    }
}

/// What of a stream is on the screen.
#[derive(Default)]
struct Shown {
    /// The artifact whose block is open, and whether its text ended with a line break.
    artifact: Option<(Id, bool)>,
    /// The state that was printed as the conclusion.
    concluded: Option<TaskState>,
    message: bool,
}

impl Shown {
    fn event(&mut self, event: &TaskEvent, output: &mut Output) -> Result<(), CliError> {
        if let StreamResponse::Message(_) = event.content {
            self.message = true;
        }
        if output.is_json() {
            if event.is_final {
                self.concluded = event.state();
            }
            return Ok(output.line(&event.content)?);
        }
        match &event.content {
            StreamResponse::Task(task) => output.remark(&format!("task {} is {}", task.id, task.state())),
            StreamResponse::ArtifactUpdate(update) => self.artifact(update, output)?,
            StreamResponse::StatusUpdate(update) => self.status(update, event.is_final, output)?,
            StreamResponse::Message(message) => output.raw(&text::message(message))?,
        }
        Ok(())
    }

    fn artifact(&mut self, update: &TaskArtifactUpdateEvent, output: &mut Output) -> Result<(), CliError> {
        let artifact = &update.artifact;
        let continues =
            update.append && self.artifact.as_ref().is_some_and(|(open, _)| *open == artifact.artifact_id);
        if !continues {
            self.close_artifact(output)?;
            output.raw(&format!("{}:\n", text::label("Artifact", text::artifact_name(artifact))))?;
        }
        let content = text::clean(&text::parts(&artifact.parts));
        output.raw(&content)?;
        self.artifact = Some((artifact.artifact_id.clone(), content.ends_with('\n')));
        if update.last_chunk {
            self.close_artifact(output)?;
        }
        Ok(())
    }

    fn status(
        &mut self,
        update: &TaskStatusUpdateEvent,
        is_final: bool,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let status = &update.status;
        if !is_final {
            let said = status.message.as_ref().map(|message| format!(": {}", text::parts(&message.parts)));
            output.remark(&format!("status {}{}", status.state, said.unwrap_or_default()));
            return Ok(());
        }
        self.close_artifact(output)?;
        let mut conclusion = String::new();
        text::identity(&mut conclusion, &update.task_id, Some(&update.context_id), status);
        self.concluded = Some(status.state);
        Ok(output.raw(&conclusion)?)
    }

    fn close_artifact(&mut self, output: &mut Output) -> Result<(), CliError> {
        match self.artifact.take() {
            Some((_, true)) => Ok(output.raw("\n")?),
            Some((_, false)) => Ok(output.raw("\n\n")?),
            None => Ok(()),
        }
    }
}

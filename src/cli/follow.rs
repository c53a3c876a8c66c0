//! Shows a task's stream, in either format, to its end or to Ctrl-C.

use super::error::CliError;
use super::output::Output;
use super::reach::Reach;
use super::text;
use crate::client::{Cursor, TaskEvent, TaskStream};
use crate::model::{
    GetTaskRequest, Id, StreamResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatus,
    TaskStatusUpdateEvent,
};

/// Shows each event as it comes, and at the end, whichever it is, the task's ids and state.
pub(super) async fn show(reach: &Reach, mut stream: TaskStream, output: &mut Output) -> Result<(), CliError> {
    let mut shown = Shown::default();
    output.live().start_beside_results();
    let ended = show_events(reach, &mut stream, &mut shown, output).await;
    let restated = if ended.is_err() { shown.restate(output) } else { shown.close_artifact(output) };
    output.live().stop();
    ended?;
    restated?;
    if let Some((state, id)) = shown.concluded.zip(stream.task_id()) {
        remark_on(reach, state, id, output);
        return Ok(());
    }
    // Nothing was left of the stream: the task still says where it stands.
    let Some(id) = stream.task_id().cloned().filter(|_| !shown.message) else { return Ok(()) };
    let task = reach.answer(reach.client.get_task(GetTaskRequest::new(id))).await?;
    if output.is_json() {
        output.line(&StreamResponse::Task(task.clone()))?;
    } else if shown.ids.is_none() {
        output.raw(&text::task(&task))?;
    } else {
        shown.conclude(&task.status, output)?;
    }
    remark_on(reach, task.state(), &task.id, output);
    Ok(())
}

async fn show_events(
    reach: &Reach,
    stream: &mut TaskStream,
    shown: &mut Shown,
    output: &mut Output,
) -> Result<(), CliError> {
    while let Some(event) = next(reach, stream, output).await? {
        output.live().event(&event);
        shown.event(&event, output)?;
    }
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
        TaskState::Submitted | TaskState::Working | TaskState::Unspecified => {
            output.remark(&format!("to follow it: {follow}"))
        }
        TaskState::Completed => {}
    }
}

/// What of a stream is on the screen.
#[derive(Default)]
struct Shown {
    /// The task and its conversation.
    ids: Option<(Id, Option<Id>)>,
    /// What was shown last of where the task stands.
    status: Option<TaskStatus>,
    /// Nothing was shown after the ids and the state.
    restated: bool,
    /// The artifact whose block is open, and whether its text ended with a line break.
    artifact: Option<(Id, bool)>,
    /// The state that was the last of the stream.
    concluded: Option<TaskState>,
    message: bool,
}

impl Shown {
    fn event(&mut self, event: &TaskEvent, output: &mut Output) -> Result<(), CliError> {
        if event.is_final {
            self.concluded = event.state();
        }
        if let StreamResponse::Message(_) = event.content {
            self.message = true;
        }
        if output.is_json() {
            return Ok(output.line(&event.content)?);
        }
        match &event.content {
            StreamResponse::Task(task) => self.task(task, output),
            StreamResponse::ArtifactUpdate(update) => self.artifact(update, output),
            StreamResponse::StatusUpdate(update) => self.status(update, event.is_final, output),
            StreamResponse::Message(message) => Ok(output.raw(&text::message(message))?),
        }
    }

    fn task(&mut self, task: &Task, output: &mut Output) -> Result<(), CliError> {
        self.close_artifact(output)?;
        self.ids = Some((task.id.clone(), task.context_id.clone()));
        self.status = Some(task.status.clone());
        self.restated = task.artifacts.is_empty();
        Ok(output.raw(&text::task(task))?)
    }

    fn artifact(&mut self, update: &TaskArtifactUpdateEvent, output: &mut Output) -> Result<(), CliError> {
        if self.ids.is_none() {
            self.ids = Some((update.task_id.clone(), Some(update.context_id.clone())));
            self.restate(output)?;
        }
        let artifact = &update.artifact;
        let continues =
            update.append && self.artifact.as_ref().is_some_and(|(open, _)| *open == artifact.artifact_id);
        if !continues {
            self.close_artifact(output)?;
            output.raw(&format!("{}:\n", text::label("Artifact", text::artifact_name(artifact))))?;
        }
        self.restated = false;
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
        let known = self.ids.is_some();
        self.ids.get_or_insert_with(|| (update.task_id.clone(), Some(update.context_id.clone())));
        if is_final {
            return self.conclude(status, output);
        }
        if self.has_said(status) {
            return Ok(());
        }
        self.status = Some(status.clone());
        self.restated = false;
        let mut shown = String::new();
        if known {
            self.close_artifact(output)?;
            text::state(&mut shown, status.state);
        } else {
            self.restate(output)?;
        }
        text::said(&mut shown, status);
        Ok(output.raw(&shown)?)
    }

    /// Whether a status has nothing that was not shown before.
    fn has_said(&self, status: &TaskStatus) -> bool {
        let Some(shown) = &self.status else { return false };
        shown.state == status.state && (status.message.is_none() || status.message == shown.message)
    }

    /// The last status: with the ids, and without what was said before.
    fn conclude(&mut self, status: &TaskStatus, output: &mut Output) -> Result<(), CliError> {
        let has_said = self.has_said(status);
        self.restated &= has_said;
        self.status = Some(status.clone());
        self.restate(output)?;
        let mut said = String::new();
        if !has_said {
            text::said(&mut said, status);
        }
        Ok(output.raw(&said)?)
    }

    /// What the next command needs, for whoever sees only the end.
    fn restate(&mut self, output: &mut Output) -> Result<(), CliError> {
        self.close_artifact(output)?;
        let Some((task_id, context_id)) = self.ids.as_ref().filter(|_| !self.restated) else { return Ok(()) };
        let state = self.status.as_ref().map(|status| status.state);
        let mut ids = String::new();
        text::ids(&mut ids, task_id, context_id.as_deref(), state);
        self.restated = true;
        Ok(output.raw(&ids)?)
    }

    fn close_artifact(&mut self, output: &mut Output) -> Result<(), CliError> {
        match self.artifact.take() {
            Some((_, true)) => Ok(output.raw("\n")?),
            Some((_, false)) => Ok(output.raw("\n\n")?),
            None => Ok(()),
        }
    }
}

//! Authority over one task.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::observer::{self, Detached, LastCall, Observer, Subscription};
use super::{Context, GrantHandle};
use crate::authority::{Grant, Policy, Role, ShareSecret, StreamPass};
use crate::engine::{FeedKind, Start};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{
    CancelTaskRequest, GetTaskRequest, Id, SendMessageRequest, SendMessageResponse, ServiceParameters,
    Struct, Task, Timestamp,
};
use crate::operations::{Caller, Service as _};
use crate::service::Begun;
use crate::stream::Opening;
use crate::transport;

/// How a send differs from a plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Cancel the task when the handle that the send returns is dropped.
    pub cancel_on_drop: bool,
    /// Narrows how long the agent's turn may take.
    pub turn_timeout: Option<Duration>,
}

/// Authority over one task, as far as its grant goes. Dropping it gives up that authority; the task goes
/// on, unless the send asked for [`SendOptions::cancel_on_drop`].
#[derive(Debug)]
pub struct TaskHandle {
    context: Rc<Context>,
    grant: Arc<Grant>,
    id: Id,
    cancel_on_drop: bool,
    /// Keeps the line, with which the task would be canceled.
    _line: Option<transport::Work>,
}

/// A streaming send that was accepted.
#[derive(Debug)]
pub struct Started {
    /// The handle on its task.
    pub task: StartedTask,
    /// The right to be called.
    pub subscription: Subscription,
}

/// The handle on the task of a send.
#[derive(Debug)]
pub enum StartedTask {
    /// The task is open.
    Open(TaskHandle),
    /// The agent may still answer with a message.
    Pending(oneshot::Receiver<StartedTask>),
    /// There is none: with [`FaultKind::NoTask`], because the agent answered with a message.
    Failed(Fault),
}

impl TaskHandle {
    pub(super) fn new(context: &Rc<Context>, grant: &Arc<Grant>, id: Id) -> Self {
        Self { context: Rc::clone(context), grant: Arc::clone(grant), id, cancel_on_drop: false, _line: None }
    }

    pub(super) fn cancels_on_drop(&mut self, whether: bool) {
        self.cancel_on_drop = whether;
        self._line = self.context.keeps_line().filter(|_| whether);
    }

    /// The task's id. It names the task and opens nothing.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Settles the version and the extensions of a call. Answers with what the reply says of them.
    pub fn negotiate(&self, parameters: &ServiceParameters) -> Result<ServiceParameters> {
        self.context.service.negotiate(&self.caller(parameters.clone()))
    }

    /// The task as it stands, with at most so many messages of its history.
    pub async fn get(&self, history_length: Option<u32>, parameters: ServiceParameters) -> Result<Arc<Task>> {
        let request = GetTaskRequest { history_length, ..GetTaskRequest::new(self.id.clone()) };
        self.context.serving().get_task(&self.caller(parameters), request).await
    }

    /// Sends a message into the task and waits for what comes of it.
    pub async fn send(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
    ) -> Result<SendMessageResponse> {
        let request = self.addressed(request, options)?;
        self.context.send(&self.caller(parameters), request, options.turn_timeout).await
    }

    /// Sends a message into the task; the observer is called with what comes of it.
    pub async fn send_streaming(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<Subscription> {
        let request = self.addressed(request, options)?;
        let started = start(&self.context, self.caller(parameters), request, options, observer).await?;
        Ok(started.subscription)
    }

    /// Cancels the task.
    pub async fn cancel(&self, metadata: Option<Struct>, parameters: ServiceParameters) -> Result<Arc<Task>> {
        let request = CancelTaskRequest { metadata, ..CancelTaskRequest::new(self.id.clone()) };
        self.context.serving().cancel_task(&self.caller(parameters), request).await
    }

    /// Deletes the task, which has to be finished. The handle is worth nothing afterwards.
    pub async fn delete(&self) -> Result<()> {
        self.context.serving().delete(&self.caller(ServiceParameters::new()), &self.id).await
    }

    /// Calls the observer with the task's events from `start` on.
    pub async fn subscribe(
        &self,
        start: Start,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<Subscription> {
        let caller = self.caller(parameters);
        let work = self.context.work();
        let feed = self.context.service.feed(&caller, &self.id, start, FeedKind::Subscription).await?;
        let pass = self.grant.stream()?;
        let (subscription, detached) = Subscription::pair();
        let context = Rc::clone(&self.context);
        observer::run(&self.context, work, async move {
            observer::follow(&context, pass, detached, (feed, Opening::None), observer).await
        });
        Ok(subscription)
    }

    /// A handle with less authority, and the right to take it back.
    pub fn attenuate(&self, role: Role, policy: &Policy) -> Result<(TaskHandle, GrantHandle)> {
        let grant = self.grant.derive(&self.policy(role, policy))?;
        let handle = Self::new(&self.context, &grant, self.id.clone());
        Ok((handle, self.handle_on(&grant)))
    }

    /// A secret that turns into a handle on another connection, and the right to take it back.
    pub fn share(&self, role: Role, policy: &Policy) -> Result<(ShareSecret, GrantHandle)> {
        let latest = self.context.clock().now().saturating_add(LONGEST_SHARE);
        let claim_by = policy.expires.map_or(latest, |expires| expires.min(latest));
        let share =
            self.context.service.authority().share(&self.grant, &self.policy(role, policy), claim_by)?;
        Ok((share.secret, self.handle_on(&share.grant)))
    }

    fn policy(&self, role: Role, policy: &Policy) -> Policy {
        Policy { permissions: Some(role.permissions()), task: Some(self.id.clone()), ..policy.clone() }
    }

    fn handle_on(&self, grant: &Arc<Grant>) -> GrantHandle {
        GrantHandle::new(grant.revoker(), Arc::clone(self.grant.principal().subject()))
    }

    fn caller(&self, parameters: ServiceParameters) -> Caller {
        Caller { grant: Arc::clone(&self.grant), parameters }
    }

    fn addressed(&self, mut request: SendMessageRequest, options: SendOptions) -> Result<SendMessageRequest> {
        if options.cancel_on_drop {
            let description = "a send into a handle returns no other that it could be tied to: leave it out";
            return Err(Fault::invalid("options.cancelOnDrop", description));
        }
        match &request.message.task_id {
            Some(id) if *id != self.id => {
                Err(Fault::invalid("message.taskId", "names another task than this handle's; leave it out"))
            }
            _ => {
                request.message.task_id = Some(self.id.clone());
                Ok(request)
            }
        }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        if self.cancel_on_drop {
            self.context.service.cancel_abandoned(&self.grant, &self.id);
        }
    }
}

/// Starts a send whose events go to the observer. Answers as soon as the send is accepted.
pub(super) async fn start(
    context: &Rc<Context>,
    caller: Caller,
    request: SendMessageRequest,
    options: SendOptions,
    observer: impl Observer,
) -> Result<Started> {
    let work = context.sends().await;
    let (subscription, detached) = Subscription::pair();
    let pass = caller.grant.stream()?;
    let shared = Rc::clone(context);
    if !context.service.may_reply_with_message(&caller, &request) {
        let begun = context.service.begin(&caller, request, options.turn_timeout).await?;
        let task = opened(context, &caller, &begun, options);
        observer::run(context, work, async move { observe(&shared, pass, detached, begun, observer).await });
        return Ok(Started { task, subscription });
    }
    let (open, pending) = oneshot::channel();
    observer::run(context, work, async move {
        let begun = tokio::select! {
            biased;
            cause = pass.ended() => {
                let _ = open.send(StartedTask::Failed(cause.fault()));
                return observer::stop(pass, &cause, observer);
            }
            begun = shared.service.begin(&caller, request, options.turn_timeout) => begun,
        };
        match begun {
            Ok(begun) => {
                // Whoever asked may be gone; then so is the handle.
                let _ = open.send(opened(&shared, &caller, &begun, options));
                observe(&shared, pass, detached, begun, observer).await
            }
            Err(fault) => {
                let _ = open.send(StartedTask::Failed(fault.clone()));
                observer::refuse(pass, fault, observer)
            }
        }
    });
    Ok(Started { task: StartedTask::Pending(pending), subscription })
}

async fn observe(
    context: &Context,
    pass: StreamPass,
    detached: Detached,
    begun: Begun,
    observer: impl Observer,
) -> LastCall {
    match begun {
        Begun::Task(ticket, feed) => {
            let opening = if ticket.after == 0 { Opening::Task } else { Opening::None };
            observer::follow(context, pass, detached, (*feed, opening), observer).await
        }
        Begun::Message(message) => observer::deliver(pass, &message, observer).await,
    }
}

fn opened(context: &Rc<Context>, caller: &Caller, begun: &Begun, options: SendOptions) -> StartedTask {
    match begun {
        Begun::Task(ticket, _) => {
            let mut handle = TaskHandle::new(context, &caller.grant, ticket.task_id.clone());
            handle.cancels_on_drop(options.cancel_on_drop);
            StartedTask::Open(handle)
        }
        Begun::Message(_) => StartedTask::Failed(no_task()),
    }
}

/// What a handle on the task of a send is that was answered with a message.
pub fn no_task() -> Fault {
    Fault::new(FaultKind::NoTask, "the agent answered with a message, so there is no task")
}

/// How long a shared secret can be claimed at most.
const LONGEST_SHARE: Duration = Duration::from_secs(24 * 3_600);

/// The time at which a policy ends, from wire form: 0 is none.
pub fn expiry(nanos: i64) -> Option<Timestamp> {
    (nanos != 0).then(|| Timestamp::from_unix_nanos(nanos))
}

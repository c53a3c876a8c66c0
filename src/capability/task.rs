//! Authority over one task.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::observer::{self, Observer, Subscription};
use super::{Context, GrantHandle};
use crate::authority::{Grant, Policy, Role, ShareSecret};
use crate::engine::{FeedKind, Sent, Start, TaskTicket};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{
    CancelTaskRequest, GetTaskRequest, Id, SendMessageRequest, SendMessageResponse, ServiceParameters, Struct, Task,
    Timestamp,
};
use crate::operations::{Caller, Service as _};

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
    /// The agent may still answer with a message: then this fails with [`FaultKind::NoTask`].
    Pending(oneshot::Receiver<Result<TaskHandle>>),
}

impl TaskHandle {
    pub(super) fn new(context: &Rc<Context>, grant: &Arc<Grant>, id: Id) -> Self {
        Self { context: Rc::clone(context), grant: Arc::clone(grant), id, cancel_on_drop: false }
    }

    /// The task's id. It names the task and opens nothing.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The task as it stands, with at most so many messages of its history.
    pub async fn get(&self, history_length: Option<u32>, parameters: ServiceParameters) -> Result<Task> {
        let request = GetTaskRequest { history_length, ..GetTaskRequest::new(self.id.clone()) };
        self.context.service.get_task(&self.caller(parameters), request).await
    }

    /// Sends a message into the task and waits for what comes of it.
    pub async fn send(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
    ) -> Result<SendMessageResponse> {
        let request = self.addressed(request)?;
        self.context.service.send(&self.caller(parameters), request, options.turn_timeout).await
    }

    /// Sends a message into the task; the observer is called with what comes of it.
    pub async fn send_streaming(
        &self,
        request: SendMessageRequest,
        options: SendOptions,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<Subscription> {
        let request = self.addressed(request)?;
        let started = start(&self.context, self.caller(parameters), request, options, observer).await?;
        Ok(started.subscription)
    }

    /// Cancels the task.
    pub async fn cancel(&self, metadata: Option<Struct>, parameters: ServiceParameters) -> Result<Task> {
        let request = CancelTaskRequest { metadata, ..CancelTaskRequest::new(self.id.clone()) };
        self.context.service.cancel_task(&self.caller(parameters), request).await
    }

    /// Calls the observer with the task's events from `start` on.
    pub async fn subscribe(
        &self,
        start: Start,
        parameters: ServiceParameters,
        observer: impl Observer,
    ) -> Result<Subscription> {
        let caller = self.caller(parameters);
        let feed = self.context.service.feed(&caller, &self.id, start, FeedKind::Subscription).await?;
        let pass = self.grant.stream()?;
        let (subscription, detached) = Subscription::pair();
        let context = Rc::clone(&self.context);
        observer::run(&self.context, async move {
            observer::follow(&context, pass, detached, feed, observer).await;
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
        let share = self.context.service.authority().share(&self.grant, &self.policy(role, policy), claim_by)?;
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

    fn addressed(&self, mut request: SendMessageRequest) -> Result<SendMessageRequest> {
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
    let (subscription, detached) = Subscription::pair();
    let pass = caller.grant.stream()?;
    if !context.service.may_reply_with_message(&caller, &request) {
        let sent = context.service.begin(&caller, request, options.turn_timeout).await?;
        return match sent {
            Sent::Task(ticket) => {
                let task = opened(context, &caller, &ticket, options);
                let feed = context.service.feed_of(&caller, &ticket).await?;
                let shared = Rc::clone(context);
                observer::run(context, async move {
                    observer::follow(&shared, pass, detached, feed, observer).await;
                });
                Ok(Started { task: StartedTask::Open(task), subscription })
            }
            Sent::Message(_) => Err(Fault::new(FaultKind::InvalidAgentResponse, "the agent gave no task")),
        };
    }
    let (open, pending) = oneshot::channel();
    let shared = Rc::clone(context);
    observer::run(context, async move {
        match context_begin(&shared, &caller, request, options).await {
            Ok((Sent::Task(ticket), Some(feed))) => {
                let handle = opened(&shared, &caller, &ticket, options);
                // Whoever asked may be gone; then so is the handle.
                let _ = open.send(Ok(handle));
                observer::follow(&shared, pass, detached, feed, observer).await;
            }
            Ok((Sent::Message(message), _)) => {
                let _ = open.send(Err(no_task()));
                observer::deliver(pass, &message, observer).await;
            }
            Ok((Sent::Task(_), None)) => {}
            Err(fault) => {
                let _ = open.send(Err(fault.clone()));
                observer::refuse(pass, fault, observer).await;
            }
        }
    });
    Ok(Started { task: StartedTask::Pending(pending), subscription })
}

async fn context_begin(
    context: &Rc<Context>,
    caller: &Caller,
    request: SendMessageRequest,
    options: SendOptions,
) -> Result<(Sent, Option<crate::engine::Feed>)> {
    let sent = context.service.begin(caller, request, options.turn_timeout).await?;
    let feed = match &sent {
        Sent::Task(ticket) => Some(context.service.feed_of(caller, ticket).await?),
        Sent::Message(_) => None,
    };
    Ok((sent, feed))
}

fn opened(context: &Rc<Context>, caller: &Caller, ticket: &TaskTicket, options: SendOptions) -> TaskHandle {
    let mut handle = TaskHandle::new(context, &caller.grant, ticket.task_id.clone());
    handle.cancel_on_drop = options.cancel_on_drop;
    handle
}

/// What a handle on the task of a send is that was answered with a message.
pub(super) fn no_task() -> Fault {
    Fault::new(FaultKind::NoTask, "the agent answered with a message, so there is no task")
}

/// How long a shared secret can be claimed at most.
const LONGEST_SHARE: Duration = Duration::from_secs(24 * 3_600);

/// The time at which a policy ends, from wire form: 0 is none.
pub fn expiry(nanos: i64) -> Option<Timestamp> {
    (nanos != 0).then(|| Timestamp::from_unix_nanos(nanos))
}

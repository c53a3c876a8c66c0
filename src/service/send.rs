//! Sending messages.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::push::no_push;
use super::{AgentService, Method};
use crate::authority::{Pass, Permission};
use crate::engine::{Feed, FeedKind, InUse, Sent, Start, Submission, TaskTicket, trimmed};
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{Message, SendMessageRequest, SendMessageResponse};
use crate::operations::Caller;
use crate::trace::Span;

/// What a send has come to.
#[derive(Debug)]
pub enum Begun {
    /// A task was opened or continued; its events, from this send's first on.
    Task(TaskTicket, Box<Feed>),
    /// The agent has answered with a message.
    Message(Arc<Message>),
}

impl AgentService {
    /// Whether this send may be answered with a message, so that its task may not be open when the send
    /// is accepted.
    pub fn may_reply_with_message(&self, caller: &Caller, request: &SendMessageRequest) -> bool {
        let agent = self.engine.agent(caller.grant.scope().tenant());
        request.message.task_id.is_none() && agent.is_some_and(|agent| agent.may_reply_with_message())
    }

    /// Sends a message. Returns when it is logged in its task, or answered with a message.
    pub async fn begin(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
        turn_timeout: Option<Duration>,
    ) -> Result<Begun> {
        let span = self.span(Method::SendStreamingMessage.name(), caller);
        let begun = async {
            let (sent, _in_use) = self.submit(caller, &span, request, turn_timeout).await?;
            match sent {
                Sent::Task(ticket) => {
                    let start = Start::After(ticket.after);
                    let scope = self.scope(caller);
                    let feed = self.engine.feed(&scope, &ticket.task_id, start, FeedKind::Send).await?;
                    Ok(Begun::Task(ticket, Box::new(feed)))
                }
                Sent::Message(message) => Ok(Begun::Message(message)),
            }
        };
        self.meters.measure(Method::SendStreamingMessage, &span, pin!(begun)).await
    }

    /// Sends a message and waits until its task is terminal or interrupted, unless asked to return at once.
    pub async fn send(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
        turn_timeout: Option<Duration>,
    ) -> Result<SendMessageResponse> {
        let configuration = request.configuration.as_ref();
        let history = configuration.and_then(|configuration| configuration.history_length);
        let at_once = configuration.is_some_and(|configuration| configuration.return_immediately);
        let span = self.span(Method::SendMessage.name(), caller);
        let answer = async {
            let (sent, _in_use) = self.submit(caller, &span, request, turn_timeout).await?;
            let ticket = match sent {
                Sent::Task(ticket) => ticket,
                Sent::Message(message) => return Ok(SendMessageResponse::Message((*message).clone())),
            };
            let scope = self.scope(caller);
            let task = if at_once {
                self.engine.get(&scope, &ticket.task_id).await?
            } else {
                self.engine.settled(&scope, &ticket).await?
            };
            Ok(SendMessageResponse::Task(Arc::unwrap_or_clone(trimmed(&task, history))))
        };
        let answered = async {
            tokio::select! {
                biased;
                cause = caller.grant.ended() => Err(cause.fault()),
                answer = answer => answer,
            }
        };
        self.meters.measure(Method::SendMessage, &span, pin!(answered)).await
    }

    async fn submit(
        &self,
        caller: &Caller,
        span: &Span,
        mut request: SendMessageRequest,
        turn_timeout: Option<Duration>,
    ) -> Result<(Sent, InUse)> {
        span.message(&request.message);
        let configuration = request.configuration.as_ref();
        if configuration.is_some_and(|configuration| configuration.task_push_notification_config.is_some()) {
            return Err(no_push());
        }
        let pass = self.may_send(caller, &mut request).await?;
        let subject = match caller.principal().is_anonymous() {
            true => Arc::from(""),
            false => Arc::clone(caller.principal().subject()),
        };
        let submission = Submission {
            scope: self.scope(caller),
            request,
            subject,
            parameters: Arc::new(span.carried_by(&caller.parameters).into_owned()),
            turn_timeout,
        };
        let (sent, in_use) = handed_over(pass, pin!(self.engine.send_in_use(submission))).await?;
        if let Sent::Task(ticket) = &sent {
            span.task(&ticket.task_id);
            span.conversation(&ticket.context_id);
        }
        Ok((sent, in_use))
    }

    /// Whether the caller may send this message, and into the conversation that its grant reaches.
    async fn may_send(&self, caller: &Caller, request: &mut SendMessageRequest) -> Result<Pass> {
        let grant = &caller.grant;
        let message = &mut request.message;
        let task = match &message.task_id {
            Some(id) => Some(self.reach(caller, id).await?),
            None if grant.scope().task().is_some() => return Err(other_task()),
            None => None,
        };
        match (grant.scope().context(), &message.context_id) {
            (Some(only), None) => message.context_id = Some(Arc::clone(only)),
            (Some(only), Some(asked)) if only != asked => {
                let text = "this session is bound to another conversation: leave contextId out";
                return Err(Fault::new(FaultKind::Forbidden, text));
            }
            _ => {}
        }
        if grant.permissions().contains(Permission::Send) {
            return self.check(caller, Permission::Send);
        }
        let pass = self.check(caller, Permission::Answer)?;
        let task = match (task, &message.task_id) {
            (Some(Some(task)), _) => task,
            (_, Some(id)) => self.engine.get(&self.scope(caller), id).await?,
            (_, None) => return Err(only_answers()),
        };
        if task.status.state.is_interrupted() { Ok(pass) } else { Err(only_answers()) }
    }
}

/// Holds the pass until the call has been handed over, which is after its first step.
pub(super) async fn handed_over<T>(pass: Pass, mut call: Pin<&mut impl Future<Output = T>>) -> T {
    let mut pass = Some(pass);
    poll_fn(move |cx| {
        let step = call.as_mut().poll(cx);
        pass.take();
        step
    })
    .await
}

fn other_task() -> Fault {
    Fault::new(FaultKind::Forbidden, "this capability is for one task: it opens no other")
}

fn only_answers() -> Fault {
    let message = "this capability may only answer: send while the task waits for input or authorization";
    Fault::new(FaultKind::Forbidden, message).with("permission", Permission::Answer)
}

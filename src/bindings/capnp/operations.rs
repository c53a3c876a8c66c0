//! The eleven operations, for every object that has them.

use std::rc::Rc;

use capnp::Error;

use super::observer::ObserverShell;
use super::reply::{Call, capability, fail, options, params, read};
use super::task::TaskShell;
use crate::capability::{Session, StartedTask};
use crate::engine::Start;
use crate::fault::Result;
use crate::model::{SendMessageRequest, SubscribeToTaskRequest};
use crate::operations::Service as _;
use crate::transport::ConnectionHandle;
use crate::wire::capnp::capability_capnp::{cursor, operations, subscription, task_handle};
use crate::wire::capnp::{Broken, Encode, encode_parameters};

/// An object that has the operations: a session, or the bootstrap object where anonymous access is allowed.
pub(super) trait Authorized: 'static {
    /// Under whose authority they run.
    fn session(&self) -> Result<Rc<Session>>;
    /// Whose connection it is.
    fn connection(&self) -> &Rc<ConnectionHandle>;
}

/// A subscription as the client holds it.
pub(super) struct SubscriptionShell {
    _held: crate::capability::Subscription,
}

impl subscription::Server for SubscriptionShell {}

impl SubscriptionShell {
    pub(super) fn client(held: crate::capability::Subscription) -> subscription::Client {
        capnp_rpc::new_client(Self { _held: held })
    }
}

/// Where a subscription begins.
pub(super) fn start(cursor: capnp::Result<cursor::Reader<'_>>) -> Result<Start> {
    match params(params(cursor)?.which().map_err(Into::into))? {
        cursor::Unset(()) => Ok(Start::Snapshot),
        cursor::After(seq) => Ok(Start::After(seq)),
    }
}

/// The stub on the task of a send: a promise while the agent may still answer with a message.
pub(super) fn started(task: StartedTask, connection: &Rc<ConnectionHandle>) -> task_handle::Client {
    match task {
        StartedTask::Open(handle) => TaskShell::client(handle, connection),
        StartedTask::Failed(fault) => Broken::new(&fault).client(),
        StartedTask::Pending(pending) => {
            let connection = Rc::clone(connection);
            capnp_rpc::new_future_client(async move {
                match pending.await {
                    Ok(task) => Ok(started(task, &connection)),
                    Err(_) => Err(Error::disconnected("the connection is over".to_owned())),
                }
            })
        }
    }
}

/// An operation with a request struct and one struct as its answer.
macro_rules! unary {
    ($method:ident, $Params:ident, $Results:ident, $get_request:ident, $operation:ident, $init:ident $(, $size:ident)?) => {
        async fn $method(
            self: Rc<Self>,
            params: operations::$Params,
            mut results: operations::$Results,
        ) -> capnp::Result<()> {
            let answer = async {
                let (call, request) = {
                    let params = self::params(params.get())?;
                    let call = Call::open(&self.session()?, params.get_parameters())?;
                    (call, read(params.$get_request())?)
                };
                let answer = call.session.service().$operation(&call.caller, request).await?;
                $(self.connection().limits().fits(answer.$size())?;)?
                Ok((answer, call.activated))
            };
            match answer.await {
                Ok((answer, activated)) => {
                    answer.encode(results.get().$init());
                    encode_parameters(&activated, |count| results.get().init_parameters(count));
                }
                Err(fault) => fail(&fault, results.get().init_error()),
            }
            Ok(())
        }
    };
}

impl<T: Authorized> operations::Server for T {
    async fn send_message(
        self: Rc<Self>,
        params: operations::SendMessageParams,
        mut results: operations::SendMessageResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (call, request, options) = {
                let params = self::params(params.get())?;
                let call = Call::open(&self.session()?, params.get_parameters())?;
                let request: SendMessageRequest = read(params.get_request())?;
                (call, request, options(params.get_options())?)
            };
            let sent = call.session.send(request, options, call.caller.parameters).await?;
            self.connection().limits().fits(sent.0.approximate_size())?;
            Ok((sent, call.activated))
        };
        match answer.await {
            Ok(((response, handle), activated)) => {
                let mut reply = results.get();
                response.encode(reply.reborrow().init_response());
                encode_parameters(&activated, |count| reply.reborrow().init_parameters(count));
                reply.set_task(match handle {
                    Some(handle) => TaskShell::client(handle, self.connection()),
                    None => Broken::new(&crate::capability::no_task()).client(),
                });
            }
            Err(fault) => {
                results.get().set_task(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn send_streaming_message(
        self: Rc<Self>,
        params: operations::SendStreamingMessageParams,
        mut results: operations::SendStreamingMessageResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (call, request, options, observer) = {
                let params = self::params(params.get())?;
                let call = Call::open(&self.session()?, params.get_parameters())?;
                let request: SendMessageRequest = read(params.get_request())?;
                let observer = capability("observer", params.get_observer())?;
                let features = self::params(params.get_features())?;
                let observer = ObserverShell::new(observer, features, self.connection());
                (call, request, options(params.get_options())?, observer)
            };
            let parameters = call.caller.parameters;
            let sent = call.session.send_streaming(request, options, parameters, observer).await?;
            Ok((sent, call.activated))
        };
        match answer.await {
            Ok((sent, activated)) => {
                let mut reply = results.get();
                reply.set_task(started(sent.task, self.connection()));
                reply.set_subscription(SubscriptionShell::client(sent.subscription));
                encode_parameters(&activated, |count| reply.reborrow().init_parameters(count));
            }
            Err(fault) => {
                let broken = Broken::new(&fault);
                results.get().set_task(broken.client());
                results.get().set_subscription(broken.client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn subscribe_to_task(
        self: Rc<Self>,
        params: operations::SubscribeToTaskParams,
        mut results: operations::SubscribeToTaskResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (call, request, start, observer) = {
                let params = self::params(params.get())?;
                let call = Call::open(&self.session()?, params.get_parameters())?;
                let request: SubscribeToTaskRequest = read(params.get_request())?;
                let observer = capability("observer", params.get_observer())?;
                let features = self::params(params.get_features())?;
                let observer = ObserverShell::new(observer, features, self.connection());
                (call, request, start(params.get_cursor())?, observer)
            };
            let parameters = call.caller.parameters;
            let held = call.session.subscribe(request.id, start, parameters, observer).await?;
            Ok((held, call.activated))
        };
        match answer.await {
            Ok(((handle, held), activated)) => {
                let mut reply = results.get();
                reply.set_task(TaskShell::client(handle, self.connection()));
                reply.set_subscription(SubscriptionShell::client(held));
                encode_parameters(&activated, |count| reply.reborrow().init_parameters(count));
            }
            Err(fault) => {
                let broken = Broken::new(&fault);
                results.get().set_task(broken.client());
                results.get().set_subscription(broken.client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn delete_task_push_notification_config(
        self: Rc<Self>,
        params: operations::DeleteTaskPushNotificationConfigParams,
        mut results: operations::DeleteTaskPushNotificationConfigResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (call, request) = {
                let params = self::params(params.get())?;
                let call = Call::open(&self.session()?, params.get_parameters())?;
                (call, read(params.get_request())?)
            };
            call.session.service().delete_push_config(&call.caller, request).await?;
            Ok(call.activated)
        };
        match answer.await {
            Ok(activated) => encode_parameters(&activated, |count| results.get().init_parameters(count)),
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    unary!(get_task, GetTaskParams, GetTaskResults, get_request, get_task, init_task, approximate_size);
    unary!(
        list_tasks,
        ListTasksParams,
        ListTasksResults,
        get_request,
        list_tasks,
        init_response,
        approximate_size
    );
    unary!(
        cancel_task,
        CancelTaskParams,
        CancelTaskResults,
        get_request,
        cancel_task,
        init_task,
        approximate_size
    );
    unary!(
        create_task_push_notification_config,
        CreateTaskPushNotificationConfigParams,
        CreateTaskPushNotificationConfigResults,
        get_config,
        create_push_config,
        init_config
    );
    unary!(
        get_task_push_notification_config,
        GetTaskPushNotificationConfigParams,
        GetTaskPushNotificationConfigResults,
        get_request,
        get_push_config,
        init_config
    );
    unary!(
        list_task_push_notification_configs,
        ListTaskPushNotificationConfigsParams,
        ListTaskPushNotificationConfigsResults,
        get_request,
        list_push_configs,
        init_response
    );
    unary!(
        get_extended_agent_card,
        GetExtendedAgentCardParams,
        GetExtendedAgentCardResults,
        get_request,
        get_extended_agent_card,
        init_card
    );
}

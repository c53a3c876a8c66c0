//! `TaskHandle`: authority over one task.

use std::rc::Rc;

use super::grant::{self, GrantShell};
use super::observer::ObserverShell;
use super::operations::{SubscriptionShell, start};
use super::reply::{capability, fail, options, parameters, params, read};
use crate::authority::Role;
use crate::capability::TaskHandle;
use crate::fault::{Fault, Result};
use crate::model::{SendMessageRequest, ServiceParameters};
use crate::transport::ConnectionHandle;
use crate::wire::capnp::capability_capnp::{TaskRole, parameter, task_handle};
use crate::wire::capnp::{Broken, Encode, decode_object, encode_parameters};

pub(super) struct TaskShell {
    task: TaskHandle,
    connection: Rc<ConnectionHandle>,
}

impl TaskShell {
    pub(super) fn client(task: TaskHandle, connection: &Rc<ConnectionHandle>) -> task_handle::Client {
        capnp_rpc::new_client(Self { task, connection: Rc::clone(connection) })
    }

    /// Reads a call's service parameters and settles version and extensions; the second half is for the reply.
    fn open(&self, given: Given<'_>) -> Result<(ServiceParameters, ServiceParameters)> {
        let given = parameters(given)?;
        let activated = self.task.negotiate(&given)?;
        Ok((given, activated))
    }
}

type Given<'a> = capnp::Result<capnp::struct_list::Reader<'a, parameter::Owned>>;

fn role(role: std::result::Result<TaskRole, capnp::NotInSchema>) -> Result<Role> {
    match role {
        Ok(TaskRole::Observe) => Ok(Role::Observe),
        Ok(TaskRole::Answer) => Ok(Role::Answer),
        Ok(TaskRole::Control) => Ok(Role::Control),
        Ok(TaskRole::Owner) => Ok(Role::Owner),
        Ok(TaskRole::Unset) | Err(_) => {
            Err(Fault::invalid("role", "is required: observe, answer, control or owner"))
        }
    }
}

impl task_handle::Server for TaskShell {
    async fn get(
        self: Rc<Self>,
        params: task_handle::GetParams,
        mut results: task_handle::GetResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (history, (parameters, activated)) = {
                let params = self::params(params.get())?;
                (u32::try_from(params.get_history_length()).ok(), self.open(params.get_parameters())?)
            };
            let task = self.task.get(history, parameters).await?;
            self.connection.limits().fits(task.approximate_size())?;
            Ok((task, activated))
        };
        match answer.await {
            Ok((task, activated)) => {
                task.encode(results.get().init_task());
                encode_parameters(&activated, |count| results.get().init_parameters(count));
            }
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn send(
        self: Rc<Self>,
        params: task_handle::SendParams,
        mut results: task_handle::SendResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (request, options, (parameters, activated)) = {
                let params = self::params(params.get())?;
                let parameters = self.open(params.get_parameters())?;
                let request: SendMessageRequest = read(params.get_request())?;
                (request, options(params.get_options())?, parameters)
            };
            let response = self.task.send(request, options, parameters).await?;
            self.connection.limits().fits(response.approximate_size())?;
            Ok((response, activated))
        };
        match answer.await {
            Ok((response, activated)) => {
                response.encode(results.get().init_response());
                encode_parameters(&activated, |count| results.get().init_parameters(count));
            }
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn send_streaming(
        self: Rc<Self>,
        params: task_handle::SendStreamingParams,
        mut results: task_handle::SendStreamingResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (request, options, (parameters, activated), observer) = {
                let params = self::params(params.get())?;
                let parameters = self.open(params.get_parameters())?;
                let request: SendMessageRequest = read(params.get_request())?;
                let observer = capability("observer", params.get_observer())?;
                let features = self::params(params.get_features())?;
                let observer = ObserverShell::new(observer, features, &self.connection);
                (request, options(params.get_options())?, parameters, observer)
            };
            Ok((self.task.send_streaming(request, options, parameters, observer).await?, activated))
        };
        match answer.await {
            Ok((held, activated)) => {
                results.get().set_subscription(SubscriptionShell::client(held));
                encode_parameters(&activated, |count| results.get().init_parameters(count));
            }
            Err(fault) => {
                results.get().set_subscription(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn cancel(
        self: Rc<Self>,
        params: task_handle::CancelParams,
        mut results: task_handle::CancelResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (metadata, (parameters, activated)) = {
                let params = self::params(params.get())?;
                let parameters = self.open(params.get_parameters())?;
                let metadata = params.has_metadata().then(|| params.get_metadata());
                (decode_object("metadata", metadata)?, parameters)
            };
            let task = self.task.cancel(metadata, parameters).await?;
            self.connection.limits().fits(task.approximate_size())?;
            Ok((task, activated))
        };
        match answer.await {
            Ok((task, activated)) => {
                task.encode(results.get().init_task());
                encode_parameters(&activated, |count| results.get().init_parameters(count));
            }
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn subscribe(
        self: Rc<Self>,
        params: task_handle::SubscribeParams,
        mut results: task_handle::SubscribeResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (start, (parameters, activated), observer) = {
                let params = self::params(params.get())?;
                let parameters = self.open(params.get_parameters())?;
                let observer = capability("observer", params.get_observer())?;
                let features = self::params(params.get_features())?;
                let observer = ObserverShell::new(observer, features, &self.connection);
                (start(params.get_cursor())?, parameters, observer)
            };
            Ok((self.task.subscribe(start, parameters, observer).await?, activated))
        };
        match answer.await {
            Ok((held, activated)) => {
                results.get().set_subscription(SubscriptionShell::client(held));
                encode_parameters(&activated, |count| results.get().init_parameters(count));
            }
            Err(fault) => {
                results.get().set_subscription(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn attenuate(
        self: Rc<Self>,
        params: task_handle::AttenuateParams,
        mut results: task_handle::AttenuateResults,
    ) -> capnp::Result<()> {
        let answer = (|| {
            let params = self::params(params.get())?;
            self.task.attenuate(role(params.get_role())?, &grant::policy(params.get_policy())?)
        })();
        match answer {
            Ok((task, handle)) => {
                results.get().set_task(Self::client(task, &self.connection));
                results.get().set_grant(GrantShell::client(handle));
            }
            Err(fault) => {
                let broken = Broken::new(&fault);
                results.get().set_task(broken.client());
                results.get().set_grant(broken.client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn share(
        self: Rc<Self>,
        params: task_handle::ShareParams,
        mut results: task_handle::ShareResults,
    ) -> capnp::Result<()> {
        let answer = (|| {
            let params = self::params(params.get())?;
            self.task.share(role(params.get_role())?, &grant::policy(params.get_policy())?)
        })();
        match answer {
            Ok((secret, handle)) => {
                results.get().set_secret(secret.expose());
                results.get().set_grant(GrantShell::client(handle));
            }
            Err(fault) => {
                results.get().set_grant(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn delete(
        self: Rc<Self>,
        _: task_handle::DeleteParams,
        mut results: task_handle::DeleteResults,
    ) -> capnp::Result<()> {
        if let Err(fault) = self.task.delete().await {
            fail(&fault, results.get().init_error());
        }
        Ok(())
    }
}

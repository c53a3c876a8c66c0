//! One task, as a `Send` handle.

use std::rc::Rc;

use super::authority::{GrantPolicy, TaskRole};
use super::client::{Client, outcome};
use super::event::Cursor;
use super::follow::{Origin, Source, follow};
use super::grant::GrantRef;
use super::local::{Grant, TaskHandle};
use super::remote::Remote;
use super::send_call::SendCall;
use super::stream::TaskStream;
use super::uplink::Uplink;
use crate::fault::Result;
use crate::model::{CancelTaskRequest, GetTaskRequest, Id, Secret, SendMessageResponse, Task};

/// One task. By its id it lives as long as the client and survives a lost line; as a handle that was
/// claimed or attenuated it is authority in itself, and ends with its connection.
#[derive(Clone)]
pub struct TaskRef {
    client: Client,
    held: Held,
}

#[derive(Clone)]
enum Held {
    Id(Id),
    Handle(Remote<TaskHandle>),
}

/// A secret that turns into a task, and the right to take the task back.
pub struct SharedTask {
    /// Give it to [`Client::claim`] on another connection. Whoever has it has the authority.
    pub secret: Secret,
    /// Dropping the last clone revokes, unless the policy said otherwise.
    pub grant: GrantRef,
}

impl TaskRef {
    pub(super) fn by_id(client: Client, id: Id) -> Self {
        Self { client, held: Held::Id(id) }
    }

    pub(super) fn by_handle(client: Client, handle: Remote<TaskHandle>) -> Self {
        Self { client, held: Held::Handle(handle) }
    }

    /// The task's id, if this was made from it.
    pub fn id(&self) -> Option<&Id> {
        match &self.held {
            Held::Id(id) => Some(id),
            Held::Handle(_) => None,
        }
    }

    /// The task as it stands, with this many of its latest messages; with all if not said.
    pub async fn get(&self, history_length: Option<u32>) -> Result<Task> {
        match &self.held {
            Held::Id(id) => {
                let request = GetTaskRequest { history_length, ..GetTaskRequest::new(id.clone()) };
                self.client.get_task(request).await
            }
            Held::Handle(handle) => handle.ask(move |handle| handle.get(history_length)).await,
        }
    }

    /// Sends a message into this task; see [`Client::send`].
    pub async fn send(&self, call: impl Into<SendCall>) -> Result<SendMessageResponse> {
        let call = call.into();
        match &self.held {
            Held::Id(id) => self.client.send(into_task(call, id)).await,
            Held::Handle(handle) if call.returns_immediately() => {
                handle.ask(move |handle| handle.send(call)).await
            }
            Held::Handle(_) => {
                let history_length = call.history_length();
                outcome(self.stream(call), async |_| self.get(history_length).await).await
            }
        }
    }

    /// Sends a message into this task and gives the events from there on.
    pub fn stream(&self, call: impl Into<SendCall>) -> TaskStream {
        let call = call.into();
        match &self.held {
            Held::Id(id) => self.client.stream(into_task(call, id)),
            Held::Handle(handle) => self.follow(handle, Origin::Send(Box::new(call))),
        }
    }

    /// Cancels the task; as it stands then.
    pub async fn cancel(&self) -> Result<Task> {
        match &self.held {
            Held::Id(id) => self.client.cancel(CancelTaskRequest::new(id.clone())).await,
            Held::Handle(handle) => handle.ask(|handle| handle.cancel(None)).await,
        }
    }

    /// Deletes the task, which has to be finished; see [`Client::delete`].
    pub async fn delete(&self) -> Result<()> {
        match &self.held {
            Held::Id(id) => self.client.delete(id.clone()).await,
            Held::Handle(handle) => handle.ask(|handle| handle.delete()).await,
        }
    }

    /// Follows the task until it is over.
    pub fn subscribe(&self, cursor: Cursor) -> TaskStream {
        match &self.held {
            Held::Id(id) => self.client.subscribe(id.clone(), cursor),
            // Events name the task; until then it has no name here.
            Held::Handle(handle) => self.follow(handle, Origin::Subscribe(Id::from(""), cursor)),
        }
    }

    /// A handle with less authority, and the right to take it back.
    pub async fn attenuate(&self, role: TaskRole, policy: GrantPolicy) -> Result<(TaskRef, GrantRef)> {
        let derive = move |handle: TaskHandle| async move {
            let (task, grant) = handle.attenuate(role, &policy);
            grant.ready().await?;
            Ok((Remote::house(Rc::new(task)), Remote::house(Rc::new(grant))))
        };
        let (task, grant) = self.with_handle(derive).await?;
        Ok((Self::by_handle(self.client.clone(), task), GrantRef::new(grant)))
    }

    /// A secret that somebody else turns into this task, once; see [`Client::claim`].
    pub async fn share(&self, role: TaskRole, policy: GrantPolicy) -> Result<SharedTask> {
        let share = move |handle: TaskHandle| async move {
            let (secret, grant) = handle.share(role, &policy).await?;
            Ok((Secret::from(secret), Remote::<Grant>::house(Rc::new(grant))))
        };
        let (secret, grant) = self.with_handle(share).await?;
        Ok(SharedTask { secret, grant: GrantRef::new(grant) })
    }

    async fn with_handle<R, F, J>(&self, job: F) -> Result<R>
    where
        R: Send + 'static,
        F: FnOnce(TaskHandle) -> J + Send + 'static,
        J: Future<Output = Result<R>> + 'static,
    {
        match &self.held {
            Held::Handle(handle) => handle.ask(|handle| job(TaskHandle::clone(&handle))).await,
            Held::Id(id) => {
                let id = id.clone();
                let on_session = |uplink: Rc<Uplink>| async move {
                    let live = uplink.live().await?;
                    job(live.session()?.task(&id)).await
                };
                self.client.uplink().ask(on_session).await
            }
        }
    }

    fn follow(&self, handle: &Remote<TaskHandle>, origin: Origin) -> TaskStream {
        let after = match &origin {
            Origin::Subscribe(_, Cursor::After(seq)) => Some(*seq),
            _ => None,
        };
        let (outlet, reader, stream) = TaskStream::new(self.client.window(), None, after);
        handle.start(move |handle| follow(Source::Handle(handle), origin, outlet, reader));
        stream
    }
}

fn into_task(mut call: SendCall, id: &Id) -> SendCall {
    call.request.message.task_id.get_or_insert_with(|| id.clone());
    call
}

//! Tasks: get, list, cancel, delete, follow.

use std::pin::pin;
use std::sync::Arc;

use super::{AgentService, Method};
use crate::authority::{Grant, Permission};
use crate::engine::{Feed, FeedKind, Start, trimmed};
use crate::fault::{Fault, Result};
use crate::model::{CancelTaskRequest, GetTaskRequest, Id, ListTasksRequest, ListTasksResponse, Task};
use crate::operations::Caller;

impl AgentService {
    pub(super) async fn get(&self, caller: &Caller, request: GetTaskRequest) -> Result<Arc<Task>> {
        let _pass = self.check(caller, Permission::Read)?;
        let task = match self.reach(caller, &request.id).await? {
            Some(task) => task,
            None => self.engine.get(&self.scope(caller), &request.id).await?,
        };
        Ok(trimmed(&task, request.history_length))
    }

    pub(super) async fn list(
        &self,
        caller: &Caller,
        mut request: ListTasksRequest,
    ) -> Result<ListTasksResponse> {
        let _pass = self.check(caller, Permission::Read)?;
        let reach = caller.grant.scope();
        if reach.task().is_some() {
            let message = "this capability is for one task: get it instead of listing";
            return Err(Fault::new(crate::fault::FaultKind::Forbidden, message));
        }
        if let Some(only) = reach.context() {
            if request.context_id.as_ref().is_some_and(|asked| asked != only) {
                request.validate()?;
                return Ok(nothing(request.effective_page_size()));
            }
            request.context_id = Some(Arc::clone(only));
        }
        self.engine.list(&self.scope(caller), &request).await
    }

    pub(super) async fn cancel(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Arc<Task>> {
        self.reach(caller, &request.id).await?;
        let pass = self.check(caller, Permission::Cancel)?;
        let scope = self.scope(caller);
        super::send::handed_over(pass, pin!(self.engine.cancel(&scope, &request.id))).await
    }

    /// Deletes a finished task, with everything that is known of it.
    pub async fn delete(&self, caller: &Caller, id: &Id) -> Result<()> {
        let deleted = async {
            self.reach(caller, id).await?;
            let pass = self.check(caller, Permission::Delete)?;
            let scope = self.scope(caller);
            super::send::handed_over(pass, pin!(self.engine.delete(&scope, id))).await
        };
        self.observe(Method::DeleteTask, caller, Some(id), deleted).await
    }

    /// Whether there is such a task within the caller's reach.
    pub async fn find(&self, caller: &Caller, id: &Id) -> Result<()> {
        let _pass = self.check(caller, Permission::Read)?;
        if self.reach(caller, id).await?.is_none() {
            self.engine.get(&self.scope(caller), id).await?;
        }
        Ok(())
    }

    /// The events of a task, from `start` on.
    pub async fn feed(&self, caller: &Caller, id: &Id, start: Start, kind: FeedKind) -> Result<Feed> {
        let feed = async {
            let _pass = self.check(caller, Permission::Read)?;
            self.reach(caller, id).await?;
            self.engine.feed(&self.scope(caller), id, start, kind).await
        };
        self.observe(Method::SubscribeToTask, caller, Some(id), feed).await
    }

    /// Cancels a task whose handle was dropped by somebody who asked for that, if it still may be.
    pub fn cancel_abandoned(self: &Arc<Self>, grant: &Arc<Grant>, id: &Id) {
        let caller = Caller { grant: Arc::clone(grant), parameters: Default::default() };
        let (service, id) = (Arc::clone(self), id.clone());
        self.engine.runtime().spawn(async move {
            let request = CancelTaskRequest::new(id);
            if let Err(fault) = service.cancel(&caller, request).await {
                tracing::debug!(%fault, "an abandoned task was not canceled");
            }
        });
    }

    /// Refuses a task beyond the caller's grant exactly as one that is not there. Gives the task where it
    /// had to be read for that; whether it exists is otherwise for the engine to say.
    pub(super) async fn reach(&self, caller: &Caller, id: &Id) -> Result<Option<Arc<Task>>> {
        let reach = caller.grant.scope();
        if reach.task().is_some_and(|only| only != id) {
            return Err(Fault::task_not_found());
        }
        if reach.context().is_none() {
            return Ok(None);
        }
        let task = self.engine.get(&self.scope(caller), id).await?;
        if reach.reaches(task.context_id.as_deref(), Some(id)) {
            Ok(Some(task))
        } else {
            Err(Fault::task_not_found())
        }
    }
}

fn nothing(page_size: u32) -> ListTasksResponse {
    ListTasksResponse { tasks: Vec::new(), next_page_token: String::new(), page_size, total_size: 0 }
}

//! `Grant`: the right to take back.

use std::rc::Rc;
use std::sync::Arc;

use crate::authority::Policy;
use crate::capability::{GrantHandle, expiry};
use crate::fault::Result;
use crate::wire::capnp::capability_capnp::{grant, grant_policy};

use super::reply::{params, text};

pub(super) struct GrantShell(GrantHandle);

impl GrantShell {
    pub(super) fn client(handle: GrantHandle) -> grant::Client {
        capnp_rpc::new_client(Self(handle))
    }
}

/// How a derived object is bounded.
pub(super) fn policy(reader: capnp::Result<grant_policy::Reader<'_>>) -> Result<Policy> {
    let reader = params(reader)?;
    Ok(Policy {
        expires: expiry(reader.get_expires()),
        label: text("policy.label", reader.get_label())?.map(Arc::from),
        revoke_on_drop: !reader.get_keep_on_drop(),
        ..Policy::default()
    })
}

impl grant::Server for GrantShell {
    async fn info(
        self: Rc<Self>,
        _: grant::InfoParams,
        mut results: grant::InfoResults,
    ) -> capnp::Result<()> {
        let (info, live) = self.0.info();
        let mut reply = results.get().init_info();
        reply.set_id(info.id.to_string());
        reply.set_label(info.label.as_deref().unwrap_or_default());
        reply.set_context_id(info.scope.context().map_or("", |id| id));
        reply.set_task_id(info.scope.task().map_or("", |id| id));
        reply.set_created(info.created.unix_nanos());
        reply.set_expires(info.expires.map_or(0, |expires| expires.unix_nanos()));
        reply.set_live(live);
        super::reply::permissions(info.permissions, |count| reply.init_permissions(count));
        Ok(())
    }

    async fn revoke(self: Rc<Self>, _: grant::RevokeParams, _: grant::RevokeResults) -> capnp::Result<()> {
        self.0.revoke().await;
        Ok(())
    }
}

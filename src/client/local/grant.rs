//! The right to take back, and the right to be called.

use std::rc::Rc;

use super::super::authority::{GrantInfo, GrantPolicy, TaskRole};
use super::call::{Pending, Ready, unreadable};
use super::{Line, On, web};
use crate::fault::Result;
use crate::model::Timestamp;
use crate::wire::capnp::capability_capnp::{self, grant, grant_info, grant_policy, subscription};

/// The right to take back what was derived. Dropping the last clone revokes, unless the policy said
/// otherwise.
#[derive(Clone)]
pub struct Grant {
    on: On<grant::Client, web::Stub>,
    ready: Ready,
    _line: Rc<Line>,
}

impl Grant {
    pub(super) fn new(on: On<grant::Client, web::Stub>, ready: Ready, line: Rc<Line>) -> Self {
        Self { on, ready, _line: line }
    }

    /// Waits until the grant exists.
    ///
    /// # Errors
    /// Why it does not.
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }

    /// What became of it.
    pub fn info(&self) -> Pending<GrantInfo> {
        match &self.on {
            On::Capnp(client) => Pending::plain_answer(client.info_request().send(), |results| {
                read_info(results.get_info().map_err(|error| unreadable(&error))?)
            }),
            On::Web(stub) => stub.ask("info", &[], web::read),
        }
    }

    /// Ends every object derived from this grant, streams included. Once this has answered, no call
    /// through any of them starts. May be called twice.
    pub fn revoke(&self) -> Pending<()> {
        match &self.on {
            On::Capnp(client) => Pending::plain_answer(client.revoke_request().send(), |_| Ok(())),
            On::Web(stub) => stub.ask("revoke", &[], web::empty),
        }
    }
}

/// The right to be called. Dropping it ends the calls: at most those on their way still arrive.
pub struct Subscription {
    _on: On<subscription::Client, web::Stub>,
    ready: Ready,
    _line: Rc<Line>,
}

impl Subscription {
    pub(super) fn new(on: On<subscription::Client, web::Stub>, ready: Ready, line: Rc<Line>) -> Self {
        Self { _on: on, ready, _line: line }
    }

    /// Waits until the server has accepted the subscription. The observer may be called before.
    ///
    /// # Errors
    /// Why it has not; the observer is not called then.
    pub fn ready(&self) -> Ready {
        self.ready.clone()
    }
}

impl From<TaskRole> for capability_capnp::TaskRole {
    fn from(role: TaskRole) -> Self {
        match role {
            TaskRole::Observe => Self::Observe,
            TaskRole::Answer => Self::Answer,
            TaskRole::Control => Self::Control,
            TaskRole::Owner => Self::Owner,
        }
    }
}

pub(super) fn write_policy(policy: &GrantPolicy, mut wire: grant_policy::Builder<'_>) {
    wire.set_expires(policy.expires.map_or(0, |expires| expires.unix_nanos()));
    wire.set_label(&policy.label);
    wire.set_keep_on_drop(policy.keep_on_drop);
}

/// A time of the wire; 0 for none.
pub(super) fn time(nanos: i64) -> Option<Timestamp> {
    (nanos != 0).then(|| Timestamp::from_unix_nanos(nanos))
}

/// A text of the wire.
pub(super) fn text(text: capnp::Result<capnp::text::Reader<'_>>) -> Result<String> {
    let text = text.map_err(|error| unreadable(&error))?;
    Ok(String::from_utf8_lossy(text.as_bytes()).into_owned())
}

/// A text of the wire; empty for none.
pub(super) fn optional_text(value: capnp::Result<capnp::text::Reader<'_>>) -> Result<Option<String>> {
    Ok(Some(text(value)?).filter(|text| !text.is_empty()))
}

/// A list of texts of the wire.
pub(super) fn texts(list: capnp::Result<capnp::text_list::Reader<'_>>) -> Result<Vec<String>> {
    let list = list.map_err(|error| unreadable(&error))?;
    list.iter().map(text).collect()
}

fn read_info(wire: grant_info::Reader<'_>) -> Result<GrantInfo> {
    Ok(GrantInfo {
        id: text(wire.get_id())?,
        label: text(wire.get_label())?,
        permissions: texts(wire.get_permissions())?,
        context_id: optional_text(wire.get_context_id())?,
        task_id: optional_text(wire.get_task_id())?,
        created: Timestamp::from_unix_nanos(wire.get_created()),
        expires: time(wire.get_expires()),
        live: wire.get_live(),
    })
}

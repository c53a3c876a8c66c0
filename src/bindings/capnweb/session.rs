//! `Session`: a principal's authority over one tenant's agent.

use std::rc::Rc;

use serde::Serialize;

use super::arguments::Arguments;
use super::connection::Connection;
use super::grant::GrantObject;
use super::object::Object;
use super::operations;
use super::reply::{Value, record, value};
use super::task::TaskObject;
use super::voice::Voice;
use crate::capability::{Identity, Session};
use crate::fault::Result;
use crate::model::{ServiceParameters, Timestamp};

pub(super) struct SessionObject(Rc<Session>, Voice);

/// Who a session acts for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Who<'a> {
    subject: &'a str,
    realm: &'a str,
    tenant: &'a str,
    permissions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    anonymous: bool,
    /// The version of A2A that values have.
    version: &'static str,
    /// The extensions that are active, of those that were asked for.
    extensions: Vec<&'a str>,
}

#[derive(Serialize)]
struct Renewed {
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl SessionObject {
    pub(super) const METHODS: &[&str] =
        &["task", "whoAmI", "renew", "attenuate", "withParameters", "getAgentCard", "close"];

    pub(super) fn new(session: Session, voice: Voice) -> Self {
        Self(Rc::new(session), voice)
    }

    pub(super) async fn call(
        &self,
        connection: &Rc<Connection>,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value> {
        let Self(session, voice) = self;
        match name {
            "task" => {
                let task = session.task(arguments.id("id")?).await?;
                Ok(connection.object(Object::Task(TaskObject::open(task, voice))))
            }
            "whoAmI" => {
                let caller = session.caller(voice.parameters());
                let activated = session.service().negotiate(&caller).unwrap_or_default();
                who(&session.who_am_i()?, voice, &activated)
            }
            "renew" => value(&Renewed { expires: session.renew(&arguments.credentials()?.0).await? }),
            "attenuate" => {
                let (narrower, grant) = session.attenuate(&arguments.session_policy()?)?;
                Ok(record([
                    ("session", connection.object(Object::Session(Self::new(narrower, voice.clone())))),
                    ("grant", connection.object(Object::Grant(GrantObject::new(grant)))),
                ]))
            }
            // The same authority, spoken of in another way.
            "withParameters" => {
                let other = Self(Rc::clone(session), arguments.voice(voice)?);
                Ok(connection.object(Object::Session(other)))
            }
            "getAgentCard" => voice.value(&session.service().card(Some(&session.who_am_i()?.tenant))?),
            "close" => {
                session.close().await;
                Ok(Value::Undefined)
            }
            _ => operations::call((session, voice), connection, name, arguments).await,
        }
    }
}

fn who(identity: &Identity, voice: &Voice, activated: &ServiceParameters) -> Result<Value> {
    value(&Who {
        subject: &identity.subject,
        realm: &identity.realm,
        tenant: &identity.tenant,
        permissions: identity.permissions.iter().map(|permission| permission.name()).collect(),
        context_id: identity.context_id.as_deref(),
        expires: identity.expires,
        anonymous: identity.anonymous,
        version: voice.version(),
        extensions: activated.extensions().collect(),
    })
}

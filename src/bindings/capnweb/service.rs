//! `A2aService`: what everybody finds first.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::arguments::Arguments;
use super::connection::Connection;
use super::object::Object;
use super::operations;
use super::reply::{Value, value};
use super::session::SessionObject;
use super::task::TaskObject;
use super::voice::{VERSIONS, Voice};
use crate::capability::PublicService;
use crate::fault::Result;
use crate::limits::WireLimits;

pub(super) struct ServiceObject(PublicService);

/// What the server says about itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    revision: u32,
    software: &'static str,
    features: &'static [&'static str],
    protocol_versions: &'static [&'static str],
    limits: BTreeMap<&'static str, String>,
}

impl ServiceObject {
    pub(super) const METHODS: &[&str] = &["info", "getAgentCard", "authenticate", "claim"];

    pub(super) fn new(service: PublicService) -> Self {
        Self(service)
    }

    pub(super) async fn call(
        &self,
        connection: &Rc<Connection>,
        name: &str,
        mut arguments: Arguments,
    ) -> Result<Value> {
        match name {
            "info" => value(&info(connection.limits())),
            "getAgentCard" => {
                let tenant: Option<String> = arguments.optional("tenant")?;
                value(&self.0.agent_card(tenant.as_deref())?)
            }
            "authenticate" => {
                let (shown, voice) = arguments.credentials()?;
                let tenant: Option<String> = arguments.optional("tenant")?;
                let session = self.0.authenticate(&shown, tenant.as_deref(), &voice.parameters()).await?;
                connection.authenticated();
                Ok(connection.object(Object::Session(SessionObject::new(session, voice))))
            }
            "claim" => {
                // An empty one is a wrong one, and answered as such.
                let (secret, voice) =
                    (arguments.required::<String>("secret")?, arguments.voice(&Voice::default())?);
                let claimed = self.0.claim(&secret)?;
                // A secret is as good as a key: whoever showed one is somebody.
                connection.authenticated();
                Ok(connection.object(Object::Task(TaskObject::open(claimed.task, &voice))))
            }
            _ => {
                let called = (self.0.anonymous()?, &Voice::default());
                operations::call(called, connection, name, arguments).await
            }
        }
    }
}

fn info(limits: &WireLimits) -> Info {
    let named = [
        ("message-bytes", limits.message_bytes),
        ("exports", limits.exports),
        ("imports", limits.imports),
        ("questions", limits.questions),
        ("stream-window-bytes", limits.stream_window_bytes),
    ];
    Info {
        revision: REVISION,
        software: concat!("a2a-webcap/", env!("CARGO_PKG_VERSION")),
        features: FEATURES,
        protocol_versions: VERSIONS,
        limits: named.into_iter().map(|(name, limit)| (name, limit.to_string())).collect(),
    }
}

/// Of these objects.
const REVISION: u32 = 1;

/// What a client may rely on beyond the first revision.
const FEATURES: &[&str] = &[
    "attenuate",
    "cancel-on-drop",
    "claim",
    "delete",
    "event-streams",
    "idempotent-send",
    "parameters",
    "resume",
];

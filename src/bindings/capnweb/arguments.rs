//! The positional arguments of a call.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::callback::Callback;
use super::connection::Connection;
use super::reply::Value;
use crate::auth::Credentials;
use crate::authority::{Policy, Role};
use crate::capability::{ContextChoice, SendOptions, SessionPolicy};
use crate::engine::Start;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::json::from_value;
use crate::model::{
    Id, Message, SendMessageConfiguration, SendMessageRequest, ServiceParameters, Struct, Timestamp,
};

/// The arguments that are left. Those beyond what a method takes are ignored.
pub(super) struct Arguments(std::vec::IntoIter<Value>);

impl Arguments {
    pub(super) fn new(arguments: Vec<Value>) -> Self {
        Self(arguments.into_iter())
    }

    /// The next one; `undefined` if there is none.
    pub(super) fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Undefined)
    }

    /// A value that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| Fault::invalid(name, "is required"))
    }

    /// A value that may be `undefined` or `null`.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let value = self.next();
        if value.is_nothing() {
            return Ok(None);
        }
        from_value(json(name, value)?).map(Some).map_err(|fault| within(name, fault))
    }

    /// A text that must be there and hold something.
    pub(super) fn text(&mut self, name: &str) -> Result<String> {
        match self.optional::<String>(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Fault::invalid(name, "is required")),
        }
    }

    pub(super) fn id(&mut self, name: &str) -> Result<Id> {
        self.text(name).map(Id::from)
    }

    /// A message and how it is to be answered.
    pub(super) fn send(&mut self) -> Result<(SendMessageRequest, SendOptions)> {
        let message: Message = self.required("message")?;
        let Config { configuration, metadata, cancel_on_drop, turn_timeout_ms } =
            self.optional("config")?.unwrap_or_default();
        let request = SendMessageRequest { configuration, metadata, ..message.into() };
        let turn_timeout = turn_timeout_ms.filter(|ms| *ms > 0).map(std::time::Duration::from_millis);
        Ok((request, SendOptions { cancel_on_drop, turn_timeout }))
    }

    /// The same with a callback, which may stand in the place of the configuration.
    pub(super) fn send_streaming(
        &mut self,
        connection: &Rc<Connection>,
    ) -> Result<(SendMessageRequest, SendOptions, Callback)> {
        let rest = self.0.as_slice();
        if let [_, second] | [_, second, Value::Undefined | Value::Null] = rest
            && Callback::looks_like(second)
        {
            let callback = second.clone();
            let message = self.next();
            let sent = Self::new(vec![message]).send()?;
            return Ok((sent.0, sent.1, Callback::new(connection, callback)?));
        }
        let (request, options) = self.send()?;
        Ok((request, options, self.callback(connection)?))
    }

    pub(super) fn callback(&mut self, connection: &Rc<Connection>) -> Result<Callback> {
        Callback::new(connection, self.next())
    }

    /// Where a subscription begins.
    pub(super) fn start(&mut self) -> Result<Start> {
        Ok(self.optional::<u64>("after")?.map_or(Start::Snapshot, Start::After))
    }

    /// What a caller shows to prove who it is: a token, or one with its scheme.
    pub(super) fn credentials(&mut self) -> Result<Credentials> {
        let shown = match self.next() {
            Value::Undefined | Value::Null => return Ok(Credentials::None),
            // Not through JSON, so that no error repeats it.
            Value::String(token) => return Ok(Credentials::bearer(token)),
            shown => json("credentials", shown)?,
        };
        let member = |name: &str| shown.get(name).and_then(serde_json::Value::as_str);
        let mut parameters = ServiceParameters::new();
        if let Some(version) = member("version") {
            parameters.insert(ServiceParameters::VERSION, version)?;
            parameters.check_version(crate::service::VERSIONS)?;
        }
        let secret = member("credentials").unwrap_or_default();
        match member("scheme").map(str::to_ascii_lowercase).as_deref() {
            Some("bearer") => Ok(Credentials::bearer(secret)),
            Some("apikey" | "api-key") => Ok(Credentials::api_key(secret)),
            Some(_) => Err(Fault::invalid("credentials.scheme", "must be Bearer or ApiKey")),
            None => Err(Fault::invalid("credentials.scheme", "is required; or pass the token alone")),
        }
    }

    pub(super) fn role(&mut self) -> Result<Role> {
        let required = || Fault::invalid("role", "is required: observe, answer, control or owner");
        match self.optional::<String>("role")?.as_deref() {
            Some("observe") => Ok(Role::Observe),
            Some("answer") => Ok(Role::Answer),
            Some("control") => Ok(Role::Control),
            Some("owner") => Ok(Role::Owner),
            _ => Err(required()),
        }
    }

    /// How a derived task handle is bounded.
    pub(super) fn policy(&mut self) -> Result<Policy> {
        Ok(self.optional::<GrantPolicy>("policy")?.unwrap_or_default().into())
    }

    /// How a derived session is bounded.
    pub(super) fn session_policy(&mut self) -> Result<SessionPolicy> {
        let DerivedSession { read_only, context, expires, label, keep_on_drop } =
            self.optional("policy")?.unwrap_or_default();
        let context = match context {
            None => ContextChoice::Inherited,
            Some(Choice::Word(word)) if word == "fresh" => ContextChoice::Fresh,
            Some(Choice::Only { only }) if !only.is_empty() => ContextChoice::Only(Id::from(only)),
            Some(_) => return Err(Fault::invalid("policy.context", "must be \"fresh\" or {only: id}")),
        };
        let grant = GrantPolicy { expires, label, keep_on_drop }.into();
        Ok(SessionPolicy { read_only, context, grant })
    }
}

/// A send's configuration, with what is beyond A2A.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    #[serde(flatten)]
    configuration: Option<SendMessageConfiguration>,
    metadata: Option<Struct>,
    cancel_on_drop: bool,
    turn_timeout_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GrantPolicy {
    expires: Option<Timestamp>,
    label: Option<String>,
    keep_on_drop: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DerivedSession {
    read_only: bool,
    context: Option<Choice>,
    expires: Option<Timestamp>,
    label: Option<String>,
    keep_on_drop: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Word(String),
    Only { only: String },
}

impl From<GrantPolicy> for Policy {
    fn from(policy: GrantPolicy) -> Self {
        Self {
            expires: policy.expires,
            label: policy.label.map(std::sync::Arc::from),
            revoke_on_drop: !policy.keep_on_drop,
            ..Self::default()
        }
    }
}

/// A value as JSON, with JavaScript's types in the form that A2A gives them.
fn json(name: &str, value: Value) -> Result<serde_json::Value> {
    value.into_json().map_err(|error| Fault::invalid(name, error.message))
}

/// A fault about an argument, with the argument's name before its field.
fn within(name: &str, fault: Fault) -> Fault {
    if fault.kind() != FaultKind::InvalidParams {
        return fault;
    }
    match fault.violations() {
        [violation] if violation.field.is_empty() || violation.field == "." => {
            Fault::invalid(name, violation.description.clone())
        }
        [violation] => Fault::invalid(format!("{name}.{}", violation.field), violation.description.clone()),
        _ => fault,
    }
}

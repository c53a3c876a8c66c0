//! The positional arguments of a call, in the version of A2A that its object speaks.

use std::rc::Rc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::callback::{Callback, Receiver};
use super::connection::Connection;
use super::reply::Value;
use super::voice::Voice;
use crate::auth::Credentials;
use crate::authority::{Policy, Role};
use crate::capability::{ContextChoice, SendOptions, SessionPolicy};
use crate::engine::Start;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::json::from_value;
use crate::model::{
    Id, ListTasksRequest, Message, SendMessageConfiguration, SendMessageRequest, Struct,
    TaskPushNotificationConfig, Timestamp,
};
use crate::wire::v0_3;

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
        read(name, json(name, value)?).map(Some)
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
    pub(super) fn send(&mut self, voice: &Voice) -> Result<(SendMessageRequest, SendOptions)> {
        let message: Message = if voice.is_old() {
            converted("message", self.required::<v0_3::Message<'static>>("message")?)?
        } else {
            self.required("message")?
        };
        let given: Option<serde_json::Value> = self.optional("config")?;
        let Extras { metadata, cancel_on_drop, turn_timeout_ms } =
            given.clone().map_or_else(|| Ok(Extras::default()), |config| read("config", config))?;
        let configuration: Option<SendMessageConfiguration> = match given {
            Some(config) if voice.is_old() => {
                Some(converted("config", read::<v0_3::MessageSendConfiguration<'static>>("config", config)?)?)
            }
            Some(config) => Some(read("config", config)?),
            None => None,
        };
        let request = SendMessageRequest { configuration, metadata, ..message.into() };
        let turn_timeout = turn_timeout_ms.filter(|ms| *ms > 0).map(std::time::Duration::from_millis);
        Ok((request, SendOptions { cancel_on_drop, turn_timeout }))
    }

    /// The same with a receiver of events. A callback may stand in the place of the configuration.
    pub(super) fn send_streaming(
        &mut self,
        connection: &Rc<Connection>,
        voice: &Voice,
    ) -> Result<(SendMessageRequest, SendOptions, Receiver)> {
        let rest = self.0.as_slice();
        if let [_, second] | [_, second, Value::Undefined | Value::Null] = rest
            && Callback::looks_like(second)
        {
            let callback = second.clone();
            let message = self.next();
            let (request, options) = Self::new(vec![message]).send(voice)?;
            return Ok((request, options, Receiver::new(connection, voice, callback)?));
        }
        let (request, options) = self.send(voice)?;
        Ok((request, options, self.receiver(connection, voice)?))
    }

    /// A callback; without one, the events come as a stream.
    pub(super) fn receiver(&mut self, connection: &Rc<Connection>, voice: &Voice) -> Result<Receiver> {
        Receiver::new(connection, voice, self.next())
    }

    /// Which page of tasks to have.
    pub(super) fn list_tasks(&mut self, voice: &Voice) -> Result<ListTasksRequest> {
        if !voice.is_old() {
            return Ok(self.optional("params")?.unwrap_or_default());
        }
        let params: Option<serde_json::Value> = self.optional("params")?;
        let read = params.map(v0_3::ListTasksRequest::read).transpose();
        Ok(read.map_err(|fault| within("params", fault))?.unwrap_or_default())
    }

    /// A webhook for a task.
    pub(super) fn push_config(&mut self, voice: &Voice) -> Result<TaskPushNotificationConfig> {
        if voice.is_old() {
            converted("config", self.required::<v0_3::TaskPushNotificationConfig<'static>>("config")?)
        } else {
            self.required("config")
        }
    }

    /// Where a subscription begins.
    pub(super) fn start(&mut self) -> Result<Start> {
        Ok(self.optional::<u64>("after")?.map_or(Start::Snapshot, Start::After))
    }

    /// What a caller shows to prove who it is: a token, or one with its scheme; and how it wants to be spoken to.
    pub(super) fn credentials(&mut self) -> Result<(Credentials, Voice)> {
        let mut shown = match self.next() {
            Value::Undefined | Value::Null => return Ok((Credentials::None, Voice::default())),
            // Not through JSON, so that no error repeats it.
            Value::String(token) => return Ok((Credentials::bearer(token), Voice::default())),
            shown => json("credentials", shown)?,
        };
        if !shown.is_object() {
            return Err(Fault::invalid("credentials", "must be a token, or an object with its scheme"));
        }
        let mut take = |name: &str| shown.as_object_mut().and_then(|shown| shown.remove(name));
        let (scheme, secret) = (take("scheme"), take("credentials"));
        let voice = Voice::default().with(shown).map_err(|fault| within("credentials", fault))?;
        let scheme = scheme.as_ref().and_then(serde_json::Value::as_str).map(str::to_ascii_lowercase);
        let text = secret.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let credentials = match scheme.as_deref() {
            Some("bearer") => Credentials::bearer(text),
            Some("apikey" | "api-key") => Credentials::api_key(text),
            Some(_) => return Err(Fault::invalid("credentials.scheme", "must be Bearer or ApiKey")),
            None if secret.is_none() => Credentials::None,
            None => {
                let description = "is required; or pass the token alone";
                return Err(Fault::invalid("credentials.scheme", description));
            }
        };
        Ok((credentials, voice))
    }

    /// How a client wants to be spoken to from now on, where it is `voice` up to now.
    pub(super) fn voice(&mut self, voice: &Voice) -> Result<Voice> {
        match self.optional::<serde_json::Value>("parameters")? {
            Some(wishes) => voice.with(wishes).map_err(|fault| within("parameters", fault)),
            None => Ok(voice.clone()),
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

/// What stands beside a send's configuration.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Extras {
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

fn read<T: DeserializeOwned>(name: &str, value: serde_json::Value) -> Result<T> {
    from_value(value).map_err(|fault| within(name, fault))
}

/// Something of the old protocol as the model has it.
fn converted<T>(name: &str, old: impl TryInto<T, Error = Fault>) -> Result<T> {
    old.try_into().map_err(|fault| within(name, fault))
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

//! From `--agent-card` and the credentials to a client.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Global;
use super::error::CliError;
use super::fetch::{self, Found, Reference};
use super::live::Live;
use super::output::Output;
use crate::auth::{DEV_KEY_VARIABLE, DevKey};
use crate::client::{Client, ClientNotice, Credentials, Direction, Endpoint, RetryPolicy, WireMessage};
use crate::config::Config;
use crate::fault::Fault;
use crate::model::{AgentCard, ServiceParameters};

/// A client, and what its commands need to know of how it was made.
pub(super) struct Reach {
    pub(super) client: Client,
    /// What the agent says of itself, if it was asked.
    pub(super) card: Option<AgentCard>,
    /// How often to ask for a task's state, if somebody wants to ask.
    pub(super) poll_interval: Option<Duration>,
    authenticated: bool,
    deadline: Option<(Instant, Duration)>,
    /// What names the same agent in the next command.
    flags: String,
}

/// The card that `--agent-card` names; none where it names a socket.
pub(super) async fn card(global: &Global) -> Result<(Reference, Option<Found>), CliError> {
    let reference = Reference::parse(global.agent_card.as_deref().unwrap_or(LOCAL))?;
    let found = reference.card(global.timeout.unwrap_or(USUAL)).await?;
    Ok((reference, found))
}

impl Reach {
    /// Connects as the flags say.
    pub(super) async fn connect(global: &Global, output: &mut Output) -> Result<Self, CliError> {
        Self::connect_if(global, output, |_| Ok(())).await
    }

    /// The same, if the agent's card says that it can do what is wanted: otherwise the agent hears nothing. One that
    /// was not asked for its card is tried.
    pub(super) async fn connect_if(
        global: &Global,
        output: &mut Output,
        can: impl FnOnce(&AgentCard) -> Result<(), CliError>,
    ) -> Result<Self, CliError> {
        let deadline = global.timeout.map(|timeout| (Instant::now() + timeout, timeout));
        let (reference, found) = card(global).await?;
        let card = found.map(|found| found.card);
        card.as_ref().map_or(Ok(()), can)?;
        let (endpoint, tenant) = place(&reference, card.as_ref(), global)?;
        if let Reference::Url(from, _) = &reference
            && from.host() != endpoint.host()
        {
            output.remark(&format!(
                "warning: the card of {} names an agent at {}",
                from.host(),
                endpoint.host()
            ));
        }
        let credentials = credentials(global, &endpoint, output)?;
        let authenticated = credentials.is_some();
        let chosen = card.as_ref().and_then(|card| fetch::choose(card, &global.transport).ok());
        if let Some(chosen) = chosen.map(|chosen| chosen.protocol_binding.as_str())
            && !global.transport.is_empty()
            && !global.transport.iter().any(|name| fetch::binding(name) == chosen)
        {
            output.remark(&format!("none of --transport is both offered and spoken; using {chosen}"));
        }
        if global.insecure {
            let shown = if authenticated { "; the credential could be read on the way" } else { "" };
            output.remark(&format!("warning: --insecure: certificates are not verified{shown}"));
        }
        tracing::debug!(%endpoint, tenant, authenticated, "connecting");
        let mut builder = Client::builder(endpoint.to_string()).binding(endpoint.binding());
        builder = builder.tenant(tenant).parameters(parameters(global)?);
        if global.debug {
            builder = builder.on_message(log);
        }
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        if let Some(timeout) = global.timeout {
            builder = builder.connect_timeout(timeout);
        }
        let retry = RetryPolicy::default().longest_wait(LONGEST_WAIT).tries(TRIES);
        let connecting = builder.retry(retry).on_event(remarks(output.live().clone())).connect();
        let client = connecting.await.map_err(|fault| CliError::from_fault(&fault, authenticated))?;
        let flags = global.agent_card.as_deref().map_or_else(String::new, |agent| format!(" -a {agent}"));
        let poll_interval = global.poll_interval;
        Ok(Self { client, card, poll_interval, authenticated, deadline, flags })
    }

    /// Whether the agent streams. One that was not asked is tried.
    pub(super) fn streams(&self) -> bool {
        self.card.as_ref().is_none_or(|card| card.capabilities.streaming == Some(true))
    }

    /// Waits for an answer, within the timeout; within the usual one if none was given.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, CliError> {
        let deadline = self.deadline.unwrap_or_else(|| (Instant::now() + USUAL, USUAL));
        match tokio::time::timeout_at(deadline.0, call).await {
            Ok(result) => result.map_err(|fault| self.failed(&fault)),
            Err(_) => Err(CliError::timeout(deadline.1)),
        }
    }

    /// Waits for something that may take for ever, within the timeout if one was given.
    pub(super) async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, CliError> {
        match self.deadline {
            None => Ok(future.await),
            Some((deadline, timeout)) => {
                let waited = tokio::time::timeout_at(deadline, future).await;
                waited.map_err(|_| CliError::timeout(timeout))
            }
        }
    }

    /// A command line of this tool for the same agent.
    pub(super) fn command(&self, words: &str) -> String {
        format!("a2a-webcap{} {words}", self.flags)
    }

    pub(super) fn failed(&self, fault: &Fault) -> CliError {
        CliError::from_fault(fault, self.authenticated)
    }

    /// Leaves the server in good order.
    pub(super) async fn close(self) {
        self.client.close().await;
    }
}

/// Where the agent is, and its tenant.
fn place(
    reference: &Reference,
    card: Option<&AgentCard>,
    global: &Global,
) -> Result<(Endpoint, String), CliError> {
    match (reference, card) {
        (Reference::Socket(endpoint), _) => Ok((endpoint.clone(), String::new())),
        (_, Some(card)) => {
            let interface = fetch::choose(card, &global.transport)?;
            let endpoint = interface.url.parse::<Endpoint>();
            let endpoint = endpoint.map_err(|fault| CliError::usage(fault.message()))?;
            let binding = fetch::spoken(interface).unwrap_or_default();
            Ok((endpoint.by(binding), interface.tenant.clone().unwrap_or_default()))
        }
        (_, None) => Err(CliError::internal("there is no agent card")),
    }
}

/// Tells of a message on the wire.
fn log(message: WireMessage) {
    let WireMessage { direction, bytes, text, .. } = message;
    tracing::debug!(target: "a2a_webcap::wire", bytes, text, "{}", match direction {
        Direction::Sent => "sent",
        Direction::Received => "received",
    });
}

/// Tells of a lost line and of its return, one line each: further tries are no news.
fn remarks(live: Live) -> impl Fn(ClientNotice) + Send + Sync + 'static {
    let lost = AtomicBool::new(false);
    move |notice| {
        let is_news = match &notice {
            ClientNotice::Reconnecting { .. } => !lost.swap(true, Ordering::Relaxed),
            ClientNotice::Resumed { .. } | ClientNotice::Repeated => {
                lost.store(false, Ordering::Relaxed);
                true
            }
        };
        if is_news {
            // From the client's own thread, so not through `Output`.
            let _ = live.around(|| writeln!(std::io::stderr(), "{}", remark(&notice)));
        }
    }
}

fn remark(notice: &ClientNotice) -> String {
    match notice {
        ClientNotice::Reconnecting { why, .. } => {
            format!("connection lost ({}); trying to get it back", super::text::one_line(why.message()))
        }
        ClientNotice::Resumed { task, after } => {
            format!("connected again; task {} resumed after event {after}", super::text::one_line(task))
        }
        ClientNotice::Repeated => {
            "connected again; nothing had come yet, so the call was made again (a message counts once)"
                .to_owned()
        }
    }
}

/// What was given; else, for a server on this machine, its development key. It goes nowhere else.
fn credentials(
    global: &Global,
    endpoint: &Endpoint,
    output: &mut Output,
) -> Result<Option<Credentials>, CliError> {
    if let Some(key) = &global.api_key {
        return Ok(Some(Credentials::api_key(key)));
    }
    if let Some(token) = &global.bearer {
        return Ok(Some(Credentials::bearer(token)));
    }
    if !is_local(endpoint) {
        return Ok(None);
    }
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(key) = variable(DEV_KEY_VARIABLE) {
        return Ok(Some(Credentials::api_key(key)));
    }
    let Some(dir) = Config::default().state_dir(variable) else { return Ok(None) };
    match DevKey::load(&dir) {
        Ok(key) => Ok(key.map(|key| Credentials::api_key(key.key.expose()))),
        Err(error) => {
            output.remark(&format!("warning: {error}"));
            Ok(None)
        }
    }
}

fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.host();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn parameters(global: &Global) -> Result<ServiceParameters, CliError> {
    let mut parameters = ServiceParameters::new();
    let mut insert = |name: &str, value: &str| {
        parameters.insert(name, value).map_err(|fault| CliError::usage(fault.message()))
    };
    insert(ServiceParameters::VERSION, global.a2a_version.as_deref().unwrap_or(VERSION))?;
    for pair in &global.svc_param {
        let Some((name, value)) = pair.split_once(':') else {
            return Err(CliError::usage("--svc-param takes NAME:VALUE"));
        };
        insert(name.trim(), value.trim())?;
    }
    Ok(parameters)
}

/// Where a server listens that was started without arguments.
const LOCAL: &str = "http://127.0.0.1:8420";

/// A restarting server may need some time, but somebody watches: the waits are 1, 2, 4, 5, 5, … seconds, for
/// about a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const TRIES: u32 = 13;

/// How long an answer may take that does not depend on an agent.
const USUAL: Duration = Duration::from_secs(30);

/// The version of A2A that is spoken if nobody says another: the only one that both sides can have in common.
const VERSION: &str = "1.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_key_goes_to_this_machine_only() {
        let local = |address: &str| is_local(&address.parse().unwrap());
        for address in ["127.0.0.1:8420", "http://localhost", "http://[::1]:1", "127.8.8.8"] {
            assert!(local(address), "{address}");
        }
        for address in ["192.168.0.1", "http://localhost.example.org", "10.0.0.1:8420"] {
            assert!(!local(address), "{address}");
        }
    }
}

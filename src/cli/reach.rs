//! From `--agent-card` and the credentials to a client.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Global;
use super::error::CliError;
use super::output::Output;
use crate::auth::{DEV_KEY_VARIABLE, DevKey};
use crate::client::{Client, ClientNotice, Credentials, Endpoint, RetryPolicy};
use crate::config::Config;
use crate::fault::Fault;
use crate::model::{AgentCard, ServiceParameters};
use crate::server::CAPNP_BINDING;

/// A client, and what its commands need to know of how it was made.
pub(super) struct Reach {
    pub(super) client: Client,
    authenticated: bool,
    deadline: Option<(Instant, Duration)>,
    /// What names the same agent in the next command.
    flags: String,
}

impl Reach {
    /// Connects as the flags say.
    pub(super) async fn connect(global: &Global, output: &mut Output) -> Result<Self, CliError> {
        let (address, tenant) = agent(global.agent_card.as_deref())?;
        let endpoint = address.parse::<Endpoint>().map_err(|fault| CliError::usage(fault.message()))?;
        let credentials = credentials(global, &endpoint, output)?;
        let authenticated = credentials.is_some();
        let mut builder = Client::builder(address).tenant(tenant).parameters(parameters(global)?);
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        let deadline = global.timeout.map(|timeout| (Instant::now() + timeout, timeout));
        if let Some(timeout) = global.timeout {
            builder = builder.connect_timeout(timeout);
        }
        let retry = RetryPolicy::default().longest_wait(LONGEST_WAIT).tries(TRIES);
        let connecting = builder.retry(retry).on_event(remarks()).connect();
        let client = connecting.await.map_err(|fault| CliError::from_fault(&fault, authenticated))?;
        let flags = global.agent_card.as_deref().map_or_else(String::new, |agent| format!(" -a {agent}"));
        Ok(Self { client, authenticated, deadline, flags })
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

/// Tells of a lost line and of its return, one line each: further tries are no news.
fn remarks() -> impl Fn(ClientNotice) + Send + Sync + 'static {
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
            let _ = writeln!(std::io::stderr(), "{}", remark(&notice));
        }
    }
}

fn remark(notice: &ClientNotice) -> String {
    match notice {
        ClientNotice::Reconnecting { why, .. } => {
            format!("connection lost ({}); trying to get it back", super::text::clean(why.message()))
        }
        ClientNotice::Resumed { task, after } => {
            format!("connected again; task {} resumed after event {after}", super::text::clean(task))
        }
        ClientNotice::Repeated => {
            "connected again; nothing had come yet, so the call was made again (a message counts once)"
                .to_owned()
        }
    }
}

/// The address and the tenant of the agent that a reference names.
fn agent(reference: Option<&str>) -> Result<(String, String), CliError> {
    let reference = reference.unwrap_or(LOCAL);
    let Some(path) = file(reference) else { return Ok((reference.to_owned(), String::new())) };
    let shown = path.display();
    let bytes = read_bounded(&path).map_err(|error| CliError::card_not_found(format!("{shown}: {error}")))?;
    let card: AgentCard = crate::model::json::from_slice(&bytes)
        .map_err(|fault| CliError::card_invalid(format!("{shown}: {}", fault.message())))?;
    let ours = card.supported_interfaces.into_iter().find(|one| one.protocol_binding == CAPNP_BINDING);
    let ours = ours.ok_or_else(|| {
        let message = format!("{shown}: the agent has no interface that this tool speaks ({CAPNP_BINDING})");
        CliError::card_invalid(message)
    })?;
    Ok((ours.url, ours.tenant.unwrap_or_default()))
}

/// The path, if the reference is one.
fn file(reference: &str) -> Option<PathBuf> {
    if let Some(path) = reference.strip_prefix("file://") {
        return Some(PathBuf::from(path));
    }
    let path =
        reference.starts_with(['/', '.']) || (!reference.contains("://") && reference.ends_with(".json"));
    path.then(|| PathBuf::from(reference))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)?.take(LARGEST_CARD + 1).read_to_end(&mut bytes)?;
    if read as u64 > LARGEST_CARD {
        return Err(std::io::Error::other(format!("longer than {LARGEST_CARD} bytes: not an agent card")));
    }
    Ok(bytes)
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
    insert(ServiceParameters::VERSION, &global.a2a_version)?;
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

const LARGEST_CARD: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_addresses() {
        for path in ["file:///tmp/card.json", "/tmp/card", "./card", "../card.json", "card.json"] {
            assert!(file(path).is_some(), "{path}");
        }
        for address in ["localhost:8420", "http://h/.well-known/agent-card.json", "127.0.0.1"] {
            assert!(file(address).is_none(), "{address}");
        }
    }

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

    #[test]
    fn a_card_in_a_file_names_address_and_tenant() {
        let mut card = AgentCard::new("a", "b", "1");
        card.skills.push(crate::model::AgentSkill::new("s", "s", "s"));
        let mut other = crate::service::interface("http://elsewhere:1/".to_owned(), "JSONRPC", "");
        other.tenant = None;
        let ours = crate::service::interface("http://here:2/capnp".to_owned(), CAPNP_BINDING, "sales");
        card.supported_interfaces = vec![other, ours];
        let name = format!("a2a-webcap-card-{}.json", crate::model::fresh_id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, serde_json::to_vec(&card).unwrap()).unwrap();
        let found = agent(path.to_str());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.unwrap(), ("http://here:2/capnp".to_owned(), "sales".to_owned()));
        assert!(matches!(agent(path.to_str()), Err(CliError::Failed(failure)) if failure.exit == 3));
    }
}

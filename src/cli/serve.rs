//! `a2a-webcap serve`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use figment::value::Value;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::agents::{Roster, Shown};
use super::error::CliError;
use super::keys::{KeyFile, Stamp};
use super::output::Output;
use super::store;
use super::text::field;
use crate::agents;
use crate::auth::{DEV_KEY_VARIABLE, DevKey, DevKeyOrigin, KeyEntry, KeyRing};
use crate::config::{Config, StoreChoice};
use crate::engine::Recovered;
use crate::server::{Builder, Server, StartError};
use crate::service::AgentService;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// Where tasks are kept: a directory, or memory [default: store/ in the state directory]
    #[arg(long, value_name = "DIR", value_parser = store::parser())]
    store: Option<StoreChoice>,

    /// The agent that answers: demo, echo, exec:COMMAND (a program for each turn) or jsonl:COMMAND (one that is
    /// kept running) [default: demo]
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,

    /// A name under which clients reach the server, beside its own; may be repeated
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,

    /// An origin whose pages may call the server, such as https://app.example; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,

    /// The URL under which clients reach the server, if not its address
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,

    /// Where the development key, the other keys and the store are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,

    /// Threads that serve connections [default: one for each core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,

    /// Let callers without credentials in
    #[arg(long)]
    anonymous: bool,

    /// Accept that keys and messages cross the network unencrypted
    #[arg(long)]
    insecure_plaintext: bool,

    /// Any setting, such as limits.net.connections=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, Value)>,

    /// Only say whether the settings are sound, and what is wrong with them
    #[arg(long)]
    check: bool,
}

impl Serve {
    pub(super) async fn run(self, file: Option<&Path>, output: &mut Output) -> Result<(), CliError> {
        let config = self.config(file)?;
        let keys = KeyFile::of(&config);
        if self.check {
            return check(&config, keys.as_ref(), output);
        }
        let roster = Roster::of(&config)?;
        let key = dev_key(&config)?;
        let developers = key.as_ref().map(|key| key.key.entry(DEVELOPER));
        let mut entries = config.key_entries();
        entries.extend(developers.clone());
        // Looked at before it is read: a change in between is seen as one.
        let stamp = keys.as_ref().map(KeyFile::stamp);
        let made = keys.as_ref().map(KeyFile::read).transpose()?.unwrap_or_default();
        let made = made.into_iter().filter_map(|key| roster.narrow(key));
        let builder =
            developers.into_iter().chain(made).fold(Server::configured(config.clone()), Builder::key);
        // Listened for before anybody is told that the server runs.
        let mut stop = StopSignals::new()?;
        let server = builder.start().await.map_err(|error| match &error {
            StartError::Store(error) => store::refusal(error),
            StartError::Recovery(_) => CliError::store(error.to_string()),
            _ => CliError::usage(error.to_string()),
        })?;
        output.raw(&announcement((&config, &roster), &server, key.as_ref()))?;
        let service = Arc::clone(server.service());
        let _reloading = keys.zip(stamp).map(|(file, stamp)| {
            AbortOnDropHandle::new(tokio::spawn(reload((file, stamp), entries, roster, service)))
        });
        // However this ends: no program of an agent outlives its server.
        let _last = KillOnDrop;
        let mut failed = pin!(server.failed());
        tokio::select! {
            () = stop.next() => {}
            // Without a store nothing can come to its end, so nothing is waited for.
            () = &mut failed => return Err(failure()),
        }
        output.remark("stopping: what runs has a moment to come to its end; once more to stop at once");
        tokio::select! {
            () = server.stop() => Ok(()),
            () = stop.next() => Ok(()),
            () = &mut failed => Err(failure()),
        }
    }

    fn config(&self, file: Option<&Path>) -> Result<Config, CliError> {
        let mut config = store::layers(file, self.settings())?.config;
        config.store = Some(store::chosen(self.store.as_ref(), &config)?);
        Ok(config)
    }

    /// The arguments, as settings.
    fn settings(&self) -> Vec<(String, Value)> {
        let mut set = self.set.clone();
        let mut add =
            |key: &str, value: Option<Value>| set.extend(value.map(|value| (key.to_owned(), value)));
        add("listen", self.listen.map(|address| address.to_string().into()));
        add("agent", self.agent.clone().map(Value::from));
        add("public-url", self.public_url.clone().map(Value::from));
        add("state-dir", self.state_dir.clone().map(Value::from));
        add("workers", self.workers.map(Value::from));
        add("anonymous", self.anonymous.then(|| true.into()));
        add("insecure-plaintext", self.insecure_plaintext.then(|| true.into()));
        add("allowed-hosts", (!self.allow_host.is_empty()).then(|| self.allow_host.clone().into()));
        add("allowed-origins", (!self.allow_origin.is_empty()).then(|| self.allow_origin.clone().into()));
        set
    }
}

/// `KEY=VALUE`, the value as the settings' file would have it; a text may stand without quotes.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key = key.trim();
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err("the key is incomplete: write one such as limits.net.connections".to_owned());
    }
    let value = value.parse().map_err(|never: std::convert::Infallible| never.to_string())?;
    Ok((key.to_owned(), value))
}

/// Says whether a server would start with these settings, as far as can be said without starting one.
fn check(config: &Config, keys: Option<&KeyFile>, output: &mut Output) -> Result<(), CliError> {
    crate::server::check(config).map_err(|error| CliError::usage(error.to_string()))?;
    let roster = Roster::of(config)?;
    let made = keys.map(KeyFile::read).transpose()?.unwrap_or_default();
    let made = made.into_iter().filter_map(|key| roster.narrow(key));
    let entries: Vec<_> = config.key_entries().into_iter().chain(made).collect();
    KeyRing::new(&entries).map_err(|error| CliError::usage(error.to_string()))?;
    let shown = json!({
        "sound": true,
        "listen": config.listen,
        "agent": roster.default().map(Shown::runs),
        "agents": roster,
        "store": config.store,
        "keys": entries.len(),
    });
    let text = || {
        let mut text = String::new();
        field(&mut text, "Settings", "sound");
        field(&mut text, "Listen", &config.listen.to_string());
        match roster.only() {
            Some(agent) => field(&mut text, "Agent", &agent.line()),
            None => text += &format!("Agents:\n{}", roster.table()),
        }
        field(&mut text, "Store", &config.store.as_ref().map_or_else(String::new, ToString::to_string));
        field(&mut text, "Keys", &entries.len().to_string());
        text
    };
    Ok(output.document(&shown, text)?)
}

/// Takes the keys anew whenever their file changes. Where it cannot be read, those before stay.
async fn reload(
    (file, mut stamp): (KeyFile, Stamp),
    base: Vec<KeyEntry>,
    roster: Roster,
    service: Arc<AgentService>,
) {
    loop {
        tokio::time::sleep(RELOAD).await;
        let now = file.stamp();
        if now == stamp {
            continue;
        }
        stamp = now;
        let read = file.read().map(|made| {
            let made = made.into_iter().filter_map(|key| roster.narrow(key));
            base.iter().cloned().chain(made).collect::<Vec<_>>()
        });
        match read.map(|entries| KeyRing::new(&entries)) {
            Ok(Ok(ring)) => {
                tracing::info!(keys = ring.len(), "the keys have changed");
                service.authenticator().replace_keys(ring);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the changed keys cannot be used; those before stay"),
            Err(error) => tracing::warn!(?error, "the changed keys cannot be read; those before stay"),
        }
    }
}

/// How soon a change of the keys counts.
const RELOAD: Duration = Duration::from_millis(500);

/// Ends the programs of agents.
struct KillOnDrop;

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        agents::kill_processes();
    }
}

/// What ends a server whose store has failed.
fn failure() -> CliError {
    let message =
        "the store has failed, and nothing can be written any more; what was answered and seen is on disk";
    CliError::store_failed(message)
        .hint("the log says why; `a2a-webcap doctor` looks at the store and its disk")
}

/// The key of whoever started the server, unless the settings say who may come in.
fn dev_key(config: &Config) -> Result<Option<DevKey>, CliError> {
    let variable = |name: &str| std::env::var(name).ok();
    let set = variable(DEV_KEY_VARIABLE);
    if set.is_none() && (!config.key_entries().is_empty() || config.anonymous) {
        return Ok(None);
    }
    let unplaced = || CliError::usage("there is no place for a development key: set A2A_WEBCAP_STATE_DIR");
    let dir = match (config.state_dir(variable), &set) {
        (Some(dir), _) => dir,
        (None, Some(_)) => PathBuf::new(),
        (None, None) => return Err(unplaced()),
    };
    DevKey::load_or_create(&dir, set).map(Some).map_err(|error| CliError::usage(error.to_string()))
}

/// What to know at start. The key itself only when it was just made.
fn announcement((config, roster): (&Config, &Roster), server: &Server, key: Option<&DevKey>) -> String {
    let address = server.local_addr();
    let mut text = String::new();
    let mut say = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    say(&format!("Listening: http://{address}"));
    say(&format!("Cap'n Proto: ws://{address}/capnp"));
    say(&format!("Cap'n Web: ws://{address}/capnweb"));
    say(&format!("Console: http://{address}/console/"));
    match roster.only() {
        Some(agent) => {
            let agent = agent.line();
            say(&format!("Agent: {agent}, card at http://{address}/.well-known/agent-card.json"));
        }
        None => {
            say(&format!("Agents, cards at http://{address}/NAME/.well-known/agent-card.json:"));
            say(roster.table().trim_end());
        }
    }
    match &config.store {
        Some(StoreChoice::Directory(dir)) => {
            say(&format!("Store: {}; every answered send and every seen event is on disk", dir.display()));
        }
        Some(StoreChoice::Memory) | None => say("Store: memory; tasks are lost when the server stops"),
    }
    if let Some(recovered) = recovered(server) {
        say(&format!("Recovered: {recovered}"));
    }
    match key.map(|key| (&key.origin, key)) {
        None => say("Keys: as configured, and those of `key create`"),
        Some((DevKeyOrigin::Environment, _)) => say(&format!("Development key: from {DEV_KEY_VARIABLE}")),
        Some((DevKeyOrigin::Loaded(path), _)) => say(&format!("Development key: in {}", path.display())),
        Some((DevKeyOrigin::Created(path), key)) => {
            say(&format!("Development key: {}", key.key.expose()));
            say(&format!("It is shown only now, and kept in {}, which only you can read.", path.display()));
        }
    }
    let program = program();
    let agent =
        if address == Config::default().listen { String::new() } else { format!(" -a http://{address}") };
    say("");
    say("Try, in a second terminal:");
    say(&format!("  {program} send{agent} --stream \"hello\""));
    text
}

/// What the start has found to mend, if anything.
fn recovered(server: &Server) -> Option<String> {
    let mut found = Vec::new();
    let Recovered { resumed, failed, .. } = server.recovered();
    let tasks = |count: u64| if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") };
    if resumed > 0 {
        found.push(format!("{} resumed", tasks(resumed)));
    }
    if failed > 0 {
        let whose = if failed == 1 { "its agent" } else { "their agents" };
        found.push(format!("{} failed since {whose} cannot resume", tasks(failed)));
    }
    if let Some(recovery) = server.store_recovery() {
        if recovery.truncated_bytes > 0 {
            let bytes = recovery.truncated_bytes;
            found.push(format!(
                "{bytes} bytes of an unfinished write, which nobody was told of, were dropped"
            ));
        }
        if recovery.catalog_rebuilt {
            found.push("the catalog made anew from the log".to_owned());
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// How this program was started: whoever used cargo does so again.
fn program() -> String {
    if std::env::var_os("CARGO").is_some() {
        let release = if cfg!(debug_assertions) { "" } else { " --release" };
        return format!("cargo run -q{release} --");
    }
    std::env::args().next().unwrap_or_else(|| "a2a-webcap".to_owned())
}

/// SIGTERM, and Ctrl-C.
struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    #[cfg(unix)]
    fn new() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| CliError::internal(error.to_string()));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> Result<Self, CliError> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The subject of the development key.
const DEVELOPER: &str = "developer";

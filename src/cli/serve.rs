//! `a2a-webcap serve`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;

use clap::Args;

use super::error::CliError;
use super::output::Output;
use super::store;
use crate::agents;
use crate::auth::{DEV_KEY_VARIABLE, DevKey, DevKeyOrigin};
use crate::config::{Config, StoreChoice};
use crate::engine::Recovered;
use crate::server::{Server, StartError};

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

    /// Accept that keys and messages cross the network unencrypted
    #[arg(long)]
    insecure_plaintext: bool,

    /// Read settings from this file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), CliError> {
        let config = self.config()?;
        let key = dev_key(&config)?;
        let announced = config.clone();
        let mut builder = Server::configured(config);
        if let Some(key) = &key {
            builder = builder.key(key.key.entry(DEVELOPER));
        }
        // Listened for before anybody is told that the server runs.
        let mut stop = StopSignals::new()?;
        let server = builder.start().await.map_err(|error| match &error {
            StartError::Store(error) => store::refusal(error),
            StartError::Recovery(_) => CliError::store(error.to_string()),
            _ => CliError::usage(error.to_string()),
        })?;
        output.raw(&announcement(&announced, &server, key.as_ref()))?;
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

    fn config(&self) -> Result<Config, CliError> {
        let mut config = store::settings(self.config.as_deref())?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(agent) = &self.agent {
            config.agent.clone_from(agent);
        }
        config.store = Some(store::chosen(self.store.as_ref(), &config)?);
        config.insecure_plaintext |= self.insecure_plaintext;
        config.allowed_hosts.extend_from_slice(&self.allow_host);
        config.allowed_origins.extend_from_slice(&self.allow_origin);
        Ok(config)
    }
}

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
    if set.is_none() && (!config.keys.is_empty() || config.anonymous) {
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
fn announcement(config: &Config, server: &Server, key: Option<&DevKey>) -> String {
    let address = server.local_addr();
    let mut text = String::new();
    let mut say = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    say(&format!("Listening: http://{address}"));
    say(&format!("Cap'n Proto: ws://{address}/capnp"));
    say(&format!("Cap'n Web: ws://{address}/capnweb"));
    say(&format!("Console: http://{address}/console/"));
    let agent = agents::shown(&config.agent);
    say(&format!("Agent: {agent}, card at http://{address}/.well-known/agent-card.json"));
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
        None => say("Keys: as configured"),
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

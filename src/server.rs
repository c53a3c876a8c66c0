//! Wiring: from settings and agents to a running server, in this program or in somebody else's.

mod agents;
mod metrics;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, LocalBoxFuture};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::agents::Given;
use crate::agent::Agent;
use crate::auth::{ApiKey, ApiKeyError, Authenticator, KeyEntry, KeyRing, KeyRingError};
use crate::authority::{Audit, Authority, Permissions};
use crate::bindings::{capnp, capnweb};
use crate::capability::Context;
use crate::clock::Clock;
use crate::config::{Config, StoreChoice};
use crate::engine::{Engine, Recovered};
use crate::fault::Fault;
use crate::limits::{Limits, WireLimits};
use crate::model::{
    AgentCard, HttpAuthSecurityScheme, SecurityRequirement, SecurityScheme, StringList, Timestamp,
};
use crate::net::{
    self, Allowed, ConnectionInfo, Document, Door, Listening, MalformedBatch, NetConfig, NetCounters,
    NotAllowed, Routes, WorkerRoutes,
};
use crate::service::{AgentService, DEFAULT_TENANT, interface};
use crate::shutdown::Shutdown;
use crate::store::embedded::{EmbeddedStore, OpenError, Recovery};
use crate::store::{MemoryStore, Store};
use crate::transport::{ConnectionHandle, Line, Speaker};

pub use self::agents::AgentProblem;

/// The URI of this project's Cap'n Proto binding in agent cards.
pub const CAPNP_BINDING: &str = "https://a2a-webcap.dev/bindings/capnp/v1";
/// The URI of this project's Cap'n Web binding in agent cards.
pub const CAPNWEB_BINDING: &str = "https://a2a-webcap.dev/bindings/capnweb/v1";

/// A running server. Dropping it stops it at once; [`stop`](Self::stop) lets what runs come to its end.
///
/// Its threads are its own: it can be started from any tokio program.
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    service: Arc<AgentService>,
    recovery: Option<Recovery>,
    recovered: Recovered,
    /// Recovery that waits for space on the disk.
    _recovering: Option<AbortOnDropHandle<()>>,
}

/// What a server is made of.
pub struct Builder {
    config: Config,
    given: Given,
    keys: Vec<KeyEntry>,
    clock: Clock,
    audit: Option<Arc<dyn Audit>>,
    store: Option<Arc<dyn Store>>,
    has_socket: bool,
    problem: Option<StartError>,
}

impl Server {
    /// A server with default settings: add an agent and a key, then start it.
    pub fn builder() -> Builder {
        Self::configured(Config::default())
    }

    /// A server with these settings, and with their agents beside those that are given to it.
    pub fn configured(config: Config) -> Builder {
        Builder {
            keys: config.key_entries(),
            config,
            given: Given::default(),
            clock: Clock::system(),
            audit: None,
            store: None,
            has_socket: true,
            problem: None,
        }
    }

    /// The address that it listens on, with the port that it was given; `127.0.0.1:0` where it has
    /// [no socket](Builder::without_socket).
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.local_addr()
    }

    /// The way in for clients in this process: no socket, and otherwise the same. For a
    /// [`Client`](crate::client::Client): `Client::builder("http://localhost").over(move || door.connect())`.
    pub fn door(&self) -> &Door {
        self.listening.door()
    }

    /// The operations, for programs that call them themselves.
    pub fn service(&self) -> &Arc<AgentService> {
        &self.service
    }

    /// What became at start of the tasks that the server before this one had been working on. Nothing yet, where the
    /// disk is full: readers need not wait for that, and they are seen to when there is room.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Resolves when the store has failed. Nothing more can be written then: the process should end with an error,
    /// and a new one recover.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.service.engine().failed()
    }

    /// What the listener has counted.
    pub fn net_counters(&self) -> &Arc<NetCounters> {
        self.listening.counters()
    }

    /// What the store on disk found when it was opened; none for a store in memory, or of one's own.
    pub fn store_recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// Takes no more connections and no more sends from clients (these are left unanswered until their line closes, which
    /// is at once where nothing else runs on it), gives what runs the drain timeout, and ends. Streams of tasks that
    /// nobody works on end with `detached` at once, the others when the agent's turn is over, at the latest when the
    /// time is. What has not ended by then is recovered by the next server on the same store, which is closed and free
    /// for it when this is done.
    pub async fn stop(self) {
        let Self { listening, service, .. } = self;
        listening.stop().await;
        service.engine().stop(ENGINE_GRACE).await;
        let stopping = service.agents().iter().map(async |(tenant, agent)| {
            if tokio::time::timeout(AGENT_GRACE, agent.stop()).await.is_err() {
                tracing::warn!(agent = &*tenant, "an agent did not stop in time");
            }
        });
        futures::future::join_all(stopping).await;
    }
}

impl Builder {
    /// The agent that answers callers who name no tenant.
    #[must_use]
    pub fn agent(self, agent: impl Agent) -> Self {
        self.tenant(DEFAULT_TENANT, Arc::new(agent))
    }

    /// The agent of a tenant, whose name begins with a letter and has at most 63 of a to z, 0 to 9 and `-`.
    #[must_use]
    pub fn tenant(mut self, tenant: &str, agent: Arc<dyn Agent>) -> Self {
        self.given.agents.insert(tenant, agent);
        self
    }

    /// Which tenant's agent answers callers who name no tenant: without a choice that of [`agent`](Self::agent), or
    /// the only one.
    #[must_use]
    pub fn default_tenant(mut self, tenant: &str) -> Self {
        self.config.default_agent = Some(tenant.to_owned());
        self
    }

    /// The most turns of a tenant's agent that run at once, within the bound on all; one more is refused with
    /// [`Overloaded`](crate::fault::FaultKind::Overloaded).
    #[must_use]
    pub fn turns_of(mut self, tenant: &str, most: usize) -> Self {
        self.given.turns.push((tenant.to_owned(), most));
        self
    }

    /// Lets in whoever shows this key, as this subject: a generated key, or any text of at least 32
    /// characters.
    #[must_use]
    pub fn api_key(mut self, subject: &str, key: &str) -> Self {
        match ApiKey::parse(key) {
            Ok(key) => self.keys.push(key.entry(subject)),
            Err(error) => self.problem = Some(StartError::Key(error)),
        }
        self
    }

    /// Lets in whoever has the key of this entry.
    #[must_use]
    pub fn key(mut self, entry: KeyEntry) -> Self {
        self.keys.push(entry);
        self
    }

    /// Lets callers without credentials do everything that a key may.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.config.anonymous = true;
        self
    }

    /// Where to listen, such as `127.0.0.1:0` for a free port.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        match address.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(found)) => self.config.listen = found,
            Ok(None) => self.problem = Some(StartError::Listen(io::ErrorKind::AddrNotAvailable.into())),
            Err(error) => self.problem = Some(StartError::Listen(error)),
        }
        self
    }

    /// Listens nowhere: only clients in this process reach the server, through its [`door`](Server::door). For tests of
    /// agents, and for programs that keep theirs to themselves.
    #[must_use]
    pub fn without_socket(mut self) -> Self {
        self.has_socket = false;
        self
    }

    /// The URL under which clients reach this server, if not the address that it listens on. The agent card
    /// names it, and pages of its origin may call the server.
    #[must_use]
    pub fn public_url(mut self, url: &str) -> Self {
        self.config.public_url = Some(url.to_owned());
        self
    }

    /// One more name under which clients reach this server; see [`Config::allowed_hosts`].
    #[must_use]
    pub fn allow_host(mut self, host: &str) -> Self {
        self.config.allowed_hosts.push(host.to_owned());
        self
    }

    /// One more origin whose pages may call this server, such as `https://app.example`; see
    /// [`Config::allowed_origins`].
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.config.allowed_origins.push(origin.to_owned());
        self
    }

    /// Every bound.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Threads that serve connections; 0 is one for each core.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        self
    }

    /// Another wall clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Somebody who sees every decision on authority.
    #[must_use]
    pub fn audit(mut self, audit: Arc<dyn Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Keeps tasks in this directory, which is made if it is not there: what was answered or seen survives
    /// `kill -9` and power loss. By default they are kept in memory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.config.store = Some(StoreChoice::Directory(dir.into()));
        self
    }

    /// Another store than the configured one.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Recovers what the server before this one was working on, then starts listening.
    ///
    /// # Errors
    /// A setting that makes no sense, an address that cannot be listened on, or a store that cannot be opened:
    /// another server uses it, or what is on disk is damaged.
    pub async fn start(mut self) -> Result<Server, StartError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let Self { config, given, keys, clock, audit, store, has_socket, .. } = self;
        let allowed = allowed(&config)?;
        let given = given.complete(&config).await?;
        given.check_keys(&keys)?;
        let Given { agents, turns } = given;
        let limits = config.limits.clone();
        let mut authenticator =
            Authenticator::new(KeyRing::new(&keys).map_err(StartError::Keys)?, clock.clone());
        if config.anonymous {
            authenticator = authenticator.with_anonymous(Permissions::ALL);
        }
        let authority = match audit {
            Some(audit) => Authority::audited(limits.engine.clone(), clock.clone(), audit),
            None => Authority::new(limits.engine.clone(), clock.clone()),
        };
        let (store, recovery) = match (store, &config.store) {
            (Some(store), _) => (store, None),
            (None, None | Some(StoreChoice::Memory)) => {
                (Arc::new(MemoryStore::new(&limits.engine)) as _, None)
            }
            (None, Some(StoreChoice::Directory(dir))) => open_store(dir, &limits, &clock).await?,
        };
        let engine = Engine::builder(Arc::clone(&store)).limits(limits.engine.clone()).clock(clock.clone());
        let engine = agents.iter().fold(engine, |engine, (name, agent)| engine.agent(name, agent));
        let engine = turns.into_iter().fold(engine, |engine, (name, most)| engine.turns_of(name, most));
        let engine = engine.start().map_err(StartError::Engine)?;
        let started = clock.now();
        let service = AgentService::new(engine, agents, authority, Arc::new(authenticator), clock);
        let (recovered, recovering) = recover(&service, &*store).await?;

        let shutdown = Shutdown::new();
        let routes = Arc::new(ServerRoutes {
            service: Arc::clone(&service),
            shutdown: shutdown.clone(),
            wire: limits.wire.clone(),
            cards: OnceLock::new(),
        });
        let mut net = NetConfig { net: limits.net, wire: limits.wire, allowed, ..NetConfig::default() };
        if config.workers > 0 {
            net.workers = config.workers;
        }
        let listening =
            match net::listen(has_socket.then_some(config.listen), net, Arc::clone(&routes) as _, shutdown) {
                Ok(listening) => listening,
                Err(error) => {
                    // The store has to be free again when this returns.
                    service.engine().stop(Duration::ZERO).await;
                    return Err(StartError::Listen(error));
                }
            };
        let url = config.public_url.unwrap_or_else(|| format!("http://{}", listening.local_addr()));
        service.agents().publish(|tenant, card| complete(card, tenant, url.trim_end_matches('/')));
        let _ = routes.cards.set(Cards::of(&service, started));
        Ok(Server { listening, service, recovery, recovered, _recovering: recovering })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// Says what is wrong with these settings, as far as it can be said without listening, and without starting an
/// agent's program.
///
/// # Errors
/// As those of [`Builder::start`].
pub fn check(config: &Config) -> Result<(), StartError> {
    agents::check(config)?;
    allowed(config).map(|_| ())
}

/// Who may talk to the server from where, if it may listen there at all.
fn allowed(config: &Config) -> Result<Allowed, StartError> {
    if !config.listen.ip().is_loopback() && !config.insecure_plaintext {
        return Err(StartError::Plaintext(config.listen));
    }
    let refused = |setting| move |error| StartError::Allowed { setting, error };
    let mut allowed = Allowed::listening(config.listen.ip());
    if let Some(url) = &config.public_url {
        allowed = allowed.public_url(url).map_err(refused("public-url"))?;
    }
    for host in &config.allowed_hosts {
        allowed = allowed.host(host).map_err(refused("allowed-hosts"))?;
    }
    for origin in &config.allowed_origins {
        allowed = allowed.origin(origin).map_err(refused("allowed-origins"))?;
    }
    Ok(allowed)
}

/// Reads what a store on disk has to read at start, on a thread of its own, which may wait for the disk.
async fn open_store(
    dir: &Path,
    limits: &Limits,
    clock: &Clock,
) -> Result<(Arc<dyn Store>, Option<Recovery>), StartError> {
    let (dir, limits, clock) = (dir.to_owned(), limits.store.clone(), clock.clone());
    let (open, opened) = oneshot::channel();
    let opening = move || {
        // Nobody waits any more where the start was given up; the store is then closed again.
        let _ = open.send(EmbeddedStore::open(&dir, &limits, &clock));
    };
    thread::Builder::new().name("a2a-open".to_owned()).spawn(opening).map_err(StartError::Engine)?;
    let opened =
        opened.await.map_err(|_| StartError::Engine(io::Error::other("the store's opening panicked")))?;
    let store = opened.map_err(StartError::Store)?;
    let recovery = store.recovery().clone();
    Ok((Arc::new(store), Some(recovery)))
}

/// Sees to what the server before this one was working on. If there is no room to write that down, it goes on behind
/// when there is, and until then the server can be read from.
async fn recover(
    service: &Arc<AgentService>,
    store: &dyn Store,
) -> Result<(Recovered, Option<AbortOnDropHandle<()>>), StartError> {
    let (done, mut recovered) = oneshot::channel();
    let recovering = Arc::clone(service);
    let recovering = service.engine().runtime().spawn(async move {
        let outcome = recovering.engine().recover().await;
        if let Err(Err(fault)) = done.send(outcome) {
            tracing::error!(%fault, "the tasks of the server before this one cannot be recovered");
        }
    });
    let recovering = AbortOnDropHandle::new(recovering);
    let lost = || StartError::Recovery(Fault::internal("the recovery panicked"));
    loop {
        if let Ok(outcome) = tokio::time::timeout(ROOM_POLL, &mut recovered).await {
            return Ok((outcome.map_err(|_| lost())?.map_err(StartError::Recovery)?, None));
        }
        if !store.has_room() {
            tracing::warn!("the disk is full: what was being worked on goes on when there is room");
            return Ok((Recovered::default(), Some(recovering)));
        }
    }
}

/// How often a recovery looks whether there is room.
const ROOM_POLL: Duration = Duration::from_millis(200);

/// Adds to an agent's card what only the server knows. Every interface is of the card's own origin, as
/// some clients refuse a card with any other.
fn complete(mut card: AgentCard, tenant: &str, url: &str) -> AgentCard {
    let ours = [("capnp", CAPNP_BINDING), ("capnweb", CAPNWEB_BINDING)];
    let ours = ours.map(|(path, binding)| interface(format!("{url}/{path}"), binding, tenant));
    card.supported_interfaces.splice(0..0, ours);
    card.capabilities.streaming = Some(true);
    card.capabilities.push_notifications = Some(false);
    let bearer = HttpAuthSecurityScheme {
        description: Some(
            "An API key. Over Cap'n Proto and Cap'n Web it is given to `authenticate`.".to_owned(),
        ),
        scheme: "bearer".to_owned(),
        bearer_format: None,
    };
    card.security_schemes.insert(SCHEME.to_owned(), SecurityScheme::HttpAuth(bearer));
    if card.security_requirements.is_empty() {
        let schemes = [(SCHEME.to_owned(), StringList::default())].into_iter().collect();
        card.security_requirements.push(SecurityRequirement { schemes });
    }
    card
}

const SCHEME: &str = "apiKey";

/// What is left to agents after the listener has drained.
const ENGINE_GRACE: Duration = Duration::from_secs(1);

/// What is left to agents to let go of what they hold, after their last turn.
const AGENT_GRACE: Duration = Duration::from_secs(10);

/// What the listener asks the layers above.
struct ServerRoutes {
    service: Arc<AgentService>,
    shutdown: Shutdown,
    wire: WireLimits,
    cards: OnceLock<Cards>,
}

/// The public cards, as they are served over HTTP.
struct Cards {
    by_tenant: BTreeMap<Arc<str>, Arc<Document>>,
    default: Arc<str>,
}

impl Cards {
    fn of(service: &AgentService, started: Timestamp) -> Self {
        let agents = service.agents();
        let document = |name: &str| {
            let card = agents.card(name).expect("its name is in the list of agents");
            let bytes = serde_json::to_vec(&*card).expect("a card is texts, lists and maps of texts");
            Arc::new(Document::new("application/json", bytes, started))
        };
        let default = agents.default_name().expect("a server without one does not start");
        let by_tenant = agents.iter().map(|(name, _)| (Arc::clone(&name), document(&name)));
        Self { default: Arc::clone(default), by_tenant: by_tenant.collect() }
    }

    fn find(&self, tenant: Option<&str>) -> Option<Arc<Document>> {
        self.by_tenant.get(tenant.unwrap_or(&self.default)).cloned()
    }
}

impl Routes for ServerRoutes {
    fn agent_card(&self, tenant: Option<&str>) -> Option<Arc<Document>> {
        // Whoever connects in the moment before the port is known waits for it.
        self.cards.wait().find(tenant)
    }

    fn readiness(&self) -> Result<(), &'static str> {
        let engine = self.service.engine();
        match (engine.has_failed(), engine.has_room()) {
            (true, _) => Err("the store has failed"),
            (false, false) => Err("the store is full"),
            (false, true) => Ok(()),
        }
    }

    fn metrics(&self, net: Arc<NetCounters>) -> BoxFuture<'static, String> {
        let service = Arc::clone(&self.service);
        Box::pin(async move { metrics::text(&service, &net).await })
    }

    fn worker(&self) -> Box<dyn WorkerRoutes> {
        Box::new(Worker {
            service: Arc::clone(&self.service),
            shutdown: self.shutdown.clone(),
            wire: self.wire.clone(),
        })
    }
}

struct Worker {
    service: Arc<AgentService>,
    shutdown: Shutdown,
    wire: WireLimits,
}

impl Worker {
    /// What the objects of a new connection share, or those of a batch, which has no line.
    fn context(&self, line: Option<&Rc<Line>>) -> Rc<Context> {
        Context::new(Arc::clone(&self.service), self.shutdown.clone(), line)
    }
}

impl WorkerRoutes for Worker {
    fn bootstrap(&self, _: ConnectionInfo, connection: &Rc<ConnectionHandle>) -> ::capnp::capability::Client {
        capnp::bootstrap(self.context(Some(connection.line())), Rc::clone(connection))
    }

    fn capnweb(&self, _: ConnectionInfo, line: &Rc<Line>) -> Box<dyn Speaker> {
        capnweb::speaker(self.context(Some(line)), line)
    }

    fn capnweb_batch(
        &self,
        _: ConnectionInfo,
        body: Bytes,
        deadline: Instant,
    ) -> LocalBoxFuture<'static, Result<Bytes, MalformedBatch>> {
        let (context, limits) = (self.context(None), self.wire.clone());
        Box::pin(async move {
            match capnweb::batch(context, limits, body, deadline).await {
                capnweb::Answered::Frames(frames) => Ok(frames),
                capnweb::Answered::Malformed(frames) => Err(MalformedBatch(frames)),
            }
        })
    }
}

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A configured agent is none, its program does not start, or the agents make no sense together.
    Agents(AgentProblem),
    /// A key is too short, or mistyped.
    Key(ApiKeyError),
    /// The configured keys make no sense together.
    Keys(KeyRingError),
    /// The address cannot be listened on.
    Listen(io::Error),
    /// A setting says nonsense about who may talk to the server.
    Allowed {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        error: NotAllowed,
    },
    /// The address is reachable from elsewhere, and nobody said that this may be.
    Plaintext(SocketAddr),
    /// The store on disk cannot be opened.
    Store(OpenError),
    /// The engine did not start.
    Engine(io::Error),
    /// What is in the store cannot be read.
    Recovery(Fault),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agents(problem) => fmt::Display::fmt(problem, f),
            Self::Key(error) => write!(f, "an API key cannot be used: {error}"),
            Self::Keys(error) => write!(f, "the keys cannot be used: {error}"),
            Self::Listen(error) => write!(f, "cannot listen: {error}"),
            Self::Allowed { setting, error } => write!(f, "`{setting}` cannot be used: {error}"),
            Self::Plaintext(address) => write!(
                f,
                "{address} can be reached from other machines, and there is no TLS yet: keys and messages would \
                 cross the network unencrypted. Listen on 127.0.0.1, or say --insecure-plaintext"
            ),
            Self::Store(error) => write!(f, "the store cannot be opened: {error}"),
            Self::Engine(error) => write!(f, "the engine did not start: {error}"),
            Self::Recovery(fault) => {
                write!(f, "the tasks of the server before this one cannot be recovered: {fault}")?;
                std::error::Error::source(fault).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<AgentProblem> for StartError {
    fn from(problem: AgentProblem) -> Self {
        Self::Agents(problem)
    }
}

//! How a client is made.

use std::io;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::client::Client;
use super::credentials::Credentials;
use super::dial::Dialer;
use super::endpoint::{Binding, Endpoint};
use super::notice::{ClientNotice, Listener};
use super::remote::{Remote, gone};
use super::retry::RetryPolicy;
use super::uplink::{Settings, Uplink};
use super::wire::{Onlooker, WireMessage};
use crate::fault::{Fault, Result};
use crate::limits::WireLimits;
use crate::model::ServiceParameters;

/// Settings of a client that is about to connect.
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct ClientBuilder {
    url: String,
    binding: Option<Binding>,
    dialer: Option<Dialer>,
    credentials: Option<Credentials>,
    tenant: String,
    parameters: ServiceParameters,
    limits: WireLimits,
    connect_timeout: Duration,
    retry: RetryPolicy,
    listener: Listener,
    onlooker: Onlooker,
}

impl ClientBuilder {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            binding: None,
            dialer: None,
            credentials: None,
            tenant: String::new(),
            parameters: ServiceParameters::new(),
            limits: WireLimits::default(),
            connect_timeout: CONNECT_TIMEOUT,
            retry: RetryPolicy::default(),
            listener: Listener::default(),
            onlooker: Onlooker::default(),
        }
    }

    /// Who the client is. Without credentials it is nobody, and gets what the server allows to anybody.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Where each line comes from, if not from the network: pipes of a server in this process, such as
    /// `move || door.connect()` with the door of one. The address then only says what the server is called.
    pub fn over(mut self, pipes: impl Fn() -> io::Result<DuplexStream> + Send + Sync + 'static) -> Self {
        self.dialer = Some(Dialer::new(pipes));
        self
    }

    /// How to speak to the server. Default: what the address names, and Cap'n Proto where it names nothing.
    pub fn binding(mut self, binding: Binding) -> Self {
        self.binding = Some(binding);
        self
    }

    /// Which of the server's agents. Default: its default one.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// A2A's service parameters, sent with each call.
    pub fn parameters(mut self, parameters: ServiceParameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// The bounds of the connection.
    pub fn limits(mut self, limits: WireLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How long one try to connect may take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How a lost line is got back.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Who is told when the line is lost and when a stream goes on. Called on the client's thread: return
    /// soon.
    pub fn on_event(mut self, listener: impl Fn(ClientNotice) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    /// Who is shown every message on the wire, without credentials. Called on the client's thread: return soon. Costs
    /// time and memory for each message; for people who look for a fault.
    pub fn on_message(mut self, onlooker: impl Fn(WireMessage) + Send + Sync + 'static) -> Self {
        self.onlooker = Onlooker::new(onlooker);
        self
    }

    /// Connects, once. Returns when the WebSocket is open; the credentials are on their way then, and what
    /// is called next travels right behind them. If they are refused, the first call says so.
    ///
    /// # Errors
    /// `INVALID_PARAMS` if the address is none, `DISCONNECTED` if nobody answers there.
    pub async fn connect(self) -> Result<Client> {
        let mut endpoint = self.url.parse::<Endpoint>()?;
        if let Some(binding) = self.binding {
            endpoint = endpoint.by(binding);
        }
        let settings = Settings {
            endpoint,
            dialer: self.dialer,
            credentials: self.credentials,
            tenant: self.tenant,
            parameters: self.parameters,
            limits: self.limits,
            connect_timeout: self.connect_timeout,
            retry: self.retry,
            listener: self.listener,
            onlooker: self.onlooker,
        };
        let window = settings.limits.stream_window_bytes;
        Ok(Client::new(start(settings).await?, window))
    }
}

/// Starts the thread on which everything of this client lives. It ends when the last handle is gone.
async fn start(settings: Settings) -> Result<Remote<Uplink>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Fault::internal)?;
    let (started, starting) = oneshot::channel();
    let work = move || {
        let local = LocalSet::new();
        local.spawn_local(async move {
            let mut started = started;
            let opened = tokio::select! {
                opened = Uplink::open(settings) => opened,
                // Nobody waits for it any more.
                () = started.closed() => return,
            };
            let _ = started.send(opened.map(Remote::house));
        });
        runtime.block_on(local);
    };
    let thread = std::thread::Builder::new().name("a2a-webcap-client".to_owned());
    thread.spawn(work).map_err(Fault::internal)?;
    starting.await.unwrap_or_else(|_| Err(gone()))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

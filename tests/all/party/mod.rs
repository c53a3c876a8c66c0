//! A party to a conversation with the server: the objects of DESIGN as a test holds them, whatever wire they came over.
//!
//! A scenario is written once, against the Rust client's [`Connection`], [`Session`], [`TaskHandle`], [`Subscription`] and
//! [`Grant`], and [`on_wires!`] runs it over every wire that has what it needs. What comes back is in the words of the model,
//! and every failure is a [`Fault`](a2a_webcap::fault::Fault), so that one assertion holds for all.
//!
//! A further wire is a variant of [`Wire`], with a client behind it, and a module in [`on_wires!`]. One that only has operations (no objects that can be held) takes part in the `every` lists: its
//! `Session` is its credentials, its `TaskHandle` an id, and what `Operations` and `TaskHandle` do is a request each.

mod objects;

use std::fmt;
use std::time::Duration;

use a2a_webcap::client::{Binding, Client, ClientBuilder, Endpoint, local};
use a2a_webcap::fault::Result;
use a2a_webcap::limits::WireLimits;
use a2a_webcap::server::{Builder, Server};

pub(crate) use objects::{Connection, Grant, Operations, Pending, Session, Subscription, TaskHandle};

use crate::doubles::{Puppet, Stage};
use crate::world::World;

/// What carries the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Cap'n Proto over WebSocket, by the Rust client.
    Capnp,
    /// Cap'n Web over WebSocket, by the same.
    Capnweb,
    /// Cap'n Proto over WebSocket again, over pipes to a server that has no socket.
    Pipes,
}

impl Wire {
    /// The bindings.
    pub(crate) const ALL: [Self; 2] = [Self::Capnp, Self::Capnweb];

    /// What the client speaks.
    pub(crate) fn binding(self) -> Binding {
        match self {
            Self::Capnp | Self::Pipes => Binding::CapnProto,
            Self::Capnweb => Binding::CapnWeb,
        }
    }

    /// A server's settings, as this wire needs them.
    fn prepare(self, builder: Builder) -> Builder {
        if self == Self::Pipes { builder.without_socket() } else { builder }
    }

    /// A client of the server there.
    pub(crate) fn client(self, url: impl Into<String>) -> ClientBuilder {
        Client::builder(url).binding(self.binding())
    }

    /// A connection to a server of this process.
    pub(crate) async fn connect_to(self, server: &Server) -> Connection {
        if self != Self::Pipes {
            return self.connect(&format!("http://{}", server.local_addr())).await;
        }
        let (pipe, endpoint) =
            (server.door().connect().expect("it is open"), "localhost".parse().expect("a name"));
        let open = local::Connection::over(pipe, &endpoint, WireLimits::default(), Duration::from_secs(10));
        open.await.expect("a connection").into()
    }

    /// A connection to any address. Only in a local runtime.
    pub(crate) async fn connect(self, url: &str) -> Connection {
        self.try_connect(url).await.expect("a connection")
    }

    /// The same where nobody may be there.
    pub(crate) async fn try_connect(self, url: &str) -> Result<Connection> {
        let endpoint = url.parse::<Endpoint>().expect("an address").by(self.binding());
        local::Connection::open(&endpoint, WireLimits::default(), Duration::from_secs(10))
            .await
            .map(Into::into)
    }

    /// A server with the demo agent, to be spoken to over this wire.
    pub(crate) async fn demo(self) -> World {
        self.world(|builder| builder.agent(a2a_webcap::agents::Demo)).await
    }

    /// With the echo agent.
    pub(crate) async fn echo(self) -> World {
        self.world(|builder| builder.agent(a2a_webcap::agents::Echo)).await
    }

    /// With an agent that does what the test says.
    pub(crate) async fn puppet(self) -> (World, Stage) {
        self.puppet_of(Puppet::default(), |builder| builder).await
    }

    /// The same, with settings.
    pub(crate) async fn puppet_of(
        self,
        puppet: Puppet,
        build: impl FnOnce(Builder) -> Builder,
    ) -> (World, Stage) {
        let (world, stage) = World::puppet_of(puppet, |builder| self.prepare(build(builder))).await;
        (world.over(self), stage)
    }

    /// With these settings.
    pub(crate) async fn world(self, build: impl FnOnce(Builder) -> Builder) -> World {
        World::of(|builder| self.prepare(build(builder))).await.over(self)
    }
}

/// As the bindings are called in `tests/scenarios.tsv`, and the modules `over_…` of [`on_wires!`].
impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capnp | Self::Pipes => "capnp",
            Self::Capnweb => "capnweb",
        })
    }
}

/// Makes tests of functions `async fn(Wire)`: one for each wire, in a module that says which. Those under `every`
/// need only operations and streams, those under `objects` need objects that can be held, derived and pipelined on, those
/// under `sockets` a line that can be spoilt too, or a server that is another process, and those under `blocking` are no
/// `async fn`. Those under `every` and `objects` run without any socket as well. Those under `together` take no wire: each compares all of them.
macro_rules! on_wires {
    (@wire $wire:ident in $module:ident: [$($test:ident,)*] [$($blocking:ident,)*]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "local")]
                async fn $test() {
                    super::$test($crate::party::Wire::$wire).await;
                }
            )*
            $(
                #[test]
                fn $blocking() {
                    super::$blocking($crate::party::Wire::$wire);
                }
            )*
        }
    };
    (@pipes []) => {};
    (@pipes $tests:tt) => {
        $crate::party::on_wires!(@wire Pipes in over_pipes: $tests []);
    };
    (
        $(every: [$($every:ident),* $(,)?])?
        $(objects: [$($object:ident),* $(,)?])?
        $(sockets: [$($socket:ident),* $(,)?])?
        $(blocking: [$($blocking:ident),* $(,)?])?
        $(together: [$($together:ident),+ $(,)?])?
    ) => {
        $crate::party::on_wires!(@wire Capnp in over_capnp: [$($($every,)*)? $($($object,)*)? $($($socket,)*)?] [$($($blocking,)*)?]);
        $crate::party::on_wires!(@wire Capnweb in over_capnweb: [$($($every,)*)? $($($object,)*)? $($($socket,)*)?] [$($($blocking,)*)?]);
        $crate::party::on_wires!(@pipes [$($($every,)*)? $($($object,)*)?]);
        $(
            mod every_wire {
                $(
                    #[tokio::test(flavor = "local")]
                    async fn $together() {
                        super::$together().await;
                    }
                )+
            }
        )?
    };
}
pub(crate) use on_wires;

//! What a test adds to the objects of the Rust client.

use std::ops::Deref;

use a2a_webcap::client::{Credentials, local};

pub(crate) use a2a_webcap::client::local::{Grant, Operations, Pending, Session, Subscription, TaskHandle};

/// A connection on which nobody has said who they are. It closes with the last object that came from it.
#[derive(Clone)]
pub(crate) struct Connection(local::Connection);

/// What our end of a connection knows of both: theirs mirrors it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Objects of the peer, and answers of it, that we hold.
    pub(crate) imports: usize,
    /// Objects of ours that the peer holds.
    pub(crate) exports: usize,
    /// Calls without an answer, both ways, and answers that are still held or were given up.
    pub(crate) calls: usize,
}

impl Tables {
    /// Whether nothing is held beyond this.
    pub(crate) fn is_within(self, other: Self) -> bool {
        self.imports <= other.imports && self.exports <= other.exports && self.calls <= other.calls
    }
}

impl Deref for Connection {
    type Target = local::Connection;

    fn deref(&self) -> &local::Connection {
        &self.0
    }
}

impl From<local::Connection> for Connection {
    fn from(connection: local::Connection) -> Self {
        Self(connection)
    }
}

impl Connection {
    /// The session of an API key.
    pub(crate) fn authenticate(&self, key: &str) -> Session {
        self.authenticate_to("", key)
    }

    /// The same, for the agent that `tenant` selects.
    pub(crate) fn authenticate_to(&self, tenant: &str, key: &str) -> Session {
        self.0.authenticate_to(tenant, &Credentials::api_key(key))
    }

    /// The operations of somebody without a name.
    pub(crate) fn operations(&self) -> Operations {
        Operations::clone(&self.0)
    }

    /// Waits for its end.
    pub(crate) async fn closed(&self) {
        self.transport().closed().await;
    }

    pub(crate) fn tables(&self) -> Tables {
        let now = self.counters();
        let calls = now.questions + now.answers + now.abandoned + now.calls;
        Tables { imports: now.imports, exports: now.exports, calls }
    }

    /// Bytes of what has been received and not been dealt with.
    pub(crate) fn held_bytes(&self) -> usize {
        self.counters().held_bytes
    }
}

//! The Cap'n Proto binding: a shell over `capability/`. What each object means stands in
//! `schema/capability.capnp`.

mod grant;
mod observer;
mod operations;
mod reply;
mod service;
mod session;
mod task;

use std::rc::Rc;

use capnp::capability::Client;

use crate::capability::{Context, PublicService};
use crate::transport::ConnectionHandle;

/// The bootstrap object of a new connection.
pub fn bootstrap(context: Rc<Context>, connection: Rc<ConnectionHandle>) -> Client {
    let service = PublicService::new(context);
    if service.anonymous().is_ok() {
        // Whoever needs no credentials is not pressed to show any.
        connection.authenticated();
    }
    let shell = service::ServiceShell::new(service, connection);
    let client: crate::wire::capnp::capability_capnp::a2a_service::Client = capnp_rpc::new_client(shell);
    client.client
}

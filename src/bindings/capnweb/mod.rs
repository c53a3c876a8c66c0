//! The Cap'n Web binding: a shell over `capability/`. What each object means is the same as over Cap'n Proto;
//! values have A2A's JSON shape, and arguments are positional, as JavaScript writes them.

mod arguments;
mod batch;
mod callback;
mod calls;
mod connection;
mod delivery;
mod element;
mod grant;
mod object;
mod operations;
mod reply;
mod service;
mod session;
mod task;
mod voice;

use std::rc::Rc;

use crate::capability::{Context, PublicService};
use crate::transport::{Line, Speaker, WebSpeech};
pub use batch::{Answered, batch};
use calls::Calls;
use connection::Connection;
use object::Object;

/// What speaks on a new connection.
pub fn speaker(context: Rc<Context>, line: &Rc<Line>) -> Box<dyn Speaker> {
    let service = PublicService::new(context);
    if service.anonymous().is_ok() {
        // Whoever needs no credentials is not pressed to show any.
        line.authenticated();
    }
    let connection = Connection::on_line(main(service), line);
    Box::new(WebSpeech::new(Calls::new(&connection), line))
}

fn main(service: PublicService) -> Object {
    Object::Service(service::ServiceObject::new(service))
}
